"""Scores an outputs file with COMET. This program runs in an environment of its own, which has no Slimseq.

It is alone in its folder, because Python looks for modules there first.

    python3 -m venv comet && comet/bin/pip install unbabel-comet 'setuptools<82'
    comet/bin/python score.py outputs.jsonl scores.json

The model is downloaded from the Hugging Face hub on first use. COMET 2.2 needs a module that setuptools 82 removed.
"""

import argparse
import importlib.metadata
import json
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "Unbabel/wmt22-comet-da"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path, help="what `slimseq evaluate --outputs` wrote")
    parser.add_argument("scores", type=Path, help="the file to write, for `slimseq comet`")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help=f"name on the hub, or a checkpoint (.ckpt); {DEFAULT_MODEL} by default"
    )
    parser.add_argument("--batch", type=int, default=8, help="samples that are scored at once")
    parser.add_argument("--gpus", type=int, default=0, help="number of GPUs; 0 uses the CPU")
    given = parser.parse_args()
    with given.outputs.open(encoding="utf-8") as lines:
        header, *samples = map(json.loads, lines)
    found = scored(header, samples, given.model, given.batch, given.gpus)
    given.scores.write_text(json.dumps(found) + "\n", encoding="utf-8")


def scored(
    header: dict[str, Any], samples: list[dict[str, str]], model: str, batch: int = 8, gpus: int = 0
) -> dict[str, Any]:
    """Returns the scores of all samples, by variant, with what they are of.

    Args:
        header: the first line of the outputs file.
        samples: the others: `variant`, `src`, `mt` and `ref`.
        model: name on the hub, or the path of a checkpoint, whose model is called as the folder of its `hparams.yaml`.
        batch: samples that are scored at once.
        gpus: number of GPUs.
    """
    from comet import download_model, load_from_checkpoint

    triples = [{key: sample[key] for key in ("src", "mt", "ref")} for sample in samples]
    is_local = model.endswith(".ckpt")
    checkpoint = model if is_local else download_model(model)
    scores = load_from_checkpoint(checkpoint).predict(triples, batch_size=batch, gpus=gpus).scores
    by_variant: dict[str, list[float]] = {variant: [] for variant in header["variants"]}
    for sample, score in zip(samples, scores, strict=True):
        by_variant[sample["variant"]].append(float(score))
    version = importlib.metadata.version("unbabel-comet")
    name = Path(model).resolve().parents[1].name if is_local else model
    return {"header": header, "model": name, "version": version, "scores": by_variant}


if __name__ == "__main__":
    main()
