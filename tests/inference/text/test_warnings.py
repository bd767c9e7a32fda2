"""The warnings about an output: of a translation sentence by sentence, of a summary as a whole."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.runtime import FinishReason
from slimseq.inference.text.warnings import Compared, TextWarning, output_warnings, repetition
from slimseq.models_store.manifest import Task
from tests.cpu_time import cpu_seconds
from tests.inference.text.samples import FOREIGN, tables_of

TABLES = tables_of(__file__)
PAIR = ("en", "de")
# Seconds for which no other thread may run.
MAX_PAUSE = 0.15
SENTENCE = "The parliament will vote on the new law on Thursday, and the government listens to the critics."


def kinds(task: Task, *parts: Compared, languages: tuple[str, ...] = PAIR) -> list[str]:
    text = " ".join(part.source for part in parts)
    return [warning.kind for warning in output_warnings(task, languages, text, parts)]


def test_a_good_translation_has_no_warning() -> None:
    assert kinds(Task.TRANSLATION, Compared("The dog sleeps.", "Der Hund schläft.")) == []


def test_a_bad_output_has_one_warning_of_each_kind() -> None:
    source = FOREIGN["es"][0] + " 1985."

    bad = Compared(source, "blah " * 300, "length", truncated=True)

    assert kinds(Task.TRANSLATION, bad) == ["language", "length", "repetition", "truncated", "unfinished", "lost"]


def test_a_sentence_is_named_by_its_number() -> None:
    good, empty = Compared("Come in.", "Komm herein."), Compared("Go away.", "")

    found = output_warnings(Task.TRANSLATION, PAIR, "Come in. Go away. Go away.", [good, empty, empty])

    assert found == [TextWarning("length", "Sentence 2 (1 more): The output is empty.")]


def test_what_was_lost_is_named_once_and_shortened() -> None:
    lost = ("https://example.org/2026/" + "a" * 60, "anna@example.org")
    part = Compared("Write by 2026 to 17 people.", "Schreib Leuten.", lost=lost)

    [warning] = output_warnings(Task.TRANSLATION, PAIR, part.source, [part, part])

    assert warning.kind == "lost"
    assert warning.detail == f"Not in the output: {lost[0][:39]}…; anna@example.org."


def test_numbers_are_compared_only_where_protection_has_not_looked() -> None:
    source, output = "Write to 17 people.", "Schreib Leuten."
    checked, unchecked = Compared(source, output, lost=()), Compared(source, output, lost=None)

    found_in_checked = output_warnings(Task.TRANSLATION, PAIR, source, [checked])
    found_in_unchecked = output_warnings(Task.TRANSLATION, PAIR, source, [unchecked])

    assert found_in_checked == []
    assert found_in_unchecked == [TextWarning("lost", "Not in the output: 17.")]


def test_of_many_lost_numbers_the_first_are_named() -> None:
    source = ", ".join(str(number) for number in range(101, 121))
    output = "Eine ganze Reihe von Zahlen, die hier niemand hingeschrieben hat."

    [warning] = output_warnings(Task.TRANSLATION, PAIR, source, [Compared(source, output)])

    assert warning.detail == "Not in the output: 101; 102; 103; 104; 105 and 15 more."


def test_an_output_that_a_stop_string_ended_may_be_short_and_lack_numbers() -> None:
    source = "The first bridge was built in 1885, the second one much later, when nobody expected it any more."

    assert kinds(Task.TRANSLATION, Compared(source, "Die", "stop")) == []


def test_an_output_at_its_maximum_length_is_not_called_short_too() -> None:
    source = "The first bridge was built long ago, the second one much later, when nobody expected it any more."

    assert kinds(Task.TRANSLATION, Compared(source, "Die", "length")) == ["truncated", "unfinished"]
    assert kinds(Task.TRANSLATION, Compared(source, "Die.", "length")) == ["truncated"]


def test_numbers_are_not_looked_for_where_they_are_counted_otherwise() -> None:
    part = Compared("It cost 3.2 billion.", "花费了32亿。")

    assert kinds(Task.TRANSLATION, part, languages=("en", "zh")) == []


def test_a_model_of_unknown_language_gets_no_warning_about_it() -> None:
    assert kinds(Task.SUMMARIZATION, Compared(FOREIGN["es"][0], "Una panadería."), languages=()) == []


def test_a_summary_with_a_number_of_its_own_is_warned_about() -> None:
    part = Compared("The bridge was closed for repairs.", "Bridge closed until 2031.")

    [warning] = output_warnings(Task.SUMMARIZATION, ("en",), part.source, [part])

    assert warning == TextWarning("number", "Not in the text: 2031.")


def test_a_summary_with_a_broken_number_and_a_weekday_of_its_own_is_warned_about() -> None:
    part = Compared("The fund paid 1.61 billion euros on Friday.", "The fund paid on Thursday.61 billion euros.")

    assert output_warnings(Task.SUMMARIZATION, ("en",), part.source, [part]) == [
        TextWarning("number", "Not in the text: .61."),
        TextWarning("date", "Not in the text: Thursday."),
    ]


def test_a_summary_that_ends_in_mid_sentence_is_warned_about() -> None:
    part = Compared(
        "It rained. The mayor said that the number that fell was 3.", "It rained. The mayor said that the num"
    )

    assert output_warnings(Task.SUMMARIZATION, ("en",), part.source, [part]) == [
        TextWarning("unfinished", "The output ends in mid-sentence: “said that the num”.")
    ]


def test_a_translation_may_drop_the_full_stop() -> None:
    part = Compared("It rained. It rained on the whole town.", "It rained. It rained on the whole")

    assert kinds(Task.TRANSLATION, part) == []
    assert kinds(Task.SUMMARIZATION, part) == ["unfinished"]


def test_each_part_of_a_document_whose_summary_ends_in_mid_sentence_is_named() -> None:
    first = Compared("It rained. The mayor left the old town on foot.", "The mayor left the", "length")
    second = Compared("It rained. The bank fell to a new low.", "The bank fell.")
    whole = Compared(f"{first.source} {second.source}", f"{first.output} {second.output}", "length")

    found = output_warnings(Task.SUMMARIZATION, ("en",), "", [whole._replace(parts=(first, second, first))])

    assert [each.kind for each in found] == ["truncated", "unfinished"]
    assert found[1].detail == ("The output ends in mid-sentence: “The mayor left the”; “The mayor left the”.")


@pytest.mark.parametrize(
    ("source", "output", "fault"),
    [
        (SENTENCE, "Das Parlament stimmt am Donnerstag über das neue Gesetz ab, und die Regierung hört zu.", None),
        (SENTENCE, "Ja.", f"The output is much shorter than its source: 3 characters for {len(SENTENCE)}."),
        (SENTENCE, "Nein! " * 40, f"The output is much longer than its source: 240 characters for {len(SENTENCE)}."),
        (SENTENCE, "  ", "The output is empty."),
        (SENTENCE, "议会将于周四就新法律进行投票。政府听取批评者的意见。", None),
        ("Computer", "Rechner", None),
        ("DVLA", "Amt", None),
        ("OK", "Einverstanden", None),
        ("***", "", None),
    ],
)
def test_a_translation_is_about_as_long_as_its_source(source: str, output: str, fault: str | None) -> None:
    found = output_warnings(Task.TRANSLATION, PAIR, source, [Compared(source, output)])

    assert next((each.detail for each in found if each.kind == "length"), None) == fault


def test_a_summary_may_be_short_but_neither_empty_nor_longer_than_its_source() -> None:
    assert kinds(Task.SUMMARIZATION, Compared(SENTENCE * 9, "A vote.")) == []
    assert kinds(Task.SUMMARIZATION, Compared(SENTENCE, "")) == ["length"]
    assert kinds(Task.SUMMARIZATION, Compared("A vote.", SENTENCE.replace("on Thursday", "soon"))) == ["length"]


@pytest.mark.parametrize(("pair", "source", "output", "changed"), TABLES["what_belongs_to_a_number"])
def test_what_belongs_to_a_number_is_read_in_its_language(pair: str, source: str, output: str, changed: str) -> None:
    found = output_warnings(Task.TRANSLATION, pair.split("-"), source, [Compared(source, output)])

    expected = f"Not in the output: {changed}." if changed else ""
    assert "".join(each.detail for each in found) == expected


@pytest.mark.parametrize(("source", "found"), TABLES["an_output_that_repeats_its_source_is_not_translated"])
def test_an_output_that_repeats_its_source_is_not_translated(source: str, found: list[str]) -> None:
    assert kinds(Task.TRANSLATION, Compared(source, source)) == found


def test_most_wrong_units_names_decades_percentages_and_repetitions_are_found() -> None:
    lines = (Path(__file__).parent / "wrong_translations.txt").read_text(encoding="utf-8").splitlines()

    pairs = [Compared(source, output) for source, output in (line.split("|") for line in lines)]
    found = [pair for pair in pairs if kinds(Task.TRANSLATION, pair)]

    assert len(lines) == 90
    assert len(found) >= 70


# What the checks look at.
looked_at = st.sampled_from(
    [*"0179.,' \u00a0\u202f٣aä中ひ\n-", "ha", "the ", "und ", "1.234", "1 234 ", "p.m. ", "3 pm "]
)
# One of these, many times.
runs = st.builds(lambda text, times: text * times, looked_at, st.integers(1, 2000))
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
    assert len(set(kinds)) == len(kinds)
    assert all(0 < len(warning.detail) < 400 for warning in found)
    assert ("truncated" in kinds) == (truncated or reason == "length")


def test_numbers_whose_parts_are_apart_in_the_output_take_linear_time() -> None:
    def seconds(size: int, below: float = 0.0) -> float:
        source = "; ".join(f"{number}.{number + 1}" for number in range(10_000, 10_000 + size))
        part = Compared(source, source.replace(".", "; "))
        return cpu_seconds(lambda: output_warnings(Task.TRANSLATION, ("en", "de"), part.source, [part]), below)

    # Ten times as many numbers take ten times as long, and a quadratic comparison 100 times.
    bound = 40 * seconds(300) + 0.05

    assert seconds(3000, bound) < bound


@pytest.mark.parametrize(("output", "found"), TABLES["a_loop_is_found_with_its_length"])
def test_a_loop_is_found_with_its_length(output: str, found: list[str | int]) -> None:
    assert repetition("The dog is sleeping.", output) == tuple(found)


@pytest.mark.parametrize("output", TABLES["what_people_write_is_no_loop"])
def test_what_people_write_is_no_loop(output: str) -> None:
    assert repetition("", output) is None


def test_what_the_source_repeats_the_output_may_repeat() -> None:
    source, output = "no no no no no no", "nein nein nein nein nein nein"

    assert repetition(source, output) is None
    assert repetition("no no no no", output) == ("nein", 6)


def test_a_long_source_leaves_time_to_other_threads() -> None:
    source, output = "the children garden " * 50_000, "ja ja ja ja ja"

    # The best of three: other programs need the machine too.
    assert min(longest_pause(lambda: repetition(source, output)) for _ in range(3)) < MAX_PAUSE


def longest_pause(work: Callable[[], object]) -> float:
    """Returns the longest CPU time of some work, in seconds, in which a second thread did not run beside it."""
    is_done, ended = threading.Event(), threading.Event()

    def run() -> None:
        work()
        is_done.set()
        # The clock of a thread is gone with it.
        ended.wait()

    thread = threading.Thread(target=run)
    thread.start()
    assert thread.ident
    clock = time.pthread_getcpuclockid(thread.ident)
    longest, before = 0.0, 0.0
    while not is_done.is_set():
        time.sleep(0.001)
        now = time.clock_gettime(clock)
        longest, before = max(longest, now - before), now
    ended.set()
    thread.join()
    return longest


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Это хорошая книга.", ["untranslated"]), ("我喜欢这本书。", ["untranslated"]), ("12,5 % 😀😀", []), ("5 µm", [])],
)
def test_a_text_in_a_script_that_the_model_cannot_write_is_untranslated(text: str, expected: list[str]) -> None:
    found = output_warnings(Task.TRANSLATION, PAIR, text, [])

    assert [each.kind for each in found] == expected
