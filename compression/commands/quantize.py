"""`quantize`: int8 ONNX of an artifact."""

from typing import Annotated

import typer

from compression.commands.options import (
    DEFAULT_STORE,
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
    keep_float: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of matrix products to leave in float; `none` for none. By default the sensitive."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Quantize an artifact to int8 (ONNX, dynamic activations) and publish it as a new variant."""
    from compression.quantize import QuantizeOptions, quantize

    defaults = QuantizeOptions()
    options = QuantizeOptions(
        per_channel=per_channel,
        reduce_range=defaults.reduce_range if reduce_range is None else reduce_range,
        float_layers=None if not keep_float else tuple(pattern for pattern in keep_float if pattern != "none"),
    )
    manifest = quantize(open_context(store), task, variant, name, options)
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        stored = sum(manifest.size.bytes_by_format.values())
        print_line(
            f"{task}/{name}: {stored / 1e6:.1f} MB, {manifest.size.fp32_bytes / stored:.2f} times smaller than fp32"
        )
