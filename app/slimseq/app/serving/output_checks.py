"""Checks the outputs of a request: short ones on the event loop, long ones on a thread."""

import asyncio
from collections.abc import Sequence

from slimseq.app.serving.documents.formats.tags import without_atoms
from slimseq.app.serving.documents.plan import DocumentOutput, Plan
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.documents.segmenter import Segment
from slimseq.inference.generator import TextOutput
from slimseq.inference.text.warnings.checks import Compared, OutputWarning, output_warnings, untranslated
from slimseq.models_store.manifest import Manifest, Task

# Of sources and outputs together. To check so many takes about 2 ms.
SHORT_CHARACTERS = 8000


async def checked(
    manifest: Manifest, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> list[list[OutputWarning]]:
    """Returns the warnings about each output.

    Args:
        manifest: of the artifact that generated.
        prompt: the texts.
        planned: how they were split.
        rows: the outputs of the plan's rows.
        outputs: the outputs of the texts.
    """
    size = prompt.characters + sum(len(output.text) for output in outputs)
    if size <= SHORT_CHARACTERS:
        return _checked(manifest, prompt, planned, rows, outputs)
    return await asyncio.to_thread(_checked, manifest, prompt, planned, rows, outputs)


def compared_parts(
    task: Task, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> list[list[Compared]]:
    """Returns what is compared for each text: its sentences with their translations, or itself with its summary."""
    if task is Task.TRANSLATION:
        return [[_generated(prompt, *pair) for pair in pairs] for pairs in planned.segments_of(rows)]
    # A summary is compared with the whole text, also where it was made of the summaries of parts.
    return [
        [Compared(text, output.text, output.finish_reason, output.truncated)]
        for text, output in zip(planned.plain, outputs, strict=True)
    ]


def _checked(
    manifest: Manifest, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> list[list[OutputWarning]]:
    parts = compared_parts(manifest.task, prompt, planned, rows, outputs)
    found = [
        output_warnings(manifest.task, manifest.languages, text, own)
        for text, own in zip(planned.plain, parts, strict=True)
    ]
    for warnings, output in zip(found, outputs, strict=True):
        if isinstance(output, DocumentOutput) and output.untranslated:
            warnings.append(untranslated(output.untranslated))
    return found


def _generated(prompt: Prompt, segment: Segment, output: TextOutput) -> Compared:
    # What protection had to look at, it has looked at.
    lost = tuple(each for each in output.lost if without_atoms(each)) if prompt.protect and segment.spans else None
    source, text = segment.text, output.text
    if prompt.format != "text":
        source, text = without_atoms(source), without_atoms(text)
    return Compared(source, text, output.finish_reason, output.truncated, lost)
