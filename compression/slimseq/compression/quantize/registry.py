"""Finds a scheme by its name: the module of that name, with underscores for dashes."""

import importlib
from typing import cast

from slimseq.compression.quantize.options import SchemeName
from slimseq.compression.quantize.protocol import Scheme


def scheme_named(name: SchemeName) -> Scheme:
    """Imports a scheme; only then are the libraries that it needs loaded."""
    return cast(Scheme, importlib.import_module(f"slimseq.compression.quantize.{name.replace('-', '_')}").SCHEME)
