"""Which rows may share a call of CTranslate2, so that none changes another's output."""

import pytest
from archspec.cpu.detect import Microarchitecture

from slimseq.inference.runtimes import separate
from slimseq.inference.runtimes.separate import by_padded_length, lengths_in_one_order


def rows(*lengths: int) -> list[list[int]]:
    """Returns rows of these lengths. Tests compare groups of their numbers."""
    return [[7] * length for length in lengths]


def test_rows_share_a_call_if_they_are_padded_alike() -> None:
    assert by_padded_length(rows(9, 20, 16, 8, 33), None, ()) == [[3], [0, 2], [1], [4]]


def test_no_row_is_padded_to_more_than_the_model_reads() -> None:
    assert by_padded_length(rows(57, 59, 60), 60, ()) == [[0, 1, 2]]


def test_rows_whose_sums_have_one_order_share_a_call_whatever_their_lengths_are() -> None:
    assert by_padded_length(rows(384, 15, 16, 2, 385, 500), None, (15, 384)) == [[3, 1], [2, 0], [4], [5]]


@pytest.mark.parametrize(
    ("vendor", "features", "variable", "expected"),
    [
        ("AuthenticAMD", separate.AVX512, None, (15, 384)),
        ("AuthenticAMD", {"avx2"}, None, ()),
        ("AuthenticAMD", separate.AVX512, "ONEDNN_MAX_CPU_ISA", ()),
        ("GenuineIntel", separate.AVX512, None, ()),
    ],
    ids=["AMD with AVX-512", "AMD with AVX2", "AMD with other kernels by a variable", "Intel"],
)
def test_sums_have_one_order_only_on_cpus_where_that_was_measured(
    monkeypatch: pytest.MonkeyPatch,
    vendor: str,
    features: set[str],
    variable: str | None,
    expected: tuple[int, ...],
) -> None:
    cpu = Microarchitecture("cpu", [], vendor, set(features), {})
    monkeypatch.setattr(separate, "detected_info", lambda: cpu)
    for name in separate.KERNEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "AVX2")
    assert lengths_in_one_order() == expected
