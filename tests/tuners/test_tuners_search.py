"""`search` says when a search failed, and gives the completed trials, best first."""

import warnings

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs


def black_box(folder, results, direction="min", **kwargs):
    """A tuner whose n-th trial gives the n-th result; an exception is raised."""

    class BlackBox(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            trial.hyperparameters.Float("x", 0.0, 1.0)
            self.calls.append((args, kwargs))
            result = results[len(self.calls) - 1]
            if isinstance(result, BaseException):
                raise result
            return result

    tuner = BlackBox(
        objective=keras_tuner.Objective("score", direction),
        directory=folder,
        seed=1,
        **{"max_trials": len(results), "max_consecutive_failed_trials": 100, **kwargs},
    )
    tuner.calls = []
    tuner.oracle.verbose = 0
    return tuner


def scores(trials):
    return [trial.score for trial in trials]


# What completed.


@pytest.mark.parametrize(("direction", "ordered"), [("min", [1, 2, 3, 4]), ("max", [4, 3, 2, 1])])
def test_completed_trials_come_best_first(tmp_path, direction, ordered):
    tuner = black_box(tmp_path, [3.0, 1.0, 4.0, 2.0], direction)
    assert scores(tuners.run_search(tuner)) == ordered
    assert scores(tuners.completed_trials(tuner)) == ordered


def test_a_search_without_failures_does_not_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert len(tuners.run_search(black_box(tmp_path, [1.0, 2.0]))) == 2


@pytest.mark.parametrize("direction", ["min", "max"])
def test_only_completed_trials_with_a_finite_score_are_given(tmp_path, direction):
    results = [1.0, ValueError("no"), float("nan"), float("inf"), float("-inf"), 2.0]
    tuner = black_box(tmp_path, results, direction)
    with pytest.warns(UserWarning, match="2 of 6"):
        completed = tuners.run_search(tuner)
    assert sorted(scores(completed)) == [1.0, 2.0]


def test_a_tuner_that_has_not_searched_has_no_completed_trials(tmp_path):
    assert tuners.completed_trials(black_box(tmp_path, [1.0])) == []


def test_the_arguments_of_a_search_reach_the_trials(tmp_path):
    tuner = black_box(tmp_path, [1.0])
    tuners.run_search(tuner, 1, "two", three=3)
    assert tuner.calls == [((1, "two"), {"three": 3})]


# What failed.


def test_some_failures_are_warned_about_with_counts_and_reasons(tmp_path):
    tuner = black_box(tmp_path, [ValueError("too large"), 2.0, ValueError("too large"), 1.0])
    with pytest.warns(
        UserWarning, match=r"2 of 4 trials failed.*2 x ValueError: too large"
    ) as told:
        completed = tuners.run_search(tuner)
    assert [one.filename for one in told if one.category is UserWarning] == [__file__]
    assert scores(completed) == [1.0, 2.0]


def test_a_search_where_every_trial_raises_fails_with_counts_and_reasons(tmp_path):
    tuner = black_box(tmp_path, [ValueError("too large"), TypeError("odd"), TypeError("odd")])
    with pytest.raises(tuners.SearchFailedError) as caught:
        tuners.run_search(tuner)
    message = str(caught.value)
    assert "3 of 3 failed" in message
    # The most frequent reason comes first.
    assert message.index("2 x TypeError: odd") < message.index("1 x ValueError: too large")


def test_a_search_where_every_objective_is_nan_fails(tmp_path):
    tuner = black_box(tmp_path, [float("nan"), float("nan")])
    with pytest.raises(tuners.SearchFailedError, match=r"2 of 2 failed.*NaN"):
        tuners.run_search(tuner)


def test_a_search_where_every_score_is_infinite_fails_and_says_so(tmp_path):
    tuner = black_box(tmp_path, [float("inf"), float("inf")])
    with pytest.raises(tuners.SearchFailedError, match="finite"):
        tuners.run_search(tuner)


def test_a_search_that_kerastuner_breaks_off_fails_with_the_reason(tmp_path):
    results = [ValueError("too large")] * 9
    tuner = black_box(tmp_path, results, max_consecutive_failed_trials=3)
    with pytest.raises(tuners.SearchFailedError, match=r"3 of 3 failed.*3 x ValueError"):
        tuners.run_search(tuner)
    assert len(tuner.calls) == 3


def test_what_completed_before_kerastuner_broke_off_is_given(tmp_path):
    results = [2.0, 1.0, *[ValueError("too large")] * 9]
    tuner = black_box(tmp_path, results, max_consecutive_failed_trials=3)
    with pytest.warns(UserWarning, match="3 of 5 trials failed"):
        completed = tuners.run_search(tuner)
    assert scores(completed) == [1.0, 2.0]


def test_a_retry_that_succeeds_is_no_failure(tmp_path):
    tuner = black_box(tmp_path, [ValueError("once"), 1.0], max_trials=1, max_retries_per_trial=1)
    assert scores(tuners.run_search(tuner)) == [1.0]


def test_the_failure_is_a_runtime_error():
    assert issubclass(tuners.SearchFailedError, RuntimeError)


@pytest.mark.parametrize(
    "error",
    [
        keras_tuner.errors.FatalError("stop"),
        keras_tuner.errors.FatalValueError("stop"),
        KeyboardInterrupt("stop"),
    ],
    ids=["FatalError", "FatalValueError", "KeyboardInterrupt"],
)
def test_what_is_fatal_stops_the_search_and_is_not_wrapped(tmp_path, error):
    tuner = black_box(tmp_path, [1.0, error, 2.0])
    with pytest.raises(type(error)) as caught:
        tuners.run_search(tuner)
    assert caught.value is error
    assert len(tuner.calls) == 2


def test_an_error_of_the_tuner_itself_is_not_taken_for_failed_trials(tmp_path):
    tuner = black_box(tmp_path, [1.0, 2.0])

    def broken(trial):
        raise RuntimeError("the disk is gone")

    tuner.on_trial_end = broken
    with pytest.raises(RuntimeError, match="the disk is gone") as caught:
        tuners.run_search(tuner)
    assert not isinstance(caught.value, tuners.SearchFailedError)


# With Keras models.


class Breaking(keras_tuner.HyperModel):
    """Breaks in `build` or in `fit`, when told to."""

    where = None

    def build(self, hp):
        if self.where == "build":
            raise ValueError("cannot build this")
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), "mse")
        return model

    def fit(self, hp, model, *args, **kwargs):
        if self.where == "fit":
            raise ValueError("cannot fit this")
        return super().fit(hp, model, *args, **kwargs)


@pytest.mark.parametrize("where", ["build", "fit"])
def test_models_that_cannot_be_built_or_trained_fail_the_search(tmp_path, where):
    hypermodel = Breaking()
    tuner = keras_tuner.RandomSearch(
        hypermodel, "val_loss", max_trials=2, seed=1, directory=tmp_path
    )
    hypermodel.where = where  # The tuner has built one by now, to see the space.
    x = np.zeros((4, 1))
    with pytest.raises(
        tuners.SearchFailedError, match=f"2 of 2 failed.*2 x ValueError: cannot {where} this"
    ):
        tuners.run_search(tuner, x, x, validation_data=(x, x), verbose=0)
