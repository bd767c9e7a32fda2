"""Checks of any source and output: none fails, and none takes longer than the length of the texts explains."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.warnings import Compared, OutputWarning, output_warnings
from slimseq.models_store.manifest import Task
from tests.cpu_time import cpu_seconds

# CPU time, which other tests do not change. A hundred times what the checks take.
SECONDS_A_CHARACTER = 1e-4
SECONDS = 0.25
looked_at = st.sampled_from(
    [*"0179.,' \u00a0\u202f٣aä中ひ\n-", "ha", "the ", "und ", "1.234", "1 234 ", "p.m. ", "3 pm "]
)
runs = st.tuples(looked_at, st.integers(1, 2000)).map(lambda run: run[0] * run[1])
texts = st.text(max_size=200) | st.lists(looked_at, max_size=50).map("".join) | st.lists(runs, max_size=4).map("".join)
reasons: st.SearchStrategy[FinishReason] = st.sampled_from(["eos", "length", "stop"])
languages = st.sampled_from([(), ("en",), ("en", "de"), ("de", "en"), ("zh", "ja"), ("xx", "yy"), ("", "")])


@given(st.sampled_from(Task), languages, texts, texts, reasons, st.booleans())
def test_any_source_and_output_are_checked(
    task: Task, languages: tuple[str, ...], source: str, output: str, reason: FinishReason, truncated: bool
) -> None:
    def check() -> list[OutputWarning]:
        return output_warnings(task, languages, source, [Compared(source, output, reason, truncated, (source[:9],))])

    found, bound = check(), SECONDS + SECONDS_A_CHARACTER * (len(source) + len(output))

    kinds = [warning.kind for warning in found]
    assert len(set(kinds)) == len(kinds) and all(0 < len(warning.detail) < 400 for warning in found)
    assert ("truncated" in kinds) == (truncated or reason == "length")
    assert cpu_seconds(check, below=bound) < bound


@pytest.mark.parametrize(
    "text",
    [
        lambda size: "word " * size,
        lambda size: "1 234 " * size,
        lambda size: "1" * size,
        lambda size: "1.2," * size,
        lambda size: "ha" * size,
        lambda size: "abcdefghij" * size,
        lambda size: "a b " * size,
        lambda size: " ".join(str(number) for number in range(size)),
        lambda size: "中" * size,
    ],
)
@pytest.mark.parametrize("task", Task)
def test_ten_times_the_text_takes_about_ten_times_as_long(task: Task, text: Callable[[int], str]) -> None:
    def seconds(size: int, below: float = 0.0) -> float:
        part = Compared(text(size), text(size + 7)[::-1])
        return cpu_seconds(lambda: output_warnings(task, ("en", "de"), part.source, [part]), below)

    bound = 40 * seconds(2000) + 0.05

    assert seconds(20_000, bound) < bound


def test_numbers_whose_parts_are_apart_in_the_output_take_linear_time() -> None:
    def seconds(size: int, below: float = 0.0) -> float:
        source = "; ".join(f"{number}.{number + 1}" for number in range(10_000, 10_000 + size))
        part = Compared(source, source.replace(".", "; "))
        return cpu_seconds(lambda: output_warnings(Task.TRANSLATION, ("en", "de"), part.source, [part]), below)

    bound = 40 * seconds(300) + 0.05

    assert seconds(3000, bound) < bound
