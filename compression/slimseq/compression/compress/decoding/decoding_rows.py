"""The search settings that `decoding_search` tries, and what was measured of each."""

from dataclasses import dataclass
from typing import Any

from slimseq.models_store.generation import GenerationDefaults

# Numbers of beams that are tried, if the model's own number is higher.
TRIED_BEAMS = (1, 2, 3, 4, 6, 8)
# The name of the model's own search.
OWN = "own"


@dataclass(frozen=True)
class DecodingRow:
    """A setting that was tried, and what it is worth relative to the model's own search.

    Attributes:
        name: for names of variants, such as `beams2`.
        title: for tables, such as `2 beams`.
        settings: what differs from the model's own search, as a `decode` step has it. Empty for the own search.
        num_beams: of the setting, and likewise `early_stopping` and `length_penalty`.
        seconds: of one text, alone.
        speed_up: times as many texts a second as the own search, in the same run.
        pairs: number of dev pairs that `retention` was measured on. 0 if it was not measured.
        retention: share of the own search's score.
        interval: its 95 % interval.
        lower_bound: its one-sided lower bound, which holds for all tried settings together.
        output_tokens: mean number of output tokens of a text.
    """

    name: str
    title: str
    settings: dict[str, Any]
    num_beams: int
    early_stopping: bool
    length_penalty: float
    seconds: float = 0.0
    speed_up: float = 1.0
    pairs: int = 0
    retention: float | None = None
    interval: tuple[float, float] | None = None
    lower_bound: float | None = None
    output_tokens: float = 0.0

    def keeps(self, tolerance: float, *, confident: bool) -> bool:
        """Whether the setting loses at most a share of the quality, by its lower bound if `confident`."""
        judged = self.lower_bound if confident else self.retention
        return judged is not None and judged >= 1 - tolerance


def rows_to_try(own: GenerationDefaults) -> list[DecodingRow]:
    """Returns the settings to try, not measured yet: the model's own search, then the most promising ones.

    None has more beams than the own search, so that each can be faster. A model that samples has no other search.
    """
    rows = [_row(own, {}, OWN)]
    if own.do_sample:
        return rows
    fewer = [beams for beams in TRIED_BEAMS if beams < own.num_beams]
    rows += [_row(own, {"num_beams": beams}) for beams in fewer]
    stopping: list[dict[str, Any]] = [{}]
    if not own.early_stopping:
        stopping.append({"early_stopping": True})
    penalties: list[dict[str, Any]] = [{}]
    if own.length_penalty != 1:
        penalties.append({"length_penalty": 1.0})
    for stop in stopping:
        for penalty in penalties:
            if not stop and not penalty:
                continue
            for beams in (*fewer, own.num_beams):
                if beams > 1:
                    changed = {"num_beams": beams} if beams != own.num_beams else {}
                    rows.append(_row(own, changed | stop | penalty))
    return rows


def _row(own: GenerationDefaults, settings: dict[str, Any], name: str = "") -> DecodingRow:
    found = own.model_copy(update=settings)
    beams = found.num_beams
    title = "greedy" if beams == 1 else f"{beams} beams"
    short = "greedy" if beams == 1 else f"beams{beams}"
    if "early_stopping" in settings:
        title, short = f"{title}, early stopping", f"{short}-early"
    if "length_penalty" in settings:
        title, short = f"{title}, length penalty {found.length_penalty:g}", f"{short}-penalty{found.length_penalty:g}"
    return DecodingRow(name or short, title, settings, beams, found.early_stopping, found.length_penalty)
