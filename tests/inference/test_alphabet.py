"""What a model can write is read from its vocabulary, of whatever kind that is."""

import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers

from slimseq.inference.alphabet import EUROPEAN, Alphabet
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.small_tokenizers import KINDS, of_bytes, with_unknown

Kind = Callable[[str], FastTokenizer]


def alphabet(kind: Kind, letters: str) -> Alphabet:
    fast = kind(letters)
    return Alphabet(fast, fast)


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_written_if_all_its_letters_have_tokens(kind: Kind) -> None:
    german = alphabet(kind, "äöüß")

    assert german.can_write(["Müller", "Groß", "Smith"]) == [True, True, True]
    assert german.can_write(["Łukasz", "Søren", "Beyoncé", "日本", "Москва"]) == [False] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_may_lack_letters_and_neither_ascii_nor_punctuation_counts(kind: Kind) -> None:
    german = alphabet(kind, "äöüß")

    assert german.may_lack("Łukasz")
    assert german.may_lack("Ein Müller, eine Łódź")
    assert not german.may_lack("Anna Smith")
    assert not german.may_lack("“It\u2019s 5 €” — yes…")


# The last kind, of bytes, has no normalizer.
@pytest.mark.parametrize("kind", KINDS[:3])
def test_combining_accents_are_read_as_the_normalizer_reads_them(kind: Kind) -> None:
    decomposed = unicodedata.normalize("NFD", "Müller")

    assert alphabet(kind, "ü").can_write([decomposed]) == [True]
    assert alphabet(kind, "é").can_write([decomposed]) == [False]


def test_a_letter_that_only_a_longer_token_has_is_known_in_that_word() -> None:
    fast = with_unknown("")
    fast.model = models.Unigram([("<unk>", 0.0), *((each, -2.0) for each in ("▁", *"Cacehmnst", "ões"))], unk_id=0)
    portuguese = Alphabet(fast, fast)

    assert portuguese.may_lack("Camões")
    assert portuguese.can_write(["Camões", "õ"]) == [True, False]


def test_bytes_may_be_part_of_another_token_after_a_space() -> None:
    # `Ö` is two bytes. A token of the space and the first byte leaves the second byte alone.
    alphabet_of_bytes = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet_of_bytes, "th", "the", "ĠÃ", "Ãĸ"])}
    fast = FastTokenizer(models.BPE(vocabulary, [("t", "h"), ("th", "e"), ("Ġ", "Ã"), ("Ã", "ĸ")]))
    fast.pre_tokenizer, fast.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()

    assert Alphabet(fast, fast).can_write(["Öl", " Öl"]) == [True, False]


def test_a_copied_word_must_be_in_the_vocabulary_of_outputs_too() -> None:
    both = Alphabet(with_unknown("ü"), with_unknown("ã"))

    assert both.can_write(["Müller", "São", "Smith"]) == [False, False, True]
    assert both.can_write(["Müller", "São"], is_copied=False) == [True, False]
    assert both.may_lack("Müller")


def test_a_vocabulary_of_few_letters_is_narrow() -> None:
    assert alphabet(with_unknown, "äöüß").is_narrow
    assert alphabet(of_bytes, "äöüß").is_narrow
    assert not alphabet(with_unknown, EUROPEAN).is_narrow


def test_a_vocabulary_that_cannot_be_compared_lacks_nothing() -> None:
    fast = FastTokenizer(models.WordLevel({"<unk>": 0, "12": 1}, unk_token="<unk>"))

    assert not Alphabet(fast, fast).may_lack("Müller")
    assert Alphabet(fast, fast).can_write(["Müller"]) == [True]


def test_a_letter_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    german = alphabet(with_unknown, "äöüß")
    german.may_lack("Łukasz Müller")
    # From now on, a look-up of any letter raises ZeroDivisionError.
    monkeypatch.setattr(german._source, "has", lambda words: [1 / 0 for _ in words])

    assert german.may_lack("Łukasz Müller")
    assert not german.may_lack("Müller")


def test_threads_may_look_up_letters_at_the_same_time() -> None:
    german = alphabet(with_unknown, "äöüß")
    letters = [chr(code) for code in range(0x4E00, 0x5600)]
    texts = ["".join(letters[start : start + 64]) for start in range(0, len(letters), 32)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(german.may_lack, [text for text in texts for _ in range(4)]))

    assert found == [True] * len(found)


@pytest.mark.parametrize("variant", ["original", "compact"])
def test_the_embedded_german_translators_write_german_letters(embedded: Store, variant: str) -> None:
    german = Tokenizer(embedded.folder(Task.TRANSLATION, variant)).alphabet

    assert german.is_narrow
    assert german.can_write(["Müller", "Größe", " Übung", "Łukasz", " Søren", "Århus"]) == [True] * 3 + [False] * 3
