"""Tries outputs again that repeat themselves, are far too short or long, or have lost something of their source.

A sentence gets one further try, of two candidates side by side: the whole sentence, and its clauses translated alone;
a summary is generated again as a whole. Both are generated with n-grams blocked and with the full vocabulary instead of
the shortlist. A candidate is taken if what was wrong with the row is gone and nothing else is. Else the output stays.

The tries are the passes of a plan (`RowPasses`), so they run where other passes do, and an output depends on its own
text and the options only. Where no output has such a warning, nothing runs.
"""

from collections.abc import Sequence
from dataclasses import replace

from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.inference.text.alignment import AlignedPasses, align
from slimseq.inference.text.language import choose_languages
from slimseq.inference.text.passes import regenerate, side_by_side
from slimseq.inference.text.plan import Plan, run_all
from slimseq.inference.text.sentences import Check, Segment, unchecked
from slimseq.inference.text.warnings import REPAIRABLE, OutputWarning, WarningKind, is_repairable, output_warnings
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.manifest import Task

# Rows of one text that are tried again, in reading order. If more are wrong, the text is hardly one for the model.
MAX_ROWS_OF_TEXT = 100


def plan_repair(
    generator: TextGenerator,
    planned: Plan,
    rows: Sequence[TextOutput],
    warnings: Sequence[Sequence[OutputWarning]],
    check: Check = unchecked,
) -> Plan:
    """Returns the plan whose passes try rows again, given the outputs of all rows and the warnings about the texts."""
    generator = choose_languages(generator, planned.prompt.source, planned.prompt.target)
    again = replace(planned, options=planned.options.trying_again(), passes={})
    start = 0
    for pairs, found in zip(planned.segments_of(rows), warnings, strict=True):
        faulty = []
        for row, (segment, output) in enumerate(pairs, start) if is_repairable(found) else ():
            check()
            if REPAIRABLE & _kinds(planned, segment, output):
                faulty.append((row, segment, output))
        for row, segment, output in faulty[:MAX_ROWS_OF_TEXT]:
            passes = _try_again(again, segment, planned.rows[row], output)
            # Inline elements are around the words that belong to them.
            again.passes[row] = align(passes, segment.text, segment.elements, generator) if output.scores else passes
            next(again.passes[row])
        start += len(pairs)
    return again


def _try_again(planned: Plan, segment: Segment, encoding: Encoding, output: TextOutput) -> AlignedPasses:
    """Returns a better output than that of the row, or that output."""
    # The outputs of the first pass are there.
    yield []
    faults = _kinds(planned, segment, output)
    candidates: Sequence[TextOutput]
    if planned.manifest.task is Task.TRANSLATION:
        pair = [*planned.manifest.languages, "en", ""][:2]
        tries = [regenerate(segment.text, segment.spans, *pair, in_clauses=each) for each in (False, True)]
        candidates = yield from side_by_side(tries)
    else:
        candidates = yield [encoding]
    for candidate in candidates:
        found = candidate.cut(planned.prompt.stop)
        is_within = found.output_tokens <= planned.options.max_new_tokens
        if is_within and _kinds(planned, segment, found) <= faults - REPAIRABLE:
            return replace(found, repaired=tuple(sorted(faults & REPAIRABLE)))
    return output


def _kinds(planned: Plan, segment: Segment, output: TextOutput) -> set[WarningKind]:
    manifest, part = planned.manifest, planned.compared_part(segment, output)
    return {each.kind for each in output_warnings(manifest.task, manifest.languages, "", [part])}


def generate_all(
    generator: TextGenerator, planned: Plan, batch_rows: int
) -> tuple[list[TextOutput], list[list[OutputWarning]]]:
    """Generates the outputs of a plan as `run_all` does, repairs them, and returns them with the warnings that stay."""
    rows = run_all(generator, planned, batch_rows).in_order
    outputs, warnings = planned.checked(rows)
    if planned.needs_repair(warnings):
        again = plan_repair(generator, planned, rows, warnings)
        outputs, warnings = planned.checked(run_all(generator, again, batch_rows, rows).in_order)
    return outputs, warnings
