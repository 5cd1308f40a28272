"""What a callback of a trial raises while lanes run: the error of the trial, or of the search."""

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs

ROWS = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
TARGETS = ROWS.sum(axis=1, keepdims=True)
# Before the first epoch has ended, no weights of a lane are kept.
HOOKS = ("train_begin", "epoch_begin", "test_begin", "epoch_end", "train_end")


def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), "mse")
    return model


class Raising(keras.callbacks.Callback):
    """Raises an error in one hook; only in the second copy and later, if so asked for."""

    begun = 0

    def __init__(self, hook, error, after=0):
        super().__init__()
        self.hook, self.error, self.after = hook, error, after

    def _at(self, hook):
        if hook == "train_begin":
            Raising.begun += 1
            self.number = Raising.begun
        if hook == self.hook and self.number > self.after:
            raise self.error("of the callback")

    def on_train_begin(self, logs=None):
        self._at("train_begin")

    def on_epoch_begin(self, epoch, logs=None):
        self._at("epoch_begin")

    def on_test_begin(self, logs=None):
        self._at("test_begin")

    def on_epoch_end(self, epoch, logs=None):
        self._at("epoch_end")

    def on_train_end(self, logs=None):
        self._at("train_end")


@pytest.fixture
def searching(tmp_path):
    Raising.begun = 0

    def search(callback, **arguments):
        tuner = tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=3, seed=1, directory=tmp_path, **arguments
        )
        data = {} if arguments.get("folds") else {"validation_data": (ROWS, TARGETS)}
        error = None
        try:
            tuner.search(ROWS, TARGETS, epochs=2, callbacks=[callback], verbose=0, **data)
        except Exception as raised:
            error = raised
        return tuner, error

    return search


@pytest.mark.filterwarnings("ignore:Lane")
@pytest.mark.short("epoch_begin", "epoch_end")
@pytest.mark.parametrize("hook", HOOKS)
def test_a_fatal_error_of_a_callback_ends_the_search_with_itself(hook, searching):
    _, error = searching(Raising(hook, keras_tuner.errors.FatalValueError))
    assert isinstance(error, keras_tuner.errors.FatalValueError)
    assert str(error) == "of the callback"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Lane")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("kind", [KeyError, keras_tuner.errors.FailedTrialError])
@pytest.mark.parametrize("folds", [None, 2])
def test_an_error_of_a_callback_is_the_error_of_its_trial(hook, kind, folds, searching):
    tuner, error = searching(Raising(hook, kind), folds=folds)
    # All trials failed, which ends the search.
    assert isinstance(error, RuntimeError)
    assert "of the callback" in str(error)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["FAILED"] * 3


@pytest.mark.filterwarnings("ignore:Lane")
def test_a_trial_whose_callback_raised_at_once_costs_itself_alone(searching):
    tuner, error = searching(Raising("epoch_begin", KeyError, after=2))
    assert error is None
    status = [tuner.oracle.trials[name].status for name in "012"]
    assert status == ["COMPLETED", "COMPLETED", "FAILED"]
    # And has no weights: those of its lane were another's, or of no epoch.
    with pytest.raises(FileNotFoundError):
        tuner.load_model(tuner.oracle.trials["2"])
    assert tuner.load_model(tuner.oracle.trials["0"]).built
