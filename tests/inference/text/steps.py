"""What is done with the texts of a request before and after generation: each step alone, and whole requests.

A whole request is planned, and its answer is made of what a bad model might write: the first half of its row, without
digits and placeholders. So sentences are parted down to their spans, and are repaired.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, cast

from slimseq.inference.generator import Score, TextGenerator, TextOutput
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.runtime import Runtime
from slimseq.inference.text.assembly import new_assembly
from slimseq.inference.text.errors import InvalidPrompt, MarkupTooComplex, UnclosedMarkup
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import MAX_CHARACTERS, read_markdown
from slimseq.inference.text.glossary import Glossary, find_terms
from slimseq.inference.text.language import foreign_language
from slimseq.inference.text.names import find_names, lost_names, misspelled_names
from slimseq.inference.text.passes import NAMES
from slimseq.inference.text.plan import plan
from slimseq.inference.text.repair import plan_repair
from slimseq.inference.text.rows import Plan, Prompt, RowPasses
from slimseq.inference.text.sentences import sentences, split_sentences
from slimseq.inference.text.spans import ProtectedSpan
from slimseq.inference.text.warnings import Compared, output_warnings
from slimseq.inference.tokenizer import Encoding, Tokenizer
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.inference.text.formats.translators import rewritten, upper

# A step is at fault only if it is in all tries: other programs need the machine too.
TRIES = 3
# The default limits of a request: characters and rows.
CHARACTERS, ROWS = 1_000_000, 4096
# Characters of the output of a row. No model writes more.
OUTPUT_CHARACTERS = 2000
TERMS = {"word": "Wort", "a a": "Beispiel", "1 a": "noch eins"}
KEPT = ["Aa", "Éa"]


class Step(NamedTuple):
    """Work on a text, the most characters that it may have, and how many are tried first: fewer if it takes longer."""

    work: Callable[[str], object]
    characters: int = CHARACTERS
    tried_characters: int = 1000


@cache
def generator(task: Task) -> TextGenerator:
    """Returns a generator that plans, and generates nothing: it has no runtime."""
    store = Store(embedded_store())
    folder = store.root / task / "original"
    runtime = cast(Runtime, None)
    return TextGenerator(store.manifest(task, "original"), read_configuration(folder), Tokenizer(folder), runtime)


def split(text: str) -> None:
    sentences(text)
    with contextlib.suppress(InvalidPrompt):
        split_sentences(text, "de", check=_check_count)


def protect(text: str) -> None:
    with contextlib.suppress(InvalidPrompt):
        split_sentences(text, "en", is_protected=True, find_names=_names, check=_check_count)


def _names(text: str) -> list[ProtectedSpan]:
    return find_names(text, generator(Task.TRANSLATION).tokenizer.alphabet, "en", "de")


def _check_count(count: int) -> None:
    if count > ROWS:
        raise InvalidPrompt("too many sentences")


def find_glossary_terms(text: str) -> None:
    for _ in find_terms(text, [Glossary(TERMS.items())], "en"):
        pass


def check_names(text: str) -> None:
    lost_names(_names(text), text[::-1])
    misspelled_names(text, text.replace("é", "'"))


def check_language(text: str) -> None:
    foreign_language(text, "de")


def check_translation(text: str) -> None:
    output_warnings(Task.TRANSLATION, ("en", "de"), text, [Compared(text, text[::-1])])


def check_lost_numbers(text: str) -> None:
    output_warnings(Task.TRANSLATION, ("en", "de"), text, [Compared(text, "")])


def check_summary(text: str) -> None:
    output_warnings(Task.SUMMARIZATION, ("en",), text, [Compared(text, text[::-1])])


def check_copied_summary(text: str) -> None:
    """Checks a summary that ends within a word of its source, after many numbers, months and equal words."""
    output_warnings(Task.SUMMARIZATION, ("en",), text, [Compared(f"{text}xyz", text)])
    output_warnings(Task.SUMMARIZATION, ("de",), text, [Compared(text, f"In May on Monday. {text}")])


def rewrite_html(text: str) -> None:
    with contextlib.suppress(UnclosedMarkup, MarkupTooComplex):
        rewritten(read_html(text), upper)


def rewrite_markdown(text: str) -> None:
    with contextlib.suppress(MarkupTooComplex):
        rewritten(read_markdown(text), upper)


def translate(text: str) -> None:
    answer_request(Task.TRANSLATION, Prompt([text]))


def translate_with_terms(text: str) -> None:
    answer_request(Task.TRANSLATION, Prompt([text], glossary=TERMS, keep=KEPT))


def translate_html(text: str) -> None:
    answer_request(Task.TRANSLATION, Prompt([text], format="html"))


def translate_markdown(text: str) -> None:
    answer_request(Task.TRANSLATION, Prompt([text], format="markdown"))


def summarize(text: str) -> None:
    answer_request(Task.SUMMARIZATION, Prompt([text]))


def summarize_in_parts(text: str) -> None:
    answer_request(Task.SUMMARIZATION, Prompt([text], long_input="map_reduce"))


def answer_request(task: Task, prompt: Prompt) -> None:
    model = generator(task)
    with contextlib.suppress(InvalidPrompt, MarkupTooComplex, UnclosedMarkup):
        planned = plan(model, prompt, ROWS)
        outputs = _run(planned, list(map(_output, planned.rows)))
        _, warnings = planned.checked(outputs)
        if planned.needs_repair(warnings):
            again = plan_repair(model, planned, outputs, warnings)
            planned.checked(_run(again, outputs))
        stream = new_assembly(model, planned)
        stream.begin()
        for row, output in enumerate(outputs):
            stream.on_row(row, output)


def _run(planned: Plan, first: Sequence[TextOutput]) -> list[TextOutput]:
    passes = RowPasses(generator(planned.manifest.task), planned)
    rows = passes.begin(enumerate(first))
    while rows:
        rows = passes.go_on(list(map(_output, rows)))
    return passes.in_order


def _output(row: Encoding) -> TextOutput:
    tokens = len(row.ids)
    if row.output:
        scores = tuple(Score(*place, -1.0) for place in row.output.places)
        return TextOutput(row.output.text, "eos", tokens, 0, truncated=False, scores=scores)
    read = generator(Task.TRANSLATION).tokenizer.decode(row.ids)[:OUTPUT_CHARACTERS]
    text = "".join(each for each in read[: len(read) // 2] if not each.isdigit()).replace(NAMES[0], "")
    return TextOutput(text, "eos", tokens, tokens, row.is_truncated)


STEPS = {
    "split": Step(split),
    "protect": Step(protect),
    "find glossary terms": Step(find_glossary_terms),
    "check names": Step(check_names),
    "check language": Step(check_language),
    "check translation": Step(check_translation),
    "check lost numbers": Step(check_lost_numbers),
    "check summary": Step(check_summary),
    "check copied summary": Step(check_copied_summary, tried_characters=500),
    "rewrite HTML": Step(rewrite_html),
    "rewrite Markdown": Step(rewrite_markdown, MAX_CHARACTERS, 400),
}
REQUESTS = {
    "translate": Step(translate, CHARACTERS, 600),
    "translate with terms": Step(translate_with_terms, CHARACTERS, 600),
    "translate HTML": Step(translate_html, CHARACTERS, 600),
    "translate Markdown": Step(translate_markdown, MAX_CHARACTERS, 400),
    "summarize": Step(summarize, CHARACTERS, 600),
    "summarize in parts": Step(summarize_in_parts, CHARACTERS, 600),
}


def text_of(repetition: tuple[str, str], characters: int) -> str:
    """Returns a text that ends with a letter, since spaces at its end would be no part of it."""
    start, unit = repetition
    return f"{start}{unit * ((characters - 2) // len(unit))}y"
