"""The errors of the offline side. The command line prints each as one line and exits with code 1."""

from slimseq.models_store.errors import SlimseqError


class BadData(SlimseqError):
    """Raised when training or calibration data is missing, empty or malformed."""


class BadParameters(SlimseqError):
    """Raised when a technique's parameters don't fit the model."""


class TrainingDiverged(SlimseqError):
    """Raised when the loss is not a finite number."""


class BadRecipe(SlimseqError):
    """Raised when a recipe cannot be followed; names file and place."""


class GateFailed(SlimseqError):
    """Raised after a variant was made that is not good enough; names it.

    It keeps or saves less than its gate asks for, or has a higher loss on dev data than before its training.
    """
