"""`writing_to` turns errors of the disk into `CannotWrite`, and leaves all other errors as they are."""

from pathlib import Path

import pytest

from slimseq.models_store.errors import CannotWrite, InvalidArtifact
from slimseq.models_store.files import writing_to


def test_a_full_disk_is_recognized_in_the_message_of_a_library_with_its_own_exceptions() -> None:
    # safetensors, written in Rust, raises an error with this message.
    with pytest.raises(CannotWrite, match=r"No space left on device$"), writing_to(Path("the place")):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("no number"), id="an error that the disk has no part in"),
        pytest.param(InvalidArtifact("File too large"), id="an error of Slimseq with the words of a disk error"),
        pytest.param(FileNotFoundError(2, "x"), id="an error of reading"),
    ],
)
def test_an_error_that_is_not_of_writing_keeps_its_type(error: Exception) -> None:
    with pytest.raises(type(error)), writing_to(Path("the place")):
        raise error
