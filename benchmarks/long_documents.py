"""`python -m benchmarks.long_documents`: what each way to summarize a long document is worth, and what it costs.

Single documents above the context window: ROUGE against the written summary, with the paired 95 % bootstrap interval of
the difference to `truncate`. Several articles joined to one text: how much of each article's own lead the summary has,
as ROUGE recall, mean over the articles and of the least covered one. Choose on training and dev files.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
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
from slimseq.app.serving.documents.long_input import cutting
from slimseq.app.serving.documents.planner import finished
from slimseq.app.serving.documents.salience import selecting
from slimseq.app.serving.documents.topics import dividing, words_of
from slimseq.evaluation.bootstrap import difference
from slimseq.evaluation.datasets import BUNDLED, Example, load_examples
from slimseq.evaluation.metrics import score
from slimseq.evaluation.metrics.baselines import baseline
from slimseq.evaluation.sentences import sentences
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

METRICS = ("rouge1", "rouge2", "rougeL")
COVERAGE = ("rouge1", "rouge2")
LEADS = (1, 3)
# An article counts as covered if the summary has this share of the words of its first sentence.
COVERED = 0.5
JOINTS = {"blank lines between them": "\n\n", "one paragraph": " "}
TRUNCATE = "truncate"


class Summarizer:
    """Summarizes texts that fit the context window, each once. Those that come again count with their first time.

    The time is that of the CPU, which other programs on the machine change little.
    """

    def __init__(self, generator: TextGenerator) -> None:
        self.generator = generator
        self.saved_seconds = 0.0
        self._known: dict[str, tuple[str, float]] = {}

    def summary(self, text: str) -> str:
        """Returns the summary of a text, or of its beginning if it is too long."""
        if text in self._known:
            self.saved_seconds += self._known[text][1]
        else:
            started = time.process_time()
            options = self.generator.manifest.generation.options()
            [output] = self.generator.generate([self.generator.encode(text)], options)
            self._known[text] = output.text, time.process_time() - started
        return self._known[text][0]

    def summaries(self, texts: Sequence[str]) -> list[str]:
        """Returns the summary of each text that has one."""
        return [summary for text in texts if (summary := self.summary(text))]


Method = Callable[[Summarizer, str], str]


def lead_3(summarizer: Summarizer, text: str) -> str:
    """Returns the first three sentences."""
    return baseline(Task.SUMMARIZATION, text)


def truncated(summarizer: Summarizer, text: str) -> str:
    """Summarizes the beginning."""
    return summarizer.summary(text)


def reduced(summarizer: Summarizer, text: str) -> str:
    """Summarizes parts, and their summaries until they fit."""
    while summarizer.generator.encode(text).is_truncated:
        text = mapped(summarizer, text)
    return summarizer.summary(text)


def mapped(summarizer: Summarizer, text: str) -> str:
    """Summarizes parts of like length, and joins the summaries."""
    return " ".join(summarizer.summaries(_parts(summarizer, text)))


def mapped_leads(summarizer: Summarizer, text: str) -> str:
    """Summarizes parts of like length, and joins the first sentence of each summary."""
    return " ".join(sentences(summary)[0] for summary in summarizer.summaries(_parts(summarizer, text)))


def extracted(summarizer: Summarizer, text: str) -> str:
    """Summarizes the salient sentences of the whole document."""
    return summarizer.summary(_extract(summarizer.generator, sentences(text)))


def of_topics(summarizer: Summarizer, text: str) -> str:
    """Summarizes each topic, or its salient sentences if it is above the window."""
    return " ".join(summarizer.summaries([_extract(summarizer.generator, topic) for topic in _topics(text)]))


METHODS: dict[str, Method] = {
    TRUNCATE: truncated,
    "lead-3": lead_3,
    "parts, then their summaries": reduced,
    "parts": mapped,
    "parts, first sentences": mapped_leads,
    "salient sentences": extracted,
    "topics": of_topics,
}


def _parts(summarizer: Summarizer, text: str) -> list[str]:
    return finished(cutting(summarizer.generator, text, None)).texts


def _topics(text: str) -> list[list[str]]:
    """Returns the sentences of each topic. A text with blank lines has its topics between them."""
    paragraphs = [sentences(paragraph) for paragraph in text.split("\n\n")]
    found = [sentence for paragraph in paragraphs for sentence in paragraph]
    begins = [index == 0 or len(paragraphs) == 1 for paragraph in paragraphs for index in range(len(paragraph))]
    first = finished(dividing([words_of(sentence) for sentence in found], begins))
    return [found[start:end] for start, end in zip(first, [*first[1:], len(found)], strict=True)]


def _extract(generator: TextGenerator, found: Sequence[str]) -> str:
    around = generator.encode("").full_length
    sizes = [generator.encode(sentence).full_length - around for sentence in found]
    available = generator.max_input_tokens - around
    if sum(sizes) <= available:
        return " ".join(found)
    selected = finished(selecting([words_of(each) for each in found], sizes, available))
    return " ".join(found[index] for index in selected)


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
        summarizer = Summarizer(generator)
        single = [_on_documents(summarizer, name, long) for name in METHODS]
        joined = {
            joint: [_on_groups(summarizer, name, groups, between) for name in METHODS]
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


def _on_documents(summarizer: Summarizer, name: str, examples: Sequence[Example]) -> Record:
    say(f"{name}: {len(examples)} documents")
    summaries, seconds = _timed(summarizer, name, [example.source for example in examples])
    return {"name": name, "summaries": summaries, "seconds": seconds, "words": _words(summaries)}


def _compare(targets: Sequence[str], rows: Sequence[Record]) -> None:
    """Puts the scores in place of the summaries."""
    scores = {row["name"]: score(Task.SUMMARIZATION, row.pop("summaries"), targets).metrics for row in rows}
    for row in rows:
        for metric in METRICS:
            own, base = scores[row["name"]][metric], scores[TRUNCATE][metric]
            row[metric] = own.value
            row[f"{metric}_above"] = [own.value - base.value, *difference(own, base)]


def _on_groups(summarizer: Summarizer, name: str, groups: Sequence[Sequence[str]], between: str) -> Record:
    say(f"{name}: {len(groups)} times {len(groups[0])} articles")
    summaries, seconds = _timed(summarizer, name, [between.join(articles) for articles in groups])
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


def _timed(summarizer: Summarizer, name: str, texts: Sequence[str]) -> tuple[list[str], float]:
    """Returns the summaries by a method, and the mean CPU seconds of one."""
    started, saved = time.process_time(), summarizer.saved_seconds
    summaries = [METHODS[name](summarizer, text) for text in texts]
    seconds = time.process_time() - started + summarizer.saved_seconds - saved
    return summaries, seconds / len(texts)


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
