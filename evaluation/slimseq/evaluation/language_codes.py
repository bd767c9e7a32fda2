"""Codes and names of languages: those of manifests, of the detector (ISO 639-3), and of people."""

from collections.abc import Collection

from iso639 import Lang
from iso639.exceptions import InvalidLanguageValue


def language_name(code: str) -> str:
    """Returns the English name of a language, or its code where ISO 639 has none."""
    try:
        return str(Lang(code).name)
    except InvalidLanguageValue:
        return code


def detector_codes(codes: Collection[str]) -> frozenset[str]:
    """Returns the three-letter codes of languages, also those of the languages that a macrolanguage consists of."""
    found = set()
    for code in codes:
        try:
            language = Lang(code)
        except InvalidLanguageValue:
            continue
        found |= {language.pt3, *(each.pt3 for each in language.individuals())}
    return frozenset(found)


def short_code(code: str) -> str:
    """Returns the two-letter code of a three-letter one, that of its macrolanguage if it has none of its own."""
    language = Lang(code)
    macro = language.macro()
    return str(language.pt1 or (macro.pt1 if macro else "") or language.pt3)
