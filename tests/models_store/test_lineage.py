"""The root of a lineage: which base model a variant is compared with."""

from typing import Any

import pytest

from slimseq.models_store.lineage import demonstrations, is_root, lineage_labels, reference_label, reference_of, root_of
from slimseq.models_store.manifest import Manifest, Reference, Step, Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, variant_of

UNKNOWN = "sha256:" + "1" * 64


def trained(parent: Manifest, variant: str, **more: Any) -> Manifest:
    return variant_of(parent, variant, "train", **more)


def test_a_variant_belongs_to_the_base_model_that_it_was_made_from_and_not_to_original() -> None:
    original, opus = manifest(), manifest(variant="opus")
    small = variant_of(opus, "small")
    int8 = variant_of(small, "small-int8", "quantize")
    manifests = [original, opus, small, int8, variant_of(original, "quantized", "quantize")]

    references = [reference_of(each, manifests).variant for each in manifests]
    assert references == ["original", "opus", "opus", "opus", "original"]
    assert lineage_labels(int8, manifests) == ("opus", "prune", "quantize")


def test_a_variant_of_a_reference_whose_search_has_changed_shows_the_steps_after_those_of_the_base_model() -> None:
    opus, opus_before = manifest(variant="opus"), manifest(variant="opus-before")
    small = variant_of(opus_before, "small", reference=Reference(variant="opus", digest=opus.digest))

    assert lineage_labels(small, [opus, small]) == ("opus", "prune")


def test_a_base_model_that_is_trained_further_is_a_base_model_of_its_own() -> None:
    opus = manifest(variant="opus")
    tuned = trained(opus, "tuned")
    int8 = variant_of(tuned, "tuned-int8", "quantize")

    assert is_root(tuned)
    assert root_of(int8, [opus, tuned, int8]) == tuned


def test_a_variant_that_is_trained_to_recover_stays_a_variant() -> None:
    opus = manifest(variant="opus")
    recovered = trained(variant_of(opus, "small"), "recovered")

    assert not is_root(recovered)
    assert root_of(recovered, [opus, recovered]) == opus


def test_a_renamed_base_model_stays_the_reference() -> None:
    opus = manifest(variant="opus")
    recorded = Reference(variant="opus", digest=opus.digest)
    renamed = opus.model_copy(update={"variant": "base", "reference": recorded})
    small = variant_of(opus, "small", reference=recorded)
    old = variant_of(opus, "old")
    manifests = [renamed, small, old]

    assert is_root(renamed)
    assert [reference_label(each, manifests) for each in manifests] == ["base", "base", "base"]


def test_a_recorded_reference_counts_before_the_lineage() -> None:
    opus = manifest(variant="opus")
    tuned = trained(opus, "tuned")
    recorded = Reference(variant="opus", digest=opus.digest)

    assert root_of(variant_of(tuned, "int8", "quantize", reference=recorded), [opus, tuned]) == opus


def test_a_reference_that_was_replaced_is_missing_and_never_another_model_of_its_name() -> None:
    opus = manifest(variant="opus")
    int8 = variant_of(opus, "opus-int8", reference=Reference(variant="opus", digest=opus.digest))
    other = opus.model_copy(update={"digest": UNKNOWN})

    assert root_of(int8, [other, int8]) is None
    assert reference_label(int8, [other, int8]) == "opus (missing)"
    assert reference_label(variant_of(opus, "old"), [other]) == f"{opus.digest[:19]} (missing)"


def test_of_two_base_models_with_the_same_files_the_recorded_name_counts() -> None:
    first = manifest(variant="opus")
    second = first.model_copy(update={"variant": "twin"})
    int8 = variant_of(first, "int8", reference=Reference(variant="twin", digest=first.digest))

    assert root_of(int8, [first, second, int8]) == second
    assert root_of(first, [second, first]) == first
    assert root_of(second, [first, second]) == second


def test_a_step_that_changes_no_file_makes_a_variant() -> None:
    opus = manifest(variant="opus")
    recorded = Reference(variant="opus", digest=opus.digest)
    greedy = variant_of(opus, "greedy", "beams", reference=recorded).model_copy(update={"digest": opus.digest})

    assert not is_root(greedy)
    assert root_of(greedy, [opus, greedy]) == opus


@pytest.mark.parametrize("task", list(Task))
def test_the_embedded_variants_belong_to_the_embedded_originals(task: Task) -> None:
    manifests = Store(embedded_store()).manifests(task)

    found = {each.variant: reference_of(each, manifests).variant for each in manifests}
    roots = {name: "portuguese" if name.startswith("portuguese") else "original" for name in found}
    assert found == roots
    assert {each.variant for each in manifests if is_root(each)} == {*roots.values()}


@pytest.mark.parametrize("task", list(Task))
def test_the_embedded_models_are_demonstrations_and_so_is_what_is_made_from_them(task: Task) -> None:
    manifests = Store(embedded_store()).manifests(task)
    copied = [each for each in manifests if each.variant.removeprefix("portuguese-") in ("pruned", "distilled")]

    assert demonstrations(manifests) == {each.digest for each in manifests}
    # Also where they are copied without their base model.
    assert copied
    assert demonstrations(copied) == {each.digest for each in copied}


def test_what_is_made_from_a_demonstration_is_one_unless_it_was_trained_further() -> None:
    shown = manifest(technique="train", description="Demonstration weights: small.")
    pruned = variant_of(shown, "pruned")
    trained = variant_of(shown, "mine", "train", reference=None)
    student = variant_of(trained, "student", "distill")
    imported = manifest(variant="imported")

    found = demonstrations([shown, pruned, trained, student, imported])

    assert found == {shown.digest, pruned.digest}


def test_variants_of_one_missing_demonstration_are_demonstrations_if_one_of_them_says_so() -> None:
    shown = manifest(technique="train", description="Demonstration weights: small.")
    quantized = variant_of(shown, "quantized", description="Demonstration weights: small.")
    silent = variant_of(shown, "compact")
    other = variant_of(manifest(variant="imported"), "other")

    assert demonstrations([quantized, silent, other]) == {quantized.digest, silent.digest}


def test_a_store_lists_each_base_model_before_its_variants(tmp_path: Any) -> None:
    original, opus, marian = manifest(), manifest(variant="opus"), manifest(variant="marian")
    lost = variant_of(manifest(variant="gone"), "a-lost", reference=Reference(variant="gone", digest=UNKNOWN))
    small = [variant_of(opus, "a-small"), variant_of(marian, "b-small"), variant_of(original, "z-small")]
    store = Store(put(tmp_path, *small, lost, original, opus, marian))
    (tmp_path / "translation" / "broken").mkdir()
    (tmp_path / "translation" / "broken" / "manifest.json").write_text("{")

    listed = store.variants(Task.TRANSLATION)
    assert listed == ["original", "z-small", "broken", "a-lost", "marian", "b-small", "opus", "a-small"]


def test_steps_without_a_recorded_parent_make_a_root_of_its_own() -> None:
    lone = manifest(variant="lone", lineage=[Step(technique="quantize")])

    assert is_root(lone)
    assert reference_of(lone, [manifest(), lone]).variant == "lone"
