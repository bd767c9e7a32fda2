"""All attacks, in the order in which they are made."""

from collections.abc import Callable, Iterator

from tests.chaos.attack_connections import a_header_without_end, bodies_without_end, silent_connections
from tests.chaos.attack_generation import (
    a_million_characters,
    a_queue_full_of_long_texts,
    a_variant_named_twice,
    documents_without_end,
    options_that_mean_nothing,
    sampling_at_the_edge_of_numbers,
)
from tests.chaos.attack_memory import (
    a_pair_of_very_many_words,
    an_evaluation_that_is_cancelled,
    bodies_of_too_many_values,
    evaluations_posted_and_deleted,
    long_texts_for_a_while,
    unloads_at_once,
)
from tests.chaos.attack_store import manifests_that_lie
from tests.chaos.target import Target

Attack = Callable[[Target], Iterator[str]]

ATTACKS: tuple[Attack, ...] = (
    sampling_at_the_edge_of_numbers,
    options_that_mean_nothing,
    a_variant_named_twice,
    a_million_characters,
    documents_without_end,
    a_queue_full_of_long_texts,
    bodies_of_too_many_values,
    a_pair_of_very_many_words,
    an_evaluation_that_is_cancelled,
    evaluations_posted_and_deleted,
    unloads_at_once,
    manifests_that_lie,
    bodies_without_end,
    a_header_without_end,
    silent_connections,
    long_texts_for_a_while,
)
