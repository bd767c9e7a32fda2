"""Any text as HTML or Markdown is answered with the same structure, or refused, and never takes long."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.generator import open_generator
from slimseq.inference.text.errors import MarkupTooComplex, UnclosedMarkup
from slimseq.inference.text.formats.document import Document, Written
from slimseq.inference.text.formats.html_document import read_html
from slimseq.inference.text.formats.markdown_document import read_markdown
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Format, Prompt, run_all
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.text.formats.marked_documents import html_document, markdown_document
from tests.inference.text.formats.structures import Structure, html_structure, markdown_structure
from tests.inference.text.formats.translators import ALL, Translator, rewritten, upper

# Limit of CPU time for one text. Other programs do not change it, unlike wall-clock time.
SECONDS = 5.0
TRANSLATORS = st.sampled_from(ALL)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MARKDOWN_SIGNS = [
    *("*", "**", "_", "__", "~", "~~", "`", "``", "[", "]", "](/a)", "](/a 'b')", "![", "<", ">", "<b>", "</b>"),
    *("<br>", "<!--", "-->", "<code>", "</code>", "\n", "\n\n", "  \n", "\\\n", "\\", "> ", "- ", "* ", "1. ", "2) "),
    *("# ", "###", "---", "===", "***", "    ", "\t", "|", " | ", "|---|\n", "--|--\n", "```\n", "~~~\n", "&amp;"),
    *("&#65;", "&", "[^1]", "[a]", "[a]: /b\n", "[a][]", "<https://a.b/c_d>", "!", ":", "[ ] ", "<div>\n", "a", "Bc "),
    *("d. ", "\u00a0", "\ue000", "\r\n", "\r", "\x0c", "\u2028", "\0", "ß", "漢", "\U000f0000"),
]
HTML_SIGNS = [
    *("<b>", "</b>", "<a href='/'>", "</a>", "<p>", "</p>", "<li>", "</li>", "<br>", "<br/>", "<img src=a>", "<code>"),
    *("</code>", "<i translate=no>", "</i>", "<pre>", "</pre>", "<script>", "</script>", "<!-- a -->", "<!--", "-->"),
    *("<div>", "</div>", "<span>", "</span>", "<", ">", "&", "&amp;", "&lt;b&gt;", "&#10;", "'", '"', "=", " ", "\n"),
    *("one ", "Two. ", "three", "\ue000", "\r\n", "</", "<td>", "<svg><path/></svg>", "<textarea>", "</textarea>"),
]


def mixed(signs: list[str]) -> st.SearchStrategy[str]:
    return TEXT | st.lists(st.sampled_from(signs) | TEXT, max_size=20).map("".join)


def answered(read: Callable[[str], Document], text: str, translate: Translator) -> Written | None:
    started = time.thread_time()
    try:
        return rewritten(read(text), translate)
    except (MarkupTooComplex, UnclosedMarkup):
        return None
    finally:
        assert time.thread_time() - started < SECONDS


@given(text=mixed(MARKDOWN_SIGNS), translate=TRANSLATORS)
def test_any_text_as_markdown_keeps_its_structure(text: str, translate: Translator) -> None:
    written = answered(read_markdown, text, translate)

    assert written is None or markdown_structure(written.text) == markdown_structure(text)


@given(text=mixed(HTML_SIGNS), translate=TRANSLATORS)
def test_any_text_as_html_keeps_its_structure_or_is_refused(text: str, translate: Translator) -> None:
    written = answered(read_html, text, translate)

    assert written is None or html_structure(written.text) == html_structure(text)


@pytest.mark.parametrize("translate", ALL, ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    ("document", "read", "structure"),
    [(html_document, read_html, html_structure), (markdown_document, read_markdown, markdown_structure)],
    ids=["html", "markdown"],
)
def test_documents_with_much_structure_keep_it(
    document: Callable[[int], str],
    read: Callable[[str], Document],
    structure: Callable[[str], Structure],
    translate: Translator,
) -> None:
    different = []
    for seed in range(50):
        source = document(seed)
        written = rewritten(read(source), translate)
        if structure(written.text) != structure(source) or (translate is upper and written.untranslated):
            different.append(seed)

    assert different == []


@pytest.mark.parametrize(
    ("form", "document", "structure"),
    [("html", html_document, html_structure), ("markdown", markdown_document, markdown_structure)],
)
def test_a_real_translator_keeps_the_structure_of_documents(
    embedded: Store, form: Format, document: Callable[[int], str], structure: Callable[[str], Structure]
) -> None:
    sources = [document(seed) for seed in range(50)]

    with open_generator(embedded, Task.TRANSLATION, "quantized", threads=1) as generator:
        planned = plan(generator, Prompt(sources, {"num_beams": 1}, format=form), 1_000_000)
        outputs = planned.assemble(run_all(generator, planned, 16).in_order)

    assert [structure(each.text) for each in outputs] == [structure(source) for source in sources]
