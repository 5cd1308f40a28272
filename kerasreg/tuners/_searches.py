"""KerasTuner's searches on lanes: its oracles, with a tuner that trains many trials at once.

The arguments of each search are those of KerasTuner's own, in the same order, and after them, by
name only, those of `VectorizedTuner`. They are spelled out so that `help` and editors show them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import keras
import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._overrides import has_own
from kerasreg._validation import check_count
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._structure_first import StructureFirstOracle
from kerasreg.tuners._vectorized import VectorizedTuner


class VectorizedRandomSearch(VectorizedTuner):
    """`keras_tuner.RandomSearch` with many trials as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: number of trials; None for no limit but that of `time_limit`.
        seed: a whole number for the draws; None or 0 for another one each time.
        hyperparameters: hyperparameters that are known before the first build. They override
            hyperparameters of the same names in the hypermodel.
        tune_new_entries: whether hyperparameters that are not in `hyperparameters` are searched;
            otherwise they keep their defaults.
        allow_new_entries: whether the hypermodel may declare hyperparameters that are not in
            `hyperparameters`.
        max_retries_per_trial: how often a trial that crashed is tried again.
        max_consecutive_failed_trials: so many failed trials in a row end the search with an error.
        trials_per_structure: how many trials in a row share the hyperparameters that decide on
            the program, such as widths and activations. Each of these trials draws the other
            hyperparameters itself. With 1 each trial draws all of them, as KerasTuner does, and
            trials of a large space seldom share a program.
        max_lanes: at most so many trainings at a time, >= 1. None for 128, or a lower power
            of two if memory asks for it.
        folds: a number of folds >= 2, or a splitter of scikit-learn's, to validate each trial
            by cross-validation.
        initial_settings: settings that are tried first, before those that the search draws: a list
            of dictionaries of values by the names of hyperparameters, or of KerasTuner's
            hyperparameters of trials. A value that a setting leaves out is the default.
        pruner: an Optuna pruner that ends trials by their intermediate results.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        pad_widths: whether trials whose models differ in widths, such as `units`, are padded with
            zeros to train by one program, and activations computed side by side, where that is
            estimated to be faster. With False each width and each activation is a program.
        batches: `"shared"`, or `"own"`: each training has an order of its batches that follows from
            the oracle's seed and the id of its trial. Own ones make better ensembles; a step
            gathers the samples of each trial. They need arrays.
        checkpoint_every: how often trials that train as lanes are kept in a checkpoint, from which
            another process goes on: seconds, or a text such as `"5m"`, at the next end of an epoch;
            `"auto"` for every 10 seconds, or as seldom as they cost 1 % of the time; None for
            never, and trials that were cut off begin again.
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with several replicas, trials are
            trained one by one, by `kerasreg.distribute.fit`. One of the default device alone is as
            none.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.

    Raises:
        ValueError: if `trials_per_structure`, `max_lanes` or `folds` is outside its range,
            `initial_settings` are none of the space, or `pruner` is no pruner of Optuna.
        ImportError: if `pruner` is given and Optuna is not installed.

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
        max_trials: int | None = 10,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        *,
        trials_per_structure: int = 1,
        max_lanes: int | None = None,
        folds: Any = None,
        initial_settings: Sequence[Any] = (),
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
        checkpoint_every: float | str | None = "auto",
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
    ) -> None:
        check_count("trials_per_structure", trials_per_structure)
        oracle = StructureFirstOracle(
            objective,
            max_trials=max_trials,
            trials_per_structure=trials_per_structure,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=max_lanes,
            folds=folds,
            initial_settings=initial_settings,
            pruner=pruner,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            pad_widths=pad_widths,
            batches=batches,
            checkpoint_every=checkpoint_every,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            directory=directory,
            project_name=project_name,
            tuner_id=tuner_id,
            overwrite=overwrite,
            executions_per_trial=executions_per_trial,
        )


class _Grid(keras_tuner.oracles.GridSearchOracle):
    """Gives the next point of the grid before the last one has ended.

    KerasTuner waits, for a trial may bring hyperparameters that were not known;
    points that such ones add are visited when the trial has ended.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A tuner with a `run_trial` of its own runs one trial at a time, as KerasTuner does.
        self.goes_ahead = True
        internals.compare_with_running(self)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        internals.wait_for_new_hyperparameters(self)
        found = super().populate_space(trial_id)
        if found["status"] == "RUNNING" and self.goes_ahead:
            internals.continue_grid_after(self, trial_id)
        return dict(found)


class VectorizedGridSearch(VectorizedTuner):
    """`keras_tuner.GridSearch` with many trials as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: at most so many trials; None for the whole grid.
        seed: a whole number for the draws; None or 0 for another one each time.
        hyperparameters: hyperparameters that are known before the first build. They override
            hyperparameters of the same names in the hypermodel.
        tune_new_entries: whether hyperparameters that are not in `hyperparameters` are searched;
            otherwise they keep their defaults.
        allow_new_entries: whether the hypermodel may declare hyperparameters that are not in
            `hyperparameters`.
        max_retries_per_trial: how often a trial that crashed is tried again.
        max_consecutive_failed_trials: so many failed trials in a row end the search with an error.
        max_lanes: at most so many trainings at a time, >= 1. None for 128, or a lower power
            of two if memory asks for it.
        folds: a number of folds >= 2, or a splitter of scikit-learn's, to validate each trial
            by cross-validation.
        pruner: an Optuna pruner that ends trials by their intermediate results.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        pad_widths: whether trials whose models differ in widths, such as `units`, are padded with
            zeros to train by one program, and activations computed side by side, where that is
            estimated to be faster. With False each width and each activation is a program.
        batches: `"shared"`, or `"own"`: each training has an order of its batches that follows from
            the oracle's seed and the id of its trial. Own ones make better ensembles; a step
            gathers the samples of each trial. They need arrays.
        checkpoint_every: how often trials that train as lanes are kept in a checkpoint, from which
            another process goes on: seconds, or a text such as `"5m"`, at the next end of an epoch;
            `"auto"` for every 10 seconds, or as seldom as they cost 1 % of the time; None for
            never, and trials that were cut off begin again.
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with several replicas, trials are
            trained one by one, by `kerasreg.distribute.fit`. One of the default device alone is as
            none.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.

    Raises:
        ValueError: if `max_lanes` or `folds` is outside its range, or `pruner` is no
            pruner of Optuna.
        ImportError: if `pruner` is given and Optuna is not installed.

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
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        *,
        max_lanes: int | None = None,
        folds: Any = None,
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
        checkpoint_every: float | str | None = "auto",
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
    ) -> None:
        oracle = _Grid(
            objective,
            max_trials=max_trials,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        oracle.goes_ahead = type(self).run_trial is VectorizedTuner.run_trial
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=max_lanes,
            folds=folds,
            pruner=pruner,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            pad_widths=pad_widths,
            batches=batches,
            checkpoint_every=checkpoint_every,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            directory=directory,
            project_name=project_name,
            tuner_id=tuner_id,
            overwrite=overwrite,
            executions_per_trial=executions_per_trial,
        )


class VectorizedBayesianOptimization(VectorizedTuner):
    """`keras_tuner.BayesianOptimization` with several trials as one program.

    Trials that run together are proposed together: for a trial that has no result yet, the
    oracle takes the result that it expects. So `max_lanes` is 8 by default.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_trials: number of trials; None for no limit but that of `time_limit`.
        num_initial_points: how many trials are random before the oracle learns; None for three for
            each hyperparameter.
        alpha: the noise that the oracle expects of results.
        beta: the larger, the more is explored.
        seed: a whole number for the draws; None or 0 for another one each time.
        hyperparameters: hyperparameters that are known before the first build. They override
            hyperparameters of the same names in the hypermodel.
        tune_new_entries: whether hyperparameters that are not in `hyperparameters` are searched;
            otherwise they keep their defaults.
        allow_new_entries: whether the hypermodel may declare hyperparameters that are not in
            `hyperparameters`.
        max_retries_per_trial: how often a trial that crashed is tried again.
        max_consecutive_failed_trials: so many failed trials in a row end the search with an error.
        max_lanes: at most so many trials at a time, >= 1. None for as many as memory can hold, at
            most 128.
        folds: a number of folds >= 2, or a splitter of scikit-learn's, to validate each trial
            by cross-validation.
        initial_settings: settings that are tried first, before those that the search draws: a list
            of dictionaries of values by the names of hyperparameters, or of KerasTuner's
            hyperparameters of trials. A value that a setting leaves out is the default. The
            oracle learns from them as from others.
        pruner: an Optuna pruner that ends trials by their intermediate results.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        pad_widths: whether trials whose models differ in widths, such as `units`, are padded with
            zeros to train by one program, and activations computed side by side, where that is
            estimated to be faster. With False each width and each activation is a program.
        batches: `"shared"`, or `"own"`: each training has an order of its batches that follows from
            the oracle's seed and the id of its trial. Own ones make better ensembles; a step
            gathers the samples of each trial. They need arrays.
        checkpoint_every: how often trials that train as lanes are kept in a checkpoint, from which
            another process goes on: seconds, or a text such as `"5m"`, at the next end of an epoch;
            `"auto"` for every 10 seconds, or as seldom as they cost 1 % of the time; None for
            never, and trials that were cut off begin again.
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with several replicas, trials are
            trained one by one, by `kerasreg.distribute.fit`. One of the default device alone is as
            none.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.

    Raises:
        ValueError: if `max_lanes` or `folds` is outside its range, `initial_settings` are none
            of the space, or `pruner` is no pruner of Optuna.
        ImportError: if `pruner` is given and Optuna is not installed.

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
        max_trials: int | None = 10,
        num_initial_points: int | None = None,
        alpha: float = 1e-4,
        beta: float = 2.6,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        *,
        max_lanes: int | None = 8,
        folds: Any = None,
        initial_settings: Sequence[Any] = (),
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
        checkpoint_every: float | str | None = "auto",
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
    ) -> None:
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective,
            max_trials=max_trials,
            num_initial_points=num_initial_points,
            alpha=alpha,
            beta=beta,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=max_lanes,
            folds=folds,
            initial_settings=initial_settings,
            pruner=pruner,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            pad_widths=pad_widths,
            batches=batches,
            checkpoint_every=checkpoint_every,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            directory=directory,
            project_name=project_name,
            tuner_id=tuner_id,
            overwrite=overwrite,
            executions_per_trial=executions_per_trial,
        )


class VectorizedHyperband(VectorizedTuner):
    """`keras_tuner.Hyperband` with the trials of a round as one program.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        max_epochs: epochs of the trials that go furthest.
        factor: the divisor of the number of trials from round to round, >= 2.
        hyperband_iterations: how often the whole algorithm runs.
        seed: a whole number for the draws; None or 0 for another one each time.
        hyperparameters: hyperparameters that are known before the first build. They override
            hyperparameters of the same names in the hypermodel.
        tune_new_entries: whether hyperparameters that are not in `hyperparameters` are searched;
            otherwise they keep their defaults.
        allow_new_entries: whether the hypermodel may declare hyperparameters that are not in
            `hyperparameters`.
        max_retries_per_trial: how often a trial that crashed is tried again.
        max_consecutive_failed_trials: so many failed trials in a row end the search with an error.
        max_lanes: at most so many trainings at a time, >= 1. None for 128, or a lower power
            of two if memory asks for it.
        folds: a number of folds >= 2, or a splitter of scikit-learn's, to validate each trial
            by cross-validation.
        initial_settings: settings that are tried first, before those that the search draws: a list
            of dictionaries of values by the names of hyperparameters, or of KerasTuner's
            hyperparameters of trials. A value that a setting leaves out is the default. They
            begin in the first rounds, and go on as others do.
        pruner: an Optuna pruner that ends trials by their intermediate results.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        pad_widths: whether trials whose models differ in widths, such as `units`, are padded with
            zeros to train by one program, and activations computed side by side, where that is
            estimated to be faster. With False each width and each activation is a program.
        batches: `"shared"`, or `"own"`: each training has an order of its batches that follows from
            the oracle's seed and the id of its trial. Own ones make better ensembles; a step
            gathers the samples of each trial. They need arrays.
        checkpoint_every: how often trials that train as lanes are kept in a checkpoint, from which
            another process goes on: seconds, or a text such as `"5m"`, at the next end of an epoch;
            `"auto"` for every 10 seconds, or as seldom as they cost 1 % of the time; None for
            never, and trials that were cut off begin again.
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with several replicas, trials are
            trained one by one, by `kerasreg.distribute.fit`. One of the default device alone is as
            none.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.

    Raises:
        ValueError: if `factor`, `max_lanes` or `folds` is outside its range, `initial_settings`
            are none of the space, or `pruner` is no pruner of Optuna.
        ImportError: if `pruner` is given and Optuna is not installed.

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
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int = 1,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int = 3,
        *,
        max_lanes: int | None = None,
        folds: Any = None,
        initial_settings: Sequence[Any] = (),
        pruner: Any = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
        checkpoint_every: float | str | None = "auto",
        max_model_size: int | None = None,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        distribution_strategy: Any = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        executions_per_trial: int = 1,
    ) -> None:
        oracle = keras_tuner.oracles.HyperbandOracle(
            objective,
            max_epochs=max_epochs,
            factor=factor,
            hyperband_iterations=hyperband_iterations,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=max_lanes,
            folds=folds,
            initial_settings=initial_settings,
            pruner=pruner,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            pad_widths=pad_widths,
            batches=batches,
            checkpoint_every=checkpoint_every,
            max_model_size=max_model_size,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            distribution_strategy=distribution_strategy,
            directory=directory,
            project_name=project_name,
            tuner_id=tuner_id,
            overwrite=overwrite,
            executions_per_trial=executions_per_trial,
        )

    def fit_arguments(self, trial: Any, execution: int, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Adds the first and the last epoch of the round."""
        given = super().fit_arguments(trial, execution, kwargs)
        values = trial.hyperparameters.values
        if "tuner/epochs" in values:
            given["epochs"] = values["tuner/epochs"]
            given["initial_epoch"] = values["tuner/initial_epoch"]
        return given

    def builds_by_hypermodel_alone(self, hp: keras_tuner.HyperParameters) -> bool:
        """Whether the trial begins anew, and does not go on with the weights of an earlier one.

        Args:
            hp: the hyperparameters of the trial.
        """
        own = has_own(self, "build_model", VectorizedHyperband)
        return not own and "tuner/trial_id" not in hp.values

    def build_model(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds the model of a trial, which goes on with the weights of an earlier round.

        Raises:
            FileNotFoundError: if the project folder has no weights of the earlier trial.
        """
        model = super().build_model(hp)
        earlier = hp.values.get("tuner/trial_id")
        if earlier is not None and not model.built:
            internals.build_as_trained(self, earlier, model)
        if earlier is not None and not _best_epochs.read(self.project_dir, earlier, model):
            path = internals.checkpoint_path(self, earlier)
            if not os.path.exists(path):
                # A fresh start would be taken for a result of more epochs than it had.
                raise FileNotFoundError(
                    f"There are no weights of trial {earlier} in {self.project_dir!r}, with which "
                    "this trial was to go on."
                )
            model.load_weights(path)
        return model
