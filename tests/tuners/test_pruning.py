"""Trials that promise little are ended by an Optuna pruner, and lanes taken over."""

import numpy as np
import optuna
import pytest

from kerasreg import tuners
from kerasreg.tuners._pruning import Pruning

pytestmark = pytest.mark.shares_programs


class Objective:
    direction = "min"


class Watched(optuna.pruners.BasePruner):
    """Another pruner, and the study that it was asked about."""

    def __init__(self, pruner):
        self.pruner = pruner

    def prune(self, study, trial):
        self.study = study
        return self.pruner.prune(study, trial)


def search(build, folder, blobs, pruner, **arguments):
    found = tuners.VectorizedRandomSearch(
        build, "val_loss", directory=folder, seed=5, pruner=pruner, **arguments
    )
    x, y, validation_data = blobs
    found.search(x, y, epochs=8, batch_size=16, validation_data=validation_data)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2),
    ],
    ids=["median", "ASHA"],
)
@pytest.mark.parametrize("lanes", [4, 1])
def test_the_better_trials_are_trained_longer(pruner, lanes, build, blobs, tmp_path, capsys):
    pruner = Watched(pruner)
    found = search(build, tmp_path, blobs, pruner, max_trials=12, max_lanes=lanes)
    trials = tuners.completed_trials(found)
    assert len(trials) == 12
    told = pruner.study.get_trials()
    epochs = np.array([len(trial.intermediate_values) for trial in told])
    pruned = np.array([trial.state.name == "PRUNED" for trial in told])
    assert 0 < pruned.sum() < 12
    assert f" {pruned.sum()} stopped early," in capsys.readouterr().out.splitlines()[-1]
    assert (epochs[~pruned] == 8).all()
    assert epochs[pruned].mean() < 8
    second = np.array([trial.intermediate_values[1] for trial in told])
    assert np.median(second[~pruned]) < np.median(second[pruned])


def test_folds_are_judged_by_their_mean(build, blobs, tmp_path):
    seen = []

    class Watching(optuna.pruners.NopPruner):
        def prune(self, study, trial):
            seen.append((trial.number, dict(trial.intermediate_values)))
            return trial.number == 1 and trial.last_step == 2

    found = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=3, directory=tmp_path, seed=5, folds=2, pruner=Watching()
    )
    x, y, _ = blobs
    found.search(x, y, epochs=5, batch_size=16, verbose=0)
    assert max(len(values) for number, values in seen if number == 0) == 5
    assert max(len(values) for number, values in seen if number == 1) == 3
    # Its result is the mean of what its folds had.
    trial = found.oracle.trials["1"]
    assert trial.status == "COMPLETED"
    assert len(trial.metrics.get_history("val_loss")[0].value) == 2


def test_what_the_pruner_is_told():
    class Recorder(optuna.pruners.NopPruner):
        seen = ()

        def prune(self, study, trial):
            self.seen += ((trial.number, tuple(trial.intermediate_values.items())),)
            return trial.intermediate_values[trial.last_step] > 2.0

    recorder = Watched(Recorder())
    pruning = Pruning(recorder, Objective())
    assert pruning.report({"a": (0, 1.0), "b": (0, 3.0)}) == ["b"]
    assert recorder.pruner.seen == ((0, ((0, 1.0),)), (1, ((0, 3.0),)))
    assert pruning.report({"a": (1, 1.5)}) == []
    pruning.end("a", 1.0, pruned=False)
    pruning.end("b", 3.0, pruned=True)
    pruning.end("c", None, pruned=False)  # It never had an epoch.
    states = [trial.state.name for trial in recorder.study.get_trials()]
    assert states == ["COMPLETE", "PRUNED"]
    assert recorder.study.best_value == 1.0


def test_a_pruner_is_optunas(build, tmp_path):
    with pytest.raises(ValueError, match="`pruner` must be an Optuna pruner"):
        tuners.VectorizedRandomSearch(build, "val_loss", directory=tmp_path, pruner="median")
