"""`python -m benchmarks.glossaries`: whether the terms of a glossary are in translations, and what the rest loses.

Terms are words that the sources and references of a data set nearly always have together. The glossary replaces the
usual word for a term by that for another one, which the model would not write. Without the word, translations with and
without the glossary are compared with the rest of the references.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record, make_parser, measured_on, record, run, table
from benchmarks.systems.translator import Translator
from slimseq.evaluation.dataset_files import Example, read_examples
from slimseq.evaluation.metrics import score
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SEED = 20261130
# Nouns mostly: what is between an article and the end of a phrase.
NOUN = re.compile(
    r"\b(?:the|an?|this|that|my|your|his|her|our|their) ([a-z]{4,})"
    r"(?=[,.;:!?]|$| (?:and|are|at|by|for|from|had|has|in|is|of|on|to|was|were|with)\b)"
)
TERM, WORD = re.compile(r"\b[a-z]{4,}\b"), re.compile(r"[^\W\d_]{4,}")
# Of the sentences that have either word, twice the share that has both (Dice).
MIN_SENTENCES, MIN_DICE = 3, 0.6


def find_pairs(examples: Sequence[Example]) -> dict[str, str]:
    """Returns terms with their usual word in the references: each is the other's best."""
    nouns = {noun for each in examples for noun in NOUN.findall(each.source)}
    sources, targets, both = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for each in examples:
        own, others = nouns.intersection(TERM.findall(each.source)), set(WORD.findall(each.target))
        sources.update(own)
        targets.update(others)
        both.update((term, word) for term in own for word in others)
    dice = {pair: 2 * count / (sources[pair[0]] + targets[pair[1]]) for pair, count in both.items()}
    likely = sorted(pair for pair, count in both.items() if count >= MIN_SENTENCES and dice[pair] >= MIN_DICE)
    best = {word: pair for pair in sorted(likely, key=dice.__getitem__) for word in pair}
    return {term: word for term, word in likely if best[term] == best[word] == (term, word)}


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    examples = [each for path in given.data for each in read_examples(Task.TRANSLATION, path)]
    pairs = find_pairs(examples)
    words = sorted(set(pairs.values()))
    others = dict(zip(words, words[len(words) // 2 :] + words[: len(words) // 2], strict=True))
    random.Random(SEED).shuffle(examples)
    found: list[tuple[str, str, str, str]] = []
    rest: list[tuple[str, str, str]] = []
    with open_generator(Store(given.store), Task.TRANSLATION, given.variant, threads=1) as generator:
        translator, options = Translator(generator), {"num_beams": given.num_beams}
        for example in examples:
            known = [each for each in TERM.findall(example.source) if each in pairs]
            terms = [each for each in known if _count(example.target, pairs[each]) == 1]
            if not terms or len(found) == given.sentences:
                continue
            usual = pairs[term := terms[0]]
            [plain], _ = translator.translate([example.source], options=options)
            if _count(plain.text, usual) == 1 and not _count(plain.text, new := others[usual]):
                [output], _ = translator.translate([example.source], options=options, glossary={term: new})
                found.append((example.source, new, plain.text, output.text))
                rest.append((_without(example.target, usual), _without(plain.text, usual), _without(output.text, new)))
    has_term = sum(_count(output, word) > 0 for _, word, _, output in found)
    references, *systems = map(list, zip(*rest, strict=True))
    chrf = [score(Task.TRANSLATION, each, references)["chrf"].value for each in systems]
    return record(variant=given.variant, terms=len(pairs), has_term=has_term, chrf=chrf, sentences=found)


def _count(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text))


def _without(text: str, word: str) -> str:
    return " ".join(re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "", text).split())


def lines(found: Record) -> Iterator[str]:
    head = (f"translation/{found['variant']}", "sentences", "with the term", "chrF of the rest", "without a glossary")
    before, after = (f"{each:.2f}" for each in found["chrf"])
    yield from table(
        head, [[f"{found['terms']} terms", str(len(found["sentences"])), str(found["has_term"]), after, before]]
    )
    yield f"\n{measured_on(found)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("glossaries", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="pairs, JSON lines of source and target")
    parser.add_argument("--sentences", type=int, default=300, help="with a term, at most")
    parser.add_argument("--num-beams", type=int, default=1)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
