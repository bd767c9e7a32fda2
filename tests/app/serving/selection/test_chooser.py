"""Which variant and pair answer a request: by name, by default, by promotion, by setting, by way of a pivot."""

from pathlib import Path
from typing import Any

import pytest

from slimseq.app.errors import InvalidRequest
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant, Selection
from slimseq.app.serving.selection.defaults import Defaults, Promotion
from slimseq.app.serving.selection.language_pairs import Named, Pair
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.errors import InvalidArtifact, UnknownVariant
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Check, Task, Verdict
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, variant_of

TRANSLATION = Task.TRANSLATION
ANY = RequestedVariant()
GERMAN, FRENCH = (TRANSLATION, ("en", "de")), (TRANSLATION, ("en", "fr"))
# Options of a model of many languages, which serves each pair of them.
MANY = GenerationDefaults(language_tokens={code: f"{code}_XX" for code in ("en", "de", "fr", "es")})


def chooser(root: Path, default: str | None = None) -> Chooser:
    """The chooser of a store. `default` is the variant of the setting for translations."""
    return Chooser(Defaults(Catalogue(Store(root)), {TRANSLATION: default}))


def test_quantized_is_the_default_else_original_else_what_there_is(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="pruned"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "pruned"

    put(tmp_path, manifest(variant="original"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "original"

    put(tmp_path, manifest(variant="quantized"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "quantized"
    assert chooser(store, default="pruned").select(TRANSLATION, ANY).variant == "pruned"

    # A variant of another pair changes nothing.
    put(tmp_path, manifest(variant="portuguese", languages=["en", "pt"]))
    assert chooser(store).select(TRANSLATION, ANY).variant == "quantized"


def test_a_promoted_variant_is_the_default_of_its_pair_unless_a_setting_names_one_or_it_is_gone(tmp_path: Path) -> None:
    rejected = Verdict(status="rejected", checks=[Check(name="x", value=0.5, limit=0.9, is_passed=False)])
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="pruned", gate=rejected),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="zz-french", languages=["en", "fr"]),
    )
    # A setting pins the default of the second one.
    usual, pinned = chooser(store), chooser(store, default="quantized")
    for each in (usual, pinned):
        each.defaults.promotions = {GERMAN: Promotion("pruned", "e1"), FRENCH: Promotion("zz-french", "e2")}

    assert usual.select(TRANSLATION, ANY).variant == "pruned"
    assert usual.select(TRANSLATION, ANY, ("en", "de")).variant == "pruned"
    assert usual.defaults.reason(*GERMAN) == "experiment e1 promoted pruned"
    assert pinned.select(TRANSLATION, ANY).variant == "quantized"
    assert pinned.select(TRANSLATION, ANY, (None, "de")).variant == "quantized"
    assert pinned.defaults.reason(*GERMAN).startswith("SLIMSEQ_DEFAULT_TRANSLATION names quantized; that comes before")
    for each in (usual, pinned):
        assert each.select(TRANSLATION, ANY, (None, "fr")).variant == "zz-french"
        assert each.defaults.named_by_setting(*FRENCH) is None
        assert each.defaults.reason(*FRENCH) == "experiment e2 promoted zz-french"

    usual.defaults.promotions = {GERMAN: Promotion("gone", "e1"), FRENCH: Promotion("quantized", "e2")}
    assert usual.select(TRANSLATION, ANY).variant == "quantized"
    assert usual.defaults.reason(*GERMAN) == "usual default: experiment e1 promoted gone, which is not in the store"
    assert usual.select(TRANSLATION, ANY, (None, "fr")).variant == "french"
    assert usual.defaults.reason(*FRENCH) == "usual default: experiment e2 promoted quantized, which is en to de now"
    assert usual.defaults.reason(Task.SUMMARIZATION, ("en",)) == "usual default"


def test_nothing_but_a_setting_changes_the_language_of_requests_that_name_none(tmp_path: Path) -> None:
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="many", languages=["en", "es"], generation=MANY),
    )
    broken: set[str] = set()

    def defaults_with(pair: Pair | None = None, default: str | None = None) -> Defaults:
        error = InvalidArtifact("broken", "it is")
        return Defaults(
            Catalogue(Store(store)),
            {TRANSLATION: default},
            pair,
            lambda task, variant: error if variant in broken else None,
        )

    def selected(defaults: Defaults, named: Named | None = None) -> Selection:
        return Chooser(defaults).select(TRANSLATION, ANY, named)

    usual = defaults_with()
    usual.promotions = {FRENCH: Promotion("french", "e1")}
    assert selected(usual) == Selection("quantized")

    # A variant that cannot be loaded is replaced by one of the same pair: `many` translates to German too.
    broken.add("quantized")
    assert selected(usual) == Selection("many", pair=("en", "de"))
    broken.add("many")
    assert selected(usual).variant == "quantized"
    broken.clear()

    # The pair of the variant that a setting names, unless another setting says which.
    assert selected(defaults_with(default="french")) == Selection("french")
    assert selected(defaults_with(("en", "de"), default="french")) == Selection("quantized")
    assert selected(defaults_with(("en", "de"), default="french"), (None, "fr")) == Selection("french")
    assert selected(defaults_with(("EN", "fr-CA"))) == Selection("french")
    assert selected(defaults_with(("de", "fr"))) == Selection("many", pair=("de", "fr"))
    assert selected(defaults_with(("de", "fr")), ("de", None)) == Selection("many", pair=("de", "fr"))
    assert usual.pairs(TRANSLATION) == [("en", "de"), ("en", "fr"), ("en", "es")]
    assert defaults_with(("de", "fr")).pairs(TRANSLATION)[0] == ("de", "fr")


def test_a_default_pair_may_be_one_that_two_variants_translate(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="original"), manifest(variant="back", languages=["pt", "en"]))

    def with_pair(pair: Pair) -> Chooser:
        return Chooser(Defaults(Catalogue(Store(store)), {}, pair))

    with_pair(("pt", "de")).check_default_pair()
    assert with_pair(("pt", "de")).select(TRANSLATION, ANY) == Selection("original", pivot="en", pair=("pt", "de"))
    with pytest.raises(UnsupportedLanguages, match=r"from de to pt, .*; there is en to de, pt to en$"):
        with_pair(("de", "pt")).check_default_pair()
    with pytest.raises(UnsupportedLanguages, match=r"from pt to de; there is"):
        with_pair(("pt", "de")).select(TRANSLATION, RequestedVariant(max_bytes=9))


def test_demonstrations_come_after_all_other_models(tmp_path: Path) -> None:
    about: dict[str, Any] = {"description": "Demonstration weights: small."}
    shown = manifest(variant="original", technique="train", **about)
    portuguese = manifest(variant="portuguese", technique="train", languages=["en", "pt"], **about)
    store = put(
        tmp_path,
        shown,
        variant_of(shown, "quantized", "quantize", **about),
        variant_of(shown, "pruned"),
        portuguese,
        variant_of(portuguese, "portuguese-quantized", "quantize", languages=["en", "pt"]),
    )
    assert chooser(store).select(TRANSLATION, ANY).variant == "portuguese-quantized"
    assert chooser(store).select(TRANSLATION, ANY, (None, "de")).variant == "quantized"

    put(tmp_path, manifest(variant="zz-german"), manifest(variant="zz-italian", languages=["en", "it"]))

    assert chooser(store).select(TRANSLATION, ANY).variant == "zz-german"
    assert chooser(store).select(TRANSLATION, ANY, (None, "de")).variant == "zz-german"
    assert chooser(store).select(TRANSLATION, ANY, (None, "pt")).variant == "portuguese-quantized"
    # What is trained further is no demonstration.
    put(tmp_path, variant_of(portuguese, "mine", "train", languages=["en", "pt"]))
    assert chooser(store).select(TRANSLATION, ANY, (None, "pt")).variant == "mine"


def test_each_pair_has_its_own_default_and_unknown_pairs_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="zz-french", languages=["en", "fr"]),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="from-chinese", languages=["zh-Hans", "en"]),
    )

    def selected(source: str | None, target: str | None, choice: RequestedVariant = ANY) -> Selection:
        return chooser(store).select(TRANSLATION, choice, (source, target))

    assert selected("en", "de") == Selection("quantized")
    assert selected("EN", "DE") == Selection("quantized")
    assert selected("en", "fr") == Selection("french")
    assert selected("zh-hans", "en") == Selection("from-chinese")
    assert selected(None, "fr") == Selection("french")
    assert selected(None, "fr", RequestedVariant(max_bytes=5000)).variant == "french"
    assert selected("en", None) == Selection("quantized")
    assert selected("zh-Hans", "fr") == Selection("french", pivot="en")

    french = manifest(variant="french", languages=["en", "fr"])
    put(tmp_path, variant_of(french, "int8", "quantize", languages=["en", "fr"]))
    # A quantized base model comes before other variants.
    assert selected("en", "fr") == Selection("int8")
    assert selected("zh-Hans", "fr") == Selection("int8", pivot="en")
    by_setting = chooser(store, default="zz-french")
    assert by_setting.select(TRANSLATION, ANY, ("zh-Hans", "fr")) == Selection("zz-french", pivot="en")
    assert by_setting.select(TRANSLATION, ANY, ("en", "de")) == Selection("quantized")
    assert selected("zh-Hans", "fr", RequestedVariant("quantized")) == Selection("quantized")
    known = "; there is en to de, en to fr, zh-Hans to en$"
    with pytest.raises(UnsupportedLanguages, match=f"no variant translates from zh-Hans to fr{known}"):
        selected("zh-Hans", "fr", RequestedVariant(max_bytes=100))
    with pytest.raises(UnsupportedLanguages, match=f"^no variant translates to es{known}"):
        selected(None, "es")
    for pair in (("fr", "en"), ("fr", "de"), ("zh-Hans", "es")):
        with pytest.raises(
            UnsupportedLanguages, match=f"from {pair[0]} to {pair[1]}, and no two do by way of English{known}"
        ):
            selected(*pair)
    for code in ("en", "de"):
        with pytest.raises(UnsupportedLanguages, match=f"source and target are both {code}$"):
            selected(code, code)


def test_a_request_for_a_default_that_the_store_lacks_is_refused(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="original"))

    with pytest.raises(UnknownVariant, match="'pruned'; it has original"):
        chooser(store, default="pruned").select(TRANSLATION, ANY)
    with pytest.raises(UnknownVariant, match="the store holds no summarization variant"):
        chooser(store).select(Task.SUMMARIZATION, ANY)


def test_the_reference_of_a_variant_is_known_only_where_it_is_among_the_variants(tmp_path: Path) -> None:
    opus = manifest(variant="opus")
    store = put(tmp_path, manifest(), variant_of(manifest(), "quantized"), opus, variant_of(opus, "opus-int8"))

    references = chooser(store).references(TRANSLATION, ["quantized", "opus", "opus-int8"])

    assert references == {"opus": "opus", "opus-int8": "opus"}


def test_a_name_and_a_limit_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="variant and max_bytes"):
        chooser(put(tmp_path, manifest())).select(TRANSLATION, RequestedVariant("pruned", max_bytes=10))
