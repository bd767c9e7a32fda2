"""The answer of a translation by two variants, by way of a language that both know, from those of each."""

from slimseq.answers import ChainedVariant, Output, Timings
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.inference.text.rows import Prompt


def chained(prompt: Prompt, response: GenerationResponse) -> ChainedVariant:
    fields = response.model_dump(include={"variant", "digest", "runtime", "timings"})
    return ChainedVariant.model_validate({"languages": [prompt.source, prompt.target], **fields})


def joined(first: GenerationResponse, second: GenerationResponse, prompt: Prompt) -> GenerationResponse:
    """Returns the texts of the second variant, whose prompt is given, with what both needed and found."""
    through = [*(first.through or ()), chained(prompt, second)]
    sums = {name: round(sum(getattr(each.timings, name) for each in through), 3) for name in Timings.model_fields}
    outputs = [_joined(through, pair) for pair in zip(first.outputs, second.outputs, strict=True)]
    return second.model_copy(update={"outputs": outputs, "timings": Timings(**sums), "through": through})


def _joined(through: list[ChainedVariant], outputs: tuple[Output, Output]) -> Output:
    """Returns the second output, without a confidence: that of the second variant says nothing about the first."""
    warnings = [
        warning.model_copy(update={"detail": f"{' to '.join(each.languages)}: {warning.detail}"})
        for each, output in zip(through, outputs, strict=True)
        for warning in output.warnings or ()
    ]
    first, second = outputs
    return Output(
        text=second.text,
        finish_reason=second.finish_reason if first.finish_reason == "eos" else first.finish_reason,
        input_tokens=first.input_tokens + second.input_tokens,
        output_tokens=first.output_tokens + second.output_tokens,
        truncated=first.truncated or second.truncated,
        warnings=warnings or None,
        repaired=list(dict.fromkeys([*(first.repaired or ()), *(second.repaired or ())])) or None,
        alternatives=second.alternatives,
    )
