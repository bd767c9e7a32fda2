"""`python -m benchmarks.language_detector`: which share of paragraphs the check of the language warns about.

The folder has paragraphs by language: `de.txt` or `de/…`, text files with an empty line between paragraphs. What is
measured: the check of the service, turbohtml's detector alone, and py3langid where it is installed.
"""

import argparse
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

from turbohtml.detect import detect_language

from benchmarks.command import BenchmarkFailed, Record, measured_on, parser_of, record, run, table
from slimseq.evaluation.language_codes import language_name, short_code
from slimseq.evaluation.warnings.language import foreign_language

# Whether a paragraph is in another language than the expected one.
Check = Callable[[str, str], bool]
MICROSECONDS = 1e6
EMPTY_LINES = re.compile(r"\n\s*\n")
# At this confidence the detectors alone are believed.
SURE = 0.9


def paragraphs(folder: Path, fewest: int) -> dict[str, list[str]]:
    """Returns the paragraphs of each language, each in one line and with at least so many characters.

    Raises:
        BenchmarkFailed: there are none.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        language = path.relative_to(folder).parts[0].removesuffix(path.suffix)
        for paragraph in EMPTY_LINES.split(path.read_text(encoding="utf-8")):
            if len(text := " ".join(paragraph.split())) >= fewest:
                found.setdefault(language, []).append(text)
    if not found:
        raise BenchmarkFailed(f"{folder} has no text files with paragraphs of {fewest} characters")
    return found


def checks() -> dict[str, Check]:
    """Returns the checks that are compared, by name."""
    found: dict[str, Check] = {
        "the check": lambda text, expected: foreign_language(text, expected) is not None,
        "turbohtml": _by_turbohtml,
    }
    if importlib.util.find_spec("py3langid"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

        def by_langid(text: str, expected: str) -> bool:
            language, confidence = identifier.classify(text)
            return bool(language != expected and confidence >= SURE)

        found["py3langid"] = by_langid
    return found


def _by_turbohtml(text: str, expected: str) -> bool:
    found = detect_language(text)
    return found.language is not None and found.confidence >= SURE and short_code(found.language) != expected


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Checks all paragraphs.

    Raises:
        BenchmarkFailed: there are none.
    """
    found: Record = {}
    texts = paragraphs(given.folder, given.fewest)
    for name, check in checks().items():
        check("To warm up: the first call may load a model.", given.expected)
        found[name] = {}
        for language, own in texts.items():
            started = time.process_time()
            warned = [check(text, given.expected) for text in own]
            seconds = time.process_time() - started
            found[name][language] = {
                "warned": mean(warned),
                "cpu_microseconds": seconds / len(own) * MICROSECONDS,
                "paragraphs": len(own),
                # What to look at when a threshold changes.
                "wrong": [
                    text
                    for text, is_warned in zip(own, warned, strict=True)
                    if is_warned == (language == given.expected)
                ],
            }
    return record(expected=given.expected, checks=found)


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the shares."""
    names = list(found["checks"])
    rows = []
    for language, first in found["checks"][names[0]].items():
        own = [found["checks"][name][language] for name in names]
        cells = [f"{100 * each['warned']:.2f} % ({each['cpu_microseconds']:.0f} µs)" for each in own]
        rows.append([language_name(language), f"{first['paragraphs']:,}", *cells])
    yield from table(["warned about", "paragraphs", *names], rows)
    yield from ("", measured_on(found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("language_detector", __doc__)
    parser.add_argument("--folder", type=Path, required=True, help="paragraphs by language")
    parser.add_argument("--expected", default="en", help="the model's language (%(default)s)")
    parser.add_argument("--fewest", type=int, default=80, help="characters of a paragraph (%(default)s)")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
