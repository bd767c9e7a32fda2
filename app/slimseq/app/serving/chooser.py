"""Which variant answers: the one named, the fastest that keeps enough quality, or the task's default."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimseq.app.errors import InvalidRequest, NoVariantRetains
from slimseq.app.serving.catalogue import Catalogue
from slimseq.app.serving.quality import retention
from slimseq.app.serving.runtimes import RuntimeChooser
from slimseq.evaluation.fastest import speeds_on_one_machine
from slimseq.evaluation.host import cpu_flags
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.roots import reference_of, root_of


@dataclass(frozen=True)
class Choice:
    """What a request says about who answers it.

    Args:
        variant: the variant's name; None takes the task's default.
        min_retention: instead of a name, how much of the quality of the default's reference must be kept.
        runtime: what must run it; None takes what suits this machine best.
    """

    variant: str | None = None
    min_retention: float | None = None
    runtime: str | None = None


class Chooser:
    """Resolves what a request says about variants to one name."""

    def __init__(
        self,
        catalogue: Catalogue,
        runtimes: RuntimeChooser,
        last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None,
    ) -> None:
        """Chooses among a catalogue's variants.

        Args:
            catalogue: what there is.
            runtimes: says what would open a variant.
            last_error: why a variant could not be opened when last tried; such a one is not chosen for its speed.
        """
        self._catalogue = catalogue
        self._runtimes = runtimes
        self._last_error = last_error
        self._flags = cpu_flags()

    def choose(self, task: Task, choice: Choice) -> str:
        """Returns the variant's name.

        Raises:
            InvalidRequest: both a name and a retention are given.
            UnknownVariant: there is no variant of that name.
            InvalidArtifact: the named variant's manifest cannot be read.
            NoVariantRetains: no variant keeps that much.
        """
        if choice.variant is not None and choice.min_retention is not None:
            raise InvalidRequest("query parameters variant and min_retention exclude each other: give one")
        if choice.min_retention is not None:
            return self._fastest(task, choice.min_retention, choice.runtime)
        name = choice.variant if choice.variant is not None else self._catalogue.default(task)
        self._catalogue.manifest(task, name)
        return name

    def check_exists(self, task: Task, variant: str) -> None:
        """Checks that there is a variant of that name, readable or not.

        Raises:
            UnknownVariant: there is none.
        """
        self._catalogue.entry(task, variant)

    def references(self, task: Task, variants: Sequence[str]) -> dict[str, str]:
        """Returns the names of those variants' references that are among them."""
        manifests = self._catalogue.manifests(task)
        roots = {each.variant: root_of(each, manifests) for each in manifests if each.variant in variants}
        return {name: root.variant for name, root in roots.items() if root is not None and root.variant in variants}

    def _fastest(self, task: Task, min_retention: float, runtime: str | None) -> str:
        manifests = self._of_one_reference(task)
        runtimes = {each.variant: self._runtime_of(each, runtime) for each in manifests}
        servable = [each for each in manifests if runtimes[each.variant] is not None]
        kept = {each.variant: self._retention(each) for each in servable}
        enough = [each for each in servable if (kept[each.variant] or 0.0) >= min_retention]
        if not enough:
            raise NoVariantRetains(task.value, min_retention, list(kept.items()))
        measured = {
            each.variant: [taken for taken in each.performance if taken.runtime == runtimes[each.variant]]
            for each in enough
        }
        speeds = speeds_on_one_machine(measured, self._flags)
        # Unmeasured ones come last, and the fewest bytes first among equals.
        return min(enough, key=lambda each: (-speeds.get(each.variant, 0.0), _fewest_bytes(each))).variant

    def _of_one_reference(self, task: Task) -> list[Manifest]:
        """Returns the variants that have the default's reference: what is kept of another model says nothing of it."""
        manifests = self._catalogue.manifests(task)
        name = self._catalogue.find_default(task)
        default = next((each for each in manifests if each.variant == name), manifests[0] if manifests else None)
        if default is None:
            return []
        digest = reference_of(default, manifests).digest
        return [each for each in manifests if reference_of(each, manifests).digest == digest]

    def _retention(self, manifest: Manifest) -> float | None:
        found = retention(manifest, self._catalogue.manifests(manifest.task))
        return found.value if found is not None else None

    def _runtime_of(self, manifest: Manifest, runtime: str | None) -> str | None:
        """Returns what would run a variant, None where it is not to be chosen."""
        if manifest.is_rejected or self._last_error(manifest.task, manifest.variant) is not None:
            return None
        try:
            return self._runtimes.choose(manifest.task, manifest.variant, runtime)
        except SlimseqError:
            return None


def _fewest_bytes(manifest: Manifest) -> int:
    return min(manifest.size.bytes_by_format.values(), default=0)
