"""The kinds of warnings, and a warning."""

from dataclasses import dataclass
from typing import Literal, get_args

# `language`: the source is not in the language that the model reads. `length`: the output is much shorter or longer
# than its source. `repetition`: the output repeats itself. `truncated`: the source or the output was cut at a limit.
# `lost`: something of the source that must be kept, such as a number, is not in the translation. `number`: a number of
# the summary is not in its source. `untranslated`: a part of a document stayed as it was, to keep the structure.
Kind = Literal["language", "length", "repetition", "truncated", "lost", "number", "untranslated"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class OutputWarning:
    """What may be wrong with an output. The detail is a sentence in English, and may quote source and output."""

    kind: Kind
    detail: str
