from dataclasses import replace
from io import StringIO

from rich.console import Console

from slimseq.cli.measure import score_table
from slimseq.evaluation.run import evaluate
from slimseq.models_store.manifest import Task
from tests.evaluation.test_run import SAMPLE, forgetful, perfect


def test_the_table_has_the_p_value_of_each_variant_but_the_reference() -> None:
    names = {"original": perfect, "pruned": forgetful, "same": perfect}
    result = evaluate(Task.TRANSLATION, SAMPLE, names, {"pruned": "original", "same": "original"})
    shown = StringIO()

    Console(file=shown, width=200).print(score_table(result))

    metrics = len(result.variant("original").metrics)
    assert shown.getvalue().count("p < 0.001") == metrics
    assert shown.getvalue().count("p 1.000") == metrics


def test_the_title_says_that_there_are_few_samples() -> None:
    few = replace(SAMPLE, examples=SAMPLE.examples[:29])

    titles = [score_table(evaluate(Task.TRANSLATION, sample, {"original": perfect})).title for sample in (few, SAMPLE)]

    assert titles[0] == "translation on ducks (test), 29 samples, too few to compare variants"
    assert titles[1] == "translation on ducks (test), 40 samples"
