"""Searches over datasets, loaders and generators: their trials are lanes too."""

import functools
import itertools

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import tuners
from kerasreg.lanes import Lanes

pytestmark = pytest.mark.shares_programs

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def build(hp):
    dense = keras.layers.Dense(1, "sigmoid", kernel_initializer=keras.initializers.Constant(0.1))
    model = keras.Sequential([keras.Input((3,)), dense])
    rate = hp.Float("learning_rate", 1e-3, 1.0, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", jit_compile=False)
    return model


def unbuilt(hp):
    model = keras.Sequential([keras.layers.Dense(1, "sigmoid")])
    rate = hp.Float("learning_rate", 1e-3, 1.0, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "binary_crossentropy", jit_compile=False)
    return model


class Batches(keras.utils.PyDataset):
    def __init__(self, raises_at=None):
        super().__init__()
        self.raises_at = raises_at

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == self.raises_at:
            raise KeyError("no such file")
        return X[index * 16 : index * 16 + 16], Y[index * 16 : index * 16 + 16]


def dataset(size=16, x=X):
    return tf.data.Dataset.from_tensor_slices((x, Y)).batch(size)


def endless():
    for begin in itertools.cycle(range(0, 45, 5)):
        yield X[begin : begin + 16], Y[begin : begin + 16]


@pytest.fixture
def trained(monkeypatch):
    """How many lanes each program began with, and how many trials were trained alone."""
    counts, fit, alone = [], Lanes.fit, keras.Model.fit

    @functools.wraps(fit)
    def counted(self, *args, **kwargs):
        counts.append(len(self))
        return fit(self, *args, **kwargs)

    def counted_alone(self, *args, **kwargs):
        counts.append("alone")
        return alone(self, *args, **kwargs)

    monkeypatch.setattr(Lanes, "fit", counted)
    monkeypatch.setattr(keras.Model, "fit", functools.wraps(alone)(counted_alone))
    return counts


def tuner(folder, hypermodel=build, objective="val_loss", max_trials=4, **arguments):
    return tuners.VectorizedRandomSearch(
        hypermodel, objective, max_trials, seed=3, directory=folder, **arguments
    )


STREAMS = {
    "a dataset": lambda: {"x": dataset(), "validation_data": dataset()},
    "a sequence": lambda: {"x": Batches(), "validation_data": Batches(), "shuffle": False},
    "an endless dataset": lambda: {
        "x": dataset().repeat(), "steps_per_epoch": 4, "validation_data": (X, Y)
    },
    "arrays in steps": lambda: {
        "x": X, "y": Y, "steps_per_epoch": 6, "shuffle": False, "validation_data": (X, Y),
        "validation_steps": 2,
    },
}  # fmt: skip


@pytest.mark.short("a dataset", "an endless dataset")
@pytest.mark.filterwarnings("error::UserWarning:kerasreg")
@pytest.mark.parametrize("kind", STREAMS)
def test_trials_share_a_stream_and_score_as_alone(kind, tmp_path, trained):
    found = tuner(tmp_path, max_lanes=3)
    found.search(**STREAMS[kind](), epochs=2, verbose=0)
    # The fourth trial takes over a lane that has ended.
    assert trained == [3]
    trials = tuners.completed_trials(found)
    assert len(trials) == 4
    for trial in [trials[0], trials[-1]]:
        history = build(trial.hyperparameters).fit(**STREAMS[kind](), epochs=2, verbose=0).history
        assert trial.score == pytest.approx(min(history["val_loss"]), rel=1e-4)


def test_some_epochs_are_validated(tmp_path, trained):
    found = tuner(tmp_path, objective="loss", max_trials=2)
    found.search(dataset(), validation_data=(X, Y), validation_freq=2, epochs=2, verbose=0)
    assert trained == [2]
    assert len(tuners.completed_trials(found)) == 2


@pytest.mark.parametrize("kind", ["a dataset", "a sequence"])
def test_a_model_without_an_input_is_built_by_the_stream(kind, tmp_path, trained):
    found = tuner(tmp_path, unbuilt, max_trials=2)
    found.search(**STREAMS[kind](), epochs=1, verbose=0)
    assert trained == [2]
    assert found.get_best_models()[0].predict(X[:2], verbose=0).shape == (2, 1)


def test_all_trials_see_the_same_batches_of_a_generator(tmp_path, trained):
    found = tuner(tmp_path, objective="loss")
    found.search(endless(), steps_per_epoch=3, epochs=2, verbose=0)
    assert trained == [4]
    for trial in tuners.completed_trials(found):
        model = build(trial.hyperparameters)
        history = model.fit(endless(), steps_per_epoch=3, epochs=2, verbose=0).history
        assert trial.score == pytest.approx(min(history["loss"]), rel=1e-4)


def test_a_generator_that_one_training_takes_whole_is_told(tmp_path, trained):
    found = tuner(tmp_path, objective="loss", max_trials=1)
    batches = itertools.islice(endless(), 4)
    with pytest.warns(UserWarning, match="`x` is a generator, of which a training takes all"):
        found.search((batch for batch in batches), verbose=0)
    assert trained == ["alone"]
    assert [trial.status for trial in found.oracle.trials.values()] == ["COMPLETED"]


# Bad data.


@pytest.mark.parametrize("name", ["x", "validation_data"])
def test_data_without_an_end_end_the_search(name, tmp_path):
    given = {"x": dataset(), "validation_data": dataset(), name: dataset().repeat()}
    with pytest.raises(keras_tuner.errors.FatalValueError, match=r"_.*must be a whole number >= 1"):
        tuner(tmp_path).search(**given, verbose=0)


def raising():
    yield X[:16], Y[:16]
    yield X[:16], Y[:16]
    raise KeyError("no such file")


BAD = {
    "a generator that raises": (lambda: {"x": raising(), "steps_per_epoch": 4}, "no such file"),
    "a sequence that raises": (lambda: {"x": Batches(raises_at=3)}, "no such file"),
    "no batch": (lambda: {"x": dataset().take(0)}, "must have at least one batch"),
}


@pytest.mark.parametrize("kind", BAD)
def test_trials_fail_by_their_data_and_say_why(kind, tmp_path, trained):
    make, message = BAD[kind]
    found = tuner(tmp_path, objective="loss", max_trials=3)
    with pytest.raises(RuntimeError, match="failed"):
        found.search(**make(), verbose=0)
    # They are not trained again one by one.
    assert trained == [3]
    trials = found.oracle.trials.values()
    assert [trial.status for trial in trials] == ["FAILED"] * 3
    assert all(message in trial.message for trial in trials)


def other_features(first):
    """A generator of batches of two shapes, of which the model takes one."""
    batches = [(X[:8], Y[:8]), (X[:8, :2], Y[:8])]
    yield from batches if first else batches[::-1]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["dataset", "generator"])
def test_batches_of_a_shape_that_the_model_does_not_take_are_named(kind, first, tmp_path, trained):
    data = other_features(first)
    if kind == "dataset":
        shapes = tf.TensorSpec((None, None)), tf.TensorSpec((None, 1))
        make = functools.partial(other_features, first)
        data = tf.data.Dataset.from_generator(make, output_signature=shapes)
    search = tuner(tmp_path, objective="loss")
    with pytest.raises(RuntimeError, match=r"4 of: .*DataError: `x` must have .*\(None, 2\)"):
        search.search(data, steps_per_epoch=2, epochs=2, verbose=0)
    assert {trial.status for trial in search.oracle.trials.values()} == {"FAILED"}
    assert "alone" not in trained


def test_the_code_of_a_trial_gets_the_error_of_its_data(tmp_path, trained):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, bad, good, **arguments):
            try:
                return model.fit(bad, **arguments)
            except ValueError:
                return model.fit(good, **arguments)

    found = tuner(tmp_path, Own(), objective="loss", max_trials=2)
    found.search(bad=Batches(raises_at=1), good=Batches(), verbose=0)
    assert trained == [2, 2]
    assert [trial.status for trial in found.oracle.trials.values()] == ["COMPLETED"] * 2


# Data of a trial's own.


def of_own_data(make):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return build(hp)

        def fit(self, hp, model, x, y, **arguments):
            return model.fit(make(hp, x, y), **arguments)

    return Own()


def test_equal_datasets_of_trials_are_one(tmp_path, trained):
    def make(hp, x, y):
        data = tf.data.Dataset.from_tensor_slices((x, y)).map(lambda x, y: (2.0 * x, y))
        return data.batch(hp.Choice("batch_size", [8, 16]))

    found = tuner(tmp_path, of_own_data(make), objective="loss", max_trials=8)
    found.search(X, Y, verbose=0)
    values = [trial.hyperparameters.get("batch_size") for trial in found.oracle.trials.values()]
    assert sorted(trained) == sorted([values.count(8), values.count(16)])


def test_other_datasets_of_trials_are_not_mixed_up(tmp_path):
    def make(hp, x, y):
        return dataset(x=hp.get("learning_rate") * x)

    found = tuner(tmp_path, of_own_data(make), objective="loss", max_trials=3)
    found.search(X, Y, verbose=0)
    for trial in tuners.completed_trials(found):
        hp = trial.hyperparameters
        expected = build(hp).fit(make(hp, X, Y), verbose=0).history["loss"][0]
        assert trial.score == pytest.approx(expected, rel=1e-4)
