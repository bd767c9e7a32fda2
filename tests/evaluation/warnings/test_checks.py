from slimseq.evaluation.warnings.checks import Generated, output_warnings
from slimseq.evaluation.warnings.kinds import OutputWarning
from slimseq.models_store.manifest import Task
from tests.evaluation.warnings.samples import FOREIGN

PAIR = ("en", "de")


def kinds(task: Task, *parts: Generated, languages: tuple[str, ...] = PAIR) -> list[str]:
    text = " ".join(part.source for part in parts)
    return [warning.kind for warning in output_warnings(task, languages, text, parts)]


def test_a_good_translation_has_no_warning() -> None:
    assert kinds(Task.TRANSLATION, Generated("The dog sleeps.", "Der Hund schläft.")) == []


def test_a_bad_output_has_one_warning_of_each_kind() -> None:
    source = FOREIGN["es"][0] + " 1985."

    bad = Generated(source, "blah " * 300, "length", truncated=True)

    assert kinds(Task.TRANSLATION, bad) == ["language", "length", "repetition", "truncated", "lost"]


def test_a_sentence_is_named_by_its_number() -> None:
    good, empty = Generated("Come in.", "Komm herein."), Generated("Go away.", "")

    found = output_warnings(Task.TRANSLATION, PAIR, "Come in. Go away. Go away.", [good, empty, empty])

    assert found == [OutputWarning("length", "Sentence 2 (1 more): The output is empty.")]


def test_what_was_lost_is_named_once_and_shortened() -> None:
    lost = ("https://example.org/2026/" + "a" * 60, "anna@example.org")
    part = Generated("Write by 2026 to 17 people.", "Schreib Leuten.", lost=lost)

    [warning] = output_warnings(Task.TRANSLATION, PAIR, part.source, [part, part])

    assert warning.kind == "lost"
    assert warning.detail == f"Not in the output: {lost[0][:39]}…; anna@example.org."


def test_numbers_are_compared_only_where_protection_has_not_looked() -> None:
    source, output = "Write to 17 people.", "Schreib Leuten."
    looked, unseen = Generated(source, output, lost=()), Generated(source, output)

    assert output_warnings(Task.TRANSLATION, PAIR, source, [looked]) == []
    assert output_warnings(Task.TRANSLATION, PAIR, source, [unseen]) == [
        OutputWarning("lost", "Not in the output: 17.")
    ]


def test_of_many_lost_numbers_the_first_are_named() -> None:
    source = ", ".join(str(number) for number in range(100, 120))
    output = "Eine ganze Reihe von Zahlen, die hier niemand hingeschrieben hat."

    [warning] = output_warnings(Task.TRANSLATION, PAIR, source, [Generated(source, output)])

    assert warning.detail == "Not in the output: 100; 101; 102; 103; 104 and 15 more."


def test_an_output_that_a_stop_string_ended_may_be_short_and_lack_numbers() -> None:
    source = "The first bridge was built in 1885, the second one much later, when nobody expected it any more."

    assert kinds(Task.TRANSLATION, Generated(source, "Die", "stop")) == []


def test_an_output_at_its_maximum_length_is_not_called_short_too() -> None:
    source = "The first bridge was built long ago, the second one much later, when nobody expected it any more."

    assert kinds(Task.TRANSLATION, Generated(source, "Die", "length")) == ["truncated"]


def test_numbers_are_not_looked_for_where_they_are_counted_otherwise() -> None:
    part = Generated("It cost 3.2 billion.", "花费了32亿。")

    assert kinds(Task.TRANSLATION, part, languages=("en", "zh")) == []


def test_a_model_of_unknown_language_gets_no_warning_about_it() -> None:
    assert kinds(Task.SUMMARIZATION, Generated(FOREIGN["es"][0], "Una panadería."), languages=()) == []


def test_a_summary_with_a_number_of_its_own_is_warned_about() -> None:
    part = Generated("The bridge was closed for repairs.", "Bridge closed until 2031.")

    [warning] = output_warnings(Task.SUMMARIZATION, ("en",), part.source, [part])

    assert warning == OutputWarning("number", "Not in the text: 2031.")
