"""`python -m benchmarks.long_documents`: what each `long_input` is worth on long documents, and what it costs.

Single documents above the context window: ROUGE against the written summary, with the paired 95 % bootstrap interval of
the difference to `truncate`. Several articles joined to one text: how much of each article's own lead the summary has,
as ROUGE recall, mean over the articles and of the least covered one. Choose on training and dev files.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.command import (
    BenchmarkFailed,
    Record,
    add_variant,
    measured_on,
    number,
    parser_of,
    record,
    run,
    say,
    table,
)
from slimseq.app.http.schemas.generation import LongInput
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.documents.plan import planning
from slimseq.app.serving.documents.planner import finished
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.evaluation.bootstrap import difference
from slimseq.evaluation.datasets import BUNDLED, Example, load_examples
from slimseq.evaluation.metrics import score
from slimseq.evaluation.metrics.baselines import baseline
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

METRICS = ("rouge1", "rouge2", "rougeL")
COVERAGE = ("rouge1", "rouge2")
LEADS = (1, 3)
# An article counts as covered if the summary has this share of the words of its first sentence.
COVERED = 0.5
JOINTS = {"blank lines between them": "\n\n", "one paragraph": " "}
TRUNCATE = "truncate"


def lead_3(generator: TextGenerator, text: str) -> str:
    """Returns the first three sentences."""
    return baseline(Task.SUMMARIZATION, text)


def served(long_input: LongInput, generator: TextGenerator, text: str) -> str:
    """Summarizes as the service does."""
    plan = finished(planning(generator, Prompt([text], long_input=long_input), WorkLimits().queue_rows))
    return plan.assemble(generator.generate(plan.rows, plan.options))[0].text


Method = Callable[[TextGenerator, str], str]
METHODS: dict[str, Method] = {
    TRUNCATE: partial(served, "truncate"),
    "lead-3": lead_3,
    "map_reduce": partial(served, "map_reduce"),
}


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Summarizes with every method, and scores the summaries.

    Raises:
        SlimseqError: there is no such variant or file.
        BenchmarkFailed: no document is above the context window, or there are too few to join.
    """
    task, variant = given.variant
    examples = [
        example
        for data in given.data or [BUNDLED]
        for example in load_examples(task, data).examples
        if given.origin in (None, example.origin)
    ]
    with open_generator(Store(given.store), task, variant, "onnxruntime") as generator:
        long = [example for example in examples if generator.encode(example.source).is_truncated][: given.documents]
        groups = [
            [each.source for each in examples[start : start + given.articles]]
            for start in range(0, len(examples) - given.articles + 1, given.articles)
        ][: given.groups]
        if not long or not groups:
            raise BenchmarkFailed(
                f"there are {len(examples)} documents, {len(long)} of them above the context window of "
                f"{generator.max_input_tokens} tokens; name files with more"
            )
        single = [_on_documents(generator, name, long) for name in METHODS]
        joined = {
            joint: [_on_groups(generator, name, groups, between) for name in METHODS]
            for joint, between in JOINTS.items()
        }
    _compare([example.target for example in long], single)
    return record(
        artifact=f"{task}/{variant}",
        documents=len(long),
        groups=len(groups),
        articles=given.articles,
        single=single,
        joined=joined,
    )


def _on_documents(generator: TextGenerator, name: str, examples: Sequence[Example]) -> Record:
    say(f"{name}: {len(examples)} documents")
    summaries, seconds = _timed(generator, name, [example.source for example in examples])
    return {"name": name, "summaries": summaries, "seconds": seconds, "words": _words(summaries)}


def _compare(targets: Sequence[str], rows: Sequence[Record]) -> None:
    """Puts the scores in place of the summaries."""
    scores = {row["name"]: score(Task.SUMMARIZATION, row.pop("summaries"), targets).metrics for row in rows}
    for row in rows:
        for metric in METRICS:
            own, base = scores[row["name"]][metric], scores[TRUNCATE][metric]
            row[metric] = own.value
            row[f"{metric}_above"] = [own.value - base.value, *difference(own, base)]


def _on_groups(generator: TextGenerator, name: str, groups: Sequence[Sequence[str]], between: str) -> Record:
    say(f"{name}: {len(groups)} times {len(groups[0])} articles")
    summaries, seconds = _timed(generator, name, [between.join(articles) for articles in groups])
    row: Record = {"name": name, "seconds": seconds, "words": _words(summaries)}
    scorer = RougeScorer(list(COVERAGE), use_stemmer=True)
    for lead in LEADS:
        found = [
            [scorer.score(" ".join(sentences(article)[:lead]), summary) for article in articles]
            for articles, summary in zip(groups, summaries, strict=True)
        ]
        for metric in COVERAGE:
            recalls = [[100 * each[metric].recall for each in articles] for articles in found]
            row[f"{metric}_lead_{lead}"] = [mean(map(mean, recalls)), mean(map(min, recalls))]
    first = [
        scorer.score(sentences(article)[0], summary)
        for articles, summary in zip(groups, summaries, strict=True)
        for article in articles
    ]
    row["covered"] = mean(each["rouge1"].recall >= COVERED for each in first)
    return row


def _timed(generator: TextGenerator, name: str, texts: Sequence[str]) -> tuple[list[str], float]:
    """Returns the summaries by a method, and the mean CPU seconds of one."""
    started = time.process_time()
    summaries = [METHODS[name](generator, text) for text in texts]
    return summaries, (time.process_time() - started) / len(texts)


def _words(summaries: Sequence[str]) -> float:
    return mean(len(summary.split()) for summary in summaries)


def lines(found: Record) -> Iterator[str]:
    """Yields a table of the single documents, and one for each way to join articles."""
    yield f"{found['documents']} single documents, {found['artifact']}:"
    yield ""
    yield from table(
        ("", *METRICS, *(f"{metric} above truncate's" for metric in METRICS), "words", "CPU seconds"),
        [
            [
                row["name"],
                *(number(row[metric], 2) for metric in METRICS),
                *("{:.2f} [{:.2f}, {:.2f}]".format(*row[f"{metric}_above"]) for metric in METRICS),
                number(row["words"], 0),
                number(row["seconds"], 2),
            ]
            for row in found["single"]
        ],
    )
    columns = [f"{metric}_lead_{lead}" for lead in LEADS for metric in COVERAGE]
    for joint, rows in found["joined"].items():
        yield ""
        yield f"{found['groups']} texts of {found['articles']} articles, {joint} (recall: mean, least):"
        yield ""
        yield from table(
            ("", *columns, "covered", "words", "CPU seconds"),
            [
                [
                    row["name"],
                    *("{:.1f}, {:.1f}".format(*row[column]) for column in columns),
                    f"{row['covered']:.0%}",
                    number(row["words"], 0),
                    number(row["seconds"], 2),
                ]
                for row in rows
            ],
        )
    yield ""
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("long_documents", __doc__)
    add_variant(parser, "summarization/quantized")
    parser.add_argument("--data", action="append", metavar="FILE", help="documents and summaries; repeatable")
    parser.add_argument("--origin", help="only documents of this origin")
    parser.add_argument("--documents", type=int, default=500, help="maximum number of single documents")
    parser.add_argument("--articles", type=int, default=5, help="number of articles in a text")
    parser.add_argument("--groups", type=int, default=20, help="maximum number of texts of several articles")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
