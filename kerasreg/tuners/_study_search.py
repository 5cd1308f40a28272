"""A search in a study of Optuna's, on lanes.

Its arguments are spelled out, as those of the other searches are, for `help` and editors.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras_tuner

from kerasreg._files import write_json
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._validation import check_number
from kerasreg.tuners._artifacts import Artifacts
from kerasreg.tuners._best_epochs import TrialWeights, files_of
from kerasreg.tuners._out_of_fold import Searched
from kerasreg.tuners._renewal import Stage, check_targets
from kerasreg.tuners._run_search import told_of_failures
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._vectorized import VectorizedTuner

# The endings of artifacts: weights of trials, and what their processes have seen of them.
_WEIGHTS, _SEEN = ".npz", ".json"
# So often one looks on.
_SECONDS_BETWEEN_LOOKS = 0.5


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
        overwrite: whether a project and a study that exist are deleted; otherwise they are resumed.
        executions_per_trial: how many trainings a trial has; their mean is its result.
        worker_timeout: after so many seconds without a sign of life, a process on another machine
            is taken for dead.
        trials_at_once: this process runs so many trials at a time at most, so that others have
            some too; None for as many as it has lanes.
        trials_per_structure: so many trials of this process in a row share the hyperparameters that
            decide on the program, of which the sampler draws the first one: a block, for which one
            program is traced. Processes have blocks of their own.
        memory_share: the part of the free memory that lanes of this process may take, from 0 to
            1, where `max_lanes` is None: of two processes on one machine, a half.
        constraints: what the metrics of the best trials must keep to, as for `StudyOracle`:
            `{"bytes": 50_000, "val_accuracy": (0.9, None)}`. None for no constraints.
        artifacts: where processes share what an ensemble needs of each trial, if they have no
            project folder in common: the path of a folder that all reach, or a URL of fsspec's,
            such as `"s3://bucket/search"`. There are the weights of all trainings and the learning
            curves, in files that are named by the hash of their content, and whole or not there.
            None for the project folder.

    Raises:
        ValueError: if an argument is none of these, `artifacts` stand beside a
            `distribution_strategy`, the study has another objective or another space, or
            `overwrite` would delete a study in which other processes search.
        RuntimeError: if the storage or the artifacts cannot be opened. No password is in the
            message.
        ImportError: if Optuna, or what the sampler, the storage or the artifacts need, is not
            installed.

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
        worker_timeout: float = 60.0,
        trials_at_once: int | None = None,
        trials_per_structure: int = 1,
        memory_share: float = 1.0,
        constraints: Mapping[str, Any] | None = None,
        artifacts: str | os.PathLike[str] | None = None,
    ) -> None:
        distribution_strategy = self._of_replicas(distribution_strategy)
        if artifacts is not None and distribution_strategy is not None:
            raise ValueError(
                "`artifacts` must be None with a `distribution_strategy`, whose trials KerasTuner "
                f"keeps in the project folder. Received: artifacts={artifacts!r}"
            )
        self._learnt: set[str] = set()  # Trials of which other processes' files were read.
        self._artifacts = None if artifacts is None else Artifacts(artifacts)
        self.memory_share = check_number("memory_share", memory_share, 0.0, 1.0)
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
            trials_at_once=trials_at_once,
            trials_per_structure=trials_per_structure,
            constraints=constraints,
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

    def keep_ended(self, trial_ids: Sequence[str], weights: Sequence[TrialWeights]) -> None:
        """Keeps what is needed of trials that end: in the artifacts, where there are some.

        Args:
            trial_ids: the ids of the trials.
            weights: the weights of those that have some.
        """
        if self._artifacts is None:
            super().keep_ended(trial_ids, weights)
            return
        names: dict[str, list[str]] = {trial_id: [] for trial_id in trial_ids}
        for file in files_of(weights):
            name = self._artifacts.put(file.content, _WEIGHTS)
            for trial_id in file.trial_ids:
                names[trial_id].append(name)
        seen = {trial_id: self._seen(trial_id) for trial_id in trial_ids}
        name = self._artifacts.put(json.dumps(seen).encode(), _SEEN)
        for trial_id, of_trial in names.items():
            self.oracle.keep_artifacts(trial_id, [*of_trial, name])

    def weight_files(self, trial_ids: Sequence[str]) -> list[str] | None:
        """The files that have the weights of trials, the oldest first.

        Args:
            trial_ids: the ids of the trials.

        Returns:
            Their paths, of copies where artifacts are no folder; None for those of the project.
        """
        if self._artifacts is None:
            return None
        # Of those that this process knows of nothing has changed.
        if not all(self.oracle.artifacts_of([one]) for one in trial_ids):
            self.oracle.refresh()
        self._learn(trial_ids)
        names = self.oracle.artifacts_of(trial_ids)
        return [self._copy(name) for name in names if name.endswith(_WEIGHTS)]

    def share_file(self, path: str | os.PathLike[str]) -> str:
        """Shares a file with the other processes: it is one of the artifacts.

        Args:
            path: the file.

        Returns:
            The name by which `shared_file` reads it.

        Raises:
            ValueError: if the tuner has no artifacts.
            RuntimeError: if it cannot be written there.
        """
        with open(path, "rb") as file:
            return self._shared().put(file.read())

    def shared_file(self, name: str) -> bytes:
        """What is in a file that another process has shared.

        Args:
            name: what `share_file` returned there.

        Raises:
            ValueError: if the tuner has no artifacts.
            RuntimeError: if it cannot be read, or is not what it was.
        """
        return self._shared().get(name)

    def _shared(self) -> Artifacts:
        if self._artifacts is None:
            raise ValueError("`artifacts` must be given to share files. Received: artifacts=None")
        return self._artifacts

    def _copy(self, name: str) -> str:
        return self._shared().local(name, os.path.join(self.project_dir, "artifacts"))

    def _seen(self, trial_id: str) -> dict[str, Any]:
        """What other processes are to know of a trial, beside its weights."""
        path = internals.build_config_path(self, trial_id)
        built = None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                built = json.load(file)
        return {
            "curve": self._curves.told(trial_id),
            "log": self._log.told(trial_id),
            "built": built,
        }

    def _learn(self, trial_ids: Sequence[str]) -> None:
        """Learns what other processes have seen of trials, once."""
        new = [one for one in trial_ids if one not in self._learnt]
        self._learnt |= set(new)
        if self._artifacts is None or not new:
            return
        for name in self.oracle.artifacts_of(new):
            if not name.endswith(_SEEN):
                continue
            for trial_id, seen in json.loads(self._artifacts.get(name)).items():
                if self._curves.told(trial_id) is None and seen["curve"] is not None:
                    self._curves.learn(seen["curve"])
                if self._log.told(trial_id) is None and seen["log"] is not None:
                    self._log.learn(trial_id, seen["log"])
                path = internals.build_config_path(self, trial_id)
                if seen["built"] is not None and not os.path.exists(path):
                    write_json(path, seen["built"])

    def follow(
        self,
        *fit_args: Any,
        look: Callable[[], bool] = lambda: True,
        ended: Callable[[Any], None] = lambda trial: None,
        groups: Any = None,
        report: Any = None,
        **fit_kwargs: Any,
    ) -> list[Any]:
        """Looks on while other processes search, until all trials have ended.

        Afterwards this tuner is as one that has searched itself: `select`, `ensemble`, `report` and
        the others know the trials and the data.

        Args:
            *fit_args: as for `search`.
            look: is called twice a second. It may start processes; False ends the looking on as
                soon as no process searches any more.
            ended: is called with each trial that has ended since the beginning.
            groups: as for `search`.
            report: as for `search`.
            **fit_kwargs: as for `search`.

        Returns:
            The completed trials, the best one first.

        Raises:
            kerasreg.tuners.SearchFailedError: if no trial completed.
            ValueError: if `report` is none of what it may be.

        Example:

        >>> import tempfile, keras, numpy as np, kerasreg
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        ...     model.compile(keras.optimizers.SGD(rate), "mse")
        ...     return model
        >>> folder, x, y = tempfile.mkdtemp(), np.ones((8, 3)), np.ones((8, 1))
        >>> def tuner():
        ...     return kerasreg.tuners.VectorizedStudySearch(
        ...         build, "val_loss", max_trials=2, folds=2, directory=folder)
        >>> tuner().search(x, y, epochs=1, verbose=0)  # In other processes, most often.
        >>> looks_on = tuner()  # doctest: +ELLIPSIS
        Reloading Tuner from ...
        >>> trials = looks_on.follow(x, y)
        >>> len(trials), len(looks_on.ensemble().get_weights()) > 0
        (2, True)
        """
        self.oracle.verbose = 0
        self.searched = Searched(fit_args, fit_kwargs, groups)
        renewal = self._new_renewal(check_targets(report))
        told, state = set(self.oracle.end_order), "stopped"
        self._write_missing(self.oracle.end_order)
        self._learn(self.oracle.end_order)
        try:
            while state == "stopped":
                goes_on = look()
                self.oracle.refresh()
                new = [one for one in self.oracle.end_order if one not in told]
                told |= set(new)
                self._write_missing(new)
                self._learn(new)
                for trial_id in new:
                    ended(self.oracle.trials[trial_id])
                if self.oracle.is_over:
                    state = "finished"
                elif not goes_on and not self._others_search():
                    break
                else:
                    renewal.look(len(self.oracle.trials) - len(self.oracle.end_order))
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            self._stage = Stage(state)
            renewal.close(self._stage)
        return told_of_failures(self)

    def _others_search(self) -> bool:
        """Whether a process still searches, as others may where these here have ended."""
        self.oracle.refresh(look=True)
        return bool(self.oracle.living)

    def _write_missing(self, trial_ids: Sequence[str]) -> None:
        """Writes the states of trials that other processes have ended elsewhere."""
        if not trial_ids:
            return
        with self._files.written_once():
            for trial_id in trial_ids:
                if not _has_ended(internals.trial_path(self.oracle, trial_id)):
                    self._files.save_trial(self.oracle.trials[trial_id])


def _has_ended(path: str) -> bool:
    """Whether the file of a trial tells how it has ended."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["status"] in ("COMPLETED", "FAILED")
    except (OSError, ValueError, KeyError):
        return False
