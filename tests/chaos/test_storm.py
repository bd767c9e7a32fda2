"""The short form of `make chaos`: some hundred requests, the attacks that take no time, and all disturbances."""

from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.chaos.__main__ import limited_target, print_table, say
from tests.chaos.attack_connections import a_header_without_end, bodies_without_end
from tests.chaos.attack_generation import a_variant_named_twice, options_that_mean_nothing
from tests.chaos.attack_memory import bodies_of_too_many_values
from tests.chaos.attack_store import manifests_that_lie
from tests.chaos.storm import Storm, weather

REQUESTS = 400
# Fixed, so that a failure can be seen again. `make chaos` draws one.
SEED = 1
PAUSE_SECONDS = 1.0
ATTACKS = (
    options_that_mean_nothing,
    a_variant_named_twice,
    bodies_of_too_many_values,
    manifests_that_lie,
    bodies_without_end,
    a_header_without_end,
)


@pytest.mark.timeout(900)
def test_good_requests_are_answered_as_ever_and_nothing_leaks_whatever_happens(embedded: Store, tmp_path: Path) -> None:
    storm = Storm(REQUESTS, SEED, ATTACKS, PAUSE_SECONDS, stall_seconds=None)
    with limited_target(tmp_path) as target:
        rows = weather(target, storm, say)

    print_table(rows)
    assert [row for row in rows if not row.is_right] == []
