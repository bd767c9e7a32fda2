"""Fronts that tests make by hand, as `compress` would write them: the variants exist, the figures are invented."""

from collections.abc import Sequence
from typing import Any

from slimseq.models_store.fronts import Front, FrontVariant, StructureWorth
from slimseq.models_store.manifest import Manifest

BAR = 0.97


def front_of(original: Manifest, variants: Sequence[Manifest], chosen: str | None, **more: Any) -> Front:
    """A front in which each variant is faster than the one before it, smaller, and keeps less.

    The variants up to the chosen one keep the bar.
    """
    names = [variant.variant for variant in variants]
    keeping = names[: names.index(chosen) + 1] if chosen is not None else []
    fields: dict[str, Any] = {
        "original": original.variant,
        "digest": original.digest,
        "keep": BAR,
        "metric": "chrf",
        "is_agreement": False,
        "aim": "fastest",
        "within": "60m",
        "samples": 250,
        "variants": [front_variant(each, place, keeping, chosen) for place, each in enumerate(variants)],
        "chosen": chosen,
        "reason": f"{chosen} is the fastest that is confirmed: it keeps 98.4% on the confirming half, at least 97.5% "
        "with 95 % confidence",
        "measured_at": "2026-11-29T10:11:12+00:00",
    }
    return Front(**(fields | more))


def front_variant(manifest: Manifest, place: int, keeping: Sequence[str], chosen: str | None) -> FrontVariant:
    retention = round(0.996 - 0.012 * place, 3)
    return FrontVariant(
        variant=manifest.variant,
        digest=manifest.digest,
        title=f"int8, step {place + 1}",
        bytes=min(manifest.size.bytes_by_format.values()),
        tokens_per_second=round(800 * 1.5**place, 1),
        speed_up=round(1.6 * 1.5**place, 2),
        retention=retention,
        interval=(round(retention - 0.01, 3), round(retention + 0.01, 3)),
        lower_bound=round(retention - 0.009, 3),
        keeps=manifest.variant in keeping,
        is_chosen=manifest.variant == chosen,
    )


def structures(layers: int) -> list[StructureWorth]:
    """The worth of three parts of each layer: those of later layers take more time, and lose less."""
    parts = ("self-attention", "cross-attention", "feed-forward")
    return [
        StructureWorth(
            name=f"decoder layer {layer + 1}, {part}",
            seconds_share=(layer + 1) * (place + 1) / (3 * layers * (layers + 1)),
            loss=0.3 / (layer + 1 + place),
        )
        for layer in range(layers)
        for place, part in enumerate(parts)
    ]
