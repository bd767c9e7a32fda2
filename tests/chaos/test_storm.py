"""The short form of `make chaos`: some hundred requests, the attacks that take no time, and all disturbances."""

from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.chaos.__main__ import limited_target, print_table, say
from tests.chaos.attacks import SHORT_ATTACKS
from tests.chaos.storm import Storm, weather

REQUESTS = 400
# Fixed, so that a failure can be seen again. `make chaos` draws one.
SEED = 1
# Mean time between two of the most frequent disturbances: shorter than that of `make chaos`, as the storm is.
PAUSE_SECONDS = 1.0


@pytest.mark.timeout(900)
def test_good_requests_are_answered_as_ever_and_nothing_leaks_whatever_happens(embedded: Store, tmp_path: Path) -> None:
    storm = Storm(REQUESTS, SEED, SHORT_ATTACKS, PAUSE_SECONDS, stall_seconds=None)
    with limited_target(tmp_path) as target:
        rows = weather(target, storm, say)

    print_table(rows)
    assert [row for row in rows if not row.is_right] == []
