import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.budget import choose_shape
from slimseq.compression.prune.shape import Shape

WHOLE = Shape(encoder_layers=4, decoder_layers=4, heads=8, encoder_feed_forward=64, decoder_feed_forward=64)


def parameters(shape: Shape) -> int:
    """Counts 100 in embeddings, and in each layer 10 a head and 1 a channel."""
    return (
        100
        + shape.encoder_layers * (10 * shape.heads + shape.encoder_feed_forward)
        + shape.decoder_layers * (10 * shape.heads + shape.decoder_feed_forward)
    )


def loss(shape: Shape) -> float:
    """Rises with everything removed, least with the encoder's channels."""
    return (
        1.0
        + (4 - shape.encoder_layers) * 0.3
        + (4 - shape.decoder_layers) * 0.8
        + (8 - shape.heads) * 0.2
        + (64 - shape.encoder_feed_forward) * 0.001
        + (64 - shape.decoder_feed_forward) * 0.02
    )


def test_the_cheapest_cut_that_reaches_the_budget_is_chosen() -> None:
    chosen, tried = choose_shape(WHOLE, {}, 0.1, parameters(WHOLE), parameters, loss, is_feed_forward_shared=False)

    assert chosen == Shape(4, 4, 8, 32, 64)
    assert parameters(chosen) <= 0.9 * parameters(WHOLE)
    assert all(each >= loss(chosen) for shape, each in tried.items() if parameters(shape) <= 0.9 * parameters(WHOLE))
    assert next(iter(tried)) == WHOLE and len(tried) < 30


def test_a_family_with_one_width_has_one_width_in_every_shape() -> None:
    chosen, tried = choose_shape(WHOLE, {}, 0.3, parameters(WHOLE), parameters, loss, is_feed_forward_shared=True)

    assert all(shape.encoder_feed_forward == shape.decoder_feed_forward for shape in tried)
    assert parameters(chosen) <= 0.7 * parameters(WHOLE)


def test_measured_losses_decide_over_estimates() -> None:
    def surprising(shape: Shape) -> float:
        # Alone each cut is harmless, together they are not.
        both = shape.encoder_feed_forward < 64 and shape.encoder_layers < 4
        return loss(shape) + (50 if both else 0)

    chosen, _ = choose_shape(WHOLE, {}, 0.25, parameters(WHOLE), parameters, surprising, is_feed_forward_shared=False)

    assert not (chosen.encoder_feed_forward < 64 and chosen.encoder_layers < 4)


def test_what_is_fixed_is_not_searched() -> None:
    fixed = {"heads": 6, "decoder_layers": 3}

    chosen, tried = choose_shape(WHOLE, fixed, 0.4, parameters(WHOLE), parameters, loss, is_feed_forward_shared=False)

    assert (chosen.heads, chosen.decoder_layers) == (6, 3)
    assert {(shape.heads, shape.decoder_layers) for shape in tried} == {(6, 3)}


def test_a_budget_that_no_shape_reaches_names_what_the_smallest_does() -> None:
    with pytest.raises(BadParameters, match=r"--budget 0.95 cannot be met: .*2 of 4 encoder layers.* removes 7\d\.\d%"):
        choose_shape(WHOLE, {}, 0.95, parameters(WHOLE), parameters, loss, is_feed_forward_shared=False)
