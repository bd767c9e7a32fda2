"""The answer of a translation that two variants make, one after the other, by way of a language that both know.

`slimseq.app.serving.selection.chooser` says which pairs need it, `slimseq.app.generate.service` generates.
"""

from slimseq.answers import ChainedVariant, Output, Timings
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.inference.text.plan import Prompt

# Digits of milliseconds.
DIGITS = 3


def chained(prompt: Prompt, response: GenerationResponse) -> ChainedVariant:
    """Returns what the answer says of a variant, given its prompt and response."""
    fields = {name: getattr(response, name) for name in ("variant", "digest", "runtime", "timings")}
    return ChainedVariant(languages=[prompt.source or "", prompt.target or ""], **fields)


def joined(first: GenerationResponse, second: GenerationResponse, prompt: Prompt) -> GenerationResponse:
    """Returns the texts of the second variant, whose prompt is given, with what both needed and found."""
    through = [*(first.through or ()), chained(prompt, second)]
    sums = {name: round(sum(getattr(each.timings, name) for each in through), DIGITS) for name in Timings.model_fields}
    outputs = [_joined(through, pair) for pair in zip(first.outputs, second.outputs, strict=True)]
    return second.model_copy(update={"outputs": outputs, "timings": Timings(**sums), "through": through})


def _joined(through: list[ChainedVariant], outputs: tuple[Output, Output]) -> Output:
    """Returns the second output, without a confidence: that of the second variant says nothing about the first."""
    reasons = [output.finish_reason for output in outputs]
    warnings = [
        warning.model_copy(update={"detail": f"{' to '.join(each.languages)}: {warning.detail}"})
        for each, output in zip(through, outputs, strict=True)
        for warning in output.warnings or ()
    ]
    return Output(
        text=outputs[1].text,
        finish_reason=next((reason for reason in reasons if reason != "eos"), "eos"),
        input_tokens=sum(output.input_tokens for output in outputs),
        output_tokens=sum(output.output_tokens for output in outputs),
        truncated=any(output.truncated for output in outputs),
        warnings=warnings or None,
    )
