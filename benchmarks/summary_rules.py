"""`python -m benchmarks.summary_rules`: what summaries made by rule are worth, which a small model can learn to make.

Each rule is scored beside lead-3 on the same documents: ROUGE-1 and ROUGE-2 with the difference to lead-3's and its
95 % paired bootstrap interval; so are a variant's own summaries where one is named. Choose on training and dev files.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.agreement import add_origin, compared, of_origins
from benchmarks.command import Record, parser_of, record, run
from benchmarks.sections import table_of
from slimseq.compression.training.data.pairs import read_examples
from slimseq.compression.training.embedded.extractive import claim, leading_sentences
from slimseq.evaluation.baselines import baseline
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

METRICS = ("rouge1", "rouge2")
LENGTHS = (24, 32, 38, 40, 48)
LEAD_3 = "lead-3"
Rule = Callable[[str], str]


def rules() -> dict[str, Rule]:
    """Returns the rules by what they are called; lead-3 is the first."""
    lead_3 = partial(baseline, Task.SUMMARIZATION)
    found: dict[str, Rule] = {LEAD_3: lead_3}
    for words in LENGTHS:
        found[f"lead of {words} words"] = partial(_lead, words, True)
        found[f"lead of {words} words, no attributions"] = partial(_lead, words, False)
    found["claim, else lead-3"] = lambda document: claim(document) or lead_3(document)
    return found


def _lead(words: int, attributions: bool, document: str) -> str:
    return leading_sentences(document, words, attributions) or ""


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Scores every rule and every named variant on the documents, and compares each with lead-3.

    Raises:
        SlimseqError: there is no such file or variant.
    """
    examples = of_origins(read_examples(Task.SUMMARIZATION, given.data), given.origin)
    texts = {name: [rule(example.source) for example in examples] for name, rule in rules().items()}
    for name in given.variant:
        with open_generator(Store(given.store), Task.SUMMARIZATION, name, "onnxruntime", threads=1) as generator:
            generate = generate_with(generator, generator.manifest.generation.options())
            texts[name] = [output.text for output in generate(examples)]
    rows = compared(Task.SUMMARIZATION, texts, examples, METRICS)
    return record(documents=len(examples), rows=rows)


def lines(found: Record) -> Iterator[str]:
    """Yields a table, and how many documents there were."""
    columns = {
        "rule": "{name}",
        **{metric: f"{{{metric}:.2f}}" for metric in METRICS},
        **{f"{metric} above lead-3's": f"{{{metric}_above}}" for metric in METRICS},
        "words": "{words:.0f}",
    }
    yield from table_of(found["rows"], columns)
    yield from ("", f"{found['documents']} documents")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("summary_rules", __doc__)
    parser.add_argument("data", nargs="+", help="files of documents and summaries")
    add_origin(parser)
    parser.add_argument("--variant", action="append", default=[], help="whose summaries are scored too; repeatable")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
