"""Tries outputs again that repeat themselves, are far too short or long, or have lost something of their source.

A row gets one further try, with repeated n-grams blocked and without a shortlist. A sentence is tried in two ways side
by side: its clauses, each alone, and the whole sentence. A text to summarize is tried as a whole. The first candidate
without any of these faults, and without a new one, is taken. Else the output stays. The tries are passes of a plan
(`RowPasses`). docs/decisions/040 has figures.
"""

from collections.abc import Sequence
from dataclasses import replace

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.alignment import AlignedPasses
from slimseq.inference.text.language import choose_languages, language_pair
from slimseq.inference.text.names import misspelled_names, with_names
from slimseq.inference.text.passes import Passes, PassesSideBySide, SentencePasses, SinglePass
from slimseq.inference.text.rows import Plan, run_all
from slimseq.inference.text.sentences import Check, Segment, unchecked
from slimseq.inference.text.warnings import REPAIRABLE, TextWarning, WarningKind, is_repairable, output_warnings
from slimseq.models_store.generation import GenerationOptions, UnrestrictedOptions
from slimseq.models_store.manifest import Task

# Tokens of an n-gram that a further try may not repeat, where the request sets no `no_repeat_ngram_size`.
NGRAM_SIZE = 3
# By how much the mean log-probability of a candidate may be lower than that of the output. Where the source repeats
# something too, a model that may not repeat it writes nonsense, with a low probability.
MAX_LOSS = 1.0
# Rows of one text that are tried again, in reading order. If more are wrong, the model hardly knows such texts, and
# further tries would take long.
MAX_ROWS_OF_TEXT = 100


def plan_repair(
    generator: TextGenerator,
    planned: Plan,
    rows: Sequence[TextOutput],
    warnings: Sequence[Sequence[TextWarning]],
    check: Check = unchecked,
) -> Plan:
    """Returns the plan whose passes try rows again, given the outputs of all rows and the warnings about the texts."""
    generator = choose_languages(generator, planned.prompt.source, planned.prompt.target)
    again = replace(planned, options=_further_options(planned.options), passes={})
    start = 0
    for pairs, found in zip(planned.segments_of(rows), warnings, strict=True):
        tries_left = MAX_ROWS_OF_TEXT if is_repairable(found) else 0
        for row, (segment, output) in enumerate(pairs, start):
            check()
            if tries_left == 0:
                continue
            faults = _warning_kinds(planned, segment, output)
            if faults.isdisjoint(REPAIRABLE):
                continue
            passes: Passes = RepairPasses(again, row, segment, faults)
            if output.scores:
                passes = AlignedPasses(passes, segment, generator)
            again.passes[row] = passes
            tries_left -= 1
        start += len(pairs)
    return again


def _further_options(options: GenerationOptions) -> GenerationOptions:
    """Returns options that block repeated n-grams, and do not restrict the vocabulary to a shortlist."""
    fields = options.model_dump() | {"no_repeat_ngram_size": options.no_repeat_ngram_size or NGRAM_SIZE}
    unrestricted = UnrestrictedOptions(**fields)
    first_token = options.forced_bos_token_id
    return unrestricted if first_token is None else unrestricted.beginning_with(first_token)


class RepairPasses(Passes):
    """Tries a row of a plan again, and ends with a better output, or with the one that has the faults.

    The first input is the row itself, as it is for all passes of a plan. A caller has its output already.
    """

    def __init__(self, planned: Plan, row: int, segment: Segment, faults: set[WarningKind]) -> None:
        super().__init__()
        self._plan = planned
        self._segment = segment
        self._faults = faults
        self._row = planned.rows[row]
        self.inputs = [self._row]
        self._first: TextOutput | None = None

    def _take(self, outputs: Sequence[TextOutput]) -> None:
        if self._first is None:
            [self._first] = outputs
            self._tries = PassesSideBySide(self._candidates(self._first))
        else:
            self._tries.receive(outputs)
        self.inputs = self._tries.inputs
        if not self.inputs:
            self._finish(self._best(self._first, self._tries.outputs))

    def _candidates(self, output: TextOutput) -> list[Passes]:
        if self._plan.manifest.task is not Task.TRANSLATION:
            return [SinglePass(self._row)]
        text = self._segment.text
        # Names that were left to the model.
        names = misspelled_names(text, output.text) if self._plan.prompt.protect else []
        spans = with_names(self._segment.spans, names)
        source, target = language_pair(self._plan.manifest.languages)
        return [SentencePasses(text, spans, source, target, in_clauses=each) for each in (True, False)]

    def _best(self, output: TextOutput, candidates: Sequence[TextOutput]) -> TextOutput:
        """Returns the first candidate that has no fault, or none that can be repaired, else the output."""
        for candidate in candidates:
            found = candidate.cut(self._plan.prompt.stop)
            loss = (output.mean_log_probability or 0.0) - (found.mean_log_probability or 0.0)
            if found.output_tokens > self._plan.options.max_new_tokens or loss > MAX_LOSS:
                continue
            # No fault that can be repaired, and no new one.
            allowed_faults = self._faults - REPAIRABLE
            if _warning_kinds(self._plan, self._segment, found) <= allowed_faults:
                kinds = tuple(sorted(self._faults & REPAIRABLE))
                return replace(found, repaired=kinds, input_tokens=output.input_tokens)
        return output


def _warning_kinds(planned: Plan, segment: Segment, output: TextOutput) -> set[WarningKind]:
    """Returns the kinds of warnings about the output of one row."""
    manifest, part = planned.manifest, planned.compared_part(segment, output)
    if manifest.task is not Task.TRANSLATION or not planned.prompt.protect:
        # The model reads the same name again, and would misspell it again.
        part = part._replace(names=())
    return {each.kind for each in output_warnings(manifest.task, manifest.languages, "", [part])}


def generate_all(
    generator: TextGenerator, planned: Plan, batch_rows: int
) -> tuple[list[TextOutput], list[list[TextWarning]]]:
    """Returns the outputs of a plan as `run_all` generates them, repaired, and the warnings that stay."""
    rows = run_all(generator, planned, batch_rows).in_order
    outputs, warnings = planned.checked(rows)
    if planned.needs_repair(warnings):
        again = plan_repair(generator, planned, rows, warnings)
        outputs, warnings = planned.checked(run_all(generator, again, batch_rows, rows).in_order)
    return outputs, warnings
