"""Searches over widths: narrow trials are padded, and are what they are without."""

import functools

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs

LOSS = keras.losses.SparseCategoricalCrossentropy


def seeded(seed):
    # Else trials begin with other weights, which follow from what was built before.
    return keras.initializers.GlorotUniform(seed=seed)


def dense(units, activation=None, seed=1):
    return layers.Dense(units, activation, kernel_initializer=seeded(seed))


def compiled(hp, *stack):
    model = keras.Sequential([*stack, dense(3, seed=0)])
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), LOSS(from_logits=True), metrics=["accuracy"])
    return model


def units(hp):
    return compiled(hp, keras.Input((6,)), dense(hp.Int("units", 4, 16, step=4), "relu"))


def without_input(hp):
    return compiled(hp, layers.Flatten(), dense(hp.Int("units", 4, 16, step=4), "relu"))


def several_layers(hp):
    stack = [
        dense(hp.Int(f"units_{number}", 4, 12, step=4), "relu", seed=number + 1)
        for number in range(hp.Int("layers", 1, 2))
    ]
    if hp.Boolean("dropout"):
        stack.append(layers.Dropout(0.25, seed=3))
    return compiled(hp, keras.Input((6,)), *stack)


def chosen(hp):
    # The second number is of no width.
    hp.Int("patience", 1, 9)
    return compiled(hp, keras.Input((6,)), dense(hp.Choice("units", [3, 8, 20]), "tanh"))


def structure_and_width(hp):
    width = hp.Int("units", 2, 12, step=2)
    stack = [dense(width, "relu")]
    if width > 6:
        stack.append(layers.BatchNormalization())
    return compiled(hp, keras.Input((6,)), *stack)


def raising(hp):
    width = hp.Int("units", 4, 16, step=4)
    if width > 12:
        raise keras_tuner.errors.FailedTrialError("too wide")
    return compiled(hp, keras.Input((6,)), dense(width, "relu"))


def unpadded(hp):
    return compiled(hp, keras.Input((6,)), dense(hp.Int("units", 4, 16, step=4), "softmax"))


def coinciding(hp):
    # Where twice the one width is the other, it is not known which units are which.
    first, second = hp.Choice("first", [3, 4, 8]), hp.Choice("second", [4, 8, 16])
    inputs = keras.Input((6,))
    one, other = dense(first, "relu")(inputs), dense(first, "tanh", seed=2)(inputs)
    joined = keras.ops.expand_dims(layers.Concatenate()([one, other]), 1)
    product = joined * keras.ops.expand_dims(dense(second, "relu")(inputs), 2)
    outputs = dense(3, seed=0)(keras.ops.sum(product, 1))
    model = keras.Model(inputs, outputs)
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), LOSS(from_logits=True))
    return model


BUILDS = {
    build.__name__: build
    for build in (
        units,
        without_input,
        several_layers,
        chosen,
        structure_and_width,
        raising,
        unpadded,
        coinciding,
    )
}


def trials_of(tuner):
    return list(tuner.oracle.trials.values())


def searched(build, folder, blobs, cls=tuners.VectorizedRandomSearch, epochs=2, **given):
    x, y, validation_data = blobs
    search = {name: given.pop(name) for name in ("callbacks",) if name in given}
    if "folds" not in given:
        search["validation_data"] = validation_data
    more = {"max_trials": 8, "seed": 5, "directory": folder, **given}
    tuner = cls(build, "val_loss", **more)
    tuner.search(x, y, epochs=epochs, batch_size=16, verbose=0, **search)
    return tuner


def results(tuner):
    return {
        trial_id: (trial.hyperparameters.values, trial.status, trial.best_step, trial.score)
        for trial_id, trial in tuner.oracle.trials.items()
    }


def assert_same_results(found, expected):
    assert set(found) == set(expected)
    for trial_id, (values, status, step, score) in expected.items():
        assert found[trial_id][:3] == (values, status, step)
        assert found[trial_id][3] == (None if score is None else pytest.approx(score, rel=1e-4))


def assert_as_without(build, tmp_path, blobs, **given):
    padded = searched(build, tmp_path / "padded", blobs, **given)
    without = searched(build, tmp_path / "without", blobs, pad_widths=False, **given)
    assert_same_results(results(padded), results(without))
    return padded, without


@pytest.mark.parametrize(
    "name",
    [
        name if name == "without_input" else pytest.param(name, marks=pytest.mark.long)
        for name in BUILDS
    ],
)
def test_scores_are_those_of_a_search_without_padding(name, blobs, tmp_path, trainings):
    build = BUILDS[name]
    given = {"max_consecutive_failed_trials": 9}
    padded = searched(build, tmp_path / "padded", blobs, **given)
    count = len(trainings)
    without = searched(build, tmp_path / "without", blobs, pad_widths=False, **given)
    assert_same_results(results(padded), results(without))
    if name in ("units", "without_input", "chosen"):
        assert count == 1 < len(trainings) - count
    elif name == "several_layers":
        # One or two layers, with and without a dropout.
        assert count <= 4
    elif name == "coinciding":
        # All but those whose units are not told apart share a program; these are lanes as well.
        assert count == 2
        assert sum(trainings[:count]) == 8
    elif name in ("raising", "unpadded"):
        assert count == len(trainings) - count


def test_best_models_have_their_own_width_and_score(blobs, tmp_path, trainings):
    tuner = searched(units, tmp_path, blobs)
    assert trainings == [8]
    widths = set()
    for trial, model in zip(tuner.oracle.get_best_trials(8), tuner.get_best_models(8), strict=True):
        width = trial.hyperparameters.get("units")
        assert [tuple(variable.shape) for variable in model.variables] == [
            (6, width),
            (width,),
            (width, 3),
            (3,),
        ]
        evaluated = model.evaluate(*blobs[2], verbose=0, return_dict=True)
        assert evaluated["loss"] == pytest.approx(trial.score, rel=1e-4)
        widths.add(width)
    assert len(widths) > 1
    # Also of a tuner that did not search.
    again = tuners.VectorizedRandomSearch(units, "val_loss", max_trials=8, directory=tmp_path)
    best = again.get_best_models()[0].evaluate(*blobs[2], verbose=0, return_dict=True)
    assert best["loss"] == pytest.approx(tuner.oracle.get_best_trials()[0].score, rel=1e-4)


def test_a_search_goes_on(blobs, tmp_path):
    whole = searched(units, tmp_path / "whole", blobs)
    searched(units, tmp_path / "parts", blobs, max_trials=3)
    parts = searched(units, tmp_path / "parts", blobs)
    assert_same_results(results(parts), results(whole))


def test_a_width_of_one_keeps_no_other_trial_from_being_padded(blobs, tmp_path, trainings):
    def build(hp):
        return compiled(hp, keras.Input((6,)), dense(hp.Choice("units", [1, 4, 8, 12]), "relu"))

    def fixed(hp):
        hp.Fixed("learning_rate", 0.01)
        return build(hp)

    # The first trial of a grid has the least value.
    searched(fixed, tmp_path, blobs, tuners.VectorizedGridSearch, max_trials=4)
    assert sorted(trainings) == [1, 3]


@pytest.mark.long
def test_activations_are_chosen_within_a_program(blobs, tmp_path, trainings):
    def build(hp):
        activation = hp.Choice("activation", ["relu", "tanh", "sigmoid"])
        hidden = dense(hp.Int("units", 4, 16, step=4), activation)
        return compiled(hp, keras.Input((6,)), hidden)

    padded = searched(build, tmp_path / "padded", blobs)
    assert trainings == [8]
    without = searched(build, tmp_path / "without", blobs, pad_widths=False)
    assert len(trainings) > 3
    assert_same_results(results(padded), results(without))
    assert len({trial.hyperparameters.get("activation") for trial in trials_of(padded)}) == 3


@pytest.mark.long
def test_the_report_says_what_was_padded_and_why_not(blobs, tmp_path):
    report = str(searched(units, tmp_path / "units", blobs).lane_report())
    assert "8" in report
    assert "padded" not in report
    report = str(searched(unpadded, tmp_path / "unpadded", blobs).lane_report())
    assert "models of other widths are not padded" in report
    assert "other loss than without" in report


OPTIONS = {
    "folds": {"folds": 3, "max_trials": 4},
    "executions": {"executions_per_trial": 2, "max_trials": 4},
    "max_lanes": {"max_lanes": 3},
    "not derived": {"derive_models": False},
    "grid": {"cls": tuners.VectorizedGridSearch, "max_trials": 8},
    "hyperband": {
        "cls": functools.partial(tuners.VectorizedHyperband, max_epochs=3, factor=3),
        "max_trials": None,
    },
}


@pytest.mark.long
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_a_search(name, blobs, tmp_path):
    given = dict(OPTIONS[name])
    if given.get("max_trials", 0) is None:
        padded, without = (
            given["cls"](units, "val_loss", seed=5, directory=tmp_path / str(pad), pad_widths=pad)
            for pad in (True, False)
        )
        x, y, validation_data = blobs
        for tuner in (padded, without):
            tuner.search(x, y, batch_size=16, verbose=0, validation_data=validation_data)
        assert_same_results(results(padded), results(without))
    else:
        assert_as_without(units, tmp_path, blobs, **given)


class Widths(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        first, second, *_ = self.model.get_weights()
        logs["width"] = float(first.shape[1])
        assert first.shape[1] == second.shape[0] == self.model.layers[0].units


def test_callbacks_see_the_narrow_model(blobs, tmp_path, trainings):
    callbacks = [
        Widths(),
        keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(patience=1),
    ]
    given = {"callbacks": callbacks, "epochs": 5}
    tuner, _ = assert_as_without(units, tmp_path, blobs, **given)
    assert trainings[0] == 8
    for trial in tuner.oracle.trials.values():
        width = trial.metrics.get_history("width")[0].value[0]
        assert width == trial.hyperparameters.get("units")


def test_models_of_own_code_are_not_built_for_other_widths(blobs, tmp_path):
    built = []

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            built.append(hp.values.get("units"))
            return units(hp)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    tuner = searched(Own(), tmp_path, blobs, max_trials=2)
    drawn = {trial.hyperparameters.get("units") for trial in tuner.oracle.trials.values()}
    assert set(built) - {None} <= drawn | {4}
    assert np.isfinite([trial.score for trial in tuner.oracle.trials.values()]).all()
