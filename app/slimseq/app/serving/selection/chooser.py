"""Selects the variant of a request: the named one, the best within limits, or the task's default."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from slimseq.app.errors import InvalidRequest, NoVariantFits
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.evaluation.fastest import counted, fastest_variant, latencies_on_one_machine
from slimseq.evaluation.host import cpu_flags
from slimseq.evaluation.record import retention_of
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import base_language, find_pair
from slimseq.models_store.errors import SlimseqError, UnknownVariant
from slimseq.models_store.lineage import reference_of, root_of
from slimseq.models_store.manifest import Manifest, Task

# Of the embedded translators, the one to Portuguese reads better than the one to German.
USUAL_DEFAULTS = ("portuguese-quantized", "portuguese", "quantized", "original")
# Source and target of a request. A request may name one of them; the other one is then that of the variant.
Pair = tuple[str | None, str | None]
# English. Texts are translated into it first where no variant translates a pair directly.
PIVOT = "en"


@dataclass(frozen=True)
class Choice:
    """The variant and runtime that a request selects. None selects the task's default, and the fastest runtime here.

    Limits select a variant instead of a name. They are about the variants with the same reference as the default, whose
    latency is the measured median of one text, and whose bytes are those on disk of the format that the runtime opens.
    `target` is the language of the outputs for a body that names none.
    """

    variant: str | None = None
    min_retention: float | None = None
    runtime: str | None = None
    max_latency_ms: float | None = None
    max_bytes: int | None = None
    target: str | None = None
    speculate: bool = True

    @cached_property
    def limits(self) -> dict[str, float]:
        """The limits that the request names, by the name of their query parameter."""
        named = {name: getattr(self, name) for name in ("min_retention", "max_latency_ms", "max_bytes")}
        return {name: value for name, value in named.items() if value is not None}

    @cached_property
    def is_open(self) -> bool:
        """Whether the request leaves the variant to the service."""
        return self.variant is None and not self.limits


class Selection(NamedTuple):
    """The selected variant, and the reason if limits selected it. With a pivot, it reads texts in that language."""

    variant: str
    reason: str | None = None
    pivot: str | None = None


class Promotion(NamedTuple):
    """A variant that an experiment made the default of its task."""

    variant: str
    experiment: str


@dataclass(frozen=True)
class Candidate:
    manifest: Manifest
    runtime: str
    retention: float | None
    latency_ms: float | None
    bytes: int | None

    def is_within(self, choice: Choice) -> bool:
        """Whether it is within the limits of a request. What was not measured is not."""
        return (
            (choice.min_retention is None or (self.retention or 0.0) >= choice.min_retention)
            and (choice.max_latency_ms is None or _at_most(self.latency_ms, choice.max_latency_ms))
            and (choice.max_bytes is None or _at_most(self.bytes, choice.max_bytes))
        )

    def words(self) -> str:
        retention = "unmeasured retention" if self.retention is None else f"retention {self.retention:.4f}"
        latency = "unmeasured latency" if self.latency_ms is None else f"{self.latency_ms:.1f} ms"
        size = "unknown size" if self.bytes is None else f"{self.bytes:,} bytes"
        return f"{self.manifest.variant} with {retention}, {latency}, {size}"


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


@dataclass(eq=False)
class Chooser:
    """Resolves the choice of a request to the name of a variant.

    `defaults` are those of the setting, and come before `promotions`, which `slimseq.app.experiments` keeps.
    `last_error` returns why a variant cannot be loaded, if that is known.
    """

    catalogue: Catalogue
    defaults: Mapping[Task, str | None] = field(default_factory=dict)
    last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None
    promotions: Mapping[Task, Promotion] = field(default_factory=dict, init=False)

    def select(self, task: Task, choice: Choice, languages: Pair | None = None) -> Selection:
        """Returns the variant's name, and why it was selected. Without a name or limits, it is one of the languages.

        Raises:
            InvalidRequest: both a name and a limit are given.
            UnknownVariant: there is no variant of that name.
            InvalidArtifact: the named variant's manifest cannot be read.
            NoVariantFits: no variant is within the limits.
            UnsupportedLanguages: no variant translates between the languages, and no two do.
        """
        if choice.variant is not None and choice.limits:
            raise InvalidRequest(
                f"query parameters variant and {next(iter(choice.limits))} exclude each other: give one"
            )
        if choice.limits:
            return self._within(task, choice, languages)
        name = choice.variant if choice.variant is not None else self.find_default(task)
        if name is None:
            raise UnknownVariant(task.value, self.defaults.get(task) or "original", self.catalogue.names(task))
        manifest = self.catalogue.manifest(task, name)
        if languages is None or choice.variant is not None or _is_of_pair(manifest, languages):
            return Selection(name)
        return self._of_languages(task, languages, name)

    def find_default(self, task: Task, languages: Pair | None = None) -> str | None:
        """Returns the default variant of a task, or None if there is none.

        It is the first preferred variant that can be loaded, or the first preferred one if none can. With languages,
        only the variants that translate from the first to the second count.
        """
        names = self.preferred(task, of_any_pair=languages is not None)
        if languages is not None:
            names = [name for name in names if self.translates(task, name, languages)]
        return next((name for name in names if self.last_error(task, name) is None), next(iter(names), None))

    def preferred(self, task: Task, *, of_any_pair: bool = False) -> list[str]:
        """Returns the variants that may be the default, in order of preference: only the setting's, if it is set."""
        names = self.catalogue.names(task)
        chosen = self.defaults.get(task)
        if chosen and not of_any_pair:
            return [chosen] if chosen in names else []
        promoted = self.promotions[task].variant if task in self.promotions and not chosen else None
        manifests = self.catalogue.manifests(task)
        rejected = {each.variant for each in manifests if each.is_rejected}
        roots = {each.digest for each in manifests if each.reference is None or each.reference.digest == each.digest}
        steps = [(each.variant, step) for each in manifests for step in each.lineage[-1:]]
        quantized = [name for name, step in steps if step.technique == "quantize" and step.parent in roots]
        ordered = dict.fromkeys([chosen or promoted, *USUAL_DEFAULTS, *quantized, *names])
        return [name for name in ordered if name and name in names and (name == promoted or name not in rejected)]

    def named_by_setting(self, task: Task) -> str | None:
        """Says which variant the setting makes the default, None if it is not set."""
        name = self.defaults.get(task)
        return f"SLIMSEQ_DEFAULT_{task.name} names {name}" if name else None

    def default_reason(self, task: Task) -> str:
        """Says why the default variant of a task is that one, and why it is not the promoted one."""
        setting = self.named_by_setting(task)
        if task not in self.promotions:
            return setting or "usual default"
        variant, experiment = self.promotions[task]
        promotion = f"experiment {experiment} promoted {variant}"
        if setting:
            return f"{setting}; that comes before a promotion: {promotion}"
        if variant == self.find_default(task):
            return promotion
        what = "cannot be loaded" if variant in self.catalogue.names(task) else "is not in the store"
        return f"usual default: {promotion}, which {what}"

    def translates(self, task: Task, variant: str, languages: Pair) -> bool:
        found = next((each for each in self.catalogue.manifests(task) if each.variant == variant), None)
        return found is not None and _is_of_pair(found, languages)

    def references(self, task: Task, variants: Sequence[str]) -> dict[str, str]:
        manifests = self.catalogue.manifests(task)
        roots = {each.variant: root_of(each, manifests) for each in manifests if each.variant in variants}
        return {name: root.variant for name, root in roots.items() if root is not None and root.variant in variants}

    def digests(self, task: Task, variants: Sequence[str]) -> dict[str, str | None]:
        """Returns the digest of each variant, None where its manifest cannot be read."""
        found = {each.variant: each.digest for each in self.catalogue.manifests(task)}
        return {name: found.get(name) for name in variants}

    def _of_languages(self, task: Task, languages: Pair, default: str) -> Selection:
        """Selects the default variant of a pair, or the one that translates from the pivot to its target."""
        if name := self.find_default(task, languages):
            return Selection(name)
        source, target = languages
        if source is None or target is None:
            return Selection(default)  # Its error says what it translates.
        if base_language(source) == base_language(target):
            raise UnsupportedLanguages(f"source and target are both {base_language(target)}")
        name = self.find_default(task, (PIVOT, target))
        if name and self.find_default(task, (source, PIVOT)):
            return Selection(name, pivot=PIVOT)
        raise UnsupportedLanguages(f"no variant translates from {source} to {target}, and no two do by way of English")

    def _within(self, task: Task, choice: Choice, languages: Pair | None) -> Selection:
        candidates = self._candidates(task, choice.runtime, languages)
        fitting = [each for each in candidates if each.is_within(choice)]
        limits = " and ".join(
            f"{name} {value if isinstance(value, int) else format(value, 'g')}" for name, value in choice.limits.items()
        )
        if not fitting:
            found = "; ".join(each.words() for each in candidates) or "no measured one"
            raise NoVariantFits(task.value, limits, found)
        if choice.min_retention is not None:
            best, what = fitting, "fastest"
        else:
            highest = max(each.retention or 0.0 for each in fitting)
            best, what = [each for each in fitting if (each.retention or 0.0) == highest], "best retention"
        chosen = fastest_variant([(each.manifest, each.runtime) for each in best]).variant
        best_one = next(each for each in best if each.manifest.variant == chosen)
        return Selection(chosen, f"{what} of {counted(len(fitting), 'variant')} within {limits}: {best_one.words()}")

    def _candidates(self, task: Task, runtime: str | None, languages: Pair | None) -> list[Candidate]:
        manifests, every = self._of_one_reference(task, languages), self.catalogue.manifests(task)
        servable = [(each, name) for each in manifests if (name := self._runtime_of(each, runtime)) is not None]
        measured = {each.variant: [row for row in each.performance if row.runtime == name] for each, name in servable}
        latencies = latencies_on_one_machine(measured, cpu_flags())
        return [
            Candidate(
                each,
                name,
                retention_of(each, every),
                latencies.get(each.variant),
                self.catalogue.bytes_of(task, each.variant, runtime_named(name).format),
            )
            for each, name in servable
        ]

    def _of_one_reference(self, task: Task, languages: Pair | None) -> list[Manifest]:
        """Returns the variants with the same reference as the default. Retentions of others are not comparable."""
        manifests = self.catalogue.manifests(task)
        name = self.find_default(task, languages) or self.find_default(task)
        default = next((each for each in manifests if each.variant == name), next(iter(manifests), None))
        if default is None:
            return []
        digest = reference_of(default, manifests).digest
        return [each for each in manifests if reference_of(each, manifests).digest == digest]

    def _runtime_of(self, manifest: Manifest, runtime: str | None) -> str | None:
        """Returns the runtime of a variant, None if the variant cannot be selected."""
        if manifest.is_rejected or self.last_error(manifest.task, manifest.variant) is not None:
            return None
        try:
            return self.catalogue.runtime(manifest.task, manifest.variant, runtime)
        except SlimseqError:
            return None


def _is_of_pair(manifest: Manifest, languages: Pair) -> bool:
    pair = find_pair(manifest, *languages)
    return None not in pair and len(set(pair)) > 1
