import shutil
from pathlib import Path

import pytest

from slimseq.compression.report.facts import TaskFacts, facts_of
from slimseq.compression.report.readme import BadReadme, OutdatedTables, check_readme, update_readme
from slimseq.models_store.derived import record_derived
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.measured import amend

EMPTY = "# Title\n\nBefore.\n\n<!-- report:begin -->\n<!-- report:end -->\n\nAfter: ü.\r\n"


@pytest.fixture
def facts(store: Store) -> list[TaskFacts]:
    return facts_of(store)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_bytes(EMPTY.encode())
    return path


def test_tables_come_between_the_markers_and_nothing_else_changes(readme: Path, facts: list[TaskFacts]) -> None:
    is_changed = update_readme(readme, facts)

    text = readme.read_bytes().decode()
    before, _, rest = text.partition("<!-- report:begin -->\n")
    tables, _, after = rest.partition("<!-- report:end -->")
    assert is_changed and before + after == EMPTY.replace("<!-- report:begin -->\n<!-- report:end -->", "")
    assert "| translation/pruned | original → prune |" in tables
    assert "| 1,204 | 2.00\N{MULTIPLICATION SIGN} | 0.83 | 41.5 MB | passed |" in tables
    assert "| sample (test) | 99 | original | 0.3 | 37.68 [35.56, 39.93] | 1.000 [1.000, 1.000] | — |" in tables
    assert "| sample (test) | 99 | compact | 0.3 | 35.00 [32.88, 37.25] | 0.929 [0.900, 0.950] | < 0.001 |" in tables
    assert "Speed and memory: batch 1, 4 beams, 2 threads, a laptop." in tables
    assert "Signatures: BLEU `nrefs:1|tok:13a`." in tables and "Measured on 2026-11-24." in tables


def test_agreement_stands_beside_retention_and_says_where_it_was_not_measured(
    readme: Path, facts: list[TaskFacts]
) -> None:
    update_readme(readme, facts)

    text = readme.read_text()
    assert "| 1.000 [1.000, 1.000] | — | — | — |" in text
    assert "| 0.969 [0.948, 0.991] | 0.012 | 0.938 [0.875, 0.969] | 0.750 |" in text
    assert "| 0.929 [0.900, 0.950] | < 0.001 | not measured | — |" in text


def test_the_short_table_has_the_lowest_agreement_of_each_variant(readme: Path, facts: list[TaskFacts]) -> None:
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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no markers", "has no line <!-- variants:begin --> or <!-- report:begin -->"),
        (EMPTY + EMPTY, "has the line <!-- report:begin --> 2 times"),
        ("<!-- report:end -->\n<!-- report:begin -->\n", "line 1 has <!-- report:end --> before"),
    ],
)
def test_a_readme_without_one_block_is_refused_and_kept(
    text: str, complaint: str, tmp_path: Path, facts: list[TaskFacts]
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())

    with pytest.raises(BadReadme, match=complaint):
        update_readme(path, facts)

    assert path.read_bytes() == text.encode()
