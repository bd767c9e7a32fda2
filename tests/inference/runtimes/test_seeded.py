"""Sampling with a seed is reproducible, alone and beside others, also where a library has one seed a process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from tests.inference.runtimes.test_ctranslate2 import exported

# It loads embedded models.
pytestmark = pytest.mark.slow

SENTENCES = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples][:4]


@pytest.fixture(scope="module", params=["ctranslate2", "torch"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextGenerator]:
    store = exported(tmp_path_factory.mktemp("artifacts"), Task.TRANSLATION)
    with open_generator(store, Task.TRANSLATION, "original", request.param, threads=1, workers=2) as opened:
        yield opened


def drawing(generator: TextGenerator, seed: int | None) -> GenerationOptions:
    return generator.manifest.generation.options(
        do_sample=True, num_beams=1, temperature=1.5, max_new_tokens=24, seed=seed
    )


def rows_of(generator: TextGenerator) -> list[list[int]]:
    return [generator.encode(text).ids for text in SENTENCES]


def test_a_row_draws_the_same_alone_again_and_in_any_batch(generator: TextGenerator) -> None:
    rows, options = rows_of(generator), drawing(generator, 7)

    together = generator.runtime.generate(rows, options)

    assert generator.runtime.generate(rows[::-1], options) == together[::-1]
    assert [generator.runtime.generate([row], options)[0] for row in rows] == together
    assert generator.runtime.generate(rows, drawing(generator, 8)) != together


def test_a_row_draws_the_same_whether_or_not_its_tokens_are_followed(generator: TextGenerator) -> None:
    rows, options = rows_of(generator), drawing(generator, 7)
    followed: list[int] = []

    streamed = generator.runtime.generate(
        rows, options, GenerationCallbacks(on_token=lambda row, _: followed.append(row))
    )

    assert streamed == generator.runtime.generate(rows, options)
    assert followed


def test_a_row_draws_the_same_while_other_threads_draw(generator: TextGenerator) -> None:
    rows = rows_of(generator)
    expected = [generator.runtime.generate(rows, drawing(generator, seed)) for seed in (7, 8)]

    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(
                lambda seed: generator.runtime.generate(rows, drawing(generator, seed)), [7, None, 8, None, 7, None, 8]
            )
        )

    # Those in between had no seed.
    assert [found[0], found[2], found[4], found[6]] == [*expected, *expected]


def test_draws_without_a_seed_are_new_ones_even_after_draws_with_a_seed(generator: TextGenerator) -> None:
    rows, found = rows_of(generator), []
    for _ in range(2):
        seeded = generator.runtime.generate(rows, drawing(generator, 7))
        found.append(generator.runtime.generate(rows, drawing(generator, None)))

    assert found[0] != found[1]
    assert seeded not in found
