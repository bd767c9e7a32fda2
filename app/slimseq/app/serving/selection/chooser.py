"""Selects the variant of a request: the named one, the best within limits, or the default of its pair of languages."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from slimseq.app.errors import InvalidRequest, NoVariantFits
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.selection.language_pairs import (
    MAX_LISTED_LANGUAGES,
    Named,
    Pair,
    own_pair,
    pairs_in_words,
    serves,
    shared_pair,
)
from slimseq.evaluation.fastest import fastest_of, latencies_on_one_machine, speeds_on_one_machine
from slimseq.evaluation.retention import headline_metric, retention_of
from slimseq.evaluation.speed_up import counted, measurements_of
from slimseq.inference.runtimes.registry import runtime_named
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import base_language
from slimseq.models_store.errors import SlimseqError, UnknownVariant
from slimseq.models_store.lineage import group_by_root, reference_of, root_of
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance

# English. Texts are translated into it first where no variant translates a pair directly.
PIVOT = "en"


@dataclass(frozen=True)
class RequestedVariant:
    """The variant and runtime that a request selects. None selects the pair's default, and the fastest runtime here.

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
    """The selected variant, and the reason if limits selected it. With a pivot, it reads texts in that language.

    `pair` is the pair that it has to serve if that is not its own: a model of many languages serves many.
    """

    variant: str
    reason: str | None = None
    pivot: str | None = None
    pair: Pair | None = None


@dataclass(frozen=True)
class Candidate:
    manifest: Manifest
    runtime: str
    measured: Sequence[Performance]
    retention: float | None
    latency_ms: float | None
    bytes: int | None

    @property
    def name(self) -> str:
        return self.manifest.variant

    def unmeasured(self, choice: RequestedVariant) -> list[str]:
        """Returns what a request limits and nobody measured. Such a variant is left out, whatever it is."""
        values = {"min_retention": self.retention, "max_latency_ms": self.latency_ms, "max_bytes": self.bytes}
        return [UNMEASURED[limit] for limit in choice.limits if values[limit] is None]

    def is_within(self, choice: RequestedVariant) -> bool:
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


UNMEASURED = {
    "min_retention": "its retention was not measured",
    "max_latency_ms": "its latency was not measured beside that of the others",
    "max_bytes": "its size is unknown",
}
UNTIMED = "its speed was not measured beside that of the others"


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


@dataclass(eq=False)
class Chooser:
    """Resolves the choice of a request to the name of a variant. `defaults` says which one answers by default."""

    defaults: Defaults

    @property
    def catalogue(self) -> Catalogue:
        return self.defaults.catalogue

    def select(self, task: Task, choice: RequestedVariant, languages: Named | None = None) -> Selection:
        """Returns the variant's name, and why it was selected. Without a name, it is one of the pair of the request.

        Raises:
            InvalidRequest: both a name and a limit are given.
            UnknownVariant: there is no variant of that name.
            InvalidArtifact: the named variant's manifest cannot be read.
            NoVariantFits: no variant is within the limits.
            UnsupportedLanguages: no variant translates between the languages, and no two do.
        """
        if choice.variant is not None:
            if choice.limits:
                raise InvalidRequest(
                    f"query parameters variant and {next(iter(choice.limits))} exclude each other: give one"
                )
            self.catalogue.manifest(task, choice.variant)
            return Selection(choice.variant)
        pair = self.defaults.find_pair(task, languages)
        name = self.defaults.find(task, pair)
        named = languages or self._default_languages(task)
        is_served = named is None or (pair is not None and name is not None)
        if choice.limits:
            if named is not None and not is_served:
                raise self._unsupported(task, named, chains=False)
            return self._within(task, choice, pair)
        if named is not None and not is_served:
            selection = self._by_way_of_pivot(task, named)
            return selection if languages is not None else selection._replace(pair=self.defaults.pair)
        if name is None:
            known = self.catalogue.names(task)
            raise UnknownVariant(task.value, self.defaults.variants.get(task) or "original", known)
        # Raises the error of one that cannot be read.
        return Selection(name, pair=_other_pair(self.catalogue.manifest(task, name), pair))

    def find_default(self, task: Task) -> str | None:
        """Returns the variant that answers requests which name neither a variant nor a language, None without one."""
        return self.defaults.find(task, self.defaults.default_pair(task))

    def check_default_pair(self) -> None:
        """Checks that a variant translates the pair of the setting, or two do.

        Raises:
            UnsupportedLanguages: none does. It says each pair that there is.
        """
        named = self._default_languages(Task.TRANSLATION)
        if named is not None and self.defaults.find_pair(Task.TRANSLATION, named) is None:
            self._by_way_of_pivot(Task.TRANSLATION, named)

    def shared_pair(
        self, task: Task, variants: Sequence[str], named: Sequence[str | None] | None = None
    ) -> Pair | None:
        """Returns the pair that variants share, as far as their manifests can be read. None if none can.

        Raises:
            UnsupportedLanguages: they share none, or not the named one.
        """
        found = {name: self.defaults.find_manifest(task, name) for name in variants}
        return shared_pair({name: manifest for name, manifest in found.items() if manifest is not None}, named)

    def references(self, task: Task, variants: Sequence[str]) -> dict[str, str]:
        manifests = self.catalogue.manifests(task)
        roots = {each.variant: root_of(each, manifests) for each in manifests if each.variant in variants}
        return {name: root.variant for name, root in roots.items() if root is not None and root.variant in variants}

    def digests(self, task: Task, variants: Sequence[str]) -> dict[str, str | None]:
        """Returns the digest of each variant, None where its manifest cannot be read."""
        found = {each.variant: each.digest for each in self.catalogue.manifests(task)}
        return {name: found.get(name) for name in variants}

    def _default_languages(self, task: Task) -> Named | None:
        """Returns the languages of the setting, for translations that name none."""
        pair = self.defaults.pair if task is Task.TRANSLATION else None
        return (pair[0], pair[1]) if pair is not None else None

    def _by_way_of_pivot(self, task: Task, languages: Named) -> Selection:
        """Selects the default variant from the pivot to the target, if another one translates into the pivot."""
        source, target = languages
        if source is not None and target is not None:
            if base_language(source) == base_language(target):
                raise UnsupportedLanguages(f"source and target are both {base_language(target)}")
            first = self.defaults.find_pair(task, (source, PIVOT))
            second = self.defaults.find_pair(task, (PIVOT, target))
            name = self.defaults.find(task, second) if second is not None else None
            if name is not None and first is not None and self.defaults.find(task, first) is not None:
                return Selection(name, pivot=PIVOT)
        raise self._unsupported(task, languages)

    def _unsupported(self, task: Task, languages: Named, *, chains: bool = True) -> UnsupportedLanguages:
        """Returns the error of languages that nothing translates. It says each pair that there is."""
        source, target = languages
        wanted = f"from {source} to {target}"
        if source is None or target is None:
            wanted = f"to {target}" if source is None else f"from {source}"
        elif chains:
            wanted += ", and no two do by way of English"
        default = self.defaults.default_pair(task)
        manifests = sorted(self.defaults.usual(task), key=lambda each: own_pair(each) != default)
        known = pairs_in_words(manifests) or "no pair"
        if any(len(each.targets) > MAX_LISTED_LANGUAGES for each in manifests):
            known += " (GET /libretranslate/languages lists them)"
        return UnsupportedLanguages(f"no variant translates {wanted}; there is {known}")

    def _within(self, task: Task, choice: RequestedVariant, pair: Pair | None) -> Selection:
        candidates = self._candidates(task, choice.runtime, pair)
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
        chosen, untimed = fastest_of([each.manifest for each in best], {each.name: each.measured for each in best})
        if len(best) > 1 and chosen.variant in untimed:
            what = "smallest, since no speed was measured," if what == "fastest" else what
        best_one = next(each for each in best if each.name == chosen.variant)
        left_out = self._left_out_of(choice, candidates, [name for name in untimed if name != chosen.variant])
        found = f"{what} of {counted(len(fitting), 'variant')} within {limits}: {best_one.words()}{left_out}"
        return Selection(chosen.variant, found, pair=_other_pair(best_one.manifest, pair))

    def _left_out_of(self, choice: RequestedVariant, candidates: Sequence[Candidate], untimed: Sequence[str]) -> str:
        """Names the variants that could not be compared with the selected one, each with the reason."""
        words = []
        for candidate in candidates:
            reasons = candidate.unmeasured(choice)
            if candidate.name in untimed:
                reasons.append(UNTIMED)
            if reasons:
                words.append(f"; left out: {candidate.name} ({' and '.join(reasons)})")
        return "".join(words)

    def left_out(self, task: Task) -> dict[str, str]:
        """Returns the variants that limits such as `min_retention` cannot compare or select, each with the reason."""
        found: dict[str, str] = {}
        for group in group_by_root(self.catalogue.manifests(task)):
            candidates = {each.name: each for each in self._candidates_of(task, group, None)}
            speeds = speeds_on_one_machine({name: each.measured for name, each in candidates.items()})
            for manifest in group:
                candidate = candidates.get(manifest.variant)
                if manifest.is_rejected:
                    found[manifest.variant] = "its gate rejected it"
                elif candidate is None:
                    found[manifest.variant] = "it cannot be loaded here"
                elif candidate.retention is None:
                    found[manifest.variant] = UNMEASURED["min_retention"]
                elif len(candidates) > 1 and manifest.variant not in speeds:
                    found[manifest.variant] = UNTIMED
        return found

    def _candidates(self, task: Task, runtime: str | None, pair: Pair | None) -> list[Candidate]:
        return self._candidates_of(task, self._of_one_reference(task, pair), runtime)

    def _candidates_of(self, task: Task, group: Sequence[Manifest], runtime: str | None) -> list[Candidate]:
        """Returns the variants of one base model that can be opened here, each with its runtime and its figures."""
        opened = [(each, self._runtime_of(each, runtime)) for each in group]
        servable = [(each, name) for each, name in opened if name is not None]
        local = self.catalogue.speeds(task)
        measured = {
            each.variant: [row for row in measurements_of(each, local) if row.runtime == name]
            for each, name in servable
        }
        latencies = latencies_on_one_machine(measured)
        metric = headline_metric(group) if group else ""
        return [
            Candidate(
                each,
                name,
                measured[each.variant],
                retention_of(each, group, metric),
                latencies.get(each.variant),
                self.catalogue.bytes_of(task, each.variant, runtime_named(name).format),
            )
            for each, name in servable
        ]

    def _of_one_reference(self, task: Task, pair: Pair | None) -> list[Manifest]:
        """Returns the variants of a pair with the same reference as its default. Others are not comparable."""
        manifests = [each for each in self.catalogue.manifests(task) if pair is None or serves(each, pair)]
        name = self.defaults.find(task, pair)
        default = next((each for each in manifests if each.variant == name), next(iter(manifests), None))
        if default is None:
            return []
        every = self.catalogue.manifests(task)
        digest = reference_of(default, every).digest
        return [each for each in manifests if reference_of(each, every).digest == digest]

    def _runtime_of(self, manifest: Manifest, runtime: str | None) -> str | None:
        """Returns the runtime of a variant, None if the variant cannot be selected."""
        if manifest.is_rejected or self.defaults.last_error(manifest.task, manifest.variant) is not None:
            return None
        try:
            return self.catalogue.runtime(manifest.task, manifest.variant, runtime)
        except SlimseqError:
            return None


def _other_pair(manifest: Manifest, pair: Pair | None) -> Pair | None:
    """Returns the pair that a variant has to serve if that is not its own."""
    return None if pair == tuple(manifest.languages) else pair
