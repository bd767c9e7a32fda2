"""Second-order pruning of one projection: orders, errors and fits against brute force and plain least squares."""

import pytest
import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.second_order import Projection, find_removals, find_removals_at_once, inputs_of

SAMPLES = 400


def inputs(count: int, seed: int = 0) -> torch.Tensor:
    """Returns correlated inputs of a projection, `(samples, count)`."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(count, count, generator=generator, dtype=torch.float64)
    return (torch.randn(SAMPLES, count, generator=generator, dtype=torch.float64) @ mixing).relu()


def random_weight(outputs: int, count: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(outputs, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def projection(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Projection:
    extended = torch.nn.functional.pad(values, (0, 1), value=1.0)
    return Projection(extended.T @ extended / len(values), weight, bias)


def squared_error(values: torch.Tensor, weight: torch.Tensor, kept: torch.Tensor, has_bias: bool) -> float:
    """Returns the least squared error of the outputs, relative to the outputs, that plain least squares reaches."""
    read = values[:, kept]
    if has_bias:
        read = torch.nn.functional.pad(read, (0, 1), value=1.0)
    wanted = values @ weight.T
    best = read @ torch.linalg.lstsq(read, wanted).solution
    return float((wanted - best).square().sum() / wanted.square().sum())


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("width", [1, 3])
def test_each_removal_is_the_one_that_brute_force_finds(width: int, has_bias: bool) -> None:
    values, weight = inputs(6 * width), random_weight(5, 6 * width)
    bias = torch.ones(5, dtype=torch.float64) if has_bias else None

    [removal] = find_removals([projection(values, weight, bias)], width)

    left = list(range(6))
    for step in range(5):
        errors = {}
        for tried in left:
            kept = torch.tensor([each for each in left if each != tried])
            errors[tried] = squared_error(values, weight, inputs_of(kept, width), has_bias)
        best = min(errors, key=lambda tried: errors[tried])
        assert int(removal.order[step]) == best
        assert removal.error(5 - step) == pytest.approx(errors[best], rel=0.05, abs=1e-3)
        left.remove(best)
    assert removal.kept(1).tolist() == left
    assert removal.error(6) == 0


def test_of_two_equal_structures_one_costs_nothing_and_the_other_is_worth_what_both_were() -> None:
    values, weight = inputs(4), random_weight(5, 5)
    twins = torch.cat([values, values[:, :1]], dim=1)

    [removal] = find_removals([projection(twins, weight)], 1)

    assert int(removal.order[0]) in (0, 4)
    assert removal.error(4) < 1e-3
    without_both = squared_error(twins, weight, torch.tensor([1, 2, 3]), has_bias=False)
    assert without_both > 0.05
    assert int(removal.order[1]) not in (0, 4)


def test_in_blocks_too_only_one_of_many_pairs_of_equal_structures_is_removed() -> None:
    values, weight = inputs(150), random_weight(40, 300)
    twins = torch.cat([values, values], dim=1)

    [removal] = find_removals([projection(twins, weight)], 1)

    assert sorted(int(each) % 150 for each in removal.kept(150)) == list(range(150))
    assert removal.error(150) < 1e-2
    assert sorted(removal.order.tolist()) == list(range(300))


def test_errors_never_fall_from_one_removal_to_the_next() -> None:
    [removal] = find_removals([projection(inputs(130), random_weight(20, 130))], 1)

    assert bool((removal.errors.diff() >= 0).all())
    assert 0 < removal.error(65) < removal.error(1) <= 1.05


def test_a_fit_comes_closer_than_the_weights_that_stay_and_is_exact_where_nothing_is_lost() -> None:
    values, weight = inputs(12), random_weight(7, 12)
    bias = torch.arange(7, dtype=torch.float64)
    wanted = values @ weight.T + bias
    kept = torch.tensor([0, 2, 3, 5, 8, 9, 11])

    whole = projection(values, weight, bias).fit(torch.arange(12))
    fit = projection(values, weight, bias).fit(kept)

    torch.testing.assert_close(whole.weight, weight)
    assert whole.bias is not None
    torch.testing.assert_close(whole.bias, bias)
    assert fit.bias is not None
    unfitted_error = (values[:, kept] @ weight[:, kept].T + bias - wanted).square().sum()
    fitted_error = (values[:, kept] @ fit.weight.T + fit.bias - wanted).square().sum()
    assert fitted_error < 0.8 * unfitted_error
    least = squared_error(values, weight, kept, has_bias=True) * float((wanted - bias).square().sum())
    assert float(fitted_error) == pytest.approx(least, rel=0.02)


def test_projections_that_lose_the_same_structures_share_the_order_of_the_summed_errors() -> None:
    values = inputs(8)
    heavy, light = torch.ones(4, 8, dtype=torch.float64), torch.ones(4, 8, dtype=torch.float64)
    heavy[:, [4, 5]] = 0
    light[:, [6, 7]] = 0

    removals = find_removals([projection(values, heavy), projection(values, light)], 2)

    assert removals[0].order.tolist() == removals[1].order.tolist()
    assert removals[0].errors.tolist() != removals[1].errors.tolist()


def test_inputs_that_are_always_zero_are_removed_first_and_for_nothing() -> None:
    values = inputs(6)
    values[:, [1, 4]] = 0

    [removal] = find_removals([projection(values, random_weight(5, 6))], 1)

    assert set(removal.order[:2].tolist()) == {1, 4}
    assert removal.error(4) < 1e-3


def test_activations_that_are_not_finite_are_refused() -> None:
    values = inputs(4)
    values[0, 0] = float("inf")

    with pytest.raises(BadParameters, match="not finite"):
        projection(values, random_weight(5, 4))


@pytest.mark.parametrize("width", [1, 3])
def test_an_order_that_is_found_at_once_has_the_errors_of_plain_least_squares(width: int) -> None:
    values, weight = inputs(6 * width), random_weight(5, 6 * width)

    [removal] = find_removals_at_once([projection(values, weight, torch.ones(5, dtype=torch.float64))], width)

    assert sorted(removal.order.tolist()) == list(range(6))
    assert removal.error(6) == 0
    for count in range(1, 6):
        expected = squared_error(values, weight, inputs_of(removal.kept(count), width), has_bias=True)
        assert removal.error(count) == pytest.approx(expected, rel=0.05, abs=1e-3)
