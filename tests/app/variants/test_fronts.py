"""Which fronts `/variants` shows: those whose original is stored, with the variants as they were measured."""

import logging
from pathlib import Path

import pytest

from slimseq.app.observability.live_agreement import AgreementMonitor
from slimseq.app.variants.fronts import stored_fronts
from slimseq.app.variants.inventory import Inventory
from slimseq.models_store.fronts import FRONTS, add_front
from slimseq.models_store.manifest import Manifest, Task, digest_of
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, variant_of
from tests.app.serving.parts import parts_of
from tests.hand_made_fronts import front_of

ORIGINAL = manifest()
SMALL = variant_of(ORIGINAL, "small")
TINY = variant_of(SMALL, "tiny")
FRONT = front_of(ORIGINAL, [SMALL, TINY], "tiny")


def built_again(made: Manifest) -> Manifest:
    """The variant with other files under its old name."""
    files = [file.model_copy(update={"sha256": "1" * 64}) for file in made.files]
    return made.model_copy(update={"files": files, "digest": digest_of(files)})


def names(manifests: list[Manifest], recorded: list[Manifest] | None = None) -> list[tuple[str, list[str]]]:
    """The original and the variants of each front that is shown."""
    fronts = stored_fronts(Task.TRANSLATION, [FRONT], manifests, recorded or manifests)
    return [(front.original, [each.variant for each in front.variants]) for front in fronts]


def test_a_front_has_the_figures_of_its_run_and_its_task() -> None:
    [shown] = stored_fronts(Task.TRANSLATION, [FRONT], [ORIGINAL, SMALL, TINY], [])

    assert shown.task is Task.TRANSLATION
    assert shown.model_dump(exclude={"task"}) == FRONT.model_dump()


def test_a_variant_that_is_gone_or_renamed_is_left_out_even_if_it_was_chosen() -> None:
    renamed = TINY.model_copy(update={"variant": "other"})
    [shown] = stored_fronts(Task.TRANSLATION, [FRONT], [ORIGINAL, SMALL, renamed], [])

    assert names([ORIGINAL, SMALL]) == [("original", ["small"])]
    assert ([each.variant for each in shown.variants], shown.chosen) == (["small"], "tiny")


def test_a_variant_that_was_built_again_with_other_files_is_left_out() -> None:
    assert names([ORIGINAL, built_again(SMALL), TINY]) == [("original", ["tiny"])]


def test_a_variant_that_another_kind_of_cpu_built_is_shown_if_the_record_has_the_measured_one() -> None:
    assert names([ORIGINAL, built_again(SMALL), TINY], [ORIGINAL, SMALL, TINY]) == [("original", ["small", "tiny"])]


def test_a_renamed_original_is_shown_with_its_new_name() -> None:
    renamed = ORIGINAL.model_copy(update={"variant": "opus"})

    assert names([renamed, SMALL, TINY]) == [("opus", ["small", "tiny"])]


def test_a_front_without_its_original_or_without_any_variant_is_not_shown() -> None:
    assert names([SMALL, TINY]) == []
    assert names([built_again(ORIGINAL), SMALL, TINY]) == []
    assert names([ORIGINAL]) == []


def test_variants_of_the_same_files_are_told_apart_by_their_names() -> None:
    greedy = SMALL.model_copy(update={"variant": "small-greedy"})
    front = front_of(ORIGINAL, [SMALL, greedy], "small-greedy")

    [shown] = stored_fronts(Task.TRANSLATION, [front], [ORIGINAL, SMALL, greedy], [])

    assert [each.variant for each in shown.variants] == ["small", "small-greedy"]


def inventory_of(root: Path) -> Inventory:
    parts = parts_of(Store(root))
    return Inventory(parts.chooser, parts.pool, "1.2.3", AgreementMonitor(), {})


def test_the_list_of_variants_has_the_fronts_of_the_store(tmp_path: Path) -> None:
    put(tmp_path, ORIGINAL, SMALL, TINY)
    add_front(tmp_path, Task.TRANSLATION, FRONT)

    [shown] = inventory_of(tmp_path).variants().fronts

    assert (shown.task, shown.original, shown.chosen) == (Task.TRANSLATION, "original", "tiny")


def test_a_file_that_cannot_be_read_is_one_line_of_the_log_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, ORIGINAL, SMALL)
    (tmp_path / "translation" / FRONTS).write_text('{"fronts": [{}]}', encoding="utf-8")
    inventory = inventory_of(tmp_path)

    with caplog.at_level(logging.WARNING):
        answers = [inventory.variants() for _ in range(3)]

    assert [answer.fronts for answer in answers] == [[], [], []]
    assert [each.variant for each in answers[0].variants] == ["original", "small"]
    [line] = caplog.records
    assert "translation/fronts.json" in vars(line)["reason"]
