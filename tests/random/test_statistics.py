"""The draws pass the statistical tests that coin flips pass.

Each test runs at two sizes: fast, and, marked `slow`, across at least 10⁸ bits
for each statistic and each stream. Seeds are fixed, so the outcome is always
the same; what is stated is for how many choices of seeds true coin flips would
fail: each p-value for one choice in a million, or two in a million where both
sides are rejected (`FALSE_ALARM`). A test has at most 50 p-values, and each of
the two parts has fewer than 1200, so a test would fail for at most one choice of
seeds in 10000, and a part for at most one in 400 (Bonferroni).

The streams are those of a dropout layer, whose key is `(seed, use, replica,
step)`; layers differ in their seed, and lanes are drawn by `tf.vectorized_map`.
"""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from kerasreg.random import bits, fold_in, keep_mask, key, normal, uniform

FALSE_ALARM = 1e-6
# Words of 32 bits in each table: 2^22 of them are 1.3·10⁸ bits.
every_size = pytest.mark.parametrize(
    "size", [pytest.param(2**15, id="fast"), pytest.param(2**22, marks=pytest.mark.slow, id="slow")]
)
PLACES = np.arange(32, dtype="uint32")

# A row for each number `i`; the elements of one draw are its columns.
STREAMS = {
    "elements": lambda i: key(7, 0, 0, i),
    "seeds": lambda i: key(i, 0, 0, 5),
    "uses": lambda i: key(7, i, 0, 5),
    "replicas": lambda i: key(7, 0, i, 5),
    "steps": lambda i: key(7, 0, 0, i),
    # One word only, and the first of two: both are among the last two, which follow raw.
    "only word": lambda i: key(i),
    "first of two": lambda i: key(i, 5),
    "folded in": lambda i: fold_in(key(7, 0, 0, 5), i),
}
# Few elements, so that the tests look at how draws follow each other.
COLUMNS = 64
every_stream = pytest.mark.parametrize("stream", STREAMS)
RATES = (0.5, 0.1, 0.01, 2.0**-10)


def assert_plausible(*p_values):
    """Rejects one p-value in a million, and one as extreme on the other side.

    Far too even is no more random than far too uneven.
    """
    assert all(FALSE_ALARM < p < 1 - FALSE_ALARM for p in p_values), p_values


def assert_not_small(*p_values):
    """For statistics of few values, whose largest p-value is 1."""
    assert all(p > FALSE_ALARM for p in p_values), p_values


def lanes(draw):
    """A compiled function that draws for each of many numbers at once."""
    draw_all = tf.function(lambda numbers: tf.vectorized_map(draw, numbers), jit_compile=True)
    return lambda numbers: np.array(draw_all(tf.convert_to_tensor(numbers)))


@functools.lru_cache(maxsize=16)
def table(stream, size):
    """`size` words: rows are draws, columns elements; of "elements", one draw in rows."""
    make_key = STREAMS[stream]
    if stream == "elements":
        return np.array(bits((size // COLUMNS, COLUMNS), make_key(0)))
    return lanes(lambda i: bits((COLUMNS,), make_key(i)))(tf.range(size // COLUMNS))


def signs(words):
    """Each word as a row of 32 numbers, 1 or -1."""
    flips = np.unpackbits(np.ascontiguousarray(words, dtype="<u4").view("uint8"), bitorder="little")
    return 2 * flips.reshape(-1, 32).astype("float32") - 1


def ones(words):
    """How many of the words have each of the 32 bits set."""
    return np.array([np.count_nonzero(words & (np.uint32(1) << place)) for place in PLACES])


def fair(words):
    """The p-value of the chi-square of the number of ones at each of the 32 places."""
    excess = ones(words) - words.size / 2
    return stats.chi2.sf((excess**2).sum() / (words.size / 4), 32)


def pairs_at(words, rows, columns):
    """Each word and the one some rows and columns further."""
    before = words[: len(words) - rows, max(0, -columns) : COLUMNS - max(0, columns)]
    after = words[rows:, max(0, columns) : COLUMNS + min(0, columns)]
    return before, after


# Bits.


@every_size
@every_stream
def test_each_bit_is_a_fair_coin(stream, size):
    assert_plausible(fair(table(stream, size)))


@every_size
@every_stream
def test_each_byte_takes_each_value_equally_often(stream, size):
    of_places = np.ascontiguousarray(table(stream, size)).view("uint8").reshape(-1, 4).T
    assert_plausible(*(stats.chisquare(np.bincount(b, minlength=256)).pvalue for b in of_places))


@every_size
@every_stream
def test_each_pair_of_neighbours_is_equally_frequent(stream, size):
    # The high bits of a word and of the next draw's word: the serial test.
    width = 4 if size < 2**20 else 8
    before, after = pairs_at(table(stream, size) >> np.uint32(32 - width), 1, 0)
    cells = np.bincount(((before << np.uint32(width)) | after).ravel(), minlength=4**width)
    # A chain of pairs that overlap has the chi-square of pairs less that of singles.
    single = np.bincount(before.ravel(), minlength=2**width)
    count = before.size
    of_pairs = (cells**2.0).sum() * 4**width / count - count
    of_singles = (single**2.0).sum() * 2**width / count - count
    assert_plausible(stats.chi2.sf(of_pairs - of_singles, 4**width - 2**width))


LAGS = (1, 2, 3, 4, 8, 16, 64, 100, 256, 1000, 1024, 4096, 10000)


@every_size
def test_elements_are_independent_at_each_lag(size):
    words = table("elements", size).ravel()
    lags = (*LAGS, *(2**power for power in range(14, 22) if 2**power < size))
    # Independent fair coins agree half of the time.
    assert_plausible(*(fair(words[lag:] ^ words[:-lag]) for lag in lags))


@every_size
@every_stream
def test_draws_are_independent_at_each_lag_and_at_each_shift(stream, size):
    words = table(stream, size)
    lags = [1, 2, 3, 4, 8, 16, 64, 100, 256]
    for columns in (-2, -1, 0, 1, 2):
        assert_plausible(*(fair(np.bitwise_xor(*pairs_at(words, lag, columns))) for lag in lags))


@every_size
@every_stream
def test_no_bit_predicts_another(stream, size):
    """The correlation of each place with each other, also of the next draw and element."""
    words = table(stream, size)
    for rows, columns in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1)):
        before, after = pairs_at(words, rows, columns)
        products = np.zeros((32, 32))
        for block in np.array_split(np.arange(len(before)), max(1, before.size >> 18)):
            # Exact: whole numbers below 2^24.
            products += tf.matmul(
                signs(before[block]), signs(after[block]), transpose_a=True
            ).numpy()
        if rows == columns == 0:
            products = products[np.triu_indices(32, 1)]
        chi_square = (products**2).sum() / before.size  # Each product about N(0, count).
        assert_plausible(stats.chi2.sf(chi_square, products.size))


@every_size
@every_stream
def test_birthdays_are_spaced_as_at_random(stream, size):
    """Marsaglia's test, with 2^12 birthdays in a year of 2^32 days.

    The number of spacings that are equal to another is Poisson of mean n³ / 4m.
    In one dimension a day is a word; in two, half of it comes from the next draw.
    """
    words = table(stream, size)
    low = np.uint32(0xFFFF)
    in_two = ((words[::2] >> np.uint32(16)) << np.uint32(16)) | (words[1::2] >> np.uint32(16))
    low_two = ((words[::2] & low) << np.uint32(16)) | (words[1::2] & low)
    for days in (words, in_two, low_two):
        years = np.sort(days.reshape(-1, 2**12), axis=1)
        spacings = np.sort(np.diff(years, axis=1), axis=1)
        equal = np.count_nonzero(np.diff(spacings, axis=1) == 0)
        mean = len(years) * (2.0**12) ** 3 / (4 * 2.0**32)
        assert_not_small(stats.poisson.sf(equal - 1, mean), stats.poisson.cdf(equal, mean))


def ranks(matrices):
    """The rank over GF(2) of each matrix, whose rows are words of 32 bits."""
    rows = matrices.copy()
    found = np.zeros(len(rows), dtype=int)
    each = np.arange(len(rows))
    for place in PLACES:
        has = (rows >> place) & 1
        # Rows that were a pivot are not used again.
        has[np.arange(32)[None] < found[:, None]] = 0
        pivot = has.argmax(axis=1)
        exists = has[each, pivot] == 1
        target = np.minimum(found, 31)
        taken = rows[each, pivot]
        rows[each[exists], pivot[exists]] = rows[each[exists], target[exists]]
        rows[each[exists], target[exists]] = taken[exists]
        below = (np.arange(32)[None] > target[:, None]) & exists[:, None]
        rows ^= np.where(below & (((rows >> place) & 1) == 1), taken[:, None], np.uint32(0))
        found += exists
    return found


def chance_of_rank(rank, n=32):
    """Of a random n × n matrix over GF(2), exactly."""
    product = math.prod((1 - 2.0 ** (i - n)) ** 2 / (1 - 2.0 ** (i - rank)) for i in range(rank))
    return 2.0 ** (rank * (2 * n - rank) - n * n) * product


def test_the_rank_is_that_of_elimination():
    identity = np.uint32(1) << PLACES
    dependent = identity.copy()
    dependent[5] = dependent[3] ^ dependent[9]
    np.testing.assert_array_equal(ranks(np.stack([identity, dependent, 0 * identity])), [32, 31, 0])
    assert sum(map(chance_of_rank, range(33))) == pytest.approx(1)


@every_size
@every_stream
def test_matrices_of_bits_have_the_ranks_of_random_ones(stream, size):
    words = table(stream, size)
    chances = np.array([chance_of_rank(rank) for rank in range(33)])
    cells = [chances[:31].sum(), chances[31], chances[32]]
    # Rows of a matrix that follow each other in a draw, and from draw to draw.
    for matrices in (words.reshape(-1, 32), words.T.reshape(-1, 32)):
        found = np.maximum(ranks(matrices), 30) - 30
        observed = np.bincount(found, minlength=3)
        assert_plausible(stats.chisquare(observed, np.array(cells) * len(matrices)).pvalue)


# Keys.


def avalanche(words, flipped):
    """Chi-square over the 32 places of how often a flip of an input bit flips an output bit."""
    excess = ones(words ^ flipped) - words.size / 2
    return (excess**2).sum() / (words.size / 4)


WORDS = ("seed", "use", "replica", "step")


@every_size
@pytest.mark.parametrize("place", range(4), ids=WORDS)
def test_one_bit_of_a_word_flips_each_output_bit_half_of_the_time(place, size):
    """For each of the 32 bits of the word: at 4 elements of many keys."""
    generator = np.random.default_rng(place)
    # Every output bit of every input bit is a count of its own: 32 × 32 of them.
    numbers = generator.integers(0, 2**32, (max(size // 128, 1024), 4), dtype=np.uint64)
    numbers = numbers.astype("uint32")

    drawn = lanes(lambda number: bits((4,), key(*tf.unstack(number))))
    plain, total = drawn(numbers), 0.0
    for bit in PLACES:
        flipped = numbers.copy()
        flipped[:, place] ^= np.uint32(1) << bit
        total += avalanche(plain, drawn(flipped))
    assert_plausible(stats.chi2.sf(total, 32 * 32))


@every_size
def test_one_bit_of_the_index_flips_each_output_bit_half_of_the_time(size):
    words = table("elements", size).ravel()
    powers = size.bit_length() - 1
    for power in range(powers):
        # Each pair once: the flip of the flipped is no new experiment.
        plain, flipped = np.moveaxis(words.reshape(-1, 2, 2**power), 1, 0)
        assert_plausible(stats.chi2.sf(avalanche(plain, flipped), 32))


@every_size
def test_seeds_that_differ_in_one_bit_draw_independently(size):
    plain = table("seeds", size)
    rows = len(plain)
    drawn = lanes(lambda i: bits((COLUMNS,), key(i, 0, 0, 5)))
    for bit in range(0, 31, 3):
        flip = plain ^ drawn(np.arange(rows, dtype="int32") ^ 2**bit)
        # Where both are rows of the table each pair is there twice.
        once = flip[(np.arange(rows) >> bit) & 1 == 0] if 2**bit < rows else flip
        assert_plausible(fair(once))


# Pairs of keys of two numbers that are alike: the keys of the left and of the right.
ALIKE = {
    "seed and step": (lambda i, j: key(i, 0, 0, j), lambda i, j: key(j, 0, 0, i)),
    "replica and step": (lambda i, j: key(7, 0, i, j), lambda i, j: key(7, 0, j, i)),
    "use and replica": (lambda i, j: key(7, i, j, 0), lambda i, j: key(7, j, i, 0)),
    "equal sum": (lambda i, j: key(7, 0, i, j), lambda i, j: key(7, 0, i + 1, j - 1)),
    "equal difference": (lambda i, j: key(7, 0, i, j), lambda i, j: key(7, 0, i ^ 1, j ^ 1)),
    "one word more": (lambda i, j: key(i, j), lambda i, j: key(0, i, j)),
    "folded": (lambda i, j: fold_in(key(i, 5), j), lambda i, j: fold_in(key(j, 5), i)),
    "folded or a word": (lambda i, j: fold_in(key(i, 5, 5), j), lambda i, j: key(i, j, 5, 5)),
    "folded twice": (
        lambda i, j: fold_in(fold_in(key(5), i), j),
        lambda i, j: fold_in(fold_in(key(5), j), i),
    ),
}


@every_size
@pytest.mark.parametrize("alike", ALIKE.values(), ids=ALIKE.keys())
def test_keys_that_a_weak_hash_confuses_draw_independently(alike, size):
    first, second = np.triu_indices(3 * math.isqrt(size // 16), 1)
    # Of (i, j) and (i ^ 1, j ^ 1) one: the other would be the same experiment.
    pairs = np.stack([first, second], axis=1)[first % 2 == 0][: size // 8].astype("int32")
    one, other = (
        lanes(lambda pair, make=make: bits((8,), make(pair[0], pair[1])))(pairs) for make in alike
    )
    assert_plausible(fair(one ^ other))


@every_size
@pytest.mark.parametrize("stream", ["seeds", "replicas", "steps", "folded in"])
def test_no_draw_is_a_shifted_copy_of_another(stream, size):
    """Were the key added to the index, draws of near keys would overlap."""
    make_key = STREAMS[stream]
    rows = max(size, 2**20) // 16
    drawn = lanes(lambda i: bits((16,), make_key(i)))(tf.range(rows)).astype("uint64")
    neighbours = ((drawn[:, :-1] << np.uint64(32)) | drawn[:, 1:]).ravel()
    # By chance two of 2^22 pairs of words, of 64 bits, are equal once in 2 million trials.
    assert len(np.unique(neighbours)) == neighbours.size


# Masks.


@functools.lru_cache(maxsize=2)
def drops(rate, size):
    return ~np.array(keep_mask((size,), rate, key(7, 0, 0, 3))[0])


def drops_of(stream, rate, rows, columns):
    make_key = STREAMS[stream]
    return ~lanes(lambda i: keep_mask((columns,), rate, make_key(i))[0])(tf.range(rows))


every_rate = pytest.mark.parametrize("rate", RATES)
# 24 bits decide on an element: 2^22 elements are 10⁸ bits.


def in_common(before, after):
    """Both p-values of the number of common drops of two masks, given the drops of each."""
    drops_of_each = np.count_nonzero(before), np.count_nonzero(after)
    law = stats.hypergeom(before.size, *drops_of_each)
    both = np.count_nonzero(before & after)
    return law.sf(both - 1), law.cdf(both)


def exact(rate):
    """Masks resolve a rate to 2^-24."""
    return np.round(np.float64(np.float32(rate)) * 2**24) / 2**24


@every_size
@every_rate
def test_gaps_between_drops_are_geometric(rate, size):
    gaps = np.diff(np.flatnonzero(drops(rate, size)))
    rate = exact(rate)
    # Classes of about equal chance, and of at least 10 gaps each.
    classes = int(min(100, len(gaps) // 10, 1 / rate))
    edges = np.unique(stats.geom.ppf(np.linspace(0, 1, classes + 1)[1:-1], rate))
    chances = np.diff(np.concatenate([[0], stats.geom.cdf(edges, rate), [1]]))
    observed = np.bincount(np.searchsorted(edges, gaps), minlength=len(chances))
    assert_plausible(stats.chisquare(observed, chances * len(gaps)).pvalue)


@every_size
@every_rate
def test_masks_are_independent_across_elements(rate, size):
    mask = drops(rate, size)
    lags = (*LAGS, *(2**power for power in range(14, 22) if 2**power < size))
    for lag in lags:
        assert_not_small(*in_common(mask[lag:], mask[:-lag]))


@every_size
@every_rate
@pytest.mark.parametrize("stream", ["seeds", "replicas", "steps"])
def test_masks_of_a_stream(stream, rate, size):
    rows, columns = size // 256, 256
    mask = drops_of(stream, rate, rows, columns)
    rate = exact(rate)
    variance = rate * (1 - rate)
    # Each element is kept equally often over the draws,
    of_elements = (mask.sum(axis=0) - rows * rate) ** 2 / (rows * variance)
    if rows * rate > 100:  # Normal enough.
        assert_plausible(stats.chi2.sf(of_elements.sum(), columns))
    # what a draw drops in all is binomial, no more even and no less,
    counts = mask.sum(axis=1)
    edges = np.unique(stats.binom.ppf(np.linspace(0, 1, 21)[1:-1], columns, rate))
    chances = np.diff(np.concatenate([[0], stats.binom.cdf(edges, columns, rate), [1]]))
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(chances))
    enough = chances * rows > 5
    observed = np.append(observed[enough], observed[~enough].sum())
    expected = np.append(chances[enough], chances[~enough].sum()) * rows
    filled = expected > 0
    assert_plausible(stats.chisquare(observed[filled], expected[filled]).pvalue)
    # and draws that follow each other have drops in common by chance alone.
    for lag in (1, 2, 3, 16, 64):
        for shift in (0, 1):
            before, after = mask[:-lag, : columns - shift], mask[lag:, shift:]
            assert_not_small(*in_common(before, after))


@every_size
@pytest.mark.parametrize("power", [1, 4, 8, 12, 16, 20])
def test_the_mask_drops_at_the_rate(power, size):
    # Many draws, for one draw of 2^32 elements would have each word exactly once.
    rows = size // 2**12
    drop = drops_of("steps", 2.0**-power, rows, 2**12)
    assert_not_small(stats.binomtest(np.count_nonzero(drop), drop.size, 2.0**-power).pvalue)


# Numbers.


def kolmogorov_smirnov(numbers, law):
    return stats.kstest(numbers.astype("float64"), law, method="asymp").pvalue


@every_size
@pytest.mark.parametrize(
    ("draw", "law"), [(uniform, "uniform"), (normal, "norm")], ids=["uniform", "normal"]
)
def test_numbers_have_their_law(draw, law, size):
    """Kolmogorov-Smirnov of one long draw, and of single elements of many."""
    long = np.array(draw((size,), key(7, 0, 0, 3)))
    steps = lanes(lambda i: draw((4,), key(7, 0, 0, i)))(tf.range(size // 4))
    assert_plausible(*(kolmogorov_smirnov(part, law) for part in (long, *steps.T)))
    # The tails, which Kolmogorov-Smirnov hardly looks at.
    for chance in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        numbers = np.concatenate([long, steps.ravel()])
        chance = np.round(chance * 2**23) / 2**23  # Numbers are (b + ½) / 2²³.
        low = chance if law == "uniform" else special.ndtri(chance)
        high = 1 - chance if law == "uniform" else -low
        for tail in (numbers < low, numbers > high):
            count = np.count_nonzero(tail)
            assert_not_small(stats.binomtest(count, numbers.size, chance).pvalue)


@every_size
@pytest.mark.parametrize("stream", ["seeds", "replicas", "steps"])
def test_normal_numbers_are_uncorrelated_and_of_variance_1(stream, size):
    make_key = STREAMS[stream]
    z = lanes(lambda i: normal((COLUMNS,), make_key(i)))(tf.range(size // COLUMNS))
    z = z.astype("float64")
    assert_plausible(stats.chi2.sf((z**2).sum(), z.size), stats.norm.sf(z.mean() * z.size**0.5))
    for numbers in (z, z**2 - 1):
        variance = np.mean(numbers**2)
        for lag, shift in ((0, 1), (1, 0), (1, 1), (2, 0)):
            before = numbers[: len(z) - lag, : COLUMNS - shift]
            products = before * numbers[lag:, shift:]
            assert_plausible(stats.norm.sf(products.sum() / (variance * products.size**0.5)))


def test_neither_0_nor_1_is_drawn_and_no_normal_number_is_infinite():
    for step in range(4):
        fractions = np.array(uniform((2**22,), key(7, step)))
        assert 0 < fractions.min() < 2.0**-18
        assert 1 - 2.0**-18 < fractions.max() < 1
        numbers = np.array(normal((2**22,), key(7, step)))
        assert np.abs(numbers).max() < 5.8
