"""Damage that tests do to files."""

from pathlib import Path


def flip_bytes(path: Path) -> None:
    """Changes one byte in the middle of a file, whose size stays."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
