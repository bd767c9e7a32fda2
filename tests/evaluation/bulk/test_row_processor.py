"""The core of `generate`: a text has the output that the service gives, whatever other texts are in its window."""

from collections.abc import Sequence
from typing import Any

import pytest

from slimseq.evaluation.bulk import row_processor
from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.row_settings import RowIds, RowSettings
from slimseq.inference.generator import TextGenerator
from slimseq.inference.load import Model
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.glossary import Glossary
from slimseq.models_store.errors import InvalidOptions

TEXTS = [
    "The children are playing in the garden. It costs $1,299.99.",
    "Good morning.",
    "",
    "Please see https://example.org/a?b=c for the invoice of 3 May 2024, and ask Xylophina.",
    "The man is reading a book.\n\nThe dog is asleep.",
]


def test_outputs_and_warnings_are_those_of_the_python_interface(translator: TextGenerator) -> None:
    rows = RowProcessor(translator, RowSettings()).process(TEXTS)

    outputs = Model(translator).generate(TEXTS)
    assert [row.output for row in rows] == [output.text for output in outputs]
    assert [row.finish_reason for row in rows] == [output.finish_reason for output in outputs]
    assert [[each["kind"] for each in row.warnings] for row in rows] == [
        [each.kind for each in output.warnings] for output in outputs
    ]
    assert rows[1].confidence == pytest.approx(0.7, abs=0.3)


def test_a_summary_is_that_of_the_python_interface(summarizer: TextGenerator) -> None:
    text = " ".join(["A fire broke out in a warehouse in Leeds on Monday. Nobody was hurt, police said."] * 3)

    [row, empty] = RowProcessor(summarizer, RowSettings(options={"num_beams": 1})).process([text, " "])

    [output] = Model(summarizer).generate([text], num_beams=1)
    assert row.output == output.text
    assert row.confidence is None
    assert (empty.output, empty.error) == ("", None)


@pytest.mark.parametrize(
    "settings",
    [
        RowSettings(format="html"),
        RowSettings(glossary=Glossary({"garden": "Park"}.items()), keep=("Xylophina",)),
        RowSettings(options={"num_beams": 3, "num_return_sequences": 2}),
        RowSettings(options={"num_beams": 1, "do_sample": True, "seed": 3}),
        RowSettings(as_is=True),
    ],
)
def test_a_row_is_the_same_alone_and_in_any_window(translator: TextGenerator, settings: RowSettings) -> None:
    processor = RowProcessor(translator, settings)

    together = processor.process([f"<p>{text} <b>It is late.</b></p>" for text in TEXTS])
    alone = [processor.process([f"<p>{text} <b>It is late.</b></p>"])[0] for text in TEXTS]

    assert [(row.row_id, row.output, row.warnings) for row in together] == [
        (row.row_id, row.output, row.warnings) for row in alone
    ]


def test_texts_that_cannot_be_done_have_an_error_and_the_others_an_output(translator: TextGenerator) -> None:
    settings = RowSettings(options={"num_beams": 1}, on_overflow="error", format="html")
    texts: list[Any] = ["<p>Good morning.</p>", None, 7, "a\ud800", "<div>open", f"<p>{'word ' * 600}</p>"]

    rows = RowProcessor(translator, settings).process(texts)

    assert rows[0].output == "<p>Guten Morgen.</p>" and rows[0].error is None
    assert [row.error is None for row in rows] == [True, False, False, False, False, False]
    assert rows[1].error == "the text is missing"
    assert rows[2].error == "the text is not a string but int"
    assert "surrogate" in (rows[3].error or "")
    assert "the model reads at most" in (rows[5].error or "")
    assert all(row.output is None and row.fields().keys() == {"row_id", "error"} for row in rows[1:])


def test_a_text_that_is_longer_than_a_request_may_be_has_an_error(translator: TextGenerator) -> None:
    most = row_processor.MAX_TEXT_CHARACTERS

    [row] = RowProcessor(translator, RowSettings()).process(["a" * (most + 1)])

    assert row.error == "the text has 1,000,001 characters, and at most 1,000,000 are possible; split it"
    assert row_processor.problem_of("a" * most) is None


def test_an_unexpected_error_of_one_text_is_an_error_of_that_row_alone(
    translator: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = TextGenerator.generate
    bad = translator.encode("The dog is asleep.").ids

    def failing(self: TextGenerator, rows: Sequence[Any], *arguments: Any) -> Any:
        if any(row.ids == bad for row in rows):
            raise RuntimeError("the kernel\nfailed")
        return generate(self, rows, *arguments)

    monkeypatch.setattr(TextGenerator, "generate", failing)
    rows = RowProcessor(translator, RowSettings(as_is=True)).process(
        ["Good morning.", "The dog is asleep.", "It is late."]
    )

    assert [row.error for row in rows] == [
        None,
        "the text cannot be generated from: RuntimeError: the kernel failed",
        None,
    ]


def test_texts_as_they_are_become_one_row_each(translator: TextGenerator) -> None:
    text = "Good morning. It costs $1,299.99."

    [row] = RowProcessor(translator, RowSettings(as_is=True)).process([f" {text}\n"])

    [output] = translator.generate([translator.encode(text)], translator.default_options)
    assert (row.output, row.input_tokens) == (output.text, output.input_tokens)


def test_batches_have_the_longest_rows_first_and_few_rows_where_they_are_long(translator: TextGenerator) -> None:
    encodings = [(0, place, translator.encode("word " * length)) for place, length in enumerate((400, 300, 3, 2, 1))]

    sizes = [len(batch) for batch in row_processor._batches(encodings * 20, 16)]

    assert max(sizes) <= row_processor.BATCH_HYPOTHESES // 16
    assert sum(sizes) == 100


def test_settings_that_are_not_possible_are_refused_before_any_row(translator: TextGenerator) -> None:
    with pytest.raises(InvalidOptions):
        RowProcessor(translator, RowSettings(options={"num_beams": 99}))
    with pytest.raises(UnsupportedLanguages):
        RowProcessor(translator, RowSettings(target="fr"))


def test_the_id_of_a_row_follows_from_text_artifact_and_settings_alone(translator: TextGenerator) -> None:
    manifest = translator.manifest
    ids = RowIds(manifest, RowSettings())
    other_artifact = manifest.model_copy(update={"digest": "sha256:" + "0" * 64})
    others = [
        RowIds(manifest, RowSettings(options={"num_beams": 2})),
        RowIds(manifest, RowSettings(protect=False)),
        RowIds(manifest, RowSettings(as_is=True)),
        RowIds(manifest, RowSettings(glossary=Glossary([("garden", "Park")]))),
        RowIds(other_artifact, RowSettings()),
    ]

    assert ids.of("a") == RowIds(manifest, RowSettings()).of("a")
    assert ids.of("a") != ids.of("b")
    assert len({each.of("a") for each in (ids, *others)}) == 6
    # The artifact's own number of beams is the same option, given or not.
    assert ids.of("a") == RowIds(manifest, RowSettings(options={"num_beams": manifest.generation.num_beams})).of("a")
