"""Pivot translation: a first variant translates the source into the pivot (English), a second one into the target.

The service answers both halves as two calls. This module makes the first call, and joins the two responses into one.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from slimseq.answers import ChainedVariant, Output, Timings
from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.call import Call
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.serving.pool.pool import Pool
from slimseq.inference.text.plan import choose_options
from slimseq.inference.text.rows import Prompt


async def translate_into_pivot(
    call: Call, pivot: str, second: str, pool: Pool, answer: Callable[[Call], Awaitable[GenerationResponse]]
) -> None:
    """Translates the texts of a call into the language `pivot`. From then on, the translations are the call's texts.

    The variant `second` translates from the pivot into the target. What it refuses is refused first, so that no text is
    translated for nothing. `answer` generates the first half.
    """
    async with call.terms.due.limited(), pool.lease(call.task, second, call.choice.runtime) as loaded:
        choose_options(loaded.generator, replace(call.prompt, source=pivot))
    if call.prompt.glossary:
        raise InvalidRequest(f"glossary: no variant translates this pair but by way of {pivot}, which has no terms")
    # Stop strings are in the target language.
    prompt = replace(call.prompt, target=pivot, stop=())
    response = await answer(replace(call, prompt=prompt))
    call.pivot_response = response.model_copy(update={"through": [chain_link(prompt, response)]})
    call.prompt = replace(call.prompt, source=pivot, texts=[output.text for output in response.outputs])
    # The first half has its own timings, and the joined response has the sums.
    call.started = time.monotonic()


def chain_link(prompt: Prompt, response: GenerationResponse) -> ChainedVariant:
    """Returns what the joined response says of one half: its languages, variant and timings."""
    fields = response.model_dump(include={"variant", "digest", "runtime", "timings"})
    return ChainedVariant.model_validate({"languages": [prompt.source, prompt.target], **fields})


def join_responses(first: GenerationResponse, second: GenerationResponse, prompt: Prompt) -> GenerationResponse:
    """Joins the responses of both halves. `prompt` is that of the second one.

    The `id`, variant and texts are those of the second. Timings and tokens are sums. Warnings are of both.
    """
    through = [*(first.through or ()), chain_link(prompt, second)]
    total_timings = {
        name: round(sum(getattr(each.timings, name) for each in through), 3) for name in Timings.model_fields
    }
    outputs = [_join_outputs(through, *pair) for pair in zip(first.outputs, second.outputs, strict=True)]
    return second.model_copy(update={"outputs": outputs, "timings": Timings(**total_timings), "through": through})


def _join_outputs(through: Sequence[ChainedVariant], first: Output, second: Output) -> Output:
    """Returns the second output, without a confidence: that of the second variant says nothing about the first."""
    warnings = [
        warning.model_copy(update={"detail": f"{' to '.join(each.languages)}: {warning.detail}"})
        for each, output in zip(through, (first, second), strict=True)
        for warning in output.warnings or ()
    ]
    return Output(
        text=second.text,
        # If the first half ended early, the text is incomplete, however the second half ended.
        finish_reason=second.finish_reason if first.finish_reason == "eos" else first.finish_reason,
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        truncated=first.truncated or second.truncated,
        warnings=warnings or None,
        repaired=list(dict.fromkeys([*(first.repaired or ()), *(second.repaired or ())])) or None,
        alternatives=second.alternatives,
    )
