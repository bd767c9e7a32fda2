"""The MCP server of the client: an assistant translates, compares and reads errors through its tools."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from slimseq.app.http.keys import KeyLimits, Scope, add_key
from slimseq.models_store.places import embedded_store
from tests.service.client import Service
from tests.service.conftest import free_port, running_service

SENTENCE = "The children are playing in the garden."
# The quantized translator repeats itself in its first output of this text.
LOOPING = "No, no, no, no, no, you must not go there, no, no, no."


def with_server(port: int, use: Callable[[Client], Awaitable[None]], *more: str) -> None:
    """Runs the server as an assistant starts it, and uses it."""

    async def run() -> None:
        arguments = ["-m", "slimseq.client.mcp_server", "--url", f"http://127.0.0.1:{port}", *more]
        async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=environment())) as client:
            await use(client)

    asyncio.run(run())


def environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}


def result(called: Any) -> Any:
    """Returns what a tool returned. Fails where it returned an error."""
    assert not called.is_error, called.content
    return called.structured_content.get("result", called.structured_content)


def test_an_assistant_uses_the_service_and_reads_what_its_tools_take_and_return(service: Service) -> None:
    async def use(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        translated = result(await client.call_tool("translate", {"text": SENTENCE, "variant": "original"}))
        arguments = {"task": "translation", "variants": ["original", "quantized"], "text": SENTENCE}
        compared = result(await client.call_tool("compare", arguments))
        summary = result(await client.call_tool("summarize", {"text": f"{SENTENCE} {SENTENCE}"}))
        variants = result(await client.call_tool("list_variants", {}))

        assert set(tools) == {"translate", "summarize", "compare", "list_variants"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        listed, output = tools["list_variants"].output_schema, tools["translate"].output_schema
        taken = tools["compare"].input_schema["properties"]["variants"]
        assert listed
        assert "source, then" in listed["$defs"]["VariantOverview"]["properties"]["languages"]["description"]
        assert output
        assert output["required"] == ["text", "warnings", "repaired", "confidence"]
        assert (taken["minItems"], taken["maxItems"]) == (2, 8)
        [own] = service.post("/translate?variant=original", {"text": SENTENCE}).json["outputs"]
        same = {"text": own["text"], "warnings": [], "repaired": [], "confidence": own.get("confidence")}
        assert translated == same
        assert translated == compared["original"]
        assert 0 < translated["confidence"] < 1
        assert compared["quantized"]["text"]
        assert summary["text"]
        (default,) = [each for each in variants if each["task"] == "translation" and each["is_default"]]
        assert default["variant"] == "quantized"
        assert default["languages"] == ["en", "de"]
        assert default["retention"] > 0.5

    with_server(service.port, use)


def test_an_assistant_chooses_the_language_and_is_told_which_pairs_there_are(log: Path) -> None:
    async def use(client: Client) -> None:
        german = result(await client.call_tool("translate", {"text": SENTENCE, "target": "de"}))
        unnamed = result(await client.call_tool("translate", {"text": SENTENCE}))
        french = await client.call_tool("translate", {"text": SENTENCE, "source": "en", "target": "fr"})
        variants = result(await client.call_tool("list_variants", {}))

        assert "Kinder" in german["text"]
        assert "crianças" in unnamed["text"]
        assert french.is_error
        assert "there is en to pt, en to de" in str(french.content)
        defaults = {each["variant"]: each["languages"][-1] for each in variants if each["is_default"]}
        assert defaults == {"quantized": "de", "portuguese-quantized": "pt"}

    with running_service(log, store=embedded_store()) as service:
        with_server(service.port, use)


def test_an_assistant_reads_warnings_and_translates_documents_with_their_facts(service: Service) -> None:
    german = "Die Kinder spielen heute im Garten, weil die Sonne scheint und die Schule geschlossen ist."
    page = '<p>The <b>red</b> house is <a href="https://example.com/a">open</a>.</p>'
    bill = "The bill of $1,299.99 must be paid by billing@example.com."

    async def use(client: Client) -> None:
        compared = result(
            await client.call_tool(
                "compare", {"task": "translation", "variants": ["original", "compact"], "text": german}
            )
        )
        arguments = {"text": page, "variant": "original", "format": "html"}
        translated = result(await client.call_tool("translate", arguments))["text"]
        arguments = {"text": bill, "variant": "original"}
        protected = result(await client.call_tool("translate", arguments))["text"]
        free = result(await client.call_tool("translate", {**arguments, "protect": False}))["text"]
        summary = result(await client.call_tool("summarize", {"text": page, "format": "html"}))["text"]

        for each in compared.values():
            [warning] = [each for each in each["warnings"] if each["kind"] == "language"]
            assert "seems to be in German" in warning["detail"]
        assert all(part in translated for part in ("<p>", "<b>", '<a href="https://example.com/a">', "</a>"))
        assert "1.299,99" in protected
        assert "billing@example.com" in protected
        [own] = service.post("/translate?variant=original", {"text": bill, "protect": False}).json["outputs"]
        assert free == own["text"] != protected
        assert summary
        assert "<" not in summary

    with_server(service.port, use)


def test_an_assistant_reads_that_an_output_was_generated_once_more(service: Service) -> None:
    async def use(client: Client) -> None:
        translated = result(await client.call_tool("translate", {"text": LOOPING, "variant": "quantized"}))
        assert translated["repaired"] == ["repetition"]
        assert translated["warnings"] == []

    with_server(service.port, use)


def test_an_assistant_reads_why_a_call_failed(service: Service) -> None:
    async def refused(client: Client) -> None:
        called = await client.call_tool("translate", {"text": SENTENCE, "variant": "nope"})
        long = await client.call_tool("translate", {"text": "word " * 2000})
        assert called.is_error
        assert "it has original" in str(called.content)
        assert long.is_error
        assert "tokens" in str(long.content)

    async def unreachable(client: Client) -> None:
        called = await client.call_tool("list_variants", {})
        assert called.is_error
        assert "/quality" in str(called.content)

    with_server(service.port, refused)
    with_server(free_port(), unreachable)


def test_an_assistant_uses_a_service_that_asks_for_keys(tmp_path: Path) -> None:
    keys, file = tmp_path / "keys.json", tmp_path / "key"
    file.write_text(add_key(keys, "assistant", (Scope.GENERATE,), KeyLimits(), None)[1] + "\n")

    async def allowed(client: Client) -> None:
        assert result(await client.call_tool("translate", {"text": SENTENCE}))["text"]

    async def refused(client: Client) -> None:
        called = await client.call_tool("translate", {"text": SENTENCE})
        assert called.is_error
        assert "send a valid key" in str(called.content)

    with running_service(tmp_path / "log", keys_file=keys) as service:
        with_server(service.port, allowed, "--token-file", str(file))
        with_server(service.port, refused)


@pytest.mark.parametrize("content", [None, b"\n", b"two\nlines", b"\xff"])
def test_a_file_without_a_key_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    command = [sys.executable, "-m", "slimseq.client.mcp_server", "--token-file", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), stdin=subprocess.DEVNULL)

    assert ended.returncode == 2
    assert "error: --token-file" in ended.stderr
    assert str(file) in ended.stderr
