"""The candidates of a run: int8, other search settings, and shapes of layers that are trained.

`compress` opens the run before this, and chooses among the candidates after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.decoding.decoding_rows import DecodingRow
from slimseq.compression.compress.decoding.decoding_search import DecodingChoice, choose_decoding, find_decoding
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.shape_candidates import ShapeCandidates, find_shape_candidates
from slimseq.compression.compress.start.changed_options import SHAPES_SEARCH, TIME_FOR
from slimseq.compression.compress.time_plan import DECODING_SHARE, DECODING_SHARE_ALONE, END_SHARE
from slimseq.compression.errors import GateFailed
from slimseq.inference.models.configuration import read_config
from slimseq.inference.models.marian_student import ACTIVATION_SCALES

# Share of quality that other search settings may lose, for every share that the user allows to lose: most of it is left
# for the shape and the weights.
DECODING_TOLERANCE_SHARE = 0.25
# The scheme of int4 weights, where the smallest variant is wanted.
FOUR_BITS = "int4-blocks"


@dataclass(frozen=True)
class FoundCandidates:
    """All candidates of a run, and how they were found."""

    decoding: DecodingChoice
    shapes: ShapeCandidates
    candidates: list[Candidate]


def find_candidates(run: Run, quantized: Sequence[Candidate]) -> FoundCandidates:
    """Finds the search settings and the shapes, and makes all candidates.

    Args:
        run: the run.
        quantized: the candidates that need neither search nor training. The first one is the int8 model.
    """
    decoding = find_search(run, quantized[0])
    faster_row = decoding.faster_row(run.options.keep)
    rows = [row for row in (decoding.chosen, faster_row) if row is not None and row.settings]
    faster = [each for row in rows for each in with_search(quantized, row)]
    shapes_search = search_of_shapes(run, decoding)
    _make_and_measure(run, faster)
    shapes = find_shape_candidates(run, shapes_search)
    faster_shapes: list[Candidate] = []
    if faster_row is not None and faster_row.name != shapes_search.name:
        # A shape that keeps the bar may keep it with an even faster search, as int8 does.
        faster_shapes += with_search(shapes.keeping, faster_row)
    if decoding.name != shapes_search.name:
        # The shapes were made by a command with another --keep.
        faster_shapes += with_search(shapes.candidates, decoding.chosen)
    _make_and_measure(run, faster_shapes)
    smaller_shapes = _in_four_bits(run, shapes.keeping) if run.options.aim == "smallest" else []
    candidates = [*quantized, *faster, *shapes.candidates, *faster_shapes, *smaller_shapes]
    # A command with another --within or --keep may have made others, which compete again.
    earlier = run.made_earlier(candidates)
    for candidate in earlier:
        run.make(candidate)
    return FoundCandidates(decoding, shapes, [*candidates, *earlier])


def candidates_without_training(run: Run) -> list[Candidate]:
    """Returns the int8 model, and the int4 model where the smallest is wanted."""
    config = read_config(run.context.store.folder(run.original.task, run.original.variant))
    # Firefox's models are published in int8. Their own scales belong to their own weights: no cut has them.
    scheme = "int8-published" if ACTIVATION_SCALES in config else "int8-dynamic"
    found = [Candidate(run.name("quantized"), "int8", ({"quantize": {"scheme": scheme}},))]
    if run.options.aim == "smallest":
        found.append(Candidate(run.name("int4"), "int4", ({"quantize": {"scheme": FOUR_BITS}},)))
    return found


def check_bar(run: Run, quantized: Candidate) -> None:
    """Ends the run where the int8 model surely misses the bar: everything else is made from it.

    Raises:
        GateFailed: the upper bound of its retention on the choosing half is below the bar.
    """
    share, (_, high) = run.measure_and_announce(quantized)
    if high < run.options.keep:
        raise GateFailed(
            f"int8 alone keeps {share:.1%} (at most {high:.1%}) of the original's {run.judge.name}, which misses "
            f"--keep {run.options.keep:g}: every variant is made from it; lower the bar"
        )


def find_search(run: Run, quantized: Candidate) -> DecodingChoice:
    """Finds the search settings that the model needs, on the choosing half."""
    tolerance = DECODING_TOLERANCE_SHARE * (1 - run.options.keep)
    record = run.folder.find_or_make(
        "decoding",
        lambda: find_decoding(
            run.own_context,
            run.original.task,
            quantized.name,
            run.choosing,
            tolerance=tolerance,
            seconds=run.plan.part(DECODING_SHARE if run.plan.allows_training else DECODING_SHARE_ALONE),
            judge=run.judge,
        ).record(),
    )
    found = DecodingChoice.from_record(record)
    if found.tolerance == tolerance:
        return found
    # Another --keep: the settings that were measured stay, and another one may be good enough.
    return choose_decoding(found.rows, found.metric, tolerance)


def search_of_shapes(run: Run, decoding: DecodingChoice) -> DecodingChoice:
    """Returns the search that the shapes are made with: the one that was chosen when their costs were measured."""
    name = run.folder.find_or_make(SHAPES_SEARCH, lambda: decoding.name)
    return replace(decoding, chosen=next(row for row in decoding.rows if row.name == name))


def _make_and_measure(run: Run, candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        run.make(candidate)
        run.measure_and_announce(candidate)


def _in_four_bits(run: Run, shapes: Sequence[Candidate]) -> list[Candidate]:
    """Makes and measures shapes with int4 weights in place of int8, the smallest shape first, while there is time."""
    made: list[Candidate] = []
    for shape in reversed(shapes):
        has_time = run.folder.find_or_make(
            f"{TIME_FOR}{name_in_four_bits(shape.name)}", lambda: run.plan.left > END_SHARE / 2 * run.plan.within
        )
        if not has_time:
            break
        steps = [{"quantize": {"scheme": FOUR_BITS}} if "quantize" in step else step for step in shape.steps]
        made.append(Candidate(name_in_four_bits(shape.name), f"{shape.title}, int4", tuple(steps)))
        _make_and_measure(run, made[-1:])
    return made


def name_in_four_bits(name: str) -> str:
    """Returns the name of a shape with int4 weights."""
    return f"{name}-int4"


def with_search(candidates: Sequence[Candidate], row: DecodingRow) -> list[Candidate]:
    """Returns the candidates with the search settings of a row, in place of any that they have."""
    following = [{"decode": dict(row.settings)}] if row.settings else []
    return [
        Candidate(
            f"{each.name}-{row.name}",
            f"{each.title}, {row.title}",
            (*(step for step in each.steps if "decode" not in step), *following),
        )
        for each in candidates
    ]
