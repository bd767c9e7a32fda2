from typing import Any

import pytest

from slimseq.app.dialects.huggingface import TranslationInput, own_request
from slimseq.app.errors import InvalidRequest
from slimseq.models_store.manifest import Task


def translated(content: dict[str, Any]) -> dict[str, Any]:
    return own_request(Task.TRANSLATION, TranslationInput.model_validate(content)).model_dump(exclude_unset=True)


def test_parameters_become_options_and_languages() -> None:
    given = translated(
        {
            "inputs": ["Yes.", "No."],
            "parameters": {
                "src_lang": "en_XX",
                "tgt_lang": "de",
                "top_k": 5,
                "truncation": "do_not_truncate",
                "generate_parameters": {"max_length": 9, "min_length": 3},
            },
        },
    )

    assert given == {
        "text": ["Yes.", "No."],
        "source": "en",
        "target": "de",
        "top_k": 5,
        "max_new_tokens": 8,
        "min_new_tokens": 2,
        "on_overflow": "error",
    }


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"top_k": 5, "generate_parameters": {"top_k": 5}}, "gives top_k, as parameters does"),
        ({"max_length": 5, "max_new_tokens": 5}, "exclude each other"),
        ({"max_length": 10**9}, "parameters: max_new_tokens: should be less than"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        translated({"inputs": "Yes.", "parameters": parameters})
