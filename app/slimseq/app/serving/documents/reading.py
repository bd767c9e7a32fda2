"""Reads the texts of a prompt in their format: documents to translate, or their text without markup."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Literal

from slimseq.app.errors import InvalidRequest, MarkupTooComplex, UnclosedMarkup
from slimseq.app.serving.documents.formats.document import Document
from slimseq.app.serving.documents.formats.html_document import read_html
from slimseq.app.serving.documents.formats.markdown_document import read_markdown
from slimseq.app.serving.documents.prompt import Prompt

_READERS: dict[Literal["html", "markdown"], Callable[[str], Document]] = {
    "html": read_html,
    "markdown": read_markdown,
}


def reading(prompt: Prompt) -> Generator[None, None, list[Document]]:
    """Reads the texts of a prompt with markup, in small steps.

    Raises:
        MarkupTooComplex, UnclosedMarkup: a text cannot be read. Names the text and the place.
    """
    if prompt.format == "text":
        raise ValueError("a text without markup is no document")
    documents = []
    for index, text in enumerate(prompt.texts):
        try:
            documents.append(_READERS[prompt.format](text))
            yield
        except (MarkupTooComplex, UnclosedMarkup) as error:
            raise type(error)(f"{place_of(prompt, index)}: {error}") from error
    return documents


def without_markup(prompt: Prompt) -> Generator[None, None, Prompt]:
    """Returns a prompt whose texts have no markup, in small steps.

    Raises:
        InvalidRequest: a text holds nothing but markup.
        MarkupTooComplex, UnclosedMarkup: as `reading` does.
    """
    if prompt.format == "text":
        return prompt
    documents = yield from reading(prompt)
    for index, document in enumerate(documents):
        if not document.plain:
            raise InvalidRequest(f"{place_of(prompt, index)}: has no text beside its markup")
    return replace(prompt, texts=[document.plain for document in documents], format="text")


def place_of(prompt: Prompt, index: int) -> str:
    """Returns the name of a text in errors."""
    return f"text[{index}]" if len(prompt.texts) > 1 else "text"
