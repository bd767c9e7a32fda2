"""Codes and names of languages: those of manifests, of the detector (ISO 639-3), and of people, from CLDR."""

from collections.abc import Collection
from functools import cache

from babel import Locale
from babel.core import get_global

# Members of a macrolanguage that have a two-letter code of their own.
_MEMBERS = {"no": frozenset({"nob", "nno"})}


def language_name(code: str) -> str:
    """Returns the English name of a language, or its code where CLDR has none."""
    return str(Locale("en").languages.get(code, code))


def detector_codes(codes: Collection[str]) -> frozenset[str]:
    """Returns the three-letter codes of languages, those of their most spoken members included."""
    return frozenset().union(*map(_detector_codes, codes))


@cache
def _detector_codes(code: str) -> frozenset[str]:
    found = {alias for alias, short in get_global("language_aliases").items() if short == code}
    return _MEMBERS.get(code, frozenset()) | {each for each in (*found, code) if len(each) == 3}


def short_code(code: str) -> str:
    """Returns the two-letter code of a three-letter one, that of its macrolanguage if it has none of its own."""
    return str(get_global("language_aliases").get(code, code))
