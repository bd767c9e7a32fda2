"""The read-only endpoints: the variants of the store with status and quality, memory, and versions."""

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
from slimseq.app.variants.schemas import (
    ArtifactInfo,
    Calibration,
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

LIBRARIES = ("fastapi", "uvicorn", "pydantic", "onnxruntime", "torch", "tokenizers", "numpy", "sentencex", "sacrebleu")


class Inventory:
    """Describes variants, from the store and the pool. Loads nothing."""

    def __init__(
        self, chooser: Chooser, pool: Pool, version: str, live: AgreementMonitor, most: dict[str, int]
    ) -> None:
        self._limits = most
        self._chooser = chooser
        self._catalogue = chooser.catalogue
        self._live = live
        self._pool = pool
        self._version = version
        self._content: StoreContent | None = None
        self._known: dict[Task, Figures] = {}

    def variants(self) -> VariantList:
        figures = {task: self._figures(task) for task in Task}
        left_out = {task: self._chooser.left_out(task) for task in Task}
        summaries = [
            self._summary(entry, figures[entry.task], left_out[entry.task]) for entry in self._catalogue.entries()
        ]
        pairs = [self._pair(task, pair) for task in Task for pair in self._chooser.defaults.pairs(task)]
        return VariantList(variants=summaries, pairs=pairs, chained=Languages(self._chooser).chained())

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
        return VariantDetail(**summary.model_dump(), manifest=entry.manifest)

    def quality(self, task: Task | None = None, variant: str | None = None, detail: Detail = "short") -> QualityReport:
        """Returns the quality that the manifests record. `full` detail adds every score."""
        tasks = [task] if task is not None else list(Task)
        if variant is not None:
            known = {each: self._catalogue.names(each) for each in tasks}
            tasks = [each for each in tasks if variant in known[each]]
            if not tasks:
                names = [f"{each.value}/{name}" for each in known for name in known[each]]
                raise UnknownVariant(" or ".join(each.value for each in known), variant, names)
            for each in tasks:
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

    def _figures(self, task: Task) -> Figures:
        """Returns the figures of a task. They are computed again once the store has changed."""
        content = self._catalogue.content
        if content is not self._content:
            self._content, self._known = content, {}
        if task not in self._known:
            manifests = self._catalogue.manifests(task)
            self._known[task] = Figures.of(manifests, self._catalogue.speeds(task), self._catalogue.recorded(task))
        return self._known[task]

    def _quality(self, manifest: Manifest, figures: Figures, detail: Detail) -> VariantQuality:
        manifests = self._catalogue.manifests(manifest.task)
        other = self._live.other_of(manifest, manifests)
        return VariantQuality(
            **dict(quality_of(manifest, manifests, figures)),
            task=manifest.task,
            variant=manifest.variant,
            digest=manifest.digest,
            reference=shown_reference(manifest, manifests),
            live_agreement=other and self._live.report(ComparedArtifacts(manifest.task, manifest.digest, other.digest)),
            scores=recorded_scores(manifest, manifests) if detail == "full" else None,
        )

    def memory(self) -> MemoryReport:
        return MemoryReport(
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
        opened = {(loaded.key.task, loaded.key.variant): loaded.digest for loaded in self._pool.loaded()}
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
                    loaded_digest=opened.get((entry.task, entry.variant)),
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
        # Requests for an artifact that is in memory and unreadable on disk are refused.
        if loaded is not None and manifest is not None:
            error = VariantFailed(str(loaded.key)) if loaded.worker.has_failed else None
            status = "failed" if error else "loaded"
        defaults = self._chooser.defaults
        # Nobody knows the pair of a variant that cannot be read. Without any that can, its error answers.
        pair = own_pair(manifest) if manifest else None
        is_known = pair is not None or defaults.default_pair(entry.task) is None
        is_default = is_known and defaults.find(entry.task, pair) == entry.variant
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
            sources=manifest.sources if manifest and manifest.task is Task.TRANSLATION else [],
            targets=manifest.targets if manifest and manifest.task is Task.TRANSLATION else [],
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
        """Returns the runtime of a variant and the bytes that it reads from disk, or why it cannot be loaded."""
        task, name, catalogue = entry.task, entry.variant, self._catalogue
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
    gate = RecordedGate(verdict="none", checks=[])
    if verdict := manifest.gate:
        gate = RecordedGate(verdict=verdict.status, checks=verdict.checks)
    return Quality(
        retention=figures.retentions.get(manifest.variant),
        agreement=offline_agreement(manifest, manifests),
        gate=gate,
    )


def shown_reference(manifest: Manifest, manifests: Sequence[Manifest]) -> ReferenceModel:
    found = reference_of(manifest, manifests)
    is_stored = root_of(manifest, manifests) is not None
    return ReferenceModel(variant=found.variant, digest=found.digest, is_stored=is_stored)
