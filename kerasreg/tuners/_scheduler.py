"""A search that runs: which trials wait, train and have ended, and which trainings share a program.

One `Scheduler` owns it. The tuner keeps KerasTuner's face: the scheduler asks the tuner's oracle
for trials and the tuner for models, and calls the tuner's hooks.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import keras
import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.deferred_variables import deferred_variables
from kerasreg._warnings import warn
from kerasreg.lanes import Lanes, Replacement
from kerasreg.tuners import _best_epochs
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._folds import folds_of
from kerasreg.tuners._memory import lanes_that_fit
from kerasreg.tuners._progress import Progress
from kerasreg.tuners._pruning import Pruning
from kerasreg.tuners._structure_first import StructuralProbe
from kerasreg.tuners._trial import Digests, Plan, RunningTrial, failing, is_arrays

# Fewer lanes are built before anything is compiled.
_FEWEST_AHEAD = 8
# So often lanes may be made that are not used, as lanes of other shapes were wanted.
_MISSES = 2


class Seen(NamedTuple):
    """An epoch of a training that has just ended."""

    plan: Plan
    epoch: int
    logs: dict[str, Any]


class SearchingTuner(Protocol):
    """The tuner, as the scheduler sees it: `VectorizedTuner` says what each member is."""

    oracle: Any
    hypermodel: Any
    tuner_id: str
    project_dir: str
    executions_per_trial: int
    distribution_strategy: Any
    max_lanes: int | None
    folds: Any
    jit_compile: bool | str

    def pre_create_trial(self) -> None: ...
    def on_trial_begin(self, trial: Any) -> None: ...
    def on_trial_end(self, trial: Any) -> None: ...
    def build_model(self, hp: keras_tuner.HyperParameters) -> keras.Model: ...
    def fit_arguments(
        self, trial: Any, execution: int, kwargs: dict[str, Any]
    ) -> dict[str, Any]: ...
    def on_training_end(self, plan: Plan) -> None: ...
    def on_lanes_epoch_end(self, lanes: Lanes, seen: Mapping[int, Seen]) -> None: ...


class Scheduler:
    """One running search, from the first trial to the last.

    Args:
        tuner: the tuner whose search it is.
        args: positional arguments of `search`, for the hypermodel's `fit`.
        kwargs: keyword arguments of `search`, likewise.
        groups: the group of each sample, for the splitter of the folds.
        files: the state files of the tuner.
        pruning: ends trials early; None to end none.

    Attributes:
        waiting: trainings whose models are built, and which have not begun.
        running: trials that have begun and not ended, by id.
        ended: weights of trials that ended since weights were last written, by id.
        lanes_now: how many trainings run at a time; None until the first model tells.
        key_now: the key of the program that runs, or None.
        digests: hashes of the data, and the keys of the programs.
        splits: the folds of each data, by its hash.
        probe: tells which hyperparameters are only values of a program.
        look_ahead: compiles while models are built.
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
    ) -> None:
        self.tuner, self.oracle = tuner, tuner.oracle
        self.args, self.kwargs, self.groups = args, kwargs, groups
        self.files, self.pruning = files, pruning
        self.waiting: list[Plan] = []
        self.running: dict[str, RunningTrial] = {}
        self.ended: dict[str, list[Any]] = {}
        self.lanes_now = tuner.max_lanes
        self.key_now: Any = None
        self.digests = Digests()
        self.splits: dict[str, Any] = {}
        self.probe = StructuralProbe(
            self.oracle, tuner.hypermodel, tuner.build_model, (args, kwargs), self.digests
        )
        self.look_ahead = LookAhead(tuner.jit_compile)
        self.progress = Progress(tuner, quiet=kwargs.get("verbose", "auto") == 0)
        self._directions: dict[str, str | None] = {}  # Of metrics: is more better?

    def run(self) -> None:
        """Runs the search until the oracle has no more trials."""
        while True:
            status = self.ask(self.lanes_now or 1)
            if self.waiting:
                self.train(self.take(self.waiting[0].key))
            elif status == "STOPPED":
                break
            else:
                time.sleep(1.0)  # Others' results are waited for.
        self.progress.update(0, last=True)

    def ask(self, count: int) -> str:
        """Asks the oracle for trials until so many trainings wait; returns its last word."""
        with self.files.written_once(), _no_garbage_collection():
            while len(self.waiting) < count:
                self.tuner.pre_create_trial()
                # An oracle gives a tuner one trial at a time: each place is one to it.
                taken = self.oracle.ongoing_trials
                places = (f"{self.tuner.tuner_id}-lane-{n}" for n in range(len(taken) + 1))
                trial = self.oracle.create_trial(next(p for p in places if p not in taken))
                if trial.status in ("STOPPED", "IDLE"):
                    return str(trial.status)
                self.tuner.on_trial_begin(trial)
                self._begin(trial)
                if self.lanes_now is None and self.waiting:
                    self.lanes_now = count = lanes_that_fit(self.waiting[0])
                self.look_ahead.look(
                    self.waiting, count, self._trainings_left, self.lanes_now or 1, self.key_now
                )
        return "RUNNING"

    def take(self, key: Any, count: int | None = None) -> list[Plan]:
        """Takes trainings of one program from those that wait; the first one if it has none."""
        if key is None:
            return [self.waiting.pop(0)]
        same = [plan for plan in self.waiting if plan.key == key]
        same = same[: self.lanes_now if count is None else count]
        chosen = set(map(id, same))
        self.waiting = [plan for plan in self.waiting if id(plan) not in chosen]
        return same

    def train(self, plans: list[Plan]) -> None:
        """Trains plans that were taken: as lanes, or one by one where that cannot be."""
        if plans[0].key is not None:
            group = LaneGroup(self, plans)
            error = group.train()
            unfinished = group.unfinished
            if error is not None and _is_out_of_memory(error) and len(unfinished) > 1:
                self.lanes_now = max(1, len(plans) // 2)
                warn(
                    f"{len(plans)} lanes need more memory than there is; going on with "
                    f"{self.lanes_now}."
                )
                self._prepare_again(unfinished)
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
            if plan.trial.trial_id in self.running:
                self._train_alone(plan)
                self.done([plan])

    def watch(self, seen: Mapping[int, Seen]) -> set[str]:
        """Reports an epoch of some trainings; returns the ids of the trials that are to end."""
        objective = self.oracle.objective
        objectives = {one.name for one in getattr(objective, "objectives", [objective])}
        complete: dict[str, tuple[int, float]] = {}
        stopped: set[str] = set()
        for plan, epoch, logs in seen.values():
            trial_id = plan.trial.trial_id
            running = self.running.get(trial_id)
            means = None if running is None else running.seen(epoch, logs)
            if means is None or not objective.has_value(means):
                continue
            complete[trial_id] = epoch, objective.get_value(means)
            # Written when the trial ends. KerasTuner's own oracles do nothing with it:
            # for those who look, the objective is enough.
            own = type(self.oracle).update_trial is not keras_tuner.Oracle.update_trial
            told = means if own else {k: v for k, v in means.items() if k in objectives}
            if self._report(trial_id, told, epoch).status == "STOPPED":
                stopped.add(trial_id)
        if self.pruning is not None:
            stopped |= set(self.pruning.report(complete))
        for trial_id in stopped:
            self.running[trial_id].pruned = True
        self.progress.stopped += len(stopped)
        return stopped

    def done(self, plans: list[Plan]) -> None:
        """Takes the results of trainings, and ends the trials that have all of theirs."""
        objective = self.oracle.objective
        for plan in plans:
            self.tuner.on_training_end(plan)
        with self.files.written_once():
            for plan in plans:
                running = self.running.get(plan.trial.trial_id)
                if running is None:
                    continue  # Another execution of it has failed.
                with failing(plan.trial):
                    result = plan.finish(self.tuner.hypermodel)
                    internals.check_result(result, objective)
                    running.results.append(result)
                running.left -= 1
                if running.left == 0 or plan.trial.status in ("FAILED", "INVALID"):
                    self._end(running)
            _best_epochs.write(self.tuner.project_dir, self.ended)
            self.ended = {}

    def _begin(self, trial: Any) -> None:
        """Builds the models of a trial."""
        running = self.running[trial.trial_id] = RunningTrial(trial, self.oracle.objective)
        with failing(trial):
            plans = []
            for execution in range(self.tuner.executions_per_trial):
                folds = range(self._fold_count()) if self.tuner.folds is not None else [None]
                for fold in folds:
                    with deferred_variables():
                        model = self.tuner.build_model(trial.hyperparameters)
                    plan = Plan(trial, execution, model, fold)
                    self._prepare(plan)
                    plans.append(plan)
            for plan in plans:
                running.add(plan)
            self.waiting += plans
            return
        self._end(running)

    def _prepare(self, plan: Plan) -> None:
        """Finds how a model is to be trained: its data, its arguments, callbacks of its own."""
        kwargs = self.tuner.fit_arguments(plan.trial, plan.execution, self.kwargs)
        errors = keras_tuner.errors
        if self.tuner.distribution_strategy is not None:
            if plan.fold is not None:
                raise errors.FatalValueError("With a `distribution_strategy` there are no folds.")
            return
        plan.reach_fit(self.tuner.hypermodel, self.args, kwargs)
        if plan.fold is not None and plan.arguments is not None:
            given = plan.arguments
            if given.get("validation_data") is not None or given.get("validation_split"):
                raise errors.FatalValueError("With `folds` there can be no validation data.")
            data = given.get("x"), given.get("y")
            if not is_arrays(data):
                raise errors.FatalValueError("With `folds` the data must be arrays.")
            known = self.digests.of(data)
            if known not in self.splits:
                seed = self.oracle.seed
                self.splits[known] = folds_of(self.tuner.folds, *data, self.groups, seed)
            plan.rows = self.splits[known][plan.fold]
        plan.find_key(self.digests)

    def _prepare_again(self, plans: list[Plan]) -> None:
        """Prepares trainings that broke off for another beginning."""
        for plan in plans:
            plan.error = None
            with failing(plan.trial):
                self._prepare(plan)

    def _fold_count(self) -> int:
        folds = self.tuner.folds
        return folds if isinstance(folds, int) else int(folds.get_n_splits(groups=self.groups))

    def _trainings_left(self) -> int:
        """How many trainings the oracle will still give, at most."""
        most = getattr(self.oracle, "max_trials", None)
        if most is None:
            return self.lanes_now or 1
        folds = self._fold_count() if self.tuner.folds is not None else 1
        return (most - len(self.oracle.trials)) * self.tuner.executions_per_trial * folds

    def _train_alone(self, plan: Plan) -> None:
        strategy = self.tuner.distribution_strategy
        if plan.arguments is None and strategy is None:  # The hypermodel's `fit` did it.
            return

        def watch(epoch: int, logs: dict[str, Any]) -> None:
            if self.watch({0: Seen(plan, epoch, logs)}):
                plan.model.stop_training = True

        path = internals.checkpoint_path(self.tuner, plan.trial.trial_id)
        callbacks = [
            internals.best_epoch_callback(self.oracle.objective, path),
            keras.callbacks.LambdaCallback(on_epoch_end=watch),
        ]
        try:
            if strategy is not None:
                kwargs = self.tuner.fit_arguments(plan.trial, plan.execution, self.kwargs)
                kwargs["callbacks"] = [*kwargs["callbacks"], *callbacks]
                with strategy.scope():
                    plan.run_whole(self.tuner.hypermodel, self.args, kwargs)
            else:
                plan.train_alone(callbacks)
        except Exception as error:  # The trial's own, raised when the trial is finished.
            plan.error = error
        self.progress.update(1)

    def _report(self, trial_id: str, metrics: dict[str, Any], step: int) -> Any:
        """Tells the oracle of results, which are written when the trial ends; returns the trial."""
        # KerasTuner tries names of metrics for each trial anew.
        tracked = self.oracle.trials[trial_id].metrics
        for name, direction in self._directions.items():
            if name in metrics and not tracked.exists(name):
                tracked.register(name, direction=direction)
        with self.files.trials_unwritten():
            trial = self.oracle.update_trial(trial_id, metrics, step=step)
        for name, of_name in tracked.metrics.items():
            self._directions.setdefault(name, of_name.direction)
        return trial

    def _end(self, running: RunningTrial) -> None:
        trial, objective = running.trial, self.oracle.objective
        del self.running[trial.trial_id]
        self.waiting = [plan for plan in self.waiting if plan.trial is not trial]
        # What it reported on the way gives place to its result.
        known = self.oracle.trials[trial.trial_id]
        known.metrics = type(known.metrics)()
        if trial.status not in ("FAILED", "INVALID"):
            with failing(trial):
                step = internals.best_step_of_results(running.results, objective)
                for result in running.results:
                    metrics = internals.metrics_of_result(result, objective)
                    plain = {k: v for k, v in metrics.items() if getattr(v, "ndim", 0) == 0}
                    # Of each execution: the tracker takes the mean, and keeps them all.
                    self._report(trial.trial_id, plain, step)
                trial.status = "COMPLETED"
        if running.best:
            self.ended[trial.trial_id] = running.best
        self.tuner.on_trial_end(trial)
        if self.pruning is not None:
            score = self.oracle.get_trial(trial.trial_id).score
            self.pruning.end(trial.trial_id, score, running.pruned)


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
        self._lanes: Lanes | None = None
        self._is_own_error = False  # An error of the search is not the lanes' fault.

    @property
    def unfinished(self) -> list[Plan]:
        """The trainings that are not done."""
        return list(self._plans.values())

    def train(self) -> Exception | None:
        """Trains, and more of the key as long as there are some; returns an error of the lanes."""
        scheduler, plans = self._scheduler, self.unfinished
        scheduler.key_now = self._key
        more: dict[str, Any] = {}
        if plans[0].rows is not None:
            every = [plan.rows for plan in plans if plan.rows is not None]
            more = {"rows": [r[0] for r in every], "validation_rows": [r[1] for r in every]}
        try:
            self._lanes = scheduler.look_ahead.take(plans)
            self._lanes.fit(
                **plans[0].common_arguments(),
                **more,
                epochs=[plan.epochs()[1] for plan in plans],
                initial_epoch=[plan.epochs()[0] for plan in plans],
                callbacks=[plan.callbacks() for plan in plans],
                seed=scheduler.oracle.seed,
                on_epoch_end=self._on_epoch_end,
                refill=self._refill,
            )
        except Exception as error:
            if self._is_own_error:
                raise
            return error
        finally:
            scheduler.key_now = None
        return None

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[Lanes]:
        """Marks what is raised within as an error of the search; gives the lanes."""
        assert self._lanes is not None
        try:
            yield self._lanes
        except Exception:
            self._is_own_error = True
            raise

    def _on_epoch_end(self, epochs: list[int], logs: list[dict[str, Any]]) -> None:
        scheduler = self._scheduler
        with self._own_errors() as lanes:
            self._best.update(lanes, logs)
            seen = {
                lane: Seen(self._plans[lane], epochs[lane], of_lane)
                for lane, of_lane in enumerate(logs)
                if of_lane
            }
            ending = scheduler.watch(seen)
            for lane, plan in self._plans.items():
                trial_id = plan.trial.trial_id
                if trial_id not in scheduler.running or trial_id in ending:
                    lanes.stopped[lane] = True
            scheduler.tuner.on_lanes_epoch_end(lanes, seen)
            scheduler.progress.update(int(sum(bool(of_lane) for of_lane in logs)))

    def _refill(self, ended: dict[int, Any]) -> dict[int, Replacement]:
        with self._own_errors() as lanes:
            self._take_results(lanes, ended)
            free = [lane for lane in range(len(lanes)) if lane not in self._plans]
            taken = dict(zip(free, self._next_plans(len(free), len(lanes)), strict=False))
            self._plans |= taken
            return {lane: _replacement(plan) for lane, plan in taken.items()}

    def _take_results(self, lanes: Lanes, ended: dict[int, Any]) -> None:
        scheduler, done = self._scheduler, []
        for lane, history in ended.items():
            plan = self._plans[lane]
            plan.history, plan.error = history, history.error
            running = scheduler.running.get(plan.trial.trial_id)
            if running is not None:
                running.keep(*self._best.take(lane))
            if plan.uses_model_after_fit(scheduler.tuner.hypermodel):
                lanes.unstack(lane, slots=False)
            done.append(plan)
            del self._plans[lane]
        scheduler.done(done)

    def _next_plans(self, free: int, lanes: int) -> list[Plan]:
        """Trainings of this program for free lanes: those that wait, and new ones."""
        scheduler = self._scheduler
        plans = scheduler.take(self._key, free)
        if len(plans) < free and len(scheduler.waiting) < lanes:
            # Those of another program wait until this one is done.
            scheduler.ask(free - len(plans) + len(scheduler.waiting))
            plans += scheduler.take(self._key, free - len(plans))
        return plans


def _replacement(plan: Plan) -> Replacement:
    rows, validation_rows = plan.rows or (None, None)
    first, last = plan.epochs()
    return Replacement(
        plan.model,
        plan.callbacks(),
        rows=rows,
        validation_rows=validation_rows,
        epochs=last,
        initial_epoch=first,
        structure=plan.structure,
    )


class LookAhead:
    """Lanes whose program compiles while the models of other trials are still built.

    The lanes are copies of the first trial. How many trials there will be is foreseen, and so
    may be wrong: then the lanes are dropped, and after some of those no more are made.

    Args:
        jit_compile: as for `kerasreg.lanes.Lanes`.
    """

    def __init__(self, jit_compile: bool | str) -> None:
        self._jit_compile = jit_compile
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
        first, structure = same[0], same[0].structure
        assert structure is not None  # Its key says so.
        lanes = Lanes([first.model] * count, self._jit_compile, structures=[structure] * count)
        try:
            begin, end = first.epochs()
            lanes.precompile(
                **first.common_arguments(),
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
        structures = [plan.structure for plan in plans if plan.structure is not None]
        models = [plan.model for plan in plans]
        made, self._made = self._made, None
        if made is not None:
            key, lanes = made
            if key == plans[0].key and len(lanes) == len(plans):
                lanes.load(dict(enumerate(models)), dict(enumerate(structures)))
                return lanes
            self._misses += 1
        return Lanes(models, self._jit_compile, structures=structures)


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
