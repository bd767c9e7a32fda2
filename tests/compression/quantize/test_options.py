import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.options import QuantizeOptions, SchemeName
from slimseq.compression.quantize.quantize import scheme_named


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (QuantizeOptions(calibration_samples=0), "calibration samples"),
        (QuantizeOptions(fallback=-0.1), "fallback"),
        (QuantizeOptions(fallback=0.1, scheme="bf16"), "bf16 quantizes all layers alike"),
        (QuantizeOptions(fallback=0.1, scheme="ctranslate2-int8"), "quantizes all layers alike"),
    ],
)
def test_options_that_make_no_sense_are_named(options: QuantizeOptions, complaint: str) -> None:
    with pytest.raises(BadParameters, match=complaint):
        options.check()


def test_every_scheme_of_the_options_is_there() -> None:
    names: list[SchemeName] = list(SchemeName.__args__)  # type: ignore[attr-defined]

    schemes = [scheme_named(name) for name in names]

    assert len({scheme.description for scheme in schemes}) == len(names) == 6
