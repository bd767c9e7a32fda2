"""Which variant and pair answer a request: by name, by default, by promotion, by setting, by way of a pivot."""

import asyncio
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
from slimseq.models_store.fronts import add_front
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import DEMONSTRATION, Check, Task, Verdict
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, variant_of
from tests.hand_made_fronts import front_of

TRANSLATION = Task.TRANSLATION
ANY = RequestedVariant()
GERMAN = (TRANSLATION, ("en", "de"))
FRENCH = (TRANSLATION, ("en", "fr"))
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


@pytest.fixture
def two_pairs(tmp_path: Path) -> Path:
    """A store with two variants to German, and two to French."""
    rejected = Verdict(status="rejected", checks=[Check(name="x", value=0.5, limit=0.9, is_passed=False)])
    return put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="pruned", gate=rejected),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="zz-french", languages=["en", "fr"]),
    )


def test_a_promoted_variant_is_the_default_of_its_pair(two_pairs: Path) -> None:
    found = chooser(two_pairs)
    found.defaults.promotions = {GERMAN: Promotion("pruned", "e1"), FRENCH: Promotion("zz-french", "e2")}

    assert found.select(TRANSLATION, ANY).variant == "pruned"
    assert found.select(TRANSLATION, ANY, ("en", "de")).variant == "pruned"
    assert found.defaults.reason(*GERMAN) == "experiment e1 promoted pruned"
    assert found.select(TRANSLATION, ANY, (None, "fr")).variant == "zz-french"
    assert found.defaults.reason(*FRENCH) == "experiment e2 promoted zz-french"


def test_a_setting_comes_before_a_promotion_of_its_pair_alone(two_pairs: Path) -> None:
    found = chooser(two_pairs, default="quantized")
    found.defaults.promotions = {GERMAN: Promotion("pruned", "e1"), FRENCH: Promotion("zz-french", "e2")}

    assert found.select(TRANSLATION, ANY).variant == "quantized"
    assert found.select(TRANSLATION, ANY, (None, "de")).variant == "quantized"
    assert found.defaults.reason(*GERMAN).startswith("SLIMSEQ_DEFAULT_TRANSLATION names quantized; that comes before")
    assert found.select(TRANSLATION, ANY, (None, "fr")).variant == "zz-french"
    assert found.defaults.named_by_setting(*FRENCH) is None
    assert found.defaults.reason(*FRENCH) == "experiment e2 promoted zz-french"


def test_a_promoted_variant_that_is_gone_or_of_another_pair_leaves_the_usual_default(two_pairs: Path) -> None:
    found = chooser(two_pairs)
    found.defaults.promotions = {GERMAN: Promotion("gone", "e1"), FRENCH: Promotion("quantized", "e2")}

    assert found.select(TRANSLATION, ANY).variant == "quantized"
    assert found.defaults.reason(*GERMAN) == "usual default: experiment e1 promoted gone, which is not in the store"
    assert found.select(TRANSLATION, ANY, (None, "fr")).variant == "french"
    assert found.defaults.reason(*FRENCH) == "usual default: experiment e2 promoted quantized, which is en to de now"
    assert found.defaults.reason(Task.SUMMARIZATION, ("en",)) == "usual default"


def test_the_variant_that_compress_chose_is_the_default_of_its_original(tmp_path: Path) -> None:
    original = manifest(variant="original")
    chosen = variant_of(original, "small-shape1")
    store = put(tmp_path, original, variant_of(original, "quantized", "quantize"), chosen)
    found = chooser(store)
    assert found.select(TRANSLATION, ANY).variant == "quantized"

    add_front(tmp_path, TRANSLATION, front_of(original, [chosen], "small-shape1"))

    assert chooser(store).select(TRANSLATION, ANY).variant == "small-shape1"
    assert chooser(store).defaults.reason(*GERMAN) == "chosen by compress"
    assert chooser(store, default="original").select(TRANSLATION, ANY).variant == "original"
    promoted = chooser(store)
    promoted.defaults.promotions = {GERMAN: Promotion("quantized", "e1")}
    assert promoted.select(TRANSLATION, ANY).variant == "quantized"
    # With other files under its name, it is not what compress chose.
    put(tmp_path, chosen.model_copy(update={"digest": f"sha256:{'0' * 64}"}))
    assert chooser(store).select(TRANSLATION, ANY).variant == "quantized"


def test_a_running_service_answers_with_what_compress_has_chosen_since(tmp_path: Path) -> None:
    original = manifest(variant="original")
    chosen = variant_of(original, "small-shape1")
    found = chooser(put(tmp_path, original, chosen))
    assert found.select(TRANSLATION, ANY).variant == "original"

    add_front(tmp_path, TRANSLATION, front_of(original, [chosen], "small-shape1"))
    asyncio.run(found.defaults.catalogue.refresh())

    assert found.select(TRANSLATION, ANY).variant == "small-shape1"


def test_what_compress_chose_never_comes_before_the_default_of_another_model(tmp_path: Path) -> None:
    imported, other = manifest(variant="quantized"), manifest(variant="other")
    chosen = variant_of(other, "other-shape1")
    store = put(tmp_path, imported, other, chosen)

    add_front(tmp_path, TRANSLATION, front_of(other, [chosen], "other-shape1"))

    assert chooser(store).select(TRANSLATION, ANY).variant == "quantized"
    assert chooser(store).defaults.reason(*GERMAN) == "usual default"
    assert chooser(store).defaults.preferred(*GERMAN) == ["quantized", "other-shape1", "other"]


def test_what_compress_made_of_a_demonstration_comes_after_an_imported_model(tmp_path: Path) -> None:
    demonstration = manifest(variant="original", description=f"{DEMONSTRATION}. A translator.")
    chosen = variant_of(demonstration, "shape1", description=f"{DEMONSTRATION}. A smaller translator.")
    store = put(tmp_path, demonstration, chosen)
    add_front(tmp_path, TRANSLATION, front_of(demonstration, [chosen], "shape1"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "shape1"

    put(tmp_path, manifest(variant="zz-imported"))

    assert chooser(store).select(TRANSLATION, ANY).variant == "zz-imported"


def put_many(root: Path) -> Path:
    """Makes a store with variants to German and to French, and a model of many languages."""
    return put(
        root,
        manifest(variant="quantized"),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="many", languages=["en", "es"], generation=MANY),
    )


def selected(defaults: Defaults, named: Named | None = None) -> Selection:
    return Chooser(defaults).select(TRANSLATION, ANY, named)


def test_neither_a_promotion_nor_a_broken_variant_changes_the_language_of_requests_that_name_none(
    tmp_path: Path,
) -> None:
    broken: set[str] = set()
    error = InvalidArtifact("broken", "it is")
    defaults = Defaults(
        Catalogue(Store(put_many(tmp_path))), last_error=lambda task, variant: error if variant in broken else None
    )

    defaults.promotions = {FRENCH: Promotion("french", "e1")}
    assert selected(defaults) == Selection("quantized")

    # A variant that cannot be loaded is replaced by one of the same pair: `many` translates to German too.
    broken.add("quantized")
    assert selected(defaults) == Selection("many", pair=("en", "de"))
    broken.add("many")
    assert selected(defaults).variant == "quantized"


def test_settings_change_the_language_of_requests_that_name_none(tmp_path: Path) -> None:
    store = put_many(tmp_path)

    def defaults_with(pair: Pair | None = None, default: str | None = None) -> Defaults:
        return Defaults(Catalogue(Store(store)), {TRANSLATION: default}, pair)

    # The pair of the variant that a setting names, unless another setting names the pair.
    assert selected(defaults_with(default="french")) == Selection("french")
    assert selected(defaults_with(("en", "de"), default="french")) == Selection("quantized")
    assert selected(defaults_with(("en", "de"), default="french"), (None, "fr")) == Selection("french")
    assert selected(defaults_with(("EN", "fr-CA"))) == Selection("french")
    assert selected(defaults_with(("de", "fr"))) == Selection("many", pair=("de", "fr"))
    assert selected(defaults_with(("de", "fr")), ("de", None)) == Selection("many", pair=("de", "fr"))
    assert defaults_with().pairs(TRANSLATION) == [("en", "de"), ("en", "fr"), ("en", "es")]
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


@pytest.fixture
def three_pairs(tmp_path: Path) -> Path:
    """A store with variants to German and French, and one from Chinese to English."""
    return put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="zz-french", languages=["en", "fr"]),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="from-chinese", languages=["zh-Hans", "en"]),
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("en", "de", Selection("quantized")),
        ("EN", "DE", Selection("quantized")),
        ("en", "fr", Selection("french")),
        ("zh-hans", "en", Selection("from-chinese")),
        (None, "fr", Selection("french")),
        ("en", None, Selection("quantized")),
        ("zh-Hans", "fr", Selection("french", pivot="en")),
    ],
)
def test_each_pair_has_its_own_default(
    three_pairs: Path, source: str | None, target: str | None, expected: Selection
) -> None:
    assert chooser(three_pairs).select(TRANSLATION, ANY, (source, target)) == expected


def test_a_quantized_base_model_comes_before_other_variants_of_its_pair(three_pairs: Path) -> None:
    french = manifest(variant="french", languages=["en", "fr"])
    put(three_pairs, variant_of(french, "int8", "quantize", languages=["en", "fr"]))

    assert chooser(three_pairs).select(TRANSLATION, ANY, ("en", "fr")) == Selection("int8")
    assert chooser(three_pairs).select(TRANSLATION, ANY, ("zh-Hans", "fr")) == Selection("int8", pivot="en")


def test_a_setting_is_the_default_of_its_pair_and_a_request_may_limit_or_name_the_variant(three_pairs: Path) -> None:
    by_setting = chooser(three_pairs, default="zz-french")
    limited = RequestedVariant(max_bytes=5000)
    named = RequestedVariant("quantized")

    assert by_setting.select(TRANSLATION, ANY, ("zh-Hans", "fr")) == Selection("zz-french", pivot="en")
    assert by_setting.select(TRANSLATION, ANY, ("en", "de")) == Selection("quantized")
    assert chooser(three_pairs).select(TRANSLATION, limited, (None, "fr")).variant == "french"
    assert chooser(three_pairs).select(TRANSLATION, named, ("zh-Hans", "fr")) == Selection("quantized")


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (None, "es", "^no variant translates to es; {known}"),
        ("fr", "en", "from fr to en, and no two do by way of English; {known}"),
        ("fr", "de", "from fr to de, and no two do by way of English; {known}"),
        ("zh-Hans", "es", "from zh-Hans to es, and no two do by way of English; {known}"),
        ("en", "en", "source and target are both en$"),
        ("de", "de", "source and target are both de$"),
    ],
)
def test_an_unknown_pair_is_refused_with_the_pairs_that_there_are(
    three_pairs: Path, source: str | None, target: str, says: str
) -> None:
    known = "there is en to de, en to fr, zh-Hans to en$"

    with pytest.raises(UnsupportedLanguages, match=says.format(known=known)):
        chooser(three_pairs).select(TRANSLATION, ANY, (source, target))


def test_limits_do_not_select_two_variants_by_way_of_english(three_pairs: Path) -> None:
    with pytest.raises(UnsupportedLanguages, match="no variant translates from zh-Hans to fr; there is en to de"):
        chooser(three_pairs).select(TRANSLATION, RequestedVariant(max_bytes=100), ("zh-Hans", "fr"))


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
