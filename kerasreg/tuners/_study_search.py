"""A search in a study of Optuna's, on lanes.

Its arguments are spelled out, as those of the other searches are, for `help` and editors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import keras_tuner

from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._vectorized import VectorizedTuner


class VectorizedStudySearch(VectorizedTuner):
    """A search by Optuna's samplers, in a study of Optuna's, with several trials as one program.

    The other searches have KerasTuner's oracles; this one has a `StudyOracle`, which says how
    spaces, objectives and processes are those of a study. Start the same program several times,
    on machines that reach the `storage` and, best, have one `directory` in common: together
    they search `max_trials` trials, and each goes on with what a killed one has left.

    Trials that run together are asked for together: to TPE what runs looks bad, so that they
    differ. Fewer at a time are better informed, so `max_lanes` is 8 by default. `"random"` and
    `"qmc"` learn nothing from results, and `"nsgaii"` only from one generation (50 trials) to the
    next: take more lanes with these.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`; a list for several.
        max_trials: number of trials of all processes; None for no end.
        sampler: `"tpe"`, `"gp"`, `"cmaes"`, `"qmc"`, `"nsgaii"`, `"random"`, or a sampler of
            Optuna's. None for `"tpe"`, or `"nsgaii"` for several objectives.
        pruner: an Optuna pruner that ends trials by their intermediate results, compared with
            those of all processes.
        storage: a URL of a database, the path of a file, or a storage of Optuna's, as for
            `StudyOracle`. None for `study.db` in the project folder.
        study_name: the name of the study; that of the project by default.
        seed: a whole number for the draws; None or 0 for another one each time. A study that
            exists keeps its seed.
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
            hyperparameters of trials. A value that a setting leaves out is the default. They are
            queued in the study, each once.
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
        max_model_size: a trial whose model has more parameters fails. None for no limit.
        optimizer: replaces the optimizer of each model, as for `keras_tuner.Tuner`.
        loss: replaces the loss of each model, likewise.
        metrics: replace the metrics of each model, likewise.
        distribution_strategy: a `tf.distribute` strategy; with one, trials are trained one by
            one, by `kerasreg.distribute.fit`.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        tuner_id: the name of the tuner in the state files, as for `keras_tuner.Tuner`.
        overwrite: whether a project and a study that exist are deleted; otherwise they are resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.
        worker_timeout: after so many seconds without a sign of life, a process on another machine
            is taken for dead.

    Raises:
        ValueError: if an argument is none of these, the study has another objective or another
            space, or `overwrite` would delete a study in which other processes search.
        RuntimeError: if the storage cannot be opened. No password is in the message.
        ImportError: if Optuna, or what the sampler or the storage needs, is not installed.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.VectorizedStudySearch(
    ...     build, "val_loss", max_trials=4, directory=tempfile.mkdtemp())
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=2, validation_data=(x, y), verbose=0)
    >>> best = tuner.oracle.study.best_trial
    >>> best.params == tuner.get_best_hyperparameters()[0].values, len(best.intermediate_values)
    (True, 2)
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = 10,
        sampler: Any = None,
        pruner: Any = None,
        storage: Any = None,
        study_name: str | None = None,
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
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        pad_widths: bool = True,
        batches: Literal["shared", "own"] = "shared",
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
        worker_timeout: float = 60.0,
    ) -> None:
        oracle = StudyOracle(
            objective,
            max_trials=max_trials,
            sampler=sampler,
            pruner=pruner,
            storage=storage,
            study_name=study_name,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            worker_timeout=worker_timeout,
        )
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=max_lanes,
            folds=folds,
            initial_settings=initial_settings,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            pad_widths=pad_widths,
            batches=batches,
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
