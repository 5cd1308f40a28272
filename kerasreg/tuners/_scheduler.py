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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras_tuner

from kerasreg._first_line import first_line
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.own_steps import forget_refused_steps
from kerasreg._overrides import has_own
from kerasreg._warnings import warn
from kerasreg.lanes import DataError, DifferentPrograms, Lanes
from kerasreg.tuners import _own_code as own_code
from kerasreg.tuners._best_epochs import KeptEpochs, TrialWeights
from kerasreg.tuners._checkpoints import Checkpoints
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._digests import Digests
from kerasreg.tuners._early_ends import EarlyEnds
from kerasreg.tuners._failures import Failures
from kerasreg.tuners._folds import FoldsOfSearch
from kerasreg.tuners._lane_checkpoints import LaneCheckpoints
from kerasreg.tuners._lane_group import LaneGroup, TooSlow
from kerasreg.tuners._lane_report import LaneRecord, Training, under_strategy
from kerasreg.tuners._learning_curves import LearningCurves
from kerasreg.tuners._look_ahead import LookAhead
from kerasreg.tuners._memory import is_out_of_memory, lanes_that_fit
from kerasreg.tuners._oracle_reports import OracleReports, check_objective, updates_as_usual
from kerasreg.tuners._pace import Pace, Running
from kerasreg.tuners._plan import EpochReports, Plan, Seen
from kerasreg.tuners._preparation import Preparation
from kerasreg.tuners._progress import Progress
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._searching_tuner import SearchingTuner
from kerasreg.tuners._stacking import Stacking
from kerasreg.tuners._stop import SearchStopped, Stopping
from kerasreg.tuners._structure_first import StructuralProbe
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._time_limit import TimeLimit
from kerasreg.tuners._trial import RunningTrial, failing
from kerasreg.tuners._waiting import Waiting


class Scheduler:
    """One running search, from the first trial to the last.

    It asks the oracle for trials until enough of their trainings wait, takes those of one program,
    and trains these as lanes; what cannot be a lane is trained by Keras. Each epoch is told to
    those who may end a trial. When all trainings of a trial have ended, so does the trial.

    A trial of a tuner and a hypermodel that leave `run_trial` and `fit` as they are is its
    trainings, and nothing else. Otherwise the trial is the code of `run_trial`, which runs in a
    thread of its own and rests in its calls of `model.fit`.

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
        running: trials that have begun and not ended, by id.
        folds: the folds of the data.
        limit: as given.
        record: as given.
        probe: tells which hyperparameters are only values of a program.
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
        self._tuner, self._oracle = tuner, tuner.oracle
        self._args, self._kwargs = args, kwargs
        self._files, self._pruning, self._checkpoints = files, pruning, checkpoints
        self.record, self._curves, self._log = record, curves, log
        self.limit, self._stopping, self._look = limit, stopping, look
        self.running: dict[str, RunningTrial] = {}
        self._waiting = Waiting()
        devices = 1 if tuner.devices is None else len(tuner.devices)
        # So many trainings run at a time; None until the first model tells.
        self._lanes_now = None if tuner.max_lanes is None else tuner.max_lanes * devices
        self._key_now: Any = None  # Of the program that runs, or None.
        self._no_time = False  # No trial more would end in time.
        self._pace = Pace()
        digests, own = Digests(), tuner.runs_own_code
        call = None if own else (args, kwargs)
        self.probe = StructuralProbe(self._oracle, tuner.build_model, call, digests)
        self.folds = FoldsOfSearch(tuner.folds, groups, self._oracle.seed, digests)
        self._preparation = Preparation(
            tuner,
            args,
            kwargs,
            folds=self.folds,
            digests=digests,
            left=self._trainings_left,
            found=self._prepared,
        )
        self._stacking = Stacking(tuner)
        self._look_ahead = LookAhead(self._stacking, record)
        quiet = kwargs.get("verbose", "auto") == 0
        self._progress = Progress(tuner, quiet, limit=lambda: limit.left)
        self._reports = OracleReports(self._oracle, files)
        self._early_ends = EarlyEnds(
            self._oracle, self._reports, pruning, limit, own, self._progress
        )
        self._lane_checkpoints = LaneCheckpoints(checkpoints, self._oracle)
        self._failures = Failures(self._oracle)
        self._told: set[str] = set()  # Why trials are trained alone.

    # The search, from the first trial to the last.

    def run(self) -> None:
        """Runs the search until the oracle has no more trials, or the time is over.

        Raises:
            RuntimeError: if too many trials failed one after another. Those that ran beside them
                have ended before.
            SearchStopped: if the search was asked to stop.
        """
        forget_refused_steps()
        self._log.begin()
        self._checkpoints.begin()
        try:
            with self._failures.counted():
                self._run()
        except SearchStopped as stopped:
            self._progress.close()
            kept = [one for one, of in self.running.items() if self._is_kept(of)]
            stopped.kept = tuple(kept)
            stopped.again = tuple(one for one in self.running if one not in kept)
            self._give_back()
            raise
        except BaseException:
            self._progress.close()
            raise
        finally:
            self._abandon()
            self._log.end()
        self._progress.update(0, last=True)
        if self.limit.over or self._no_time:
            self._progress.say(self.limit.note(self._oracle))
        if not self.running:
            self._checkpoints.close()
        self._failures.check()

    def _run(self) -> None:
        while True:
            self._stopping.check()
            status = self._ask(self._lanes_in_time(None))
            plans = [] if self._shall_end else self._next()
            if plans:
                self._train(plans)
                continue
            if self._shall_end:
                self._give_back()
                return
            if status == "STOPPED":
                return
            time.sleep(1.0)  # Others' results are waited for.

    def _next(self) -> list[Plan]:
        """Takes trainings that wait and will end in time: one that is trained alone comes first."""
        if not self._waiting.plans:
            return []
        if self._waiting.has(None):
            return self._waiting.take_alone()
        key = self._waiting.plans[0].key
        count = self._lanes_in_time(key)
        return self._waiting.take(key, count, self._lanes_now) if count else []

    def _give_back(self) -> None:
        """Gives the trials that have not ended to the oracle, for a search to come."""
        with self._files.written_once():
            for running in reversed(self.running.values()):  # The last in the queue is the first.
                trial_id = running.trial.trial_id
                self.limit.give_back(self._oracle, trial_id)
                self._files.save_trial(self._oracle.trials[trial_id])
                self._preparation.forget(running.trial)
                if self._pruning is not None:
                    self._pruning.end(trial_id, None, False)

    def _is_kept(self, running: RunningTrial) -> bool:
        """Whether a trial that has not ended goes on from a checkpoint."""
        # One that waits may be in that of the process from which it goes on.
        goes_on = any(plan.state is not None for plan in running.plans)
        return goes_on or running.trial.trial_id in self._checkpoints.trial_ids

    def _abandon(self) -> None:
        """Ends the code of trials that rest, so that it leaves what it has entered."""
        for running in self.running.values():
            if running.thread is not None:
                running.thread.close()

    # Time: how many trainings may begin.

    @property
    def _shall_end(self) -> bool:
        """Whether the time is over. One trial at least is trained, so that there is a result."""
        return (self.limit.over or self._no_time) and bool(self._oracle.end_order)

    def _lanes_in_time(self, key: Any) -> int:
        """How many trainings are to begin that will end in time; all before a trial has ended.

        How long own code takes beside its trainings is not known.

        Args:
            key: of their program; None if it is not known.
        """
        most = self._lanes_now or 1
        if not self._oracle.end_order or self._tuner.runs_own_code:
            return most
        count = self._pace.lanes(key, most, self._trainings_of_trial, self.limit.left)
        self._no_time = count == 0
        return count

    @property
    def _trainings_of_trial(self) -> int:
        """How many trainings a trial has that are known before it begins."""
        return self._tuner.executions_per_trial * len(self.folds.numbers)

    def _trainings_left(self) -> int:
        """How many trainings the oracle will still give, at most."""
        most = getattr(self._oracle, "max_trials", None)
        if most is None:
            return self._lanes_now or 1
        return int((most - len(self._oracle.trials)) * self._trainings_of_trial)

    # Trials begin: the oracle gives them, and their trainings wait.

    def _ask(self, count: int) -> str:
        """Asks the oracle for trials until so many trainings wait; returns its last word.

        Fewer wait where one is to be trained alone, or none shares a program with another:
        nothing is won then by waiting, and the oracle is better informed by results.
        """
        waiting = self._waiting
        # Models are built here, and state is written, for many trials at once. The user's code
        # may take hours, and other code of the user's may read the state.
        with contextlib.ExitStack() as stack:
            stack.callback(self._checkpoints.forget)
            if not self._tuner.runs_own_code:
                stack.enter_context(self._files.written_once())
                stack.enter_context(_no_garbage_collection())
            while len(waiting.plans) < count and not waiting.are_enough:
                if self._failures.too_many or (
                    self.limit.over and (waiting.plans or self._shall_end)
                ):
                    return "STOPPED"
                self._stopping.check()
                self._tuner.pre_create_trial()
                trial = self._oracle.create_trial(self._free_place())
                if trial.status in ("STOPPED", "IDLE"):
                    return str(trial.status)
                self._tuner.on_trial_begin(trial)
                self._begin(trial)
                if self._lanes_now is None and waiting.plans:
                    self._lanes_now = count = lanes_that_fit(
                        waiting.plans[0], self._tuner.devices, self._tuner.memory_share
                    )
                self._look_ahead.look(
                    waiting.plans,
                    count,
                    self._trainings_left,
                    self._lanes_now or 1,
                    self._key_now,
                )
        return "RUNNING"

    def _free_place(self) -> str:
        """A tuner by whose name no trial runs: an oracle gives a tuner one trial at a time."""
        taken, tuner_id = self._oracle.ongoing_trials, self._tuner.tuner_id
        # The first of so many is free, if they were taken one after the other.
        numbers = itertools.chain([len(taken)], range(len(taken)))
        places = (f"{tuner_id}-lane-{number}" for number in numbers)
        return next(place for place in places if place not in taken)

    def _begin(self, trial: Any) -> None:
        """Begins a trial: builds its models, or runs its own code to its first training."""
        tuner, oracle = self._tuner, self._oracle
        running = RunningTrial(trial, oracle.objective, self._trainings_of_trial)
        self.running[trial.trial_id] = running
        self._log.trial_began(trial.trial_id)
        if tuner.runs_own_code:
            if tuner.distribution_strategy is not None:
                self._train_by_replicas(running)
                return
            running.thread = own_code.thread_of(running, tuner, self._args, self._kwargs)
            self._go_on(running)
            return
        with failing(trial):
            plans = self._preparation.trainings(trial)
            for plan in self._lane_checkpoints.resume(running, plans, self._most_lanes(plans)):
                running.add(plan)
            # For pruners, and for oracles that look at epochs.
            for epoch, means in running.reports:
                self._reports.tell_epoch(running, means, epoch)
            if running.left:
                self._waiting.add(running.plans)
                return
        self._end([running])

    def _most_lanes(self, plans: Sequence[Plan]) -> Callable[[], int]:
        """Gives how many trainings may run at a time, also where no model has told yet."""
        return lambda: self._lanes_now or lanes_that_fit(plans[0], self._tuner.devices)

    def _prepared(self, plan: Plan) -> None:
        """Takes that it is known how a training is to be trained."""
        self.record.see(plan)
        self._waiting.compare(plan, self._key_now)

    # Trainings: as lanes, or by Keras where that cannot be.

    def _train(self, plans: list[Plan]) -> None:
        """Trains plans that were taken: as lanes, or one by one where that cannot be."""
        why = ""
        if plans[0].key is not None:
            plans, why = self._train_lanes(plans)
        for plan in plans:
            if plan.trial.trial_id in self.running and not self._shall_end:
                self._tell_why_alone(plan)
                self._train_alone(plan, plan.why_alone or why)

    def _train_lanes(self, plans: list[Plan]) -> tuple[list[Plan], str]:
        """Trains plans as lanes; returns those that are left to Keras, and why."""
        group = LaneGroup(
            plans,
            self,
            self._stacking,
            kept=KeptEpochs(
                self._oracle.objective,
                dict(enumerate(plans)),
                folds=len(self.folds.numbers),
                apart=self.folds.are_small,
            ),
            pace=Running(self.limit.now()),
            now=self.limit.now,
            log=self._log,
        )
        try:
            error = self._run_lanes(group)
        except KeyboardInterrupt as interrupt:
            self._interrupt(group, interrupt)
            return [], ""
        if error is None or isinstance(error, DataError):
            self._checkpoints.remove()
        unfinished = group.unfinished
        if isinstance(error, TooSlow):
            self._lanes_now = error.lanes
            self._progress.say(
                f"{len(plans)} lanes would not end in time; going on with {error.lanes}."
            )
            self._begin_again(unfinished)
            return [], ""
        if error is not None and is_out_of_memory(error) and len(unfinished) > 1:
            self._lanes_now = max(1, len(plans) // 2)
            warn(
                f"{len(plans)} lanes need more memory than there is; going on with "
                f"{self._lanes_now}."
            )
            self._preparation.prepare_again(unfinished)
            self._waiting.add_first(unfinished)
            return [], ""
        if isinstance(error, DataError):
            # Of the data, and so each trial's own: alone, it would have the same one.
            self._done(group.fail(error))
            return [], ""
        if isinstance(error, DifferentPrograms):
            self._preparation.prepare_again(unfinished)
            self._preparation.prepare_again(self._waiting.plans)
            self._waiting.add_first(unfinished)
            return [], ""
        if error is not None:
            count = len({plan.trial.trial_id for plan in unfinished})
            warn(
                f"{count} {'trial' if count == 1 else 'trials'} could not be trained together "
                f"and are trained one by one: {type(error).__name__}: {first_line(error)}"
            )
            self._preparation.prepare_again(unfinished)
        return unfinished, first_line(error) if error else ""

    def _run_lanes(self, group: LaneGroup) -> Exception | None:
        """Trains a group; returns an error of its lanes."""
        self._key_now = group.key
        try:
            return group.train(self._look_ahead.take)
        finally:
            self._key_now = None
            self._log.lanes(0)
            self.record.ran(group.key, group.clock, group.loops)

    def _begin_again(self, plans: list[Plan]) -> None:
        """Lets trainings wait that have begun, as if they had not."""
        for trial_id in {plan.trial.trial_id for plan in plans}:
            self.running[trial_id].forget_epochs()
            metrics = self._oracle.trials[trial_id].metrics
            self._oracle.trials[trial_id].metrics = type(metrics)()
        self._preparation.prepare_again(plans)
        self._waiting.add_first(plans)

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
        reports = self.reports_of(plan.trial, plan)

        def train() -> Any:
            self._log.lanes(1)
            try:
                with self.record.alone(plan.trial.trial_id, lambda: Training(why)):
                    return plan.train_by_keras(reports)
            finally:
                self._log.lanes(0)

        if plan.thread is not None:
            self._go_on(self.running[plan.trial.trial_id], train)
        else:
            try:
                plan.history = train()
            except Exception as error:  # The trial's own, raised when the trial is finished.
                plan.error = error
            self._done([plan])
        self._progress.update(1, trials=[plan.trial.trial_id])

    def _train_by_replicas(self, running: RunningTrial) -> None:
        """Trains a trial under the strategy of the tuner: a trial of replicas is no lane."""
        trial, args, kwargs = running.trial, self._args, self._kwargs
        self._log.lanes(1)
        how = functools.partial(_under_strategy, self._tuner, running)
        with self.record.alone(trial.trial_id, how):
            self._finish(running, lambda: self._tuner.run_trial(trial, *args, **kwargs))
        self._log.lanes(0)
        self._look_on()

    # What lanes ask of the search while they train: `Search` says it of each.

    def watch(self, plans: Mapping[int, Plan], seen: Mapping[int, Seen]) -> list[int]:
        """Reports an epoch of some lanes; returns those of all lanes that are to end."""
        objective = self._oracle.objective
        for plan, _, logs in seen.values():
            check_objective(objective, plan, logs)
        ending = self._early_ends.after(
            self.running,
            [(plan.trial.trial_id, epoch, logs) for plan, epoch, logs in seen.values()],
        )
        return [
            lane
            for lane, plan in plans.items()
            if plan.trial.trial_id not in self.running
            or plan.trial.trial_id in ending
            or (not plan.watched and self.limit.over)
        ]

    def epoch_ended(
        self, group: LaneGroup, lanes: Lanes, seen: Mapping[int, Seen], trained: int
    ) -> None:
        """Does what is due when lanes have trained an epoch."""
        self._tuner.on_lanes_epoch_end(lanes, seen)
        training = {plan.trial.trial_id for plan in group.unfinished}
        self._progress.update(trained, trials=training)
        self._look_on()
        self._give_up_in_time(group)
        if self._checkpoints.due or self._stopping.asked:
            with self._checkpoints.spending():
                why_none = self._tuner.why_no_checkpoints
                self._lane_checkpoints.write(group, lanes, self.running, why_none)
        self._stopping.check()

    def _give_up_in_time(self, group: LaneGroup) -> None:
        """Looks after the first epochs whether so many lanes will end in time."""
        plans, pace = group.unfinished, group.pace
        pace.epoch_ended(self.limit.now())
        if pace.has_trained_whole:
            return
        epochs = max((plan.epochs_left for plan in plans), default=0)
        fewer = pace.fewer(len(plans), self._trainings_of_trial, epochs, self.limit.left)
        if fewer is not None and self._may_give_up(plans):
            raise TooSlow(fewer)

    def _may_give_up(self, plans: Sequence[Plan]) -> bool:
        """Whether trainings may be given up after some epochs, to begin again with fewer lanes.

        Not where they may end before their last epoch, or where others have seen their epochs.
        """
        if self._kwargs.get("callbacks") or self._tuner.runs_own_code or self._pruning is not None:
            return False
        return updates_as_usual(self._oracle) and all(plan.watched for plan in plans)

    def lanes_ended(
        self,
        group: LaneGroup,
        ended: Mapping[int, Plan],
        at_once: int,
        lent: Callable[[Plan], AbstractContextManager[None]],
    ) -> None:
        """Takes the results of trainings of lanes, and how long they took."""
        # One that goes on from a checkpoint was shorter here than it is.
        trials = {
            lane: self.running.get(plan.trial.trial_id)
            for lane, plan in ended.items()
            if plan.state is None
        }
        whole = [lane for lane, of in trials.items() if of and of.stopped_by is None]
        if (longest := group.pace.longest(whole, self.limit.now())) is not None:
            self._pace.learn(group.key, group.size, *longest)
        trial_ids = [plan.trial.trial_id for plan in ended.values()]
        self.record.were_lanes(group.key, trial_ids, at_once)
        self._done(list(ended.values()), lent)

    def next_plans(self, key: Any, free: int, lanes: Lanes) -> list[Plan]:
        """Trainings of a program for free lanes: those that wait, and new ones."""
        own, waiting = self._tuner.runs_own_code, self._waiting
        if self.limit.over or not (own or self._pace.ends(key, self.limit.left)):
            return []
        # The user's code has a model again when its training has ended.
        if own and not lanes.is_current():
            return []
        plans = waiting.take(key, free, self._lanes_now)
        fits_not = not plans and waiting.has(key)
        if len(plans) < free and len(waiting.plans) < len(lanes) and not fits_not:
            # Those of another program wait until this one is done.
            self._ask(free - len(plans) + len(waiting.plans))
            plans += waiting.take(key, free - len(plans), self._lanes_now)
        return plans

    # What a trial's own code, and Keras, ask of the search.

    def reports_of(self, trial: Any, plan: Plan | None = None) -> EpochReports:
        """The callback by which a training of a trial that Keras runs reports to the search.

        Args:
            trial: the trial.
            plan: the training, if it is one, and not own code.
        """
        running = self.running[trial.trial_id]

        def tell(model: Any, epoch: int, logs: dict[str, Any]) -> bool:
            if plan is not None:
                check_objective(self._oracle.objective, plan, logs)
            which = running.now[:2] if plan is None else plan.which
            running.keep_model(model, logs, which)
            ending = self._early_ends.after(self.running, [(trial.trial_id, epoch, logs)])
            self._look_on()
            if trial.trial_id not in ending:
                self._stopping.check()
            return trial.trial_id in ending

        return EpochReports(tell)

    def ends_of(self, trial: Any) -> EpochReports:
        """A callback that ends the trainings of a trial which reports nothing else to the search.

        Args:
            trial: the trial.
        """

        def tell(model: Any, epoch: int, logs: dict[str, Any]) -> bool:
            ends = bool(self.limit.ending([(trial.trial_id, epoch, logs)], None))
            if not ends:
                self._stopping.check()
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

    def _go_on(self, running: RunningTrial, answer: Callable[[], Any] | None = None) -> None:
        """Runs the own code of a trial to its next training, or to its end."""
        plan = own_code.advance(running, self._oracle, answer)
        if plan is None:
            thread, running.thread = running.thread, None
            assert thread is not None
            self._finish(running, thread.result)
            return
        try:
            self._preparation.prepare(plan)
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:  # The user's code gets it, as it would from `model.fit`.
            self._go_on(running, functools.partial(own_code.throw, error))
        else:
            self._waiting.add([plan])

    def _interrupt(self, group: LaneGroup, interrupt: KeyboardInterrupt) -> None:
        """Raises an interrupt in the code of each trial that rests in a training of lanes."""
        left, trainings = 0, group.trainings
        for lane, plan in trainings.items():
            if plan.thread is None:
                left += 1
                continue
            group.unstack(lane)
            try:
                running = self.running[plan.trial.trial_id]
                self._go_on(running, functools.partial(own_code.throw, interrupt))
            except KeyboardInterrupt:
                left += 1
        if left or not trainings:  # As all of them had just ended.
            raise interrupt

    # Trainings end, and with the last of them their trial.

    def _done(
        self,
        plans: list[Plan],
        lent: Callable[[Plan], AbstractContextManager[None]] | None = None,
    ) -> None:
        """Takes the results of trainings, and ends the trials that have all of theirs.

        Args:
            plans: the trainings.
            lent: makes the context in which the code that waits for a training goes on.
        """
        for plan in plans:
            self._tuner.on_training_end(plan)
            if not plan.was_built and plan.template.built:
                internals.write_build_config(self._tuner, plan.trial.trial_id, plan.template)
        own = [plan for plan in plans if plan.thread is not None]
        ending: dict[str, RunningTrial] = {}
        with self._files.written_once():
            for plan in plans:
                running = self.running.get(plan.trial.trial_id)
                if running is None or plan.thread is not None:
                    continue  # Another execution of it has failed, or its own code goes on.
                with failing(plan.trial):
                    if plan.error is not None:
                        raise plan.error
                    internals.check_result(plan.history, self._oracle.objective)
                    running.histories[plan.which] = plan.history
                running.left -= 1
                if running.left == 0 or plan.trial.status in ("FAILED", "INVALID"):
                    ending[plan.trial.trial_id] = running
            self._end(list(ending.values()))
        self._look_on()
        for plan in own:
            running = self.running[plan.trial.trial_id]
            with contextlib.nullcontext() if lent is None else lent(plan):
                self._go_on(running, functools.partial(own_code.outcome, plan))

    def _finish(self, running: RunningTrial, run: Callable[[], Any]) -> None:
        """Takes the result of a trial's own code, and ends the trial."""
        with failing(running.trial):
            own_code.take_result(running, self._oracle, run())
        self._end([running])

    def _end(self, ending: list[RunningTrial]) -> None:
        """Ends trials: writes their weights, and tells the oracle."""
        # First the weights: of a trial that is known to have ended, they are there.
        weights = [
            TrialWeights(running.trial.trial_id, running.kept, running.best, running.apart)
            for running in ending
            if running.best
        ]
        for running in ending:
            self._see_end(running)
        self._tuner.keep_ended([running.trial.trial_id for running in ending], weights)
        with contextlib.ExitStack() as stack:
            if isinstance(self._oracle, StudyOracle):
                stack.enter_context(self._oracle.told_together())
            for running in ending:
                self._tell_end(running)

    def _see_end(self, running: RunningTrial) -> None:
        """Takes what is to be looked at of a trial that ends."""
        trial, stopped = running.trial, running.stopped_by
        if stopped is None and self.limit.has_ended(trial.trial_id):
            stopped = "time limit"
        self._log.trial_ended(trial.trial_id, stopped, running.best)
        if trial.status not in ("FAILED", "INVALID"):
            self._curves.keep(
                trial.trial_id, [result for of_folds in running.executions for result in of_folds]
            )

    def _tell_end(self, running: RunningTrial) -> None:
        """Tells the oracle and all others that a trial has ended."""
        trial = running.trial
        del self.running[trial.trial_id]
        self._waiting.leave(trial)
        self._preparation.forget(trial)
        known = self._oracle.trials[trial.trial_id]
        if not running.reported_itself:
            # What it reported on the way gives place to its result.
            known.metrics = type(known.metrics)()
        if trial.status not in ("FAILED", "INVALID"):
            self.record.ended(trial.trial_id)
            with failing(trial):
                self._reports.tell_results(running, self._tuner.folds is not None)
                trial.status = "COMPLETED"
        self._tuner.on_trial_end(trial)
        if self._pruning is not None:
            score = self._oracle.get_trial(trial.trial_id).score
            self._pruning.end(trial.trial_id, score, running.stopped_by is not None)

    def _look_on(self) -> None:
        """Lets those look who look at a search while it runs: all that has ended is written."""
        self._look(len(self.running))


def _under_strategy(tuner: SearchingTuner, running: RunningTrial) -> Training:
    """How a trial was trained under the strategy of a tuner."""
    own_fit = has_own(tuner.hypermodel, "fit", keras_tuner.HyperModel)
    return under_strategy(tuner.distribution_strategy, running.replicated, own_fit)


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
