"""The results of evaluations, calibrations and benchmarks as tables for people."""

from rich.table import Table

from slimseq.evaluation.metrics import METRICS
from slimseq.evaluation.results import EvaluationResult
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import ConfidenceCalibration


def table_of(evaluation: EvaluationResult) -> Table:
    """Returns the results as a table for people, the trivial baseline in the last row."""
    title = f"{evaluation.task} on {evaluation.dataset} ({evaluation.split}), {evaluation.samples} samples"
    metrics = METRICS[Task(evaluation.task)]
    table = Table("variant", "reference", *metrics, "tokens/s", "truncated", title=title)
    for variant in evaluation.variants:
        cells = []
        for metric in map(variant.metric, metrics):
            cell = f"{metric.value:.2f} [{metric.interval[0]:.2f}, {metric.interval[1]:.2f}]"
            if metric.retention is not None and metric.retention_interval is not None:
                low, high = metric.retention_interval
                cell += f"\nkeeps {metric.retention:.3f} [{low:.3f}, {high:.3f}]"
            if metric.p_value is not None:
                cell += "\np < 0.001" if metric.p_value < 0.001 else f"\np {metric.p_value:.3f}"
            cells.append(cell)
        table.add_row(
            variant.variant, variant.reference or "", *cells, f"{variant.tokens_per_second:.0f}", str(variant.truncated)
        )
    baseline = evaluation.baseline
    table.add_row(baseline.name, "", *(f"{baseline.values[metric]:.2f}" for metric in metrics), "", "")
    return table


def agreement_table_of(evaluation: EvaluationResult) -> Table:
    """Returns a table of the agreement with the reference's outputs, and how much summaries copy."""
    judged = METRICS[Task(evaluation.task)]
    described = [each.metric for each in evaluation.variants[0].metrics if each.metric not in judged]
    table = Table("variant", "equal outputs", "similarity", *described, title="Agreement with the reference's outputs")
    for variant in evaluation.variants:
        found = variant.agreement
        cells = ["", ""]
        if found is not None:
            low, high = found.interval
            cells = [f"{found.exact:.3f}", f"{found.similarity:.3f} [{low:.3f}, {high:.3f}]"]
        table.add_row(variant.variant, *cells, *(f"{variant.metric(name).value:.2f}" for name in described))
    if described:
        values = evaluation.baseline.values
        table.add_row(evaluation.baseline.name, "", "", *(f"{values[name]:.2f}" for name in described))
    return table


def lowest_slice_lines(evaluation: EvaluationResult) -> list[str]:
    """Returns a line for each variant with slices: the one with the lowest retention."""
    lines = []
    for variant in evaluation.variants:
        if variant.slices:
            lowest = min(variant.slices, key=lambda each: each.retention)
            low, high = lowest.retention_interval
            lines.append(
                f"{variant.variant} loses most: {lowest.label}, keeps {lowest.retention:.3f} [{low:.3f}, {high:.3f}], "
                f"{lowest.samples:,} samples, the lowest of {len(variant.slices)} slices"
            )
    return lines


def calibration_table_of(task: Task, found: dict[str, ConfidenceCalibration]) -> Table:
    """Returns the calibrations as a table for people."""
    first = next(iter(found.values()))
    title = f"Confidence of {task} on {first.dataset}, {first.samples} samples: expected {first.metric}"
    table = Table("variant", "runtime", "Spearman", "Pearson", "calibration error", "lowest", "highest", title=title)
    for name, each in found.items():
        (low, high), (least, most) = each.spearman_interval, each.pearson_interval
        table.add_row(
            name,
            each.runtime,
            f"{each.spearman:.3f} [{low:.3f}, {high:.3f}]",
            f"{each.pearson:.3f} [{least:.3f}, {most:.3f}]",
            f"{each.calibration_error:.3f}",
            f"{each.points[0][1]:.2f}",
            f"{each.points[-1][1]:.2f}",
        )
    return table
