"""Any text is split and put together again: no line break is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from slimseq.inference.text.sentences import _BREAKS, split_sentences

LANGUAGES = st.sampled_from(["en", "de", "ja", "xx"])
# Long runs of what a splitter of sentences looks at.
looked_at = st.sampled_from([*".?!…。\"'()[]- \t", *_BREAKS, "e.g. ", "a", "A. ", "3.", "ß"])
runs = st.tuples(looked_at, st.integers(1, 1000)).map(lambda run: run[0] * run[1])


def breaks(text: str) -> list[str]:
    return [character for character in text if character in _BREAKS]


@given(text=st.text() | st.lists(runs, max_size=6).map("".join), language=LANGUAGES)
@settings(max_examples=200)
def test_any_text_keeps_its_line_breaks(text: str, language: str) -> None:
    segmented = split_sentences(text, language)
    parts = [segment.text for segment in segmented.segments]

    assert breaks(segmented.join(parts)) == breaks(text)
    assert "".join(segmented.join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)
