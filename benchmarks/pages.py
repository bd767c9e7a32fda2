"""`python -m benchmarks.pages`: the pages on performance under `docs/`, made anew from `benchmarks/results/`.

A page consists of the files of a folder, in the order of their names: what `peers` and `serving` wrote with `--json`,
as they print it, and Markdown, whose links into `docs/` are then links beside the page.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers, serving
from slimseq.models_store.files import write_text

ROOT = Path(__file__).parents[1]
# How the folder of a machine's results links to a page.
FROM_RESULTS = "](../../../docs/"
PAGES = {"amd": "performance.md", "xeon": "performance-xeon.md"}


def section(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text.replace(FROM_RESULTS, "](")
    found = json.loads(text)
    return "\n".join((serving if "servers" in found else peers).lines(found))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folders of results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the pages go")
    given = parser.parse_args(arguments)
    for folder, name in PAGES.items():
        files = sorted((given.results / folder).glob("*"))
        if files:
            write_text(given.docs / name, "\n".join(section(path).strip() + "\n" for path in files))


if __name__ == "__main__":
    main()
