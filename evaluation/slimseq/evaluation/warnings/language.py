"""Whether a text is surely in another language than a model reads.

Where the text is in another script than the language, that is enough. Else turbohtml's detector compares letter
sequences. Of a sentence alone it is wrong too often, so it is asked several times: it must find another language in the
text, and prefer that to the expected one in the words without names, numbers and code, in each half of the words, and
in every second one. Of a widespread language one of the common words must be there too. A longer text is looked at in a
few places, and all have to agree, so that a text in two languages gets no warning. `python -m
benchmarks.language_detector` measures how often it is right: see docs/decisions/026.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from turbohtml.detect import LanguageDetection, detect_language

from slimseq.evaluation.language_codes import detector_codes, language_name, short_code
from slimseq.evaluation.warnings.length import characters

# A text is looked at in one place for each 300 characters, in three at most, and at most 400 characters there.
PLACE_CHARACTERS, MAX_PLACES, MAX_PLACE_CHARACTERS = 300, 3, 400
# Letters that are needed: in words of Latin script without names, where the language is a widespread one or not, and of
# another script, where a character that stands for a syllable or a word counts three.
MIN_WIDESPREAD_LETTERS, MIN_LETTERS, MIN_OTHER_LETTERS = 12, 30, 10
# The share of a text that must be such words.
MIN_SHARE_OF_WORDS = 0.3
# The share of these words that must be distinct: "ha ha ha" is not Uzbek. Of 3,792 German texts of dev data the lowest
# has 0.54.
MIN_SHARE_OF_DISTINCT_WORDS = 0.25
# Of two languages, where the detector's confidence goes up to 1.
SURE = 0.9
# A letter of each script that the detector tells apart, by which it says in which ones a language is written.
SCRIPTS = "zжشש中ひカ한ωअกქձঅઅਅಅഅආஅఅកမአଅ"
LATIN = "Latin"
# Common words of widespread languages. Those of the others are no English words. Nearly each sentence has one. Without
# them, the detector finds Dutch in "My kindergarten teacher loved wanderlust".
COMMON_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "deu": "der das und ist nicht ich ein eine einen einem einer es sie er wir du ihr mit auf zu den dem des im "
        "von für sich dass als auch wie haben sind nach bei aus wenn aber noch nur oder kann mein mir mich dir dich "
        "uns sein ihre seine kein keine hier heute mehr wo wer um wird werden bitte über durch sehr zum zur vom "
        "habe bin hatte",
        "eng": "the and is of to i you it that not he she we they for with are have has had this be my your on at from "
        "by were will would can what there his her their our",
        "fra": "le la les des est et un une pas je il elle vous nous ils elles que qui ne ce cette dans du pour au aux "
        "sur avec son sa ses mon ma mes se ai sont été c'est j'ai l'on plus ou où mais tu votre nos par fait avez "
        "suis être d'un d'une en de",
        "ita": "il la di è che un una per non mi ho si sono con lo del della dei le gli ha ma più questo questa come "
        "anche nel nella alla al da io se ci ti e",
        "nld": "de het een en van ik dat niet je zijn met op voor er maar om hij ze wij te deze naar heb hebben aan "
        "ook bij wordt mijn uit heeft wat jij zij",
        "por": "o os um uma de da dos das que não e é em na para com por se eu ele ela você mais muito está são como "
        "seu sua isso este esta foi ao meu minha",
        "spa": "el los las un una de del que es y en por para con se lo su al como más está son pero muy mi yo te le "
        "este esta qué la",
    }.items()
}
WIDESPREAD = frozenset(COMMON_WORDS)
_LATIN_LETTERS = re.compile("[a-zA-Z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]+")
AROUND_WORDS = ".,:;!?…\"'()[]«»„“”\u2018\u2019¿¡"
# What a word may have besides letters: hyphens and apostrophes.
IN_WORDS = dict.fromkeys(map(ord, "-'\u2019"))


def foreign_language(text: str, expected: str) -> str | None:
    """Says in a sentence that a text is in another language than a model reads, or returns None.

    Args:
        text: any text.
        expected: the code of the language that the model reads, such as `en`.
    """
    found = [_other_language(place, expected) for place in _places(text)]
    if not all(found):
        return None
    language = max(found, key=found.count)
    return f"The text seems to be in {language_name(str(language))}. The model reads {language_name(expected)}."


def _places(text: str) -> Iterator[str]:
    """Yields the parts of a text that are looked at, from its start to its end."""
    count = min(max(len(text) // PLACE_CHARACTERS, 1), MAX_PLACES)
    size = min(len(text) // count, MAX_PLACE_CHARACTERS)
    for index in range(count):
        start = index * (len(text) - size) // max(count - 1, 1)
        yield text[start : start + size]


def _other_language(text: str, expected: str) -> str | None:
    """Returns the code of the language of a text. None: it is the expected one, or that is not sure."""
    codes, scripts = _modelled(expected)
    if not scripts:
        return None
    if not text.isascii():
        # A word of Latin script has more letters than one of Chinese.
        others = _LATIN_LETTERS.sub(" ", text)
        weight = characters("".join(filter(str.isalpha, others)))
        latin = sum(map(str.isalpha, text)) - sum(map(str.isalpha, others))
        if weight > latin:
            found = detect_language(others)
            if weight < MIN_OTHER_LETTERS or found.language is None:
                return None
            if found.script not in scripts:
                return short_code(found.language)
            return short_code(found.language) if _is_preferred(others, found.language, codes) else None
    # Of a few languages the detector chooses three times as fast as of all. Most texts are in the expected one.
    if detect_language(text, _among_few(codes)).language in codes:
        return None
    found = detect_language(text)
    if found.language is None or found.language in codes or found.script != LATIN:
        return None
    every_word = _words(text)
    words = [word for word in every_word if word[0].islower()]
    is_widespread = found.language in WIDESPREAD
    fewest = MIN_WIDESPREAD_LETTERS if is_widespread else MIN_LETTERS
    if sum(map(len, words)) < fewest or len(words) < MIN_SHARE_OF_WORDS * len(text.split()):
        return None
    if len(set(words)) < MIN_SHARE_OF_DISTINCT_WORDS * len(words):
        return None
    if is_widespread and not _has_common_word(every_word, found.language):
        return None
    # A language that few write may be found in names.
    parted = every_word if is_widespread else words
    half = len(parted) // 2
    samples = (words, parted[:half], parted[half:], parted[::2], parted[1::2])
    is_sure = all(_is_preferred(" ".join(sample), found.language, codes) for sample in samples)
    return short_code(found.language) if is_sure else None


def _is_preferred(text: str, language: str, codes: frozenset[str]) -> bool:
    """Whether the detector is sure of a language, with the expected one as the only alternative."""
    found = detect_language(text, LanguageDetection(allowed=codes | {language}))
    return found.language == language and found.confidence >= SURE


def _has_common_word(words: Sequence[str], language: str) -> bool:
    return not COMMON_WORDS[language].isdisjoint(word.lower().replace("\u2019", "'") for word in words)


def _words(text: str) -> list[str]:
    """Returns the words of a text, without what is around them. Numbers and code are none."""
    stripped = (word.strip(AROUND_WORDS) for word in text.split())
    return [word for word in stripped if word and word.translate(IN_WORDS).isalpha()]


@lru_cache(maxsize=64)
def _among_few(codes: frozenset[str]) -> LanguageDetection:
    return LanguageDetection(allowed=codes | WIDESPREAD)


@lru_cache(maxsize=64)
def _modelled(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Returns the detector's codes of a language, and its scripts. No scripts: the detector does not know it."""
    codes = detector_codes([language])
    found = (detect_language(letters, LanguageDetection(allowed=codes)) for letters in SCRIPTS)
    return codes, frozenset(each.script for each in found if each.language and each.script)
