"""Population-based training: copies within the program, and schedules that come of it."""

import contextlib
import io
import itertools

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.lanes import Lanes, batch_order

pytestmark = pytest.mark.shares_programs


def searched(build, folder, blobs, epochs=4, **arguments):
    given = {"population": 6, "seed": 5, "directory": folder, **arguments}
    found = tuners.PopulationBasedTraining(build, "val_loss", **given)
    x, y, validation_data = blobs
    found.search(x, y, epochs=epochs, batch_size=16, validation_data=validation_data, verbose=0)
    return found


@pytest.fixture(scope="module")
def evolved(build, blobs, tmp_path_factory):
    """A population that was trained, the folder of its project, and the copies of lanes."""
    folder, made, copy = tmp_path_factory.mktemp("population"), [], Lanes.copy

    def recorded(self, source, target):
        copy(self, source, target)
        made.append((source, target))
        for value in self.get_values():
            np.testing.assert_array_equal(value[source], value[target])

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        patch.setattr(Lanes, "copy", recorded)
        given = {"quantile": 0.34, "resample": 0.0, "project_name": "project"}
        found = searched(build, folder, blobs, **given)
    assert printed.getvalue() == ""  # `verbose=0` shows nothing.
    return found, folder, made


def test_the_worst_become_changed_copies_of_the_best(evolved):
    found, _, copies = evolved
    # Two of six, after each epoch but the last.
    assert len(copies) == 2 * 3
    assert len(tuners.completed_trials(found)) == 6
    changed = [t for t in found.oracle.trials.values() if len(found.schedule(t)) > 1]
    assert changed
    for trial in changed:
        schedule = found.schedule(trial)
        assert [entry["epoch"] for entry in schedule] == sorted({e["epoch"] for e in schedule})
        assert schedule[-1]["values"] == trial.hyperparameters.values
        for before, after in itertools.pairwise(schedule):
            ratio = after["values"]["learning_rate"] / before["values"]["learning_rate"]
            at_bound = after["values"]["learning_rate"] in (1e-3, 1e-1)
            assert at_bound or ratio == pytest.approx(0.8) or ratio == pytest.approx(1.2)
            assert 0.0 <= after["values"]["rate"] <= 0.5


def test_a_schedule_replayed_by_keras_gives_the_score(build, blobs, evolved):
    found, _, _ = evolved
    x, y, validation_data = blobs
    trial = max(found.oracle.trials.values(), key=lambda t: len(found.schedule(t)))
    schedule = found.schedule(trial)
    assert len(schedule) > 1
    first = found.oracle.hyperparameters.copy()
    first.values = schedule[0]["values"]
    model = build(first)
    for epoch in range(4):
        for entry in schedule:
            if entry["epoch"] == epoch:
                model.optimizer.learning_rate = entry["values"]["learning_rate"]
                model.layers[1].rate.assign(entry["values"]["rate"])
        order = batch_order(len(x), epoch, seed=found.oracle.seed)
        model.fit(x[order], y[order], 16, shuffle=False, verbose=0)
    loss = model.evaluate(*validation_data, verbose=0)[0]
    last = found.load_model(trial).evaluate(*validation_data, verbose=0)[0]
    # The best epoch of a trial that goes on improving is its last.
    assert loss == pytest.approx(last, rel=1e-3)


def test_a_population_finds_its_way_from_bad_beginnings(build, blobs, tmp_path):
    # The published toy: nobody begins well, and only those who change arrive.
    def bad(hp):
        inputs = keras.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
        rate = hp.Float("learning_rate", 1e-5, 1.0, default=1e-4, sampling="log")
        model.compile(keras.optimizers.SGD(rate), "mse")
        return model

    x = blobs[0]
    data = x, x.sum(axis=1, keepdims=True), (x, x.sum(axis=1, keepdims=True))
    found = searched(bad, tmp_path, data, epochs=12, population=8, seed=3)
    scores = sorted(trial.score for trial in found.oracle.trials.values())
    alone = tuners.VectorizedRandomSearch(
        bad, "val_loss", max_trials=8, seed=3, directory=tmp_path / "alone"
    )
    alone.search(data[0], data[1], epochs=12, batch_size=16, validation_data=data[2], verbose=0)
    others = sorted(trial.score for trial in alone.oracle.trials.values())
    assert np.median(scores) < np.median(others)


def test_structure_stays(build, blobs, tmp_path):
    def with_widths(hp):
        units = hp.Choice("units", [3, 4])
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(units), keras.layers.Dense(3, "softmax")]
        )
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    found = searched(with_widths, tmp_path, blobs, epochs=3)
    for trial in found.oracle.trials.values():
        units = {entry["values"]["units"] for entry in found.schedule(trial)}
        assert len(units) == 1
        assert found.load_model(trial).layers[0].units == units.pop()


def test_one_that_diverges_is_saved_by_a_copy(build, blobs, tmp_path):
    builds = iter(range(1000))

    def first_is_broken(hp):
        model = build(hp)
        # 0 is the one that declares the space.
        if next(builds) == 1:
            model.layers[0].kernel.assign(np.full((6, 4), np.nan))
        return model

    found = searched(first_is_broken, tmp_path, blobs, epochs=2)
    assert len(tuners.completed_trials(found)) == 6


def test_a_schedule_is_kept_with_the_project(build, evolved):
    found, folder, _ = evolved
    again = tuners.PopulationBasedTraining(
        build, "val_loss", population=6, directory=folder, project_name="project"
    )
    assert any(len(found.schedule(trial)) > 1 for trial in found.oracle.trials.values())
    for trial_id, trial in again.oracle.trials.items():
        assert again.schedule(trial) == found.schedule(found.oracle.trials[trial_id])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"population": 1}, "`population`"),
        ({"interval": 0}, "`interval`"),
        ({"quantile": 0.6}, "`quantile`"),
        ({"quantile": 0}, "`quantile`"),
        ({"resample": 1.5}, "`resample`"),
        ({"folds": 3}, "`folds` has no meaning"),
        ({"executions_per_trial": 2}, "`executions_per_trial` has no meaning"),
    ],
)
def test_arguments_outside_their_range(arguments, message, build, tmp_path):
    with pytest.raises(ValueError, match=message):
        tuners.PopulationBasedTraining(build, "val_loss", directory=tmp_path, **arguments)


def test_what_is_moved_stays_in_the_space(build, tmp_path):
    tuner = tuners.PopulationBasedTraining(
        build, "val_loss", population=2, resample=0.0, directory=str(tmp_path), seed=1
    )
    hp = keras_tuner.HyperParameters()
    hp.Float("rate", 0.5, 1.0)
    hp.Int("steps", 4, 16, step=4)
    hp.Choice("kind", ["a", "b", "c"])
    rate, steps, kind = hp.space
    rates, counts, kinds = {1.0}, {16}, {"a"}
    for _ in range(40):
        rates |= {tuner._moved(rate, value) for value in rates if len(rates) < 30}
        counts |= {tuner._moved(steps, value) for value in counts}
        kinds |= {tuner._moved(kind, value) for value in kinds}
    assert len(rates) > 3
    assert min(rates) == 0.5
    assert max(rates) == 1.0
    assert counts <= {4, 8, 12, 16}
    assert {8, 12, 16} <= counts
    assert kinds == {"a", "b", "c"}
