from dataclasses import dataclass
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.report.facts import facts_of
from slimseq.compression.report.page import TaskSection, render, write_report
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.report.conftest import amend, make_store
from tests.compression.report.page_reader import Page


def written(store: Store, folder: Path, examples: int = 0) -> Page:
    page = write_report(Context(store), folder, [], examples)
    return Page(page.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Written:
    """A report, and what it is of; read only."""

    store: Store
    folder: Path
    page: Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("report")
    store = make_store(folder)
    return Written(store, folder / "out", written(store, folder / "out"))


def test_scores_shown_are_those_of_the_manifests(report: Written) -> None:
    [bleu, chrf, _] = report.store.manifest(Task.TRANSLATION, "original").quality
    pruned = report.store.manifest(Task.TRANSLATION, "pruned").quality[0]

    page = report.page

    table = page.table("scores", dataset="sample", metric="bleu")
    assert list(table.rows) == ["original", "compact", "pruned"]
    assert "bleu on sample (test), 99 samples" in table.caption
    assert table.rows["original"].numbers == [[], [], [bleu.value, *bleu.interval], [bleu.baseline], [1, 1, 1], [], []]
    assert [row.texts[1] for row in table.rows.values()] == ["original"] * 3
    assert table.rows["original"].texts[2:4] == ["37.68 [35.56, 39.93]", "0.25"]
    assert pruned.retention_interval is not None
    assert table.rows["pruned"].numbers[4:6] == [[pruned.retention, *pruned.retention_interval], [pruned.p_value]]
    assert table.rows["compact"].texts[5] == "< 0.001"
    assert page.table("scores", dataset="sample", metric="chrf").rows["original"].numbers[2][0] == chrf.value


def test_sizes_and_speeds_shown_are_those_of_the_manifests_and_ratios_follow(report: Written) -> None:
    original, pruned = (report.store.manifest(Task.TRANSLATION, name) for name in ("original", "pruned"))

    row = report.page.table("variants").rows["pruned"]
    disk, speed = pruned.size.bytes_by_format["safetensors"], pruned.performance[0]
    assert row.texts[1] == "original → prune"
    assert row.numbers[2:] == [
        [pruned.size.parameters],
        [pruned.size.parameters / original.size.parameters],
        [disk],
        [original.size.fp32_bytes / disk],
        [1204.5],
        [2.0],
        [speed.p50_ms / 12],
        [41_500_000],
        [],
    ]
    verdicts = [each.texts[-1] for each in report.page.table("variants").rows.values()]
    assert verdicts == ["\N{EM DASH}", "rejected", "passed"]
    assert report.page.table("gates").rows["compact"].numbers[2:4] == [[0.9288], [0.95]]


def test_the_plots_have_each_variant_and_the_front_in_words(report: Written) -> None:
    plots = report.page.plots

    assert [plot.names for plot in plots] == [["original", "compact", "pruned"]] * 3
    assert [plot.description.partition(":")[0] for plot in plots] == [
        f"On the Pareto front of retention and {cost}" for cost in ("size of the weights", "latency", "memory")
    ]
    assert "latency: compact" in plots[1].description
    assert all(0 < across < 600 and 0 < up < 340 for plot in plots for across, up in plot.circles)


def test_the_page_needs_nothing_from_elsewhere(report: Written) -> None:
    page = report.page

    assert page.addresses and all(address.startswith("#") for address in page.addresses)
    assert "url(" not in (report.folder / "report.html").read_text()


def test_every_variant_answers_the_same_sample_texts(store: Store, tmp_path: Path) -> None:
    [first, second] = load_examples(Task.TRANSLATION, "sample", samples=2).examples

    page = written(store, tmp_path / "report", examples=2)

    shown = page.text.partition("Side by side")[2].partition("Steps and their parameters")[0]
    assert first.source in shown and second.target in shown
    assert [shown.count(f"\n  {name}") for name in ("original", "pruned", "compact")] == [2, 2, 2]


def test_text_of_a_manifest_is_escaped(store: Store) -> None:
    amend(store, "pruned", description="<script>alert(1)</script>")
    [facts] = facts_of(store)

    page = render([TaskSection(facts, trade_offs=[], examples=[])])

    assert "<script" not in page and "&lt;script&gt;alert(1)" in page


def test_an_unmeasured_store_shows_sizes_and_lineage(store: Store, tmp_path: Path) -> None:
    for name in store.variants(Task.TRANSLATION):
        amend(store, name, quality=[], performance=[], gate=None)

    page = written(store, tmp_path / "report")

    assert page.table("variants").rows["compact"].texts[1] == "original → prune → quantize"
    assert page.text.count("Not measured yet") == 3


def test_a_broken_manifest_is_refused_and_the_earlier_report_stays(store: Store, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("earlier")
    (store.folder(Task.TRANSLATION, "pruned") / "manifest.json").write_text("{")

    with pytest.raises(InvalidArtifact, match=r"translation/pruned/manifest\.json"):
        write_report(Context(store), tmp_path / "report", [], 0)

    assert (tmp_path / "report" / "report.html").read_text() == "earlier"


def test_a_file_is_no_folder_for_a_report(store: Store, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")

    with pytest.raises(BadParameters, match=r"notes\.md is a file, not a folder"):
        write_report(Context(store), tmp_path / "notes.md", [], 0)
