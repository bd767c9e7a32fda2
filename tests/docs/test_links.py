"""The Markdown pages of a clone have no dead link: neither to a file, nor to a heading, nor to lines of a file."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
MARKDOWN = MarkdownIt("commonmark").enable(["table"])
HTML_LINK = re.compile(r"""<(?:a|img|source|link)\b[^>]*?\b(?:href|src|srcset)\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
HTML_ANCHOR = re.compile(r"""<[a-z]+\b[^>]*?\b(?:id|name)\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
# An entry of a table of contents: a page without its ending, `TITLE <PAGE>`, or a pattern.
ENTRY = re.compile(r"(?:.*<)?([^<>]+?)>?$")
# A page of the docs that a comment or a docstring names, for `git grep -E`.
NAMED_IN_CODE = r"\bdocs/((decisions|guides|explanations)/[a-z0-9-]+|[a-z-]+\.md)"
# The fragment of a link to lines of a file: `L10` or `L10-L20`.
LINES = re.compile(r"L(\d+)(?:-L(\d+))?$")


def pages() -> list[Path]:
    """Every Markdown file of the repository, the cards of the embedded models included."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    found = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in found.split("\0") if name and (ROOT / name).exists()]


def tokens_of(text: str) -> Iterator[Token]:
    for token in MARKDOWN.parse(text):
        yield token
        yield from token.children or ()


def targets_of(text: str) -> Iterator[str]:
    """Yields what a page links to: links, images, HTML, and entries of tables of contents."""
    for token in tokens_of(text):
        if token.type == "link_open":
            yield str(token.attrs["href"])
        elif token.type == "image":
            yield str(token.attrs["src"])
        elif token.type in ("html_block", "html_inline"):
            yield from HTML_LINK.findall(token.content)
        elif token.type == "fence" and token.info.startswith("{toctree}"):
            yield from _entries(token.content)


def _entries(content: str) -> Iterator[str]:
    for line in content.splitlines():
        found = ENTRY.match(line.strip())
        if found and not line.startswith(":"):
            yield f"{found[1]}.md" if "*" not in found[1] else found[1]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page: its headings as GitHub and MyST name them, and the names and ids of HTML."""
    found: set[str] = set()
    tokens = list(tokens_of(page.read_text(encoding="utf-8")))
    for place, token in enumerate(tokens):
        if token.type in ("html_block", "html_inline"):
            found.update(HTML_ANCHOR.findall(token.content))
        if token.type == "heading_open":
            parts = tokens[place + 1].children or []
            title = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            # The second heading with the same title has the anchor `title-1`.
            earlier = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each) is not None for each in found)
            found.add(f"{slug}-{earlier}" if earlier else slug)
    return found


def fault_of(page: Path, target: str) -> str | None:
    """Returns what is wrong with a link of a page, None for a good one. Links to other sites are not checked."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if "*" in parts.path:
        return None if list(page.parent.glob(parts.path)) else "no file has such a name"
    if not path.exists():
        return "there is no such file"
    if not path.is_relative_to(ROOT):
        return "it leads out of the repository"
    if subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0:
        return "git ignores the file: a clone does not have it"
    if not parts.fragment:
        return None
    lines = LINES.fullmatch(parts.fragment)
    if lines is not None:
        last = len(path.read_text(encoding="utf-8").splitlines())
        return None if all(int(number) <= last for number in lines.groups() if number) else f"it has {last} lines"
    if path.suffix != ".md":
        return "only lines (#L10-L20) of such a file can be linked to"
    return None if unquote(parts.fragment) in anchors_of(path) else "the page has no such heading"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = list(dict.fromkeys(targets_of(page.read_text(encoding="utf-8"))))

    faults = {target: fault_of(page, target) for target in targets}

    assert {target: fault for target, fault in faults.items() if fault} == {}


def test_every_page_that_the_code_names_exists() -> None:
    files = ["*.py", "*.yml", "*.yaml", "*.toml", "*.conf", ".env.example"]
    listed = ["git", "grep", "-hoIE", NAMED_IN_CODE, "--", *files]
    named = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()

    # A decision may be named by its number alone.
    absent = [name for name in sorted(set(named)) if not list(ROOT.glob(f"{name.removesuffix('.md')}*.md"))]

    assert absent == []
    assert len(named) > 20


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](absent.md)", "there is no such file"),
        ("![a](images/absent.png)", "there is no such file"),
        ('<img alt="a" src="absent.png">', "there is no such file"),
        ("[a][b]\n\n[b]: absent.md", "there is no such file"),
        ("```{toctree}\n:maxdepth: 1\n\nguides/absent\n```", "there is no such file"),
        ("```{toctree}\n:glob:\n\nabsent/*\n```", "no file has such a name"),
        ("[a](../../../../etc)", "it leads out of the repository"),
        ("[a](#absent)", "the page has no such heading"),
        ("[a](guides/compress.md#absent)", "the page has no such heading"),
        ("[a](openapi.py#L1-L9999)", r"it has \d+ lines"),
        ("[a](openapi.py#main)", "only lines"),
        ("[a](../.venv/bin/python)", "git ignores the file|it leads out"),
        ("[a](openapi.py#L3)", None),
        ("[a](guides/compress.md#what-slimseq-reads)", None),
        ("[a](https://example.org/absent#x)", None),
        ("`[a](absent.md)`", None),
    ],
)
def test_a_dead_link_is_found(link: str, fault: str | None) -> None:
    page = ROOT / "docs" / "index.md"

    faults = [fault_of(page, target) for target in targets_of(link)]

    if fault is None:
        assert set(faults) <= {None}
    else:
        assert len(faults) == 1 and re.match(fault, faults[0] or ""), faults
