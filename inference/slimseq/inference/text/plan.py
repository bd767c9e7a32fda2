"""Text in, text out: a prompt becomes the rows of one generator, and the outputs of the rows its texts again.

`plan` splits and encodes, `RowPasses` says which rows to generate next until what is protected came out right, and
`Plan.checked` assembles the outputs and finds what may be wrong with them. Generating is left to the caller: `load` and
the programs of evaluations do it on their thread, the service through the queue of a variant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice, repeat
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from slimseq.inference.generator import OnOverflow, TextGenerator, TextOutput, joined
from slimseq.inference.text.alignment import AlignedPasses, align, find_elements, scored_characters
from slimseq.inference.text.errors import InvalidPrompt, MarkupTooComplex, TextTooLong, UnclosedMarkup
from slimseq.inference.text.formats.document import MAX_PIECES, Document
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.formats.tags import Span, atoms_of, without_atoms
from slimseq.inference.text.glossary import Glossary, read_glossaries
from slimseq.inference.text.insertion import insert_terms
from slimseq.inference.text.language import choose_languages
from slimseq.inference.text.localization import render_all
from slimseq.inference.text.long_input import divide
from slimseq.inference.text.names import NameFinder, find_names, lost_names, misspelled_names, no_names
from slimseq.inference.text.passes import regenerate
from slimseq.inference.text.sentences import Check, Segment, SegmentedText, split_sentences, unchecked, whole
from slimseq.inference.text.spans import SpanKind, has_unprotected_words, overlaps
from slimseq.inference.text.warnings import Compared, OutputWarning, is_repairable, output_warnings, untranslated
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Manifest, Task

LongInput = Literal["truncate", "map_reduce"]
Format = Literal["text", "html", "markdown"]
# Tokenized at once, between two checks. Few short texts are tokenized one by one, which takes less time.
TEXTS_AT_ONCE = 64
SHORT_CHARACTERS = 4000
# Forced passes of a request read at most this many characters. Further inline elements go around the same words, or the
# words at the same place.
MAX_SCORED_CHARACTERS = 20_000
# Generation takes as long as there are beams: with more than these, a request may have fewer texts and sentences.
USUAL_BEAMS = 4
# Clients send the same options again and again: their check takes longer than to look them up.
MAX_KNOWN_OPTIONS = 256

Row = TypeVar("Row")


@dataclass
class Prompt:
    """Texts and how to generate from them. None means the default of the artifact.

    Args:
        on_overflow: what to do with a text that exceeds the model's context window.
        long_input: whether such a document is truncated or summarized part by part.
        prefix: text before each input.
        format: of the texts. The markup of HTML and Markdown is kept in translations, and removed for summaries.
        protect: whether numbers, URLs and their like have to come out as they went in. Translation only.
        repair: whether outputs with a warning that a further try may remove are generated again.
        speculate: whether greedy search may draft tokens, which changes no output.
        glossary: terms, and what stands for them in translations. A name is for the service to find.
        keep: names that come out as they went in. Translation only, as is the glossary.
    """

    texts: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    on_overflow: OnOverflow = "truncate"
    long_input: LongInput = "truncate"
    stop: tuple[str, ...] = ()
    prefix: str | None = None
    source: str | None = None
    target: str | None = None
    format: Format = "text"
    protect: bool = True
    repair: bool = True
    speculate: bool = True
    glossary: Glossary | Mapping[str, str] | str | None = None
    keep: Sequence[str] = ()

    @cached_property
    def characters(self) -> int:
        return sum(map(len, self.texts))

    @property
    def languages(self) -> tuple[str | None, str | None] | None:
        return (self.source, self.target) if self.source or self.target else None


@dataclass
class Plan:
    """The rows of a request, in reading order over all texts, and how their outputs are joined.

    `passes` has, by row, the passes of a sentence with spans or inline elements, whose first is the row. `RowPasses`
    has the others. If the prompt has markup, `texts` are those of the documents. `plain` has the texts without markup.
    `find_names` finds what the model cannot write.
    """

    manifest: Manifest
    prompt: Prompt
    texts: list[SegmentedText]
    rows: list[Encoding]
    options: GenerationOptions
    plain: Sequence[str]
    passes: dict[int, AlignedPasses] = field(default_factory=dict)
    documents: Sequence[Document] | None = None
    find_names: NameFinder = no_names

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
                if row.is_truncated:
                    tokens = f"{row.full_length} tokens{'' if row.is_counted else ' or more'}"
                    reason = f"the text has {tokens} and the model reads at most {generator.max_input_tokens}"
                    raise TextTooLong(f"{_place(self.prompt, index)}: {reason}")

    def assemble(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[TextOutput]:
        """Joins the outputs of the rows to one for each text. Tokens add up; one truncated row marks the text."""
        texts = [join_outputs(text, own) for text, own in _groups(outputs, self.texts)]
        if self.documents is None:
            return texts
        assembled: list[TextOutput] = []
        left = iter(texts)
        for document in self.documents:
            check()
            own = list(islice(left, len(document.texts)))
            written = document.write(own)
            whole = joined(written.text, own)
            # Atoms are put back.
            lost = tuple(each for each in whole.lost if without_atoms(each))
            assembled.append(DocumentOutput(**vars(whole) | {"lost": lost}, untranslated=written.untranslated))
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


@dataclass(frozen=True)
class DocumentOutput(TextOutput):
    """The output for a document, and the texts in it that stayed as they were, so that its structure is kept."""

    untranslated: tuple[str, ...] = ()


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
    else:
        if documents is not None and (empty := [index for index, text in enumerate(plain) if not text]):
            raise InvalidPrompt(f"{_place(prompt, empty[0])}: has no text beside its markup")
        for text in plain:
            is_divided = prompt.long_input == "map_reduce"
            planned.texts.append(divide(generator, text, prompt.prefix, check) if is_divided else whole(text))
    parts = [segment.text for text in planned.texts for segment in text.segments]
    for row, passes in planned.passes.items():
        [parts[row]] = map(str, next(passes))
        check()
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


def _add_sentences(planned: Plan, generator: TextGenerator, max_rows: int, check: Check) -> None:
    """Adds the sentences of texts, and the passes of those with spans or inline elements."""
    source, target = [*planned.manifest.languages, "en", ""][:2]
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
    rows = aligned = 0
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
        segmented = _without_wordless(segmented, source, target, is_protected=prompt.protect)
        if inline:
            segmented = segmented._replace(segments=find_elements(segmented.segments, text, inline))
        planned.texts.append(segmented)
        for row, segment in enumerate(segmented.segments, rows):
            if segment.spans or segment.elements:
                passes: AlignedPasses = regenerate(segment.text, segment.spans, source, target)
                if glossaries and any(span.kind is SpanKind.TERM for span in segment.spans):
                    passes = insert_terms(segment.text, segment.spans, source, target, generator)
                planned.passes[row] = passes
                if segment.elements and (aligned := aligned + scored_characters(segment)) <= MAX_SCORED_CHARACTERS:
                    planned.passes[row] = align(passes, segment, generator)
        rows += len(segmented.segments)


def _without_wordless(text: SegmentedText, source: str, target: str, *, is_protected: bool) -> SegmentedText:
    """Adds segments without words, such as numbers, to what is between the others: no model reads them."""
    segments: list[Segment] = []
    pending: list[str] = []
    for segment in text.segments:
        if (segment.spans or is_protected) and not has_unprotected_words(segment.text, segment.spans):
            pending += [segment.before, render_all(segment.text, segment.spans, source, target)]
        else:
            segments.append(segment._replace(before="".join([*pending, segment.before])) if pending else segment)
            pending = []
    return SegmentedText(segments, "".join([*pending, text.after]))


def _read_documents(prompt: Prompt, check: Check) -> list[Document]:
    documents: list[Document] = []
    read = read_html if prompt.format == "html" else read_markdown
    left = MAX_PIECES
    for index, text in enumerate(prompt.texts):
        check()
        try:
            document = read(text, left)
        except (MarkupTooComplex, UnclosedMarkup) as error:
            raise type(error)(f"{_place(prompt, index)}: {error}") from error
        documents.append(document)
        left -= document.pieces
    return documents


def _place(prompt: Prompt, index: int) -> str:
    return f"text[{index}]" if len(prompt.texts) > 1 else "text"


def choose_options(generator: TextGenerator, prompt: Prompt) -> tuple[TextGenerator, GenerationOptions]:
    """Returns a generator for the languages of a prompt, and its options. Raises as `plan`, whatever the texts are."""
    generator = choose_languages(generator, prompt.source, prompt.target)
    most = generator.max_input_tokens // 2 if prompt.prefix else 0
    if prompt.prefix and (tokens := generator.encode("", prompt.prefix).full_length) > most:
        raise InvalidPrompt(f"prefix: has {tokens} tokens; at most {most} are allowed, half of the context window")
    options = generator.known_options.get(key := repr(prompt.options)) if prompt.options else generator.default_options
    if options is None:
        try:
            options = generator.manifest.generation.options(**prompt.options)
        except ValidationError as error:
            raise InvalidOptions(first_error(error, whole="")) from error
        generator.check(options)
        if len(generator.known_options) >= MAX_KNOWN_OPTIONS:
            generator.known_options.clear()
        generator.known_options[key] = options
    if not prompt.speculate:
        options = options.without_speculation()
    return generator, options if generator.first_token is None else options.beginning_with(generator.first_token)


@dataclass
class RowPasses:
    """The passes of rows of a plan, side by side.

    A caller generates the rows that `begin` and `go_on` return, until there are no more. `outputs` has the final ones.
    """

    generator: TextGenerator
    plan: Plan
    outputs: dict[int, TextOutput] = field(default_factory=dict)
    # The rows that wait for outputs, and how many.
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = choose_languages(self.generator, self.plan.prompt.source, self.plan.prompt.target)

    @property
    def in_order(self) -> list[TextOutput]:
        return [self.outputs[row] for row in range(len(self.plan.rows))]

    def begin(self, outputs: Iterable[tuple[int, TextOutput]], check: Check = unchecked) -> list[Encoding]:
        """Takes the first outputs of rows, by row. Returns the rows of the next pass, none if all is right."""
        first: list[tuple[int, Sequence[TextOutput]]] = []
        for row, output in outputs:
            if row in self.plan.passes:
                first.append((row, [output]))
            else:
                self.outputs[row] = output.cut(self.plan.prompt.stop)
        return self._advance(first, check)

    def go_on(self, outputs: Sequence[TextOutput], check: Check = unchecked) -> list[Encoding]:
        """Takes the outputs of the last pass. Returns the rows of the next one, none if all is right."""
        left = iter(outputs)
        return self._advance([(row, list(islice(left, count))) for row, count in self._waiting], check)

    def _advance(self, received: Sequence[tuple[int, Sequence[TextOutput]]], check: Check) -> list[Encoding]:
        self._waiting = []
        texts: list[str | Encoding] = []
        for row, outputs in received:
            check()
            try:
                further = self.plan.passes[row].send(outputs)
            except StopIteration as end:
                self.outputs[row] = end.value.cut(self.plan.prompt.stop)
            else:
                self._waiting.append((row, len(further)))
                texts += further
        if not texts:
            return []
        encoded = iter(self.generator.encode_many([text for text in texts if isinstance(text, str)]))
        return [next(encoded) if isinstance(text, str) else text for text in texts]


def run_all(
    generator: TextGenerator, planned: Plan, batch_rows: int, first: Sequence[TextOutput] | None = None
) -> RowPasses:
    """Generates all passes of a plan, but for a `first` that is given, without a queue; similar lengths together."""

    def generate(rows: Sequence[Encoding]) -> list[TextOutput]:
        order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
        found: dict[int, TextOutput] = {}
        for start in range(0, len(order), batch_rows):
            batch = order[start : start + batch_rows]
            found |= zip(batch, generator.generate([rows[row] for row in batch], planned.options), strict=True)
        return [found[row] for row in range(len(rows))]

    passes = RowPasses(generator, planned)
    rows = passes.begin(enumerate(generate(planned.rows) if first is None else first))
    while rows:
        rows = passes.go_on(generate(rows))
    return passes
