"""What there is: the store's variants with their state, their quality, and what this process is made of."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Sequence

from slimseq.app.http.schemas.info import ArtifactInfo, HostInfo, Info, RuntimeInfo
from slimseq.app.http.schemas.quality import Detail, QualityReport, VariantQuality
from slimseq.app.http.schemas.variants import VariantDetail, VariantList, VariantSummary
from slimseq.app.serving.catalogue import Catalogue
from slimseq.app.serving.loading import format_bytes
from slimseq.app.serving.pool import Pool
from slimseq.app.serving.quality import quality_of, shown_reference
from slimseq.app.serving.runtimes import RuntimeChooser
from slimseq.evaluation.host import available_cores, cpu_flags, host_name
from slimseq.evaluation.record import recorded_scores
from slimseq.inference.runtimes.registry import RUNTIMES, RuntimeKind, runtime_named
from slimseq.models_store.errors import SlimseqError, UnknownVariant
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Entry

LIBRARIES = ("fastapi", "uvicorn", "pydantic", "onnxruntime", "torch", "tokenizers", "numpy", "sentencex", "sacrebleu")


class Inventory:
    """Answers about variants, from the store and the pool. Opens nothing."""

    def __init__(self, catalogue: Catalogue, pool: Pool, version: str, runtimes: RuntimeChooser) -> None:
        self._catalogue = catalogue
        self._pool = pool
        self._version = version
        self._runtimes = runtimes

    def variants(self) -> VariantList:
        """Returns every variant, the broken ones too."""
        return VariantList(variants=[self._summary(entry) for entry in self._catalogue.entries()])

    def variant(self, task: Task, name: str, runtime: str | None = None) -> VariantDetail:
        """Returns one variant with its manifest, and as it is with a runtime where one is named.

        Raises:
            UnknownVariant: there is none of that name.
        """
        entry = self._catalogue.entry(task, name)
        return VariantDetail(**self._summary(entry, runtime).model_dump(), manifest=entry.manifest)

    def quality(self, task: Task | None = None, variant: str | None = None, detail: Detail = "short") -> QualityReport:
        """Returns what the manifests record of quality.

        Args:
            task: only this task.
            variant: only variants of this name.
            detail: `full` adds every score.

        Raises:
            UnknownVariant: there is none of that name.
            InvalidArtifact: the manifest of the named variant cannot be read.
        """
        tasks = [task] if task is not None else list(Task)
        if variant is not None:
            tasks = self._tasks_with(variant, tasks)
            for each in tasks:
                self._catalogue.manifest(each, variant)
        return QualityReport(
            qualities=[
                self._quality(manifest, detail)
                for each in tasks
                for manifest in self._catalogue.manifests(each)
                if variant in (None, manifest.variant)
            ]
        )

    def _tasks_with(self, variant: str, tasks: Sequence[Task]) -> list[Task]:
        """Returns those of the tasks that have a variant of that name."""
        names = {task: self._catalogue.names(task) for task in tasks}
        found = [task for task in tasks if variant in names[task]]
        if found:
            return found
        known = [f"{task.value}/{name}" for task in tasks for name in names[task]]
        raise UnknownVariant(" or ".join(task.value for task in tasks), variant, known)

    def _quality(self, manifest: Manifest, detail: Detail) -> VariantQuality:
        manifests = self._catalogue.manifests(manifest.task)
        found = quality_of(manifest, manifests)
        return VariantQuality(
            task=manifest.task,
            variant=manifest.variant,
            digest=manifest.digest,
            reference=shown_reference(manifest, manifests),
            retention=found.retention,
            gate=found.gate,
            scores=recorded_scores(manifest, manifests) if detail == "full" else None,
        )

    def info(self) -> Info:
        """Returns versions, runtimes, the machine and the artifacts' digests."""
        opened = {(loaded.key.task, loaded.key.variant): loaded.digest for loaded in self._pool.loaded()}
        return Info(
            version=self._version,
            python=platform.python_version(),
            platform=platform.platform(),
            libraries={name: importlib.metadata.version(name) for name in LIBRARIES if importlib.util.find_spec(name)},
            runtimes=[
                RuntimeInfo(name=kind.name, format=kind.format, is_installed=kind.is_installed)
                for kind in RUNTIMES.values()
            ],
            host=HostInfo(cpu=host_name(), cpu_flags=cpu_flags(), cores=available_cores()),
            artifacts=[
                ArtifactInfo(
                    task=entry.task,
                    variant=entry.variant,
                    digest=entry.manifest.digest,
                    loaded_digest=opened.get((entry.task, entry.variant)),
                )
                for entry in self._catalogue.entries()
                if entry.manifest is not None
            ],
        )

    def _summary(self, entry: Entry, runtime: str | None = None) -> VariantSummary:
        manifest, manifests = entry.manifest, self._catalogue.manifests(entry.task)
        kind, error = self._runtime_of(entry, runtime)
        loaded = self._pool.find(entry.task, entry.variant)
        is_loaded = loaded is not None
        status = "loaded" if is_loaded else "broken" if error else "available"
        return VariantSummary(
            task=entry.task,
            variant=entry.variant,
            status=status,
            error=None if is_loaded or error is None else str(error),
            runtime=kind.name if kind else None,
            default=self._catalogue.find_default(entry.task) == entry.variant,
            digest=manifest.digest if manifest else None,
            loaded_digest=loaded.digest if loaded else None,
            family=manifest.family if manifest else None,
            languages=manifest.languages if manifest else [],
            parameters=manifest.size.parameters if manifest else None,
            bytes=format_bytes(self._catalogue.store, entry.task, entry.variant, kind.format) if kind else None,
            reference=shown_reference(manifest, manifests) if manifest else None,
            quality=quality_of(manifest, manifests) if manifest else None,
        )

    def _runtime_of(self, entry: Entry, runtime: str | None) -> tuple[RuntimeKind | None, SlimseqError | None]:
        task, name = entry.task, entry.variant
        try:
            found = self._runtimes.choose(task, name, runtime) if runtime else self._runtimes.find(task, name)
        except SlimseqError as error:
            return None, error
        if isinstance(found, SlimseqError):
            return None, found
        return runtime_named(found), self._pool.last_error(task, name)
