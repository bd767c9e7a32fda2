"""Terms are found in texts, and their targets put into translations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from slimseq.inference.generator import TextGenerator
from slimseq.inference.load import load
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.inference.text.glossary import MAX_TERMS, Glossary, find_terms, read_glossaries
from slimseq.inference.text.glossary_files import read_glossary_file
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt, run_all
from slimseq.models_store.store import Store
from tests.cpu_time import cpu_seconds
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)
TBX = """<?xml version="1.0"?><!DOCTYPE martif SYSTEM "TBXcoreStructV02.dtd">
<martif type="TBX" xml:lang="en"><text><body>
<termEntry><langSet xml:lang="en"><tig><term>invoice</term></tig><tig><term>bill</term></tig></langSet>
<langSet xml:lang="de"><tig><term>Nota</term>
<termNote type="administrativeStatus">deprecatedTerm-admn-sts</termNote></tig>
<tig><term>Faktur</term></tig></langSet></termEntry>
<termEntry><langSet xml:lang="en"><tig><term>untranslated</term></tig></langSet></termEntry>
</body></text></martif>"""
CONCEPT = '<conceptEntry><langSec xml:lang="en"><termSec><term>%s</term></termSec></langSec></conceptEntry>'


def found(text: str, glossary: Mapping[str, str], keep: Sequence[str] = (), language: str = "en") -> list[str]:
    """Returns the terms in a text, each as `term=target`."""
    terms = list(find_terms(text, read_glossaries(glossary, keep), language))
    assert all(text[each.start : each.end] == each.text for each in terms)
    return [f"{each.text}={each.target}" for each in terms]


def translated(translator: TextGenerator, text: str, glossary: Mapping[str, str], **fields: object) -> list[str]:
    prompt = Prompt([text], {"num_beams": 1} | dict(fields), glossary=glossary)
    planned = plan(translator, prompt, max_rows=100)
    rows = run_all(translator, planned, batch_rows=32).in_order
    [output] = planned.with_alternatives(rows, planned.assemble(rows))
    return [output.text, *(each.text for each in output.alternatives)]


@pytest.mark.parametrize(
    ("language", "text", "term", "written"), TABLES["a_term_is_found_in_any_case_and_in_the_plural"]
)
def test_a_term_is_found_in_any_case_and_in_the_plural(language: str, text: str, term: str, written: str) -> None:
    assert found(text, {term: "X1"}, language=language) == [f"{written}=X1"]


def test_only_whole_words_are_terms() -> None:
    assert not found("Invoiced, planes and reinvoice", {"invoice": "A", "plan": "B"})
    # A combining mark belongs to the word before it.
    assert not found("The cafe\u0301", {"cafe": "A"})
    assert not found("कला", {"कल": "A"}, language="hi")


def test_acronyms_and_names_to_keep_are_found_as_they_are_written() -> None:
    assert not found("tell us", {"US": "C"})
    assert not found("An apple", {}, ["Apple"])
    assert found("Apple and the US", {"US": "C"}, ["Apple"]) == ["Apple=Apple", "US=C"]


def test_the_longest_term_wins_and_a_plural_of_its_own_goes_first() -> None:
    terms = {"invoice": "A", "invoices": "B", "invoice number": "C"}

    assert found("invoice numbers, invoices", terms) == ["invoice numbers=C", "invoices=B"]


@pytest.mark.parametrize(
    ("glossary", "keep", "said"),
    [
        *TABLES["what_contradicts_itself_or_matches_too_much_is_refused"],
        ({"ab" * 100: "x"}, (), "is longer than"),
        ({f"term {number}": "x" for number in range(MAX_TERMS + 1)}, (), "has more than 1000 terms"),
    ],
)
def test_what_contradicts_itself_or_matches_too_much_is_refused(
    glossary: Mapping[str, str], keep: Sequence[str], said: str
) -> None:
    with pytest.raises(InvalidPrompt, match=said):
        read_glossaries(glossary, keep)


def test_the_search_is_linear_in_the_text_whatever_the_terms() -> None:
    terms = Glossary((("a " * count)[:-1] + " b", "x") for count in range(1, 10))

    assert cpu_seconds(lambda: list(find_terms("a " * 50_000, [terms], "en")), below=3) < 3


def test_only_the_words_of_a_term_change(translator: TextGenerator) -> None:
    assert translated(translator, "The children are playing in the garden.", {"garden": "Faktur"}) == [
        "Die Kinder spielen im Faktur."
    ]
    assert translated(translator, "Gardens", {"garden": "Faktur"}) == ["Faktur"]


def test_a_compound_of_a_term_and_another_word_loses_neither(translator: TextGenerator) -> None:
    [plain] = translated(translator, "I lost my house key.", {"lorry": "Laster"})
    [output] = translated(translator, "I lost my house key.", {"house": "Bude"})

    # Without its word beside the term, the output would lack the key.
    assert "Hausschlüssel" in plain
    assert "Bude" in output
    assert output != plain.replace("Hausschlüssel", "Bude")


def test_all_terms_are_in_the_alternatives_too(translator: TextGenerator) -> None:
    terms = {"garden": "Hof", "children": "Kids"}

    outputs = translated(
        translator, "The children are playing in the garden.", terms, num_beams=4, num_return_sequences=3
    )

    assert len(outputs) > 1
    assert len(set(outputs)) == len(outputs)
    assert all(output.count("Hof") == output.count("Kids") == 1 for output in outputs)


def test_facts_beside_a_term_stay(translator: TextGenerator) -> None:
    [output] = translated(translator, "All invoices of $1,299.99 were paid on March 5, 2024.", {"invoice": "Faktur"})

    assert all(output.count(each) == 1 for each in ("Faktur", "1.299,99", "5. März 2024"))


def test_a_sentence_with_long_code_is_not_scored(translator: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TextGenerator, "force")

    assert "Faktur" in translated(translator, f"The garden is at `{'x' * 3000}`.", {"garden": "Faktur"})[0]


def test_many_terms_in_a_sentence_are_all_there(translator: TextGenerator) -> None:
    words = ["house", "garden", "dog", "cat", "tree", "river", "bridge", "street", "school", "teacher", "book", "table"]
    terms = {word: f"Q{index}x" for index, word in enumerate(words)}

    [output] = translated(translator, f"I see the {', the '.join(words)}.", terms)

    assert all(target in output for target in terms.values())


@pytest.mark.parametrize("protect", [True, False])
def test_a_cut_translation_says_which_terms_it_lacks(translator: TextGenerator, protect: bool) -> None:
    terms = {"garden": "Faktur"}
    prompt = Prompt(["The children are in the garden."], {"max_new_tokens": 2}, glossary=terms, protect=protect)
    planned = plan(translator, prompt, max_rows=100)

    [output], [warnings] = planned.checked(run_all(translator, planned, 32).in_order)

    assert output.lost == ("Faktur",)
    assert "lost" in {each.kind for each in warnings}


def test_the_python_api_has_the_same_terms_in_documents_and_streams(embedded: Store) -> None:
    with load(embedded.root / "translation" / "quantized") as model:
        [page] = model.generate(
            ["<p>The <b>children</b> of Slimseq.</p>"],
            format="html",
            glossary={"child": "x", "children": "Kids"},
            keep=["Slimseq"],
        )
        pieces = list(model.stream("The children are here.", glossary={"children": "Kids"}))

    assert "<b>Kids</b>" in page.text
    assert "Slimseq" in page.text
    assert "Kids" in "".join(pieces)


def test_files_of_csv_and_tbx_are_glossaries(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffinvoice,Faktur\n\n"credit note","Gutschrift, neu"\n')
    (tmp_path / "b.tbx").write_text(TBX)

    of_csv = read_glossary_file(tmp_path / "a.csv")
    of_tbx = read_glossary_file(tmp_path / "b.tbx")

    terms_of_csv = find_terms("invoice, credit note", [of_csv], "en")
    terms_of_tbx = find_terms("invoices and bills", [of_tbx], "en")
    assert [each.target for each in terms_of_csv] == ["Faktur", "Gutschrift, neu"]
    assert [each.target for each in terms_of_tbx] == ["Faktur", "Faktur"]
    assert len(of_tbx) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"invoice,Faktur\ninvoice,Rechnung", "two targets"),
        ("a.csv", b"invoice;Faktur", "line 1 has 1 columns"),
        ("a.csv", b"a," * 100_000, "line 1 has 32769 columns"),
        ("a.csv", b"\xff\xfe", "codec"),
        ("a.tbx", b'<?xml version="1.0" encoding="utf-32"?><a/>', "multi-byte"),
        ("a.tbx", b'<?xml version="1.0" encoding="none"?><a/>', "unknown encoding"),
        ("a.csv", b"", "no terms"),
        ("a.csv", b"".join(b"term %d,x\n" % number for number in range(50_001)), "more than 50000 terms"),
        ("a.tbx", b"<martif>", "no element found"),
        ("a.tbx", CONCEPT.encode() % b"x", "no terms"),
        ("a.tbx", b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>', "declares the entity 'b'"),
        ("a.tbx", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "declares the entity"),
        (
            "a.tbx",
            TBX.replace("</langSet></termEntry>", '</langSet><langSet xml:lang="fr"/></termEntry>').encode(),
            "fr",
        ),
        ("missing.csv", None, "No such file"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InvalidPrompt, match=f"^{name}: .*{said}") as refused:
        read_glossary_file(tmp_path / name)
    assert str(tmp_path) not in str(refused.value)
