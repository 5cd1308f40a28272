"""A search that runs: which trials wait, train and have ended, and which trainings share a program.

One `Scheduler` owns it. The tuner keeps KerasTuner's face: the scheduler asks the tuner's oracle
for trials and the tuner for models, and calls the tuner's hooks.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import keras
import keras_tuner
import numpy as np

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._keras.internals import are_arrays
from kerasreg._keras.own_steps import forget_refused_steps
from kerasreg._keras.patching import original, patched
from kerasreg._warnings import warn
from kerasreg.lanes import (
    DataError,
    DerivedModel,
    DifferentPrograms,
    Lanes,
    LaneState,
    ModelStructure,
    Replacement,
)
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._callback_places import CallbackPlaces
from kerasreg.tuners._checkpoints import Checkpoints, differing
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._failures import Failures
from kerasreg.tuners._folds import divides_anew, folds_of
from kerasreg.tuners._lane_report import EpochClock, LaneRecord
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._memory import lanes_that_fit
from kerasreg.tuners._pace import Pace, Running
from kerasreg.tuners._progress import Progress
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._stop import SearchStopped, Stopping
from kerasreg.tuners._structure_first import StructuralProbe
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._templates import Templates
from kerasreg.tuners._time_limit import TimeLimit
from kerasreg.tuners._traced_build import traced
from kerasreg.tuners._trial import (
    Digests,
    EpochReports,
    Plan,
    RunningTrial,
    failing,
)
from kerasreg.tuners._trial_thread import TrialThread
from kerasreg.tuners._widths import Widths

# Fewer lanes are built before anything is compiled.
_FEWEST_AHEAD = 8
# So often lanes may be made that are not used, as lanes of other shapes were wanted.
_MISSES = 2
# So many trials in a row that share no program show that others will not either.
_UNLIKE = 8
# Of fewer samples the choice of the best epoch makes scores look better by what can be seen. For
# these the weights at a second epoch are kept, where those of all lanes have no more bytes.
_FEW_SAMPLES = 2000
_MOST_BYTES_APART = 2**28


class Seen(NamedTuple):
    """An epoch of a training that has just ended."""

    plan: Plan
    epoch: int
    logs: dict[str, Any]


class TooSlow(Exception):  # Nothing is wrong: fewer lanes begin again.
    """Lanes that would not end in time.

    Args:
        lanes: so many would.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self.lanes = lanes


class SearchingTuner(Protocol):
    """The tuner, as the scheduler sees it: `VectorizedTuner` says what each member is."""

    oracle: Any
    hypermodel: Any
    tuner_id: str
    project_dir: str
    executions_per_trial: int
    distribution_strategy: Any
    max_lanes: int | None
    memory_share: float
    folds: Any
    jit_compile: bool | str
    random_numbers: Literal["vectorized", "keras"]
    devices: list[str] | None
    derive_models: bool
    pad_widths: bool
    batches: Literal["shared", "own"]

    @property
    def why_no_checkpoints(self) -> str | None: ...
    @property
    def runs_own_code(self) -> bool: ...
    def builds_by_hypermodel_alone(self, hp: Any) -> bool: ...
    def pre_create_trial(self) -> None: ...
    def on_trial_begin(self, trial: Any) -> None: ...
    def on_trial_end(self, trial: Any) -> None: ...
    def keep_ended(
        self, trial_ids: Sequence[str], weights: Sequence[_best_epochs.TrialWeights]
    ) -> None: ...
    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any: ...
    def build_model(self, hp: keras_tuner.HyperParameters) -> keras.Model: ...
    def fit_arguments(
        self, trial: Any, execution: int, kwargs: dict[str, Any]
    ) -> dict[str, Any]: ...
    def on_training_end(self, plan: Plan) -> None: ...
    def on_lanes_epoch_end(self, lanes: Lanes, seen: Mapping[int, Seen]) -> None: ...


class Scheduler:
    """One running search, from the first trial to the last.

    A trial of a tuner and a hypermodel that leave `run_trial` and `fit` as they are is its
    trainings, and nothing else. Otherwise the trial is the code of `run_trial`, which runs in a
    thread of its own (`TrialThread`) and rests in its calls of `model.fit`.

    Args:
        tuner: the tuner whose search it is.
        args: positional arguments of `search`, for the hypermodel's `fit`.
        kwargs: keyword arguments of `search`, likewise.
        groups: the group of each sample, for the splitter of the folds.
        files: the state files of the tuner.
        pruning: ends trials early; None to end none.
        record: learns how each trial was trained.
        curves: learns the epochs of each trial.
        log: learns when each trial begins and ends, and how many train at the same time.
        limit: tells when the search is to end.
        look: called when an epoch, or trials, have ended, with the number of trials in training.
        checkpoints: those of the project.
        stopping: tells whether the search was asked to stop.

    Attributes:
        waiting: trainings whose models are built, and which have not begun.
        running: trials that have begun and not ended, by id.
        lanes_now: how many trainings run at a time; None until the first model tells.
        key_now: the key of the program that runs, or None.
        digests: hashes of the data, and the keys of the programs.
        splits: the folds of each data, by its hash.
        probe: tells which hyperparameters are only values of a program.
        look_ahead: compiles while models are built.
        pace: how long trainings take, where there is a limit.
        progress: the line on the screen.
    """

    def __init__(
        self,
        tuner: SearchingTuner,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        groups: Any,
        files: StateFiles,
        pruning: Pruning | None,
        record: LaneRecord,
        curves: LearningCurves,
        log: SearchLog,
        limit: TimeLimit,
        look: Callable[[int], None],
        checkpoints: Checkpoints,
        stopping: Stopping,
    ) -> None:
        self.limit, self.curves, self.log = limit, curves, log
        self.checkpoints, self.stopping = checkpoints, stopping
        self._look = look
        self.tuner, self.oracle = tuner, tuner.oracle
        self.args, self.kwargs, self.groups = args, kwargs, groups
        self.files, self.pruning, self.record = files, pruning, record
        self.waiting: list[Plan] = []
        self.running: dict[str, RunningTrial] = {}
        devices = 1 if tuner.devices is None else len(tuner.devices)
        self.lanes_now = None if tuner.max_lanes is None else tuner.max_lanes * devices
        self.key_now: Any = None
        self.digests = Digests()
        self.splits: dict[str, Any] = {}
        self.probe = StructuralProbe(
            self.oracle,
            tuner.build_model,
            None if tuner.runs_own_code else (args, kwargs),
            self.digests,
        )
        self.look_ahead = LookAhead(tuner, record)
        quiet = kwargs.get("verbose", "auto") == 0
        self.progress = Progress(tuner, quiet, limit=lambda: limit.left)
        self.pace = Pace()
        self._no_time = False  # No trial more would end in time.
        self._templates = Templates(tuner.build_model)
        self._widths = Widths(tuner.build_model, self._trainings_left)
        self._failures = Failures(self.oracle)
        self._told: set[str] = set()
        self._places = CallbackPlaces(kwargs.get("callbacks"))
        self._unlike = 0  # So many trials in a row shared no program with another one.
        self._prepared = ""  # The trial of the last training that was prepared.
        self._directions: dict[str, str | None] = {}  # Of metrics: is more better?

    def run(self) -> None:
        """Runs the search until the oracle has no more trials, or the time is over.

        Raises:
            RuntimeError: if too many trials failed one after another. Those that ran beside them
                have ended before.
            SearchStopped: if the search was asked to stop.
        """
        forget_refused_steps()
        self.log.begin()
        self.checkpoints.begin()
        try:
            with self._failures.counted():
                self._run()
        except SearchStopped:
            self.progress.close()
            self._give_back()
            raise
        except BaseException:
            self.progress.close()
            raise
        finally:
            self._abandon()
            self.log.end()
        self.progress.update(0, last=True)
        if self.limit.over or self._no_time:
            self.progress.say(self.limit.note(self.oracle))
        if not self.running:
            self.checkpoints.close()
        self._failures.check()

    def _run(self) -> None:
        while True:
            self.stopping.check()
            status = self.ask(self._lanes_in_time(None))
            plans = [] if self._shall_end else self._next()
            if plans:
                self.train(plans)
                continue
            if self._shall_end:
                self._give_back()
                return
            if status == "STOPPED":
                return
            time.sleep(1.0)  # Others' results are waited for.

    def _next(self) -> list[Plan]:
        """Takes trainings that wait and will end in time: one that is trained alone comes first."""
        if not self.waiting:
            return []
        if any(plan.key is None for plan in self.waiting):
            return self.take(None)
        key = self.waiting[0].key
        count = self._lanes_in_time(key)
        return self.take(key, count) if count else []

    @property
    def _shall_end(self) -> bool:
        """Whether the time is over. One trial at least is trained, so that there is a result."""
        return (self.limit.over or self._no_time) and bool(self.oracle.end_order)

    def _lanes_in_time(self, key: Any) -> int:
        """How many trainings are to begin that will end in time; all before a trial has ended.

        How long own code takes beside its trainings is not known.

        Args:
            key: of their program; None if it is not known.
        """
        most = self.lanes_now or 1
        if not self.oracle.end_order or self.tuner.runs_own_code:
            return most
        count = self.pace.lanes(key, most, self.trainings_of_trial, self.limit.left)
        self._no_time = count == 0
        return count

    @property
    def trainings_of_trial(self) -> int:
        """How many trainings a trial has that are known before it begins."""
        return self.tuner.executions_per_trial * len(self.folds)

    def _give_back(self) -> None:
        """Gives the trials that have not ended to the oracle, for a search to come."""
        with self.files.written_once():
            for running in reversed(self.running.values()):  # The last in the queue is the first.
                trial_id = running.trial.trial_id
                self.limit.give_back(self.oracle, trial_id)
                self.files.save_trial(self.oracle.trials[trial_id])
                self._places.leave(running.trial)
                if self.pruning is not None:
                    self.pruning.end(trial_id, None, False)

    def ask(self, count: int) -> str:
        """Asks the oracle for trials until so many trainings wait; returns its last word.

        Fewer wait where one is to be trained alone, or none shares a program with another:
        nothing is won then by waiting, and the oracle is better informed by results.
        """
        own = self.tuner.runs_own_code
        # Models are built here, and state is written, for many trials at once. The user's code
        # may take hours, and other code of the user's may read the state.
        with contextlib.ExitStack() as stack:
            stack.callback(self.checkpoints.forget)
            if not own:
                stack.enter_context(self.files.written_once())
                stack.enter_context(_no_garbage_collection())
            while len(self.waiting) < count and not self._shall_not_wait():
                if self._failures.too_many or (
                    self.limit.over and (self.waiting or self._shall_end)
                ):
                    return "STOPPED"
                self.stopping.check()
                self.tuner.pre_create_trial()
                trial = self.oracle.create_trial(self._free_place())
                if trial.status in ("STOPPED", "IDLE"):
                    return str(trial.status)
                self.tuner.on_trial_begin(trial)
                self._begin(trial)
                if self.lanes_now is None and self.waiting:
                    self.lanes_now = count = lanes_that_fit(
                        self.waiting[0], self.tuner.devices, self.tuner.memory_share
                    )
                self.look_ahead.look(
                    self.waiting, count, self._trainings_left, self.lanes_now or 1, self.key_now
                )
        return "RUNNING"

    def _free_place(self) -> str:
        """A tuner by whose name no trial runs: an oracle gives a tuner one trial at a time."""
        taken, tuner_id = self.oracle.ongoing_trials, self.tuner.tuner_id
        # The first of so many is free, if they were taken one after the other.
        numbers = itertools.chain([len(taken)], range(len(taken)))
        places = (f"{tuner_id}-lane-{number}" for number in numbers)
        return next(place for place in places if place not in taken)

    def _shall_not_wait(self) -> bool:
        if any(plan.key is None for plan in self.waiting):
            return True
        return bool(self.waiting) and self._unlike >= _UNLIKE

    def take(self, key: Any, count: int | None = None) -> list[Plan]:
        """Takes trainings of one program from those that wait; the first one if it has none."""
        if key is None:
            alone = next(index for index, plan in enumerate(self.waiting) if plan.key is None)
            return [self.waiting.pop(alone)]
        same = [plan for plan in self.waiting if plan.key == key]
        most = self.lanes_now or len(same)
        same = _whole_trials(same, most if count is None else count, most)
        chosen = set(map(id, same))
        self.waiting = [plan for plan in self.waiting if id(plan) not in chosen]
        return same

    def train(self, plans: list[Plan]) -> None:
        """Trains plans that were taken: as lanes, or one by one where that cannot be."""
        error: Exception | None = None
        if plans[0].key is not None:
            group = LaneGroup(self, plans)
            try:
                error = group.train()
            except KeyboardInterrupt as interrupt:
                self._interrupt(group, interrupt)
                return
            if error is None or isinstance(error, DataError):
                self.checkpoints.remove()
            unfinished = group.unfinished
            if isinstance(error, TooSlow):
                self.lanes_now = error.lanes
                self.progress.say(
                    f"{len(plans)} lanes would not end in time; going on with {error.lanes}."
                )
                self._begin_again(unfinished)
                return
            if error is not None and _is_out_of_memory(error) and len(unfinished) > 1:
                self.lanes_now = max(1, len(plans) // 2)
                warn(
                    f"{len(plans)} lanes need more memory than there is; going on with "
                    f"{self.lanes_now}."
                )
                self._prepare_again(unfinished)
                self.waiting = unfinished + self.waiting
                return
            if isinstance(error, DataError):
                # Of the data, and so each trial's own: alone, it would have the same one.
                group.fail(error)
                return
            if isinstance(error, DifferentPrograms):
                self._prepare_again(unfinished)
                self._prepare_again(self.waiting)
                self.waiting = unfinished + self.waiting
                return
            if error is not None:
                warn(
                    f"{len(unfinished)} trials could not be trained together and are trained one "
                    f"by one: {error!r}"
                )
                self._prepare_again(unfinished)
            plans = unfinished
        for plan in plans:
            if plan.trial.trial_id in self.running and not self._shall_end:
                self._tell_why_alone(plan)
                self._train_alone(plan, plan.why_alone or str(error))

    def watch(self, seen: Mapping[int, Seen]) -> set[str]:
        """Reports an epoch of some trainings; returns the ids of the trials that are to end."""
        for plan, _, logs in seen.values():
            self._check_objective(plan, logs)
        return self._reported(
            [(plan.trial.trial_id, epoch, logs) for plan, epoch, logs in seen.values()]
        )

    def done(
        self,
        plans: list[Plan],
        lent: Callable[[Plan], contextlib.AbstractContextManager[None]] | None = None,
    ) -> None:
        """Takes the results of trainings, and ends the trials that have all of theirs.

        Args:
            plans: the trainings.
            lent: makes the context in which the code that waits for a training goes on.
        """
        for plan in plans:
            self.tuner.on_training_end(plan)
            if not plan.was_built and plan.template.built:
                internals.write_build_config(self.tuner, plan.trial.trial_id, plan.template)
        own = [plan for plan in plans if plan.thread is not None]
        ending: dict[str, RunningTrial] = {}
        with self.files.written_once():
            for plan in plans:
                running = self.running.get(plan.trial.trial_id)
                if running is None or plan.thread is not None:
                    continue  # Another execution of it has failed, or its own code goes on.
                with failing(plan.trial):
                    if plan.error is not None:
                        raise plan.error
                    internals.check_result(plan.history, self.oracle.objective)
                    running.histories[plan.execution, plan.fold] = plan.history
                running.left -= 1
                if running.left == 0 or plan.trial.status in ("FAILED", "INVALID"):
                    ending[plan.trial.trial_id] = running
            self._end(list(ending.values()))
        self.look()
        for plan in own:
            running = self.running[plan.trial.trial_id]
            with contextlib.nullcontext() if lent is None else lent(plan):
                self._go_on(running, functools.partial(_outcome, plan))

    def look(self) -> None:
        """Lets those look who look at a search while it runs: all that has ended is written."""
        self._look(len(self.running))

    def reports_of(self, trial: Any, plan: Plan | None = None) -> EpochReports:
        """The callback by which a training of a trial that Keras runs reports to the search.

        Args:
            trial: the trial.
            plan: the training, if it is one, and not own code.
        """
        running = self.running[trial.trial_id]

        def tell(model: Any, epoch: int, logs: dict[str, Any]) -> bool:
            if plan is not None:
                self._check_objective(plan, logs)
            which = running.now[:2] if plan is None else (plan.execution, plan.fold)
            running.keep_model(model, logs, which)
            ends = trial.trial_id in self._reported([(trial.trial_id, epoch, logs)])
            self.look()
            if not ends:
                self.stopping.check()
            return ends

        return EpochReports(tell)

    @contextlib.contextmanager
    def trains(self, trial: Any, execution: int, fold: int | None, model: Any) -> Iterator[Any]:
        """Tells which model the own code of a trial trains now; gives its running trial."""
        running = self.running[trial.trial_id]
        running.now = execution, fold, model
        try:
            yield running
        finally:
            running.now = 0, None, None

    def fold_rows(self, arguments: dict[str, Any], fold: int) -> tuple[Any, Any]:
        """The rows of a fold of the data of a training: for training and for validation.

        Raises:
            keras_tuner.errors.FatalValueError: if the data cannot be divided into folds.
        """
        errors = keras_tuner.errors
        if arguments.get("validation_data") is not None or arguments.get("validation_split"):
            raise errors.FatalValueError("With `folds` there can be no validation data.")
        data = arguments.get("x"), arguments.get("y")
        if not are_arrays(data):
            raise errors.FatalValueError("With `folds` the data must be arrays.")
        known = self.digests.of(data)
        if known not in self.splits:
            seed = self.oracle.seed
            parts = folds_of(self.tuner.folds, *data, self.groups, seed)
            if not self.splits and divides_anew(self.tuner.folds, *data, self.groups, seed, parts):
                warn(
                    "`folds` divide the samples in another way each time: there will be no "
                    "`out_of_fold` and no `ensemble`, and a search that is resumed has other "
                    "folds. Give the splitter a whole number as `random_state`."
                )
            self.splits[known] = parts
        rows: tuple[Any, Any] = self.splits[known][fold]
        return rows

    @property
    def keeps_apart(self) -> bool:
        """Whether there are so few samples that by the choice of an epoch scores look too good."""
        for parts in self.splits.values():
            return max(int(np.max(rows, initial=0)) for of in parts for rows in of) < _FEW_SAMPLES
        return False

    @property
    def folds(self) -> list[int | None]:
        """The numbers of the folds of an execution; None alone where there are no folds."""
        folds = self.tuner.folds
        if folds is None:
            return [None]
        groups = self.groups
        return list(range(folds if isinstance(folds, int) else folds.get_n_splits(groups=groups)))

    def _reported(self, seen: list[tuple[str, int, dict[str, Any]]]) -> set[str]:
        """Reports epochs of trainings by trial; returns the ids of the trials that are to end."""
        objective = self.oracle.objective
        complete: dict[str, tuple[int, float]] = {}
        stopped: set[str] = set()
        for trial_id, epoch, logs in seen:
            running = self.running.get(trial_id)
            means = None if running is None else running.seen(epoch, logs)
            if means is None or not objective.has_value(means):
                continue
            complete[trial_id] = epoch, objective.get_value(means)
            assert running is not None
            if self._tell_epoch(trial_id, means, epoch):
                stopped.add(trial_id)
                running.stopped_by = "oracle"
        ended = set[str]()
        if isinstance(self.oracle, StudyOracle):
            ended |= set(self.oracle.trials_to_end(complete))
        if self.pruning is not None:
            ended |= set(self.pruning.report(complete))
        for trial_id in ended:
            stopped.add(trial_id)
            self.running[trial_id].stopped_by = "pruner"
        self.progress.stopped += len(stopped)
        own = self.tuner.runs_own_code  # Which may compute the objective when it has trained.
        return stopped | self.limit.ending(seen, None if own else objective)

    def _tell_epoch(self, trial_id: str, means: dict[str, float], epoch: int) -> bool:
        """Tells the oracle of an epoch of a trial; returns whether it ends the trial."""
        # Written when the trial ends. KerasTuner's own oracles do nothing with it:
        # for those who look, the objective is enough.
        objective = self.oracle.objective
        objectives = {one.name for one in getattr(objective, "objectives", [objective])}
        own = type(self.oracle).update_trial is not keras_tuner.Oracle.update_trial
        own |= "update_trial" in vars(self.oracle)
        told = means if own else {k: v for k, v in means.items() if k in objectives}
        self.running[trial_id].told = True
        return bool(self._report(trial_id, told, epoch).status == "STOPPED")

    def _check_objective(self, plan: Plan, logs: dict[str, Any]) -> None:
        """Ends a search whose objective no epoch will have, after the first one.

        Code of the user's may compute the objective when the training has ended.
        """
        objective, given = self.oracle.objective, plan.arguments or {}
        own = plan.thread is not None or given.get("validation_freq", 1) != 1
        if own or objective.has_value(logs):
            return
        names = [one.name for one in getattr(objective, "objectives", [objective])]
        missing = [name for name in names if name not in logs]
        raise keras_tuner.errors.FatalValueError(
            f"`objective` must be a number that each epoch has, one of {sorted(logs)}. "
            f"Received: {', '.join(map(repr, missing))}"
        )

    def _begin(self, trial: Any) -> None:
        """Begins a trial: builds its models, or runs its own code to its first training."""
        folds = self.folds
        count = self.tuner.executions_per_trial * len(folds)
        running = RunningTrial(trial, self.oracle.objective, count)
        self.running[trial.trial_id] = running
        self.log.trial_began(trial.trial_id)
        if self.tuner.runs_own_code:
            args, kwargs = self.args, self.kwargs
            if self.tuner.distribution_strategy is not None:
                # A trial of replicas is no lane.
                self.log.lanes(1)
                with self.record.alone(trial.trial_id, "a `distribution_strategy` trains it"):
                    self._finish(running, lambda: self.tuner.run_trial(trial, *args, **kwargs))
                self.log.lanes(0)
                self.look()
                return
            running.thread = TrialThread(
                lambda thread: _run_trial(thread, self.tuner, running, args, kwargs),
                f"kerasreg-trial-{trial.trial_id}-{id(running)}",
                owners=[self.tuner.hypermodel, self.tuner],
            )
            self._go_on(running)
            return
        with failing(trial):
            plans = []
            for execution in range(self.tuner.executions_per_trial):
                for fold in folds:
                    plan = self._plan(trial, execution, fold)
                    self._prepare(plan)
                    plans.append(plan)
            for plan in self._resumed(running, plans):
                running.add(plan)
            if running.left:
                self.waiting += running.plans
                return
        self._end([running])

    def _resumed(self, running: RunningTrial, plans: list[Plan]) -> list[Plan]:
        """Lets a trial that has just begun go on from a checkpoint, if there is one.

        Returns:
            The trainings that are to be done.
        """
        trial = running.trial
        found = self.checkpoints.find(trial.trial_id) if self.checkpoints.wanted else None
        # Of an attempt that has failed since, nothing is taken.
        if found is None or found["attempt"] != internals.run_counts(self.oracle)[trial.trial_id]:
            return plans
        why = differing(trial, found) or self._why_not_resumed(plans, found)
        if why is not None:
            warn(f"Trial {trial.trial_id} begins again, and not from its checkpoint: {why}.")
            return plans
        running.resume(found["running"])
        states = {of["which"]: of for of in found["trainings"]}
        for plan in plans:
            if plan.which in states:
                plan.state = LaneState(**states[plan.which]["state"])
                plan.joint = states[plan.which]["joint"]
        # For pruners, and for oracles that look at epochs.
        for epoch, means in running.reports:
            self._tell_epoch(trial.trial_id, means, epoch)
        return [plan for plan in plans if plan.which not in running.histories]

    def _why_not_resumed(self, plans: list[Plan], found: Mapping[str, Any]) -> str | None:
        """Why the trainings of a trial cannot go on from a checkpoint; None if they can."""
        by_which = {plan.which: plan for plan in plans}
        together: dict[int, int] = {}
        if not {which for which, *_ in found["running"]["histories"]} <= set(by_which):
            return "it has other folds and executions"
        for of in found["trainings"]:
            plan = by_which.get(of["which"])
            if plan is None:
                return "it has other folds and executions"
            if plan.key is None or plan.why_not_resumable() is not None:
                return plan.why_alone or plan.why_not_resumable()
            now = plan.outline(self.oracle.seed)
            if unlike := [name for name in now if now[name] != of["outline"].get(name)]:
                return f"its {' and '.join(unlike)} differ"
            if (names := plan.unlike_numbers(of["state"]["numbers"])) is not None:
                return f"its numbers {names} differ"
            if of["joint"]:
                together[plan.execution] = together.get(plan.execution, 0) + 1
        most = self.lanes_now or lanes_that_fit(plans[0], self.tuner.devices)
        if max(together.values(), default=0) > most:
            return f"its folds are more than the {most} lanes"
        return None

    def checkpoint(self, group: LaneGroup, lanes: Lanes) -> None:
        """Writes a checkpoint of the trials that train as lanes of a group."""
        if not self.checkpoints.wanted:
            return
        if (why := self.tuner.why_no_checkpoints) is not None:
            self._tell_once(f"There are no checkpoints of trials that run: {why}.")
            return
        plans, left_out = group.trainings, set[str]()
        for plan in plans.values():
            if (why := plan.why_not_resumable()) is not None:
                left_out.add(plan.trial.trial_id)
                self._tell_once(
                    f"There are no checkpoints of trials that run, of which {plan.trial.trial_id} "
                    f"is one: {why}."
                )
        states = lanes.states(
            [lane for lane, plan in plans.items() if plan.trial.trial_id not in left_out]
        )
        # A trial fails of which a callback has raised.
        left_out |= {plan.trial.trial_id for lane, plan in plans.items() if lane not in states}
        kept = {
            lane: plan
            for lane, plan in plans.items()
            if plan.trial.trial_id not in left_out and plan.trial.trial_id in self.running
        }
        records: dict[str, Any] = {}
        for lane, plan in kept.items():
            trial = plan.trial
            of_trial = records.setdefault(
                trial.trial_id,
                {
                    "values": dict(trial.hyperparameters.values),
                    "attempt": internals.run_counts(self.oracle)[trial.trial_id],
                    "running": self.running[trial.trial_id].record(),
                    "trainings": [],
                },
            )
            of_trial["trainings"].append(
                {
                    "which": plan.which,
                    "joint": group.is_joint(lane),
                    "outline": plan.outline(self.oracle.seed),
                    "state": states[lane]._asdict(),
                }
            )
            if (best := group.best(lane, lanes)) is not None:
                of_trial["running"]["kept"].append((plan.which, *best))
            if (apart := group.best(lane, lanes, apart=True)) is not None:
                of_trial["running"]["apart"].append((plan.which, *apart))
        self.checkpoints.write(records)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            warn(text)

    def _plan(self, trial: Any, execution: int, fold: int | None) -> Plan:
        """A training of a trial, whose model is derived from others or built."""
        hp = trial.hyperparameters
        model, trace, was_built = None, None, True
        may_derive = self.tuner.derive_models and self.tuner.builds_by_hypermodel_alone(hp)
        if may_derive:
            model, was_built = self._templates.derive(hp)
        if model is None:
            # What will not be derived need not be traced.
            tracing = traced(hp) if may_derive else contextlib.nullcontext()
            with tracing as trace, deferred_variables():
                model = self.tuner.build_model(hp)
        call = self.args, self.tuner.fit_arguments(trial, execution, self.kwargs)
        plan = Plan(trial, execution, model, None, call, fold=fold)
        if isinstance(model, DerivedModel):
            plan.was_built = was_built
        elif trace is not None:
            self._templates.learn(trace, plan, hp)
        return plan

    def _prepare(self, plan: Plan) -> None:
        """Finds how a model is to be trained: the rows of its fold, and with which others."""
        plan.check(self.tuner.batches == "own")
        if plan.fold is not None and plan.arguments is not None:
            plan.rows = self.fold_rows(plan.arguments, plan.fold)
        if self._may_pad(plan):
            plan.wide, plan.why_not_padded = self._widths.find(plan)
        plan.find_key(self.digests)
        if plan.key is not None:
            plan.why_alone = self._places.why_alone(plan)
            plan.key = None if plan.why_alone else plan.key
        self.record.see(plan)
        same = plan.key is not None and (
            plan.key == self.key_now or any(other.key == plan.key for other in self.waiting)
        )
        # The folds of a trial are prepared before any of them waits, and count as one.
        first, self._prepared = plan.trial.trial_id != self._prepared, plan.trial.trial_id
        self._unlike = 0 if same else self._unlike + first

    def _may_pad(self, plan: Plan) -> bool:
        """Whether models may be built for the widths of others: code of the user's sees each."""
        tuner = self.tuner
        if not tuner.pad_widths or tuner.runs_own_code or plan.structure is None:
            return False
        return tuner.builds_by_hypermodel_alone(plan.trial.hyperparameters)

    def _prepare_again(self, plans: list[Plan]) -> None:
        """Prepares trainings that broke off for another beginning."""
        for index, plan in enumerate(plans):
            if plan.thread is not None:  # Nobody but the user can make its callbacks again.
                plan.error = None
                plan.look_again()
                self._prepare(plan)
                continue
            # If this fails, as it does when its model cannot be built, so does the trial.
            plan.key, plan.why_alone = None, "its model could not be built again"
            with failing(plan.trial):
                kwargs = self.tuner.fit_arguments(plan.trial, plan.execution, self.kwargs)
                call = self.args, kwargs
                again = Plan(
                    plan.trial, plan.execution, plan.lane_model, None, call, fold=plan.fold
                )
                again.was_built = plan.was_built
                again.state, again.joint = plan.state, plan.joint
                self._prepare(again)
                plans[index] = again

    def _begin_again(self, plans: list[Plan]) -> None:
        """Lets trainings wait that have begun, as if they had not."""
        for trial_id in {plan.trial.trial_id for plan in plans}:
            self.running[trial_id].forget_epochs()
            metrics = self.oracle.trials[trial_id].metrics
            self.oracle.trials[trial_id].metrics = type(metrics)()
        self._prepare_again(plans)
        self.waiting = plans + self.waiting

    def may_give_up(self, plans: Sequence[Plan]) -> bool:
        """Whether trainings may be given up after some epochs, to begin again with fewer lanes.

        Not where they may end before their last epoch, or where others have seen their epochs.
        """
        none_sees = not self.kwargs.get("callbacks") and not self.tuner.runs_own_code
        plain = type(self.oracle).update_trial is keras_tuner.Oracle.update_trial
        plain = plain and "update_trial" not in vars(self.oracle)
        return none_sees and plain and self.pruning is None and all(p.watched for p in plans)

    def _trainings_left(self) -> int:
        """How many trainings the oracle will still give, at most."""
        most = getattr(self.oracle, "max_trials", None)
        if most is None:
            return self.lanes_now or 1
        return int((most - len(self.oracle.trials)) * self.trainings_of_trial)

    def _tell_why_alone(self, plan: Plan) -> None:
        """Warns once of each reason for which trials are trained one by one."""
        if plan.why_alone is not None and plan.why_alone not in self._told:
            self._told.add(plan.why_alone)
            warn(
                f"Trial {plan.trial.trial_id} is trained alone by Keras, and so is every trial of "
                f"which the same holds: {plan.why_alone}."
            )

    def _train_alone(self, plan: Plan, why: str) -> None:
        """Trains a model by Keras, in the thread of its trial if it has one."""
        running = self.running[plan.trial.trial_id]
        reports = self.reports_of(plan.trial, plan)

        def train() -> Any:
            self.log.lanes(1)
            try:
                with self.record.alone(plan.trial.trial_id, why):
                    return plan.train_by_keras(reports)
            finally:
                self.log.lanes(0)

        if plan.thread is not None:
            self._go_on(running, train)
        else:
            try:
                plan.history = train()
            except Exception as error:  # The trial's own, raised when the trial is finished.
                plan.error = error
            self.done([plan])
        self.progress.update(1, trials=[plan.trial.trial_id])

    def _go_on(self, running: RunningTrial, answer: Callable[[], Any] | None = None) -> None:
        """Runs the own code of a trial to its next training, or to its end."""
        thread, trial = running.thread, running.trial
        assert thread is not None
        if answer is not None:
            self._draw_late(trial)
        thread.advance(answer)
        # What KerasTuner learns when a trial ends: the next trial is drawn before that.
        known = {hp.name for hp in self.oracle.hyperparameters.space}
        if any(hp.name not in known for hp in trial.hyperparameters.space):
            self.oracle.update_space(trial.hyperparameters)
        if thread.done:
            running.thread = None
            self._finish(running, thread.result)
            return
        plan: Plan = thread.request
        try:
            self._prepare(plan)
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:  # The user's code gets it, as it would from `model.fit`.
            self._go_on(running, functools.partial(_throw, error))
        else:
            self.waiting.append(plan)

    def _draw_late(self, trial: Any) -> None:
        """Draws hyperparameters that other trials have named since a trial was drawn."""
        if isinstance(self.oracle, keras_tuner.oracles.GridSearchOracle):
            return  # It visits those points later.
        hps = trial.hyperparameters
        for hp in self.oracle.hyperparameters.space:
            if hp.name not in hps.values and self.oracle.tune_new_entries:
                hps.merge([hp])
                if hps.is_active(hp):
                    hps.values[hp.name] = hp.random_sample(internals.next_seed(self.oracle))

    def _finish(self, running: RunningTrial, run: Callable[[], Any]) -> None:
        """Takes the result of a trial's own code, and ends the trial."""
        with failing(running.trial):
            result = run()
            self._check_own_result(running, result)
            # Of each execution: the tracker takes the mean, and keeps them all.
            running.results = result if isinstance(result, list) else [result]
        self._end([running])

    def _check_own_result(self, running: RunningTrial, result: Any) -> None:
        known = self.oracle.trials[running.trial.trial_id].metrics
        reported = known.exists(self.oracle.objective.name) and not running.told
        running.reported_itself = result is None and reported
        if running.reported_itself:
            warnings.warn(
                "To call `oracle.update_trial` in `run_trial` is deprecated in KerasTuner. Please "
                "remove the call, and return the metrics.",
                DeprecationWarning,
                stacklevel=2,
            )
        else:
            internals.check_result(result, self.oracle.objective, "Tuner.run_trial()")

    def _interrupt(self, group: LaneGroup, interrupt: KeyboardInterrupt) -> None:
        """Raises an interrupt in the code of each trial that rests in a training of lanes."""
        left, trainings = 0, group.trainings
        for lane, plan in trainings.items():
            if plan.thread is None:
                left += 1
                continue
            group.unstack(lane, plan)
            try:
                self._go_on(self.running[plan.trial.trial_id], functools.partial(_throw, interrupt))
            except KeyboardInterrupt:
                left += 1
        if left or not trainings:  # As all of them had just ended.
            raise interrupt

    def _abandon(self) -> None:
        """Ends the code of trials that rest, so that it leaves what it has entered."""
        for running in self.running.values():
            if running.thread is not None:
                running.thread.close()

    def _report(self, trial_id: str, metrics: dict[str, Any], step: int) -> Any:
        """Tells the oracle of results, which are written when the trial ends; returns the trial."""
        # KerasTuner tries names of metrics for each trial anew.
        tracked = self.oracle.trials[trial_id].metrics
        for name, direction in self._directions.items():
            if name in metrics and not tracked.exists(name):
                tracked.register(name, direction=direction)
        plain = type(self.oracle).update_trial is keras_tuner.Oracle.update_trial
        if (
            plain
            and "update_trial" not in vars(self.oracle)
            and metrics.keys() <= tracked.metrics.keys()
        ):
            internals.record_metrics(self.oracle, self.oracle.trials[trial_id], metrics, step)
            return self.oracle.trials[trial_id]
        with self.files.trials_unwritten():
            self.oracle.update_trial(trial_id, metrics, step=step)
        for name, of_name in tracked.metrics.items():
            self._directions.setdefault(name, of_name.direction)
        # Another oracle may return what it wants.
        return self.oracle.trials[trial_id]

    def _end(self, ending: list[RunningTrial]) -> None:
        """Ends trials: writes their weights, and tells the oracle."""
        # First the weights: of a trial that is known to have ended, they are there.
        weights = [
            _best_epochs.TrialWeights(
                running.trial.trial_id, running.kept, running.best, running.apart
            )
            for running in ending
            if running.best
        ]
        for running in ending:
            self._see_end(running)
        self.tuner.keep_ended([running.trial.trial_id for running in ending], weights)
        with contextlib.ExitStack() as stack:
            if isinstance(self.oracle, StudyOracle):
                stack.enter_context(self.oracle.told_together())
            for running in ending:
                self._tell_end(running)

    def _metrics_of(self, running: RunningTrial) -> list[tuple[dict[str, Any], int]]:
        """The metrics of each training of a trial at its best epoch, and that epoch.

        Folds have one best epoch together: by the best one of each, a trial would look better
        than what it gives for data that nobody has seen.
        """
        executions = [] if running.reported_itself else running.executions
        results = [result for of_folds in executions for result in of_folds]
        if not results:
            return []
        objective = self.oracle.objective
        epochs = [
            None if self.tuner.folds is None else _best_epochs.joint_epoch(of_folds, objective)
            for of_folds in executions
        ]
        if None in epochs:
            step = internals.best_step_of_results(results, objective)
            found = [(internals.metrics_of_result(result, objective), step) for result in results]
            return [(_with_objective(metrics, objective), step) for metrics, step in found]
        found = [
            ({name: values[epoch] for name, values in of.history.items()}, of.epoch[epoch])
            for of_folds, epoch in zip(executions, epochs, strict=True)
            for of in of_folds
        ]
        step = round(sum(epoch for _, epoch in found) / len(found))
        return [(_with_objective(metrics, objective), step) for metrics, _ in found]

    def _see_end(self, running: RunningTrial) -> None:
        """Takes what is to be looked at of a trial that ends."""
        trial, stopped = running.trial, running.stopped_by
        if stopped is None and self.limit.has_ended(trial.trial_id):
            stopped = "time limit"
        self.log.trial_ended(trial.trial_id, stopped, running.best)
        if trial.status not in ("FAILED", "INVALID"):
            self.curves.keep(
                trial.trial_id, [result for of_folds in running.executions for result in of_folds]
            )

    def _tell_end(self, running: RunningTrial) -> None:
        trial = running.trial
        del self.running[trial.trial_id]
        self.waiting = [plan for plan in self.waiting if plan.trial is not trial]
        self._places.leave(trial)
        known = self.oracle.trials[trial.trial_id]
        if not running.reported_itself:
            # What it reported on the way gives place to its result.
            known.metrics = type(known.metrics)()
        if trial.status not in ("FAILED", "INVALID"):
            self.record.ended(trial.trial_id)
            with failing(trial):
                for metrics, step in self._metrics_of(running):
                    plain = {k: v for k, v in metrics.items() if getattr(v, "ndim", 0) == 0}
                    # Of each execution: the tracker takes the mean, and keeps them all.
                    self._report(trial.trial_id, plain, step)
                trial.status = "COMPLETED"
        self.tuner.on_trial_end(trial)
        if self.pruning is not None:
            score = self.oracle.get_trial(trial.trial_id).score
            self.pruning.end(trial.trial_id, score, running.stopped_by is not None)


def _with_objective(metrics: dict[str, Any], objective: Any) -> dict[str, Any]:
    """The metrics, and what several objectives are together, by which KerasTuner's oracles score.

    KerasTuner adds it to what `fit` returned, and not to a dictionary.
    """
    if objective.name in metrics or not objective.has_value(metrics):
        return metrics
    return {**metrics, objective.name: objective.get_value(metrics)}


def _run_trial(
    thread: TrialThread,
    tuner: SearchingTuner,
    running: RunningTrial,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """The code of a trial, in its thread: each call of `model.fit` in it is a training."""
    keras_fit = original(keras.Model, "fit")
    trains = False

    def fit(model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        nonlocal trains
        if trains:  # A callback of a model that Keras trains in this thread trains another one.
            return keras_fit(model, *args, **kwargs)
        by_keras = functools.partial(keras_fit, model)
        execution, fold, own = running.now
        plan = Plan(
            running.trial,
            execution,
            model,
            by_keras,
            (args, kwargs),
            fold=fold if model is own else None,
            thread=thread,
            watched=model is own,
        )
        trains = True
        try:
            return thread.rest(plan)
        finally:
            trains = False

    with patched(keras.Model, fit=fit):
        return tuner.run_trial(running.trial, *args, **kwargs)


def _outcome(plan: Plan) -> Any:
    """What `model.fit` gives when its training has ended."""
    if plan.error is not None:
        raise plan.error
    return plan.history


def _throw(error: BaseException) -> Any:
    raise error


class _ValuesOfEpoch:
    """The values of lanes after an epoch, which are fetched once, where they are asked for."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._values: Any = None

    def get_values(self) -> Any:
        if self._values is None:
            self._values = self._lanes.get_values()
        return self._values


class LaneGroup:
    """Trainings of one program, as its lanes, and trainings that take over lanes that are free.

    Args:
        scheduler: the search.
        plans: trainings of equal keys, which were taken from those that wait.
    """

    def __init__(self, scheduler: Scheduler, plans: list[Plan]) -> None:
        self._scheduler = scheduler
        self._key = plans[0].key
        self._plans: dict[int, Plan] = dict(enumerate(plans))  # Of the lanes that train.
        self._best = _best_epochs.BestEpochs(scheduler.oracle.objective, len(plans))
        # The same by the other folds alone.
        self._keeps_apart = scheduler.keeps_apart
        self._apart = _best_epochs.BestEpochs(scheduler.oracle.objective, len(plans))
        self._together = _best_epochs.JointEpochs(len(scheduler.folds))
        self._together.begin(self._plans)
        self._lanes: Lanes | None = None
        self._clock = EpochClock()
        self._epochs = Running(scheduler.limit.now())
        # When the training of each lane began; None for those that began with the program.
        self._begun: dict[int, float | None] = dict.fromkeys(self._plans)
        self._is_own_error = False  # An error of the search is not the lanes' fault.

    @property
    def trainings(self) -> dict[int, Plan]:
        """The trainings that are not done, by lane."""
        return dict(self._plans)

    @property
    def unfinished(self) -> list[Plan]:
        """The trainings that are not done."""
        return list(self._plans.values())

    def unstack(self, lane: int, plan: Plan) -> None:
        """Leaves the model of a training as Keras would leave it, for the code that waits for it.

        Args:
            lane: the lane of the training.
            plan: the training.
        """
        lanes, model = self._lanes, plan.model
        if lanes is None:  # The training has not begun.
            return
        lanes.unstack(lane)
        # A training that an error ended was not asked to stop.
        model.stop_training = bool(lanes.stopped[lane]) and plan.error is None
        if plan.history is not None:
            plan.history.set_model(model)
            model.history = plan.history
        for callback in plan.callbacks():
            # Past its own `set_model`, which would begin something anew.
            keras.callbacks.Callback.set_model(callback, model)

    def train(self) -> Exception | None:
        """Trains, and more of the key as long as there are some; returns an error of the lanes."""
        scheduler, plans = self._scheduler, self.unfinished
        scheduler.key_now = self._key
        try:
            self._lanes = scheduler.look_ahead.take(plans)
            scheduler.log.lanes(len(plans))
            self._lanes.fit(
                **_fit_arguments(scheduler.tuner, plans),
                epochs=[plan.epochs()[1] for plan in plans],
                initial_epoch=[plan.epochs()[0] for plan in plans],
                callbacks=[plan.callbacks_of_lane() for plan in plans],
                on_epoch_end=self._on_epoch_end,
                refill=self._refill,
                states=[plan.state for plan in plans],
            )
        except TooSlow as too_slow:
            return too_slow
        except Exception as error:
            if self._is_own_error:
                raise
            return error
        finally:
            scheduler.key_now = None
            scheduler.log.lanes(0)
            loops = [] if self._lanes is None else self._lanes.loops
            scheduler.record.ran(self._key, self._clock, loops)
        return None

    def fail(self, error: Exception) -> None:
        """Ends the trainings that are not done with an error."""
        plans = self.trainings
        for lane, plan in plans.items():
            plan.error = error
            if plan.thread is not None:
                self.unstack(lane, plan)
        self._plans = {}
        self._scheduler.done(list(plans.values()))

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[Lanes]:
        """Marks what is raised within as an error of the search; gives the lanes."""
        assert self._lanes is not None
        try:
            with self._clock.paused():
                yield self._lanes
        except Exception:
            self._is_own_error = True
            raise

    def _on_epoch_end(self, epochs: list[int], logs: list[dict[str, Any]]) -> None:
        scheduler = self._scheduler
        with self._own_errors() as lanes:
            self._clock.lap()
            seen = {
                lane: Seen(self._plans[lane], epochs[lane], of_lane)
                for lane, of_lane in enumerate(logs)
                if of_lane
                and self._plans[lane].watched
                and self._plans[lane].has_reached(epochs[lane])
            }
            values = _ValuesOfEpoch(lanes)
            self._best.update(values, self._together.logs(seen, len(logs)))
            if self._keeps_apart and self._best.nbytes <= _MOST_BYTES_APART:
                self._apart.update(values, self._together.logs(seen, len(logs), apart=True))
            ending = scheduler.watch(seen)
            for lane, plan in self._plans.items():
                trial_id = plan.trial.trial_id
                is_other = not plan.watched and scheduler.limit.over
                if trial_id not in scheduler.running or trial_id in ending or is_other:
                    lanes.stopped[lane] = True
            scheduler.tuner.on_lanes_epoch_end(lanes, seen)
            training = {plan.trial.trial_id for plan in self._plans.values()}
            scheduler.progress.update(sum(bool(of_lane) for of_lane in logs), trials=training)
            scheduler.look()
            self._give_up_in_time()
            if scheduler.checkpoints.due or scheduler.stopping.asked:
                with scheduler.checkpoints.spending():
                    scheduler.checkpoint(self, lanes)
            scheduler.stopping.check()

    def is_joint(self, lane: int) -> bool:
        """Whether the training of a lane has its best epoch together with other folds."""
        return self._together.is_joint(lane)

    def best(
        self, lane: int, lanes: Lanes, apart: bool = False
    ) -> tuple[float | None, list[Any]] | None:
        """The score of the best epoch of a lane and the weights then, if there is one yet.

        Args:
            lane: the lane.
            lanes: all of them.
            apart: whether of the epoch that the other folds choose.
        """
        found = (self._apart if apart else self._best).known(lane)
        return None if found is None else (found[0], lanes.trimmed(lane, found[1]))

    def _give_up_in_time(self) -> None:
        """Looks after the first epochs whether so many lanes will end in time.

        Raises:
            TooSlow: if fewer are to begin again.
        """
        scheduler, plans = self._scheduler, self.unfinished
        self._epochs.epoch_ended(scheduler.limit.now())
        if any(begun is not None for begun in self._begun.values()):
            return  # Lanes that were taken over: the program has trained whole trainings.
        epochs = max((plan.epochs_left for plan in plans), default=0)
        whole, left = scheduler.trainings_of_trial, scheduler.limit.left
        fewer = self._epochs.fewer(len(plans), whole, epochs, left)
        if fewer is not None and scheduler.may_give_up(plans):
            raise TooSlow(fewer)

    def _refill(self, ended: dict[int, Any]) -> dict[int, Replacement]:
        with self._own_errors() as lanes:
            self._take_results(lanes, ended)
            free = [lane for lane in range(len(lanes)) if lane not in self._plans]
            taken = dict(zip(free, self._next_plans(len(free), lanes), strict=False))
            self._plans |= taken
            self._begun |= dict.fromkeys(taken, self._scheduler.limit.now())
            self._scheduler.log.lanes(len(self._plans))
            self._together.begin(taken)
            tuner = self._scheduler.tuner
            return {lane: _replacement(tuner, plan) for lane, plan in taken.items()}

    def _take_results(self, lanes: Lanes, ended: dict[int, Any]) -> None:
        scheduler, done, at_once = self._scheduler, [], len(self._plans)
        self._learn_pace(lanes, ended)
        lane_of = {id(self._plans[lane]): lane for lane in ended}
        for lane, history in ended.items():
            plan = self._plans[lane]
            plan.history, plan.error = history, history.error
            running = scheduler.running.get(plan.trial.trial_id)
            best = self._best.take(lane)
            if running is not None and plan.watched and best is not None:
                which = plan.execution, plan.fold
                running.keep(best[0], lanes.trimmed(lane, best[1]), which)
                apart = self._apart.take(lane)
                if apart is not None and apart[0] is not None:
                    running.keep_apart(apart[0], lanes.trimmed(lane, apart[1]), which)
            if plan.thread is not None:
                with lanes.lent(lane):
                    self.unstack(lane, plan)
            done.append(plan)
            del self._plans[lane]
        trial_ids = [plan.trial.trial_id for plan in done]
        scheduler.record.were_lanes(self._key, trial_ids, at_once)
        scheduler.done(done, lambda plan: lanes.lent(lane_of[id(plan)]))

    def _learn_pace(self, lanes: Lanes, ended: dict[int, Any]) -> None:
        """Takes how long the longest of the trainings took that ended by themselves."""
        scheduler = self._scheduler
        now, running = scheduler.limit.now(), scheduler.running
        # One that goes on from a checkpoint was shorter here than it is.
        trials = {
            lane: running.get(self._plans[lane].trial.trial_id)
            for lane in ended
            if self._plans[lane].state is None
        }
        whole = [self._begun[lane] for lane, of in trials.items() if of and of.stopped_by is None]
        if None in whole:
            beginning = self._epochs.beginning
            seconds = now - self._epochs.begun - beginning
            scheduler.pace.learn(self._key, len(lanes), seconds, beginning)
        elif whole:
            longest = now - min(begun for begun in whole if begun is not None)
            scheduler.pace.learn(self._key, len(lanes), longest, None)

    def _next_plans(self, free: int, lanes: Lanes) -> list[Plan]:
        """Trainings of this program for free lanes: those that wait, and new ones."""
        scheduler = self._scheduler
        in_time = scheduler.tuner.runs_own_code or scheduler.pace.ends(
            self._key, scheduler.limit.left
        )
        if scheduler.limit.over or not in_time:
            return []
        # The user's code has a model again when its training has ended.
        if scheduler.tuner.runs_own_code and not lanes.is_current():
            return []
        plans = scheduler.take(self._key, free)
        fits_not = not plans and any(plan.key == self._key for plan in scheduler.waiting)
        if len(plans) < free and len(scheduler.waiting) < len(lanes) and not fits_not:
            # Those of another program wait until this one is done.
            scheduler.ask(free - len(plans) + len(scheduler.waiting))
            plans += scheduler.take(self._key, free - len(plans))
        return plans


def _own_seed(tuner: SearchingTuner, plan: Plan) -> int | None:
    """The seed of the order of the batches of a training; None if all have one order."""
    return plan.seed(tuner.oracle.seed) if tuner.batches == "own" else None


def _fit_arguments(tuner: SearchingTuner, plans: Sequence[Plan]) -> dict[str, Any]:
    """Arguments of `Lanes.fit`: what trainings of equal keys have in common, and each its own."""
    found = {**plans[0].common_arguments(), "seed": tuner.oracle.seed}
    if plans[0].rows is not None:
        every = [plan.rows for plan in plans if plan.rows is not None]
        found |= {"rows": [r[0] for r in every], "validation_rows": [r[1] for r in every]}
    if plans[0].class_weight is not None:
        found["class_weight"] = [plan.class_weight for plan in plans]
    if _own_seed(tuner, plans[0]) is not None:
        found["seed"] = [_own_seed(tuner, plan) for plan in plans]
    return found


def _replacement(tuner: SearchingTuner, plan: Plan) -> Replacement:
    rows, validation_rows = plan.rows or (None, None)
    first, last = plan.epochs()
    return Replacement(
        plan.lane_model,
        plan.callbacks_of_lane(),
        rows=rows,
        validation_rows=validation_rows,
        epochs=last,
        initial_epoch=first,
        structure=plan.structure,
        class_weight=plan.class_weight,
        seed=_own_seed(tuner, plan),
        state=plan.state,
    )


class LookAhead:
    """Lanes whose program compiles while the models of other trials are still built.

    The lanes are copies of the first trial. How many trials there will be is foreseen, and so
    may be wrong: then the lanes are dropped, and after some of those no more are made.

    Args:
        tuner: says how lanes are made.
        record: learns how long it took to trace a program.
    """

    def __init__(self, tuner: SearchingTuner, record: LaneRecord) -> None:
        self._record = record
        self._options: Any = {
            "jit_compile": tuner.jit_compile,
            "random_numbers": tuner.random_numbers,
            "devices": tuner.devices,
        }
        self._tuner = tuner
        self._made: tuple[Any, Lanes] | None = None
        self._tried: set[Any] = set()
        self._misses = 0

    def look(
        self,
        waiting: list[Plan],
        asked: int,
        left: Callable[[], int],
        most: int,
        key_now: Any,
    ) -> None:
        """Makes lanes, if the trainings that wait show which will be wanted.

        Args:
            waiting: trainings that wait.
            asked: how many trainings are to wait in the end.
            left: gives how many trainings the oracle will still give, at most.
            most: how many trainings run at a time.
            key_now: the key of the program that runs.
        """
        if self._made is not None or self._misses >= _MISSES or len(waiting) < 2:
            return
        key = waiting[-1].key
        # Those of the program that runs are taken by its own lanes.
        if key is None or key == key_now or waiting[-1].rows is not None:
            return
        if waiting[-2].key != key:
            return
        same = [plan for plan in waiting if plan.key == key]
        count = min(len(same) + min(asked - len(waiting), left()), most)
        enough = len(same) >= 2 and count >= max(_FEWEST_AHEAD, 2 * len(same))
        if not enough or (key, count) in self._tried:
            return
        self._tried.add((key, count))
        with self._record.traced_ahead(key):
            self._make(key, same, count)

    def _make(self, key: Any, same: list[Plan], count: int) -> None:
        """Makes lanes of a program: of the trainings that there are, and copies of the first."""
        # In which numbers they differ, others will.
        plans = same + [same[0]] * (count - len(same))
        lanes, first = self._lanes_of(plans), same[0]
        try:
            begin, end = first.epochs()
            lanes.precompile(
                **_fit_arguments(self._tuner, plans),
                epochs=end,
                initial_epoch=begin,
                refill=lambda ended: {},
            )
        except Exception:  # It comes again when they are trained, and is told then.
            self._misses += 1
            return
        self._made = key, lanes

    def take(self, plans: list[Plan]) -> Lanes:
        """Returns lanes of trainings of equal keys: those made ahead if they fit."""
        made, self._made = self._made, None
        if made is not None:
            key, lanes = made
            if key == plans[0].key and len(lanes) == len(plans):
                lanes.load(
                    dict(enumerate(p.lane_model for p in plans)),
                    dict(enumerate(_structures(plans))),
                )
                return lanes
            self._misses += 1
        return self._lanes_of(plans)

    def _lanes_of(self, plans: list[Plan]) -> Lanes:
        models = [plan.lane_model for plan in plans]
        model, structure = plans[0].wide or (None, None)
        return Lanes(
            models,
            structures=_structures(plans),
            template=model,
            template_structure=structure,
            **self._options,
        )


def _structures(plans: list[Plan]) -> list[ModelStructure]:
    """Of each plan, which has one as it has a key."""
    return [plan.structure for plan in plans if plan.structure is not None]


def _whole_trials(plans: list[Plan], most: int, lanes: int) -> list[Plan]:
    """At most so many of some trainings, without parting the folds of a trial.

    They have their best epoch together, and so begin together, unless they are more than lanes.

    Args:
        plans: the trainings, those of a trial one after another.
        most: at most so many.
        lanes: how many trainings run at a time.
    """
    taken: list[Plan] = []
    for _, group in itertools.groupby(plans, lambda plan: (plan.trial.trial_id, plan.execution)):
        together = list(group)
        if len(together) > lanes:
            return taken or plans[:most]
        if len(taken) + len(together) > most:
            break
        taken += together
    return taken


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Looks for no garbage while models are built: those that are kept are none.

    To look at all of them again and again would be much of the work of building.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _is_out_of_memory(error: BaseException) -> bool:
    # TensorFlow's error, JAX's, and Python's.
    known = type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError)
    return known or "RESOURCE_EXHAUSTED" in str(error)
