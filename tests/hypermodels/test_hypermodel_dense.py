"""The networks that `DenseHyperModel` builds, and how it trains them."""

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import hypermodels, layers, spaces

pytestmark = pytest.mark.shares_programs

OBJECTIVE = keras_tuner.Objective("val_accuracy", "max")


def hypermodel(**changed):
    arguments = {
        "features": 3,
        "classes": 2,
        "epochs": 4,
        "samples": 90,
        "widths": (4, 8),
        "depths": (1, 2),
        "seed": 5,
    }
    return hypermodels.DenseHyperModel(**{**arguments, **changed})


def chosen(**values):
    hp = keras_tuner.HyperParameters()
    hp.values = values
    return hp


def drawn(model, seed):
    """A setting as KerasTuner's RandomSearch draws it."""
    whole = keras_tuner.HyperParameters()
    model.build(whole)
    hp = keras_tuner.HyperParameters()
    for offset, one in enumerate(whole.space):
        hp.merge([one])
        if hp.is_active(one):
            hp.values[one.name] = one.random_sample(seed + offset)
    return hp


def table(samples=90, seed=0):
    """Raw features on very different scales, and classes that depend on them."""
    random = np.random.default_rng(seed)
    standard = random.normal(size=(samples, 3))
    x = (standard * [1.0, 50.0, 1e-3] + [0.0, 100.0, 5e-3]).astype("float32")
    return x, (standard[:, 0] + standard[:, 1] > 0).astype("int32")


def fit(model, hp, **kwargs):
    """Builds and trains one setting; returns the model and the history."""
    built = model.build(hp)
    built.jit_compile = False  # XLA would compile longer than there is to train.
    x, y = table()
    history = model.fit(hp, built, x, y, validation_data=table(30, seed=1), **kwargs)
    return built, history.history


# Building.


def test_a_classifier_gives_one_probability_for_each_class():
    model = hypermodel(classes=4).build(keras_tuner.HyperParameters())
    outputs = np.array(model(table()[0]))
    assert outputs.shape == (90, 4)
    assert outputs.sum(axis=1) == pytest.approx(np.ones(90), abs=1e-5)


def test_a_regressor_has_one_linear_output():
    model = hypermodel(classes=None).build(keras_tuner.HyperParameters())
    assert model.output_shape == (None, 1)
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("depth", [1, 2])
def test_depth_width_and_activation_are_those_of_the_setting(depth):
    hp = chosen(depth=depth, width=7, activation="tanh")
    model = hypermodel().build(hp)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [7] * depth + [2]
    assert all(layer.activation is keras.activations.tanh for layer in dense[:-1])


def test_width_and_depth_are_searched_between_the_given_bounds():
    hp = keras_tuner.HyperParameters()
    hypermodel(widths=(5, 9), depths=(2, 3)).build(hp)
    by_name = {one.name: one for one in hp.space}
    assert (by_name["width"].min_value, by_name["width"].max_value) == (5, 9)
    assert (by_name["depth"].min_value, by_name["depth"].max_value) == (2, 3)


def test_every_searched_component_is_in_the_space_after_one_build():
    hp = keras_tuner.HyperParameters()
    hypermodel().build(hp)
    alone = keras_tuner.HyperParameters()
    for declare in (
        spaces.activation,
        spaces.batch_size,
        spaces.optimizer,
        spaces.penalty,
        lambda hp: spaces.dropout(hp, 10),
        lambda hp: spaces.initializer(hp, "relu"),
        lambda hp: spaces.learning_rate_policy(hp, 0.1, 10),
    ):
        declare(alone)
    names = {one.name for one in hp.space}
    assert names == {one.name for one in alone.space} | {"depth", "width"}


@pytest.mark.parametrize("regularized", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_no_setting_discovers_hyperparameters_that_the_first_build_did_not(
    regularized, seed, monkeypatch
):
    # What declares is run, and not the training.
    monkeypatch.setattr(keras.Model, "fit", lambda self, *args, **kwargs: keras.callbacks.History())
    model = hypermodel(regularized=regularized)
    whole = keras_tuner.HyperParameters()
    model.build(whole)
    hp = drawn(model, 100 * seed)
    before = dict(hp.values)
    built, (x, y) = model.build(hp), table()
    model.fit(hp, built, x, y, validation_data=(x, y))
    assert hp.values == before
    assert {one.name for one in hp.space} == {one.name for one in whole.space}


def test_each_hidden_layer_has_its_own_penalty_of_the_setting():
    hp = chosen(depth=2, penalty="l1", penalty_strength=1e-3)
    model = hypermodel().build(hp)
    hidden = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    expected = [1e-3 * np.abs(layer.get_weights()[0]).sum() for layer in hidden]
    model(table()[0])
    assert [float(loss) for loss in model.losses] == pytest.approx(expected, rel=1e-5)


def test_each_hidden_layer_is_followed_by_dropout_with_masks_of_its_own():
    model = hypermodel().build(chosen(depth=2, dropout="constant", dropout_rate=0.5))
    dropouts = [layer for layer in model.layers if isinstance(layer, layers.ScheduledDropout)]
    assert [float(layer.rate) for layer in dropouts] == [0.5, 0.5]
    assert dropouts[0].seed != dropouts[1].seed


def test_a_dropout_ramp_ends_in_the_middle_of_the_training():
    # 4 epochs of ceil(90 / 32) = 3 steps: the rate is reached after 6 steps.
    hp = chosen(batch_size=32, dropout="ramp_up", dropout_rate=0.4)
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            (layer,) = [
                layer for layer in self.model.layers if isinstance(layer, layers.ScheduledDropout)
            ]
            rates.append(float(layer.rate))

    fit(hypermodel(), hp, callbacks=[Watch()])
    expected = [0.4 * min(step / 6, 1.0) for step in range(12)]
    assert rates == pytest.approx(expected, abs=1e-6)


# Raw features in.


def test_raw_features_are_standardised_inside_the_network():
    x, _ = table()
    mean, variance = x.mean(axis=0, dtype="float64"), x.var(axis=0, dtype="float64")
    hp = chosen(activation="tanh")
    inside = hypermodel(mean=mean, variance=variance).build(hp)
    outside = hypermodel().build(hp)  # The seed gives it the same weights.
    standardised = ((x - mean) / np.sqrt(variance)).astype("float32")
    found, expected = np.array(inside(x)), np.array(outside(standardised))
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.05


def test_without_moments_the_features_are_left_as_they_are():
    model = hypermodel().build(keras_tuner.HyperParameters())
    assert not any(isinstance(layer, keras.layers.Normalization) for layer in model.layers)


def test_a_constant_feature_gives_finite_outputs():
    model = hypermodel(mean=[0.0, 0.0, 7.0], variance=[1.0, 1.0, 0.0])
    x = np.array([[0.5, -0.5, 7.0]], "float32")
    assert np.isfinite(np.array(model.build(keras_tuner.HyperParameters())(x))).all()


# The baseline.

REGULARIZED = {
    "depth": 2,
    "penalty": "elastic_net",
    "penalty_strength": 1e-2,
    "dropout": "constant",
    "dropout_rate": 0.5,
    "optimizer": "adamw",
    "weight_decay": 0.1,
}


def test_the_baseline_has_no_penalty_no_dropout_and_no_weight_decay():
    with_all = hypermodel().build(chosen(**REGULARIZED))
    baseline = hypermodel(regularized=False).build(chosen(**REGULARIZED))
    with_all(table()[0])
    baseline(table()[0])
    # The other one has them: this setting shows the difference.
    assert len(with_all.losses) == 2
    assert with_all.optimizer.weight_decay == pytest.approx(0.1)
    assert any(isinstance(layer, layers.ScheduledDropout) for layer in with_all.layers)

    assert baseline.losses == []
    assert not baseline.optimizer.weight_decay
    assert not any(isinstance(layer, layers.ScheduledDropout) for layer in baseline.layers)


def test_the_baseline_does_not_shrink_weights_that_get_no_gradient():
    hp = chosen(**{**REGULARIZED, "adaptive_learning_rate": 0.01, "activation": "relu"})
    model = hypermodel(regularized=False)
    built = model.build(hp)
    before = built.get_layer("hidden_0").get_weights()[0]
    x = np.zeros((90, 3), "float32")  # The first kernel sees no signal.
    model.fit(hp, built, x, np.zeros(90), validation_data=(x, np.zeros(90)), epochs=1)
    assert (built.get_layer("hidden_0").get_weights()[0] == before).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_baseline_is_otherwise_the_same_network(seed):
    hp = drawn(hypermodel(), 100 * seed)
    found = []
    for regularized in (True, False):
        model = hypermodel(regularized=regularized).build(hp)
        kept = [one for one in model.layers if not isinstance(one, layers.ScheduledDropout)]
        configs = [one.get_config() for one in kept]
        for config in configs:
            config.pop("kernel_regularizer", None)
        optimizer = model.optimizer.get_config()
        del optimizer["weight_decay"], optimizer["name"]
        weights = [weight for one in kept for weight in one.get_weights()]
        found.append(([type(one) for one in kept], configs, optimizer, weights))
    (types, configs, optimizer, weights), baseline = found
    assert baseline[0] == types
    assert baseline[1] == configs
    assert baseline[2] == optimizer
    for mine, theirs in zip(weights, baseline[3], strict=True):
        assert (mine == theirs).all()


# Training.


@pytest.mark.short("64-2")
@pytest.mark.parametrize(("batch_size", "steps"), [(32, 3), (64, 2), (128, 1)])
def test_the_batch_size_of_the_setting_is_used(batch_size, steps):
    model, _ = fit(hypermodel(), chosen(batch_size=batch_size), epochs=2)
    assert int(model.optimizer.iterations) == 2 * steps


@pytest.mark.short("fixed", "time_based", "cosine")
@pytest.mark.parametrize("kind", ["fixed", "step", "exponential", "time_based", "cosine"])
def test_the_learning_rate_follows_the_policy_of_the_setting(kind):
    values = {"optimizer": "sgd", "sgd_learning_rate": 0.02, "learning_rate_policy": kind}
    _, history = fit(hypermodel(), chosen(**values, warmup_epochs=0))
    policy = spaces.learning_rate_policy(chosen(**values, warmup_epochs=0), 0.02, epochs=4)
    expected = [policy.value(epoch) for epoch in range(4)]
    assert history["learning_rate"] == pytest.approx(expected, rel=1e-5)
    assert history["learning_rate"][0] == pytest.approx(0.02)
    assert (kind == "fixed") == (history["learning_rate"][-1] == history["learning_rate"][0])


def test_a_plateau_reduces_the_learning_rate():
    values = {"optimizer": "sgd", "learning_rate_policy": "plateau", "plateau_factor": 0.5}
    model = hypermodel(epochs=6)
    hp = chosen(**values, sgd_learning_rate=0.01)
    built = model.build(hp)
    # Nothing can be learned from zeros with the right bias: no epoch improves.
    built.get_layer("output").set_weights([np.zeros((4, 2)), np.array([30.0, -30.0])])
    x, y = np.zeros((90, 3), "float32"), np.zeros(90)
    history = model.fit(hp, built, x, y, validation_data=(x, y)).history
    rates = history["learning_rate"]
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] <= 0.005 + 1e-9


def test_a_continued_training_goes_on_in_the_middle_of_the_policy():
    # As KerasTuner's Hyperband asks for it.
    values = {"optimizer": "sgd", "sgd_learning_rate": 0.02, "learning_rate_policy": "cosine"}
    _, whole = fit(hypermodel(), chosen(**values))
    _, rest = fit(hypermodel(), chosen(**values), epochs=4, initial_epoch=2)
    assert rest["learning_rate"] == pytest.approx(whole["learning_rate"][2:])


def test_a_training_lasts_as_many_epochs_as_the_hypermodel_says():
    _, history = fit(hypermodel(epochs=3), chosen())
    assert len(history["loss"]) == len(history["val_accuracy"]) == 3


def test_callbacks_of_the_caller_run_too():
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    _, history = fit(hypermodel(), chosen(), epochs=2, callbacks=[watch])
    assert seen == [0, 1]
    assert "learning_rate" in history


def test_a_regressor_reports_the_root_mean_squared_error():
    x, y = table()
    model = hypermodel(classes=None, mean=x.mean(axis=0), variance=x.var(axis=0))
    hp = chosen()
    built = model.build(hp)
    history = model.fit(hp, built, x, y, validation_data=(x, y), epochs=1).history
    error = np.array(built(x))[:, 0] - y
    assert 0.0 < np.sqrt(np.mean(error**2)) < 10.0
    assert history["val_rmse"][-1] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


# Seeds.


def test_the_same_seed_gives_the_same_training():
    hp = drawn(hypermodel(), 300)
    hp.values.update(dropout="constant", dropout_rate=0.5)
    _, first = fit(hypermodel(), hp, epochs=2)
    keras.utils.set_random_seed(99)  # What ran before does not matter.
    _, second = fit(hypermodel(), hp, epochs=2)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == pytest.approx(second[name], rel=1e-5)


def test_other_seeds_give_other_weights_and_no_seed_other_ones_each_time():
    def weights(seed):
        built = hypermodel(seed=seed).build(chosen())
        return built.get_layer("hidden_0").get_weights()[0]

    assert (weights(5) == weights(5)).all()
    assert (weights(5) != weights(6)).any()
    assert (weights(None) != weights(None)).any()


@pytest.mark.long
def test_two_searches_with_the_same_seeds_find_the_same(tmp_path):
    found = []
    for folder in ("first", "second"):
        tuner = keras_tuner.RandomSearch(
            hypermodel(), OBJECTIVE, max_trials=2, seed=3, directory=tmp_path / folder
        )
        tuner.search(*table(), validation_data=table(30, seed=1), verbose=0, epochs=1)
        trials = tuner.oracle.trials.items()
        found.append({name: (one.hyperparameters.values, one.score) for name, one in trials})
    assert found[0].keys() == found[1].keys() == {"0", "1"}
    for name, (values, score) in found[0].items():
        assert found[1][name][0] == values
        assert found[1][name][1] == pytest.approx(score, rel=1e-5)


# Arguments.


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"features": 0}, "features"),
        ({"features": 2.0}, "features"),
        ({"classes": 1}, "classes"),
        ({"classes": 0}, "classes"),
        ({"epochs": 0}, "epochs"),
        ({"samples": 0}, "samples"),
        ({"samples": True}, "samples"),
        ({"widths": (0, 4)}, "widths"),
        ({"depths": (1, 2.5)}, "depths"),
        ({"mean": [0.0, 0.0, 0.0]}, "variance"),
        ({"variance": [1.0, 1.0, 1.0]}, "mean"),
    ],
)
def test_an_argument_outside_its_range_is_refused_by_name(changed, argument):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        hypermodel(**changed)
