"""KerasTuner's oracle over a study of Optuna's, which several processes may share."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.optuna_internals import id_in_storage
from kerasreg._validation import check_count, check_positive
from kerasreg._warnings import warn
from kerasreg.tuners import _study_trials as marks
from kerasreg.tuners._structure_first import StructuralProbe
from kerasreg.tuners._study_agreement import Agreement
from kerasreg.tuners._study_constraints import bounds_of, keeps_to, violations
from kerasreg.tuners._study_requests import Beside, Later, Requests
from kerasreg.tuners._study_space import (
    Parameter,
    differences,
    key_of,
    parameters,
    params_of,
    suggest,
    values_by,
    values_of,
)
from kerasreg.tuners._study_storage import (
    import_optuna,
    quiet,
    sampler_of,
    storage_of,
)
from kerasreg.tuners._study_trials import Chain, Standing, lost
from kerasreg.tuners._study_workers import Heart, Workers

# Attributes of a study: what it is of, and each hyperparameter that it has.
_ABOUT = "kerasreg:study"
_HYPERPARAMETER = "kerasreg:hp:"
# So long a study that another process has just made is waited for.
_SECONDS_TO_MAKE = 5.0
# So long an oracle waits when others have the last trials.
_SECONDS_IDLE = 0.5
# So often it looks how trials of others have ended, while there are trials to begin.
_SECONDS_BETWEEN_LOOKS = 1.0
# So long the value of an epoch may wait for others to be told with, where no pruner needs it.
_SECONDS_UNTOLD = 1.0
# A trial during which so many processes died is not tried again.
_MOST_ATTEMPTS = 11
_LONGEST_MESSAGE = 4000


class StudyOracle(keras_tuner.Oracle):
    """A KerasTuner oracle whose trials are those of an Optuna study.

    Optuna's sampler proposes the settings, and its storage keeps the trials. Any tuner takes the
    oracle: KerasTuner's own train a trial at a time, and `VectorizedTuner` asks for as many as it
    has lanes. `VectorizedStudySearch` is both in one.

    **Spaces.** Each active hyperparameter is a parameter of the trial, of the same range, step and
    scale, asked for after its parents. What `build` declares on the way is added to the study.
    Optuna may propose a setting twice, which KerasTuner's oracles do not. To Optuna's samplers the
    values of a `Choice` have no order: `Int` and `Float` have one.

    **Results.** The score of a trial is the value of the study's trial, and each epoch an
    intermediate one. Epochs are told together, at once where a pruner compares them, else about
    once a second and when the trial ends. A trial that a pruner ended is completed for KerasTuner,
    and pruned in the study. A failed one is failed in both, with its message. A trial that is tried
    again (`max_retries_per_trial`) is one trial in both.

    **Several objectives.** A list of objectives makes a study of several directions:
    `pareto_front` has the trials that none is better than in all objectives. The score of a trial
    for KerasTuner is the sum, with the sign of those to maximize turned, as in KerasTuner.

    **Constraints.** A trial that does not keep to the `constraints` is completed, but the best
    trials are those that do. The samplers `"tpe"`, `"gp"` and `"nsgaii"` learn by how much the
    others do not, and propose such settings more rarely.

    **Several processes.** Processes with one storage and one `study_name` share the trials, of
    which there are `max_trials` in all. A process that has no more trials waits for those of the
    others. When a process dies, its trials are taken over: at once if it ran on this machine, else
    when it was not heard for `worker_timeout` seconds. They are queued again with the same
    parameters, and the study has those that broke off as failed. Each counts once. The processes
    may share the project folder, which has the weights of all of them then.

    Args:
        objective: as for KerasTuner; a list for several.
        max_trials: number of trials of all processes; None for no end.
        sampler: `"tpe"`, `"gp"`, `"cmaes"`, `"qmc"`, `"nsgaii"`, `"random"`, or a sampler of
            Optuna's. By name, the draws of a trial follow from the seed and from how many trials
            began before it. None for `"tpe"`, or `"nsgaii"` for several objectives.
        pruner: an Optuna pruner, which ends trials by their intermediate results where the tuner
            reports epochs, as `VectorizedTuner` does. None to end none.
        storage: a URL of a database (`"sqlite:///study.db"`, `"postgresql://..."`, `"mysql://..."`),
            the path of a file (SQLite if it ends with `.db`, `.sqlite` or `.sqlite3`, which is for
            one machine; otherwise Optuna's journal, which network file systems can have, and where
            a process that is killed while it writes holds up the others for 30 s), or a storage of
            Optuna's. None for `study.db` in the project folder.
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
        worker_timeout: after so many seconds without a sign of life, a process on another machine
            is taken for dead.
        trials_at_once: this process runs so many trials at a time at most, so that others have
            some too; None for as many as the tuner asks for.
        trials_per_structure: so many trials of this process in a row share the hyperparameters that
            decide on the program, of which the sampler draws the first one. So processes trace
            fewer programs, each its own. `VectorizedStudySearch` finds which hyperparameters these
            are; with other tuners it does nothing.
        constraints: by the names of metrics, the largest value that the best trials may have, or a
            pair of the smallest and the largest one, of which one may be None:
            `{"bytes": 50_000, "val_accuracy": (0.9, None)}`. Names are those of metrics that trials
            report, such as Keras' metrics or what a hypermodel's `fit` returns; their values are
            those of the best epoch. It needs Optuna 5. None for no constraints.

    Raises:
        ValueError: if an argument is none of these, or the study has another objective, other
            directions, other constraints or another space: it says which.
        RuntimeError: if the storage cannot be opened. No password is in the message.
        ImportError: if Optuna, or what the sampler or the storage needs, is not installed.

    Example:

    >>> import tempfile, keras_tuner, kerasreg
    >>> class Parabola(keras_tuner.Tuner):
    ...     def run_trial(self, trial, **kwargs):
    ...         return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2
    >>> oracle = kerasreg.tuners.StudyOracle(max_trials=3, sampler="random", seed=1)
    >>> tuner = Parabola(oracle=oracle, directory=tempfile.mkdtemp())
    >>> tuner.search(verbose=0)
    >>> [trial.state.name for trial in oracle.study.trials]
    ['COMPLETE', 'COMPLETE', 'COMPLETE']
    >>> oracle.study.best_trial.params == oracle.get_best_trials()[0].hyperparameters.values
    True
    """

    seed: int  # Which KerasTuner's oracle sets, and a study that exists.

    def __init__(
        self,
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
        worker_timeout: float = 60.0,
        trials_at_once: int | None = None,
        trials_per_structure: int = 1,
        constraints: Mapping[str, Any] | None = None,
    ) -> None:
        self._optuna: Any = import_optuna("`StudyOracle`")
        self._bounds = bounds_of(constraints)
        if self._bounds and not hasattr(self._optuna.trial.Trial, "set_constraint"):
            raise ImportError(
                "`constraints` need a newer Optuna than "
                f"{self._optuna.__version__}: pip install 'optuna>=5'"
            )
        if isinstance(objective, (list, tuple)):
            objective = list(objective) if len(objective) != 1 else objective[0]
        super().__init__(
            objective=objective,
            max_trials=None if max_trials is None else check_count("max_trials", max_trials),
            hyperparameters=hyperparameters,
            allow_new_entries=allow_new_entries,
            tune_new_entries=tune_new_entries,
            seed=seed,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
        )
        if pruner is not None and not isinstance(pruner, self._optuna.pruners.BasePruner):
            raise ValueError(f"`pruner` must be an Optuna pruner. Received: pruner={pruner!r}")
        if pruner is not None and len(self.objectives) > 1:
            raise ValueError(
                "`pruner` must be None for several objectives, of which Optuna prunes none. "
                f"Received: pruner={pruner!r}"
            )
        if study_name is not None and (not isinstance(study_name, str) or not study_name):
            raise ValueError(f"`study_name` must be a text or None. Received: {study_name!r}")
        self.worker_timeout = check_positive("worker_timeout", worker_timeout)
        if trials_at_once is not None:
            check_count("trials_at_once", trials_at_once)
        self.trials_at_once = trials_at_once
        self.trials_per_structure = check_count("trials_per_structure", trials_per_structure)
        # Tells what is only a value of a program; the tuner gives it when it searches.
        self.probe: StructuralProbe | None = None
        self._block: tuple[dict[str, Any], int] = {}, 0  # A setting, and how many share with it.
        sampler_of(sampler, len(self.objectives), self.seed)  # Which refuses what is none.
        # Samplers by name learn nothing from the end of a trial but what the storage tells.
        self._tells_sampler = isinstance(sampler, self._optuna.samplers.BaseSampler)
        self._sampler, self._pruner, self._storage_given = sampler, pruner, storage
        self._study_name = study_name
        # Whether the tuner opens the study itself, when it knows the space of its hypermodel.
        self.opens_late = False
        self._study: Any = None
        self._storage: Any = None
        self._heart: Heart | None = None
        self._workers = Workers(self.worker_timeout)
        self._looked = -math.inf
        self._agreed: Agreement | None = None
        self._leaves = False  # Whether this process begins no trial any more.
        self._requests: Any = None
        self._beside: Any = None  # The study, as samplers and pruners see it.
        self._standing = Standing(self._counts)
        self._synced = self._told = self._untold_since = -math.inf
        self._stale: set[int] = set()  # The ranks of trials that this process gave up.
        self._ending: list[_Run] | None = None  # Trials that are told together.
        self._foreign: dict[int, bool] = {}  # Whether trials of other programs count.
        self._published: set[str] = set()
        self._running: dict[str, _Run] = {}  # Of this process.
        self._pruned: set[str] = set()
        self._taken: set[str] = set()  # Trials of others whose end is known.

    @property
    def objectives(self) -> list[Any]:
        """The objectives: one, or those of a list."""
        return list(getattr(self.objective, "objectives", [self.objective]))

    @property
    def study(self) -> Any:
        """The `optuna.Study`, for its plots and its dashboard. It is opened if it is not yet."""
        self.open()
        return self._study

    def open(self) -> None:
        """Opens the study, and makes it if there is none; learns its trials.

        Raises:
            ValueError: if it has another objective, other directions or another space.
            RuntimeError: if the storage cannot be opened.
        """
        if self._study is not None:
            return
        optuna, name = self._optuna, self._name()
        self._storage = storage_of(self._storage_given, self._default_path)
        directions = ["maximize" if of.direction == "max" else "minimize" for of in self.objectives]
        about: dict[str, Any] = {
            "objectives": [[of.name, of.direction] for of in self.objectives],
            "seed": self.seed,
        }
        if self._bounds:
            about["constraints"] = {name: list(pair) for name, pair in self._bounds.items()}
        with quiet():
            try:
                study = optuna.create_study(
                    storage=self._storage, study_name=name, directions=directions
                )
                study.set_user_attr(_ABOUT, about)
                study.set_metric_names([of.name for of in self.objectives])  # For its plots.
            except optuna.exceptions.DuplicatedStudyError:
                study = optuna.load_study(storage=self._storage, study_name=name)
                about = self._about_of(study, about, directions)
        found = [of.name.lower() for of in study.directions]
        theirs = about["objectives"]
        if found != directions or theirs != [[of.name, of.direction] for of in self.objectives]:
            raise ValueError(
                f"`objective` must be the one of the study {name!r}, which has "
                f"{_objectives_in_words(theirs)}; give another `study_name` for another search. "
                "Received: "
                f"{_objectives_in_words([[of.name, of.direction] for of in self.objectives])}"
            )
        bounds = {name: tuple(pair) for name, pair in about.get("constraints", {}).items()}
        if bounds != self._bounds:
            raise ValueError(
                f"`constraints` must be those of the study {name!r}, which has {bounds or 'none'}; "
                "give another `study_name` for another search. "
                f"Received: constraints={self._bounds or None}"
            )
        self.seed = int(about["seed"])
        study.sampler = sampler_of(self._sampler, len(directions), self.seed)
        study.pruner = self._pruner or optuna.pruners.NopPruner()
        attributes = study.user_attrs
        self._join_spaces(attributes, name)
        self._study, self._beside = study, Beside(study)
        self._requests = Requests(optuna, study, self._storage)
        self._publish()
        self._look()
        self._sync()

    def _name(self) -> str:
        return self._study_name or os.path.basename(os.path.abspath(internals.project_folder(self)))

    def _default_path(self) -> str:
        return os.path.join(internals.project_folder(self), "study.db")

    def _about_of(self, study: Any, own: dict[str, Any], directions: list[str]) -> dict[str, Any]:
        """What a study that exists is of. One that was made elsewhere is told."""
        until = time.monotonic() + _SECONDS_TO_MAKE
        while True:
            about = study.user_attrs.get(_ABOUT)
            if about is not None:
                return dict(about)
            found = [of.name.lower() for of in study.directions]
            if found != directions:
                return {**own, "objectives": [["unknown", direction[:3]] for direction in found]}
            if study.get_trials(deepcopy=False) or time.monotonic() > until:
                study.set_user_attr(_ABOUT, own)
                return own
            time.sleep(0.1)

    def _join_spaces(self, attributes: Mapping[str, Any], name: str) -> None:
        """Adds what a study knows of the space to what is known here.

        Raises:
            ValueError: if they are two spaces.
        """
        stored = _space_of(attributes)
        if self.hyperparameters.space and stored.space:
            found = differences(self.hyperparameters.space, stored.space)
            if found:
                raise ValueError(
                    f"`storage` has the study {name!r} of another space: {'; '.join(found)}. Give "
                    "another `study_name` for another search."
                )
        self._published |= {key_of(hp) for hp in stored.space}
        if self.tune_new_entries:
            self.hyperparameters.merge(stored, overwrite=False)

    def _publish(self) -> None:
        """Tells the study what is new in the space: each hyperparameter by itself."""
        entries = self.hyperparameters.get_config()["space"]
        for order, (hp, entry) in enumerate(zip(self.hyperparameters.space, entries, strict=True)):
            key = key_of(hp)
            if key not in self._published:
                digest = hashlib.sha256(key.encode()).hexdigest()[:16]
                self._study.set_user_attr(_HYPERPARAMETER + digest, {"order": order, **entry})
                self._published.add(key)

    def update_space(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        """Learns hyperparameters that are new, as KerasTuner's oracles do, and tells the study."""
        super().update_space(hyperparameters)
        if self._study is not None and len(self.hyperparameters.space) > len(self._published):
            self._publish()

    def reload(self) -> None:
        """Goes on with the study. Its storage has the state, and not the project folder."""
        for known in (self.trials, self._taken, self.start_order, self.end_order):
            known.clear()
        self._standing = Standing(self._counts)
        if not self.opens_late:
            self.open()

    def enqueue(self, settings: Sequence[Mapping[str, Any]]) -> None:
        """Queues settings, which are tried before others, each once in a study.

        Args:
            settings: values of the hyperparameters, by name.
        """
        trials = self.study.get_trials(deepcopy=False)
        known = {trial.user_attrs.get(marks.SETTING) for trial in trials}
        for setting in settings:
            params, _ = params_of(self.hyperparameters, setting)
            text = repr(sorted(params.items()))
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            # Two processes may queue it both: the second one does not count.
            if digest not in known:
                known.add(digest)
                self._study.enqueue_trial(params, user_attrs={marks.SETTING: digest})

    def delete(self, directory: str, project_name: str) -> None:
        """Deletes the study, for a search that is to begin anew.

        Args:
            directory: the folder of the project folder.
            project_name: the name of the project folder.

        Raises:
            ValueError: if other processes search in it.
        """
        internals.set_project(self, directory, project_name)
        if self._storage_given is None and not os.path.exists(self._default_path()):
            return
        storage = storage_of(self._storage_given, self._default_path)
        with quiet():
            try:
                study = self._optuna.load_study(study_name=self._name(), storage=storage)
            except KeyError:
                return
            self._workers.look(study.user_attrs)
            others = self._workers.others(None)
            if others:
                raise ValueError(
                    f"`overwrite` must be False while {len(others)} processes search in the study "
                    f"{self._name()!r}: it would delete their trials. Received: overwrite=True"
                )
            self._optuna.delete_study(study_name=self._name(), storage=storage)

    def refresh(self, look: bool = False) -> None:
        """Learns what all processes have begun and ended, for one that looks on.

        Args:
            look: whether to look now who lives, which is done now and then without.
        """
        self.open()
        if look or time.monotonic() - self._looked > self.worker_timeout / 6:
            self._look()
        self._sync()

    @property
    def is_over(self) -> bool:
        """Whether all `max_trials` trials have ended, as far as is known here."""
        return self._is_full() and not self._standing.running(self.max_trials)

    @property
    def living(self) -> list[str]:
        """The other processes that run trials, as far as is known here."""
        return self._workers.searching(None if self._heart is None else self._heart.worker)

    @property
    def clocks(self) -> dict[str, float]:
        """By how many seconds clocks of other machines go before this one's, where they differ.

        They are known when others were heard twice. Nothing here compares clocks; limits of time
        that are told to several machines do.
        """
        return self._workers.clocks()

    def first(self, about: str, value: Any) -> Any:
        """The value that the first of all processes of the study has given.

        Args:
            about: what the value is of.
            value: that of this process, plain as JSON has it.

        Returns:
            The value, which is this one's for the first process.
        """
        return self._agreement().first(about, value)

    def once(
        self, about: str, work: Callable[[], Any], waits: Callable[[], None] = lambda: None
    ) -> tuple[bool, Any]:
        """Does what one of the processes of the study is to do.

        If it dies before it has done so, another one does it, which waits here.

        Args:
            about: what is to be done.
            work: does it; returns what the others are to know, plain as JSON has it.
            waits: called when another process has begun before.

        Returns:
            Whether this process has done it, and what `work` returned where it was done.
        """
        self._join(searches=False)
        agreement, told = self._agreement(), False
        assert self._heart is not None
        while True:
            self._look()
            turn = agreement.turn(about, self._heart.worker, self._workers.is_alive)
            if turn.whose == "done":
                self.release()
                return False, turn.value
            if turn.whose == "mine":
                break
            if not told:
                waits()
            told = True
            time.sleep(_SECONDS_IDLE)
        try:
            value = work()
            agreement.done(about, value)
        except BaseException:
            agreement.failed(about)
            raise
        finally:
            self.release()
        return True, value

    def _agreement(self) -> Agreement:
        self.open()
        if self._agreed is None:
            self._agreed = Agreement(self._optuna, self._storage, self._study.study_name)
        return self._agreed

    def keep_artifacts(self, trial_id: str, names: Sequence[str]) -> None:
        """Tells the study which files its other processes find of a trial that ends here.

        Args:
            trial_id: the id of the trial.
            names: the names of the files.
        """
        run = self._running.get(trial_id)
        if run is not None:  # It is told when the trial ends: nobody looks for them before.
            run.trial.set_user_attr(marks.ARTIFACTS, list(names))

    def artifacts_of(self, trial_ids: Iterable[str]) -> list[str]:
        """The names of the files that were shared of trials, as far as is known here.

        Args:
            trial_ids: the ids of the trials.
        """
        chains = self._standing.chains
        ranks = sorted({int(trial_id) for trial_id in trial_ids})
        names = [
            name
            for rank in ranks
            if rank < len(chains)
            for name in chains[rank].best.user_attrs.get(marks.ARTIFACTS, ())
        ]
        return list(dict.fromkeys(names))

    def hand_back(self) -> int:
        """Hands back the trials that this process runs, for a process that is told to end.

        They are queued again, and others need not wait to see that this process is gone. To be
        handed back is no failure of a trial, however often it happens. The process begins no other
        trial. A thread beside that of the search may call it, as one that waits for signals.

        Returns:
            How many trials were handed back.
        """
        self._leaves = True
        count = 0
        for run in list(self._running.values()):
            last = self._requests.trial(run.trial.number)
            # Of one whose result is there another process says the last word.
            if last.state.is_finished() or marks.RESULT in last.user_attrs:
                continue
            root = last.user_attrs.get(marks.AGAIN, last.number)
            self._queue_again(last, root, int(last.user_attrs.get(marks.ATTEMPT, 0)) + 1)
            self._mark(last.number, marks.HANDED_BACK, True)
            self._fail(last.number)
            count += 1
        heart = self._heart
        if heart is not None:
            heart.stop()
        return count

    def release(self) -> None:
        """Ends the part of this process in the search: its trials that run are left to others.

        `VectorizedTuner.search` calls it when it ends, in whatever way.
        """
        heart, self._heart = self._heart, None
        if heart is not None:
            heart.stop()
        self._running.clear()
        self.ongoing_trials.clear()
        internals.retry_queue(self).clear()

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """Gives the next trial: one to be tried again, one that is queued, or a new one.

        Args:
            tuner_id: the id of the tuner.

        Returns:
            A KerasTuner trial. Its status is `"IDLE"` while other processes have the last trials.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        self.tuner_ids.add(tuner_id)
        queue = internals.retry_queue(self)
        if queue:
            trial = self.trials[queue.pop()]
            trial.status = "RUNNING"
            internals.begin_trial(self, tuner_id, trial)
            return trial
        self._join()
        run = self._ask() if self._has_room else "IDLE"
        if isinstance(run, str):
            if run == "STOPPED":
                self.tuner_ids.discard(tuner_id)
                self.release()
            elif not self.ongoing_trials:
                time.sleep(_SECONDS_IDLE)
            return keras_tuner.engine.trial.Trial(self.get_space(), "", run)
        space = self.get_space()
        space.values = run.values
        trial = keras_tuner.engine.trial.Trial(space, run.trial_id, "RUNNING")
        failures = run.trial.user_attrs.get(marks.FAILURES, 0)
        internals.run_counts(self)[trial.trial_id] = int(failures)
        internals.begin_trial(self, tuner_id, trial)
        return trial

    def _draw(self, run: _Run) -> None:
        """Draws the values of a trial, of which a block of trials may have some in common."""
        trial = run.trial
        known = run.later.known
        # Another program may have queued it, with values of its own.
        queued = {marks.AGAIN, marks.SETTING} & known.user_attrs.keys()
        own = self.probe is not None and self.trials_per_structure > 1
        own = own and not queued and "fixed_params" not in known.system_attrs
        kept = self._kept() if own else {}
        self._beside.look_anew()

        def ask(parameter: Parameter) -> Any:
            if parameter.name not in kept:
                return suggest(trial, parameter)
            value, of = kept[parameter.name], parameter.distribution
            run.later.set_trial_param(
                id_in_storage(trial), parameter.name, of.to_internal_repr(value), of
            )
            return value

        run.known_space = len(self.hyperparameters.space)
        run.values, run.is_drawn = values_by(self.hyperparameters, ask), True
        run.is_of_block, run.begins_block = bool(kept), own and not kept
        if marks.DRAWN not in known.user_attrs:
            trial.set_user_attr(marks.DRAWN, True)

    def _go_on_with_block(self, run: _Run) -> None:
        """Counts a trial of a block, or begins one with it."""
        first, left = self._block
        if run.is_of_block:
            self._block = first, left - 1
        elif run.begins_block:
            assert self.probe is not None
            self._block = run.values, self.trials_per_structure - 1
            self.probe.learn(run.values, lambda hp: hp.random_sample(internals.next_seed(self)))

    def _kept(self) -> dict[str, Any]:
        """The parameters that the next trial shares with its block; none for a new block."""
        values, left = self._block
        if not left or self.probe is None:
            return {}
        params, _ = params_of(self.hyperparameters, values)
        names = {
            parameter.name: hp.name for hp, parameter in parameters(self.hyperparameters.space)
        }
        return {name: of for name, of in params.items() if names[name] not in self.probe}

    @property
    def _has_room(self) -> bool:
        """Whether this process may run one more trial."""
        return self.trials_at_once is None or len(self._running) < self.trials_at_once

    def _join(self, searches: bool = True) -> None:
        """Lets the study know of this process, and look for those that died."""
        if self._heart is not None:
            return
        study, storage = self.study, self._storage
        in_memory = isinstance(storage, self._optuna.storages.InMemoryStorage)
        leave = getattr(storage, "remove_session", lambda: None)
        self._heart = Heart(
            study.set_user_attr, self.worker_timeout, not in_memory, searches, leave
        )
        weakref.finalize(self, self._heart.silence)
        self._look()

    def _ask(self) -> Any:
        """A trial that this process runs now; or the status `"IDLE"` or `"STOPPED"`."""
        while True:
            if self._leaves:
                return "STOPPED"
            now = time.monotonic()
            if now - self._looked > self.worker_timeout / 6:
                self._look()
            elif self._is_full() or now - self._synced > _SECONDS_BETWEEN_LOOKS:
                self._sync()
            if self._is_full() and self._first_waiting() is None:
                if not self._standing.running(self.max_trials):
                    self._fail_given_up()
                    return "STOPPED"
                if not self._running and self._look():
                    continue
                return "IDLE"
            unsettled = self._unsettled()
            if unsettled or not self._requests.undoes:
                self._learn(unsettled)
                if self._is_full() and self._first_waiting() is None:
                    continue
            run = self._begun()
            if run is not None:
                return run

    def _begun(self) -> _Run | None:
        """Begins a trial, and draws its values; None if others were faster."""
        known = self._standing.count

        def begin() -> _Run | None:
            # What is known of a trial that was added by a transaction which was undone.
            self._standing.take_back(known)
            waiting = self._first_waiting()
            return self._begin_new() if waiting is None else self._begin_waiting(waiting)

        try:
            run = self._requests.together(begin, reads=True)
        except BaseException as error:
            self._standing.take_back(known)
            if isinstance(error, _OthersFirst):
                self._sync()
                return None
            raise
        if run is None:
            return None
        run.later.was_told()
        # Now, so that it can be handed back while its values are drawn.
        self._running[run.trial_id] = run
        if not run.is_drawn:
            self._draw(run)
            self._requests.together(run.later.tell)
            run.later.was_told()
        self._go_on_with_block(run)
        self._show()
        return run

    def _begin_new(self) -> _Run | None:
        """Begins a new trial; None if there was no room for it.

        Raises:
            _OthersFirst: if it is not to be added, which is undone.
        """
        assert self._heart is not None
        trial = self._requests.create({marks.WORKER: self._heart.worker})
        if trial.number != self._standing.count:  # Others came between.
            self._learn()
        self._standing.update([trial])
        if self._requests.can_be_undone and not (
            self._counts_now(trial.number) and self._first_waiting() is None
        ):
            raise _OthersFirst
        return self._run_of(trial)

    def _begin_waiting(self, number: int) -> _Run | None:
        """Begins a trial that waits; None if another process was faster, or it does not count."""
        storage, trial_id = self._storage, id_in_storage(self._standing.open[number])
        try:
            is_mine = storage.set_trial_state_values(trial_id, self._states.RUNNING)
        except RuntimeError:  # It has ended.
            is_mine = False
        trial = copy.deepcopy(storage.get_trial(trial_id))
        self._stale |= set(self._standing.update([trial]))
        return self._run_of(trial) if is_mine else None

    def _run_of(self, trial: Any) -> _Run | None:
        """Runs a trial of the study that is this process's; None if it does not count."""
        assert self._heart is not None
        if not self._counts_now(trial.number):
            with contextlib.suppress(RuntimeError):  # Others have said so.
                self._mark(trial.number, marks.SURPLUS, True)
            self._fail(trial.number)
            self._learn([trial])
            return None
        rank = self._standing.rank_of(trial.number)
        assert rank is not None
        # Samplers by name draw by the rank, and not by the number of the trial in the study.
        if hasattr(self._study.sampler, "place"):
            self._study.sampler.place(trial.number, rank)
        run = _Run(Later(self._optuna, self._beside, self._requests, trial), rank)
        if trial.user_attrs.get(marks.WORKER) != self._heart.worker:
            run.trial.set_user_attr(marks.WORKER, self._heart.worker)
        if self._sampler == "random":  # Which asks the storage for nothing.
            self._draw(run)
        self._requests.together(run.later.tell)
        return run

    def _counts_now(self, number: int) -> bool:
        """Whether a trial of the study is one of the `max_trials` first of the search."""
        rank = self._standing.rank_of(number)
        return rank is not None and (self.max_trials is None or rank < self.max_trials)

    def _first_waiting(self) -> int | None:
        """The number of the first trial of the study that waits to be begun."""
        waiting = [
            number for number, of in self._standing.open.items() if of.state.name == "WAITING"
        ]
        if self._is_full():  # What does not count is of no interest then.
            waiting = [number for number in waiting if self._counts_now(number)]
        return min(waiting, default=None)

    def _unsettled(self) -> list[Any]:
        """Trials that run and may turn out not to count: those that have no values yet."""
        mine = {run.trial.number for run in self._running.values()}
        return [
            trial
            for number, trial in self._standing.open.items()
            if trial.state.name == "RUNNING"
            and marks.DRAWN not in trial.user_attrs
            and number not in mine
        ]

    def _is_full(self) -> bool:
        return self.max_trials is not None and len(self._standing.chains) >= self.max_trials

    def _look(self) -> bool:
        """Looks which processes live, and takes over the trials of others; were there some?"""
        self._looked = time.monotonic()
        attributes = self._study.user_attrs
        self._workers.look(attributes)
        self._join_spaces(attributes, self._study.study_name)
        if self._heart is None:
            return False
        self._sync()
        me = self._heart.worker
        mine = {run.trial.number for run in self._running.values()}
        gone = [
            chain
            for chain in lost(
                self._standing.running(self.max_trials),
                self._is_run,
                lambda number: number not in mine and self._workers.is_orphan(number, me),
            )
            if chain.attempts[-1].number not in mine
        ]
        for chain in gone:
            self._requests.together(functools.partial(self._take_over, chain), reads=True)
        if gone:
            self._sync()
        return bool(gone)

    def _is_run(self, worker: str) -> bool:
        """Whether a worker runs a trial that this process does not know to be its own.

        One that has its name, and that it does not know, was added by a request that was made
        again, since a database was gone before it answered.
        """
        me = None if self._heart is None else self._heart.worker
        return worker != me and self._workers.is_alive(worker)

    def _take_over(self, chain: Chain) -> None:
        """Queues a trial again whose process died. First the new one: so none is ever lost."""
        states, last = self._states, chain.attempts[-1]
        if chain.deaths >= _MOST_ATTEMPTS:
            message = f"{chain.deaths} processes died while they ran this trial."
            result = {"status": "FAILED", "message": message, "told": None}
            self._mark(last.number, marks.RESULT, result)
        elif marks.RESULT in last.user_attrs:  # All but the last word was said.
            told = last.user_attrs[marks.RESULT]["told"]
            state = states.FAIL if told is None else states[told[0]]
            self._study.tell(
                last.number,
                told[1] if state == states.COMPLETE else None,
                state=state,
                skip_if_finished=True,
            )
            return
        else:
            self._queue_again(last, chain.root, len(chain.attempts))
        if marks.WORKER not in last.user_attrs:  # It was killed before it was named: it counts.
            self._mark(last.number, marks.WORKER, marks.NOBODY)
        self._fail(last.number)

    def _fail_given_up(self) -> None:
        """Says of trials of the study that broke off, and were tried again, that they did so.

        Who took them over was killed before it could say that; or who began one was, for which
        there was no room.
        """
        for number, trial in list(self._standing.open.items()):
            worker = trial.user_attrs.get(marks.WORKER)
            is_left = worker is not None and not self._is_run(worker)
            if trial.state.name == "RUNNING" and (is_left or self._counts_now(number)):
                self._fail(number)

    def _queue_again(self, last: Any, root: int, attempt: int) -> None:
        """Queues a new trial of the study, with the parameters of one that broke off.

        Where not all of these were drawn they are drawn anew, which gives the same ones.
        """
        was_drawn = marks.DRAWN in last.user_attrs
        lost = (marks.ARTIFACTS, marks.HANDED_BACK, marks.SETTING, marks.WORKER)
        kept = {name: value for name, value in last.user_attrs.items() if name not in lost}
        self._storage.create_new_trial(
            self._requests.study_id,
            self._optuna.create_trial(
                state=self._optuna.trial.TrialState.WAITING,
                params=last.params if was_drawn else {},
                distributions=last.distributions if was_drawn else {},
                user_attrs={**kept, marks.AGAIN: root, marks.ATTEMPT: attempt},
                system_attrs=last.system_attrs,
            ),
        )

    def _fail(self, number: int) -> None:
        """Says that a trial of the study broke off."""
        with contextlib.suppress(RuntimeError):  # It has ended after all.
            self._storage.set_trial_state_values(self._requests.id_of(number), self._states.FAIL)

    def _mark(self, number: int, name: str, value: Any) -> None:
        """Gives a trial of the study an attribute."""
        self._storage.set_trial_user_attr(self._requests.id_of(number), name, value)

    @property
    def _states(self) -> Any:
        return self._optuna.trial.TrialState

    def _counts(self, trial: Any) -> bool:
        """Whether a trial that another program has told the study of is one of this search."""
        if trial.number not in self._foreign:
            has_result = trial.state.name in ("COMPLETE", "PRUNED") and trial.values is not None
            self._foreign[trial.number] = (
                has_result and values_of(self.hyperparameters, trial.params) is not None
            )
        return self._foreign[trial.number]

    def _learn(self, again: Iterable[Any] = ()) -> None:
        """Reads which trials of the study are new, and some that are known."""
        standing = self._standing
        news = self._requests.news(standing.count, standing.last, again)
        self._stale |= set(standing.update(news))

    def _sync(self) -> None:
        """Learns what other processes have begun and ended."""
        self._synced = time.monotonic()
        self._learn(list(self._standing.open.values()))
        self._stale |= self._standing.unended.keys()
        self._show()

    def _show(self) -> None:
        """Shows KerasTuner what was learnt of the trials of others."""
        chains, stale = self._standing.chains, sorted(self._stale)
        self._stale.clear()
        for rank in stale:
            if rank >= len(chains):
                continue
            chain = chains[rank]
            trial_id = chain.trial_id
            if not chain.ended and self.max_trials is not None and rank >= self.max_trials:
                continue  # Its process will see that there was no room.
            if trial_id in self._running or trial_id in self._taken:
                continue
            state = chain.attempts[-1].state.name
            if state == "WAITING" and len(chain.attempts) == 1:
                continue  # It has not begun.
            if trial_id not in self.trials:
                self.start_order.append(trial_id)
            self.trials[trial_id] = self._trial_of(chain)
            if chain.ended:
                self._taken.add(trial_id)
                if trial_id not in self.end_order:
                    self.end_order.append(trial_id)

    def _trial_of(self, chain: Chain) -> Any:
        """A trial of another process, or of an earlier one, as KerasTuner's."""
        best = chain.best
        result = best.user_attrs.get(marks.RESULT, {}) if chain.ended else {}
        space = self.get_space()
        space.values = result.get("values") or values_of(space, best.params) or {}
        trial = keras_tuner.engine.trial.Trial(space, chain.trial_id, "RUNNING")
        if not chain.ended:
            return trial
        trial.status = result.get("status") or (
            "FAILED" if best.state.name == "FAIL" else "COMPLETED"
        )
        trial.message = result.get("message")
        if "metrics" in result:
            trial.metrics = type(trial.metrics).from_config(result["metrics"])
            trial.score, trial.best_step = result["score"], result["best_step"]
        elif trial.status == "COMPLETED":  # Of another program, which keeps the values alone.
            for of, value in zip(self.objectives, best.values, strict=True):
                trial.metrics.register(of.name, direction=of.direction)
                trial.metrics.update(of.name, value)
            self.score_trial(trial)
        return trial

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Any:
        """Learns results of a trial; those of an epoch are intermediate values in the study.

        Args:
            trial_id: the id of the trial.
            metrics: the results by name.
            step: the epoch.

        Returns:
            The trial.
        """
        trial = self.trials[trial_id]
        if all(trial.metrics.exists(name) for name in metrics):
            # The study keeps the epochs: the file of the trial is written when it ends.
            internals.record_metrics(self, trial, dict(metrics), step)
        else:
            trial = super().update_trial(trial_id, metrics, step)
        run = self._running.get(trial_id)
        if run is not None and len(self.objectives) == 1 and step > run.step:
            run.step, value, now = step, float(metrics[self.objective.name]), time.monotonic()
            if math.isfinite(value):
                if not any(one.later.has_untold for one in self._running.values()):
                    self._untold_since = now
                run.trial.report(value, int(step))
                if self._pruner is None and now - self._untold_since > self._seconds_untold:
                    self._tell_epochs()
        return trial

    @property
    def _seconds_untold(self) -> float:
        return min(_SECONDS_UNTOLD, self.worker_timeout / 6)

    def _tell_epochs(self) -> None:
        """Tells the study what waits to be told of trials that run."""
        self._told = time.monotonic()
        runs = [run for run in list(self._running.values()) if run.later.has_untold]

        def tell() -> None:
            for run in runs:
                run.later.tell()

        try:
            self._requests.together(tell)
        except RuntimeError:  # One has ended in the study: another process has it.
            for run in runs:
                try:
                    self._requests.together(run.later.tell)
                except RuntimeError:
                    self._leave(run.trial_id)
        for run in runs:
            run.later.was_told()

    def trials_to_end(self, trial_ids: Iterable[str]) -> set[str]:
        """Which of the running trials are to end: the pruner says so, or another process has them.

        Args:
            trial_ids: the ids of trials that have just reported an epoch.

        Returns:
            The ids of those that are to end.
        """
        prunes = self._pruner is not None
        if prunes or time.monotonic() - self._told > self._seconds_untold:
            self._tell_epochs()
            self._beside.look_anew()
        found = set()
        for trial_id in trial_ids:
            run = self._running.get(trial_id)
            if run is None:
                found.add(trial_id)
            elif prunes:
                if run.trial.should_prune():
                    self._pruned.add(trial_id)
                    found.add(trial_id)
                if run.later.has_untold:  # What the pruner compares others with.
                    self._tell_epochs()
                    self._beside.look_anew()
        return found

    @contextlib.contextmanager
    def told_together(self) -> Iterator[None]:
        """Tells the study of all trials that end within it at once, when it ends."""
        if self._ending is not None:
            yield
            return
        self._ending = []
        try:
            yield
        finally:
            ending, self._ending = self._ending, None
            self._tell_ends(ending)

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        """Ends a trial, or queues it to be tried again; tells the study.

        Args:
            trial: the trial, with the status `"COMPLETED"`, `"INVALID"` or `"FAILED"`.
        """
        trial_id = trial.trial_id
        if trial_id not in self._running:
            for place in [at for at, of in self.ongoing_trials.items() if of.trial_id == trial_id]:
                del self.ongoing_trials[place]
            if trial_id not in self._taken:  # The study will tell how it has ended.
                self.trials[trial_id].status = "RUNNING"
            return
        try:
            super().end_trial(trial)
        finally:  # It raises an error when too many have failed.
            self._tell(self.trials[trial_id])

    def _tell(self, trial: Any) -> None:
        """Tells the study how a trial has ended."""
        run = self._running[trial.trial_id]
        if trial.trial_id not in self.end_order:
            failures = internals.run_counts(self)[trial.trial_id]
            run.trial.set_user_attr(marks.FAILURES, failures)
            self._tell_epochs()
            return
        self._write_late_values(run, trial)
        run.told = self._last_word(trial)
        if run.told is not None:
            for name, beyond in violations(self._bounds, trial).items():
                # One that was taken over may have it.
                if name not in run.trial.constraints:
                    run.trial.set_constraint(name, beyond)
        # Of a process that dies before the last word, another one says it.
        run.trial.set_user_attr(marks.RESULT, {**_result_of(trial), "told": run.told})
        if self._ending is None:
            self._tell_ends([run])
        else:
            self._ending.append(run)

    def _tell_ends(self, runs: list[_Run]) -> None:
        """Tells the study how trials have ended: all that waits to be told, then the last word."""

        def tell() -> None:
            for run in runs:
                run.later.tell()
                if not self._tells_sampler:
                    self._say_last_word(run)

        try:
            self._requests.together(tell)
            if self._tells_sampler:  # Which reads what the study has been told.
                for run in runs:
                    self._say_last_word(run)
        except (RuntimeError, ValueError):
            if len(runs) > 1:
                for run in runs:
                    self._tell_ends([run])
                return
            known = self._requests.trial(runs[0].trial.number)
            if not known.state.is_finished():
                raise
            # It may have been told: by a request that a database did and did not answer.
            if not _is_same(
                known.user_attrs.get(marks.RESULT), runs[0].trial.user_attrs[marks.RESULT]
            ):
                self._leave(runs[0].trial_id)
                return
        for run in runs:
            run.later.was_told()
            self._running.pop(run.trial_id, None)
            self._taken.add(run.trial_id)
            self._standing.update([run.later.known])

    def _say_last_word(self, run: _Run) -> None:
        """Tells the study the state and the values with which a trial has ended."""
        known, (name, values) = run.later.known, run.told or ("FAIL", None)
        state = self._states[name]
        if values is not None and any(map(math.isnan, values)):
            raise ValueError(f"The results of trial {run.trial_id} must be numbers: {values}")
        if self._tells_sampler:
            self._study.tell(run.trial, values, state=state)
        else:
            if name == "PRUNED" and known.intermediate_values:
                values = [known.intermediate_values[max(known.intermediate_values)]]
            self._storage.set_trial_state_values(id_in_storage(known), state, values)
        known.state, known.values = state, values

    def _write_late_values(self, run: _Run, trial: Any) -> None:
        """Adds the values of hyperparameters that `build` has declared since the trial began."""
        values = trial.hyperparameters.values
        if values == run.values and len(self.hyperparameters.space) == run.known_space:
            return
        try:
            params, distributions = params_of(self.hyperparameters, values)
        except ValueError:  # The user's code has set a value that the space does not have.
            return
        for name in params.keys() - run.trial.params.keys():
            of = distributions[name]
            run.later.set_trial_param(
                id_in_storage(run.trial), name, of.to_internal_repr(params[name]), of
            )

    def _last_word(self, trial: Any) -> tuple[str, list[float] | None] | None:
        """The state and the values that a trial has in the study; None for one that failed."""
        if trial.status != "COMPLETED":
            return None
        if trial.trial_id in self._pruned:
            return "PRUNED", None
        if len(self.objectives) == 1:
            return "COMPLETE", [float(trial.score)]
        values = [float(trial.metrics.get_best_value(of.name)) for of in self.objectives]
        return "COMPLETE", values

    def _leave(self, trial_id: str) -> None:
        """Forgets a trial of this process that another one has taken over."""
        warn(
            f"Trial {trial_id} is another process's now, which had heard nothing of this one for "
            f"{self.worker_timeout:g} s; what this one found for the trial is left out."
        )
        self._running.pop(trial_id, None)
        self._taken.discard(trial_id)
        self.trials[trial_id].status = "RUNNING"
        if trial_id in self.end_order:
            self.end_order.remove(trial_id)

    def score_trial(self, trial: Any) -> None:
        """Gives a completed trial its score; of several objectives the sum, as KerasTuner does.

        Args:
            trial: the trial.
        """
        names = [of.name for of in self.objectives]
        if len(names) == 1 or trial.metrics.exists(self.objective.name):
            super().score_trial(trial)
            return
        values = {name: trial.metrics.get_best_value(name) for name in names}
        trial.score = self.objective.get_value(values)
        trial.best_step = trial.metrics.get_best_step(names[0])

    def pareto_front(self) -> list[Any]:
        """The trials that no other one is at least as good as in all objectives, and better in one.

        With constraints, of those that keep to them.

        Returns:
            KerasTuner trials, in the order of the first objective, the best one first. Of one
            objective, the best trial.
        """
        self.open()
        self._sync()
        numbers = {trial.number for trial in self._study.best_trials}
        found = [
            self.trials[chain.trial_id]
            for chain in self._standing.chains
            if chain.best.number in numbers
        ]
        first = self.objectives[0]
        return sorted(
            found,
            key=lambda trial: trial.metrics.get_best_value(first.name),
            reverse=first.direction == "max",
        )

    def is_feasible(self, trial: Any) -> bool:
        """Whether a trial has completed and keeps to the constraints.

        Args:
            trial: a KerasTuner trial.
        """
        return trial.status == "COMPLETED" and keeps_to(self._bounds, trial)

    def get_best_trials(self, num_trials: int = 1) -> list[Any]:
        """The best trials; of several objectives those of the Pareto front come first.

        With constraints, those that do not keep to them are last.

        Args:
            num_trials: at most so many.

        Returns:
            KerasTuner trials.
        """
        ranked: list[Any] = super().get_best_trials(max(num_trials, len(self.trials)))
        if len(self.objectives) > 1 and self._study is not None:
            front = {trial.trial_id for trial in self.pareto_front()}
            ranked.sort(key=lambda trial: trial.trial_id not in front)
        if self._bounds:
            # KerasTuner's list ends with trials that have failed.
            ranked.sort(
                key=lambda trial: (trial.status != "COMPLETED", not self.is_feasible(trial))
            )
        return ranked[:num_trials]


class _OthersFirst(Exception):
    """A trial is not added: another one waits to be begun, or there is no room any more."""


class _Run:
    """A trial that this process runs.

    Attributes:
        later: what is told of it.
        rank: how many trials of the search began before it.
        values: the values of its hyperparameters, when they are drawn.
        is_drawn: whether they are.
        known_space: how many hyperparameters there were then.
        begins_block: whether it is the first one of a block of trials that share some values.
        is_of_block: whether it is another one of a block.
        step: the last epoch that was reported.
        told: the state and the values with which it has ended, but for a failure.
    """

    def __init__(self, later: Later, rank: int) -> None:
        self.later, self.rank = later, rank
        self.values: dict[str, Any] = {}
        self.is_drawn = self.begins_block = self.is_of_block = False
        self.known_space = 0
        self.step: float = -math.inf
        self.told: tuple[str, list[float] | None] | None = None

    @property
    def trial(self) -> Any:
        """The trial of Optuna's."""
        return self.later.trial

    @property
    def trial_id(self) -> str:
        """The id of the trial for KerasTuner."""
        return marks.trial_id_of(self.rank)


def _space_of(attributes: Mapping[str, Any]) -> keras_tuner.HyperParameters:
    """The space that a study knows of."""
    entries = [value for name, value in attributes.items() if name.startswith(_HYPERPARAMETER)]
    space = [
        {"class_name": entry["class_name"], "config": entry["config"]}
        for entry in sorted(entries, key=lambda entry: (entry["order"], repr(entry)))
    ]
    return keras_tuner.HyperParameters.from_config({"space": space, "values": {}})


def _result_of(trial: Any) -> dict[str, Any]:
    """What KerasTuner keeps of a trial that has ended, in plain Python."""
    return {
        "status": trial.status,
        "score": None if trial.score is None else float(trial.score),
        "best_step": int(trial.best_step or 0),
        "values": dict(trial.hyperparameters.values),
        "metrics": trial.metrics.get_config(),
        "message": None if trial.message is None else trial.message[-_LONGEST_MESSAGE:],
    }


def _is_same(one: Any, other: Any) -> bool:
    """Whether two results are the same, as JSON writes them."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _objectives_in_words(objectives: Sequence[Sequence[str]]) -> str:
    return " and ".join(f"{name!r} ({direction})" for name, direction in objectives)
