"""Pairs of languages: which ones a variant serves, and which one several variants share.

A pair is the languages of a variant: source and target of a translation, or the one language of summaries. Most
variants serve one pair. A model of many languages serves many.
"""

from collections.abc import Mapping, Sequence

from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import base_language, find_language, find_pair
from slimseq.models_store.manifest import Manifest, Task

Pair = tuple[str, ...]
# Source and target of a request. A request may name one of them, and leave the other one out.
Named = tuple[str | None, str | None]

# Maximum number of codes that an error lists of a model. A model of many languages may have 200.
MAX_LISTED_LANGUAGES = 8


def own_pair(manifest: Manifest) -> Pair:
    """Returns the pair that the manifest of a variant names. A model of many languages serves others too."""
    return tuple(manifest.languages)


def complete_pair(manifest: Manifest, named: Named) -> Pair | None:
    """Returns source and target of a translation by a variant, None if the variant does not translate what is named.

    What the request leaves out is as in the variant's own pair.
    """
    codes = tuple(code for code in find_pair(manifest, *named) if code is not None)
    has_two_languages = len(codes) == 2 and codes[0] != codes[1]
    return codes if has_two_languages else None


def serves(manifest: Manifest, pair: Pair) -> bool:
    """Whether a variant serves a pair, whose codes are those of the variant."""
    if pair == own_pair(manifest):
        return True
    return manifest.task is Task.TRANSLATION and len(pair) == 2 and complete_pair(manifest, (pair[0], pair[1])) == pair


def is_of(manifest: Manifest, languages: Sequence[str]) -> bool:
    """Whether data in some languages is for a variant. Regions do not matter: `pt` is for a model of `pt-BR` too."""
    if bases(manifest.languages) == bases(languages):
        return True
    if manifest.task is not Task.TRANSLATION or len(languages) != 2:
        return False
    return complete_pair(manifest, (languages[0], languages[1])) is not None


def bases(languages: Sequence[str]) -> list[str]:
    """Returns languages without their regions and scripts."""
    return [base_language(code) for code in languages]


def is_named(pair: Pair, named: Named, *, exactly: bool = False) -> bool:
    """Whether a pair is what a request names: `de` for `de-AT` too, unless it has to be `exactly` the same code."""
    if len(pair) != 2:
        return False
    for code, name in zip(pair, named, strict=True):
        if name is None:
            continue
        is_same = name.replace("-", "_").casefold() == code.replace("-", "_").casefold()
        if not is_same and (exactly or find_language(name, {code: code}) is None):
            return False
    return True


def shared_pair(manifests: Mapping[str, Manifest], named: Sequence[str | None] | None = None) -> Pair | None:
    """Returns the pair that all variants serve, None if there are no variants.

    It is the own pair of one of them, or what is `named` of it: source and target of translations, of which one may be
    None.

    Raises:
        UnsupportedLanguages: they share none, or not the named one. It says what each serves.
    """
    # Always two entries: a summary has one language, or none is named.
    wanted = [*(named or ()), None, None][:2]
    is_any = wanted == [None, None]
    for manifest in manifests.values():
        is_translation = manifest.task is Task.TRANSLATION
        pair = own_pair(manifest)
        if is_translation and not is_any:
            completed = complete_pair(manifest, (wanted[0], wanted[1]))
            if completed is None:
                continue
            pair = completed
        elif not is_any and find_language(str(wanted[0]), {code: code for code in pair}) is None:
            continue
        if all(serves(other, pair) for other in manifests.values()):
            return pair
    if not manifests:
        return None
    reason = "are not of the same languages" if is_any else f"are not all of {_named_in_words(wanted)}"
    pairs = ", ".join(f"{name} is {pair_in_words(manifest)}" for name, manifest in manifests.items())
    raise UnsupportedLanguages(f"the variants {reason}: {pairs}")


def in_words(pair: Sequence[str]) -> str:
    return " to ".join(pair) or "no language"


def pair_in_words(manifest: Manifest) -> str:
    """Returns what a variant serves, such as `en to de`."""
    sources, targets = manifest.sources, manifest.targets
    if manifest.task is not Task.TRANSLATION or (len(sources) <= 1 and len(targets) <= 1):
        return in_words(own_pair(manifest))
    return f"{_languages_in_words(sources)} to {_languages_in_words(targets)}"


def pairs_in_words(manifests: Sequence[Manifest]) -> str:
    """Returns what some variants serve, each pair once, such as `en to pt, en to de`."""
    return ", ".join(dict.fromkeys(map(pair_in_words, manifests)))


def _languages_in_words(codes: Sequence[str]) -> str:
    if len(codes) > MAX_LISTED_LANGUAGES:
        return f"any of {len(codes)} languages"
    return f"any of {', '.join(codes)}" if len(codes) > 1 else "".join(codes)


def _named_in_words(named: Sequence[str | None]) -> str:
    source, target = named
    if source and target:
        return f"{source} to {target}"
    return f"source {source}" if source else f"target {target}"
