"""What `GET /variants`, `/quality`, `/memory` and `/info` show.

`slimseq.app.variants.figures` computes speed, retention and sizes. This module joins them with the state of the pool:
what is loaded, what has failed, and how much memory it needs.
"""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Mapping, Sequence

import psutil

from slimseq.app.errors import VariantFailed
from slimseq.app.observability.live_agreement import AgreementMonitor, ComparedArtifacts, offline_agreement
from slimseq.app.serving.languages import Languages
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.selection.catalogue import StoreContent, format_bytes
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.language_pairs import Pair, own_pair
from slimseq.app.variants.figures import Figures
from slimseq.app.variants.fronts import stored_fronts
from slimseq.app.variants.schemas import (
    ArtifactInfo,
    Calibration,
    CompressFront,
    DatasetInfo,
    Detail,
    HostInfo,
    Info,
    MemoryReport,
    Quality,
    QualityReport,
    RecordedGate,
    ReferenceModel,
    RuntimeInfo,
    ServedPair,
    VariantDetail,
    VariantList,
    VariantMemory,
    VariantQuality,
    VariantSummary,
)
from slimseq.evaluation.datasets import available_datasets, dataset_languages
from slimseq.evaluation.host import available_cores, cpu_flags, host_name, resident_bytes
from slimseq.evaluation.retention import recorded_scores
from slimseq.inference.runtimes.registry import RUNTIMES, RuntimeKind, runtime_named
from slimseq.models_store.errors import SlimseqError, UnknownVariant, printable
from slimseq.models_store.lineage import reference_of, root_of
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Entry

# Libraries whose versions `/info` shows, since they decide speed and outputs. A library that is not installed, such as
# torch in a service, is left out.
LIBRARIES = ("fastapi", "uvicorn", "pydantic", "onnxruntime", "torch", "tokenizers", "numpy", "sentencex", "sacrebleu")


class Inventory:
    """Describes variants, from the store and the pool. Loads nothing."""

    def __init__(
        self,
        chooser: Chooser,
        pool: Pool,
        version: str,
        live: AgreementMonitor,
        limits: dict[str, int],
        replica: str | None = None,
    ) -> None:
        self._limits = limits
        self._replica = replica
        self._chooser = chooser
        self._catalogue = chooser.catalogue
        self._live = live
        self._pool = pool
        self._version = version
        # The figures and fronts that were computed, and the content of the store for which they are right.
        self._shown_content: StoreContent | None = None
        self._figures_by_task: dict[Task, Figures] = {}
        self._fronts_by_task: dict[Task, list[CompressFront]] = {}

    def variants(self) -> VariantList:
        figures = {task: self._figures(task) for task in Task}
        left_out = {task: self._chooser.left_out(task) for task in Task}
        summaries = [
            self._summary(entry, figures[entry.task], left_out[entry.task]) for entry in self._catalogue.entries()
        ]
        pairs = [self._pair(task, pair) for task in Task for pair in self._chooser.defaults.pairs(task)]
        fronts = [front for task in Task for front in self._fronts(task)]
        return VariantList(
            replica=self._replica,
            variants=summaries,
            pairs=pairs,
            chained=Languages(self._chooser).chained(),
            fronts=fronts,
        )

    def _pair(self, task: Task, pair: Pair) -> ServedPair:
        defaults = self._chooser.defaults
        return ServedPair(
            task=task,
            languages=list(pair),
            variant=defaults.find(task, pair),
            default_reason=defaults.reason(task, pair),
            is_default=pair == defaults.default_pair(task),
        )

    def variant(self, task: Task, name: str, runtime: str | None = None) -> VariantDetail:
        entry = self._catalogue.entry(task, name)
        summary = self._summary(entry, self._figures(task), self._chooser.left_out(task), runtime)
        return VariantDetail(**summary.model_dump(), replica=self._replica, manifest=entry.manifest)

    def quality(self, task: Task | None = None, variant: str | None = None, detail: Detail = "short") -> QualityReport:
        """Returns the quality that the manifests record: of all variants, or of the variants of a task or with a name.

        The detail `full` adds every score.

        Raises:
            UnknownVariant: no variant has this name.
            InvalidArtifact: the manifest of a variant with this name cannot be read.
        """
        tasks = [task] if task is not None else list(Task)
        if variant is not None:
            tasks = self._tasks_with(variant, tasks)
            for each in tasks:
                # Only a check: below, variants whose manifest cannot be read are left out.
                self._catalogue.manifest(each, variant)
        qualities = []
        for each in tasks:
            figures = self._figures(each)
            qualities += [
                self._quality(manifest, figures, detail)
                for manifest in self._catalogue.manifests(each)
                if variant in (None, manifest.variant)
            ]
        return QualityReport(qualities=qualities)

    def _tasks_with(self, variant: str, tasks: Sequence[Task]) -> list[Task]:
        """Returns the tasks, among `tasks`, that have a variant of this name."""
        names_by_task = {task: self._catalogue.names(task) for task in tasks}
        found = [task for task in tasks if variant in names_by_task[task]]
        if not found:
            names = [f"{task.value}/{name}" for task in tasks for name in names_by_task[task]]
            raise UnknownVariant(" or ".join(task.value for task in tasks), variant, names)
        return found

    def _figures(self, task: Task) -> Figures:
        """Returns the figures of a task. They are computed again once the store has changed."""
        self._forget_if_changed()
        if task not in self._figures_by_task:
            self._figures_by_task[task] = Figures.of(
                self._catalogue.manifests(task), self._catalogue.speeds(task), self._catalogue.recorded(task)
            )
        return self._figures_by_task[task]

    def _fronts(self, task: Task) -> list[CompressFront]:
        """Returns what `compress` found. It is compared with the artifacts again once the store has changed."""
        self._forget_if_changed()
        if task not in self._fronts_by_task:
            self._fronts_by_task[task] = stored_fronts(
                task, self._catalogue.fronts(task), self._catalogue.manifests(task), self._catalogue.recorded(task)
            )
        return self._fronts_by_task[task]

    def _forget_if_changed(self) -> None:
        content = self._catalogue.content
        if content is not self._shown_content:
            self._shown_content = content
            self._figures_by_task = {}
            self._fronts_by_task = {}

    def _quality(self, manifest: Manifest, figures: Figures, detail: Detail) -> VariantQuality:
        manifests = self._catalogue.manifests(manifest.task)
        other = self._live.other_of(manifest, manifests)
        live_agreement = None
        if other is not None:
            compared = ComparedArtifacts(manifest.task, manifest.digest, other.digest)
            live_agreement = self._live.report(compared)
        return VariantQuality(
            **dict(quality_of(manifest, manifests, figures)),
            task=manifest.task,
            variant=manifest.variant,
            digest=manifest.digest,
            reference=shown_reference(manifest, manifests),
            live_agreement=live_agreement,
            scores=recorded_scores(manifest, manifests) if detail == "full" else None,
        )

    def memory(self) -> MemoryReport:
        return MemoryReport(
            replica=self._replica,
            process_resident_bytes=resident_bytes(),
            base_resident_bytes=self._pool.loader.base_bytes,
            host_available_bytes=psutil.virtual_memory().available,
            budget_bytes=self._pool.budget_bytes,
            evictions=self._pool.evictions,
            variants=[
                VariantMemory.model_validate(loaded.key._asdict() | vars(loaded)) for loaded in self._pool.loaded()
            ],
        )

    def info(self) -> Info:
        loaded_digests = {(loaded.key.task, loaded.key.variant): loaded.digest for loaded in self._pool.loaded()}
        return Info(
            version=self._version,
            python=platform.python_version(),
            platform=platform.platform(),
            libraries={name: importlib.metadata.version(name) for name in LIBRARIES if importlib.util.find_spec(name)},
            runtimes=[RuntimeInfo.model_validate(kind, from_attributes=True) for kind in RUNTIMES.values()],
            host=HostInfo(cpu=host_name(), cpu_flags=cpu_flags(), cores=available_cores()),
            artifacts=[
                ArtifactInfo(
                    task=entry.task,
                    variant=entry.variant,
                    digest=entry.manifest.digest,
                    loaded_digest=loaded_digests.get((entry.task, entry.variant)),
                )
                for entry in self._catalogue.entries()
                if entry.manifest is not None
            ],
            datasets=[
                DatasetInfo(name=name, task=task, languages=dataset_languages(task, name))
                for task in Task
                for name in available_datasets(task)
            ],
            limits=self._limits,
        )

    def _summary(
        self, entry: Entry, figures: Figures, left_out: Mapping[str, str], runtime: str | None = None
    ) -> VariantSummary:
        manifest, manifests = entry.manifest, self._catalogue.manifests(entry.task)
        kind, disk_bytes, error = self._runtime_of(entry, runtime)
        loaded = self._pool.find(entry.task, entry.variant)
        status = "broken" if error else "available"
        # An artifact in memory serves, unless its manifest on disk cannot be read: then requests for it are refused.
        if loaded is not None and manifest is not None:
            error = VariantFailed(str(loaded.key)) if loaded.worker.has_failed else None
            status = "failed" if error else "loaded"
        defaults = self._chooser.defaults
        # Without a readable manifest nobody knows the pair of a variant, and it is no default. If no variant of the
        # task can be read, one is the default all the same: requests get its error.
        pair = own_pair(manifest) if manifest else None
        may_be_default = pair is not None or defaults.default_pair(entry.task) is None
        is_default = may_be_default and defaults.find(entry.task, pair) == entry.variant
        is_translator = manifest is not None and manifest.task is Task.TRANSLATION
        return VariantSummary(
            task=entry.task,
            variant=entry.variant,
            status=status,
            error=None if error is None else printable(str(error)),
            runtime=kind.name if kind else None,
            default=is_default,
            default_reason=defaults.reason(entry.task, pair) if is_default else None,
            digest=manifest.digest if manifest else None,
            loaded_digest=loaded.digest if loaded else None,
            family=manifest.family if manifest else None,
            languages=manifest.languages if manifest else [],
            sources=manifest.sources if manifest and is_translator else [],
            targets=manifest.targets if manifest and is_translator else [],
            parameters=manifest.size.parameters if manifest else None,
            bytes=disk_bytes,
            reference=shown_reference(manifest, manifests) if manifest else None,
            weights=figures.weights.get(entry.variant),
            quality=quality_of(manifest, manifests, figures) if manifest else None,
            speed=figures.speeds.get(entry.variant),
            published=figures.published.get(entry.variant),
            left_out=left_out.get(entry.variant),
            confidence=Calibration.model_validate(manifest.confidence) if manifest and manifest.confidence else None,
        )

    def _runtime_of(
        self, entry: Entry, runtime: str | None
    ) -> tuple[RuntimeKind | None, int | None, SlimseqError | None]:
        """Returns the runtime of a variant, the bytes that the runtime reads from disk, and why it cannot be loaded.

        A variant that has a runtime may have an error as well: the error of its last load.
        """
        task = entry.task
        name = entry.variant
        catalogue = self._catalogue
        try:
            found = catalogue.runtime(task, name, runtime) if runtime else catalogue.find_runtime(task, name)
            if isinstance(found, SlimseqError):
                return None, None, found
            kind = runtime_named(found)
            # An export may have changed since its runtime was chosen.
            disk_bytes = format_bytes(catalogue.store, catalogue.manifest(task, name), kind.format)
        except SlimseqError as error:
            return None, None, error
        return kind, disk_bytes, self._pool.last_error(task, name)


def quality_of(manifest: Manifest, manifests: Sequence[Manifest], figures: Figures) -> Quality:
    if manifest.gate is None:
        gate = RecordedGate(verdict="none", checks=[])
    else:
        gate = RecordedGate(verdict=manifest.gate.status, checks=manifest.gate.checks)
    return Quality(
        retention=figures.retentions.get(manifest.variant),
        agreement=offline_agreement(manifest, manifests),
        gate=gate,
    )


def shown_reference(manifest: Manifest, manifests: Sequence[Manifest]) -> ReferenceModel:
    found = reference_of(manifest, manifests)
    is_stored = root_of(manifest, manifests) is not None
    return ReferenceModel(variant=found.variant, digest=found.digest, is_stored=is_stored)
