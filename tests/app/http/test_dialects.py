from typing import Any

import pytest

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.dialects import huggingface, libretranslate, route
from slimseq.app.http.dialects.huggingface import own_request
from slimseq.app.http.dialects.route import recognised
from slimseq.app.main import create_app
from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.http.test_json_route import asked


@pytest.mark.parametrize(
    ("task", "body", "dialect"),
    [
        (Task.TRANSLATION, {"q": "Yes.", "source": "en", "target": "de"}, libretranslate.translate),
        (Task.TRANSLATION, b"q=Yes.", libretranslate.translate),
        (Task.TRANSLATION, {"inputs": "Yes."}, huggingface.generate),
        (Task.SUMMARIZATION, {"inputs": "Yes."}, huggingface.generate),
        (Task.SUMMARIZATION, {"q": "Yes."}, None),
        (Task.TRANSLATION, {"text": 5, "q": "Yes."}, None),
        (Task.TRANSLATION, {"text": 5, "inputs": "Yes."}, None),
        (Task.TRANSLATION, {}, None),
        (Task.TRANSLATION, ["q", "inputs"], None),
        (Task.TRANSLATION, None, None),
    ],
)
def test_a_dialect_is_recognised_by_its_keys_or_its_form(task: Task, body: Any, dialect: object) -> None:
    assert recognised(task, body) is dialect


def test_a_dialect_is_recognised_by_the_query_only_where_there_is_no_body() -> None:
    assert recognised(Task.TRANSLATION, None, {"q": "Yes."}) is libretranslate.translate
    assert recognised(Task.SUMMARIZATION, None, {"q": "Yes."}) is None
    assert recognised(Task.TRANSLATION, {"text": 5}, {"q": "Yes."}) is None
    assert recognised(Task.TRANSLATION, {"inputs": "Yes."}, {"q": "Yes."}) is huggingface.generate


def test_a_request_of_our_own_is_not_looked_at(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(task: Task, body: Any) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr(route, "recognised", look)

    status, answer = asked(
        create_app(Settings(store=embedded.root)), b'{"text": "Good morning.", "num_beams": 1}', path="/translate"
    )

    assert status == 200 and answer["outputs"][0]["text"]


def test_parameters_become_options_and_languages() -> None:
    request = own_request(
        Task.TRANSLATION,
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

    given = request.model_dump(exclude_unset=True)
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
    ("task", "parameters", "said"),
    [
        (Task.SUMMARIZATION, {"src_lang": "en"}, "parameters.src_lang: is not a field here"),
        (Task.TRANSLATION, {"top_k": 5, "generate_parameters": {"top_k": 5}}, "gives top_k, as parameters does"),
        (Task.TRANSLATION, {"max_length": 5, "max_new_tokens": 5}, "exclude each other"),
        (Task.TRANSLATION, {"num_beams": "4"}, "parameters.num_beams: should be a valid integer"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(task: Task, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        own_request(task, {"inputs": "Yes.", "parameters": parameters})
