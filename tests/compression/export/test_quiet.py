"""Libraries stay quiet, and what one of them does to logging at its import is undone."""

import logging
import subprocess
import sys

from slimseq.compression.export.quiet import unchanged_logging

ROUNDS = """
import logging
import numpy as np
from slimseq.compression.quantize.weight_only import Blocks, quantize_rows_in_blocks
quantize_rows_in_blocks(np.ones((4, 32), dtype=np.float32), Blocks(bits=8, size=32, is_symmetric=True))
logging.getLogger("another").info("talks")
assert not logging.getLogger().handlers, logging.getLogger().handlers
"""


def test_after_block_quantization_other_libraries_print_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "talks" not in done.stderr


def test_handlers_and_level_are_as_before() -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level

    with unchanged_logging():
        root.addHandler(logging.NullHandler())
        root.setLevel(logging.DEBUG)

    assert (root.handlers, root.level) == before
