"""`python -m benchmarks.glossaries`: whether the terms of a glossary are in translations, and what the rest loses.

Terms are words that the sentences and references of a data set nearly always have together. In the translation of each
sentence, the term's usual word is replaced by that of another term, which the model would not write. The rest of the
translation, without the word, is compared with the rest of the reference; so is the translation without a glossary.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.command import Record, make_parser, measured_on, record, run, table
from benchmarks.systems.translator import Translator
from slimseq.evaluation.dataset_files import Example, read_examples
from slimseq.evaluation.metrics import score
from slimseq.inference.generator import open_generator
from slimseq.inference.text.glossary import Glossary
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SEED = 20261130
# Nouns mostly.
TERM = re.compile(r"\b(?:the|an?|this|that|my|your|his|her|our|their) ([a-z]{4,})\b")
WORD = re.compile(r"[^\W\d_]{4,}")
# Of the sentences that have either word, twice the share that has both (Dice).
MIN_SENTENCES, MIN_DICE = 3, 0.6


@dataclass(frozen=True)
class Sentence:
    """A sentence with a term, the term's usual word, the target that a glossary has, and the translations."""

    example: Example
    term: str
    usual: str
    target: str
    plain: str
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def rest(self) -> str:
        return _without(self.plain, self.usual)


def find_pairs(examples: Sequence[Example]) -> dict[str, str]:
    """Returns terms with their usual word in the references: each is the other's best."""
    sources, targets, both = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for each in examples:
        own, others = set(TERM.findall(each.source)), set(WORD.findall(each.target))
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
    found: list[Sentence] = []
    with open_generator(Store(given.store), Task.TRANSLATION, given.variant, threads=1) as generator:
        translator = Translator(generator)
        for example in examples:
            term = next((each for each in TERM.findall(example.source) if each in pairs), "")
            usual = pairs.get(term, "")
            if term and len(found) < given.sentences and _count(example.target, usual) == 1:
                [plain], _ = translator.translate([example.source], options={"num_beams": given.num_beams})
                if _count(plain.text, usual) == 1 and not _count(plain.text, others[usual]):
                    sentence = Sentence(example, term, usual, others[usual], plain.text)
                    found.append(replace(sentence, outputs=_translate(translator, sentence, given.num_beams)))
    rest = [_without(each.example.target, each.usual) for each in found]
    ways: dict[str, Record] = {"no glossary": {"share": None, "chrf": _chrf([each.rest for each in found], rest)}}
    for way in found[0].outputs if found else ():
        outputs = [each.outputs[way] for each in found]
        share = sum(_count(output, word) > 0 for output, word in outputs) / len(found)
        ways[way] = {"share": share, "chrf": _chrf([_without(*each) for each in outputs], rest)}
    return record(variant=given.variant, terms=len(pairs), ways=ways, sentences=found)


def _translate(translator: Translator, sentence: Sentence, num_beams: int) -> dict[str, tuple[str, str]]:
    """Returns the translation, and the word that it should have, with a glossary, and in other ways."""
    source, term, target = sentence.example.source, sentence.term, sentence.target
    place = re.search(rf"\b{term}\b", source)
    assert place is not None
    glossary = Glossary([(term, target)])
    ways: dict[str, tuple[str, str, Record]] = {
        "glossary": (source, target, {"glossary": glossary}),
        "protected span": (source, term, {"ranges": [[place.span()]]}),
        "target in the source": (source[: place.start()] + target + source[place.end() :], target, {}),
    }
    return {
        way: (translator.translate([text], options={"num_beams": num_beams}, **fields)[0][0].text, word)
        for way, (text, word, fields) in ways.items()
    }


def _chrf(outputs: Sequence[str], references: Sequence[str]) -> float:
    return score(Task.TRANSLATION, outputs, references)["chrf"].value


def _count(text: str, word: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text))


def _without(text: str, word: str) -> str:
    return " ".join(re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "", text).split())


def lines(found: Record) -> Iterator[str]:
    rows = [
        [way, "" if each["share"] is None else f"{100 * each['share']:.1f}", f"{each['chrf']:.2f}"]
        for way, each in found["ways"].items()
    ]
    yield from table((f"translation/{found['variant']}", "have the term, %", "chrF of the rest"), rows)
    yield f"\n{len(found['sentences'])} sentences with one of {found['terms']} terms.\n"
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("glossaries", __doc__)
    parser.add_argument("--variant", default="quantized", help="a translator from English")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="pairs, JSON lines of source and target")
    parser.add_argument("--sentences", type=int, default=300, help="with a term, at most")
    parser.add_argument("--num-beams", type=int, default=1)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
