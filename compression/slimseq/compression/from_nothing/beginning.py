"""What a training from nothing begins with: a new tokenizer and a new model."""

from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.from_nothing.new_model import NewModelOptions, make_model
from slimseq.compression.from_nothing.tokenizer_maker import make_tokenizer, texts_of, tokenizer_size
from slimseq.compression.models import load_model
from slimseq.compression.train.data.training_data import read_examples
from slimseq.models_store.generation import GenerationDefaults

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from slimseq.compression.technique import Job


def make_beginning(
    job: "Job",
    new: NewModelOptions,
    vocabulary: int,
    generation: GenerationDefaults,
    student: Path | None,
    folder: Path,
) -> "PreTrainedModel":
    """Makes the tokenizer from the training data, and a model for it.

    Args:
        job: the training, with its data and seed.
        new: the architecture.
        vocabulary: maximum number of tokens.
        generation: generation defaults, with the prefix and the longest input.
        student: folder of a Marian student whose tokens and weights the model begins with; None for random weights.
        folder: of the tokenizer. A tokenizer that an interrupted run has left there is used again.

    Returns:
        The model, in evaluation mode.

    Raises:
        BadData: a file cannot be used, or has no texts.
        BadParameters: the student does not fit the architecture.
    """
    from slimseq.compression.from_nothing.warm_start import begin_with, take_pieces

    if not (folder / "tokenizer_config.json").exists():
        with job.context.working("Making a tokenizer from the training data"):
            texts = texts_of(read_examples(job.task, job.files.train), generation.prefix)
            longest = generation.max_input_tokens
            if student is not None:
                take_pieces(student, texts, vocabulary, new.model_family, folder, longest)
            else:
                make_tokenizer(new.family, texts, vocabulary, folder, longest)
    model = make_model(new, tokenizer_size(folder), job.context.seed)
    if student is not None:
        begin_with(model, folder, load_model(student), student)
    return model
