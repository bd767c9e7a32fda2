from io import StringIO

from rich.console import Console

from slimseq.compression.measure.evaluate import table_of
from slimseq.evaluation.run import evaluate
from slimseq.models_store.manifest import Task
from tests.evaluation.test_run import SAMPLE, forgetful, perfect


def test_the_table_has_the_p_value_of_each_variant_but_the_reference() -> None:
    names = {"original": perfect, "pruned": forgetful, "same": perfect}
    result = evaluate(Task.TRANSLATION, SAMPLE, names, {"pruned": "original", "same": "original"})
    shown = StringIO()

    Console(file=shown, width=200).print(table_of(result))

    metrics = len(result.variant("original").metrics)
    assert shown.getvalue().count("p < 0.001") == metrics
    assert shown.getvalue().count("p 1.000") == metrics
