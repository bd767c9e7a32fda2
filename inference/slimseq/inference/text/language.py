"""Language codes and names, the languages of a request, and whether a text is surely in another language than expected.

turbohtml's detector compares letter sequences, and has three-letter codes. It is wrong about too many short texts.
`foreign_language` is sure only if the text has 60 letters, and each of three parts of it is in another language than
expected. So a text in two languages, or one with foreign names, gets no warning. docs/decisions/026 has what was
measured.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from babel import Locale
from babel.core import get_global
from turbohtml.detect import LanguageDetection, detect_language

from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.manifest import Manifest, Task

# Members of a macrolanguage that have a two-letter code of their own.
_MEMBERS = {"no": frozenset({"nob", "nno"})}
MIN_LETTERS = 60
# A text is looked at in so many places, and at so many characters in each place at most.
PLACES, MAX_PLACE_CHARACTERS = 3, 400
# The least confidence of the detector in a foreign language. It goes up to 1.
SURE = 0.9
# The share of words that must be distinct: "ha ha ha" is not Uzbek. The lowest of 3,792 German texts has 0.54.
MIN_SHARE_OF_DISTINCT_WORDS = 0.25
# The detector chooses among few languages three times as fast as among all. So it first chooses between the expected
# language and these: most texts are in the expected one.
WIDESPREAD = frozenset({"deu", "eng", "fra", "ita", "nld", "por", "spa"})
_detection_among = cache(lambda codes: LanguageDetection(allowed=codes | WIDESPREAD))
# A letter of each script that the detector tells apart.
_SCRIPTS = "zжשش中ひカ한ωअქกձઅઅਅಅઅആஅఅకမអଅ"
_LATIN_LETTERS = re.compile("[a-zA-Z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]+")
_NO_LETTERS = re.compile(r"[\W\d_]+")
# Characters that stand for a syllable or a word. A text in Chinese or Japanese has a third of the characters, so each
# counts as three letters.
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTERS_OF_A_WIDE_CHARACTER = 3


def language_name(code: str) -> str:
    """Returns the English name of a language, or its code where CLDR has none."""
    return str(Locale("en").languages.get(code, code))


def detector_codes(codes: Collection[str]) -> frozenset[str]:
    """Returns the three-letter codes of languages, and of their most spoken members."""
    return frozenset().union(*map(_detector_codes, codes))


@cache
def _detector_codes(code: str) -> frozenset[str]:
    found = {alias for alias, short in get_global("language_aliases").items() if short == code}
    return _MEMBERS.get(code, frozenset()) | {each for each in (*found, code) if len(each) == 3}


def short_code(code: str) -> str:
    """Returns the two-letter code for a three-letter code. A language without one gets that of its macrolanguage."""
    return str(get_global("language_aliases").get(code, code))


def base_language(code: str) -> str:
    """Returns the two-letter code of a language without its region or script."""
    return short_code(_plain(code).partition("_")[0])


def _plain(code: str) -> str:
    return code.replace("-", "_").casefold()


def find_language(name: str, codes: Mapping[str, str]) -> str | None:
    """Returns the code of a language by this code, by its token, or by another code of it. None if it is unknown.

    `codes` has the known languages with their tokens. A region or script that none of them has is left out: `de` for
    `de-AT`.
    """
    # Later ones win: short codes, of which the first language has each, then tokens, then the codes themselves.
    known = {_plain(short_code(code)): code for code in reversed(list(codes))}
    known |= {_plain(token): code for code, token in codes.items()}
    known |= {_plain(code): code for code in codes}
    base, _, variety = _plain(name).partition("_")
    for each in (_plain(name), f"{short_code(base)}_{variety}", base, short_code(base)):
        if each in known:
            return known[each]
    return None


def find_pair(manifest: Manifest, source: str | None, target: str | None) -> list[str | None]:
    """Returns the codes of source and target of a request to an artifact, None for what the artifact does not know.

    What the request leaves out is the artifact's default.
    """
    tokens = manifest.generation.language_tokens
    names = (source, target)
    codes_of_sides = (manifest.sources, manifest.targets)
    pair: list[str | None] = []
    for name, default, codes in zip(names, manifest.languages, codes_of_sides, strict=False):
        if name is None:
            pair.append(default)
        else:
            pair.append(find_language(name, {code: tokens.get(code, code) for code in codes}))
    return pair


def language_pair(languages: Sequence[str]) -> tuple[str, str]:
    """Returns the source and the target language of a translator, given the languages of its manifest.

    An unknown source is taken for English. An unknown target is empty.
    """
    source = languages[0] if languages else "en"
    target = languages[1] if len(languages) > 1 else ""
    return source, target


def choose_languages(generator: TextGenerator, source: str | None, target: str | None) -> TextGenerator:
    """Returns a generator for the languages of a request; what the request leaves out is the artifact's default.

    Raises:
        UnsupportedLanguages: the artifact does not translate them.
    """
    manifest = generator.manifest
    if manifest.task is not Task.TRANSLATION or (source, target) == (None, None):
        return generator
    pair = find_pair(manifest, source, target)
    sides = ("source", source, manifest.sources), ("target", target, manifest.targets)
    for code, (side, name, codes) in zip(pair, sides, strict=True):
        if code is not None:
            continue
        if len(codes) > 1:
            supported = f"whose {side}s are {', '.join(codes)}"
        else:
            supported = f"which translates {' to '.join(manifest.languages)}"
        artifact = f"{manifest.task}/{manifest.variant}, {supported}"
        raise UnsupportedLanguages(f"{side}: {name!r} is not supported by {artifact}")
    chosen = [code for code in pair if code]
    if len(set(chosen)) == 1:
        raise UnsupportedLanguages(f"source and target are both {chosen[0]}")
    return generator if chosen == manifest.languages else generator.for_languages(*chosen)


def foreign_language(text: str, expected: str) -> str | None:
    """Returns the name of a text's language if it is surely another one than expected."""
    codes = known_codes(expected)
    if not codes or count_characters(text) < MIN_LETTERS:
        return None
    size = min(len(text) // PLACES, MAX_PLACE_CHARACTERS)
    starts = [index * (len(text) - size) // (PLACES - 1) for index in range(PLACES)]
    detection = _detection_among(codes)
    places: list[str] = []
    for start in starts:
        place = _in_main_script(text[start : start + size])
        if detect_language(place, detection).language in codes:
            return None
        places.append(place)
    if any(map(_is_repetitive, places)):
        return None
    all_places = " ".join(places)
    if count_characters(_NO_LETTERS.sub("", all_places)) < MIN_LETTERS:
        return None
    found = detect_language(all_places)
    if found.language is None or found.language in codes or found.confidence < SURE:
        return None
    return language_name(short_code(found.language))


def _is_repetitive(text: str) -> bool:
    words = text.split()
    return len({*words}) < MIN_SHARE_OF_DISTINCT_WORDS * len(words)


def _in_main_script(text: str) -> str:
    """Leaves Latin letters out of a text that has more of another script: Chinese with English terms is Chinese."""
    if text.isascii():
        return text
    without_latin = _LATIN_LETTERS.sub(" ", text)
    other_letters = sum(map(str.isalpha, without_latin))
    latin_letters = sum(map(str.isalpha, text)) - other_letters
    weight = count_characters("".join(filter(str.isalpha, without_latin)))
    return without_latin if weight > latin_letters else text


@cache
def known_codes(language: str) -> frozenset[str]:
    """Returns the detector's codes of a language. There are none if the detector does not know it."""
    options = LanguageDetection(allowed=detector_codes([language]))
    is_known = any(detect_language(letter, options).language for letter in _SCRIPTS)
    return options.allowed or frozenset() if is_known else frozenset()


def count_characters(text: str) -> int:
    """Returns the length of a text, in which a character that stands for a syllable or a word counts as three."""
    if text.isascii():
        return len(text)
    return len(text) + (_LETTERS_OF_A_WIDE_CHARACTER - 1) * sum(1 for _ in _WIDE.finditer(text))
