"""The Markdown tables of a report, between their markers in a file."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.report.facts import RootFacts, facts_of
from slimseq.compression.report.readme import BadReadme, OutdatedTables, check_readme, update_readme
from slimseq.models_store.derived import record_derived
from slimseq.models_store.manifest import Check, Task, Verdict
from slimseq.models_store.store import Store
from tests.measured import amend, score

EMPTY = "# Title\n\nBefore.\n\n<!-- report:begin -->\n<!-- report:end -->\n\nAfter: ü.\r\n"


@pytest.fixture
def facts(store: Store) -> list[RootFacts]:
    return facts_of(store)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_bytes(EMPTY.encode())
    return path


def test_tables_come_between_the_markers_and_nothing_else_changes(readme: Path, facts: list[RootFacts]) -> None:
    is_changed = update_readme(readme, facts)

    text = readme.read_bytes().decode()
    before, _, rest = text.partition("<!-- report:begin -->\n")
    tables, _, after = rest.partition("<!-- report:end -->")
    assert is_changed
    assert before + after == EMPTY.replace("<!-- report:begin -->\n<!-- report:end -->", "")
    assert "| translation/pruned | original → prune |" in tables
    assert "| 1,204 | 2.00\N{MULTIPLICATION SIGN} of 602 | 0.83 | 41.5 MB | passed |" in tables
    assert "| sample (test) | 99 | original | 0.3 | 37.68 [35.56, 39.93] | 1.000 [1.000, 1.000] | — |" in tables
    assert "| sample (test) | 99 | compact | 0.3 | 35.00 [32.88, 37.25] | 0.929 [0.900, 0.950] | < 0.001 |" in tables
    assert "Speed and memory of translation, en to de: batch 1, 4 beams, 2 threads, a laptop." in tables
    assert "Signatures: BLEU `nrefs:1|tok:13a`." in tables
    assert "Measured on 2026-11-24." in tables


def test_agreement_stands_beside_retention_and_says_where_it_was_not_measured(
    readme: Path, facts: list[RootFacts]
) -> None:
    update_readme(readme, facts)

    text = readme.read_text()
    assert "| 1.000 [1.000, 1.000] | — | — | — |" in text
    assert "| 0.969 [0.948, 0.991] | 0.012 | 0.938 [0.875, 0.969] | 0.750 |" in text
    assert "| 0.929 [0.900, 0.950] | < 0.001 | not measured | — |" in text


def test_scores_of_another_prompt_stand_apart_and_a_retention_names_the_score_that_it_is_relative_to(
    readme: Path, store: Store
) -> None:
    """A shell broke a prompt: its score of 24.13 stood beside 29.28 of the right one, with a retention of 0.988."""
    reuters: dict[str, Any] = {"dataset": "reuters", "samples": 500, "retention_interval": (0.97, 1.01)}
    own = store.manifest(Task.TRANSLATION, "original").quality
    right = score(29.28, generation={"prefix": "headline: "}, retention=1.0, **reuters)
    amend(store, "original", quality=[*own, right])
    broken = score(24.13, generation={"prefix": "headline:\\"}, retention=0.988, **reuters)
    later = score(28.5, generation={"prefix": "headline: "}, retention=0.99, **reuters)
    amend(store, "pruned", quality=[broken])
    amend(store, "compact", quality=[later])

    update_readme(readme, facts_of(store))

    rows = [line for line in readme.read_text().splitlines() if line.startswith("| reuters")]
    assert [line.split(" [")[0] for line in rows] == [
        "| reuters (test, prompt `headline: `) | 500 | original | 0.3 | 29.28",
        "| reuters (test, prompt `headline: `) | 500 | compact | 0.3 | 28.50",
        "| reuters (test, prompt `headline:\\`) | 500 | pruned | 0.3 | 24.13",
    ]
    assert [line.partition("1.010]")[2].split(" |")[0] for line in rows] == ["", " of 28.79", " of 24.42"]
    assert "A retention “of” a score is relative to what the original scored in the same run." in readme.read_text()


def test_a_base_model_that_scores_no_more_than_the_trivial_baseline_is_said(readme: Path, store: Store) -> None:
    useless = score(0.3, baseline=12.0, retention=1.0, retention_interval=(1.0, 1.0))
    amend(store, "original", quality=[useless])

    update_readme(readme, facts_of(store))

    assert "Warning: original has 0.30 of bleu on sample, no more than the trivial baseline" in readme.read_text()


def test_the_short_table_names_the_metric_of_the_retention_and_the_long_one_has_both(
    readme: Path, store: Store
) -> None:
    check = Check(name="retention of chrf on news", value=0.97, limit=0.95, is_passed=True)
    kept = score(60.0, metric="chrf", dataset="news", retention=0.97, retention_interval=(0.96, 0.98))
    own = store.manifest(Task.TRANSLATION, "pruned").quality
    amend(store, "pruned", quality=[*own, kept], gate=Verdict(status="passed", checks=[check]))
    amend(store, "compact", gate=None)
    readme.write_text("<!-- variants:begin -->\n<!-- variants:end -->\n<!-- report:begin -->\n<!-- report:end -->\n")

    update_readme(readme, facts_of(store))

    text = readme.read_text()
    assert "| lowest retention of chrF |" in text
    assert "| 0.970 [0.960, 0.980] | 0.938 [0.875, 0.969] |" in text
    assert "| BLEU | retention | p | agreement |" in text
    assert "| chrF | retention | p |\n" in text


def test_the_short_table_has_the_lowest_agreement_of_each_variant(readme: Path, facts: list[RootFacts]) -> None:
    readme.write_text("<!-- variants:begin -->\n<!-- variants:end -->\n")

    update_readme(readme, facts)

    rows = [line.strip("| ").split(" | ") for line in readme.read_text().splitlines() if line.startswith("| ")]
    assert {row[0]: row[-1] for row in rows} == {
        "translation, en to de": "lowest agreement",
        "---": "---:",
        "original": "—",
        "compact": "not measured",
        "pruned": "0.938 [0.875, 0.969]",
    }


def test_tables_are_of_the_recorded_bytes_and_stay_the_same_where_others_were_made(
    readme: Path, store: Store, tmp_path: Path
) -> None:
    manifests = store.manifests(Task.TRANSLATION)
    record_derived(store.root, Task.TRANSLATION, [each for each in manifests if each.variant == "compact"], manifests)
    update_readme(readme, facts_of(store, is_recorded=True))
    amend(store, "compact", quality=[], performance=[])

    check_readme(readme, facts_of(store, is_recorded=True))
    shutil.rmtree(store.folder(Task.TRANSLATION, "compact"))
    check_readme(readme, facts_of(store, is_recorded=True))

    assert [each.name for each in facts_of(store)[0].variants] == ["original", "pruned"]


def test_a_measurement_since_then_fails_the_check_at_the_line_that_differs(readme: Path, store: Store) -> None:
    update_readme(readme, facts_of(store))
    amend(store, "pruned", performance=[])
    line = 1 + [text.startswith("| translation/pruned") for text in readme.read_text().splitlines()].index(True)

    with pytest.raises(OutdatedTables, match=rf"README\.md: line {line} says '\| translation/pruned .* say '\| trans"):
        check_readme(readme, facts_of(store))


def test_a_readme_that_is_not_there_is_one_line(tmp_path: Path, facts: list[RootFacts]) -> None:
    for report in (check_readme, update_readme):
        with pytest.raises(BadReadme, match=r"absent\.md cannot be read: No such file") as refused:
            report(tmp_path / "absent.md", facts)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no markers", "has no line <!-- variants:begin --> or <!-- report:begin -->"),
        (EMPTY + EMPTY, "has the line <!-- report:begin --> 2 times"),
        ("<!-- report:end -->\n<!-- report:begin -->\n", "line 1 has <!-- report:end --> before"),
    ],
)
def test_a_readme_without_one_block_is_refused_and_kept(
    text: str, complaint: str, tmp_path: Path, facts: list[RootFacts]
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())

    with pytest.raises(BadReadme, match=complaint):
        update_readme(path, facts)

    assert path.read_bytes() == text.encode()
