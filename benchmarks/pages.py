"""`python -m benchmarks.pages`: the pages under `docs/` that consist of records, made anew from `benchmarks/results/`.

`results/amd` and `results/xeon` hold what `peers`, `step_profile`, `serving` and `residency` wrote on a machine with
`--json`, in the order of the page; `results/compression` holds what `ablation` and `hub_shapes` wrote.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.command import Record
from benchmarks.sections import (
    ablation_section,
    peers_section,
    profile_section,
    residency_section,
    serving_section,
    shapes_section,
)
from slimseq.compression.errors import BadData
from slimseq.compression.report.ablation import read_ablations
from slimseq.models_store.files import write_text

ROOT = Path(__file__).parents[1]
PERFORMANCE_PAGES = {"amd": "performance.md", "xeon": "performance-xeon.md"}
COMPRESSION, COMPRESSION_PAGE = "compression", "compression.md"
# Where plots of `serving --plot` are, as MACHINE-TASK-VARIANT.png.
IMAGES = "images"
WRITTEN = "This page is written by `python -m benchmarks.pages`; the commands that measured are named where their"
PERFORMANCE_HEAD = f"""# Performance

How fast Slimseq generates and serves beside what one would use instead, on one machine, in runs whose systems took
turns. {WRITTEN}
figures stand.
"""
COMPRESSION_HEAD = f"""# What compression costs, and what each choice is worth

{WRITTEN}
figures stand.
"""
# A record's kind by a key that only it has, in the order of the page: its section, and a heading before the first.
KINDS: dict[str, tuple[Callable[[Record], Iterator[str]], str]] = {
    "rows": (peers_section, "## Generation in process"),
    "profiles": (profile_section, "## Where a step's time goes"),
    "servers": (serving_section, ""),
    "states": (residency_section, ""),
}


def performance_page(results: Path, images: Path) -> str:
    """Returns the page of a machine's records as Markdown.

    Args:
        results: a folder of records; those of a kind are shown by the order of their names.
        images: where plots are, beside the page.

    Raises:
        OSError, ValueError: a record cannot be read.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    lines = [PERFORMANCE_HEAD]
    for key, (section, heading) in KINDS.items():
        own = [found for found in records if key in found]
        lines += [heading, ""] if own and heading else []
        for found in own:
            lines += [*section(found), ""]
        if key == "servers":
            names = dict.fromkeys(
                f"{results.name}-{found['task']}-{found['variant']}".replace("/", "-") for found in own
            )
            for name in names:
                if (images / f"{name}.png").exists():
                    lines += [f"![Tokens a second and p95 by clients: {name}]({images.name}/{name}.png)", ""]
    return "\n".join(lines).rstrip() + "\n"


def compression_page(results: Path) -> str:
    """Returns the page of `ablation.json` and `hub-shapes.json`, as far as a folder has them.

    Raises:
        BadData, OSError, ValueError: one of them cannot be read.
    """
    lines = [COMPRESSION_HEAD]
    for each in read_ablations(results):
        lines += [*ablation_section(each), ""]
    if (shapes := results / "hub-shapes.json").exists():
        lines += shapes_section(json.loads(shapes.read_text(encoding="utf-8")))
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folders of records")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the pages go")
    given = parser.parse_args(arguments)
    try:
        pages = {
            page: performance_page(given.results / machine, given.docs / IMAGES)
            for machine, page in PERFORMANCE_PAGES.items()
            if (given.results / machine).exists()
        }
        if (given.results / COMPRESSION).exists():
            pages[COMPRESSION_PAGE] = compression_page(given.results / COMPRESSION)
        for page, text in pages.items():
            write_text(given.docs / page, text)
    except (OSError, ValueError, BadData) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
