"""Which pair of languages answers a request that names none, and which variant of a pair answers by default.

The pair is decided first, and the variant within it. So a promotion, an experiment or a variant that cannot be loaded
never changes the language of an answer. Embedded demonstration models come after all others.

The order of variants is: the variant of a setting, the variant of a promotion, `USUAL_DEFAULTS`, quantized base models,
others. A variant that `compress` chose takes the place of the first variant of its own original in this order. So it
never comes before a variant of another original that would answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.language_pairs import (
    Named,
    Pair,
    complete_pair,
    in_words,
    is_named,
    own_pair,
    serves,
)
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.fronts import Front
from slimseq.models_store.lineage import demonstrations, is_root, reference_of
from slimseq.models_store.manifest import Manifest, Task

# Names of the variants that come first. Variants that only quantize a base model come next, under any name.
USUAL_DEFAULTS = ("quantized", "original")
# Of the embedded translators, the one to Portuguese reads better than the one to German.
DEMONSTRATED_PAIR = ("en", "pt")
# Maximum number of pairs whose variants are kept. A model of many languages has thousands of pairs.
MAX_KNOWN_PAIRS = 256


class Promotion(NamedTuple):
    """A variant that an experiment made the default of its pair."""

    variant: str
    experiment: str


@dataclass(eq=False)
class Defaults:
    """The default variants. Used from the event loop.

    `variants` and `pair` are those of the settings, and come before `promotions`, which `slimseq.app.experiments`
    keeps. The `pair` is that of translations. `last_error` returns why a variant cannot be loaded, if that is known.
    """

    catalogue: Catalogue
    variants: Mapping[Task, str | None] = field(default_factory=dict)
    pair: Pair | None = None
    last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None
    promotions: Mapping[tuple[Task, Pair], Promotion] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # Computed of the manifests at a version of the catalogue. All of it is forgotten when a manifest changes.
        self._version = -1
        self._orders: dict[Task, list[Manifest]] = {}
        self._default_pairs: dict[Task, Pair | None] = {}
        self._of_pairs: dict[tuple[Task, Pair], list[Manifest]] = {}

    def default_pair(self, task: Task) -> Pair | None:
        """Returns the pair of a request that names neither variant nor language. None if no manifest says one."""
        self._forget_if_changed()
        if task not in self._default_pairs:
            self._default_pairs[task] = self._find_default_pair(task)
        return self._default_pairs[task]

    def _find_default_pair(self, task: Task) -> Pair | None:
        if self.pair is not None and task is Task.TRANSLATION:
            # In the codes of the variant that serves the pair (`de` for `DE`). None does if two variants are needed.
            return self.find_pair(task, (self.pair[0], self.pair[1])) or self.pair
        name = self.variants.get(task)
        if name:
            manifest = self.find_manifest(task, name)
            return own_pair(manifest) if manifest else None
        manifests = self.usual(task)
        if not manifests:
            return None
        are_all_demonstrations = manifests[0].digest in demonstrations(manifests)
        pairs = [own_pair(each) for each in manifests]
        if are_all_demonstrations and DEMONSTRATED_PAIR in pairs:
            return DEMONSTRATED_PAIR
        return pairs[0]

    def find_pair(self, task: Task, named: Named | None) -> Pair | None:
        """Returns the pair of a request in the codes of the variants, None if no variant serves it.

        What the request leaves out is as in the default pair, else as in the first variant that fits. A code that a
        variant has comes before one of another region: with both, `pt-BR` is not `pt`.
        """
        if named is None or named == (None, None):
            return self.default_pair(task)
        # The first pair that fits, which a pair with exactly the named codes replaces.
        fitting: Pair | None = None
        if None in named:
            default = self.default_pair(task)
            if default is not None and is_named(default, named):
                fitting = default
        if fitting is not None and is_named(fitting, named, exactly=True):
            return fitting
        seen: set[Pair] = set()
        for manifest in self.usual(task):
            if own_pair(manifest) in seen:
                continue
            if not manifest.generation.language_tokens:
                # Other variants of this pair need not be looked at.
                seen.add(own_pair(manifest))
            pair = complete_pair(manifest, named)
            if pair is not None and is_named(pair, named, exactly=True):
                return pair
            fitting = fitting or pair
        return fitting

    def pairs(self, task: Task) -> list[Pair]:
        """Returns the own pair of each variant once, the default pair first."""
        manifests = [*self.usual(task), *self.catalogue.manifests(task)]
        own = [own_pair(each) for each in manifests]
        default = self.default_pair(task)
        return list(dict.fromkeys([default, *own] if default is not None else own))

    def find(self, task: Task, pair: Pair | None) -> str | None:
        """Returns the default variant of a pair, None if there is none.

        It is the first preferred variant that can be loaded, or the first preferred one if none can.
        """
        names = self.preferred(task, pair)
        loadable = (name for name in names if self.last_error(task, name) is None)
        return next(loadable, names[0] if names else None)

    def preferred(self, task: Task, pair: Pair | None) -> list[str]:
        """Returns the variants that may be the default of a pair, in order of preference.

        If the variant of the setting serves the pair, it is the only one. Without a pair, these are the variants whose
        manifests cannot be read: nothing says which pair they serve.
        """
        chosen = self._named_by_setting(task, pair)
        if chosen:
            return [chosen] if chosen in self.catalogue.names(task) else []
        if pair is None:
            return [entry.variant for entry in self.catalogue.entries(task) if entry.manifest is None]
        names = [each.variant for each in self._of_pair(task, pair)]
        promotion = self.promotions.get((task, pair))
        if promotion is not None:
            manifest = self.find_manifest(task, promotion.variant)
            if manifest is not None and serves(manifest, pair):
                return [promotion.variant, *(name for name in names if name != promotion.variant)]
        return names

    def usual(self, task: Task) -> Sequence[Manifest]:
        """Returns the variants that no gate rejected, in the order of preference without settings and promotions."""
        self._forget_if_changed()
        if task not in self._orders:
            manifests = self.catalogue.manifests(task)
            order = _in_usual_order(manifests)
            for front in self.catalogue.fronts(task):
                order = _with_chosen_first(order, front, manifests)
            self._orders[task] = order
        return self._orders[task]

    def named_by_setting(self, task: Task, pair: Pair | None) -> str | None:
        """Says which variant the setting makes the default of a pair, None if it makes none."""
        name = self._named_by_setting(task, pair)
        return f"SLIMSEQ_DEFAULT_{task.name} names {name}" if name else None

    def reason(self, task: Task, pair: Pair | None) -> str:
        """Says why the default variant of a pair is that one, and why it is not the promoted one."""
        setting = self.named_by_setting(task, pair)
        promotion = self.promotions.get((task, pair or ()))
        if promotion is None:
            return setting or self._usual_reason(task, pair)
        text = f"experiment {promotion.experiment} promoted {promotion.variant}"
        if setting:
            return f"{setting}; that comes before a promotion: {text}"
        if promotion.variant == self.find(task, pair):
            return text
        manifest = self.find_manifest(task, promotion.variant)
        if manifest is not None and not serves(manifest, pair or ()):
            return f"usual default: {text}, which is {in_words(own_pair(manifest))} now"
        what = "cannot be loaded" if promotion.variant in self.catalogue.names(task) else "is not in the store"
        return f"usual default: {text}, which {what}"

    def _usual_reason(self, task: Task, pair: Pair | None) -> str:
        manifest = self.find_manifest(task, self.find(task, pair) or "")
        chosen = [_chosen_digest(front) for front in self.catalogue.fronts(task)]
        return "chosen by compress" if manifest is not None and manifest.digest in chosen else "usual default"

    def find_manifest(self, task: Task, variant: str) -> Manifest | None:
        """Returns the manifest of a variant, None if there is none that can be read."""
        return next((each for each in self.catalogue.manifests(task) if each.variant == variant), None)

    def _named_by_setting(self, task: Task, pair: Pair | None) -> str | None:
        """Returns the variant of the setting if it serves a pair, or if nobody knows what it serves."""
        name = self.variants.get(task)
        if not name or pair is None:
            return name or None
        manifest = self.find_manifest(task, name)
        return name if manifest is not None and serves(manifest, pair) else None

    def _of_pair(self, task: Task, pair: Pair) -> Sequence[Manifest]:
        self._forget_if_changed()
        if (task, pair) not in self._of_pairs:
            if len(self._of_pairs) >= MAX_KNOWN_PAIRS:
                self._of_pairs.clear()
            self._of_pairs[task, pair] = [each for each in self.usual(task) if serves(each, pair)]
        return self._of_pairs[task, pair]

    def _forget_if_changed(self) -> None:
        version = self.catalogue.version()
        if version != self._version:
            self._version = version
            self._orders.clear()
            self._default_pairs.clear()
            self._of_pairs.clear()


def _in_usual_order(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Sorts the variants that no gate rejected: demonstrations last, and within both groups by rank."""
    roots = {each.digest for each in manifests if is_root(each)}
    demonstrated = demonstrations(manifests)

    def place(manifest: Manifest) -> tuple[bool, int]:
        if manifest.variant in USUAL_DEFAULTS:
            rank = USUAL_DEFAULTS.index(manifest.variant)
        else:
            last = manifest.lineage[-1] if manifest.lineage else None
            is_quantized_root = last is not None and last.technique == "quantize" and last.parent in roots
            rank = len(USUAL_DEFAULTS) + (0 if is_quantized_root else 1)
        return manifest.digest in demonstrated, rank

    return sorted((each for each in manifests if not each.is_rejected), key=place)


def _with_chosen_first(order: Sequence[Manifest], front: Front, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Moves the variant that a front chose to the place of the first variant of its original that serves its pair.

    Args:
        order: the variants in the usual order.
        front: of a run of `compress`.
        manifests: all variants of the task, among them the originals.
    """
    digest = _chosen_digest(front)
    chosen = next((each for each in order if digest is not None and each.digest == digest), None)
    if chosen is None or reference_of(chosen, manifests).digest != front.digest:
        return list(order)
    related = [
        each
        for each in order
        if reference_of(each, manifests).digest == front.digest and serves(each, own_pair(chosen))
    ]
    others = [each for each in order if each is not chosen]
    place = order.index(related[0])
    return [*others[:place], chosen, *others[place:]]


def _chosen_digest(front: Front) -> str | None:
    """Returns the digest of the variant that a front chose. None if it chose none, or does not know its digest."""
    return next((each.digest for each in front.variants if each.variant == front.chosen), None)
