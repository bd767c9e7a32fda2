"""Opens what `compress` is to compress: a variant of the store, a model folder, a model of a hub or of Firefox."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.importing.importing import CONTENT, ImportOptions, find_task, folder_content, import_model
from slimseq.models_store.lineage import is_root
from slimseq.models_store.manifest import Manifest, Step, Task


def stored_name(source: str) -> tuple[Task, str] | None:
    """Returns the task and the name of a source that is a variant of a store, such as `translation/portuguese`."""
    task, slash, variant = source.partition("/")
    if slash and task in {each.value for each in Task}:
        return Task(task), variant
    return None


def import_source(
    context: Context, source: str, options: ImportOptions, check: Callable[[Task], None]
) -> tuple[Task, str]:
    """Imports a source that is no variant of a store; returns its task and its name in the store.

    A source that is in the store already, from an interrupted run, is not imported again. `check` is called with the
    task before anything is downloaded. An error of `check` ends the import.

    Raises:
        BadSource, BadParameters: it cannot be imported, or its name is taken by another model.
    """
    task = find_task(source, options)
    if options.variant in context.store.variants(task):
        first = context.store.manifest(task, options.variant).lineage[0]
        if _is_import_of(first, source):
            return task, options.variant
    check_name(context, task, options.variant)
    check(task)
    with context.store.claim(task, options.variant):
        import_model(context, source, replace(options, export=True))
    return task, options.variant


def open_original(context: Context, task: Task, variant: str) -> Manifest:
    """Verifies the model to compress, and checks that every step works for its family.

    Raises:
        BadParameters: it was made from another variant, it holds no safetensors, or it samples.
        UnknownVariant, InvalidArtifact, CorruptArtifact: it cannot be read.
    """
    manifest = context.store.verify(task, variant)
    if not is_root(manifest):
        parent = manifest.reference.variant if manifest.reference is not None else "another model"
        raise BadParameters(
            f"{task}/{variant} was made from {parent}, and compress starts from an original: name that one"
        )
    if not manifest.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to start from")
    if manifest.generation.do_sample:
        raise BadParameters(f"{task}/{variant} draws its tokens at random, so that its outputs cannot be compared")
    return manifest


def _is_import_of(step: Step, source: str) -> bool:
    """Whether a step imported this source, with the content that it has now."""
    if step.technique != "import":
        return False
    folder = Path(source)
    if not folder.is_dir():
        return bool(step.parameters.get("source") == source)
    # Lineages have no folders above. So folders of one name are told apart by their content, where it is recorded.
    recorded_content = step.parameters.get(CONTENT)
    is_same_content = recorded_content is None or recorded_content == folder_content(folder)
    return bool(step.parameters.get("source") == folder.name and is_same_content)
