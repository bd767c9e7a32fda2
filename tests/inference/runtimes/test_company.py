"""A text gets the same output alone and beside longer and shorter ones, to the last bit where a runtime gives scores.

`CT2_USE_MKL=0 python -m tests.inference.runtimes.test_company 2000` shows it for more fragments, and for CTranslate2
with the library that it takes on CPUs of other makers than Intel: there, padding changed 2 of 700 texts.
"""

import random
import sys

import pytest

from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import GeneratedSequence
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

BATCH = 16
SHARE_OF_RANDOM_CHARACTERS = 0.25
# How many texts each runtime gets. PyTorch runs rows one by one, and each takes as long as ten of the others.
CASES = {
    ("compact", "ctranslate2"): 300,
    ("quantized", "onnxruntime"): 60,
    ("original", "onnxruntime"): 30,
    ("original", "torch"): 4,
}


def fragments(count: int) -> list[str]:
    """Returns parts of sentences with 1 to 30 words, and random characters: near ties are frequent on these."""
    draw = random.Random(7)
    words = " ".join(example.source for example in load_examples(Task.SUMMARIZATION, "sample").examples).split()
    # A dictionary, which keeps the order, and has each text once.
    found: dict[str, None] = {}
    while len(found) < count:
        length = draw.choice((1, 2, 3, 4, 6, 9, 14, 30))
        start = draw.randrange(len(words))
        characters = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz ,.-?!0123456789", k=length))
        is_random = draw.random() < SHARE_OF_RANDOM_CHARACTERS
        text = characters if is_random else " ".join(words[start : start + length])
        found[text] = None
    return list(found)


def changed_by_company(generator: TextGenerator, count: int) -> list[str]:
    """Returns the texts whose outputs differ between a row alone and the same row in a batch."""
    options = generator.manifest.generation.options(max_new_tokens=24)
    texts = fragments(count)
    rows = [generator.encode(text).ids for text in texts]
    alone = [generator.runtime.generate([row], options)[0] for row in rows]
    together: list[GeneratedSequence] = []
    for start in range(0, len(rows), BATCH):
        together += generator.runtime.generate(rows[start : start + BATCH], options)
    # With int8 graphs of ONNX Runtime, the last bits of scores may depend on the batch.
    compares_scores = generator.runtime.name == "ctranslate2"
    changed = []
    for text, one, other in zip(texts, alone, together, strict=True):
        has_other_score = compares_scores and one.mean_log_probability != other.mean_log_probability
        if one != other or has_other_score:
            changed.append(text)
    return changed


@pytest.mark.parametrize(("variant", "runtime"), list(CASES))
def test_company_changes_no_text(embedded: Store, variant: str, runtime: str) -> None:
    with open_generator(embedded, Task.TRANSLATION, variant, runtime, threads=1) as generator:
        assert changed_by_company(generator, CASES[variant, runtime]) == []


if __name__ == "__main__":
    for each in CASES:
        with open_generator(Store(embedded_store()), Task.TRANSLATION, *each, threads=1) as opened:
            sys.stdout.write(f"{each}: {changed_by_company(opened, int(sys.argv[1]))}\n")
            sys.stdout.flush()
