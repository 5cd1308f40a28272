"""Folds have one best epoch together: that of their mean."""

from types import SimpleNamespace
from typing import ClassVar

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.tuners._best_epochs import JointEpochs, joint_epoch, read_all
from kerasreg.tuners._folds import folds_of

pytestmark = pytest.mark.shares_programs

LOSS = keras_tuner.Objective("val_loss", "min")


def history(*values, name="val_loss"):
    made = keras.callbacks.History()
    made.epoch, made.history = list(range(len(values))), {name: list(values)}
    return made


@pytest.mark.parametrize(
    ("results", "epoch"),
    [
        # Their own best epochs are 0 and 2.
        ([history(1.0, 2.0, 9.0), history(9.0, 3.0, 1.0)], 1),
        # A fold that has ended has no more epochs, and neither have all together.
        ([history(3.0, 2.0, 0.0), history(3.0, 2.0)], 1),
        ([history(3.0, 2.0)], 1),
        # Without the objective in each epoch there is none.
        ([history(3.0, 2.0, name="loss")], None),
        ([history(3.0, 2.0), 2.0], None),
    ],
)
def test_the_epoch_is_the_best_of_the_means(results, epoch):
    assert joint_epoch(results, LOSS) == epoch


def test_the_direction_is_that_of_the_objective():
    most = keras_tuner.Objective("val_accuracy", "max")
    results = [history(0.9, 0.7, 0.1, name="val_accuracy")]
    results.append(history(0.0, 0.7, 0.8, name="val_accuracy"))
    assert joint_epoch(results, most) == 1


def seen(plan, epoch, value):
    return SimpleNamespace(plan=plan, epoch=epoch, logs={"val_loss": value})


def plan(trial_id, fold, execution=0):
    trial = SimpleNamespace(trial_id=trial_id)
    return SimpleNamespace(trial=trial, execution=execution, fold=fold, joint=None)


def test_lanes_of_folds_that_began_together_have_their_mean():
    joint = JointEpochs(2)
    plans = {0: plan("a", 0), 1: plan("b", 0), 2: plan("a", 1), 3: plan("b", 1)}
    joint.begin(plans)
    logs = joint.logs({k: seen(plans[k], 0, float(k)) for k in plans}, 4)
    assert [one["val_loss"] for one in logs] == [1.0, 2.0, 1.0, 2.0]
    # One of them has ended: the others keep what they have, and another trial in its lane
    # is not one of theirs.
    plans[2] = plan("c", 0)
    joint.begin({2: plans[2]})
    logs = joint.logs({k: seen(plans[k], 1, float(k)) for k in plans}, 4)
    assert logs[0] == {}
    assert [logs[k]["val_loss"] for k in (1, 2, 3)] == [2.0, 2.0, 2.0]


def test_the_epochs_of_a_fold_may_be_chosen_by_the_others_alone():
    joint = JointEpochs(3)
    plans = {0: plan("a", 0), 1: plan("a", 1), 2: plan("a", 2), 3: plan("b", None)}
    joint.begin(plans)
    logs = joint.logs({k: seen(plans[k], 0, float(k)) for k in plans}, 4, apart=True)
    assert [one.get("val_loss") for one in logs] == [1.5, 1.0, 0.5, None]
    # And of a training that has begun without the others, nobody chooses.
    plans[2] = plan("c", 0)
    joint.begin({2: plans[2]})
    logs = joint.logs({k: seen(plans[k], 1, float(k)) for k in plans}, 4, apart=True)
    assert logs == [{}] * 4


class Curves(tuners.VectorizedRandomSearch):
    """Remembers the objective of each fold by the epoch."""

    curves: ClassVar[dict[str, dict[int, list[float]]]] = {}

    def on_lanes_epoch_end(self, lanes, seen):
        for one in seen.values():
            of_trial = self.curves.setdefault(one.plan.trial.trial_id, {})
            of_trial.setdefault(one.plan.fold, []).append(one.logs["val_m"])


def test_predictions_apart_are_of_the_epochs_that_other_folds_choose(data, tmp_path, monkeypatch):
    x, y = data
    Curves.curves.clear()

    def made():
        objective = keras_tuner.Objective("val_m", "min")
        return Curves(build, objective, max_trials=6, folds=3, seed=2, directory=tmp_path)

    tuner = made()
    tuner.search(x, y, epochs=8, batch_size=8, verbose=0)
    found = tuner.out_of_fold()
    parts = [rows for _, rows in folds_of(3, x, y, None, 2)]
    others = 0
    for trial_id, together, apart in zip(
        found.trial_ids, found.predictions, found.apart, strict=True
    ):
        curves = np.array([curve for _, curve in sorted(Curves.curves[trial_id].items())])
        for fold, rows in enumerate(parts):
            epoch = np.delete(curves, fold, axis=0).mean(axis=0).argmin()
            score = np.mean((apart[rows] - y[rows]) ** 2)
            assert score == pytest.approx(curves[fold, epoch], rel=1e-4)
            score = np.mean((together[rows] - y[rows]) ** 2)
            joint = curves.mean(axis=0).argmin()
            assert score == pytest.approx(curves[fold, joint], rel=1e-4)
            others += epoch != joint
    assert others > 2
    # They are no more trainings of a trial, and there for those who come later.
    assert {len(of) for of in read_all(tuner.project_dir, found.trial_ids).values()} == {3}
    again = made().out_of_fold(data)
    np.testing.assert_allclose(again.apart, found.apart, rtol=1e-5)
    # Of many samples nothing more is kept.
    monkeypatch.setattr("kerasreg.tuners._folds._FEW_SAMPLES", 10)
    tuner = Curves(
        build,
        keras_tuner.Objective("val_m", "min"),
        max_trials=2,
        folds=3,
        seed=2,
        directory=tmp_path,
        project_name="many",
    )
    tuner.search(x, y, epochs=4, batch_size=8, verbose=0)
    found = tuner.out_of_fold()
    assert all(a is b for a, b in zip(found.apart, found.predictions, strict=True))


def test_without_all_its_folds_a_training_goes_by_its_own_epochs():
    joint = JointEpochs(2)
    alone = {0: plan("a", 0), 1: plan("b", None)}
    joint.begin(alone)
    logs = joint.logs({k: seen(alone[k], 3, float(k)) for k in alone}, 3)
    assert logs == [{"val_loss": 0.0}, {"val_loss": 1.0}, {}]


def build(hp):
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-4, 1e-1, sampling="log"))
    layers = [
        keras.layers.Dense(6, "relu", kernel_regularizer=penalty),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    # So fast that the error rises and falls.
    rate = hp.Float("learning_rate", 1e-2, 5e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=[keras.metrics.MeanSquaredError("m")])
    return model


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(3)
    x = generator.normal(size=(50, 3)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] + generator.normal(size=(50, 1))).astype("float32")


class Stops(keras.callbacks.Callback):
    """Ends a training whose error has risen."""

    def on_epoch_end(self, epoch, logs=None):
        self.before, before = logs["val_m"], getattr(self, "before", np.inf)
        if epoch > 2 and logs["val_m"] > before:
            self.model.stop_training = True


@pytest.mark.short("refilled", "stopped")
@pytest.mark.parametrize("kind", ["lanes", "refilled", "stopped"])
def test_the_score_is_of_the_weights_that_are_kept(kind, data, tmp_path):
    tuner = tuners.VectorizedRandomSearch(
        build,
        keras_tuner.Objective("val_m", "min"),
        max_trials=6,
        seed=2,
        folds=3,
        max_lanes=7 if kind == "refilled" else None,
        directory=tmp_path,
    )
    callbacks = [Stops()] if kind == "stopped" else []
    tuner.search(*data, epochs=8, batch_size=10, callbacks=callbacks, verbose=0)
    x, y = data
    rows = folds_of(3, x, y, None, tuner.oracle.seed)
    trials = tuner.oracle.get_best_trials(6)
    kept = read_all(tuner.project_dir, [trial.trial_id for trial in trials])
    own = 0
    for trial in trials:
        model = build(trial.hyperparameters)
        errors = []
        for values, (_, validation) in zip(kept[trial.trial_id], rows, strict=True):
            for variable, value in zip(model.variables, values, strict=True):
                variable.assign(value)
            found = model.predict(x[validation], verbose=0)
            errors.append(float(np.mean((found - y[validation]) ** 2)))
        assert trial.score == pytest.approx(np.mean(errors), rel=1e-4)
        observed = trial.metrics.get_history("val_m")[0].value
        assert observed == pytest.approx(errors, rel=1e-4)
        own += trial.best_step not in (0, 7)
    # Some trials are best in the middle, where a joint epoch is another than each one's own.
    assert own >= 2
