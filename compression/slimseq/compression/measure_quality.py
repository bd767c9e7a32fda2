"""`evaluate`: quality of variants, on the same samples in the same run, on the runtime that serves them.

`slimseq.evaluation.run` generates and scores. This module checks the data, opens the variants with their references,
and writes the scores into manifests.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.artifacts.card import write_card
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.held_out import check_enough, check_not_trained_on
from slimseq.compression.options import COMMON, POSITIVE, flat
from slimseq.evaluation.bulk.teacher_outputs import TeacherOutputs
from slimseq.evaluation.calibration import CannotCalibrate, fit_confidence
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.datasets import DEV_SPLITS, bundled_sample, dataset_languages, dataset_names, load_examples
from slimseq.evaluation.host import cpu_flags
from slimseq.evaluation.recording import add_scores
from slimseq.evaluation.results import EvaluationResult
from slimseq.evaluation.run import CHUNK_EXAMPLES, Tally, evaluate, generate_with
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import write_text
from slimseq.models_store.lineage import root_of
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import ConfidenceCalibration, QualityScore
from slimseq.models_store.store import Store


class NotRecorded(SlimseqError):
    """Raised when scores cannot be written into a manifest. Names each variant and the reason."""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what the manifests keep of it, by variant.

    `manifests` are those that the variants had when they were evaluated. `confidences` has a calibration for each
    variant that translated dev data with its default options, if one could be fitted. `made_before` is the variant
    whose outputs are those of a file.
    """

    evaluation: EvaluationResult
    scores: dict[str, list[QualityScore]]
    manifests: dict[str, Manifest]
    confidences: dict[str, ConfidenceCalibration]
    made_before: str | None = None


@flat(COMMON)
@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate on, and how."""

    dataset: Annotated[str, Parameter(name="--data")] = "sample"
    """Data set: `sample` or `sample-pt` (bundled), cnn_dailymail, wmt14-de-en, or a file."""
    samples: Annotated[int | None, POSITIVE] = None
    """Number of samples, from the start of the data set. By default all."""
    split: str = "test"
    """Split of a hub data set."""
    runtime: str | None = None
    """Runtime: onnxruntime, ctranslate2 or torch. By default the one that serves."""
    threads: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Number of threads of the runtime. 0 lets the runtime choose."""
    generation: Annotated[Mapping[str, Any], Parameter(parse=False)] = field(default_factory=dict)
    """Generation options that replace the artifacts' defaults."""
    prefix: str | None = None
    """Text before every source. By default the artifact's own."""
    teacher_outputs: Path | None = None
    """File of `generate --as-is` with the outputs of a variant, such as a slow reference. The variant then generates
    nothing here, and its own scores are not recorded."""
    outputs: Path | None = None
    """File to write sources, outputs and targets to, a JSON object a line, for other metrics such as COMET."""


def evaluate_variants(
    context: Context, task: Task, variants: Sequence[str], options: EvaluateOptions, will_be_recorded: bool = False
) -> Evaluated:
    """Evaluates variants, and the reference of each variant if the store has it.

    Raises:
        BadData: a variant was trained on the data set, or the data set has too few pairs to record scores.
        BadParameters: there is no folder for the outputs, or the bundled sample is of other languages.
        DatasetUnavailable: the data set cannot be read.
    """
    if options.outputs is not None and not options.outputs.parent.is_dir():
        raise BadParameters(f"--outputs: there is no folder {options.outputs.parent}")
    references = references_among(context.store, task, variants)
    names = with_references(variants, references)
    check_not_trained_on(context, {name: context.store.manifest(task, name) for name in names}, options.dataset)
    sample = load_examples(task, options.dataset, options.split, options.samples)
    if will_be_recorded:
        check_enough(sample.name, len(sample.examples), "to record a score")
    if options.prefix is not None:
        _say_broken_prefix(context, task, names, options.prefix)
        examples = tuple(replace(example, prefix=options.prefix) for example in sample.examples)
        sample = replace(sample, examples=examples)
    with ExitStack() as stack, context.progress() as progress:
        generators = _open_generators(context, task, names, options, stack)
        manifests = {name: generator.manifest for name, generator in generators.items()}
        _check_pair(task, manifests, options.dataset)
        settings = {name: manifest.generation.options(**options.generation) for name, manifest in manifests.items()}
        for name, generator in generators.items():
            generator.check(settings[name])
        bar = progress.add_task(f"evaluate {task} on {sample.name}", total=None, status="")
        tallies = {name: Tally() for name in names}
        made_before: str | None = None
        if options.teacher_outputs is not None:
            made_before, outputs = _outputs_made_before(options, manifests, sample.examples)
            tallies[made_before] = Tally(outputs)
        systems = {
            name: generate_with(generator, settings[name], workers=context.workers)
            for name, generator in generators.items()
        }
        evaluation = evaluate(
            task,
            sample,
            systems,
            references=references,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
            tallies=tallies,
            chunk_examples=CHUNK_EXAMPLES * context.workers,
        )
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    scores = {}
    for name, generator in generators.items():
        prompt_settings = {
            "prefix": manifests[name].generation.prefix if options.prefix is None else options.prefix,
            "max_input_tokens": generator.max_input_tokens,
        }
        scores[name] = evaluation.quality_scores(
            name,
            runtime=generator.runtime.name,
            cpu_flags=cpu_flags(),
            measured_at=measured_at,
            generation=settings[name].model_dump() | prompt_settings,
            reference=manifests[references[name]].digest if name in references else None,
        )
    confidences: dict[str, ConfidenceCalibration] = {}
    # A service uses a confidence with the default generation options, so it is fitted with these.
    has_default_options = not any(options.generation.values())
    if task is Task.TRANSLATION and sample.split in DEV_SPLITS and has_default_options:
        for name in variants:
            if name == made_before:
                continue
            try:
                confidences[name] = _fit_confidence(scores[name][0], tallies[name], sample.examples)
            except CannotCalibrate as error:
                context.say(f"{task}/{name}: {error}")
    if options.outputs is not None:
        _write_outputs(options.outputs, evaluation, sample.examples)
    return Evaluated(evaluation, scores, manifests, confidences, made_before)


def _open_generators(
    context: Context, task: Task, names: Sequence[str], options: EvaluateOptions, stack: ExitStack
) -> dict[str, TextGenerator]:
    """Opens variants by name. `stack` closes them."""
    generators = {}
    for name in names:
        threads = context.threads(options.threads)
        generator = open_generator(context.store, task, name, options.runtime, threads, context.workers)
        generators[name] = stack.enter_context(generator)
    return generators


def _outputs_made_before(
    options: EvaluateOptions, manifests: Mapping[str, Manifest], examples: Sequence[Example]
) -> tuple[str, dict[int, TextOutput]]:
    """Returns the variant whose outputs a file has, and these by the index of the example.

    Raises:
        DatasetUnavailable: the file lacks outputs. Of the variants, that with most outputs in the file is meant.
    """
    assert options.teacher_outputs is not None
    file = TeacherOutputs(options.teacher_outputs)
    counts = {
        name: sum(output is not None for output in file.found(manifest, options.generation, examples))
        for name, manifest in manifests.items()
    }
    name = max(counts, key=lambda each: counts[each])
    return name, dict(enumerate(file.all_found(manifests[name], options.generation, examples)))


def _fit_confidence(score: QualityScore, tally: Tally, examples: Sequence[Example]) -> ConfidenceCalibration:
    outputs = [tally.outputs[index] for index in range(len(examples))]
    return fit_confidence(score, outputs, [example.target for example in examples])


def _write_outputs(path: Path, evaluation: EvaluationResult, examples: Sequence[Example]) -> None:
    """Writes sources, outputs and targets, a JSON object a line, under the names that COMET reads."""
    lines = [
        {"variant": each.variant, "src": example.source, "mt": output, "ref": example.target}
        for each in evaluation.variants
        for example, output in zip(examples, each.hypotheses, strict=True)
    ]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _check_pair(task: Task, manifests: Mapping[str, Manifest], dataset: str) -> None:
    """Refuses variants of other languages than a named data set, and variants of different languages."""
    if dataset in dataset_names(task):
        for manifest in manifests.values():
            _check_languages(task, dataset, manifest)
    _check_one_pair(manifests)


def _check_languages(task: Task, dataset: str, manifest: Manifest) -> None:
    """Refuses a data set with a name for a variant of other languages."""
    languages = dataset_languages(task, dataset)
    if manifest.languages == languages:
        return
    pairs = [" to ".join(each) for each in (languages, manifest.languages)]
    own = bundled_sample(task, manifest.languages)
    instead = f"name {own} or a file with --data" if own else "name a file with --data"
    raise BadParameters(f"the data set {dataset} is {pairs[0]}, and {task}/{manifest.variant} {pairs[1]}; {instead}")


def _check_one_pair(manifests: Mapping[str, Manifest]) -> None:
    """Refuses variants of different languages, since no data is in all of them."""
    pairs = {name: " to ".join(manifest.languages) for name, manifest in manifests.items()}
    if len(set(pairs.values())) > 1:
        each = ", ".join(f"{name} is {pair}" for name, pair in pairs.items())
        raise BadParameters(f"a data set is of one pair of languages, and {each}; name variants of one pair")


def _say_broken_prefix(context: Context, task: Task, names: Sequence[str], prefix: str) -> None:
    """Warns of a prefix that would be joined to the first word of every text: a shell may have dropped a space."""
    for name in names:
        own = context.store.manifest(task, name).generation.prefix
        if own.endswith(" ") and prefix and not prefix[-1].isspace():
            context.say(
                f"Warning: the prefix {prefix!r} does not end with a space, and that of {task}/{name}, {own!r}, does. "
                "Scores of another prompt are scores of another test."
            )
            return


def record_scores(context: Context, found: Evaluated, variants: Sequence[str]) -> None:
    """Writes the scores of variants, and confidences, into their manifests and cards."""
    reasons = []
    for name in variants:
        if name == found.made_before:
            context.say(f"The scores of {name} are not recorded: its outputs were made elsewhere.")
            continue
        manifest = found.manifests[name]
        try:
            add_scores(context.store, manifest, found.scores[name], found.confidences.get(name))
            write_card(context.store.folder(manifest.task, name), context.store.manifest(manifest.task, name))
        except SlimseqError as error:
            reasons.append(f"{manifest.task}/{name}: {error}")
    if reasons:
        raise NotRecorded(f"the scores were not recorded: {'; '.join(reasons)}")


def references_among(store: Store, task: Task, variants: Sequence[str]) -> dict[str, str]:
    """Returns the reference of each variant by name, if the store has it. A reference is its own reference."""
    manifests = store.manifests(task)
    found: dict[str, str] = {}
    for name in variants:
        root = root_of(store.manifest(task, name), manifests)
        if root is not None:
            found |= {name: root.variant, root.variant: root.variant}
    return found


def with_references(variants: Sequence[str], references: Mapping[str, str]) -> list[str]:
    """Returns variants' names, each once. A reference that is not among them is inserted before its first variant."""
    names = list(dict.fromkeys(variants))
    for name in list(names):
        reference = references.get(name, name)
        if reference not in names:
            names.insert(names.index(name), reference)
    return names
