from pathlib import Path
from typing import Any

import pytest

from slimseq.app.errors import InvalidRequest, NoVariantFits
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant, Selection
from slimseq.app.serving.selection.defaults import Defaults, Promotion
from slimseq.app.serving.selection.language_pairs import Named, Pair
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.errors import InvalidArtifact, UnknownVariant
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import DERIVED_FORMATS, Check, FileEntry, Manifest, Size, Task, Verdict, digest_of
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.measured import performance

TRANSLATION = Task.TRANSLATION
ANY = RequestedVariant()
GERMAN, FRENCH = (TRANSLATION, ("en", "de")), (TRANSLATION, ("en", "fr"))
MANY = GenerationDefaults(language_tokens={code: f"{code}_XX" for code in ("en", "de", "fr", "es")})


def chooser(root: Path, default: str | None = None) -> Chooser:
    return Chooser(Defaults(Catalogue(Store(root)), {TRANSLATION: default}))


def variant(name: str, kept: float | None, tokens_per_second: float = 0, **more: Any) -> Manifest:
    speed = [performance(tokens_per_second)] if tokens_per_second else []
    quality = [] if kept is None else [score(kept)]
    if name == "original":
        return manifest(quality=quality, performance=speed, **more)
    return variant_of(manifest(), name, quality=quality, performance=speed, **more)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.995, 150),
        variant("pruned", 0.96, 300),
        variant("unmeasured", None, 900),
    )


def test_quantized_is_the_default_else_original_else_what_there_is(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="pruned"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "pruned"

    put(tmp_path, manifest(variant="original"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "original"

    put(tmp_path, manifest(variant="quantized"))
    assert chooser(store).select(TRANSLATION, ANY).variant == "quantized"
    assert chooser(store, default="pruned").select(TRANSLATION, ANY).variant == "pruned"

    # Another pair changes nothing.
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
    free, set_ = chooser(store), chooser(store, default="quantized")
    for each in (free, set_):
        each.defaults.promotions = {GERMAN: Promotion("pruned", "e1"), FRENCH: Promotion("zz-french", "e2")}

    assert free.select(TRANSLATION, ANY).variant == free.select(TRANSLATION, ANY, ("en", "de")).variant == "pruned"
    assert free.defaults.reason(*GERMAN) == "experiment e1 promoted pruned"
    assert set_.select(TRANSLATION, ANY).variant == set_.select(TRANSLATION, ANY, (None, "de")).variant == "quantized"
    assert set_.defaults.reason(*GERMAN).startswith("SLIMSEQ_DEFAULT_TRANSLATION names quantized; that comes before")
    for each in (free, set_):
        assert each.select(TRANSLATION, ANY, (None, "fr")).variant == "zz-french"
        assert each.defaults.named_by_setting(*FRENCH) is None
        assert each.defaults.reason(*FRENCH) == "experiment e2 promoted zz-french"

    free.defaults.promotions = {GERMAN: Promotion("gone", "e1"), FRENCH: Promotion("quantized", "e2")}
    assert free.select(TRANSLATION, ANY).variant == "quantized"
    assert free.defaults.reason(*GERMAN) == "usual default: experiment e1 promoted gone, which is not in the store"
    assert free.select(TRANSLATION, ANY, (None, "fr")).variant == "french"
    assert free.defaults.reason(*FRENCH) == "usual default: experiment e2 promoted quantized, which is en to de now"
    assert free.defaults.reason(Task.SUMMARIZATION, ("en",)) == "usual default"


def test_nothing_but_a_setting_changes_the_language_of_requests_that_name_none(tmp_path: Path) -> None:
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="many", languages=["en", "es"], generation=MANY),
    )
    broken: set[str] = set()

    def defaults(pair: Pair | None = None, default: str | None = None) -> Defaults:
        error = InvalidArtifact("broken", "it is")
        return Defaults(
            Catalogue(Store(store)),
            {TRANSLATION: default},
            pair,
            lambda task, variant: error if variant in broken else None,
        )

    def selected(found: Defaults, named: Named | None = None) -> Selection:
        return Chooser(found).select(TRANSLATION, ANY, named)

    usual = defaults()
    usual.promotions = {FRENCH: Promotion("french", "e1")}
    assert selected(usual) == Selection("quantized")
    broken.add("quantized")
    # It also translates to German.
    assert selected(usual) == Selection("many", pair=("en", "de"))
    broken.add("many")
    assert selected(usual).variant == "quantized"
    broken.clear()
    # The pair of the variant that a setting names, unless another setting says which.
    assert selected(defaults(default="french")) == Selection("french")
    assert selected(defaults(("en", "de"), default="french")) == Selection("quantized")
    assert selected(defaults(("en", "de"), default="french"), (None, "fr")) == Selection("french")
    assert selected(defaults(("EN", "fr-CA"))) == Selection("french")
    assert selected(defaults(("de", "fr"))) == Selection("many", pair=("de", "fr"))
    assert selected(defaults(("de", "fr")), ("de", None)) == Selection("many", pair=("de", "fr"))
    assert usual.pairs(TRANSLATION) == [("en", "de"), ("en", "fr"), ("en", "es")]
    assert defaults(("de", "fr")).pairs(TRANSLATION)[0] == ("de", "fr")


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


def test_a_language_pair_has_a_default_of_its_own(tmp_path: Path) -> None:
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="zz-french", languages=["en", "fr"]),
        manifest(variant="french", languages=["en", "fr"]),
        manifest(variant="from-chinese", languages=["zh-Hans", "en"]),
    )

    def selected(source: str | None, target: str | None, choice: RequestedVariant = ANY) -> Selection:
        return chooser(store).select(TRANSLATION, choice, (source, target))

    assert selected("en", "de") == selected("EN", "DE") == Selection("quantized")
    assert selected("en", "fr") == Selection("french") and selected("zh-hans", "en") == Selection("from-chinese")
    assert selected(None, "fr") == Selection("french")
    assert selected(None, "fr", RequestedVariant(max_bytes=5000)).variant == "french"
    assert selected("en", None) == Selection("quantized")
    assert selected("zh-Hans", "fr") == Selection("french", pivot="en")
    put(
        tmp_path,
        variant_of(manifest(variant="french", languages=["en", "fr"]), "int8", "quantize", languages=["en", "fr"]),
    )
    assert selected("en", "fr") == Selection("int8") and selected("zh-Hans", "fr") == Selection("int8", pivot="en")
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


def test_a_default_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="original"))

    with pytest.raises(UnknownVariant, match="'pruned'; it has original"):
        chooser(store, default="pruned").select(TRANSLATION, ANY)
    with pytest.raises(UnknownVariant, match="the store holds no summarization variant"):
        chooser(store).select(Task.SUMMARIZATION, ANY)


@pytest.mark.parametrize(
    ("wanted", "chosen"), [(0.9, "pruned"), (0.96, "pruned"), (0.97, "quantized"), (0.999, "original")]
)
def test_the_fastest_that_keeps_enough_is_chosen(store: Path, wanted: float, chosen: str) -> None:
    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=wanted)).variant == chosen


def test_speeds_of_two_machines_are_not_compared(tmp_path: Path) -> None:
    old, new = performance(1000, host="old"), performance(1900, host="new")
    store = put(
        tmp_path,
        variant("original", None).model_copy(update={"performance": [new, old]}),
        variant("quantized", 0.995).model_copy(update={"performance": [performance(1800, host="old")]}),
    )

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "quantized"


def test_where_none_keeps_enough_each_ones_retention_is_said(store: Path) -> None:
    with pytest.raises(NoVariantFits) as refused:
        chooser(store).select(TRANSLATION, RequestedVariant(min_retention=1.01))

    said = str(refused.value)
    assert "has min_retention 1.01; there is original with retention 1.0000" in said
    assert "pruned with retention 0.9600" in said and "unmeasured with unmeasured retention" in said


def test_among_unmeasured_speeds_the_fewest_bytes_are_chosen(tmp_path: Path) -> None:
    small = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"onnx": 5})
    store = put(tmp_path, variant("original", None), variant("small", 0.99, size=small))

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "small"


def test_a_variant_that_no_runtime_here_opens_is_never_chosen(tmp_path: Path) -> None:
    alien = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"alien": 5})
    store = put(tmp_path, variant("original", None, 1), variant("fast", 1.0, 999, size=alien))

    assert chooser(store).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "original"


def test_a_rejected_variant_answers_only_where_it_is_named(tmp_path: Path) -> None:
    rejected = Verdict(status="rejected", checks=[Check(name="x", value=0.5, limit=0.9, is_passed=False)])
    root = put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.995, 500, gate=rejected),
        variant("slow", 0.99, 1),
    )

    assert chooser(root).select(TRANSLATION, RequestedVariant()).variant == "original"
    assert chooser(root).select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "original"
    assert chooser(root).select(TRANSLATION, RequestedVariant("quantized")).variant == "quantized"


def test_only_variants_of_the_defaults_base_model_are_chosen_by_what_they_keep(tmp_path: Path) -> None:
    opus = manifest(variant="opus", performance=[performance(5000)])
    kept = [score(0.99, reference=opus.digest)]
    store = put(
        tmp_path,
        variant("original", None, 100),
        variant("quantized", 0.97, 150),
        opus,
        variant_of(opus, "opus-int8", quality=kept, performance=[performance(9000)]),
    )

    by_default = chooser(store)
    by_setting = chooser(store, "opus-int8")

    assert by_default.select(TRANSLATION, RequestedVariant(min_retention=0.9)).variant == "quantized"
    assert by_default.select(TRANSLATION, RequestedVariant(min_retention=0.98)).variant == "original"
    assert by_setting.select(TRANSLATION, RequestedVariant(min_retention=0.98)).variant == "opus-int8"
    assert by_setting.select(TRANSLATION, RequestedVariant(min_retention=0.995)).variant == "opus"


def test_a_reference_is_named_only_where_it_is_among_the_variants(tmp_path: Path) -> None:
    opus = manifest(variant="opus")
    store = put(tmp_path, variant("original", None), variant("quantized", None), opus, variant_of(opus, "opus-int8"))

    references = chooser(store).references(TRANSLATION, ["quantized", "opus", "opus-int8"])

    assert references == {"opus": "opus", "opus-int8": "opus"}


@pytest.mark.parametrize(
    ("choice", "chosen", "why"),
    [
        (
            RequestedVariant(max_bytes=2000),
            "quantized",
            "best retention of 2 variants within max_bytes 2000: quantized",
        ),
        (RequestedVariant(max_latency_ms=25), "pruned", "best retention of 1 variant within max_latency_ms 25: pruned"),
        (RequestedVariant(min_retention=0.9, max_bytes=2000), "pruned", "fastest of 2 variants"),
    ],
)
def test_limits_choose_from_what_was_measured_and_say_why(
    tmp_path: Path, choice: RequestedVariant, chosen: str, why: str
) -> None:
    def sized(made: Manifest, size: int, p50_ms: float) -> Manifest:
        rows = [each.model_copy(update={"p50_ms": p50_ms}) for each in made.performance]
        sizes = made.size.model_copy(update={"bytes_by_format": dict.fromkeys(made.size.bytes_by_format, size)})
        return made.model_copy(update={"performance": rows, "size": sizes})

    store = put(
        tmp_path,
        sized(variant("original", None, 100), 4000, 60.0),
        sized(variant("quantized", 0.995, 150), 1500, 40.0),
        sized(variant("pruned", 0.96, 300), 1000, 20.0),
    )

    selection = chooser(store).select(TRANSLATION, choice)

    assert selection.variant == chosen
    assert selection.reason is not None and selection.reason.startswith(why)


def test_an_export_that_no_manifest_lists_has_the_bytes_of_its_files(tmp_path: Path) -> None:
    half = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"safetensors": 100})
    paths = ("config.json", "tokenizer.json", "model.safetensors")
    files = [FileEntry(path=path, bytes=2, sha256="0" * 64) for path in paths]
    pruned = variant("pruned", 0.96, size=half, files=files, digest=digest_of(files))
    root = put(tmp_path, variant("original", None), pruned)
    with Store(root).exporting(TRANSLATION, "pruned", "onnx", "test", {}) as folder:
        for file in DERIVED_FORMATS["onnx"]:
            (folder / file).write_bytes(b"1234")

    selection = chooser(root).select(TRANSLATION, RequestedVariant(max_bytes=8))

    assert selection.variant == "pruned"
    assert selection.reason is not None and "8 bytes" in selection.reason


def test_limits_that_none_is_within_say_what_each_variant_has(store: Path) -> None:
    with pytest.raises(NoVariantFits, match=r"max_latency_ms 0\.001; there is original with retention 1\.0000, .* ms"):
        chooser(store).select(TRANSLATION, RequestedVariant(max_latency_ms=0.001))


def test_a_name_and_a_limit_exclude_each_other(store: Path) -> None:
    with pytest.raises(InvalidRequest, match="variant and max_bytes"):
        chooser(store).select(TRANSLATION, RequestedVariant("pruned", max_bytes=10))


def catalogue(root: Path, clock: list[float] | None = None) -> Catalogue:
    now = clock or [0.0]
    return Catalogue(Store(root), None, lambda: now[0])


def test_a_new_artifact_is_found_at_once_and_a_removed_one_is_gone_after_a_moment(tmp_path: Path) -> None:
    clock = [0.0]
    known = catalogue(put(tmp_path, manifest(variant="original")), clock=clock)
    assert known.names(TRANSLATION) == ["original"]

    put(tmp_path, manifest(variant="pruned"))
    assert known.manifest(TRANSLATION, "pruned").variant == "pruned"

    (tmp_path / "translation" / "original" / "manifest.json").unlink()
    clock[0] = 2.0
    with pytest.raises(UnknownVariant, match="it has pruned"):
        known.entry(TRANSLATION, "original")
