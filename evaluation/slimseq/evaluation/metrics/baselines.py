"""The trivial baselines: the first three sentences of a document (lead-3), and the untranslated source (source copy).

Reports show their scores next to every model's.
"""

from slimseq.inference.text.sentences import sentences
from slimseq.models_store.manifest import Task

LEAD_SENTENCES = 3
# Of a text without full stops.
MAX_LEAD_WORDS = 1000
BASELINE_NAME: dict[Task, str] = {Task.SUMMARIZATION: "lead-3", Task.TRANSLATION: "source-copy"}


def baseline(task: Task, source: str) -> str:
    if task is Task.SUMMARIZATION:
        return " ".join(" ".join(sentences(source)[:LEAD_SENTENCES]).split()[:MAX_LEAD_WORDS])
    return source
