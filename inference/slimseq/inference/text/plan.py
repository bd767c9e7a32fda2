"""Text in, text out: a prompt becomes the rows of one generator, and the outputs of the rows its texts again.

`plan` splits and encodes, and `Plan.checked` assembles the outputs and finds what may be wrong with them. Between the
two, a caller generates: `row_passes` says which rows, until what is protected came out right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, repeat
from typing import Any, TypeVar

from slimseq.inference.generator import TextGenerator, TextOutput, joined
from slimseq.inference.text.alignment import AlignedPasses, find_elements, scored_characters
from slimseq.inference.text.errors import InvalidPrompt, MarkupTooComplex, TextTooLong, UnclosedMarkup
from slimseq.inference.text.formats.document import MAX_PIECES, Document, DocumentOutput
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.formats.tags import Span, atoms_of, without_atoms
from slimseq.inference.text.glossary import Glossary, read_glossaries
from slimseq.inference.text.insertion import InsertionPasses
from slimseq.inference.text.language import language_pair
from slimseq.inference.text.long_input import divide
from slimseq.inference.text.misspellings import lost_names, misspelled_names
from slimseq.inference.text.names import NameFinder, find_names, no_names
from slimseq.inference.text.passes import Passes, SentencePasses
from slimseq.inference.text.prompt import Prompt, choose_options
from slimseq.inference.text.sentences import (
    Check,
    Segment,
    SegmentedText,
    split_sentences,
    unchecked,
    whole,
    without_wordless,
)
from slimseq.inference.text.spans import SpanKind, overlaps
from slimseq.inference.text.warnings import Compared, OutputWarning, is_repairable, output_warnings, untranslated
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Manifest, Task

# Tokenized at once, between two checks. Few short texts are tokenized one by one, which takes less time.
TEXTS_AT_ONCE = 64
SHORT_CHARACTERS = 4000
# Forced passes of a request read at most this many characters. Further inline elements go around the same words, or the
# words at the same place.
MAX_SCORED_CHARACTERS = 20_000
# Generation takes as long as there are beams: with more than these, a request may have fewer texts and sentences.
USUAL_BEAMS = 4

Row = TypeVar("Row")


@dataclass
class Plan:
    """The rows of a request, in reading order over all texts, and how their outputs are joined.

    `passes` has, by row, the passes of a sentence with spans or inline elements, whose first input is the row. They run
    once, by `RowPasses`. If the prompt has markup, `texts` are those of the documents. `plain` has the texts without
    markup. `find_names` finds what the model cannot write.
    """

    manifest: Manifest
    prompt: Prompt
    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    plain: Sequence[str]
    passes: dict[int, Passes] = field(default_factory=dict)
    documents: Sequence[Document] | None = None
    find_names: NameFinder = no_names

    @property
    def segments(self) -> list[Segment]:
        """The segments of all texts, one for each row."""
        return [segment for text in self.texts for segment in text.segments]

    def segments_of(self, rows: Sequence[Row]) -> list[list[tuple[Segment, Row]]]:
        """Returns the segments of each text of the prompt, with what their rows have."""
        groups = [[*zip(text.segments, own, strict=True)] for text, own in _groups(rows, self.texts)]
        if self.documents is None:
            return groups
        left = iter(groups)
        return [[pair for own in islice(left, len(each.texts)) for pair in own] for each in self.documents]

    def check_fits(self, generator: TextGenerator) -> None:
        for index, pairs in enumerate(self.segments_of(self.rows)):
            for _, row in pairs:
                if not row.is_truncated:
                    continue
                more = "" if row.is_counted else " or more"
                reason = f"has {row.full_length} tokens{more} and the model reads at most {generator.max_input_tokens}"
                raise TextTooLong(f"{self.prompt.place_of(index)}: the text {reason}")

    def assemble(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        texts = [join_outputs(text, own) for text, own in _groups(outputs, self.texts)]
        if self.documents is None:
            return texts
        assembled: list[TextOutput] = []
        left = iter(texts)
        for document in self.documents:
            check()
            assembled.append(document.assemble(list(islice(left, len(document.texts)))))
        return assembled

    def checked(
        self, rows: Sequence[TextOutput], check: Check = unchecked
    ) -> tuple[list[TextOutput], list[list[OutputWarning]]]:
        """Returns the output of each text, and the warnings about it, given the outputs of the rows."""
        outputs, warnings = self.assemble(rows, check), []
        for text, parts, output in zip(self.plain, self.compared(rows, outputs), outputs, strict=True):
            check()
            warnings.append(output_warnings(self.manifest.task, self.manifest.languages, text, parts))
            if isinstance(output, DocumentOutput) and output.untranslated:
                warnings[-1].append(untranslated(output.untranslated))
        return self.with_alternatives(rows, outputs, check), warnings

    def needs_repair(self, warnings: Sequence[Sequence[OutputWarning]]) -> bool:
        return self.prompt.repair and any(map(is_repairable, warnings))

    def with_alternatives(
        self, rows: Sequence[TextOutput], outputs: list[TextOutput], check: Check = unchecked
    ) -> list[TextOutput]:
        """Adds the alternatives, each another text. The k-th has the k-th best output of each row that has so many."""
        if self.options.num_return_sequences == 1:
            return outputs
        found = [{output.text: output} for output in outputs]
        for rank in range(self.options.num_return_sequences - 1):
            ranked = [row.alternatives[rank] if rank < len(row.alternatives) else row for row in rows]
            for texts, other in zip(found, self.assemble(ranked, check), strict=True):
                texts.setdefault(other.text, other)
        pairs = zip(outputs, found, strict=True)
        return [replace(output, alternatives=tuple(texts.values())[1:]) for output, texts in pairs]

    def compared(self, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]) -> list[list[Compared]]:
        """Returns what is compared for each text: its sentences with their translations, or itself with its summary."""
        if self.manifest.task is Task.TRANSLATION:
            return [[self.compared_part(*pair) for pair in pairs] for pairs in self.segments_of(rows)]
        # A summary is compared with the whole text, also where it was made of the summaries of parts.
        return [
            [
                Compared(
                    text,
                    output.text,
                    output.finish_reason,
                    output.truncated,
                    names=tuple(each.text for each in misspelled_names(text, output.text)),
                    parts=tuple(Compared(part.text, row.text, row.finish_reason) for part, row in pairs),
                )
            ]
            for text, output, pairs in zip(self.plain, outputs, self.segments_of(rows), strict=True)
        ]

    def compared_part(self, segment: Segment, output: TextOutput) -> Compared:
        source, text, lost = segment.text, output.text, output.lost
        if self.documents is not None:
            source, text = without_atoms(source), without_atoms(text)
            lost = tuple(filter(without_atoms, lost))
        # What protection had to look at, it has looked at.
        is_checked = self.prompt.protect and segment.spans
        checked = lost if is_checked or lost else None
        places = [(span.start, span.end) for span in segment.spans]
        misspelled = misspelled_names(segment.text, output.text)
        names = [each.text for each in misspelled if not overlaps((each.start, each.end), places)]
        if not self.prompt.protect:
            names += [each for each in lost_names(self.find_names(source), text) if each not in names]
        return Compared(source, text, output.finish_reason, output.truncated, checked, tuple(names))


def _groups(rows: Sequence[Row], texts: Sequence[SegmentedText]) -> list[tuple[SegmentedText, list[Row]]]:
    left = iter(rows)
    return [(text, [*islice(left, len(text.segments))]) for text in texts]


def join_outputs(text: SegmentedText, outputs: Sequence[TextOutput]) -> TextOutput:
    """Joins the outputs of a text's segments, and their scores."""
    if len(outputs) == 1 and not text.after and not text.segments[0].before:
        return outputs[0]
    scores, position = [], 0
    for segment, output in zip(text.segments, outputs, strict=True):
        position += len(segment.lead(output.text))
        scores += [each._replace(start=each.start + position, end=each.end + position) for each in output.scores]
        position += len(output.text)
    return replace(joined(text.join([output.text for output in outputs]), outputs), scores=tuple(scores))


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
    planned = Plan(generator.manifest, prompt, [], [], options, plain, {}, documents if is_translation else None)
    if is_translation:
        _add_sentences(planned, generator, max_rows, check)
        _add_passes(planned, generator, check)
    else:
        _add_whole_texts(planned, generator, check)
    parts = [segment.text for segment in planned.segments]
    for row, passes in planned.passes.items():
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
    spans: Iterable[list[Span[Any]]] = repeat([])
    if planned.documents is not None:
        sections = [section for document in planned.documents for section in document.sections]
        texts = [passage.text for section in sections for passage in section.passages]
        spans = [passage.elements for section in sections for passage in section.passages]
    rows = 0
    planned.find_names = partial(find_names, alphabet=generator.tokenizer.alphabet, source=source, target=target)

    def check_count(count: int) -> None:
        check()
        if rows + count > max_rows:
            raise InvalidPrompt(f"text: has more than {max_rows} segments, the most with its num_beams")

    for text, inline in zip(texts, spans, strict=False):
        own = () if planned.documents is None else atoms_of(text)
        segmented = split_sentences(
            text,
            source,
            is_protected=prompt.protect,
            ranges=own,
            glossaries=glossaries,
            find_names=planned.find_names,
            check=check_count,
        )
        segmented = without_wordless(segmented, source, target, is_protected=prompt.protect)
        if inline:
            segmented = segmented._replace(segments=find_elements(segmented.segments, text, inline))
        planned.texts.append(segmented)
        rows += len(segmented.segments)


def _add_passes(planned: Plan, generator: TextGenerator, check: Check) -> None:
    """Adds the passes of sentences with spans or inline elements."""
    source, target = language_pair(planned.manifest.languages)
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
    left = MAX_PIECES
    for index, text in enumerate(prompt.texts):
        check()
        try:
            document = read(text, left)
        except (MarkupTooComplex, UnclosedMarkup) as error:
            raise type(error)(f"{prompt.place_of(index)}: {error}") from error
        documents.append(document)
        left -= document.pieces
    return documents
