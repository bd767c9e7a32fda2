"""`quantize`: int8 ONNX of an artifact."""

from typing import Annotated

import typer

from compression.commands.options import (
    DEFAULT_STORE,
    ForceOption,
    JsonOption,
    StoreOption,
    TaskArgument,
    VariantArgument,
    open_context,
    print_json,
    print_line,
)


def quantize_command(
    task: TaskArgument,
    variant: VariantArgument = "original",
    name: Annotated[str, typer.Option("--name", help="The new variant's name.")] = "quantized",
    per_channel: Annotated[bool, typer.Option(help="One scale for each output channel.")] = True,
    reduce_range: Annotated[
        bool | None,
        typer.Option(help="7-bit weights, for CPUs without VNNI.", show_default="on where this CPU has no VNNI"),
    ] = None,
    sensitive: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of products to round in blocks; `none` for none. By default those known to lose."),
    ] = None,
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Quantize an artifact to int8 (ONNX, dynamic activations) and publish it as a new variant."""
    from compression.quantize import QuantizeOptions, quantize

    defaults = QuantizeOptions()
    options = QuantizeOptions(
        per_channel=per_channel,
        reduce_range=defaults.reduce_range if reduce_range is None else reduce_range,
        sensitive_layers=None if not sensitive else tuple(pattern for pattern in sensitive if pattern != "none"),
    )
    manifest = quantize(open_context(store, force=force), task, variant, name, options)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        stored = sum(manifest.size.bytes_by_format.values())
        print_line(
            f"{task}/{name}: {stored / 1e6:.1f} MB, {manifest.size.fp32_bytes / stored:.2f} times smaller than fp32"
        )
