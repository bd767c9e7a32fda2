"""Models of hubs' shapes with random weights: what they take to compress and to serve is what the real ones take."""

from pathlib import Path

from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Step, Task
from slimseq.models_store.store import Store

# Family, width, layers of each stack, heads, width of the feed-forward, tokens, and BART's positions.
SHAPES = {
    "google-t5/t5-small": ("t5", 512, 6, 8, 2048, 32128, 512),
    "facebook/bart-base": ("bart", 768, 6, 12, 3072, 50265, 1024),
    "tiny-t5": ("t5", 64, 2, 8, 64, 384, 64),
    "tiny-bart": ("bart", 48, 2, 12, 64, 384, 64),
}
HUB_SHAPES = ("google-t5/t5-small", "facebook/bart-base")
# Few, for the sentences are few: what a step costs is set by the model's rows. Bytes alone take 256 of them.
TOKENS = 280
SENTENCES = ("The cat sleeps on the warm stone.", "We walked along the river.", "It rained all night.")


def publish_random(shape: str, folder: Path, generation: GenerationDefaults | None = None) -> Store:
    """Publishes a model with random weights as `translation/original`.

    Args:
        shape: one of `SHAPES`.
        folder: gets the store, and the tokenizer that the model was published with.
        generation: its defaults; short texts if absent.

    Returns:
        The store.
    """
    from slimseq.compression.artifacts.publish import Identity, publish_model
    from slimseq.compression.train.scratch import NewModelOptions, make_model
    from slimseq.compression.train.tokenizer_maker import make_tokenizer

    family, width, layers, heads, feed_forward, vocabulary, positions = SHAPES[shape]
    architecture = NewModelOptions(family, width, layers, layers, heads, feed_forward, positions)
    make_tokenizer(family, SENTENCES * 20, TOKENS, folder / "tokenizer", max_tokens=512, sentinels=4)
    identity = Identity(
        task=Task.TRANSLATION,
        variant="original",
        family=family,
        languages=["en", "de"],
        license="Apache-2.0",
        training_data="none",
        description="Random weights.",
        generation=generation or GenerationDefaults(max_input_tokens=64, max_new_tokens=32),
        lineage=[Step(technique="import")],
    )
    store = Store(folder / "store")
    publish_model(store, make_model(architecture, vocabulary, seed=0), folder / "tokenizer", identity)
    return store
