"""Checks the data before a model is imported, so that bad data costs no download.

A run checks the same once more when it has the model: then it also knows the model's languages and training data.
"""

from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.start.final_test_data import read_test_data
from slimseq.compression.compress.start.run_data import MIN_TRAINING_PAIRS, read_pairs
from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.held_out import check_held_out, check_tested_apart, hashes_of
from slimseq.compression.importing.firefox_download import SCHEME
from slimseq.compression.train.data.training_data import read_unlabelled
from slimseq.evaluation.bulk.teacher_outputs import TeacherOutputs
from slimseq.models_store.manifest import Task


def check_data_first(context: Context, task: Task, source: str, options: CompressOptions) -> None:
    """Reads all data, and checks what can be checked without the model.

    Args:
        context: its seed decides what is held out.
        task: of the model.
        source: what is to be imported. A pair of Firefox says its languages.
        options: the data.

    Raises:
        BadData, DatasetUnavailable: the data cannot be used; one line says why.
    """
    tests = read_test_data(task, options.test)
    if options.unlabelled:
        check_enough_texts(len(read_unlabelled(task, options.unlabelled)))
        if options.teacher_outputs is not None:
            # Whether they are the original's is seen when it is there.
            TeacherOutputs(options.teacher_outputs)
        return
    languages = source.removeprefix(SCHEME).split("-") if source.startswith(SCHEME) else []
    if len(languages) != 2:
        # A code may have a dash of its own. The model's manifest will say the languages.
        languages = []
    with context.working("Reading the data"):
        held_out, rest = read_pairs(context, task, options.train, options.dev, languages, is_agreement=False)
    training = hashes_of(example.source for example in rest)
    chosen_on = hashes_of(example.source for example in held_out)
    for name, examples in tests.items():
        sources = [example.source for example in examples]
        check_held_out(context, name, sources, training)
        check_tested_apart(name, sources, "--dev" if options.dev else "held out of --data", chosen_on)


def check_enough_texts(count: int) -> None:
    """Checks the number of texts without targets.

    Raises:
        BadData: there are too few.
    """
    if count < MIN_TRAINING_PAIRS:
        raise BadData(f"--unlabelled has {count:,} texts; compress needs at least {MIN_TRAINING_PAIRS}")
