"""`python -m benchmarks.compression_page`: docs/compression.md, made of what the other benchmarks wrote as JSON.

What each choice of a technique is worth under one budget, and what compressing models of the hub's shapes takes.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.markdown import table, taken_on
from slimseq.compression.errors import BadData
from slimseq.compression.report.ablation import Ablation, AblationRow, read_ablations
from slimseq.models_store.files import write_text

PAGE = Path("docs/compression.md")
HEAD = """# What compression costs, and what each choice is worth

This page is written by `python -m benchmarks.compression_page`; the commands that measured are named where their
figures stand.
"""
BYTES_OF_MEGABYTE = 1e6


def page(ablations: Sequence[Ablation], shapes: dict[str, Any] | None) -> str:
    """Returns the page as Markdown.

    Args:
        ablations: what `benchmarks.ablation` wrote.
        shapes: what `benchmarks.hub_shapes --json` printed; None leaves it out.
    """
    lines = [HEAD]
    for each in ablations:
        lines += [*_ablation(each), ""]
    if shapes is not None:
        lines += [*_shapes(shapes), ""]
    return "\n".join(lines).rstrip() + "\n"


def _ablation(found: Ablation) -> Iterator[str]:
    yield f"## One choice at a time, all else equal: {found.task}"
    yield ""
    yield (
        "`python -m benchmarks.ablation` with the recipe [benchmarks/ablation-translation.yaml]"
        "(../benchmarks/ablation-translation.yaml), which has every option: the same original, seed and number of "
        f"training steps. {found.metric} on {found.dataset} ({found.split}, {found.samples} samples), with 95 % "
        "intervals; seconds are those of making the variant on one core that other work shared."
    )
    for group, rows in found.groups():
        yield from ("", f"### {group}", "")
        yield from table((group, found.metric, "95 %", "retention", "seconds"), [_row(row) for row in rows])


def _row(row: AblationRow) -> list[str]:
    kept = "-" if row.retention is None else f"{row.retention:.3f}"
    if row.retention_interval:
        kept += " [{:.3f}, {:.3f}]".format(*row.retention_interval)
    interval = "-" if row.interval is None else "{:.2f} to {:.2f}".format(*row.interval)
    return [row.name, f"{row.value:.2f}", interval, kept, "-" if row.seconds is None else f"{row.seconds:.0f}"]


def _shapes(found: dict[str, Any]) -> Iterator[str]:
    yield "## Models of the hub's shapes"
    yield ""
    yield (
        "`python -m benchmarks.hub_shapes`: random weights of exactly these configurations. int8 quantization is asked "
        "to take less than 60 s, pruning in one shot (half of the feed-forward channels, a quarter of the heads, no "
        "recovery) less than 120 s, both less than 3 times the fp32 model's bytes above what imports take."
    )
    yield from ("", taken_on(found), "")
    yield from table(
        ("model", "operation", "seconds", "fp32 MB", "peak MB", "imports MB", "above imports, times fp32", "within"),
        [
            [
                row["model"],
                row["operation"],
                f"{row['seconds']:.1f}",
                *(f"{row[name] / BYTES_OF_MEGABYTE:,.0f}" for name in ("fp32_bytes", "peak_bytes", "imported_bytes")),
                f"{row['memory_ratio']:.2f}",
                "yes" if row["is_within_limits"] else "no",
            ]
            for row in found["rows"]
        ],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression_page", description=__doc__)
    parser.add_argument("--ablation", type=Path, metavar="FOLDER", help="build folder of `benchmarks.ablation`")
    parser.add_argument("--hub-shapes", type=Path, metavar="FILE", help="of `benchmarks.hub_shapes --json`")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    try:
        ablations = read_ablations(given.ablation) if given.ablation else []
        shapes = json.loads(given.hub_shapes.read_text(encoding="utf-8")) if given.hub_shapes else None
        write_text(given.out, page(ablations, shapes))
    except (OSError, ValueError, BadData) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
