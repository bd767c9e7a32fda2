"""A store with three base models and their int8 variants: each variant is compared with its own base model."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.context import Context
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.compression.quantize.quantize import quantize
from slimseq.models_store.manifest import Check, Task, Verdict
from slimseq.models_store.store import Store
from tests.command_line import Finished, compression
from tests.measured import amend
from tests.service.conftest import needs_torch, running_service

pytestmark = needs_torch
TASK = Task.TRANSLATION
# The base model of each variant.
REFERENCES = {
    "original": "original",
    "quantized": "original",
    "large": "large",
    "large-int8": "large",
    "small": "small",
    "small-int8": "small",
}
CHECKS = [Check(name="times smaller", value=1.5, limit=3.5, is_passed=False)]


@pytest.fixture(scope="module")
def store(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The embedded translator, and two smaller ones that are imported, as anybody's models, and quantized."""
    # Without the record of what other machines measured, which a report of the embedded store shows.
    others = shutil.ignore_patterns("pruned", "distilled", "compact", "compact-float", "derived.json")
    root = tmp_path_factory.mktemp("several") / "artifacts"
    shutil.copytree(embedded.root, root, ignore=others)
    context = Context(Store(root))
    for name, source in (("large", "pruned"), ("small", "distilled")):
        import_model(context, str(embedded.folder(TASK, source)), ImportOptions(task=TASK, variant=name))
        quantize(context, TASK, name, f"{name}-int8")
    amend(context.store, "small-int8", gate=Verdict(status="rejected", checks=CHECKS))
    return context.store


@pytest.fixture(scope="module")
def evaluated(store: Store) -> Finished:
    """All translators, evaluated in one run and recorded."""
    done = compression("evaluate", TASK, "--samples", 30, "--record", "--json", "--store", store.root)
    assert done.code == 0, done.error
    return done


def bleu_of(evaluated: Finished) -> dict[str, dict[str, Any]]:
    return {each["variant"]: each["metrics"][0] for each in evaluated.json["variants"]}


def test_a_manifest_names_the_base_model_that_its_lineage_starts_from(store: Store) -> None:
    for name in ("large", "large-int8", "small", "small-int8"):
        reference = store.manifest(TASK, name).reference

        assert reference is not None
        assert reference.variant == REFERENCES[name]
        assert reference.digest == store.manifest(TASK, REFERENCES[name]).digest
    digest = store.manifest(TASK, "small").digest
    card = (store.folder(TASK, "small-int8") / "README.md").read_text()
    assert f"- Retention is relative to: `small`, `{digest}`" in card


def test_evaluate_adds_the_base_model_of_what_is_named(store: Store) -> None:
    done = compression("evaluate", TASK, "small-int8", "--samples", 4, "--store", store.root, COLUMNS="200")

    assert done.code == 0, done.error
    cells = [[cell.strip() for cell in line.split("│")] for line in done.out.splitlines()]
    rows = [row[1:3] for row in cells if len(row) > 3 and row[1]]
    # The second table is about agreement.
    assert rows[:3] == [["small", "small"], ["small-int8", "small"], ["source-copy", ""]]
    assert [name for name, _ in rows[3:]] == ["small", "small-int8"]


def test_the_report_shows_each_variant_against_its_own_base_model(
    store: Store, evaluated: Finished, tmp_path: Path
) -> None:
    timed = compression(
        "benchmark", TASK, *REFERENCES, "--samples", 2, "--repeats", 1, "--record", "--store", store.root
    )
    readme = tmp_path / "README.md"
    readme.write_text("<!-- report:begin -->\n<!-- report:end -->\n")

    done = compression("report", TASK, "--readme", readme, "--store", store.root)

    assert (timed.code, done.code) == (0, 0), timed.error + done.error
    assert readme.read_text().count("| translation, en to de | samples |") == 3
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in readme.read_text().splitlines()]
    variants = {row[0].partition("/")[2]: row for row in rows if row and row[0].startswith("translation/")}
    scores = {row[2]: row for row in rows if row and row[0] == "sample (test)" and row[1] == "30"}
    bleu = bleu_of(evaluated)
    for name, reference in REFERENCES.items():
        manifest, root = store.manifest(TASK, name), store.manifest(TASK, reference)
        smaller = root.size.fp32_bytes / min(manifest.size.bytes_by_format.values())
        assert variants[name][1].startswith(reference)
        assert variants[name][5] == f"{smaller:.2f}\N{MULTIPLICATION SIGN}"
        assert scores[name][5].startswith(f"{bleu[name]['retention']:.3f} ")
    for name in ("original", "large", "small"):
        assert variants[name][7] == "1.00\N{MULTIPLICATION SIGN}"
    assert variants["small-int8"][10] == "rejected"


def test_quality_shows_each_variant_against_its_own_base_model(store: Store, evaluated: Finished, log: Path) -> None:
    bleu = bleu_of(evaluated)

    with running_service(log, store=store.root) as service:
        listed = [each for each in service.get("/variants").json["variants"] if each["task"] == TASK]
        qualities = {each["variant"]: each for each in service.get(f"/quality?task={TASK}").json["qualities"]}
        full = service.get(f"/quality?task={TASK}&detail=full").json["qualities"]

    assert [(each["variant"], each["reference"]["variant"]) for each in listed] == list(REFERENCES.items())
    assert {name: each["reference"]["variant"] for name, each in qualities.items()} == REFERENCES
    for name in ("large-int8", "small-int8"):
        retention = qualities[name]["retention"]
        assert retention["value"] == pytest.approx(bleu[name]["retention"])
        assert retention["interval"] == pytest.approx(bleu[name]["retention_interval"])
        assert (retention["metric"], retention["dataset"], retention["samples"]) == ("bleu", "sample", 30)
    for each in full:
        last = [score for score in each["scores"] if score["samples"] == 30 and score["metric"] == "bleu"]
        assert [score["reference"] for score in last] == [each["reference"]["digest"]]
