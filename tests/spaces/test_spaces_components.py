"""What the search spaces return: the component that a setting describes."""

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import callbacks, layers, regularizers, spaces

# Optimizer kind: its class, and the name of its learning rate.
OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, "sgd_learning_rate"),
    "nesterov": (keras.optimizers.SGD, "sgd_learning_rate"),
    "adagrad": (keras.optimizers.Adagrad, "adagrad_learning_rate"),
    "adadelta": (keras.optimizers.Adadelta, "adadelta_learning_rate"),
    "rmsprop": (keras.optimizers.RMSprop, "adaptive_learning_rate"),
    "adam": (keras.optimizers.Adam, "adaptive_learning_rate"),
    "adamw": (keras.optimizers.AdamW, "adaptive_learning_rate"),
}

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)


def chosen(**values):
    hp = keras_tuner.HyperParameters()
    hp.values = values
    return hp


def drawn(declare, seed):
    """Hyperparameters as KerasTuner's RandomSearch draws them from a declared space."""
    whole = keras_tuner.HyperParameters()
    declare(whole)
    hp = keras_tuner.HyperParameters()
    for offset, one in enumerate(whole.space):
        hp.merge([one])
        if hp.is_active(one):
            hp.values[one.name] = one.random_sample(seed + offset)
    return hp


def own_number(kind):
    """The name and the searched values of the one number of a policy."""
    hp = keras_tuner.HyperParameters()
    spaces.learning_rate_policy(hp, 0.1, 10, choices=(kind,))
    (one,) = [one for one in hp.space if one.conditions and one.name != "warmup_epochs"]
    return one.name, list(one.values)


# Penalties.


def test_no_penalty_is_none():
    assert spaces.penalty(chosen(penalty="none")) is None


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("l1", regularizers.L1), ("l2", regularizers.L2), ("elastic_net", regularizers.ElasticNet)],
)
def test_a_penalty_has_the_chosen_kind_strength_and_alpha(kind, cls):
    penalty = spaces.penalty(chosen(penalty=kind, penalty_strength=3e-4, penalty_alpha=0.25))
    assert type(penalty) is cls
    assert float(penalty.strength) == pytest.approx(3e-4)
    if kind == "elastic_net":
        w = np.array([1.0, -2.0], "float32")
        assert float(penalty(w)) == pytest.approx(3e-4 * (0.25 * 5 + 0.75 * 3))


@PROPERTY
@given(seed=st.integers(0, 10**6))
def test_drawn_penalties_stay_inside_the_bounds(seed):
    def declare(hp):
        return spaces.penalty(hp, minimum=1e-5, maximum=1e-3)

    hp = drawn(declare, seed)
    penalty = declare(hp)
    if penalty is not None:
        assert 1e-5 * (1 - 1e-6) <= float(penalty.strength) <= 1e-3 * (1 + 1e-6)
        assert 0.0 <= hp.values.get("penalty_alpha", 0.5) <= 1.0


def test_strengths_are_drawn_evenly_on_a_log_scale():
    def declare(hp):
        return spaces.penalty(hp, choices=("l2",), minimum=1e-6, maximum=1e-2)

    strengths = [drawn(declare, seed).values["penalty_strength"] for seed in range(0, 400, 2)]
    # Half of the draws below the geometric mean; on a linear scale 1 % would be.
    assert 0.35 < np.mean(np.array(strengths) < 1e-4) < 0.65


# Dropout.


def test_no_dropout_is_none():
    assert spaces.dropout(chosen(dropout="none"), steps=10) is None


def test_constant_dropout_keeps_its_rate():
    layer = spaces.dropout(chosen(dropout="constant", dropout_rate=0.4), steps=10)
    assert isinstance(layer, layers.ScheduledDropout)
    assert layer.schedule is None
    assert float(layer.rate) == pytest.approx(0.4)


def rates_in_training(kind, steps):
    """The rate of each step of a training of that length."""
    layer = spaces.dropout(chosen(dropout=kind, dropout_rate=0.4), steps=steps)
    found = []
    for _ in range(steps):
        layer(keras.ops.ones((1, 2)), training=True)
        found.append(float(layer.rate))
    return found


def test_ramp_up_rises_linearly_to_the_rate_in_the_first_half():
    expected = [0.4 * min(step / 10, 1.0) for step in range(20)]
    assert rates_in_training("ramp_up", 20) == pytest.approx(expected, abs=1e-6)


def test_ramp_down_falls_linearly_from_the_rate_in_the_first_half():
    expected = [0.4 * max(1 - step / 10, 0.0) for step in range(20)]
    assert rates_in_training("ramp_down", 20) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["ramp_up", "ramp_down"])
def test_a_ramp_fits_into_a_training_of_one_step(kind):
    (rate,) = rates_in_training(kind, 1)
    assert 0.0 <= rate <= 0.4 + 1e-6


def test_the_seed_of_dropout_decides_its_masks():
    x = keras.ops.ones((4, 16))
    masks = [
        np.array(
            spaces.dropout(chosen(dropout="constant", dropout_rate=0.5), 10, seed=seed)(
                x, training=True
            )
        )
        for seed in (3, 3, 4)
    ]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


@PROPERTY
@given(seed=st.integers(0, 10**6), maximum=st.sampled_from([0.1, 0.25, 0.6, 1.0]))
def test_drawn_dropout_rates_stay_inside_the_bounds(seed, maximum):
    def declare(hp):
        return spaces.dropout(hp, 10, maximum=maximum)

    hp = drawn(declare, seed)
    layer = declare(hp)
    if layer is not None:
        assert 0.1 - 1e-9 <= hp.values["dropout_rate"] <= maximum + 1e-9
        assert 0.0 <= float(layer.rate) <= maximum + 1e-6


@pytest.mark.parametrize("maximum", [0.3, 0.6, 1.0])
def test_the_largest_dropout_rate_is_among_those_searched(maximum):
    def declare(hp):
        return spaces.dropout(hp, 10, choices=("constant",), maximum=maximum)

    rates = [drawn(declare, seed).values["dropout_rate"] for seed in range(0, 400, 2)]
    assert max(rates) == pytest.approx(maximum)
    assert min(rates) == pytest.approx(0.1)


def test_a_grid_search_tries_no_dropout_rate_twice(tmp_path):
    rates = []

    class BlackBox(keras_tuner.GridSearch):
        def run_trial(self, trial):
            spaces.dropout(trial.hyperparameters, 10, choices=("constant",), maximum=0.6)
            rates.append(trial.hyperparameters.get("dropout_rate"))
            return 0.0

    tuner = BlackBox(max_trials=20, directory=tmp_path)
    tuner.oracle.verbose = 0
    tuner.search()
    assert len(rates) > 3
    assert len({round(rate, 6) for rate in rates}) == len(rates)


# Optimizers.


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_has_the_chosen_class_and_learning_rate(kind):
    cls, rate_name = OPTIMIZERS[kind]
    optimizer = spaces.optimizer(chosen(optimizer=kind, **{rate_name: 0.0123}))
    assert type(optimizer) is cls
    assert float(optimizer.learning_rate) == pytest.approx(0.0123)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_learning_rate_of_an_optimizer_can_be_assigned(kind):
    # Keras refuses this when the learning rate is a schedule.
    optimizer = spaces.optimizer(chosen(optimizer=kind))
    optimizer.learning_rate = 0.5
    assert float(optimizer.learning_rate) == 0.5


def test_nesterov_is_sgd_with_nesterov_momentum():
    plain = spaces.optimizer(chosen(optimizer="sgd"))
    nesterov = spaces.optimizer(chosen(optimizer="nesterov", momentum=0.95))
    assert (plain.momentum, plain.nesterov) == (0.0, False)
    assert (nesterov.momentum, nesterov.nesterov) == (0.95, True)


def test_only_adamw_decays_weights():
    decays = {
        kind: spaces.optimizer(chosen(optimizer=kind, weight_decay=0.02)).weight_decay
        for kind in OPTIMIZERS
    }
    assert decays.pop("adamw") == 0.02
    assert not any(decays.values())


@PROPERTY
@given(seed=st.integers(0, 10**6))
def test_drawn_optimizers_take_what_was_drawn(seed):
    hp = drawn(spaces.optimizer, seed)
    before = dict(hp.values)
    optimizer = spaces.optimizer(hp)
    assert hp.values == before  # Nothing was missing.
    for one in hp.space:
        if isinstance(one, keras_tuner.engine.hyperparameters.Float) and one.name in before:
            assert one.min_value <= before[one.name] <= one.max_value
    _, rate_name = OPTIMIZERS[before["optimizer"]]
    assert float(optimizer.learning_rate) == pytest.approx(before[rate_name], rel=1e-6)


# Learning-rate policies. `value(t)` is the rate in epoch t; the training ends at
# t = epochs.

EPOCHS = 20


def policy_of(kind, warmup=0, **values):
    hp = chosen(learning_rate_policy=kind, warmup_epochs=warmup, **values)
    return spaces.learning_rate_policy(hp, 0.5, EPOCHS)


def values_of(policy, epochs=EPOCHS):
    return [policy.value(t) for t in range(epochs + 1)]


def test_fixed_keeps_the_learning_rate():
    policy = policy_of("fixed")
    assert type(policy) is callbacks.FixedLearningRate
    assert values_of(policy) == pytest.approx([0.5] * (EPOCHS + 1))


def test_step_drops_as_often_as_searched_at_equal_distances():
    name, drops = own_number("step")
    for count in drops:
        epochs = 5 * (count + 1)
        hp = chosen(learning_rate_policy="step", warmup_epochs=0, **{name: count})
        policy = spaces.learning_rate_policy(hp, 0.5, epochs)
        assert type(policy) is callbacks.StepDecay
        values = values_of(policy, epochs - 1)
        assert values[0] == pytest.approx(0.5)
        dropped = [t for t in range(1, epochs) if values[t] < values[t - 1]]
        assert dropped == [5 * (k + 1) for k in range(count)]
        assert values == pytest.approx([0.5 * policy.factor ** (t // 5) for t in range(epochs)])


def test_exponential_leaves_the_searched_share_at_the_end():
    name, finals = own_number("exponential")
    for final in finals:
        policy = policy_of("exponential", **{name: final})
        assert type(policy) is callbacks.ExponentialDecay
        expected = [0.5 * final ** (t / EPOCHS) for t in range(EPOCHS + 1)]
        assert values_of(policy) == pytest.approx(expected, rel=1e-4)


def test_time_based_leaves_the_searched_share_at_the_end():
    name, finals = own_number("time_based")
    for final in finals:
        policy = policy_of("time_based", **{name: final})
        assert type(policy) is callbacks.TimeBasedDecay
        decay = (1 / final - 1) / EPOCHS
        expected = [0.5 / (1 + decay * t) for t in range(EPOCHS + 1)]
        assert values_of(policy) == pytest.approx(expected, rel=1e-4)
        assert values_of(policy)[-1] == pytest.approx(0.5 * final, rel=1e-4)


def test_cosine_falls_to_zero_over_the_training():
    policy = policy_of("cosine")
    assert type(policy) is callbacks.CosineDecay
    expected = [0.25 * (1 + np.cos(np.pi * t / EPOCHS)) for t in range(EPOCHS + 1)]
    assert values_of(policy) == pytest.approx(expected, abs=1e-6)


def test_plateau_multiplies_by_the_searched_factor():
    name, factors = own_number("plateau")
    for factor in factors:
        policy = policy_of("plateau", **{name: factor})
        assert type(policy) is callbacks.ReduceOnPlateau
        assert policy.factor == factor
        assert policy.monitor == "val_loss"


def test_plateau_reacts_to_the_metric_that_is_asked_for():
    hp = chosen(learning_rate_policy="plateau")
    policy = spaces.learning_rate_policy(hp, 0.5, EPOCHS, monitor="val_accuracy")
    assert policy.monitor == "val_accuracy"


WARM = ["fixed", "step", "exponential", "time_based", "cosine"]


@pytest.mark.parametrize("kind", WARM)
def test_warm_up_rises_linearly_and_the_policy_begins_after_it(kind):
    values = values_of(policy_of(kind, warmup=4))
    # `kerasreg.schedules.Warmup`: s(0)·(t + 1)/(steps + 1), then s(t - steps).
    assert values[:5] == pytest.approx([0.5 * (t + 1) / 5 for t in range(5)])
    assert all(later <= 0.5 + 1e-6 for later in values[4:])


@pytest.mark.parametrize("kind", ["exponential", "time_based", "cosine"])
def test_the_searched_share_is_left_at_the_end_also_after_a_warm_up(kind):
    number = {} if kind == "cosine" else {own_number(kind)[0]: 0.1}
    cold, warm = policy_of(kind, **number), policy_of(kind, warmup=4, **number)
    assert warm.value(EPOCHS) == pytest.approx(cold.value(EPOCHS), rel=1e-4, abs=1e-6)


@PROPERTY
@given(
    seed=st.integers(0, 10**6),
    epochs=st.integers(1, 60),
    learning_rate=st.floats(1e-5, 10.0),
)
def test_drawn_policies_never_exceed_the_learning_rate(seed, epochs, learning_rate):
    def declare(hp):
        return spaces.learning_rate_policy(hp, learning_rate, epochs)

    hp = drawn(declare, seed)
    policy = declare(hp)
    if hp.get("learning_rate_policy") == "plateau":
        assert 0.0 < policy.factor < 1.0
        return
    values = [policy.value(t) for t in range(epochs)]
    assert all(0.0 < value <= learning_rate * (1 + 1e-5) for value in values)


# Activation, initializer, batch size.


def test_an_activation_is_a_name_that_keras_takes():
    hp = keras_tuner.HyperParameters()
    spaces.activation(hp)
    (one,) = hp.space
    for name in one.values:
        assert spaces.activation(chosen(activation=name)) == name
        assert callable(keras.activations.get(name))


@pytest.mark.parametrize(
    ("activation", "cls"),
    [
        ("relu", keras.initializers.HeNormal),
        ("selu", keras.initializers.LecunNormal),
        ("tanh", keras.initializers.VarianceScaling),
    ],
)
def test_the_initializer_for_an_activation_suits_it(activation, cls):
    hp = chosen(initializer="for_activation")
    assert type(spaces.initializer(hp, activation)) is cls


def test_every_initializer_that_is_searched_can_be_made_and_is_the_named_one():
    hp = keras_tuner.HyperParameters()
    spaces.initializer(hp, "relu")
    (one,) = hp.space
    for name in one.values:
        found = spaces.initializer(chosen(initializer=name), "relu", seed=1)
        assert isinstance(found, keras.initializers.Initializer)
        if name != "for_activation":
            assert type(found) is type(keras.initializers.get(name))


def test_the_seed_of_an_initializer_decides_its_weights():
    def weights(seed):
        found = spaces.initializer(chosen(initializer="he_normal"), "relu", seed=seed)
        return np.array(found((3, 4)))

    assert (weights(5) == weights(5)).all()
    assert (weights(5) != weights(6)).any()


def test_the_batch_size_is_the_chosen_int():
    size = spaces.batch_size(chosen(batch_size=16), values=(8, 16))
    assert (size, type(size)) == (16, int)


@PROPERTY
@given(seed=st.integers(0, 10**6), values=st.lists(st.integers(1, 512), min_size=1, unique=True))
def test_drawn_batch_sizes_are_among_the_given_ones(seed, values):
    def declare(hp):
        return spaces.batch_size(hp, values=values)

    assert declare(drawn(declare, seed)) in values


@pytest.mark.parametrize(
    "make",
    [
        lambda hp: spaces.penalty(hp, choices=("l2",)),
        lambda hp: spaces.dropout(hp, 10, choices=("constant",)),
        lambda hp: spaces.optimizer(hp),
        lambda hp: spaces.learning_rate_policy(hp, 0.1, 10),
        lambda hp: spaces.initializer(hp, "relu"),
    ],
    ids=["penalty", "dropout", "optimizer", "learning_rate_policy", "initializer"],
)
def test_each_call_makes_a_new_component_with_the_same_values(make):
    hp = keras_tuner.HyperParameters()
    first = make(hp)
    before = dict(hp.values)
    second = make(hp)
    assert first is not second
    assert type(first) is type(second)
    assert hp.values == before
