"""Documents with much structure, made by rule from a few texts and a seed, as Markdown and as HTML."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt

SENTENCES = Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines()
FRONT_MATTER = "---\ntitle: A text\ntags: [a, b]\n---\n\n"
# Words that get markup.
PHRASES = ("very important", "the next step", "Berlin", "a small dog", "every morning", "user manual", "cheap tickets")
CODE = ("ls -l", "x = 1", "git commit", "a < b", "**kwargs", "<div>", "a|b", "C:\\temp")
# What HTML has and Markdown lacks; `{}` is for a sentence.
HTML_BLOCKS = Path(__file__).with_name("blocks.html").read_text(encoding="utf-8").strip().split("\n\n")
# `{}` is for words, which may have markup themselves in `MARKDOWN_NESTING`.
MARKDOWN_NESTING = ("~~{}~~", '[{}](https://example.org/a_b?c=1 "A title")', "[{}](https://example.org/a_b?c=1)")
MARKDOWN_INLINE = (
    *("**{}**", "*{}*", "_{}_", "**very _{}_ thing**", "[{}](</guide.html>)", "[{}][guide]", "[guide]", "[Guide][]"),
    *("`CODE`", "``a ` b``", "![A picture](a.png 'Its title')", "[![A picture][guide] {}](b.html)"),
    *("<https://example.org/x_y>", "<b>{}</b>", "<kbd>Ctrl</kbd>", "{}<!-- a note -->", "&euro;&nbsp;5", "[^1]"),
)


class Drawn:
    """Draws parts of a document at random, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.choice = self.random.choice

    def happens(self, probability: float) -> bool:
        return self.random.random() < probability

    def several(self, most: int) -> range:
        return range(self.random.randint(1, most))

    def sentences(self, inline: Callable[[str], str]) -> Iterator[str]:
        """Yields one to three sentences; words of some have inline markup."""
        for _ in self.several(3):
            words = self.choice(SENTENCES).split(" ")
            if self.happens(0.7):
                words.insert(self.random.randrange(1, len(words)), inline(self.choice(PHRASES)))
            if self.happens(0.3):
                words[0] = inline(words[0])
            yield " ".join(words)


def html_document(seed: int) -> str:
    """Returns an HTML document: a rendered one of Markdown, and blocks that Markdown lacks."""
    drawn = Drawn(seed)
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rendered = str(parser.render(markdown_document(seed).removeprefix(FRONT_MATTER)))
    sentence = drawn.choice(SENTENCES).replace("&", "&amp;").replace("<", "&lt;")
    blocks = "\n".join(drawn.choice(HTML_BLOCKS).replace("{}", sentence) for _ in drawn.several(5))
    title = drawn.choice(PHRASES)
    return f"<!doctype html>\n<html><head><title>{title}</title></head>\n<body>\n{blocks}\n{rendered}</body></html>\n"


def markdown_document(seed: int) -> str:
    """Returns a Markdown document of up to eight blocks, with link reference definitions and a footnote at its end."""
    drawn = Drawn(seed)
    choice = drawn.choice

    def inline(words: str, depth: int = 2) -> str:
        """Returns words in inline markup, which may be nested `depth` times."""
        plain = words.replace("&", "&amp;").replace("<", "\\<")
        if depth and drawn.happens(0.15):
            return choice(MARKDOWN_NESTING).replace("{}", inline(words, depth - 1))
        return choice(MARKDOWN_INLINE).replace("CODE", choice(CODE).replace("|", "")).replace("{}", plain)

    def text() -> str:
        return " ".join(drawn.sentences(inline))

    def wrapped() -> str:
        """Returns a text with line breaks of all kinds between some words."""
        words = text().split(" ")
        return "".join(word + choice([" ", " ", " ", " ", "\n", "  \n", "\\\n"]) for word in words).rstrip(" \n\\")

    def indented(block: str, first: str, rest: str) -> str:
        """Returns a block with `first` before its first line and `rest` before all others that are not empty."""
        lines = block.split("\n")
        return "\n".join([first + lines[0], *(rest + line if line else line for line in lines[1:])])

    def listed(depth: int = 2) -> str:
        """Returns a list, whose items may have lists, nested `depth` times."""
        mark, gap = choice(["- ", "* ", "+ ", "1. ", "7) "]), choice(["\n", "\n\n"])
        items = []
        for _ in drawn.several(3):
            inner = gap + listed(depth - 1) if depth and drawn.happens(0.4) else ""
            box = choice(["", "", "[ ] ", "[x] "])
            items.append(indented(box + wrapped() + inner, mark, " " * len(mark)))
        return gap.join(items)

    def table() -> str:
        rows = [f"| {text()} | `{choice(CODE[:5])}` |\n| {choice(PHRASES)} | a \\| b |" for _ in range(2)]
        return "\n".join(["| Name | The text |", choice(["| --- | :-: |", "|:--|--:|"]), *rows])

    def block(depth: int = 2) -> str:
        rules: Sequence[Callable[[], str]] = (
            lambda: f"{'#' * drawn.random.randint(1, 6)} {text()}",
            lambda: f"{text()}\n{choice(['===', '---'])}",
            wrapped,
            wrapped,
            lambda: indented(block(depth - 1) if depth else wrapped(), "> ", "> "),
            listed,
            table,
            lambda: f"```python title\n{choice(CODE)}\n\n# {choice(SENTENCES)}\n```",
            lambda: f"    {choice(CODE)}",
            lambda: f"<div class='x'>\n{choice(SENTENCES)}\n</div>",
            lambda: choice(["---", "***"]),
        )
        rule = choice(rules)
        return rule()

    blocks = "\n\n".join(block() for _ in drawn.several(8))
    matter = choice(["", FRONT_MATTER])
    return f"{matter}{blocks}\n\n[guide]: https://example.org/guide 'The guide'\n\n[^1]: {text()}\n"
