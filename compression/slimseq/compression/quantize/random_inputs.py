"""What values of a graph are where a model runs on random ids: no data is needed to know how large they are.

Half of the texts have ids as they come; in the other half small ids are likelier, which in most vocabularies are the
frequent tokens. Around them stands what the tokenizer puts there: of such tokens states are far larger than of others.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from slimseq.compression.quantize.embedding import Floats
from slimseq.compression.quantize.groups import inputs_of
from slimseq.compression.quantize.sensitivity import open_session
from slimseq.compression.quantize.teacher_forcing import Batch, cross_feeds, encoder_feeds, whole_steps
from slimseq.inference.decoding.scores import Ids
from slimseq.inference.graphs.names import ENCODER
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer

SEED = 0
TEXTS = 8
TOKENS = 64
MOST_SPECIALS = 16


def random_batch(source: Path) -> Batch:
    """Returns texts and targets of random ids.

    Args:
        source: the model's folder, with its tokenizer.
    """
    configuration = read_configuration(source)
    tokens = min(TOKENS, configuration.max_positions or TOKENS)
    random = np.random.default_rng(SEED)
    sources, targets = (_random_ids(random, tokens, configuration.vocabulary) for _ in range(2))
    before, behind = _specials(Tokenizer(source))
    sources[:, : len(before)] = before
    sources[:, tokens - len(behind) :] = behind
    targets[:, 0] = configuration.decoder_start_id
    everywhere = np.ones_like(sources)
    return Batch(sources, everywhere, targets, everywhere.astype(np.bool_))


@dataclass(frozen=True)
class Reading:
    """A graph of an exported model, and what it reads.

    Args:
        exported: the folder of the fp32 graphs.
        graph: the name of one of them.
        batch: ids, random ones or any others.
    """

    exported: Path
    graph: str
    batch: Batch

    @property
    def path(self) -> Path:
        """The graph's file."""
        return self.exported / self.graph

    def inputs_of(self, products: Collection[str]) -> dict[str, Floats]:
        """Runs the model; returns what products read, as `values` does."""
        return self.values(inputs_of(self.path, products)) if products else {}

    def values(self, names: Collection[str]) -> dict[str, Floats]:
        """Runs the model; returns some of the graph's values by name, of all tokens: `(..., channels)`, float32."""
        if not names:
            return {}
        model = onnx.load(self.path, load_external_data=False)
        wanted = sorted(names)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        # Beside the weights, which it reads from their file.
        path = self.exported / f"values.{self.graph}"
        onnx.save(model, str(path))
        try:
            session = open_session(path)
            if self.graph == ENCODER:
                return dict(zip(wanted, session.run(wanted, encoder_feeds(self.batch)), strict=True))
            cross = cross_feeds(open_session(self.exported / ENCODER), self.batch)
            runs = [outputs for _, outputs in whole_steps(session, self.batch, cross)]
            return {name: np.stack([outputs[name] for outputs in runs]) for name in wanted}
        finally:
            path.unlink()


def _random_ids(random: np.random.Generator, tokens: int, vocabulary: int) -> Ids:
    """Returns ids, `(texts, tokens)`; of every other text their logarithms are uniform."""
    ids = random.integers(0, vocabulary, (TEXTS, tokens))
    ids[1::2] = np.exp(random.uniform(0, np.log(vocabulary), ids[1::2].shape)).astype(np.int64)
    return ids


def _specials(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Returns the ids that stand before and behind every text."""
    empty, other = (tokenizer.encode(text, MOST_SPECIALS).ids for text in ("", "a"))
    before = next((place for place, pair in enumerate(zip(empty, other, strict=False)) if pair[0] != pair[1]), 0)
    return empty[:before], empty[before:]
