"""What the commands that compare outputs have in common: a store to export into, generation, arguments."""

import argparse
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slimseq.evaluation.examples import Example
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.formats import DERIVED_FORMATS
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store

BATCH = 16


@contextmanager
def copied(store: Store, task: Task, variant: str) -> Iterator[Store]:
    """Yields a store of its own with one variant in it, without what was derived from that."""
    with tempfile.TemporaryDirectory(prefix="slimseq-agreement-") as folder:
        scratch = Store(Path(folder))
        source = store.folder(task, variant)
        shutil.copytree(source, scratch.folder(task, variant), ignore=shutil.ignore_patterns(*DERIVED_FORMATS))
        yield scratch


def outputs(generator: TextGenerator, examples: Sequence[Example], beams: int) -> list[TextOutput]:
    """Generates for all examples, in batches; settings other than the beams are the variant's own."""
    options = generator.manifest.generation.options(num_beams=beams)
    encodings = [generator.encode(example.source, example.prefix) for example in examples]
    starts = range(0, len(encodings), BATCH)
    return [text for start in starts for text in generator.generate(encodings[start : start + BATCH], options)]


def add_origin(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that `of_origins` takes."""
    parser.add_argument("--origin", action="append", help="only examples of this origin and of none; repeatable")


def of_origins(examples: Sequence[Example], origins: Collection[str] | None) -> list[Example]:
    """Returns the examples of some origins and of none; all where no origins are named."""
    return [example for example in examples if origins is None or example.origin is None or example.origin in origins]


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that reads which variant to compare, and on what."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("task", type=Task, choices=list(Task))
    parser.add_argument("variant", nargs="?", default="original", help="one with safetensors")
    parser.add_argument("--data", default="sample", help="a file, or the name of a data set; `sample` is bundled")
    parser.add_argument("--samples", type=int, default=None, help="the first how many; all by default")
    parser.add_argument("--store", type=Path, default=embedded_store())
    return parser
