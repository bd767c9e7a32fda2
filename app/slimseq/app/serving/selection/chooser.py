"""Selects the variant of a request: the named one, the fastest with enough retention, or the task's default."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from slimseq.app.errors import InvalidRequest, NoVariantRetains
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.runtimes import RuntimeChooser
from slimseq.evaluation.fastest import fastest_variant
from slimseq.evaluation.record import retention_of
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.roots import reference_of, root_of


@dataclass(frozen=True)
class Choice:
    """The variant and runtime that a request selects.

    Args:
        variant: the variant's name. None selects the task's default.
        min_retention: minimum retention, instead of a name, relative to the reference of the default.
        runtime: the runtime's name. None selects the fastest on this machine.
        languages: source and target. Without a name or a retention, selects the default among the variants of that
            pair. None selects the task's default, whatever it translates.
    """

    variant: str | None = None
    min_retention: float | None = None
    runtime: str | None = None
    languages: tuple[str, str] | None = None

    def with_languages(self, source: str, target: str) -> Self:
        """Returns the choice for a language pair. A named variant stays the choice, whatever it translates."""
        return self if self.variant or self.min_retention else replace(self, languages=(source, target))


class Chooser:
    """Resolves the choice of a request to the name of a variant."""

    def __init__(
        self,
        catalogue: Catalogue,
        runtimes: RuntimeChooser,
        last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None,
    ) -> None:
        """Makes a chooser.

        Args:
            catalogue: the variants.
            runtimes: selects the runtime of a variant.
            last_error: returns why the last attempt to load a variant failed. Such a variant is not selected by speed.
        """
        self._catalogue = catalogue
        self._runtimes = runtimes
        self._last_error = last_error

    def choose(self, task: Task, choice: Choice) -> str:
        """Returns the variant's name.

        Raises:
            InvalidRequest: both a name and a retention are given.
            UnknownVariant: there is no variant of that name.
            InvalidArtifact: the named variant's manifest cannot be read.
            NoVariantRetains: no variant has that retention.
        """
        if choice.variant is not None and choice.min_retention is not None:
            raise InvalidRequest("query parameters variant and min_retention exclude each other: give one")
        if choice.min_retention is not None:
            return self._fastest(task, choice.min_retention, choice.runtime)
        name = choice.variant if choice.variant is not None else self._catalogue.default(task, choice.languages)
        self._catalogue.manifest(task, name)
        return name

    def check_exists(self, task: Task, variant: str) -> None:
        """Checks that there is a variant of that name, readable or not.

        Raises:
            UnknownVariant: there is none.
        """
        self._catalogue.entry(task, variant)

    def references(self, task: Task, variants: Sequence[str]) -> dict[str, str]:
        """Returns the name of each variant's reference, if it is one of the variants."""
        manifests = self._catalogue.manifests(task)
        roots = {each.variant: root_of(each, manifests) for each in manifests if each.variant in variants}
        return {name: root.variant for name, root in roots.items() if root is not None and root.variant in variants}

    def _fastest(self, task: Task, min_retention: float, runtime: str | None) -> str:
        manifests = self._of_one_reference(task)
        servable = [(each, name) for each in manifests if (name := self._runtime_of(each, runtime)) is not None]
        kept = {each.variant: retention_of(each, self._catalogue.manifests(task)) for each, _ in servable}
        enough = [(each, name) for each, name in servable if (kept[each.variant] or 0.0) >= min_retention]
        if not enough:
            raise NoVariantRetains(task.value, min_retention, list(kept.items()))
        return fastest_variant(enough).variant

    def _of_one_reference(self, task: Task) -> list[Manifest]:
        """Returns the variants with the same reference as the default. Retentions of others are not comparable."""
        manifests = self._catalogue.manifests(task)
        name = self._catalogue.find_default(task)
        default = next((each for each in manifests if each.variant == name), manifests[0] if manifests else None)
        if default is None:
            return []
        digest = reference_of(default, manifests).digest
        return [each for each in manifests if reference_of(each, manifests).digest == digest]

    def _runtime_of(self, manifest: Manifest, runtime: str | None) -> str | None:
        """Returns the runtime of a variant, None if the variant cannot be selected."""
        if manifest.is_rejected or self._last_error(manifest.task, manifest.variant) is not None:
            return None
        try:
            return self._runtimes.choose(manifest.task, manifest.variant, runtime)
        except SlimseqError:
            return None
