"""The languages that the served variants translate, their names, and the detection of a text's language."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from turbohtml.detect import LanguageDetection, detect_language

from slimseq.app.serving.selection.chooser import PIVOT, Chooser
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.inference.text.language import detector_codes, find_language, language_name, short_code
from slimseq.models_store.manifest import Task

# More characters do not make detection better, only longer.
DETECTED_CHARACTERS = 4000
# At this confidence, a language is believed that cannot be translated into the target, unless the text is shorter, and
# one that no variant knows in longer texts: without any doubt, "No broken links found" would be Danish.
SURE, SURE_CHARACTERS, FOREIGN_CHARACTERS = 0.99, 20, 100

# The sources and the targets of a variant.
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
        """Returns the targets that two variants reach by way of the pivot, and none directly, by source."""
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
        served = self._served(source), self._served(target)
        if served not in self.pairs() and served[1] not in self.chained().get(served[0], ()):
            raise UnsupportedLanguages(
                f"{language_name(served[1])} ({served[1]}) is not available as a target language from "
                f"{language_name(served[0])} ({served[0]})"
            )
        return served

    def _served(self, language: str) -> str:
        code = find_language(language, {code: code for spoken in self._spoken() for code in chain(*spoken)})
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
        found = self.detect(text)
        goal = self._served(target)
        sources = [pair[0] for pair in self.pairs() if pair[1] == goal]
        sources += [source for source, targets in self.chained().items() if goal in targets]
        is_sure = found.confidence >= SURE and len(text.strip()) >= SURE_CHARACTERS
        if not sources or found.language in sources or is_sure:
            return found
        among = detect_language(text[:DETECTED_CHARACTERS], LanguageDetection(allowed=detector_codes(sources)))
        return Detected(short_code(among.language), 0.0) if among.language else found

    def detect(self, text: str) -> Detected:
        """Returns the language of a text.

        Short texts say little. So the detector chooses among English and the languages that the variants know, unless
        it is sure of another language of a longer text, or the text is in another script.
        """
        text = text[:DETECTED_CHARACTERS]
        known = [*dict.fromkeys((*(language for spoken in self._spoken() for language in chain(*spoken)), PIVOT))]
        found = detect_language(text)
        if found.confidence < SURE or len(text.strip()) < FOREIGN_CHARACTERS:
            among = detect_language(text, LanguageDetection(allowed=detector_codes(known)))
            found = found if among.language is None else among
        language = short_code(found.language) if found.language else known[0]
        return Detected(language, round(found.confidence, 4))


@lru_cache(maxsize=8)
def _pairs(variants: tuple[Spoken, ...]) -> dict[tuple[str, str], None]:
    """Returns all pairs of some variants. Those of an NLLB are 40,602, which takes milliseconds."""
    return dict.fromkeys(
        (source, target)
        for sources, targets in variants
        for source in sources
        for target in targets
        if source != target
    )
