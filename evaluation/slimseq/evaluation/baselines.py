"""The trivial systems that a model has to beat: the first three sentences, and the untranslated source.

Reports print their scores beside every model's, so that nobody mistakes a bad number for a good one.
"""

from slimseq.evaluation.sentences import sentences
from slimseq.models_store.manifest import Task

LEAD_SENTENCES = 3
BASELINE_NAME: dict[Task, str] = {Task.SUMMARIZATION: "lead-3", Task.TRANSLATION: "source-copy"}


def baseline(task: Task, source: str) -> str:
    """Returns what the task's baseline makes of a source.

    Args:
        task: summarization takes the document's first three sentences, translation copies the source.
        source: one document or sentence.

    Returns:
        The baseline's output, with sentences joined by a space and line breaks taken out of them.
    """
    if task is Task.SUMMARIZATION:
        return " ".join(" ".join(sentence.split()) for sentence in sentences(source)[:LEAD_SENTENCES])
    return source
