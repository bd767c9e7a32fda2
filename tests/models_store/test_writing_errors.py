from pathlib import Path

import pytest

from slimseq.models_store.errors import CannotWrite, InvalidArtifact
from slimseq.models_store.files import writing_to


def test_a_library_that_has_its_own_exceptions_is_understood() -> None:
    with pytest.raises(CannotWrite, match=r"No space left on device$"), writing_to(Path("the place")):
        raise RuntimeError("I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    "error", [ValueError("no number"), InvalidArtifact("File too large"), FileNotFoundError(2, "x")]
)
def test_every_other_error_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), writing_to(Path("the place")):
        raise error
