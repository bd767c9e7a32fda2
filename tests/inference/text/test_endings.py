"""An output that ends in mid-sentence is found, with its last words. A whole one is not."""

import pytest

from slimseq.inference.text.endings import unfinished_end
from tests.inference.text.samples import tables_of

TABLES = tables_of(__file__)


@pytest.mark.parametrize(("source", "summary", "end"), TABLES["a_summary_that_breaks_off_is_unfinished"])
def test_a_summary_that_breaks_off_is_unfinished(source: str, summary: str, end: str) -> None:
    assert unfinished_end(source, summary, "eos") == end


@pytest.mark.parametrize(("source", "summary"), TABLES["a_whole_summary_is_finished"])
def test_a_whole_summary_is_finished(source: str, summary: str) -> None:
    assert unfinished_end(source, summary, "eos") is None


@pytest.mark.parametrize(
    ("output", "end"), TABLES["what_ended_at_its_limit_is_unfinished_unless_a_sentence_ends_there"]
)
def test_what_ended_at_its_limit_is_unfinished_unless_a_sentence_ends_there(output: str, end: str | None) -> None:
    assert unfinished_end("It is so.", output, "length") == end


def test_a_stop_string_may_end_a_summary_in_mid_sentence() -> None:
    source, output = "It rained. The bank fell to a provisional 609 lire.", "It rained. The bank fell to a provisional"

    assert unfinished_end(source, output, "stop") is None
