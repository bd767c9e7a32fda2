"""Checks of any source and output: none fails."""

from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.warnings import Compared, output_warnings
from slimseq.models_store.manifest import Task
from tests.cpu_time import cpu_seconds

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
    part = Compared(source, output, reason, truncated, (source[:9],))

    found = output_warnings(task, languages, source, [part])

    kinds = [warning.kind for warning in found]
    assert len(set(kinds)) == len(kinds) and all(0 < len(warning.detail) < 400 for warning in found)
    assert ("truncated" in kinds) == (truncated or reason == "length")


def test_numbers_whose_parts_are_apart_in_the_output_take_linear_time() -> None:
    def seconds(size: int, below: float = 0.0) -> float:
        source = "; ".join(f"{number}.{number + 1}" for number in range(10_000, 10_000 + size))
        part = Compared(source, source.replace(".", "; "))
        return cpu_seconds(lambda: output_warnings(Task.TRANSLATION, ("en", "de"), part.source, [part]), below)

    bound = 40 * seconds(300) + 0.05

    assert seconds(3000, bound) < bound
