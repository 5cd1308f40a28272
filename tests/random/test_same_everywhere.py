"""The bits are those of the documented formula, in whichever way a program is executed.

The formula is written once more here, in NumPy, from what is published: the two
hash functions are C. Wellons' (https://nullprogram.com/blog/2018/07/31/ and the
list that follows it), and the constant that is added is that of the golden ratio.
"""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import kerasreg
from kerasreg._keras.fused import _kernel
from kerasreg.random import Key, bits, fold_in, keep_mask, key, normal, uniform

laws = settings(deadline=None, max_examples=50, derandomize=True)
words = st.integers(-(2**31), 2**32 - 1)
rates = st.floats(0, 1, width=32, allow_subnormal=False)

HERE = pathlib.Path(__file__).parent

SEED, REPLICA, RATE, SHAPE = 7, 1, 0.3, (5, 3)
# Of normal numbers: a few units in the last place of an angle, times a radius up to 5.8.
TOLERANCE = {"rtol": 0, "atol": 4e-6}
STEPS = (0, 1, 2, 1000, 2**31 - 1)

# The formula.

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio.


def u32(number):
    return np.uint32(int(number) % 2**32)


def hashed(x, shifts, multipliers):
    """Rounds of `x ^= x >> shift; x *= multiplier`, modulo 2³²."""
    for shift, multiplier in zip(shifts, multipliers, strict=True):
        x = (x ^ (x >> u32(shift))) * u32(multiplier)
    return x


def lowbias32(x):
    x = hashed(x, (16, 15), (0x21F0AAAD, 0xD35A2D97))
    return x ^ (x >> u32(15))


def absorbed(state, word):
    first, second = state
    first = lowbias32((first ^ u32(word)) + u32(GOLDEN >> 32))
    return first, lowbias32(second + first)


def expected_key(*key_words):
    state = u32(GOLDEN >> 32), u32(GOLDEN)
    for word in (len(key_words), *key_words[:-2]):
        state = absorbed(state, word)
    raw = [0, 0, *key_words][-2:]
    return *state, *map(u32, raw)


def counters(shape):
    """`0x9E3779B1·r + i` for the element at `i` on the last axis and `r` on the others."""
    columns = np.arange(shape[-1] if shape else 1, dtype="uint32")
    rows = np.arange(np.prod(shape[:-1], dtype=int), dtype="uint32")
    return (rows[:, None] * u32(0x9E3779B1) + columns).ravel()


def words_of(shape, first, second, before_last, last):
    """`triple32` of the counter, without its last shift; the key enters at two places."""
    first, second = absorbed(absorbed((first, second), before_last), last)
    x = counters(shape) + first
    x = hashed(x, [17], [0xED5AD4BB])
    x = ((x ^ (x >> u32(11))) + second) * u32(0xAC4C1B51)
    return hashed(x, [15], [0x31848BAB]).reshape(shape)


def bits_of(shape, *parts):
    x = words_of(shape, *parts)
    return x ^ (x >> u32(14))


def expected_bits(shape, key_words):
    return bits_of(shape, *expected_key(*key_words))


def expected_mask(shape, rate, key_words):
    drawn = words_of(shape, *expected_key(*key_words)) >> u32(8)
    return drawn >= np.round(np.float32(rate) * np.float64(2**24))


def fractions(random_bits):
    return ((random_bits >> u32(9)) + 0.5) / 2**23


def expected_uniform(shape, key_words):
    return fractions(expected_bits(shape, key_words))


def expected_normal(shape, key_words):
    first, second, *raw = expected_key(*key_words)
    # "norm" in ASCII is folded into the key of the second draw.
    folded = absorbed((first, second), int.from_bytes(b"norm", "big"))
    angle = fractions(bits_of(shape, *folded, *raw))
    return np.sqrt(-2 * np.log(expected_uniform(shape, key_words))) * np.cos(2 * np.pi * angle)


def expected_scale(rate):
    kept = 2**24 - np.round(np.float32(rate) * np.float64(2**24))
    return np.float32(2**24 / kept) if kept else np.float32(0)


@pytest.fixture(autouse=True)
def wrap_around():
    # NumPy's scalars warn where its arrays, silently, do what is wanted.
    with np.errstate(over="ignore"):
        yield


def test_the_reference_is_the_published_hash():
    # From the author's own test vectors: the hash keeps 0, and is a bijection.
    assert lowbias32(u32(0)) == 0
    assert len(np.unique(lowbias32(np.arange(2**16, dtype="uint32")))) == 2**16


@laws
@given(st.lists(words, max_size=6))
def test_a_key_is_the_hash_of_all_words_but_two_and_these_two(key_words):
    with np.errstate(over="ignore"):
        assert tuple(map(int, key(*key_words))) == tuple(map(int, expected_key(*key_words)))


@laws
@given(st.lists(words, max_size=6), words)
def test_a_number_is_folded_into_the_hash(key_words, number):
    with np.errstate(over="ignore"):
        first, second, *raw = expected_key(*key_words)
        expected = (*absorbed((first, second), number), *raw)
    for kind in (int, np.int64, lambda n: tf.constant(n, "int64")):
        assert tuple(map(int, fold_in(key(*key_words), kind(number)))) == tuple(map(int, expected))


@laws
@given(st.lists(words, max_size=6))
def test_bits_are_those_of_the_formula(key_words):
    with np.errstate(over="ignore"):
        expected = expected_bits((40,), key_words)
    np.testing.assert_array_equal(bits((40,), key(*key_words)), expected)


@laws
@given(rates, words)
def test_a_mask_compares_the_24_high_bits_with_the_rate(rate, seed):
    mask, scale = keep_mask((40,), rate, key(seed))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(mask, expected_mask((40,), rate, [seed]))
    assert float(scale) == expected_scale(rate)


def test_an_element_is_dropped_from_the_rate_above_its_level_on():
    # All 24 bits count: with fewer some rates would not be kept to.
    levels = words_of((64,), *expected_key(7)) >> u32(8)
    for element, level in enumerate(levels.astype("float64")):
        mask, _ = keep_mask((64,), level / 2**24, key(7))
        assert mask[element]
        mask, _ = keep_mask((64,), (level + 1) / 2**24, key(7))
        assert not mask[element]


@laws
@given(words)
def test_uniform_and_normal_are_those_of_the_formula(seed):
    with np.errstate(over="ignore"):
        fractions, numbers = expected_uniform((40,), [seed]), expected_normal((40,), [seed])
    np.testing.assert_array_equal(uniform((40,), key(seed)), fractions)
    np.testing.assert_allclose(normal((40,), key(seed)), numbers, **TOLERANCE)


def test_long_draws_are_those_of_the_formula_too():
    np.testing.assert_array_equal(bits((2**21,), key(7, 3)), expected_bits((2**21,), (7, 3)))


# The same in each kind of execution.


def at(step, shape=SHAPE, replica=REPLICA):
    """All that is drawn at one step."""
    drawn = key(SEED, 0, replica, step)
    mask, scale = keep_mask(shape, RATE, drawn)
    return bits(shape, drawn), mask, scale, uniform(shape, drawn), normal(shape, drawn)


SIGNATURE = tuple(
    tf.TensorSpec(shape, dtype)
    for shape, dtype in [
        (SHAPE, "uint32"),
        (SHAPE, "bool"),
        ((), "float32"),
        (SHAPE, "float32"),
        (SHAPE, "float32"),
    ]
)


def one_by_one(draw):
    """What draws at one step, over all steps."""
    return lambda steps: [tf.stack(parts) for parts in zip(*map(draw, steps), strict=True)]


def of_python_integers(steps):
    return one_by_one(at)([int(step) for step in steps])


def vectorised(steps, draw=at):
    # A fallback would be a loop over lanes: as slow as no lanes.
    return tf.vectorized_map(draw, steps, fallback_to_while_loop=False)


def mapped(steps):
    return tf.map_fn(at, steps, fn_output_signature=SIGNATURE)


def looped(steps):
    parts = [tf.TensorArray(spec.dtype, len(STEPS), element_shape=spec.shape) for spec in SIGNATURE]

    def body(i, parts):
        drawn = at(steps[i])
        return i + 1, [part.write(i, value) for part, value in zip(parts, drawn, strict=True)]

    parts = tf.while_loop(lambda i, _: i < len(STEPS), body, [0, parts])[1]
    return [part.stack() for part in parts]


def branched(step):
    return tf.cond(step >= 0, lambda: at(step), lambda: at(0))


def of_unknown_length(**options):
    """A first axis whose length is not known while the program is traced."""

    @tf.function(input_signature=[tf.TensorSpec([], "int32"), tf.TensorSpec([None, 3])], **options)
    def draw(step, x):
        return at(step, (tf.shape(x)[0], 3))

    return lambda step: draw(step, tf.zeros(SHAPE))


def of_unknown_lengths(step):
    @tf.function(input_signature=[tf.TensorSpec([], "int32"), tf.TensorSpec(None)])
    def draw(step, x):
        lengths = tf.shape(x)
        return at(step, (lengths[0], lengths[1]))

    return draw(step, tf.zeros(SHAPE))


def nested(outer, inner=None, traced_before=False):
    """A function inside a function; its trace may be one that was made outside."""
    inner = tf.function(at, **(inner or {}))
    if traced_before:
        inner(tf.constant(3))
    return lambda steps: outer(steps, inner)


def in_graph(steps, draw):
    return tf.function(one_by_one(draw))(tf.unstack(steps))


def in_xla(steps, draw):
    return tf.function(one_by_one(draw), jit_compile=True)(tf.unstack(steps))


def in_a_dataset(steps):
    drawn = tf.data.Dataset.from_tensor_slices(steps).map(at).batch(len(STEPS))
    return next(iter(drawn))


XLA = {"jit_compile": True}
MODES = {
    "eager": one_by_one(at),
    "eager, Python integers": of_python_integers,
    "eager, variables": one_by_one(lambda step: at(keras.Variable(step, trainable=False))),
    "graph": one_by_one(tf.function(at)),
    "XLA": one_by_one(tf.function(at, **XLA)),
    "vectorised": vectorised,
    "vectorised in a graph": tf.function(vectorised),
    "vectorised in XLA": tf.function(vectorised, **XLA),
    "map_fn": mapped,
    "map_fn in a graph": tf.function(mapped),
    "map_fn in XLA": tf.function(mapped, **XLA),
    "while_loop in a graph": tf.function(looped),
    "while_loop in XLA": tf.function(looped, **XLA),
    "cond in a graph": one_by_one(tf.function(branched)),
    "cond in XLA": one_by_one(tf.function(branched, **XLA)),
    "unknown length": one_by_one(of_unknown_length()),
    "unknown length in XLA": one_by_one(of_unknown_length(**XLA)),
    "unknown lengths": one_by_one(of_unknown_lengths),
    "function in a graph": nested(in_graph),
    "function in XLA": nested(in_xla),
    "XLA in a graph": nested(in_graph, XLA),
    "XLA in XLA": nested(in_xla, XLA),
    "function, vectorised": nested(vectorised),
    "function, vectorised in a graph": nested(tf.function(vectorised)),
    "function, vectorised in XLA": nested(tf.function(vectorised, **XLA)),
    "XLA, vectorised": nested(vectorised, XLA),
    "traced, in a graph": nested(in_graph, traced_before=True),
    "traced, in XLA": nested(in_xla, traced_before=True),
    "traced, vectorised": nested(vectorised, traced_before=True),
    "traced, vectorised in XLA": nested(tf.function(vectorised, **XLA), traced_before=True),
    "dataset": in_a_dataset,
}


def assert_as_expected(drawn, replica=REPLICA):
    """Equality to the bit of all but `normal`: each compiler has a logarithm of its own."""
    drawn = [np.array(part) for part in drawn]
    for lane, step in enumerate(STEPS):
        key_words = (SEED, 0, replica, step)
        random_bits, mask, scale, fractions, numbers = (part[lane] for part in drawn)
        np.testing.assert_array_equal(random_bits, expected_bits(SHAPE, key_words))
        np.testing.assert_array_equal(mask, expected_mask(SHAPE, RATE, key_words))
        assert float(scale) == expected_scale(RATE)
        np.testing.assert_array_equal(fractions, expected_uniform(SHAPE, key_words))
        np.testing.assert_allclose(numbers, expected_normal(SHAPE, key_words), **TOLERANCE)


# Of two ways at once, each of which is also there alone or with another one.
LONG = {
    "vectorised",
    "map_fn in XLA",
    "while_loop in a graph",
    "unknown length",
    "function in XLA",
    "XLA in XLA",
    "function, vectorised",
    "function, vectorised in XLA",
    "traced, in XLA",
    "traced, vectorised in XLA",
}
every_mode = pytest.mark.parametrize(
    "draw",
    [
        pytest.param(draw, id=name, marks=pytest.mark.long if name in LONG else ())
        for name, draw in MODES.items()
    ],
)


@pytest.mark.short(
    "eager",
    "eager, Python integers",
    "eager, variables",
    "graph",
    "XLA",
    "vectorised in a graph",
    "map_fn in a graph",
    "cond in a graph",
    "while_loop in XLA",
    "traced, in a graph",
    "dataset",
    "unknown lengths",
)
@every_mode
def test_the_bits_do_not_depend_on_the_execution(draw):
    assert_as_expected(draw(tf.constant(STEPS)))


@pytest.mark.long
def test_each_replica_draws_the_bits_of_its_number(run_python, tmp_path):
    report = tmp_path / "report.npz"
    # A process of its own: logical devices are made before TensorFlow begins.
    run_python(HERE / "same_everywhere_two_replicas.py", report)
    found = np.load(report)
    for mode in ("graph", "XLA"):
        for replica in (0, 1):
            drawn = [found[f"{mode}/{replica}/{part}"] for part in range(5)]
            assert_as_expected(drawn, replica)


ON_JAX = """
import json, sys, jax, numpy as np
from kerasreg.random import bits, keep_mask, key, normal, uniform
seed, replica, rate, shape, steps = json.loads(sys.argv[1])
def at(step):
    drawn = key(seed, 0, replica, step)
    numbers = uniform(shape, drawn), normal(shape, drawn)
    return bits(shape, drawn), *keep_mask(shape, rate, drawn), *numbers
modes = {
    "eager": lambda steps: [np.stack(parts) for parts in zip(*map(at, steps))],
    "jit": lambda steps: [np.stack(parts) for parts in zip(*map(jax.jit(at), steps))],
    "vmap": jax.vmap(at),
    "jit vmap": jax.jit(jax.vmap(at)),
    "map": lambda steps: jax.lax.map(at, steps),
}
steps = jax.numpy.array(steps)
print(json.dumps({
    mode: [np.asarray(part).tolist() for part in draw(steps)] for mode, draw in modes.items()
}))
"""


def test_jax_draws_the_same(run_python):
    case = json.dumps([SEED, REPLICA, RATE, SHAPE, STEPS])
    modes = json.loads(run_python("-c", ON_JAX, case, KERAS_BACKEND="jax").splitlines()[-1])
    for drawn in modes.values():
        assert_as_expected(drawn)


def test_normal_numbers_are_equal_to_float_tolerance_between_executions():
    drawn = key(SEED)
    executions = [
        lambda: normal((2**16,), drawn),
        tf.function(lambda: normal((2**16,), drawn)),
        tf.function(lambda: normal((2**16,), drawn), jit_compile=True),
    ]
    exact = expected_normal((2**16,), [SEED])
    for execute in executions:
        np.testing.assert_allclose(execute(), exact, **TOLERANCE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_rate_of_any_dtype_is_the_number_that_it_holds(dtype):
    held = float(tf.cast(tf.constant(0.3, dtype), "float32"))

    def draw(rate):
        return keep_mask((1000,), rate, key(7))

    rate = tf.constant(0.3, dtype)
    for execute in (draw, tf.function(draw), tf.function(draw, jit_compile=True)):
        mask, scale = execute(rate)
        np.testing.assert_array_equal(mask, expected_mask((1000,), held, [7]))
        assert float(scale) == expected_scale(held)


# Kernels.


@pytest.fixture
def kernels():
    """How many kernels were made since the test began."""
    _kernel.cache_clear()
    return lambda: _kernel.cache_info().currsize


def test_draws_that_differ_in_seed_step_and_rate_share_a_kernel(kernels):
    @tf.function
    def draw(step):
        drawn = [key(seed, 0, replica, step) for seed in (1, 2, 3) for replica in (0, 1)]
        return [keep_mask((4, 5), 0.1 * i, k)[0] for i, k in enumerate(drawn)]

    draw(tf.constant(0))
    assert kernels() == 1
    draw(tf.constant(1))
    assert kernels() == 1


def test_a_kernel_is_shared_by_programs(kernels):
    for seed in range(5):
        mask = tf.function(lambda seed=seed: keep_mask((4, 5), 0.3, key(seed))[0])()
        np.testing.assert_array_equal(mask, expected_mask((4, 5), 0.3, [seed]))
    assert kernels() == 1


def test_layers_that_differ_in_seed_and_rate_share_a_kernel(kernels):
    layers = [kerasreg.layers.ScheduledDropout(0.1 * seed, seed=seed) for seed in range(5)]

    @tf.function
    def call(x):
        return [layer(x, training=True) for layer in layers]

    call(tf.ones((4, 5)))
    assert kernels() == 1


@pytest.mark.parametrize("options", [{}, XLA], ids=["eager", "XLA"])
def test_no_kernel_is_made_where_none_is_of_use(kernels, options):
    draw = tf.function(at, **options) if options else at
    draw(tf.constant(3))
    assert kernels() == 0


def test_no_kernel_is_made_inside_a_vectorised_map(kernels):
    vectorised(tf.constant(STEPS))
    assert kernels() == 0


def test_lengths_that_are_unknown_but_the_first_make_no_kernel(kernels):
    # Sentences of any length would compile one for each.
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3])])
    def call(x):
        return kerasreg.layers.dropout(x, RATE, key(SEED))

    for length in (4, 5, 6):
        kept = call(tf.ones((2, length, 3))) > 0
        np.testing.assert_array_equal(kept, expected_mask((2, length, 3), RATE, [SEED]))
    assert kernels() == 0


def test_an_unknown_number_of_examples_makes_one_kernel(kernels):
    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def call(x):
        return kerasreg.layers.dropout(x, RATE, key(SEED))

    for examples in (4, 5, 6):
        kept = call(tf.ones((examples, 3))) > 0
        np.testing.assert_array_equal(kept, expected_mask((examples, 3), RATE, [SEED]))
    assert kernels() == 1


def test_a_key_may_be_made_anywhere(kernels):
    # Made outside of the function that draws: captured, or an argument.
    made = key(SEED, 0, tf.constant(REPLICA), tf.constant(3))
    expected = expected_bits(SHAPE, (SEED, 0, REPLICA, 3))
    np.testing.assert_array_equal(tf.function(lambda: bits(SHAPE, made))(), expected)
    taken = tf.function(lambda *parts: bits(SHAPE, Key(*parts)))(*made)
    np.testing.assert_array_equal(taken, expected)
