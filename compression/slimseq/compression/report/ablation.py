"""Reads the ablations of a build, from `ablation.json`: the measured effect of each choice.

The file has one ablation or a list of them:

```json
{"task": "translation", "dataset": "tatoeba", "split": "dev", "samples": 500, "metric": "bleu", "rows": [
  {"group": "importance", "name": "wanda", "value": 28.1, "interval": [26.9, 29.3], "retention": 0.97,
   "retention_interval": [0.95, 0.99], "seconds": 640.0}]}
```

`group` is the choice, `name` one of its options. Intervals, retention and seconds may be missing or null.
"""

from itertools import groupby
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from slimseq.compression.errors import BadData
from slimseq.models_store.manifest import Record, Task, first_error

ABLATION = "ablation.json"


class AblationRow(Record):
    """One option of a choice, and its measurements."""

    group: str = Field(description="The choice, such as `importance`.")
    name: str = Field(description="The option, such as `wanda`.")
    value: float = Field(description="The metric's value, between 0 and 100.")
    interval: tuple[float, float] | None = Field(default=None, description="95 % bootstrap interval.")
    retention: float | None = Field(default=None, description="Value / the reference's value on the same samples.")
    retention_interval: tuple[float, float] | None = None
    seconds: float | None = Field(default=None, ge=0, description="Time to make the variant.")


class Ablation(Record):
    """Options that were compared on the same samples."""

    task: Task
    dataset: str
    split: str
    samples: int = Field(ge=1)
    metric: str
    rows: list[AblationRow] = Field(min_length=1)

    def groups(self) -> list[tuple[str, list[AblationRow]]]:
        """Returns the rows by group, in the order of the groups' first rows."""
        order = list(dict.fromkeys(row.group for row in self.rows))
        ordered = sorted(self.rows, key=lambda row: order.index(row.group))
        return [(group, list(rows)) for group, rows in groupby(ordered, key=lambda row: row.group)]


def read_ablations(build: Path) -> list[Ablation]:
    """Reads a build's ablations; an empty list if it has no such file.

    Raises:
        BadData: the file does not match the schema above; names the first wrong field.
    """
    path = build / ABLATION
    if not path.exists():
        return []
    try:
        text = path.read_bytes()
        if text.lstrip().startswith(b"{"):
            return [Ablation.model_validate_json(text)]
        return TypeAdapter(list[Ablation]).validate_json(text)
    except ValidationError as error:
        raise BadData(f"{path} is not an ablation: {first_error(error, ABLATION)}") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error
