"""The verbs that keep a store: `list`, `verify`, `sign`, `rename` and `remove`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Column, Table

from slimseq.cli.arguments import (
    JsonOption,
    StoreOption,
    TaskArgument,
    TaskFilter,
    open_context,
    print_json,
    print_line,
    print_table,
    reading_context,
    require,
)
from slimseq.compression.artifacts.renaming import bytes_of, derived_from, rename
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.options import COMMON
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.files import SIGNATURE
from slimseq.models_store.lineage import is_root, lineage_labels, reference_of
from slimseq.models_store.manifest import DERIVED_FORMATS, Manifest, Task
from slimseq.models_store.signing import TrustedKeys, sign
from slimseq.models_store.store import Store


def list_command(
    task: TaskFilter = None,
    /,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the artifacts of the store with size, formats and lineage: each base model, and its variants after it."""
    context = reading_context(store)
    entries = [entry for entry in context.store.scan() if task in (None, entry.task)]
    manifests = [entry.manifest for entry in entries if entry.manifest is not None]
    if as_json:
        print_json(
            [
                _described(entry.manifest, manifests)
                if entry.manifest
                else {"task": entry.task.value, "variant": entry.variant, "error": str(entry.error)}
                for entry in entries
            ]
        )
        return
    if not entries:
        print_line(f"{_nothing(context, task)}; `import` or `train` makes one")
        return
    names = (Column(name, no_wrap=True) for name in ("task", "variant"))
    numbers = (Column(name, justify="right", no_wrap=True) for name in ("parameters", "weights"))
    table = Table(*names, "family", *numbers, "formats", "lineage")
    for entry in entries:
        if entry.manifest is None:
            table.add_row(entry.task.value, entry.variant, f"broken: {entry.error}")
            continue
        formats = set(entry.manifest.size.bytes_by_format)
        formats |= {name for name in DERIVED_FORMATS if context.store.export_of(entry.task, entry.variant, name)}
        table.add_row(
            entry.task.value,
            entry.variant,
            entry.manifest.family,
            f"{entry.manifest.size.parameters:,}",
            f"{megabytes(entry.manifest):.1f} MB",
            ", ".join(sorted(formats)),
            " → ".join(_lineage(entry.manifest, manifests)),
        )
    print_table(table)


def _lineage(manifest: Manifest, manifests: list[Manifest]) -> Sequence[str]:
    """Returns the techniques that made an artifact, a variant's from its reference on."""
    if is_root(manifest):
        return [step.technique for step in manifest.lineage]
    return lineage_labels(manifest, manifests)


def _described(manifest: Manifest, manifests: list[Manifest]) -> dict[str, Any]:
    """Returns a manifest's content, with the reference named also where an older one does not."""
    return manifest.model_copy(update={"reference": reference_of(manifest, manifests)}).model_dump(mode="json")


def _nothing(context: Context, task: Task | None) -> str:
    return f"{context.store.root} holds no artifact{f' for {task}' if task else ''}"


def megabytes(manifest: Manifest) -> float:
    """Returns the artifact's own weights on disk, in megabytes (10^6 bytes)."""
    return sum(manifest.size.bytes_by_format.values()) / 1e6


def verify_command(
    task: TaskFilter = None,
    variant: Annotated[str | None, Parameter(help="Only this variant.")] = None,
    /,
    *,
    signature: Annotated[
        Path | None,
        Parameter(group=COMMON, help="Public key (PEM), or folder of keys: also check that an owner signed the files."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the artifacts' files against their recorded hashes, and their signatures; exit 1 if one differs.

    Exit code 1 also says that there was no artifact to check.
    """
    context = reading_context(store)
    chosen = _chosen(context, task, variant, "check")
    if signature is not None:
        require("cryptography")
    checked = Store(context.store.root, TrustedKeys.read([signature])) if signature is not None else context.store
    errors: dict[str, str | None] = {}
    for one_task, one_variant in chosen:
        try:
            with context.working(f"Checking {one_task}/{one_variant}"):
                checked.verify(one_task, one_variant)
            errors[f"{one_task}/{one_variant}"] = None
        except SlimseqError as error:
            errors[f"{one_task}/{one_variant}"] = str(error)
    if as_json:
        print_json({name: {"ok": error is None, "error": error} for name, error in errors.items()})
    else:
        for name, reason in errors.items():
            print_line(f"{name}: ok" if reason is None else f"FAILED {reason}")
    if any(errors.values()):
        sys.exit(1)


def sign_command(
    task: TaskFilter = None,
    variant: Annotated[str | None, Parameter(help="Only this variant.")] = None,
    /,
    *,
    key: Annotated[Path, Parameter(group=COMMON, help="Private elliptic-curve key (PEM).")],
    password: Annotated[
        str | None, Parameter(group=COMMON, env_var="SLIMSEQ_KEY_PASSWORD", help="Password of the key.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Sign the artifacts' files and their exports, so that `verify --signature` and a service can tell who made them.

    Run `prepare` first: what is derived later is not signed.

    A pair of keys: `openssl ecparam -name prime256v1 -genkey -noout -out private.pem`, then
    `openssl ec -in private.pem -pubout -out public.pem`.
    """
    require("model_signing")
    context = open_context(store)
    for one_task, one_variant in _chosen(context, task, variant, "sign"):
        paths = sign(context.store, one_task, one_variant, key, password)
        print_line(f"{one_task}/{one_variant}: signed, {' and '.join(paths)}")


def _chosen(context: Context, task: Task | None, variant: str | None, verb: str) -> list[tuple[Task, str]]:
    """Returns the artifacts that a command names: one, those of a task, or all.

    Raises:
        UnknownVariant: there is none of that name.
        BadParameters: there is none at all.
    """
    if task is not None and variant is not None:
        return [(task, context.store.manifest(task, variant).variant)]
    chosen = [(entry.task, entry.variant) for entry in context.store.scan() if task in (None, entry.task)]
    if not chosen:
        raise BadParameters(f"{_nothing(context, task)} to {verb}")
    return chosen


def rename_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to rename.")],
    name: Annotated[str, Parameter(help="Its new name.")],
    /,
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rename an artifact: its folder, its manifest and its card. Its digest, its exports and a signature stay valid."""
    context = open_context(store)
    is_signed = rename(context, task, variant, name)
    if as_json:
        print_json({"task": task.value, "variant": name, "before": variant})
        return
    print_line(f"{task}/{variant}: now {task}/{name}")
    if is_signed:
        print_line(f"{SIGNATURE} still holds: it is of the files, and these are the same")


def remove_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to remove.")],
    /,
    *,
    force: Annotated[
        bool, Parameter(group=COMMON, negative="", help="Remove it even if other variants derive from it.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove an artifact and its exports from the store."""
    context = open_context(store)
    size = bytes_of(context.store, task, variant)
    children = derived_from(context.store, task, variant)
    if children and not force:
        raise BadParameters(
            f"made from {task}/{variant}: {', '.join(f'{task}/{name}' for name in children)}; "
            "--force removes it all the same"
        )
    context.store.remove(task, variant)
    if as_json:
        print_json({"task": task.value, "variant": variant, "bytes": size})
    else:
        print_line(f"{task}/{variant}: removed, {size:,} bytes")
