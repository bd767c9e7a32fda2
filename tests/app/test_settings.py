"""The settings: their defaults, how the environment sets them, and which values are refused with which words."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store


@pytest.fixture(autouse=True)
def no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLIMSEQ_")]:
        monkeypatch.delenv(name)


def test_the_defaults_serve_the_embedded_models_on_this_machine_alone() -> None:
    settings = Settings()

    assert settings.store == embedded_store()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.max_body_bytes == 8 * 1024 * 1024
    assert settings.runtime == "auto"
    assert settings.preload == ()


def test_the_store_in_the_current_folder_is_served_where_it_holds_an_artifact(tmp_path: Path) -> None:
    manifest = tmp_path / "artifacts" / "translation" / "mine" / "manifest.json"
    manifest.parent.mkdir(parents=True)

    without_artifact = Settings().store
    manifest.touch()
    with_artifact = Settings().store

    assert without_artifact == embedded_store()
    assert with_artifact == Path("artifacts")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIMSEQ_STORE", str(tmp_path))
    monkeypatch.setenv("SLIMSEQ_PRELOAD", "translation/quantized, summarization/original,")
    monkeypatch.setenv("SLIMSEQ_RUNTIME", "torch")
    monkeypatch.setenv("SLIMSEQ_DEFAULT_TRANSLATION", "original")
    monkeypatch.setenv("SLIMSEQ_DEFAULT_PAIR", "en, zh-Hant")

    settings = Settings()

    assert settings.store == tmp_path
    assert settings.runtime == "torch"
    assert settings.preload == ((Task.TRANSLATION, "quantized"), (Task.SUMMARIZATION, "original"))
    assert settings.default_variant(Task.TRANSLATION) == "original"
    assert settings.default_variant(Task.SUMMARIZATION) is None
    assert settings.default_languages == ("en", "zh-Hant")


def test_without_a_default_pair_there_are_no_default_languages() -> None:
    assert Settings().default_languages is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "99999", "less than or equal to 65535"),
        ("HOST", "not a host", "no address or host name"),
        ("RUNTIME", "tensorrt", "there are auto, onnxruntime, torch, ctranslate2"),
        ("THREADS", "-1", "greater than or equal to 0"),
        ("KEYS_FILE", "", "is empty: name a file, or unset it"),
        ("TRUSTED_KEYS", ",", "is empty: name a file, or unset it"),
        ("PRELOAD", "quantized", "not of the form task/variant"),
        ("PRELOAD", "haiku/quantized", "not of the form task/variant"),
        ("PRELOAD", "translation/../../etc", "not of the form task/variant"),
        ("DEFAULT_TRANSLATION", "../quantized", "not a variant's name"),
        ("DEFAULT_PAIR", "en", "not of the form SOURCE,TARGET, such as en,pt"),
        ("DEFAULT_PAIR", "en,pt,de", "not of the form SOURCE,TARGET"),
        ("DEFAULT_PAIR", "en,../pt", "not of the form SOURCE,TARGET"),
        ("MAX_BODY_BYTES", "0", "greater than or equal to 1024"),
        ("REQUEST_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("REQUEST_TIMEOUT_SECONDS", "nan", "less than or equal to 3600"),
        ("SHADOW_SHARE", "1.5", "less than or equal to 1"),
        ("SHADOW_SHARE", "nan", "finite number"),
        ("SHADOW_TRANSLATION", "translation/compact", "not a variant's name"),
        ("MAX_CONNECTIONS", "0", "greater than or equal to 1"),
        ("HEADER_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_values_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(f"SLIMSEQ_{name}", value)

    with pytest.raises(ValidationError, match=said):
        Settings()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SLIMSEQ_STROE", "SLIMSEQ_STROE is not a setting; did you mean SLIMSEQ_STORE\\?"),
        ("slimseq_max_body", "slimseq_max_body is not a setting; did you mean SLIMSEQ_MAX_BODY_BYTES\\?"),
        ("SLIMSEQ_XYZ_QQ", "SLIMSEQ_XYZ_QQ is not a setting \\["),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(ValidationError, match=said):
        Settings()


def test_variables_of_other_commands_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    # `slimseq sign` reads it.
    monkeypatch.setenv("SLIMSEQ_KEY_PASSWORD", "secret")

    assert Settings().port == 8000


def test_a_variable_in_small_letters_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("slimseq_port", "8001")

    assert Settings().port == 8001


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_a_body_may_have_the_values_of_the_largest_requests_and_not_many_more() -> None:
    # By default the largest request is an evaluation of 1000 pairs, with five signs each. 256 are for other fields.
    assert Settings().max_values == 5 * 1000 + 256
    # With few pairs it is a request of many texts, with a comma each.
    assert Settings(max_texts=4096, evaluation_max_pairs=1).max_values == 4096 + 256
