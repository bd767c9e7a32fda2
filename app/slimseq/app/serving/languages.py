"""The language pairs that the served variants translate, and the detection of a text's language.

The APIs of other services (`slimseq.app.dialects`) and the list of variants use it. A request of the
service's own API with a language that no variant knows is refused by `slimseq.app.serving.selection.chooser`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from turbohtml.detect import LanguageDetection, detect_language

from slimseq.app.serving.selection.chooser import PIVOT, Chooser
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import detector_codes, find_language, language_name, short_code
from slimseq.models_store.manifest import Task

# Characters of a text that are looked at. More of them make detection slower, and not better.
DETECTED_CHARACTERS = 4000
# The confidence from which the detector is believed against what the variants can translate.
SURE = 0.99
# Minimum characters of a text to believe that its language cannot be translated into the target.
SURE_CHARACTERS = 20
# Minimum characters of a text to believe that no variant knows its language. Shorter texts mislead: the detector takes
# "No broken links found" for Danish, without any doubt.
FOREIGN_CHARACTERS = 100

# The codes of the languages that a variant translates from, and of those that it translates into.
Spoken = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Detected:
    """The language of a text. The confidence is between 0 and 1; 0 means that the text says nothing."""

    language: str
    confidence: float


class Languages:
    """The language pairs of the store's translation variants. Used from the event loop."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    def default_pair(self) -> tuple[str, str] | None:
        """Returns source and target of a translation that names neither, None if there is no translator."""
        pair = self._chooser.defaults.default_pair(Task.TRANSLATION)
        return (pair[0], pair[1]) if pair is not None and len(pair) == 2 else None

    def pairs(self) -> Mapping[tuple[str, str], None]:
        """Returns each pair of source and target that a variant translates."""
        return _pairs(self._spoken())

    def _spoken(self) -> tuple[Spoken, ...]:
        usual = self._chooser.defaults.usual(Task.TRANSLATION)
        return tuple((tuple(each.sources), tuple(each.targets)) for each in usual)

    def chained(self) -> dict[str, list[str]]:
        """Returns, by source, the targets that no variant reaches directly, but two by way of the pivot."""
        pairs = self.pairs()
        targets = [target for source, target in pairs if source == PIVOT]
        return {
            source: [each for each in targets if each != source and (source, each) not in pairs]
            for source, target in pairs
            if target == PIVOT
        }

    def served_pair(self, source: str, target: str) -> tuple[str, str]:
        """Returns the codes by which a pair is served: `en` and `de` for `EN` and `de-AT` too.

        Raises:
            UnsupportedLanguages: nothing translates from one to the other. The text is that of LibreTranslate.
        """
        source, target = self._served(source), self._served(target)
        is_direct = (source, target) in self.pairs()
        if not is_direct and target not in self.chained().get(source, ()):
            raise UnsupportedLanguages(
                f"{language_name(target)} ({target}) is not available as a target language from "
                f"{language_name(source)} ({source})"
            )
        return source, target

    def _served(self, language: str) -> str:
        codes = {code: code for spoken in self._spoken() for code in chain(*spoken)}
        code = find_language(language, codes)
        if code is None:
            raise UnsupportedLanguages(f"{language} is not supported")
        return code

    def detect_source(self, text: str, target: str) -> Detected:
        """Returns the language of a text that is to be translated into `target`.

        The detector knows no words: "Hello" may be German to it. So a text that is short or says little is in a
        language that can be translated into the target. The confidence is 0 then, since the text does not say it.

        Raises:
            UnsupportedLanguages: no variant knows the target.
        """
        detected = self.detect(text)
        served_target = self._served(target)
        sources = [each for each, reached in self.pairs() if reached == served_target]
        sources += [each for each, reached in self.chained().items() if served_target in reached]
        is_sure = detected.confidence >= SURE and len(text.strip()) >= SURE_CHARACTERS
        if not sources or detected.language in sources or is_sure:
            return detected
        allowed = LanguageDetection(allowed=detector_codes(sources))
        among_sources = detect_language(text[:DETECTED_CHARACTERS], allowed)
        if among_sources.language:
            return Detected(short_code(among_sources.language), 0.0)
        return detected

    def detect(self, text: str) -> Detected:
        """Returns the language of a text.

        Short texts say little. So the detector chooses among English and the languages that the variants know, unless
        it is sure of another language of a longer text, or the text is in another script.
        """
        text = text[:DETECTED_CHARACTERS]
        languages = [language for spoken in self._spoken() for language in chain(*spoken)]
        known = list(dict.fromkeys([*languages, PIVOT]))
        detected = detect_language(text)
        if detected.confidence < SURE or len(text.strip()) < FOREIGN_CHARACTERS:
            among_known = detect_language(text, LanguageDetection(allowed=detector_codes(known)))
            if among_known.language is not None:
                detected = among_known
        language = short_code(detected.language) if detected.language else known[0]
        return Detected(language, round(detected.confidence, 4))


@lru_cache(maxsize=8)
def _pairs(variants: tuple[Spoken, ...]) -> dict[tuple[str, str], None]:
    """Returns all pairs of some variants. An NLLB model has 40,602 pairs, which takes milliseconds: hence the cache."""
    return dict.fromkeys(
        (source, target)
        for sources, targets in variants
        for source in sources
        for target in targets
        if source != target
    )
