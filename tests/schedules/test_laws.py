"""What holds for every schedule with any valid arguments."""

import inspect
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

from kerasreg import schedules
from kerasreg.schedules import Linear, Schedule

laws = settings(deadline=None, max_examples=15, derandomize=True)

lengths = st.one_of(st.integers(1, 300), st.floats(0.5, 300, width=32))
counts = st.integers(1, 300)
anything = st.floats(-10, 10, width=32, allow_subnormal=False)
fractions = st.floats(0, 1, width=32, allow_subnormal=False)
positive = st.floats(2**-10, 10, width=32)
increasing = st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True).map(sorted)


def arguments(cls, **strategies):
    return st.builds(cls, **strategies)


def parts(cls, extra=lambda size: {}):
    """A schedule of boundaries and something for each stretch."""
    return increasing.flatmap(
        lambda boundaries: st.builds(
            cls, boundaries=st.just(boundaries), **extra(len(boundaries) + 1)
        )
    )


def up_to(name, most):
    """Arguments of which one is at most as large as another."""
    return st.tuples(positive, fractions).map(lambda pair: {most: pair[0], name: pair[0] * pair[1]})


# One strategy for each class. Those of others have both ours and Keras' own.
simple = st.one_of(
    anything,
    arguments(Linear, start=anything, end=anything, steps=lengths),
    st.builds(CosineDecay, positive, counts),
)
of_one = {"schedule": simple}
STRATEGIES = {
    "Constant": arguments(schedules.Constant, value=anything),
    "Linear": arguments(Linear, start=anything, end=anything, steps=lengths),
    "Cosine": arguments(schedules.Cosine, start=anything, end=anything, steps=lengths),
    "Polynomial": arguments(
        schedules.Polynomial, start=anything, end=anything, steps=lengths, power=st.floats(0.5, 4)
    ),
    "Piecewise": parts(
        schedules.Piecewise,
        lambda size: {
            "values": st.lists(anything, min_size=size, max_size=size),
            "shape": st.sampled_from(["linear", "cosine", "sqrt"]),
        },
    ),
    "Step": arguments(
        schedules.Step, start=anything, factor=st.floats(0, 1.05), every=st.integers(10, 90)
    ),
    "MultiStep": increasing.flatmap(
        lambda milestones: st.builds(
            schedules.MultiStep,
            anything,
            st.just(milestones),
            factor=st.one_of(fractions, st.just([0.5] * len(milestones))),
        )
    ),
    "TimeBased": arguments(schedules.TimeBased, start=anything, decay=positive),
    "InverseSqrt": arguments(schedules.InverseSqrt, peak=anything, warmup_steps=counts),
    "OneCycle": arguments(
        schedules.OneCycle,
        peak=positive,
        steps=lengths,
        pct_start=st.floats(0.05, 0.45),
        div_factor=st.floats(1, 100),
        final_div_factor=st.floats(1, 1e5),
        shape=st.sampled_from(["cosine", "linear"]),
        three_phase=st.booleans(),
    ),
    "WarmupStableDecay": up_to("minimum", "peak").flatmap(
        lambda values: st.builds(
            schedules.WarmupStableDecay,
            **{name: st.just(value) for name, value in values.items()},
            warmup_steps=st.integers(0, 50),
            stable_steps=st.integers(0, 50),
            decay_steps=st.integers(1, 50),
            start=st.one_of(st.none(), st.just(values["minimum"])),
            shape=st.sampled_from(["linear", "cosine", "sqrt"]),
        )
    ),
    "Cyclical": st.tuples(anything, positive).flatmap(
        lambda pair: st.builds(
            schedules.Cyclical,
            low=st.just(pair[0]),
            high=st.just(pair[0] + pair[1]),
            rise_steps=lengths,
            fall_steps=st.one_of(st.none(), lengths),
            shape=st.sampled_from(["triangular", "triangular2", "exp_range"]),
            gamma=st.floats(0.9, 1.0),
        )
    ),
    "CosineRestarts": up_to("minimum", "peak").flatmap(
        lambda values: st.builds(
            schedules.CosineRestarts,
            **{name: st.just(value) for name, value in values.items()},
            steps=st.one_of(st.integers(5, 100), st.floats(5, 100, width=32)),
            growth=st.sampled_from([1.0, 1.5, 2.0]),
            peak_factor=st.floats(0.1, 1.0),
            cycles=st.one_of(st.none(), st.integers(1, 4)),
        )
    ),
    "CurriculumDropout": arguments(
        schedules.CurriculumDropout, rate=fractions, steps=counts, gamma=st.none()
    ),
    "EarlyDropout": arguments(
        schedules.EarlyDropout,
        rate=fractions,
        steps=counts,
        shape=st.sampled_from(["constant", "linear"]),
    ),
    "LateDropout": arguments(schedules.LateDropout, rate=simple, start_step=st.integers(0, 90)),
    "Warmup": arguments(
        schedules.Warmup, **of_one, steps=st.integers(0, 90), start=st.one_of(st.none(), anything)
    ),
    "Join": parts(
        schedules.Join, lambda size: {"schedules": st.lists(simple, min_size=size, max_size=size)}
    ),
    "Sum": arguments(schedules.Sum, schedules=st.lists(simple, min_size=1, max_size=3)),
    "Product": arguments(schedules.Product, schedules=st.lists(simple, min_size=1, max_size=3)),
    "Scaled": arguments(schedules.Scaled, **of_one, factor=anything),
    "Clipped": arguments(
        schedules.Clipped,
        **of_one,
        minimum=st.one_of(st.none(), st.floats(-5, 0)),
        maximum=st.one_of(st.none(), st.floats(0, 5)),
    ),
    "Shifted": arguments(schedules.Shifted, **of_one, steps=st.integers(-50, 50)),
    "InEpochs": arguments(
        schedules.InEpochs, **of_one, steps_per_epoch=st.integers(1, 50), staircase=st.booleans()
    ),
}
every_schedule = pytest.mark.parametrize("name", STRATEGIES)
some_steps = np.unique(np.concatenate([np.arange(400), np.geomspace(400, 10**7, 60).astype(int)]))


def test_each_exported_schedule_has_a_strategy():
    exported = {
        name
        for name in schedules.__all__
        if inspect.isclass(cls := getattr(schedules, name))
        and issubclass(cls, Schedule)
        and cls is not Schedule
    }
    assert set(STRATEGIES) == exported


def bounded(schedule, values):
    low, high = schedule.bounds
    slack = 1e-5 * max(abs(bound) for bound in (low, high, 0.0) if math.isfinite(bound)) + 1e-9
    return np.all(values >= low - slack) and np.all(values <= high + slack)


@every_schedule
@laws
@given(st.data())
def test_its_values_are_finite_and_within_its_bounds(name, data):
    schedule = data.draw(STRATEGIES[name])
    # A factor above one grows as far as numbers go: in as many steps as are usual.
    steps = some_steps[:400] if math.inf in map(abs, schedule.bounds) else some_steps
    values = np.array(schedule(steps))
    assert values.dtype == np.float32
    assert np.all(np.isfinite(values))
    assert bounded(schedule, values)


@every_schedule
@laws
@given(st.data())
def test_a_vector_of_steps_gives_what_the_steps_give(name, data):
    schedule = data.draw(STRATEGIES[name])
    steps = np.array(data.draw(st.lists(st.integers(0, 10**4), min_size=1, max_size=6)))
    values = np.array(schedule(steps))
    assert values.shape == steps.shape
    alone = [float(schedule(int(step))) for step in steps]
    # Vectors and scalars may be rounded differently.
    np.testing.assert_allclose(values, alone, rtol=1e-6, atol=1e-6)
    assert np.array(schedule(steps.reshape(1, -1))).shape == (1, len(steps))


@every_schedule
@laws
@given(st.data())
def test_what_says_that_it_is_continuous_is(name, data):
    schedule = data.draw(STRATEGIES[name])
    if not schedule.continuous:
        return
    # A jump stays as large as it is where the distance is a thousandth.
    at = data.draw(st.one_of(st.integers(0, 400), st.floats(0, 400, width=32)))
    near = np.float32(at) + np.float32(2**-12)
    values = np.array(schedule(np.array([at, near], "float32")))
    # The steepest of the strategies: 20 within half a step, or √x at its beginning.
    assert abs(values[1] - values[0]) <= 20 * 2 * math.sqrt(2**-12 / 0.5) + 1e-3


def test_what_jumps_does_not_say_that_it_is_continuous():
    for schedule in (
        schedules.Step(1.0, 0.5, 10),
        schedules.MultiStep(1.0, [10]),
        schedules.CosineRestarts(1.0, 10),
        schedules.EarlyDropout(0.5, 10),
        schedules.LateDropout(0.5, 10),
        schedules.Join([1.0, 0.5], [10]),
        schedules.Linear(1.0, 0.0, 5).in_epochs(10, staircase=True),
    ):
        assert abs(float(schedule(9)) - float(schedule(10))) > 0.05
        assert not schedule.continuous


@every_schedule
@laws
@given(st.data())
def test_it_stays_as_it_is_from_its_length_on(name, data):
    schedule = data.draw(STRATEGIES[name])
    if schedule.length is not None:
        steps = math.ceil(schedule.length) + np.array([0, 1, 7, 1000, 10**6])
        values = np.array(schedule(steps))
        np.testing.assert_allclose(values, values[0], rtol=1e-6)


@every_schedule
@laws
@given(st.data())
def test_it_is_equal_after_a_round_trip_and_unequal_to_others(name, data):
    schedule = data.draw(STRATEGIES[name])
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert repr(again) == repr(schedule)
    assert schedule != Linear(123.0, 0.0, 7)
    assert schedule != 3
    np.testing.assert_array_equal(again(some_steps[:200]), schedule(some_steps[:200]))


@pytest.mark.long
@settings(deadline=None, max_examples=3, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.fixed_dictionaries(STRATEGIES))
def test_graphs_and_xla_give_what_eager_execution_gives(drawn):
    steps = tf.constant([0, 1, 5, 77, 300, 5000])
    counter = keras.Variable(77, dtype="int32")

    def run(steps):
        return {name: schedule(steps) for name, schedule in drawn.items()}

    expected = {name: np.array(values) for name, values in run(steps).items()}
    for jit in (False, True):
        for name, values in tf.function(run, jit_compile=jit)(steps).items():
            np.testing.assert_allclose(values, expected[name], 1e-5, 1e-6, err_msg=name)
    for name, value in run(counter).items():
        np.testing.assert_allclose(value, expected[name][3], 1e-5, 1e-6, err_msg=name)


@pytest.mark.parametrize("name", STRATEGIES)
def test_its_repr_makes_it_again(name):
    @laws
    @given(STRATEGIES[name])
    def holds(schedule):
        known = {**vars(schedules), "CosineDecay": CosineDecay}
        assert eval(repr(schedule), known) == schedule

    holds()


# Calculating.


pairs = given(simple, simple, st.integers(0, 400))


@laws
@pairs
def test_sums_products_and_multiples_are_those_of_the_values(one, other, step):
    s = schedules.Scaled(one, 1.0)
    t = other
    mine, its = float(s(step)), float(t(step) if callable(t) else t)
    for found, expected in (
        (s + t, mine + its),
        (t + s, mine + its),
        (s - t, mine - its),
        (t - s, its - mine),
        (s * t, mine * its),
        (t * s, mine * its),
        (-s, -mine),
        (s / 4, mine / 4),
        (np.float64(0.5) * s, mine / 2),
        (s.clip(-1.0, 2.0), min(max(mine, -1.0), 2.0)),
    ):
        assert isinstance(found, Schedule)
        assert float(found(step)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@laws
@pairs
def test_shifts_and_epochs_are_those_of_the_step(one, other, step):
    s = schedules.Join([schedules.Scaled(one, 2.0), other], [200])
    assert float(s.shift(30)(step)) == float(s(max(step - 30, 0)))
    assert float(s.shift(-30)(step)) == float(s(step + 30))
    assert float(s.in_epochs(7)(step)) == pytest.approx(float(s(step / 7)), rel=1e-5, abs=1e-6)
    assert float(s.in_epochs(7, staircase=True)(step)) == pytest.approx(
        float(s(step // 7)), rel=1e-6
    )


def test_what_is_no_number_is_no_operand():
    for wrong in ("0.1", None, [0.1], True):
        with pytest.raises(TypeError):
            Linear(0.0, 1.0, 3) + wrong
        with pytest.raises(TypeError):
            wrong * Linear(0.0, 1.0, 3)
    with pytest.raises(TypeError):
        1.0 / Linear(0.0, 1.0, 3)
    with pytest.raises(ValueError, match="`factor` must be any finite number"):
        math.nan * Linear(0.0, 1.0, 3)


# Steps as large as they come.


FAR = 10**7 + np.arange(-2000, 2000)


def triangle(t, rise):
    t = t % (2 * rise)
    return min(t, 2 * rise - t) / rise


FAR_PAIRS = {
    "Step": (schedules.Step(0.1, 0.999, 1000), lambda t: 0.1 * 0.999 ** (t // 1000)),
    "Cyclical": (
        schedules.Cyclical(1e-4, 0.1, rise_steps=700),
        lambda t: 1e-4 + 0.0999 * triangle(t, 700),
    ),
    "exp_range": (
        schedules.Cyclical(1e-4, 0.1, rise_steps=700, shape="exp_range", gamma=0.9999999),
        lambda t: 1e-4 + 0.0999 * triangle(t, 700) * 0.9999999**t,
    ),
    "CosineRestarts": (
        schedules.CosineRestarts(0.1, 700, minimum=1e-4),
        lambda t: 1e-4 + 0.0999 * math.cos(math.pi / 2 * (t % 700) / 700) ** 2,
    ),
    "growing restarts": (
        schedules.CosineRestarts(0.1, 10, growth=3.0, minimum=1e-4),
        # The last restart before was at 10·(3¹³ - 1)/2, and the next is 10·3¹³ later.
        lambda t: 1e-4 + 0.0999 * math.cos(math.pi / 2 * (t - 5 * (3**13 - 1)) / (10 * 3**13)) ** 2,
    ),
    "Linear": (
        schedules.Linear(0.1, 1e-6, 10**7),
        lambda t: max(1 - t / 1e7, 0) * (0.1 - 1e-6) + 1e-6,
    ),
    "Cosine": (
        schedules.Cosine(0.1, 0.0, 10**7),
        lambda t: 0.1 * math.sin(math.pi / 2 * max(1 - t / 1e7, 0)) ** 2,
    ),
    "OneCycle": (
        schedules.OneCycle(0.1, 10**7, final_div_factor=1e6),
        lambda t: 4e-9 + (0.1 - 4e-9) * math.sin(math.pi / 2 * max(1e7 - t, 0) / 7e6) ** 2,
    ),
    "WarmupStableDecay": (
        schedules.WarmupStableDecay(0.1, 1000, stable_steps=9_999_000, decay_steps=1000),
        lambda t: 0.1 * min(1.0, max(1 - (t - 1e7) / 1000, 0)),
    ),
    "Join": (
        schedules.Join([0.5, schedules.Linear(1.0, 0.0, 100)], [10**7]),
        lambda t: 0.5 if t < 10**7 else max(1 - (t - 10**7) / 100, 0),
    ),
    "InverseSqrt": (schedules.InverseSqrt(0.1, 4000), lambda t: 0.1 * math.sqrt(4000 / (t + 1))),
    "TimeBased": (schedules.TimeBased(0.1, 1e-4), lambda t: 0.1 / (1 + 1e-4 * t)),
}


@pytest.mark.parametrize("name", FAR_PAIRS)
def test_it_has_not_drifted_after_ten_million_steps(name):
    schedule, formula = FAR_PAIRS[name]
    expected = [formula(int(step)) for step in FAR]
    # 0.999^10000 has the error of its logarithm, ten times: a few of float32's.
    np.testing.assert_allclose(schedule(FAR), expected, rtol=1e-6 if name != "Step" else 2e-6)


@pytest.mark.parametrize("name", ["Cyclical", "CosineRestarts", "Join"])
def test_whole_steps_are_exact_where_float32_has_only_every_hundredth(name):
    schedule, formula = FAR_PAIRS[name]
    steps = 2 * 10**9 + np.arange(2000)
    assert np.any(np.diff(steps.astype("float32")) == 0)
    np.testing.assert_allclose(schedule(steps), [formula(int(t)) for t in steps], rtol=1e-6)


def test_the_staircase_of_keras_has_drifted_by_then():
    step = 10**7
    theirs = keras.optimizers.schedules.ExponentialDecay(0.1, 1000, 0.999, staircase=True)
    exact = 0.1 * 0.999**10_000
    assert abs(float(theirs(step)) / exact - 1) > 1e-4


def test_keras_takes_them_for_its_own():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    schedule = 0.5 * schedules.OneCycle(0.1, steps=4) + PolynomialDecay(0.01, 4)
    model.compile(keras.optimizers.SGD(schedule), "mse")
    seen = []
    for _ in range(4):
        seen.append(float(model.optimizer.learning_rate))
        model.train_on_batch(np.ones((2, 2)), np.ones((2, 1)))
    np.testing.assert_allclose(seen, schedule(np.arange(4)), rtol=1e-6)
    again = keras.optimizers.SGD.from_config(model.optimizer.get_config())
    assert again._learning_rate == schedule
