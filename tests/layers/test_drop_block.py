"""ScheduledDropBlock2D: square blocks, the fraction that was asked for, exact expectations."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import binary_opening
from scipy.optimize import brentq

from kerasreg.layers import ScheduledDropBlock2D, drop_block, dropout
from kerasreg.random import key

RATES = [1 / 256, 0.1, 0.5, 0.9]
# Height, width and the side of a block; in the last two, the block is larger than the map.
SIZES = [(8, 8, 3), (9, 5, 2), (7, 7, 7), (3, 8, 5), (4, 3, 9)]


def covering(height, width, side):
    """How many places of a block cover each element, counted place by place."""
    rows, columns = min(side, height), min(side, width)
    counts = np.zeros((height, width))
    for top in range(height - rows + 1):
        for left in range(width - columns + 1):
            counts[top : top + rows, left : left + columns] += 1
    return counts


def keep_probabilities(rate, height, width, side):
    """Of each element, if the fraction `rate` of all is dropped by independent blocks."""
    counts = covering(height, width, side)

    def excess(gamma):
        return np.mean(1 - (1 - gamma) ** counts) - rate

    return (1 - brentq(excess, 0, 1, xtol=1e-15)) ** counts


def dropped_from(shape, rate, side, seed=1):
    layer = ScheduledDropBlock2D(rate, side, data_format="channels_last", seed=seed)
    return np.array(layer(np.ones(shape, "float32"), training=True)) == 0


@pytest.mark.short(
    "0.00390625-(8, 8, 3)", "0.1-(9, 5, 2)", "0.5-(7, 7, 7)", "0.9-(3, 8, 5)", "0.5-(4, 3, 9)"
)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_the_fraction_that_is_dropped_is_the_rate(rate, size):
    *sides, block = size
    # Elements of a map are not independent; maps are.
    fractions = dropped_from((64, *sides, 256), rate, block).mean(axis=(1, 2))
    error = fractions.std() / math.sqrt(fractions.size)
    assert abs(fractions.mean() - rate) < 4 * error


@pytest.mark.short(
    "0.00390625-(8, 8, 3)", "0.1-(9, 5, 2)", "0.5-(7, 7, 7)", "0.9-(3, 8, 5)", "0.5-(4, 3, 9)"
)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", RATES)
def test_every_position_is_kept_with_its_probability_and_divided_by_it(rate, size):
    *sides, block = size
    x = np.random.default_rng(0).uniform(1, 2, size=(64, *sides, 256)).astype("float32")
    layer = ScheduledDropBlock2D(rate, block, data_format="channels_last", seed=1)
    y = np.array(layer(x, training=True))
    keep = keep_probabilities(rate, *size)
    # Corners, edges and the interior alike: so each expectation is exactly the input.
    expected = np.where(y != 0, x / keep[None, :, :, None], 0)
    np.testing.assert_allclose(y, expected, rtol=2e-5)
    error = np.sqrt(keep * (1 - keep) / (64 * 256))
    np.testing.assert_array_less(np.abs((y != 0).mean(axis=(0, 3)) - keep), 4.5 * error + 1e-12)


def test_corners_are_dropped_less_often_than_the_middle():
    keep = keep_probabilities(0.3, 8, 8, 3)
    assert keep[0, 0] > keep[0, 4] > keep[4, 4]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_is_dropped_is_a_union_of_blocks(size):
    height, width, side = size
    block = np.ones((min(side, height), min(side, width)), bool)
    dropped = dropped_from((16, height, width, 16), 0.3, side)
    assert dropped.any()
    for example in dropped:
        for channel in np.moveaxis(example, -1, 0):
            np.testing.assert_array_equal(binary_opening(channel, block), channel)


def test_channels_and_examples_are_dropped_independently():
    dropped = dropped_from((64, 4, 4, 64), 0.5, 9)[:, 0, 0, :]  # One block covers the map.
    for neighbour in (np.roll(dropped, 1, axis=0), np.roll(dropped, 1, axis=1), dropped.T):
        assert abs(np.mean(dropped == neighbour) - 0.5) < 4 * 0.5 / 64


@pytest.mark.parametrize("rate", [0.0, *RATES, 1.0])
def test_blocks_of_one_pixel_are_ordinary_dropout(rate):
    x = np.random.default_rng(0).uniform(1, 2, size=(8, 6, 5, 4)).astype("float32")
    np.testing.assert_allclose(
        drop_block(x, rate, key(7), block_size=1), dropout(x, rate, key(7)), rtol=1e-6
    )


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_ends_of_the_range_are_exact(size):
    *sides, block = size
    x = np.random.default_rng(0).normal(size=(4, *sides, 8)).astype("float32")
    np.testing.assert_array_equal(drop_block(x, 0.0, key(7), block_size=block), x)
    np.testing.assert_array_equal(drop_block(x, 1.0, key(7), block_size=block), np.zeros_like(x))


@pytest.mark.parametrize("rate", RATES)
def test_the_rule_of_the_paper_drops_less_than_the_rate(rate):
    """γ of the paper counts a block as if it overlapped with no other."""
    height, width, side = 8, 8, 3
    places = (height - side + 1) * (width - side + 1)
    gamma = min(rate / side**2 * height * width / places, 1.0)
    counts = covering(height, width, side)
    assert np.mean(1 - (1 - gamma) ** counts) < rate - 0.25 * rate**2
    assert np.mean(1 - keep_probabilities(rate, height, width, side)) == pytest.approx(rate)


def test_the_gradient_is_the_mask_over_the_keep_probability():
    x = tf.constant(np.random.default_rng(0).uniform(1, 2, size=(8, 8, 8, 4)), "float32")
    layer = ScheduledDropBlock2D(0.3, 3, data_format="channels_last", seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    keep = keep_probabilities(0.3, 8, 8, 3)[None, :, :, None]
    np.testing.assert_allclose(tape.gradient(y, x), (np.array(y) != 0) / keep, rtol=2e-5)


def test_a_dropped_element_is_zero_whatever_it_was():
    x = np.full((8, 8, 8, 4), np.nan, "float32")
    y = np.array(drop_block(x, 0.5, key(7), block_size=3))
    dropped = np.array(drop_block(np.ones_like(x), 0.5, key(7), block_size=3)) == 0
    np.testing.assert_array_equal(np.isnan(y), ~dropped)
    assert np.all(y[dropped] == 0)


def test_both_data_formats_drop_the_same_elements():
    x = np.random.default_rng(0).uniform(1, 2, size=(4, 9, 5, 8)).astype("float32")
    last = ScheduledDropBlock2D(0.5, 2, data_format="channels_last", seed=1)(x, training=True)
    first = ScheduledDropBlock2D(0.5, 2, data_format="channels_first", seed=1)
    np.testing.assert_array_equal(
        np.moveaxis(first(np.moveaxis(x, -1, 1), training=True), 1, -1), last
    )


def test_an_assigned_rate_acts_in_a_graph():
    layer = ScheduledDropBlock2D(0.0, 3, data_format="channels_last", seed=1)
    call = tf.function(lambda x: layer(x, training=True))
    x = np.ones((64, 8, 8, 64), "float32")
    for rate in (0.0, 0.5, 1.0):
        layer.rate.assign(rate)
        assert np.mean(call(x) == 0) == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("rank", [3, 5])
def test_inputs_of_another_rank_are_refused(rank):
    with pytest.raises(ValueError, match="expected ndim=4"):
        ScheduledDropBlock2D(0.5)(np.ones((2,) * rank, "float32"), training=True)
