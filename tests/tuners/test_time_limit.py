"""A search that ends when its time is over: what counts, what is left for the next search."""

import functools

import keras
import keras_tuner
import pytest
from helpers.alone import build_alone
from helpers.strategies import Replicas

from kerasreg import tuners
from kerasreg._durations import check_duration
from kerasreg.tuners import _vectorized
from kerasreg.tuners._pace import Pace, Running
from kerasreg.tuners._time_limit import TimeLimit

pytestmark = pytest.mark.shares_programs


class Clock:
    """The time of the searches of a test, which only callbacks move."""

    now = 0.0

    def __call__(self):
        return Clock.now


class OverAt(keras.callbacks.Callback):
    """Lets the time be over when an epoch of any trial ends."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            Clock.now = 1000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(Clock, "now", 0.0)
    monkeypatch.setattr(_vectorized, "TimeLimit", functools.partial(TimeLimit, clock=Clock()))


def new(build, folder, **arguments):
    return tuners.VectorizedRandomSearch(
        build, "val_loss", seed=5, directory=folder, **{"max_trials": 6, **arguments}
    )


def search(tuner, blobs, over_at=None, epochs=4, **arguments):
    x, y, validation_data = blobs
    given = {"validation_data": validation_data} if tuner.folds is None else {}
    callbacks = [] if over_at is None else [OverAt(over_at)]
    given |= {"callbacks": callbacks, "batch_size": 16, "verbose": 0, **arguments}
    Clock.now = 0.0
    tuner.search(x, y, epochs=epochs, time_limit=None if over_at is None else 100.0, **given)
    return tuner


def scores(tuner):
    return {of: trial.score for of, trial in tuner.oracle.trials.items()}


def test_trainings_end_at_their_next_epoch_and_count_with_what_they_had(build, blobs, tmp_path):
    cut = search(new(build, tmp_path / "cut"), blobs, over_at=1)
    short = search(new(build, tmp_path / "short"), blobs, epochs=2)
    assert {trial.status for trial in cut.oracle.trials.values()} == {"COMPLETED"}
    assert scores(cut) == pytest.approx(scores(short))
    x, y, _ = blobs
    best, of_short = cut.get_best_models()[0], short.get_best_models()[0]
    assert best.evaluate(x, y, verbose=0) == pytest.approx(of_short.evaluate(x, y, verbose=0))


def test_no_trial_begins_and_the_next_search_goes_on(build, blobs, tmp_path):
    tuner = search(new(build, tmp_path, max_lanes=2), blobs, over_at=0)
    assert len(tuner.oracle.trials) == 2
    first = scores(tuner)
    search(tuner, blobs)
    assert tuner.oracle.start_order == sorted(tuner.oracle.trials)
    assert len(tuner.oracle.end_order) == 6
    assert first.items() <= scores(tuner).items()


@pytest.mark.parametrize("same_process", [True, False])
def test_folds_that_did_not_begin_leave_their_trial_to_the_next_search(
    build, blobs, tmp_path, same_process
):
    arguments = {"max_lanes": 4, "folds": 3, "max_trials": 3}
    tuner = search(new(build, tmp_path / "cut", **arguments), blobs, over_at=0)
    status = {of: trial.status for of, trial in tuner.oracle.trials.items()}
    assert status == {"0": "COMPLETED", "1": "RUNNING"}
    assert not tuner.oracle.ongoing_trials
    assert not tuner.oracle.trials["1"].metrics.metrics
    next_one = tuner if same_process else new(build, tmp_path / "cut", **arguments)
    search(next_one, blobs)
    whole = search(new(build, tmp_path / "whole", **arguments), blobs)
    assert next_one.oracle.start_order == ["0", "1", "2"]
    assert sorted(next_one.oracle.end_order) == ["0", "1", "2"]
    found, expected = scores(next_one), scores(whole)
    assert found["1"] == pytest.approx(expected["1"], rel=1e-5)
    values = next_one.oracle.trials["1"].metrics.get_history("val_loss")[-1].value
    assert len(values) == 3


def test_one_trial_is_trained_even_if_the_time_is_over_at_once(build, blobs, tmp_path):
    tuner = new(build, tmp_path)
    ended = tuner.on_search_begin

    def over():
        ended()
        Clock.now = 1000.0

    tuner.on_search_begin = over
    search(tuner, blobs, over_at=99)
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"]
    # Then there is one.
    search(tuner, blobs, over_at=99)
    assert len(tuner.oracle.trials) == 1


class Counted(keras.callbacks.Callback):
    epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        Counted.epochs += 1


@pytest.mark.filterwarnings("ignore:.*trained alone")
def test_trainings_by_keras_end_too(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "epochs", 0)
    tuner = new(build_alone, tmp_path, max_lanes=2)
    search(tuner, blobs, over_at=1, callbacks=[OverAt(1), Counted()])
    assert Counted.epochs == 2
    assert tuner.oracle.end_order == ["0"]
    assert tuner.get_best_models()[0].built
    search(tuner, blobs)
    assert len(tuner.oracle.end_order) == 6


@pytest.mark.filterwarnings("ignore:.*trained alone")
def test_trainings_of_replicas_end_too(build, blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "epochs", 0)
    tuner = new(build, tmp_path, distribution_strategy=Replicas())
    search(tuner, blobs, over_at=1, callbacks=[OverAt(1), Counted()])
    assert Counted.epochs == 2
    assert tuner.oracle.end_order == ["0"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*trained alone")
def test_a_fold_that_keras_did_not_train_leaves_its_trial(blobs, tmp_path):
    tuner = new(build_alone, tmp_path, folds=2)
    search(tuner, blobs, epochs=1)
    Clock.now = 0.0
    more = new(build_alone, tmp_path, folds=2, max_trials=8)
    search(more, blobs, over_at=0)
    assert len(more.oracle.end_order) == 6
    assert more.oracle.trials["6"].status == "RUNNING"


def test_an_epoch_without_the_objective_ends_no_trial():
    objective = keras_tuner.Objective("val_loss", "min")
    limit = TimeLimit(5.0, Clock())
    seen = [("a", 3, {"val_loss": 1.0}), ("b", 3, {"loss": 1.0})]
    assert limit.ending(seen, objective) == set()
    Clock.now = 5.0
    assert limit.ending(seen, objective) == {"a"}
    # Code of the user's computes it when the training has ended.
    assert limit.ending(seen, None) == {"a", "b"}


class OwnFit(keras_tuner.HyperModel):
    """Trains a model, and then another one."""

    def __init__(self, build):
        super().__init__()
        self.of, self.trained = build, []

    def build(self, hp):
        return self.of(hp)

    def fit(self, hp, model, *args, **kwargs):
        first = model.fit(*args, **kwargs)
        second = self.of(hp)
        second.fit(*args, **{**kwargs, "callbacks": []})
        self.trained.append((len(first.epoch), len(second.history.epoch)))
        return min(second.history.history["val_loss"])


@pytest.mark.long
def test_own_code_that_trains_again_is_left_to_the_next_search(build, blobs, tmp_path):
    hypermodel = OwnFit(build)
    tuner = new(hypermodel, tmp_path, max_lanes=3)
    search(tuner, blobs, over_at=0)
    # Of the first ones there was no result yet: they have one epoch for each training.
    assert set(hypermodel.trained) == {(1, 1)}
    begun = len(tuner.oracle.end_order)
    assert begun
    search(tuner, blobs, over_at=1)
    assert len(tuner.oracle.end_order) == begun
    assert "RUNNING" in {trial.status for trial in tuner.oracle.trials.values()}
    search(tuner, blobs)
    assert len(tuner.oracle.end_order) == 6
    assert hypermodel.trained[-1] == (4, 4)


def test_it_says_how_many_trials_there_are(build, blobs, tmp_path, capsys):
    arguments = {"max_lanes": 4, "folds": 3}
    search(new(build, tmp_path / "a", **arguments), blobs, over_at=0, verbose=1)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "The time limit of 1:40 is over; trials: 1 completed (1 of them ended early), 1 left to "
        "the next search."
    )
    search(new(build, tmp_path / "b", **arguments), blobs, over_at=0)
    assert capsys.readouterr().out == ""


def test_a_pruner_forgets_the_trials_that_are_left(build, blobs, tmp_path):
    optuna = pytest.importorskip("optuna")
    arguments = {"max_lanes": 4, "folds": 3, "max_trials": 3}
    pruner = optuna.pruners.NopPruner()
    tuner = search(new(build, tmp_path, pruner=pruner, **arguments), blobs, over_at=0)
    search(tuner, blobs)
    assert len(tuner.oracle.end_order) == 3


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf"), True, "", "soon", "5x", []])
def test_a_limit_that_is_no_time_is_refused(limit, build, blobs, tmp_path):
    x, y, validation_data = blobs
    with pytest.raises(ValueError, match="`time_limit` must be a number of seconds"):
        new(build, tmp_path).search(x, y, validation_data=validation_data, time_limit=limit)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60s", 60),
        ("90", 90),
        ("5m", 300),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1d 1s", 86401),
        ("0.5s", 0.5),
        (7, 7),
        (2.5, 2.5),
    ],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert check_duration("time", text) == seconds


class Slow(tuners.VectorizedRandomSearch):
    """An epoch of each lane takes a second, and the first one of a program three more."""

    def on_lanes_epoch_end(self, lanes, seen):
        super().on_lanes_epoch_end(lanes, seen)
        is_first = lanes is not getattr(self, "last_lanes", None)
        self.last_lanes = lanes
        self.sizes = [*getattr(self, "sizes", []), len(lanes)] if is_first else self.sizes
        Clock.now += len(lanes) + 3 * is_first


def in_time(build, blobs, folder, limit, epochs, lanes, **arguments):
    given = {"max_trials": 40, "max_lanes": lanes, **arguments}
    tuner = Slow(build, "val_loss", seed=5, directory=folder, **given)
    x, y, validation_data = blobs
    data = {"validation_data": validation_data} if tuner.folds is None else {}
    tuner.search(x, y, epochs=epochs, batch_size=16, time_limit=limit, verbose=1, **data)
    return tuner


def test_the_last_trials_are_as_many_as_end_in_time(build, blobs, tmp_path, capsys):
    # Two times four of them take 3 + 16 + 16 seconds. Ten are left, for one with its program.
    tuner = in_time(build, blobs, tmp_path, limit=45.0, epochs=4, lanes=4)
    assert tuner.sizes == [4, 1]
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 9
    assert {trial.best_step for trial in tuner.oracle.trials.values()} <= {0, 1, 2, 3}
    assert not tuner.oracle.ongoing_trials
    assert capsys.readouterr().out.splitlines()[-1] == (
        "The time limit of 0:45 is too short for one more trial; trials: 9 completed."
    )
    assert Clock.now <= 45.0


def test_folds_of_a_trial_begin_together_or_not_at_all(build, blobs, tmp_path):
    tuner = in_time(build, blobs, tmp_path, limit=58.0, epochs=4, lanes=7, folds=3)
    # Six lanes of seven take 3 + 24 seconds; in the 31 that are left, as many again.
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 4
    tuner = in_time(build, blobs, tmp_path / "shorter", limit=48.0, epochs=4, lanes=7, folds=3)
    assert tuner.sizes[-1] == 3
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 3


def test_lanes_that_would_not_end_in_time_give_place_to_fewer(build, blobs, tmp_path, capsys):
    tuner = in_time(build, blobs, tmp_path / "a", limit=100.0, epochs=20, lanes=8)
    assert tuner.sizes == [8, 3]
    said = capsys.readouterr().out
    assert "8 lanes would not end in time; going on with 3." in said
    completed = [t for t in tuner.oracle.trials.values() if t.status == "COMPLETED"]
    assert len(completed) == 3
    # They begin again where they had begun.
    whole = in_time(build, blobs, tmp_path / "b", None, epochs=20, lanes=3, max_trials=3)
    for trial, other in zip(completed, whole.oracle.trials.values(), strict=True):
        assert trial.hyperparameters.values == other.hyperparameters.values
        assert trial.score == pytest.approx(other.score, rel=1e-5)
        assert trial.best_step == other.best_step
        assert len(trial.metrics.get_history("val_loss")) == 1


def test_trainings_that_others_see_are_not_begun_again(build, blobs, tmp_path):
    tuner = Slow(build, "val_loss", seed=5, directory=tmp_path, max_trials=8, max_lanes=8)
    x, y, validation_data = blobs
    given = {"validation_data": validation_data, "batch_size": 16, "verbose": 0}
    callbacks = [keras.callbacks.EarlyStopping(patience=20)]
    tuner.search(x, y, epochs=20, time_limit=100.0, callbacks=callbacks, **given)
    assert tuner.sizes == [8]
    assert len(tuner.oracle.end_order) == 8


def test_what_is_known_of_durations():
    pace = Pace()
    assert pace.ends("a", 1.0)  # Nothing is known.
    assert pace.lanes("a", 8, 1, 1.0) == 8
    pace.learn("a", 8, seconds=16.0, beginning=4.0)
    assert [pace.ends("a", left) for left in (None, 16.0, 15.9)] == [True, True, False]
    assert pace.lanes("a", 8, 1, None) == 8
    assert [pace.lanes("a", 8, 1, left) for left in (3.0, 12.0, 25.0)] == [0, 3, 8]
    assert pace.lanes("a", 8, 2, 12.0) == 2
    assert pace.lanes("other", 8, 1, 12.0) == 3  # As the last one that was measured.
    assert pace.lanes("a", 8, 9, 12.0) == 8  # Folds that are more than lanes.
    pace.learn("a", 8, seconds=8.0, beginning=None)
    assert pace.lanes("a", 8, 1, 8.0) == 3  # Four seconds are still those of a new program.


def test_lanes_are_given_up_early_or_never():
    running = Running(0.0)
    for now in (5.0, 7.0):
        running.epoch_ended(now)
        assert running.fewer(8, 1, 20, 10.0) is None
    running.epoch_ended(9.0)
    assert running.beginning == pytest.approx(3.0)
    assert running.fewer(8, 1, 20, 10.0) == 1
    assert running.fewer(8, 1, 20, 25.0) == 4
    assert running.fewer(8, 3, 20, 25.0) == 3
    assert running.fewer(8, 5, 20, 25.0) is None  # Not even one trial would end.
    assert running.fewer(8, 1, 20, 30.0) is None  # Nearly in time.
    assert running.fewer(8, 1, 20, None) is None
    for now in (11.0, 13.0, 15.0):
        running.epoch_ended(now)
    assert running.fewer(8, 1, 20, 5.0) is None  # More than a quarter has been trained.
