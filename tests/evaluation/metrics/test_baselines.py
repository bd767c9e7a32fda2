import pytest

from slimseq.evaluation.metrics.baselines import BASELINE_NAME, baseline
from slimseq.models_store.manifest import Task

DOCUMENT = "The bridge opened\non Monday. It took four years. The mayor cut a ribbon. Ducks watched."
LEAD = "The bridge opened on Monday. It took four years. The mayor cut a ribbon."


@pytest.mark.parametrize(
    ("task", "source", "output", "name"),
    [
        (Task.SUMMARIZATION, DOCUMENT, LEAD, "lead-3"),
        (Task.SUMMARIZATION, "Ducks watched.", "Ducks watched.", "lead-3"),
        (Task.TRANSLATION, DOCUMENT, DOCUMENT, "source-copy"),
    ],
)
def test_baselines_are_three_sentences_or_the_source(task: Task, source: str, output: str, name: str) -> None:
    assert (baseline(task, source), BASELINE_NAME[task]) == (output, name)
