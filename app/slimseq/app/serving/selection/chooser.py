"""Selects the variant of a request: the named one, the best within limits, or the default of its pair of languages.

`slimseq.app.serving.selection.defaults` says which variant of a pair is the default, `within_limits` which is the best
within limits. Where no variant translates a pair directly, two do by way of English.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from slimseq.app.errors import InvalidRequest
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.selection.language_pairs import (
    MAX_LISTED_LANGUAGES,
    Named,
    Pair,
    own_pair,
    pairs_in_words,
    shared_pair,
)
from slimseq.app.serving.selection.within_limits import LimitSelector
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import base_language
from slimseq.models_store.errors import UnknownVariant
from slimseq.models_store.lineage import root_of
from slimseq.models_store.manifest import Manifest, Task

# English. Texts are translated into it first where no variant translates a pair directly.
PIVOT = "en"


@dataclass(frozen=True)
class RequestedVariant:
    """The variant and runtime that a request selects. None selects the pair's default, and the fastest runtime here.

    `min_retention`, `max_latency_ms` and `max_bytes` are limits, which select a variant instead of its name. `target`
    is the language of the outputs for a body that names none.
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
    """The selected variant, and the reason if limits selected it.

    With a `pivot`, the texts have to be translated into that language first, from which the variant translates. `pair`
    is what the variant has to serve if that is not its own pair: a model of many languages serves many.
    """

    variant: str
    reason: str | None = None
    pivot: str | None = None
    pair: Pair | None = None


@dataclass(eq=False)
class Chooser:
    """Resolves what a request selects to the name of a variant. Used from the event loop."""

    defaults: Defaults

    @property
    def catalogue(self) -> Catalogue:
        return self.defaults.catalogue

    def select(self, task: Task, choice: RequestedVariant, languages: Named | None = None) -> Selection:
        """Returns the variant for a request. If the request names none, the variant serves the pair of the request.

        Args:
            task: the task of the request.
            choice: the variant, or the limits, of the request.
            languages: source and target that the request names. None if it names neither.

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
        # The languages that have to be served, None if any will do.
        wanted = languages or self._default_languages(task)
        is_served = wanted is None or (pair is not None and name is not None)
        if choice.limits:
            if wanted is not None and not is_served:
                raise self._unsupported(task, wanted, chains=False)
            manifest, reason = LimitSelector(self.defaults).select(task, choice.limits, choice.runtime, pair)
            return Selection(manifest.variant, reason, pair=_other_pair(manifest, pair))
        if wanted is not None and not is_served:
            selection = self._by_way_of_pivot(task, wanted)
            return selection if languages is not None else selection._replace(pair=self.defaults.pair)
        if name is None:
            known = self.catalogue.names(task)
            raise UnknownVariant(task.value, self.defaults.variants.get(task) or "original", known)
        # If the manifest cannot be read, this raises the reason.
        return Selection(name, pair=_other_pair(self.catalogue.manifest(task, name), pair))

    def find_default(self, task: Task) -> str | None:
        """Returns the variant that answers requests which name neither a variant nor a language, None without one."""
        return self.defaults.find(task, self.defaults.default_pair(task))

    def check_default_pair(self) -> None:
        """Checks that a variant translates the pair of the setting, or two do.

        Raises:
            UnsupportedLanguages: none does. It says each pair that there is.
        """
        languages = self._default_languages(Task.TRANSLATION)
        if languages is not None and self.defaults.find_pair(Task.TRANSLATION, languages) is None:
            self._by_way_of_pivot(Task.TRANSLATION, languages)

    def shared_pair(
        self, task: Task, variants: Sequence[str], named: Sequence[str | None] | None = None
    ) -> Pair | None:
        """Returns the pair that variants share, as far as their manifests can be read. None if none can.

        Raises:
            UnsupportedLanguages: they share none, or not the named one.
        """
        found = {name: self.defaults.find_manifest(task, name) for name in variants}
        return shared_pair({name: manifest for name, manifest in found.items() if manifest is not None}, named)

    def left_out(self, task: Task) -> dict[str, str]:
        """Returns the variants that limits such as `min_retention` cannot compare or select, each with the reason."""
        return LimitSelector(self.defaults).left_out(task)

    def references(self, task: Task, variants: Sequence[str]) -> dict[str, str]:
        """Returns the base model of each variant, where it is one of the variants too."""
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
        if source is None:
            wanted = f"to {target}"
        elif target is None:
            wanted = f"from {source}"
        else:
            wanted = f"from {source} to {target}"
            if chains:
                wanted += ", and no two do by way of English"
        default = self.defaults.default_pair(task)
        # The default pair comes first.
        manifests = sorted(self.defaults.usual(task), key=lambda each: own_pair(each) != default)
        known = pairs_in_words(manifests) or "no pair"
        if any(len(each.targets) > MAX_LISTED_LANGUAGES for each in manifests):
            known += " (GET /libretranslate/languages lists them)"
        return UnsupportedLanguages(f"no variant translates {wanted}; there is {known}")


def _other_pair(manifest: Manifest, pair: Pair | None) -> Pair | None:
    """Returns the pair that a variant has to serve if that is not its own."""
    return None if pair == tuple(manifest.languages) else pair
