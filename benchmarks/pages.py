"""`python -m benchmarks.pages`: the pages on performance under `docs/`, made anew from `benchmarks/results/`.

A page consists of the files of a folder, in the order of their names: what `peers` and `serving` wrote with `--json`,
as they print it, and Markdown as it is.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import peers, serving_lines
from benchmarks.command import Record
from slimseq.models_store.files import write_text

ROOT = Path(__file__).parents[1]
PAGES = {"amd": "performance.md", "xeon": "performance-xeon.md"}
# By a key that only records of this kind have.
KINDS: dict[str, Callable[[Record], Iterator[str]]] = {
    "rows": peers.lines,
    "servers": serving_lines.lines,
}


def page(results: Path) -> str:
    """Returns the page of a folder of results."""
    return "\n".join(section(path).strip() + "\n" for path in sorted(results.iterdir()))


def section(path: Path) -> str:
    """Returns a file's part of the page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    found = json.loads(text)
    kinds = [lines for key, lines in KINDS.items() if key in found]
    if not kinds:
        raise ValueError(f"{path} is no record of {', '.join(KINDS)}")
    return "\n".join(kinds[0](found))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folders of results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the pages go")
    given = parser.parse_args(arguments)
    try:
        folders = {name: given.results / folder for folder, name in PAGES.items()}
        pages = {name: page(folder) for name, folder in folders.items() if folder.exists()}
        for name, text in pages.items():
            write_text(given.docs / name, text)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
