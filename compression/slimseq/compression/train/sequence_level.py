"""Sequence-level distillation: training targets that a teacher generates.

Kim & Rush 2016, https://arxiv.org/abs/1606.07947: the mode of the teacher's distribution, found by beam search, is an
easier target than a text that a person wrote. Outputs are generated once, by the fastest runtime (CTranslate2 with
int8), and stored as JSON lines, so that an interrupted run continues where it stopped.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.train.data.training_data import Material
from slimseq.compression.train.training_options import CACHE, SequenceLevel
from slimseq.evaluation.bulk.teacher_outputs import TeacherOutputs
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.models.configuration import family_of
from slimseq.models_store.files import writing_to
from slimseq.models_store.generation import MAX_BEAMS, GenerationOptions
from slimseq.models_store.manifest import DERIVED_FORMATS, Task
from slimseq.models_store.store import Store

BATCH_EXAMPLES = 32
# Examples are sorted by length within a pool, so that batches have little padding. If all examples were sorted, the
# longest would come first, and the progress display would overestimate the remaining time.
POOL_EXAMPLES = 4096


def learning_from_outputs(
    context: Context,
    task: Task,
    variant: str,
    material: Material,
    options: SequenceLevel,
    folder: Path | None,
    made_before: Path | None = None,
) -> Material:
    """Returns the material with outputs of a teacher as training targets. Without `sequence_level` it stays the same.

    Args:
        context: store and device.
        task: of the teacher.
        variant: the teacher, unless the options name another.
        material: training data, possibly with unlabelled examples, whose targets are empty.
        options: whether outputs replace the targets that people wrote (`replace`) or are added to them (`add`).
        folder: for the cache of outputs. Without a folder, an interrupted run begins anew.
        made_before: file of `generate --as-is` with the teacher's outputs for all examples. Then none is generated.
    """
    examples = material.train.examples
    if options.sequence_level == "off":
        if made_before is not None:
            raise BadParameters("teacher outputs have no effect without `sequence_level`: give replace or add")
        if any(not example.target for example in examples):
            raise BadParameters("unlabelled data has no targets: let a teacher write them, with `sequence_level`")
        return material
    teacher = options.sequence_teacher or variant
    if made_before is not None:
        outputs = _outputs_made_before(context, task, teacher, examples, made_before, options.sequence_beams)
        return _with_outputs(material, options, outputs)
    with nullcontext(folder) if folder is not None else tempfile.TemporaryDirectory() as cache:
        outputs = teacher_outputs(context, task, teacher, examples, Path(cache), options.sequence_beams)
    return _with_outputs(material, options, outputs)


def _with_outputs(material: Material, options: SequenceLevel, outputs: Sequence[Example]) -> Material:
    examples = material.train.examples
    labelled = [example for example in examples if example.target] if options.sequence_level == "add" else []
    return replace(material, train=material.train.with_examples([*labelled, *outputs]))


def _outputs_made_before(
    context: Context, task: Task, variant: str, examples: Sequence[Example], path: Path, beams: int
) -> list[Example]:
    """Returns the examples with outputs of a file as targets, without those whose output is empty.

    Raises:
        BadParameters: no teacher searches with so many beams.
        DatasetUnavailable: the file lacks outputs of this teacher, with this number of beams, for these texts.
    """
    _check_beams(beams)
    manifest = context.store.manifest(task, variant)
    outputs = TeacherOutputs(path).all_found(manifest, {"num_beams": beams}, examples)
    context.say(f"{len(outputs):,} outputs of {task}/{variant} are those of {path}")
    pairs = zip(examples, outputs, strict=True)
    return [replace(example, target=output.text) for example, output in pairs if output.text.strip()]


def teacher_outputs(
    context: Context, task: Task, variant: str, examples: Sequence[Example], cache_folder: Path, beams: int = 4
) -> list[Example]:
    """Returns the examples in order, with the teacher's outputs as targets, without those whose output is empty."""
    _check_beams(beams)
    manifest = context.store.manifest(task, variant)
    options = manifest.generation.options(num_beams=beams)
    settings = {
        "teacher": manifest.digest,
        "options": options.model_dump(),
        "max_input_tokens": manifest.generation.max_input_tokens,
    }
    keys = [_key(settings, example, manifest.generation.prefix) for example in examples]
    path = cache_folder / CACHE
    cached = _read_cache(path)
    # A dictionary, so that equal examples are generated once.
    missing = list({key: example for key, example in zip(keys, examples, strict=True) if key not in cached}.items())
    if missing:
        cache_folder.mkdir(parents=True, exist_ok=True)
        with _fastest_generator(context, task, variant) as generator:
            generator.check(options)
            _generate(context, generator, options, missing, path, cached)
    return [
        replace(example, target=cached[key]) for key, example in zip(keys, examples, strict=True) if cached[key].strip()
    ]


def _check_beams(beams: int) -> None:
    if not 1 <= beams <= MAX_BEAMS:
        raise BadParameters(f"the teacher cannot search with {beams} beams; take 1 to {MAX_BEAMS}")


@contextmanager
def _fastest_generator(context: Context, task: Task, variant: str) -> Iterator[TextGenerator]:
    """Opens a teacher: as an int8 export for CTranslate2 if its family has that, else on the runtime that serves it.

    The export is made in a temporary store, so that the teacher in the store stays as it is.
    """
    threads, workers = context.threads(), context.workers
    store, runtime = context.store, None
    original = store.folder(task, variant)
    has_weights = store.manifest(task, variant).has_format("safetensors")
    with tempfile.TemporaryDirectory(prefix="slimseq-teacher-") as copied:
        if has_weights and not family_of(original).ctranslate2_refusal:
            store, runtime = Store(Path(copied).resolve()), "ctranslate2"
            shutil.copytree(original, store.folder(task, variant), ignore=shutil.ignore_patterns(*DERIVED_FORMATS))
            add_ctranslate2(replace(context, store=store), task, variant, "int8")
        with open_generator(store, task, variant, runtime, threads, workers) as generator:
            yield generator


def _generate(
    context: Context,
    generator: TextGenerator,
    options: GenerationOptions,
    missing: Sequence[tuple[str, Example]],
    path: Path,
    cached: dict[str, str],
) -> None:
    """Generates the missing outputs, and adds them to the file at `path` and to `cached`."""
    generate = generate_with(generator, options, BATCH_EXAMPLES, context.workers)
    with writing_to(path), path.open("a", encoding="utf-8") as file, context.progress() as display:
        bar = display.add_task("Asking the teacher", total=len(missing), status="")
        for batch in _batches(missing, BATCH_EXAMPLES * context.workers):
            for (key, _), output in zip(batch, generate([example for _, example in batch]), strict=True):
                cached[key] = output.text
                file.write(json.dumps({"key": key, "text": output.text}, ensure_ascii=False) + "\n")
            file.flush()
            display.advance(bar, len(batch))


def _batches(missing: Sequence[tuple[str, Example]], size: int) -> Iterator[Sequence[tuple[str, Example]]]:
    """Yields batches of `size` examples of similar lengths."""
    for start in range(0, len(missing), POOL_EXAMPLES):
        pool = sorted(missing[start : start + POOL_EXAMPLES], key=lambda pair: -len(pair[1].source))
        for first in range(0, len(pool), size):
            yield pool[first : first + size]


def _key(settings: dict[str, Any], example: Example, prefix: str) -> str:
    """Returns a hash of everything that decides the teacher's output for an example."""
    own_prefix = prefix if example.prefix is None else example.prefix
    described = settings | {"prefix": own_prefix, "source": example.source}
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _read_cache(path: Path) -> dict[str, str]:
    """Reads the outputs by key. Cuts the file behind its last complete line: a killed run may have left a part."""
    if not path.exists():
        return {}
    outputs: dict[str, str] = {}
    complete_bytes = 0
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
                outputs[entry["key"]] = entry["text"]
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            complete_bytes += len(line)
    with path.open("r+b") as file:
        file.truncate(complete_bytes)
    return outputs
