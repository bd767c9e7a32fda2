"""The trivial baselines: the first three sentences of a document (lead-3), and the untranslated source (source copy).

Reports show their scores next to every model's.
"""

from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task

LEAD_SENTENCES = 3
BASELINE_NAME: dict[Task, str] = {Task.SUMMARIZATION: "lead-3", Task.TRANSLATION: "source-copy"}


def baseline(task: Task, source: str) -> str:
    """Returns the output of a task's baseline.

    Args:
        task: summarization takes the document's first three sentences, translation copies the source.
        source: one document or sentence.

    Returns:
        The output. Sentences are joined by spaces and have no line breaks.
    """
    if task is Task.SUMMARIZATION:
        return " ".join(" ".join(sentence.split()) for sentence in sentences(source)[:LEAD_SENTENCES])
    return source
