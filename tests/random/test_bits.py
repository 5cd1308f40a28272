"""Random bits: the same for the same arguments everywhere, and as good as coin flips.

The statistical tests use fixed seeds, so they give the same answer each time.
With true coin flips each would fail for one choice of seeds in a million
(`FALSE_ALARM`).
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from kerasreg.random import bits, keep_mask, key, normal, replica_id, uniform

laws = settings(deadline=None, max_examples=25, derandomize=True)
words = st.integers(-(2**31), 2**31 - 1)
rates = st.floats(0, 1, width=32, allow_subnormal=False)

FALSE_ALARM = 1e-6
WORD = np.arange(32, dtype="uint32")
SEEDS = (0, 1, 7, 2**31 - 1)


def draw(shape, *key_words):
    return np.array(bits(shape, key(*key_words)))


def coins(drawn):
    """Each 32-bit word as 32 numbers, 0 or 1, on a last axis."""
    return (np.asarray(drawn)[..., None] >> WORD) & 1


def assert_fair(flips):
    """Chi-square of the frequency of ones in each column of (flips, columns)."""
    flips = flips.reshape(-1, flips.shape[-1])
    count, columns = flips.shape
    excess = flips.sum(axis=0) - count / 2
    chi_square = (excess**2 / (count / 4)).sum()
    p = stats.chi2.sf(chi_square, columns)
    # Far too even is no more random than far too uneven.
    assert FALSE_ALARM < p < 1 - FALSE_ALARM


# Determinism.


def test_equal_keys_give_equal_bits_and_other_keys_others():
    np.testing.assert_array_equal(draw((100,), 7, 3), draw((100,), 7, 3))
    assert np.mean(draw((100,), 7, 3) == draw((100,), 7, 4)) < 0.05


def test_the_order_and_the_number_of_words_matter():
    keys = [(1, 2), (2, 1), (1,), (1, 0), (0, 1), (1, 2, 0), ()]
    drawn = {draw((4,), *words).tobytes() for words in keys}
    assert len(drawn) == len(keys)


@laws
@given(words, words)
def test_a_key_of_tensors_or_numpy_integers_is_the_key_of_the_python_integers(first, second):
    expected = [int(word) for word in key(first, second)]
    for kind in (np.int32, np.int64, lambda n: tf.constant(n, "int32")):
        assert [int(word) for word in key(kind(first), kind(second))] == expected


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_graphs_and_xla_draw_the_bits_of_eager_execution(jit_compile):
    @tf.function(jit_compile=jit_compile)
    def compiled(seed, step):
        drawn = bits((37, 5), key(seed, step))
        return drawn, *keep_mask((37, 5), 0.3, key(seed, step))

    for seed in SEEDS:
        drawn, mask, scale = compiled(tf.constant(seed), tf.constant(11))
        np.testing.assert_array_equal(drawn, draw((37, 5), seed, 11))
        eager_mask, eager_scale = keep_mask((37, 5), 0.3, key(seed, 11))
        np.testing.assert_array_equal(mask, eager_mask)
        assert float(scale) == float(eager_scale)


def test_elements_are_numbered_by_row_and_column_whatever_the_shape():
    # The axes before the last one are rows, in row-major order.
    rows = draw((6, 4), 7)
    np.testing.assert_array_equal(draw((2, 3, 4), 7), rows.reshape(2, 3, 4))
    np.testing.assert_array_equal(draw((4,), 7), rows[0])
    np.testing.assert_array_equal(draw((), 7), rows[0, 0])


@settings(laws, max_examples=10)
@given(hnp.array_shapes(max_dims=4, max_side=5), st.integers(0, 60), words)
def test_a_wider_tensor_has_the_bits_of_a_narrower_one(shape, more, seed):
    *rows, width = shape
    wide, narrow = (*rows, width + more), shape
    np.testing.assert_array_equal(draw(wide, seed)[..., :width], draw(narrow, seed))
    kept, _ = keep_mask(narrow, 0.4, key(seed))
    np.testing.assert_array_equal(keep_mask(wide, 0.4, key(seed))[0][..., :width], kept)
    np.testing.assert_array_equal(uniform(wide, key(seed))[..., :width], uniform(narrow, key(seed)))
    # Logarithms of several numbers at once are rounded in another way than that of one.
    np.testing.assert_allclose(
        normal(wide, key(seed))[..., :width], normal(narrow, key(seed)), rtol=0, atol=4e-6
    )


@laws
@given(st.integers(1, 12), st.integers(0, 12))
def test_more_rows_have_the_bits_of_fewer(rows, more):
    np.testing.assert_array_equal(draw((rows + more, 5), 7)[:rows], draw((rows, 5), 7))


def numbers(rows, columns):
    """The number of each element, by which a key draws; the hash is a bijection of it."""
    first, second = np.arange(rows, dtype="uint64"), np.arange(columns, dtype="uint64")
    return ((first[:, None] * 0x9E3779B1 + second) % 2**32).ravel()


# Long and narrow, square, short and wide.
SHAPES = [(2**22, 1), (2**20, 4), (2**16, 64), (2**11, 2**11), (1000, 4001), (3, 2**20), (1, 2**22)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_two_of_millions_of_elements_have_the_same_number(shape):
    of_shape = np.sort(numbers(*shape))
    assert np.all(of_shape[1:] > of_shape[:-1])


def test_no_two_elements_have_the_same_bits():
    # As no two numbers are equal, and the hash is a bijection.
    drawn = draw((2**14, 16), 7).ravel()
    assert len(np.unique(drawn)) == len(drawn)


def test_numbers_are_distinct_in_tensors_of_fewer_than_200_million_elements():
    # Two rows share a number if they begin closer to each other, modulo 2³², than a row is wide.
    # Of all rows up to a count, those begin closest whose distance is the denominator of a
    # convergent of the continued fraction.
    step, around = 0x9E3779B1, 2**32
    denominators, a, b = [0, 1], around, step
    while b:
        denominators.append(a // b * denominators[-1] + denominators[-2])
        a, b = b, a % b
    for rows in denominators[1:-1]:
        closest = min(rows * step % around, -rows * step % around)
        assert (rows + 1) * (closest + 1) > 2 * 10**8


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 4, 3, 1), (4, 3, 1, 1)])
def test_axes_of_length_one_do_not_count(shape):
    np.testing.assert_array_equal(draw(shape, 7), draw((4, 3), 7).reshape(shape))


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3)])
def test_any_shape_is_drawn(shape):
    drawn = bits(shape, key(7))
    assert tuple(drawn.shape) == shape
    assert keras.backend.standardize_dtype(drawn.dtype) == "uint32"


def test_entries_of_a_shape_may_be_tensors():
    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def like(x):
        return bits((tf.shape(x)[0], 3), key(7))

    np.testing.assert_array_equal(like(tf.zeros((5, 3))), draw((5, 3), 7))


def test_a_vectorised_draw_over_keys_is_the_loop_over_them():
    seeds = tf.range(6)
    options = {"fallback_to_while_loop": False}
    drawn = tf.vectorized_map(lambda seed: bits((4, 5), key(seed, 2)), seeds, **options)
    masks = tf.vectorized_map(
        lambda lane: keep_mask((4, 5), lane[1], key(lane[0], 2)),
        (seeds, tf.linspace(0.0, 1.0, 6)),
        **options,
    )
    for lane in range(6):
        np.testing.assert_array_equal(drawn[lane], draw((4, 5), lane, 2))
        mask, scale = keep_mask((4, 5), tf.linspace(0.0, 1.0, 6)[lane], key(lane, 2))
        np.testing.assert_array_equal(masks[0][lane], mask)
        assert float(masks[1][lane]) == float(scale)


# Randomness.


@pytest.mark.parametrize("seed", SEEDS)
def test_each_bit_is_a_fair_coin(seed):
    assert_fair(coins(draw((2**16,), seed)))


@pytest.mark.parametrize("seed", SEEDS)
def test_each_byte_takes_each_value_equally_often(seed):
    drawn = draw((2**17,), seed).view("uint8").reshape(-1, 4)
    for place in range(4):
        counts = np.bincount(drawn[:, place], minlength=256)
        p = stats.chisquare(counts).pvalue
        assert FALSE_ALARM < p < 1 - FALSE_ALARM


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 1024, 4096])
def test_elements_are_independent_of_their_neighbours(lag):
    drawn = draw((2**16,), 7)
    # Independent fair coins agree half of the time.
    assert_fair(coins(drawn[lag:] ^ drawn[:-lag]))


@pytest.mark.parametrize("width", [1, 2, 3, 10, 64, 1000])
@pytest.mark.parametrize("lag", [1, 2, 3, 13, 34])
def test_rows_are_independent_of_their_neighbours(width, lag):
    # Of lags that are Fibonacci numbers, rows begin closest to each other.
    drawn = draw((2**16 // width, width), 7)
    assert_fair(coins(drawn[lag:] ^ drawn[:-lag]))
    # No row is a shifted copy of the one before it.
    if width > 1:
        assert_fair(coins(drawn[lag:, 1:] ^ drawn[:-lag, :-1]))
        assert_fair(coins(drawn[lag:, :-1] ^ drawn[:-lag, 1:]))


@pytest.mark.parametrize("shape", [(2**16, 1), (2**13, 8), (64, 1024)], ids=str)
def test_each_bit_of_rows_is_a_fair_coin(shape):
    drawn = draw(shape, 7)
    assert_fair(coins(drawn))
    for part in (drawn[::2], drawn[:, :1], drawn[:64]):
        assert_fair(coins(part))


def lanes(make_key, count=512, size=128):
    """`count` draws at once, one for each number that `make_key` is given."""
    drawn = tf.vectorized_map(lambda i: bits((size,), make_key(i)), tf.range(count))
    return np.array(drawn)


STREAMS = {
    "seeds": lambda i: key(i),
    "steps": lambda i: key(7, i),
    "uses": lambda i: key(7, 3, i),
    "replicas": lambda i: key(7, 3, 1, i),
}
every_stream = pytest.mark.parametrize("make_key", STREAMS.values(), ids=STREAMS.keys())


@every_stream
def test_one_element_is_a_fair_coin_over(make_key):
    assert_fair(coins(lanes(make_key)))


@every_stream
def test_neighbouring_draws_are_independent_over(make_key):
    drawn = lanes(make_key)
    assert_fair(coins(drawn[1:] ^ drawn[:-1]))
    assert_fair(coins(drawn[2:] ^ drawn[:-2]))
    # The next draw is no shifted copy of this one.
    assert_fair(coins(drawn[1:, 1:] ^ drawn[:-1, :-1]))


@every_stream
def test_no_bit_predicts_another_of_the_next_draw_over(make_key):
    signs = 2.0 * coins(lanes(make_key)) - 1
    before, after = signs[:-1].reshape(-1, 32), signs[1:].reshape(-1, 32)
    correlations = before.T @ after / np.sqrt(len(before))  # Each about N(0, 1).
    p = stats.chi2.sf((correlations**2).sum(), 32 * 32)
    assert FALSE_ALARM < p < 1 - FALSE_ALARM


def test_seeds_and_steps_that_are_swapped_or_shifted_do_not_meet():
    # Were a key the sum of its words, (seed, step + 1) would draw as (seed + 1, step).
    seeds, steps = (grid.ravel() for grid in np.meshgrid(np.arange(256), np.arange(256)))
    pairs = tf.constant(np.stack([seeds, steps], axis=1), "int32")
    drawn = tf.vectorized_map(lambda pair: bits((2,), key(pair[0], pair[1])), pairs)
    # 2^16 random draws of 64 bits have a pair in common once in 10^10 trials.
    assert len(np.unique(drawn, axis=0)) == len(pairs)


# Masks.


@laws
@given(rates, words)
def test_the_scale_is_the_inverse_of_the_exact_keep_probability(rate, seed):
    mask, scale = keep_mask((8,), rate, key(seed))
    dropped = np.round(np.float64(rate) * 2**24)  # Rates are resolved to 2^-24.
    kept = 1 - dropped / 2**24
    expected = np.float32(1 / kept) if kept else 0.0
    assert float(scale) == expected
    assert mask.dtype == "bool"


def test_rate_0_keeps_everything_and_rate_1_nothing():
    mask, scale = keep_mask((2**20,), 0.0, key(7))
    assert (bool(np.all(mask)), float(scale)) == (True, 1.0)
    mask, scale = keep_mask((2**20,), 1.0, key(7))
    assert (bool(np.any(mask)), float(scale)) == (False, 0.0)


def test_the_smallest_rate_and_the_largest_are_not_rounded_away():
    assert float(keep_mask((), 2.0**-24, key(7))[1]) > 1.0
    assert float(keep_mask((), 1 - 2.0**-24, key(7))[1]) == 2.0**24


@pytest.mark.parametrize("rate", [2**-8, 0.1, 0.5, 0.9])
def test_the_mask_drops_at_the_rate(rate):
    dropped = 2**20 - np.count_nonzero(keep_mask((2**20,), rate, key(7))[0])
    p = stats.binomtest(dropped, 2**20, rate).pvalue
    assert p > FALSE_ALARM


@laws
@given(rates, rates, words)
def test_a_higher_rate_drops_all_that_a_lower_one_drops(one, other, seed):
    low, high = sorted((one, other))
    kept_low = np.array(keep_mask((64,), low, key(seed))[0])
    kept_high = np.array(keep_mask((64,), high, key(seed))[0])
    assert not np.any(kept_high & ~kept_low)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_rate_may_be_a_tensor(dtype):
    mask, scale = keep_mask((100,), tf.constant(0.25, dtype), key(7))
    np.testing.assert_array_equal(mask, keep_mask((100,), 0.25, key(7))[0])
    assert scale.dtype == "float32"
    assert float(scale) == np.float32(1 / 0.75)


def test_there_is_one_replica_without_a_strategy():
    assert replica_id() == 0
