from collections.abc import Iterator

import pytest

from app.errors import TextTooLong, UnsupportedLanguages
from app.serving.plan import plan
from app.serving.prompt import Prompt
from models_store.errors import InvalidOptions
from models_store.generator import TextGenerator, TextOutput, open_generator
from models_store.manifest import Task
from models_store.store import Store

TWO_TEXTS = ["One. Two.", "Three."]


@pytest.fixture(scope="module")
def translator(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.TRANSLATION, "quantized") as generator:
        yield generator


@pytest.fixture(scope="module")
def summarizer(embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, Task.SUMMARIZATION, "quantized") as generator:
        yield generator


def test_translation_makes_a_row_of_each_sentence_and_a_summary_one_of_each_text(
    translator: TextGenerator, summarizer: TextGenerator
) -> None:
    assert len(plan(translator, Prompt(TWO_TEXTS)).rows) == 3
    assert len(plan(summarizer, Prompt(TWO_TEXTS)).rows) == 2


def test_outputs_add_up_to_texts(translator: TextGenerator) -> None:
    outputs = [
        TextOutput("Eins.", "eos", 3, 4, False),
        TextOutput("Zwei", "length", 5, 6, True),
        TextOutput("Drei.", "eos", 7, 8, False),
    ]

    first, second = plan(translator, Prompt(TWO_TEXTS)).assemble(outputs)

    assert first == TextOutput("Eins. Zwei", "length", 8, 10, True)
    assert second == TextOutput("Drei.", "eos", 7, 8, False)


def test_options_are_the_artifacts_where_the_prompt_says_nothing(translator: TextGenerator) -> None:
    defaults = translator.manifest.generation

    planned = plan(translator, Prompt(["Yes."], {"num_beams": 2, "max_new_tokens": None}))

    assert planned.options.num_beams == 2 and planned.options.max_new_tokens == defaults.max_new_tokens


def test_options_that_the_model_cannot_follow_are_refused(translator: TextGenerator) -> None:
    with pytest.raises(InvalidOptions, match="positions"):
        plan(translator, Prompt(["Yes."], {"max_new_tokens": 1024}))
    with pytest.raises(InvalidOptions, match=r"min_new_tokens \(1000\) is above"):
        plan(translator, Prompt(["Yes."], {"min_new_tokens": 1000}))


@pytest.mark.parametrize(("source", "target"), [("fr", None), (None, "fr"), ("de", "en")])
def test_other_languages_are_refused(translator: TextGenerator, source: str | None, target: str | None) -> None:
    with pytest.raises(UnsupportedLanguages, match="translates en to de"):
        plan(translator, Prompt(["Yes."], source=source, target=target))


def test_a_text_that_must_not_be_cut_is_refused_with_its_place(summarizer: TextGenerator) -> None:
    long = "The river is long. " * 500

    assert plan(summarizer, Prompt(["Short.", long])).rows[1].is_truncated
    with pytest.raises(TextTooLong, match=r"text\[1\]: the text has \d+ tokens"):
        plan(summarizer, Prompt(["Short.", long], on_overflow="error"))
    with pytest.raises(TextTooLong, match=r"^text: the text has"):
        plan(summarizer, Prompt([long], on_overflow="error"))


def test_a_prefix_replaces_the_artifacts_own(summarizer: TextGenerator) -> None:
    usual, bare = (plan(summarizer, Prompt(["A fire broke out."], prefix=prefix)) for prefix in (None, ""))

    assert len(bare.rows[0].ids) < len(usual.rows[0].ids)
