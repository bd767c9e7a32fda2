from slimseq.app.serving.documents.long_input.salience import selecting
from slimseq.app.serving.documents.planner import finished

BRIDGE = ["bridge", "river", "council"]


def test_what_the_text_is_about_is_taken_before_asides() -> None:
    words = [BRIDGE, ["weather"], ["bridge", "river"], ["lunch"], ["council", "bridge"]]

    assert finished(selecting(words, [10] * 5, 30)) == [0, 2, 4]


def test_of_equal_sentences_the_first_are_taken() -> None:
    assert finished(selecting([BRIDGE] * 6, [10] * 6, 35)) == [0, 1, 2]


def test_a_sentence_that_does_not_fit_leaves_room_for_a_shorter_one() -> None:
    assert finished(selecting([BRIDGE, BRIDGE, ["weather"]], [20, 50, 10], 30)) == [0, 2]


def test_sentences_without_words_are_taken_from_the_beginning() -> None:
    assert finished(selecting([[], [], []], [10, 10, 10], 20)) == [0, 1]
