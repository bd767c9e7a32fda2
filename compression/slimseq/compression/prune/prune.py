"""`prune`: removes parts of a model, so that it gets smaller, and trains it to recover.

Layers are removed first, then heads (or the width), feed-forward channels and tokens. Calibration data decides which
parts stay. Every layer of a stack keeps the same number of parts, so that transformers' configuration describes the
result. A recipe's `plan` names other sizes for each layer (`layer_plan`). The training learns from labels and from the
unpruned parent. In a recipe:

    - prune: {feed_forward: 0.5, heads: 6, epochs: 1, learning_rate: 3.0e-4}
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.artifacts.parent import Parent, open_parent
from slimseq.compression.options import TRAINING, flat, flat_values
from slimseq.compression.prune.prune_options import PruneOptions
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.training_data import Material, TrainingSet
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.inference.models.shortlist import read_shortlist
from slimseq.inference.tokenizer import Tokenizer


@flat(TRAINING)
@dataclass(frozen=True)
class Recovery(TrainingOptions):
    """How to train a pruned model: on its parent's whole distribution, without regularization."""

    label_smoothing: float = 0.0
    dropout: float | None = 0.0


def prune(job: Job, options: PruneOptions, training: TrainingOptions) -> Outcome:
    """Prunes an artifact and publishes the result, after a recovery unless a bound of the training is 0.

    Raises:
        BadParameters: the options don't fit the model.
        BadData: a file cannot be used.
        TrainingDiverged: recovery failed; nothing is published.
    """
    from slimseq.compression.from_parent import learn_from_parent, read_data
    from slimseq.compression.prune.cut import check_cut, cut_model
    from slimseq.compression.prune.layers import layers_in_words
    from slimseq.compression.prune.ranked_parts import moments_folder
    from slimseq.compression.prune.rebuild import rebuild
    from slimseq.compression.prune.vocabulary import check_samples, keep_languages, plan_vocabulary_of, trim_model

    started = time.monotonic()
    training.check()
    options.check()
    context = job.context
    parent = open_parent(context, job.task, job.parent, job.name)
    if options.languages is not None:
        parent = replace(parent, manifest=keep_languages(parent.manifest, options.languages))
        options = replace(options, vocabulary=options.vocabulary or 0)
    # An impossible shape is refused before any data is read.
    check_cut(parent.model, options)
    # A smaller vocabulary must have the tokens of all training texts.
    is_read_whole = options.vocabulary is not None
    material = read_data(job, parent, options.sequence, training, options.samples, is_read_whole=is_read_whole)
    before = parent.model.num_parameters()
    tokens = parent.model.config.vocab_size
    kept_tokens = None
    if options.languages is not None:
        check_samples(parent.manifest, material.train.examples)
    if options.vocabulary is not None:
        kept_tokens = plan_vocabulary_of(parent, material.train.examples, options.vocabulary, context)
    cache = None if job.outputs is None else moments_folder(job.outputs, parent.manifest)
    cut = cut_model(parent.model, options, material.calibration, material.dev, context, cache)
    student = cut.model
    with ExitStack() as stack:
        if kept_tokens is not None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="slimseq-tokenizer-")))
            student = trim_model(student, kept_tokens, takes_over=student is not parent.model)
            parent, material = _trimmed(parent, material, kept_tokens, folder)
        elif student is parent.model:
            # Nothing was cut. The student must be another model than its teacher.
            student = rebuild(student, {}, student.state_dict())
        after = student.num_parameters()
        context.say(f"Removed {before - after:,} of {before:,} parameters ({1 - after / before:.0%})")
        left = list(cut.left)
        if kept_tokens is not None:
            left.append(f"{len(kept_tokens):,} of {tokens:,} tokens")
        words = f" (left: {', '.join(left)})" if left else ""
        description = f"{job.parent} with {1 - after / before:.0%} of its parameters removed{words}."
        parameters = {name: value for name, value in flat_values(options).items() if name != "plan"} | cut.parameters
        chosen = [description]
        if cut.kept_layers:
            parameters["kept_layers"] = cut.kept_layers
            chosen.append(layers_in_words(cut.kept_layers))
        if kept_tokens:
            parameters["kept_tokens"] = [len(kept_tokens), tokens]
        return learn_from_parent(
            job,
            parent,
            student,
            material,
            training,
            technique="prune",
            description=description,
            parameters=parameters,
            doing="Recovering",
            started=started,
            chosen=chosen,
        )


def _trimmed(parent: Parent, material: Material, kept_tokens: list[int], folder: Path) -> tuple[Parent, Material]:
    """Returns the teacher and the data with the ids of a trimmed vocabulary. `folder` gets the new tokenizer.

    The teacher loses the same tokens as the student: it must read the same ids, and its distribution must be over the
    same ids. It takes over the tensors of the parent's model, which is not used any more.
    """
    from slimseq.compression.prune.trimmed_tokenizer import trim_tokenizer
    from slimseq.compression.prune.vocabulary import trim_model

    trim_tokenizer(parent.folder, folder, kept_tokens)
    shortlist = read_shortlist(parent.folder, None, parent.model.config.vocab_size)
    if shortlist:
        shortlist.restricted(kept_tokens).write(folder)
    tokenizer = Tokenizer(folder)
    prefix = parent.manifest.generation.prefix

    def retokenized(dataset: TrainingSet) -> TrainingSet:
        return TrainingSet(dataset.examples, tokenizer, prefix, parent.limits)

    teacher = trim_model(parent.model, kept_tokens, takes_over=True)
    dev = retokenized(material.dev) if material.dev else None
    return (
        replace(parent, model=teacher, tokenizer=tokenizer, folder=folder),
        Material(retokenized(material.train), retokenized(material.calibration), dev),
    )


TECHNIQUE = Technique("prune", prune, [PruneOptions, Recovery], needs_data=True, uses_dev=True, requires="torch")
