"""Documents with much structure, made by rule from a few texts and a seed, as HTML and as Markdown."""

import random
from collections.abc import Callable, Iterator

SENTENCES = (
    "The children are playing in the garden.",
    "Please restart your computer to finish the installation.",
    "The red house at the river was built a hundred years ago.",
    "You can change this setting later.",
    "Our shop is open every day from nine to six.",
    "The committee will discuss the new budget on Monday.",
    "Open the window if the room is too warm.",
    "Fish & chips cost less than five pounds.",
    "Two plus two is < five, as everybody knows.",
    'He said "no" and left the room.',
    "Most users never read the manual.",
    "The train to Berlin leaves at half past seven!",
    "Do you know where the keys are?",
)
PHRASES = ("very important", "the next step", "Berlin", "a small dog", "every morning", "user manual", "cheap tickets")
CODE = ("ls -l", "x = 1", "git commit", "a < b", "**kwargs", "<div>", "a|b", "C:\\temp")
ADDRESSES = ("https://example.org/a_b?c=1", "/guide.html", "mailto:someone@example.org", "#top", "../img/(x).png")
TITLES = ("", "A title", "Read more")


class Drawn:
    """A source of random choices."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def sentences(self, inline: Callable[[str], str]) -> Iterator[str]:
        """Yields one to three sentences; words of some have inline markup."""
        for _ in range(self.random.randint(1, 3)):
            words = self.random.choice(SENTENCES).split(" ")
            if self.random.random() < 0.7:
                place = self.random.randrange(1, len(words))
                words[place:place] = [inline(self.random.choice(PHRASES))]
            if self.random.random() < 0.3:
                words[0] = inline(words[0])
            yield " ".join(words)

    def of(self, *rules: Callable[[], str]) -> str:
        """Returns what one of several rules makes."""
        return self.random.choice(rules)()


def html_document(seed: int) -> str:
    """Returns an HTML document."""
    drawn = Drawn(seed)
    choice = drawn.random.choice

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;")

    def inline(words: str, depth: int = 2) -> str:
        within = inline(words, depth - 1) if depth and drawn.random.random() < 0.3 else escaped(words)
        return drawn.of(
            lambda: f"<b>{within}</b>",
            lambda: f"<em class='x'>{within}</em>",
            lambda: f'<a href="{choice(ADDRESSES)}" title="{choice(TITLES)}">{within}</a>',
            lambda: f"<a href='/home'>{within} <img src=a.png alt='A picture'></a>",
            lambda: f"<span lang=en>{within}</span>",
            lambda: f"<code>{escaped(choice(CODE))}</code>",
            lambda: f"<kbd>Ctrl</kbd> {within}",
            lambda: "<img src='b.png' alt='Another picture'>",
            lambda: f"<!-- a note --> {within}",
            lambda: f"{within}<br>",
            lambda: f"{within} &nbsp;&mdash; &#8364;&euro;",
        )

    def text() -> str:
        return " ".join(drawn.sentences(inline))

    def listed(depth: int = 2) -> str:
        tag = choice(["ul", "ol"])
        items = "\n".join(
            f"<li>{text()}{listed(depth - 1) if depth and drawn.random.random() < 0.4 else ''}</li>"
            for _ in range(drawn.random.randint(1, 3))
        )
        return f"<{tag}>\n{items}\n</{tag}>"

    def table() -> str:
        rows = "".join(f"<tr><td>{text()}<td>{choice(PHRASES)}</td></tr>\n" for _ in range(2))
        return f"<table><caption>{text()}</caption><tr><th>Name<th>Text</tr>\n{rows}</table>"

    def block(depth: int = 2) -> str:
        return drawn.of(
            lambda: f"<h2 id=a>{text()}</h2>",
            lambda: f"<p class=text>{text()}</p>",
            lambda: f"<p>{text()}",
            lambda: f"<blockquote>{block(depth - 1) if depth else text()}</blockquote>",
            listed,
            table,
            lambda: f"<pre><code>{escaped(choice(CODE))}\n  {escaped(choice(CODE))}</code></pre>",
            lambda: "<script>if (a < b) { say('hello') }</script>",
            lambda: f"<div translate=no>{text()}</div>",
            lambda: f"<figure><img src=c.png alt=''><figcaption>{text()}</figcaption></figure>",
            lambda: "<hr/>",
        )

    body = "\n".join(block() for _ in range(drawn.random.randint(3, 8)))
    return f"<!doctype html>\n<html><head><title>{choice(PHRASES)}</title></head>\n<body>\n{body}\n</body></html>\n"


def markdown_document(seed: int) -> str:
    """Returns a Markdown document."""
    drawn = Drawn(seed)
    choice = drawn.random.choice

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "\\<")

    def inline(words: str, depth: int = 2) -> str:
        within = inline(words, depth - 1) if depth and drawn.random.random() < 0.3 else escaped(words)
        return drawn.of(
            lambda: f"**{escaped(words)}**",
            lambda: f"*{escaped(words)}*",
            lambda: f"_{escaped(words)}_",
            lambda: f"**very _{escaped(words)}_ thing**",
            lambda: f"~~{within}~~",
            lambda: f'[{within}](https://example.org/a_b?c=1 "{choice(TITLES)}")',
            lambda: f"[{escaped(words)}](</guide.html>)",
            lambda: f"[{escaped(words)}][guide]",
            lambda: "[guide]",
            lambda: "[Guide][]",
            lambda: f"`{choice(CODE).replace('|', '')}`",
            lambda: "``a ` b``",
            lambda: "![A picture](a.png 'Its title')",
            lambda: f"[![A picture][guide] {escaped(words)}](b.html)",
            lambda: "<https://example.org/x_y>",
            lambda: f"<b>{escaped(words)}</b>",
            lambda: "<kbd>Ctrl</kbd>",
            lambda: f"{escaped(words)}<!-- a note -->",
            lambda: "&euro;&nbsp;5",
            lambda: "[^1]",
        )

    def text() -> str:
        return " ".join(drawn.sentences(inline))

    def wrapped() -> str:
        words = text().split(" ")
        ends = [choice([" ", " ", " ", " ", "\n", "  \n", "\\\n"]) for _ in words]
        return "".join(word + end for word, end in zip(words, ends, strict=True)).rstrip(" \n\\")

    def indented(block: str, first: str, rest: str) -> str:
        lines = block.split("\n")
        return "\n".join([first + lines[0], *(rest + line if line else line for line in lines[1:])])

    def listed(depth: int = 2) -> str:
        mark = choice(["- ", "* ", "+ ", "1. ", "7) "])
        gap = choice(["\n", "\n\n"])
        items = []
        for _ in range(drawn.random.randint(1, 3)):
            item = choice(["", "", "[ ] ", "[x] "]) + wrapped()
            if depth and drawn.random.random() < 0.4:
                item += gap + listed(depth - 1)
            items.append(indented(item, mark, " " * len(mark)))
        return gap.join(items)

    def table() -> str:
        rows = [f"| {text()} | `{choice(CODE[:5])}` |\n| {choice(PHRASES)} | a \\| b |" for _ in range(2)]
        return "\n".join(["| Name | The text |", choice(["| --- | :-: |", "|:--|--:|"]), *rows])

    def block(depth: int = 2) -> str:
        return drawn.of(
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

    blocks = "\n\n".join(block() for _ in range(drawn.random.randint(3, 8)))
    matter = choice(["", "---\ntitle: A text\ntags: [a, b]\n---\n\n"])
    return f"{matter}{blocks}\n\n[guide]: https://example.org/guide 'The guide'\n\n[^1]: {text()}\n"
