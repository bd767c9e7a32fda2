"""A prompt becomes the rows of one generator: its texts are split into sentences, and these are encoded.

Documents with markup are read first. The spans of a sentence that must not change, its inline elements and the terms of
a glossary get passes. `rows` generates the rows, and makes texts of their outputs again.
"""

from collections.abc import Iterable
from functools import partial
from itertools import repeat
from typing import Any

from pydantic import ValidationError

from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.alignment import AlignedPasses, find_elements, scored_characters
from slimseq.inference.text.errors import InvalidPrompt, MarkupTooComplex, UnclosedMarkup
from slimseq.inference.text.formats.document import MAX_PIECES, Document
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.formats.tags import InlineElement, atoms_of
from slimseq.inference.text.glossary import Glossary, read_glossaries
from slimseq.inference.text.insertion import InsertionPasses
from slimseq.inference.text.language import choose_languages, language_pair
from slimseq.inference.text.long_input import divide
from slimseq.inference.text.names import find_names
from slimseq.inference.text.passes import Passes, SentencePasses
from slimseq.inference.text.rows import Plan, Prompt
from slimseq.inference.text.sentences import Check, split_sentences, unchecked, whole, without_wordless
from slimseq.inference.text.span_rules import SpanKind
from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Task

# Texts that are tokenized at once, between two checks.
TEXTS_AT_ONCE = 64
# The texts of a prompt with so many characters at most are tokenized one by one, which takes less time, but holds the
# interpreter.
SHORT_CHARACTERS = 500
# Forced passes of a request read at most this many characters. Further inline elements go around the same words, or the
# words at the same place.
MAX_SCORED_CHARACTERS = 20_000
# Generation takes longer with each beam: with more than these, a request may have fewer texts and sentences.
USUAL_BEAMS = 4
# Options of requests that are remembered with their check. Clients send the same options again and again, and a check
# takes longer than a look-up.
MAX_KNOWN_OPTIONS = 256


def plan(generator: TextGenerator, prompt: Prompt, max_rows: int, check: Check = unchecked) -> Plan:
    """Plans a prompt, of at most `max_rows` rows. `check` is called between texts and sentences, and may raise.

    Raises:
        InvalidOptions: an option is out of range, contradicts another, or is more than the model can do.
        InvalidPrompt: the texts have too many sentences, or the prefix is too long.
        MarkupTooComplex, UnclosedMarkup: the markup of a text cannot be read.
        UnsupportedLanguages: the artifact translates other languages.
        TextTooLong: a text exceeds the context window and the prompt forbids truncation.
    """
    generator, options = choose_options(generator, prompt)
    max_rows = most_with(options.num_beams, max_rows)
    documents = None if prompt.format == "text" else _read_documents(prompt, check)
    plain = prompt.texts if documents is None else [document.plain for document in documents]
    is_translation = generator.manifest.task is Task.TRANSLATION
    planned = Plan(
        manifest=generator.manifest,
        prompt=prompt,
        texts=[],
        rows=[],
        options=options,
        plain=plain,
        documents=documents if is_translation else None,
    )
    if is_translation:
        _add_sentences(planned, generator, max_rows, check)
        _add_passes(planned, generator, check)
    else:
        _add_whole_texts(planned, generator, check)

    parts = [segment.text for segment in planned.segments]
    for row, passes in planned.passes.items():
        # The first pass has one input: the segment as the model reads it best.
        [first] = passes.inputs
        parts[row] = str(first)
    if prompt.characters <= SHORT_CHARACTERS:
        planned.rows.extend([generator.encode(part, prompt.prefix) for part in parts])
    else:
        for start in range(0, len(parts), TEXTS_AT_ONCE):
            check()
            planned.rows.extend(generator.encode_many(parts[start : start + TEXTS_AT_ONCE], prompt.prefix))
    if prompt.on_overflow == "error":
        planned.check_fits(generator)
    return planned


def most_with(num_beams: int, most: int) -> int:
    """Returns how many texts or sentences a request with these beams may have. `most` is the limit with few beams."""
    return most * USUAL_BEAMS // max(num_beams, USUAL_BEAMS)


def _add_whole_texts(planned: Plan, generator: TextGenerator, check: Check) -> None:
    """Adds the texts of a summarizer, or their parts."""
    prompt = planned.prompt
    for index, text in enumerate(planned.plain):
        if prompt.format != "text" and not text:
            raise InvalidPrompt(f"{prompt.place_of(index)}: has no text beside its markup")
    for text in planned.plain:
        is_divided = prompt.long_input == "map_reduce"
        planned.texts.append(divide(generator, text, prompt.prefix, check) if is_divided else whole(text))


def _add_sentences(planned: Plan, generator: TextGenerator, max_rows: int, check: Check) -> None:
    """Adds the sentences of texts, and what must not change in them."""
    source, target = language_pair(planned.manifest.languages)
    prompt = planned.prompt
    glossaries: list[Glossary] = []
    if prompt.glossary or prompt.keep:
        if isinstance(prompt.glossary, str):
            raise InvalidPrompt("glossary: names are for the service; read_glossary_file reads a file")
        glossaries = read_glossaries(prompt.glossary, prompt.keep)

    texts = prompt.texts
    elements_of_texts: Iterable[list[InlineElement[Any]]] = repeat([])
    if planned.documents is not None:
        sections = [section for document in planned.documents for section in document.sections]
        texts = [passage.text for section in sections for passage in section.passages]
        elements_of_texts = [passage.elements_to_find for section in sections for passage in section.passages]

    rows = 0
    planned.find_names = partial(find_names, alphabet=generator.tokenizer.alphabet, source=source, target=target)

    def check_count(count: int) -> None:
        check()
        if rows + count > max_rows:
            raise InvalidPrompt(f"text: has more than {max_rows} segments, the most with its num_beams")

    for text, elements in zip(texts, elements_of_texts, strict=False):
        atoms = () if planned.documents is None else atoms_of(text)
        segmented = split_sentences(
            text,
            source,
            is_protected=prompt.protect,
            ranges=atoms,
            glossaries=glossaries,
            find_names=planned.find_names,
            check=check_count,
        )
        segmented = without_wordless(segmented, source, target, is_protected=prompt.protect)
        if elements:
            segmented = segmented._replace(segments=find_elements(segmented.segments, text, elements))
        planned.texts.append(segmented)
        rows += len(segmented.segments)


def _add_passes(planned: Plan, generator: TextGenerator, check: Check) -> None:
    """Adds the passes of sentences with spans or inline elements."""
    source, target = language_pair(planned.manifest.languages)
    # Characters that the forced passes of the sentences so far read.
    scored = 0
    for row, segment in enumerate(planned.segments):
        if not segment.spans and not segment.elements:
            continue
        check()
        passes: Passes
        if any(span.kind is SpanKind.TERM for span in segment.spans):
            passes = InsertionPasses(segment.text, segment.spans, source, target, generator)
        else:
            passes = SentencePasses(segment.text, segment.spans, source, target)
        if segment.elements:
            scored += scored_characters(segment)
            if scored <= MAX_SCORED_CHARACTERS:
                passes = AlignedPasses(passes, segment, generator)
        planned.passes[row] = passes


def _read_documents(prompt: Prompt, check: Check) -> list[Document]:
    documents: list[Document] = []
    read = read_html if prompt.format == "html" else read_markdown
    pieces_left = MAX_PIECES
    for index, text in enumerate(prompt.texts):
        check()
        try:
            document = read(text, pieces_left)
        except (MarkupTooComplex, UnclosedMarkup) as error:
            raise type(error)(f"{prompt.place_of(index)}: {error}") from error
        documents.append(document)
        pieces_left -= document.pieces
    return documents


def choose_options(generator: TextGenerator, prompt: Prompt) -> tuple[TextGenerator, GenerationOptions]:
    """Returns a generator for the languages of a prompt, and its options. Raises as `plan`, whatever the texts are."""
    generator = choose_languages(generator, prompt.source, prompt.target)
    if prompt.prefix:
        tokens = generator.encode("", prompt.prefix).full_length
        most = generator.max_input_tokens // 2
        if tokens > most:
            raise InvalidPrompt(f"prefix: has {tokens} tokens; at most {most} are allowed, half of the context window")
    options = _known_options(generator, prompt.options) if prompt.options else generator.default_options
    if not prompt.speculate:
        options = options.without_speculation()
    if generator.first_token is not None:
        options = options.beginning_with(generator.first_token)
    return generator, options


def _known_options(generator: TextGenerator, given: dict[str, Any]) -> GenerationOptions:
    """Returns checked options. They are kept for the next prompt that has the same options."""
    key = repr(given)
    known = generator.known_options.get(key)
    if known is not None:
        return known
    try:
        options = generator.manifest.generation.options(**given)
    except ValidationError as error:
        raise InvalidOptions(first_error(error, whole="")) from error
    generator.check(options)
    if len(generator.known_options) >= MAX_KNOWN_OPTIONS:
        generator.known_options.clear()
    generator.known_options[key] = options
    return options
