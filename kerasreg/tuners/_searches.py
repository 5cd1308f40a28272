"""KerasTuner's searches on lanes: its oracles, with a tuner that trains many trials at once."""

from __future__ import annotations

import os
from typing import Any

import keras
import keras_tuner

from kerasreg._validation import check_count
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._structure_first import StructureFirstOracle, ValueNames
from kerasreg.tuners._vectorized import VectorizedTuner

_OF_TUNER = [
    "max_lanes",
    "jit_compile",
    "max_model_size",
    "optimizer",
    "loss",
    "metrics",
    "distribution_strategy",
    "directory",
    "project_name",
    "tuner_id",
    "overwrite",
    "executions_per_trial",
    "folds",
    "pruner",
]


def _parted(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of an oracle, and those of a tuner."""
    of_tuner = {name: value for name, value in arguments.items() if name in _OF_TUNER}
    return {k: v for k, v in arguments.items() if k not in of_tuner}, of_tuner


class VectorizedRandomSearch(VectorizedTuner):
    """`keras_tuner.RandomSearch` with many trials as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: number of trials.
        trials_per_structure: how many trials in a row share those hyperparameters
            that decide on the program, such as widths and activations, and draw
            the others anew. With 1, the default, each trial draws all of them, as
            KerasTuner does, and trials of a large space seldom share a program.
        **kwargs: others of `keras_tuner.RandomSearch` and of `VectorizedTuner`.

    Raises:
        ValueError: if `trials_per_structure` is no whole number >= 1.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedRandomSearch(
    ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> len(tuner.oracle.end_order)
    4
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        trials_per_structure: int = 1,
        **kwargs: Any,
    ) -> None:
        of_oracle, of_tuner = _parted(kwargs)
        check_count("trials_per_structure", trials_per_structure)
        oracle = StructureFirstOracle(
            objective, max_trials, trials_per_structure=trials_per_structure, **of_oracle
        )
        super().__init__(oracle, hypermodel, **of_tuner)

    def search(self, *fit_args: Any, groups: Any = None, **fit_kwargs: Any) -> None:
        """Searches: see `VectorizedTuner.search`."""
        if self.oracle.trials_per_structure > 1:
            self.oracle.value_names = ValueNames(self)
        super().search(*fit_args, groups=groups, **fit_kwargs)


class _Grid(keras_tuner.oracles.GridSearchOracle):
    """Gives the next point of the grid before the last one has ended.

    KerasTuner waits, for a trial may bring hyperparameters that were not known;
    points that such ones add are visited when the trial has ended.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = super().populate_space(trial_id)
        if found["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return dict(found)


class VectorizedGridSearch(VectorizedTuner):
    """`keras_tuner.GridSearch` with many trials as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: at most so many trials; None for the whole grid.
        **kwargs: others of `keras_tuner.GridSearch` and of `VectorizedTuner`.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Choice("learning_rate", [0.001, 0.01, 0.1])
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedGridSearch(
    ...     build, "val_loss", directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> sorted(t.hyperparameters["learning_rate"] for t in tuner.oracle.get_best_trials(3))
    [0.001, 0.01, 0.1]
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = None,
        **kwargs: Any,
    ) -> None:
        of_oracle, of_tuner = _parted(kwargs)
        oracle = _Grid(objective, max_trials, **of_oracle)
        super().__init__(oracle, hypermodel, **of_tuner)


class VectorizedBayesianOptimization(VectorizedTuner):
    """`keras_tuner.BayesianOptimization` with several trials as one program.

    Trials that run together are proposed together: the oracle takes each that
    has no result yet for what it expects of it. So `max_lanes` is 8 by default.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: number of trials.
        max_lanes: at most so many trials at a time.
        **kwargs: others of `keras_tuner.BayesianOptimization` and of
            `VectorizedTuner`.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedBayesianOptimization(
    ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> len(tuner.oracle.end_order)
    4
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        max_lanes: int | None = 8,
        **kwargs: Any,
    ) -> None:
        of_oracle, of_tuner = _parted(kwargs)
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(objective, max_trials, **of_oracle)
        super().__init__(oracle, hypermodel, max_lanes, **of_tuner)


class VectorizedHyperband(VectorizedTuner):
    """`keras_tuner.Hyperband` with the trials of a round as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_epochs: epochs of the trials that go furthest.
        **kwargs: others of `keras_tuner.Hyperband` and of `VectorizedTuner`.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedHyperband(
    ...     build, "val_loss", max_epochs=3, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, validation_data=(x, y), verbose=0)
    >>> tuner.oracle.get_best_trials()[0].hyperparameters["tuner/epochs"]
    3
    """

    def __init__(
        self, hypermodel: Any = None, objective: Any = None, max_epochs: int = 100, **kwargs: Any
    ) -> None:
        of_oracle, of_tuner = _parted(kwargs)
        oracle = keras_tuner.oracles.HyperbandOracle(objective, max_epochs, **of_oracle)
        super().__init__(oracle, hypermodel, **of_tuner)

    def _fit_kwargs(self, trial: Any, execution: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        given = super()._fit_kwargs(trial, execution, kwargs)
        values = trial.hyperparameters.values
        if "tuner/epochs" in values:
            given["epochs"] = values["tuner/epochs"]
            given["initial_epoch"] = values["tuner/initial_epoch"]
        return given

    def _build_hypermodel(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = super()._build_hypermodel(hp)
        # A trial of a later round goes on with the weights of an earlier one.
        earlier = hp.values.get("tuner/trial_id")
        if earlier is not None and not _best_epochs.read(self.project_dir, earlier, model):
            path = self._get_checkpoint_fname(earlier)
            if os.path.exists(path):
                model.load_weights(path)
        return model
