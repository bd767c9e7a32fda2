"""A server of the Model Context Protocol. Assistants use a running service through it.

`python -m slimseq.client.mcp_server` talks to the assistant over standard input and output, and to the service over
HTTP. It needs the extra `mcp`.
"""

import argparse
import functools
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, ParamSpec, Self, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from slimseq.answers import Generation, OutputWarning
from slimseq.client.client import AsyncClient
from slimseq.client.errors import ClientError
from slimseq.client.request_options import Format, Options, Task
from slimseq.client.sending import URL

P = ParamSpec("P")
T = TypeVar("T")

INSTRUCTIONS = (
    "Summarizes and translates texts with small models on the user's own machine. Variants of a model differ in size, "
    "speed and quality: list_variants tells what they keep of the original's quality. Without a variant, the default "
    "of the languages answers. If an output has warnings, tell the user what they say."
)
# An assistant may call these tools without asking its user.
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
Language = Annotated[
    str | None,
    Field(description="Code of a language, such as `de`. None: that of the variant, or of the service's default pair."),
]
VariantName = Annotated[str | None, Field(description="Name of a variant. None: the default.")]
ComparedNames = Annotated[list[str], Field(description="Names of 2 to 8 variants.", min_length=2, max_length=8)]
TextFormat = Annotated[
    Format, Field(description="Format of the text. Translations keep the structure; summaries are plain text.")
]
Protect = Annotated[
    bool,
    Field(
        description="Whether numbers, amounts, dates, times, URLs, addresses, phone numbers, code and tags come out as "
        "they went in, or as the target language writes them."
    ),
]


class GeneratedText(BaseModel):
    text: str
    warnings: list[OutputWarning] = Field(description="Empty where nothing was found.")
    repaired: list[str] = Field(
        description="Kinds of warnings that the first output had. This one is the second. Empty: there was no second."
    )
    confidence: float | None = Field(
        description="Expected quality of a translation between 0 and 1: chrF / 100. Not the probability that the "
        "output is right. None: not known, as of summaries."
    )

    @classmethod
    def of(cls, answer: Generation) -> Self:
        (output,) = answer.outputs
        warnings, repaired = output.warnings or [], output.repaired or []
        return cls(text=output.text, warnings=warnings, repaired=repaired, confidence=output.confidence)


class VariantOverview(BaseModel):
    """A variant, and the share of its original's quality that the variant keeps. None: not measured."""

    task: str
    variant: str
    is_default: bool = Field(description="Whether it answers requests of its languages that name no variant.")
    languages: list[str] = Field(description="Codes. Of a translation: the source, then the target.")
    bytes: int | None
    retention: float | None


def make_server(client: AsyncClient) -> MCPServer:
    """Returns the server, whose tools call the service with a client."""
    server = MCPServer("Slimseq", instructions=INSTRUCTIONS, version=_version())

    def tool(function: Callable[P, Awaitable[T]]) -> None:
        """Adds a tool to the server. The assistant gets a `ClientError` as the error of the tool."""

        @functools.wraps(function)
        async def called(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return await function(*args, **kwargs)
            except ClientError as error:
                raise ToolError(str(error)) from error

        server.add_tool(called, annotations=READS)

    @tool
    async def translate(
        text: str,
        variant: VariantName = None,
        format: TextFormat = "text",
        protect: Protect = True,
        source: Language = None,
        target: Language = None,
    ) -> GeneratedText:
        """Translate a text. list_variants tells the languages; a target selects the default variant of its pair."""
        # An assistant would not see that a sentence was truncated.
        options = Options(on_overflow="error", format=format, protect=protect)
        if source is not None:
            options["source"] = source
        if target is not None:
            options["target"] = target
        return GeneratedText.of(await client.translate(text, variant=variant, **options))

    @tool
    async def summarize(text: str, variant: VariantName = None, format: TextFormat = "text") -> GeneratedText:
        """Summarize a text of any length."""
        options = Options(long_input="map_reduce", format=format)
        return GeneratedText.of(await client.summarize(text, variant=variant, **options))

    @tool
    async def compare(
        task: Task, variants: ComparedNames, text: str, format: TextFormat = "text", protect: Protect = True
    ) -> dict[str, GeneratedText | dict[str, str]]:
        """Generate from the same text with 2 to 8 variants. Returns the output, or the error, of each."""
        options = Options(format=format, protect=protect) if task == "translation" else Options(format=format)
        comparison = await client.compare(task, variants, text, **options)
        return {
            each.variant: GeneratedText.of(each) if isinstance(each, Generation) else {"error": each.error.detail}
            for each in comparison.results
        }

    @tool
    async def list_variants() -> list[VariantOverview]:
        """List the variants of the models, with languages, size and quality."""
        measured, variants = await client.quality(), await client.variants()
        kept = {(each.task, each.variant): each.retention.value for each in measured if each.retention}
        return [
            VariantOverview.model_validate(
                {**dict(each), "is_default": each.default, "retention": kept.get((each.task, each.variant))}
            )
            for each in variants
            if each.status != "broken"
        ]

    return server


def _version() -> str:
    """Returns the version of the installed distribution: of the whole project, or of the client alone.

    A folder `slimseq` in the current folder, such as a checkout, can be imported from without being installed.
    """
    try:
        return version("slimseq")
    except PackageNotFoundError:
        return version("slimseq-client")


def main() -> None:
    """Serves the assistant that started the process, until it closes standard input."""
    parser = argparse.ArgumentParser(prog="python -m slimseq.client.mcp_server", description=INSTRUCTIONS)
    parser.add_argument("--url", default=URL, help="URL of the service (%(default)s)")
    # A file and not the key itself: other users of the machine see the arguments of processes.
    parser.add_argument("--token-file", type=Path, help="file with the key, of a service that asks for one")
    options = parser.parse_args()
    try:
        token = options.token_file.read_text(encoding="utf-8", errors="replace").strip() if options.token_file else None
    except OSError as error:
        parser.error(f"--token-file cannot be read: {error}")
    if token is not None and not (token.isascii() and token.isprintable() and token):
        parser.error(f"--token-file: {options.token_file} has no key")
    make_server(AsyncClient(options.url, token=token)).run()


if __name__ == "__main__":
    main()
