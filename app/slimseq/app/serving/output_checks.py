"""Checks the outputs of a request: short ones on the event loop, long ones on a thread."""

import asyncio
from collections.abc import Sequence

from slimseq.app.serving.documents.plan import Plan
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.evaluation.warnings.checks import Generated, output_warnings
from slimseq.evaluation.warnings.kinds import OutputWarning
from slimseq.inference.generator import TextOutput
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


def _checked(
    manifest: Manifest, prompt: Prompt, planned: Plan, rows: Sequence[TextOutput], outputs: Sequence[TextOutput]
) -> list[list[OutputWarning]]:
    found = []
    remaining = iter(rows)
    for text, segmented, output in zip(prompt.texts, planned.texts, outputs, strict=True):
        # A summary is compared with the text itself, also where it was made of the summaries of parts.
        pairs = (
            [(segment.text, next(remaining)) for segment in segmented.segments]
            if manifest.task is Task.TRANSLATION
            else [(text, output)]
        )
        parts = [Generated(source, each.text, each.finish_reason, each.truncated) for source, each in pairs]
        found.append(output_warnings(manifest.task, manifest.languages, text, parts))
    return found
