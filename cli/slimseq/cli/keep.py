"""The verbs that keep a store: `list`, `verify`, `sign`, `rename` and `remove`."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Column, Table

from slimseq.cli.arguments import FLAG, Shared, TaskArgument, TaskFilter, VariantFilter
from slimseq.compression.artifacts.copies import derived_from, rename
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.train.unfinished import unfinished_trainings
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import SIGNATURE, folder_bytes
from slimseq.models_store.lineage import is_root, lineage_labels, reference_of
from slimseq.models_store.manifest import DERIVED_FORMATS, Task
from slimseq.models_store.signing import sign
from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys


def list_command(task: TaskFilter = None, /, *, shared: Shared = Shared()) -> None:
    """List the artifacts of the store with size, formats and lineage: each base model, and its variants after it.

    Trainings that were interrupted are listed too, on standard error, with the command that goes on.
    """
    context = shared.reading()
    entries = [entry for entry in context.store.scan() if task in (None, entry.task)]
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]
    names = (Column(name, no_wrap=True) for name in ("task", "variant"))
    numbers = (Column(name, justify="right", no_wrap=True) for name in ("parameters", "weights"))
    table = Table(*names, "family", *numbers, "gate", "formats", "lineage")
    found: list[dict[str, Any]] = []
    for entry in entries:
        manifest = entry.manifest
        if manifest is None:
            found.append({"task": entry.task.value, "variant": entry.variant, "error": str(entry.error)})
            table.add_row(entry.task.value, entry.variant, f"broken: {entry.error}")
            continue
        reference = reference_of(manifest, manifests)
        found.append(manifest.model_copy(update={"reference": reference}).model_dump(mode="json"))
        exports = {name for name in DERIVED_FORMATS if context.store.export_of(entry.task, entry.variant, name)}
        techniques = [step.technique for step in manifest.lineage]
        table.add_row(
            entry.task.value,
            entry.variant,
            manifest.family,
            f"{manifest.size.parameters:,}",
            f"{sum(manifest.size.bytes_by_format.values()) / 1e6:.1f} MB",
            manifest.gate.status if manifest.gate else "",
            ", ".join(sorted(exports | set(manifest.size.bytes_by_format))),
            " → ".join(techniques if is_root(manifest) else lineage_labels(manifest, manifests)),
        )
    for training in unfinished_trainings(context.store.root):
        context.say(training.in_words)
    shared.show(found, table if entries else f"{_nothing(context, task)}; `import` or `train` makes one")


def verify_command(
    task: TaskFilter = None,
    variant: VariantFilter = None,
    /,
    *,
    signature: Path | None = None,
    shared: Shared = Shared(),
) -> None:
    """Check the artifacts' files against their recorded hashes, and their signatures; exit 1 if one differs.

    Exit code 1 also says that there was no artifact to check.

    Args:
        signature: Public key (PEM), or folder of keys: also check that an owner signed the files.
    """
    context = shared.reading()
    chosen = _chosen(context, task, variant, "check")
    if signature is not None:
        import_module("cryptography")
    checked = Store(context.store.root, TrustedKeys.read([signature])) if signature is not None else context.store
    errors: dict[str, str | None] = {}
    for one_task, one_variant in chosen:
        name = f"{one_task}/{one_variant}"
        errors[name] = None
        try:
            with context.working(f"Checking {name}"):
                checked.verify(one_task, one_variant)
        except SlimseqError as error:
            errors[name] = str(error)
    lines = (f"{name}: ok" if reason is None else f"FAILED {reason}" for name, reason in errors.items())
    shared.show({name: {"ok": error is None, "error": error} for name, error in errors.items()}, *lines)
    if any(errors.values()):
        sys.exit(1)


def sign_command(
    task: TaskFilter = None,
    variant: VariantFilter = None,
    /,
    *,
    key: Path,
    password: Annotated[str | None, Parameter(env_var="SLIMSEQ_KEY_PASSWORD")] = None,
    shared: Shared = Shared(),
) -> None:
    """Sign the artifacts' files and their exports, so that `verify --signature` and a service can tell who made them.

    Run `prepare` first: what is derived later is not signed.

    A pair of keys: `openssl ecparam -name prime256v1 -genkey -noout -out private.pem`, then
    `openssl ec -in private.pem -pubout -out public.pem`.

    Args:
        key: Private elliptic-curve key (PEM).
        password: Password of the key.
    """
    import_module("model_signing")
    context = shared.writing()
    signed = {
        f"{one_task}/{one_variant}": sign(context.store, one_task, one_variant, key, password)
        for one_task, one_variant in _chosen(context, task, variant, "sign")
    }
    shared.show(signed, *(f"{name}: signed, {' and '.join(paths)}" for name, paths in signed.items()))


def _chosen(context: Context, task: Task | None, variant: str | None, verb: str) -> list[tuple[Task, str]]:
    if task is not None and variant is not None:
        return [(task, context.store.manifest(task, variant).variant)]
    chosen = [(entry.task, entry.variant) for entry in context.store.scan() if task in (None, entry.task)]
    if not chosen:
        raise BadParameters(f"{_nothing(context, task)} to {verb}")
    return chosen


def _nothing(context: Context, task: Task | None) -> str:
    return f"{context.store.root} holds no artifact{f' for {task}' if task else ''}"


def rename_command(task: TaskArgument, variant: str, name: str, /, *, shared: Shared = Shared()) -> None:
    """Rename an artifact: its folder, its manifest and its card. Its digest, its exports and a signature stay valid.

    Args:
        variant: Variant to rename.
        name: Its new name.
    """
    is_signed = rename(shared.writing(), task, variant, name)
    holds = [f"{SIGNATURE} still holds: it is of the files, and these are the same"] if is_signed else []
    found = {"task": task.value, "variant": name, "before": variant}
    shared.show(found, f"{task}/{variant}: now {task}/{name}", *holds)


def remove_command(
    task: TaskArgument, variant: str, /, *, force: Annotated[bool, FLAG] = False, shared: Shared = Shared()
) -> None:
    """Remove an artifact and its exports from the store.

    Args:
        variant: Variant to remove.
        force: Remove it even if other variants derive from it.
    """
    store = shared.writing().store
    size = folder_bytes(store.folder(task, variant))
    children = derived_from(store, task, variant)
    if children and not force:
        named = ", ".join(f"{task}/{name}" for name in children)
        raise BadParameters(f"made from {task}/{variant}: {named}; --force removes it all the same")
    store.remove(task, variant)
    found = {"task": task.value, "variant": variant, "bytes": size}
    shared.show(found, f"{task}/{variant}: removed, {size:,} bytes")
