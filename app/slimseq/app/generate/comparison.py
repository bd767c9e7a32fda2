"""The service of `/compare`: several variants answer the same texts, and all are compared with one of them.

Each variant generates as for any request (`slimseq.app.generate.service`). Added are the agreement with the reference
variant, and a word diff.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rapidfuzz.distance import Indel

from slimseq.answers import ComparedAgreement, ComparedGeneration, Comparison, DiffPart, FailedVariant
from slimseq.app.errors import InvalidRequest
from slimseq.app.failures import answer_to
from slimseq.app.generate.call import Call, CallTerms, with_languages
from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.generate.service import GenerationService, counted_characters
from slimseq.app.http.callers import Admission
from slimseq.app.http.problems import problem_of
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant
from slimseq.app.serving.traffic import Answered, Traffic
from slimseq.evaluation.agreement import SIMILARITY_METRIC, agreements
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)

# Maximum characters of all outputs of a variant that are compared. The diff of 10,000 characters holds the interpreter
# for 15 ms at a time, the diff of 20,000 for 55 ms.
MAX_CHARACTERS = 10_000
# Words, and the white space between them, so that the parts of a diff add up to the text.
_WORDS = re.compile(r"\s+|\S+")


@dataclass(eq=False)
class ComparisonService:
    """Generates with several variants. There is one for each process, used from the event loop."""

    _generation: GenerationService
    _chooser: Chooser
    _traffic: Traffic

    async def compare(
        self,
        task: Task,
        variants: Sequence[str],
        prompt: Prompt,
        runtime: str | None,
        terms: CallTerms,
        admission: Admission,
    ) -> Comparison:
        """Generates with several variants one after the other, so that timings are comparable. All share one deadline.

        Raises:
            InvalidRequest: a variant is named twice.
            UnsupportedLanguages: the variants are of different languages.
            UnknownVariant: there is no variant of a name. Other errors of a variant are in its result.
        """
        await admission.characters(counted_characters(prompt) * len(variants))
        self._generation.check_size(prompt, len(variants) * prompt.options.get("num_return_sequences", 1))
        if len(set(variants)) < len(variants):
            raise InvalidRequest("query parameter variant: names a variant twice")
        for name in variants:
            self._chooser.catalogue.entry(task, name)
        pair = self._chooser.shared_pair(task, variants, prompt.languages)
        prompt = with_languages(prompt, task, pair)

        results: list[GenerationResponse | FailedVariant] = []
        for name in variants:
            try:
                call = Call(task, prompt, RequestedVariant(name, runtime=runtime), terms, admission, is_compared=True)
                call.assignment = self._traffic.arm_of(task, pair, name, terms.unit)
                results.append(await self._generation.answer(call))
            except Exception as error:
                if not isinstance(error, SlimseqError):
                    logger.exception("unexpected exception in a comparison")
                answer = answer_to(error, f"{task}/{name} cannot answer")
                results.append(FailedVariant(variant=name, error=problem_of(answer)))

        answered = {result.variant: result for result in results if isinstance(result, GenerationResponse)}
        compared: list[ComparedGeneration | FailedVariant]
        if answered:
            reference = reference_among(list(answered), self._chooser.references(task, variants))
            compared = await asyncio.to_thread(compare_with, answered[reference], results)
        else:
            compared = [each for each in results if isinstance(each, FailedVariant)]
        judgeable = [Answered(each.variant, each.digest) for each in answered.values()]
        comparison = self._traffic.comparison_id(task, pair, judgeable, terms.unit)
        return Comparison(id=comparison, task=task, results=compared)


def reference_among(variants: Sequence[str], references: Mapping[str, str]) -> str:
    """Returns the variant that the others are compared with: the reference of most of them, else the first one."""
    used = [references[name] for name in variants if references.get(name) in variants]
    if not used:
        return variants[0]
    # `dict.fromkeys` keeps the order, so that of equally frequent references the first one is chosen.
    return max(dict.fromkeys(used), key=used.count)


def compare_with(
    reference: GenerationResponse, results: Sequence[GenerationResponse | FailedVariant]
) -> list[ComparedGeneration | FailedVariant]:
    """Adds agreement and diffs to the results of a comparison. It takes long for long outputs."""
    return [each if isinstance(each, FailedVariant) else _compared(reference, each) for each in results]


def word_diff(before: str, after: str) -> list[DiffPart]:
    """Returns the parts that make one text out of the other: the fewest words and spaces that differ."""
    words_before = _WORDS.findall(before)
    words_after = _WORDS.findall(after)
    parts: list[DiffPart] = []
    for code in Indel.opcodes(words_before, words_after):
        # Words that were deleted are in the text before alone.
        words = words_after[code.dest_start : code.dest_end] or words_before[code.src_start : code.src_end]
        parts.append(DiffPart.model_validate({"op": code.tag, "text": "".join(words)}))
    return parts


def _compared(reference: GenerationResponse, result: GenerationResponse) -> ComparedGeneration:
    texts = [output.text for output in result.outputs]
    reference_texts = [output.text for output in reference.outputs]
    fields = {name: getattr(result, name) for name in type(result).model_fields}
    characters = max(sum(map(len, texts)), sum(map(len, reference_texts)))
    is_too_long = characters > MAX_CHARACTERS
    if is_too_long or result.variant == reference.variant:
        return ComparedGeneration(**fields)
    found = agreements(reference.task, texts, reference_texts)
    return ComparedGeneration(
        **fields,
        agreement=ComparedAgreement(
            reference=reference.variant,
            metric=SIMILARITY_METRIC[reference.task],
            exact=fmean(each.is_exact for each in found),
            similarity=fmean(each.similarity for each in found),
        ),
        diff=[word_diff(before, text) for before, text in zip(reference_texts, texts, strict=True)],
    )
