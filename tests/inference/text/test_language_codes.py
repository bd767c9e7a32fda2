from slimseq.inference.text.language import detector_codes, language_name, short_code


def test_languages_have_english_names() -> None:
    assert (language_name("de"), language_name("zh"), language_name("no-such")) == ("German", "Chinese", "no-such")


def test_a_macrolanguage_is_detected_as_one_of_its_own() -> None:
    assert {"zho", "cmn"} <= detector_codes(["zh"]) and detector_codes(["no-such"]) == frozenset()
    assert (short_code("deu"), short_code("cmn"), short_code("arb")) == ("de", "zh", "ar")
