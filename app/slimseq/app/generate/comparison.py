"""Compares the outputs of variants for the same texts: agreement with one of them, and a word diff."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from rapidfuzz.distance import Indel

from slimseq.answers import ComparedAgreement, ComparedGeneration, DiffPart, FailedVariant
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.evaluation.agreement import SIMILARITY_METRIC, agreements

# Of all outputs of a variant. The diff of 10,000 holds the interpreter for 15 ms at a time, that of 20,000 for 55 ms.
MAX_CHARACTERS = 10_000
_WORDS = re.compile(r"\s+|\S+")


def reference_among(variants: Sequence[str], references: Mapping[str, str]) -> str:
    """Returns the variant that the others are compared with: the reference of the most, else the first."""
    found = [references[name] for name in variants if references.get(name) in variants]
    return max(dict.fromkeys(found), key=found.count) if found else variants[0]


def compare_with(
    reference: GenerationResponse, results: Sequence[GenerationResponse | FailedVariant]
) -> list[ComparedGeneration | FailedVariant]:
    """Adds agreement and diffs to the results of a comparison. It takes long for long outputs."""
    return [each if isinstance(each, FailedVariant) else _compared(reference, each) for each in results]


def word_diff(before: str, after: str) -> list[DiffPart]:
    """Returns the parts that make one text out of the other: the fewest words and spaces that differ."""
    words, others = _WORDS.findall(before), _WORDS.findall(after)
    parts: list[DiffPart] = []
    for code in Indel.opcodes(words, others):
        inserted, kept = others[code.dest_start : code.dest_end], words[code.src_start : code.src_end]
        parts.append(DiffPart.model_validate({"op": code.tag, "text": "".join(inserted or kept)}))
    return parts


def _compared(reference: GenerationResponse, result: GenerationResponse) -> ComparedGeneration:
    texts, others = ([output.text for output in each.outputs] for each in (result, reference))
    fields = {name: getattr(result, name) for name in type(result).model_fields}
    if result.variant == reference.variant or max(sum(map(len, each)) for each in (texts, others)) > MAX_CHARACTERS:
        return ComparedGeneration(**fields)
    found = agreements(reference.task, texts, others)
    return ComparedGeneration(
        **fields,
        agreement=ComparedAgreement(
            reference=reference.variant,
            metric=SIMILARITY_METRIC[reference.task],
            exact=fmean(each.is_exact for each in found),
            similarity=fmean(each.similarity for each in found),
        ),
        diff=[word_diff(other, text) for other, text in zip(others, texts, strict=True)],
    )
