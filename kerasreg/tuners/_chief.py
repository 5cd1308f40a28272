"""KerasTuner's own parallel searches: a chief that has the oracle, and workers that ask it.

The environment says which process is what (`KERASTUNER_TUNER_ID`, `KERASTUNER_ORACLE_IP`,
`KERASTUNER_ORACLE_PORT`), and KerasTuner's gRPC service carries the requests. KerasTuner's two ends
lose trials: a worker that dies keeps its trials for ever and the chief never ends; three failed
trials block the chief; a chief that is restarted gives trials away that still run; messages of
errors are lost. The two ends here speak with KerasTuner's service, and guard against these.

A worker asks for trials by the name `<worker>#<process>~<place>`. By the `~` the chief knows that
the worker is one of these, which asks for one of its trials every some seconds (`GetTrial`): that
is how a chief hears that it lives. Of another one, KerasTuner's own, nothing is heard while it
trains.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import keras_tuner

from kerasreg._files import write_texts
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._keras.patching import replace
from kerasreg._validation import check_positive
from kerasreg.tuners._failures import Failures
from kerasreg.tuners._stop import Stopping

# Seconds without a sign of life after which a worker is taken for dead, and where that is said.
_SILENCE, _SILENCE_VARIABLE = 60.0, "KERASREG_WORKER_TIMEOUT"
# A worker is heard so often in this time.
_BEATS = 6
# So long a worker waits for a chief that does not answer.
_PATIENCE = 600.0
_OURS, _PROCESS = "~", "#"
_MESSAGE = "message.txt"
_UNTOLD = "its worker has not said why: KerasTuner's own say it where they run"
_BETTER = "kerasreg.tuners.StudyOracle shares trials without a chief"


def silence() -> float:
    """After how many seconds without a sign of life a worker is taken for dead.

    Raises:
        ValueError: if the environment has no number > 0 there.
    """
    given = os.environ.get(_SILENCE_VARIABLE)
    if given is None:
        return _SILENCE
    try:
        return check_positive(_SILENCE_VARIABLE, float(given))
    except ValueError:
        raise ValueError(
            f"`{_SILENCE_VARIABLE}` must be a number of seconds > 0. Received: {given!r}"
        ) from None


def say(line: str) -> None:
    """Tells whoever looks at the process, beside the line of progress."""
    print(f"kerasreg: {line}", file=sys.stderr, flush=True)


class Chief:
    """The chief of a parallel search: gives trials to workers, and those of dead ones to others.

    Args:
        tuner: a tuner of this process. Its oracle is changed for good.

    Attributes:
        stopping: tells whether the chief is asked to stop; the next one goes on.
        look: is called now and then with the number of trials that run, while no worker is
            answered.
    """

    def __init__(self, tuner: keras_tuner.Tuner) -> None:
        self.stopping = Stopping()
        self.look: Callable[[int], None] = lambda count: None
        self._oracle: Any = tuner.oracle
        self._silence = silence()
        self._failures = Failures(self._oracle)
        self._lock = threading.RLock()
        self._heard: dict[str, float] = {}
        self._told: set[str] = set()  # Workers that know that the search has ended.
        self._warned_of: set[str] = set()
        self._own = {
            name: getattr(self._oracle, name)
            for name in ("create_trial", "update_trial", "end_trial", "get_trial")
        }
        for name in self._own:
            replace(self._oracle, name, getattr(self, name))
        self._keep_running()

    def serve(self, *args: Any, **kwargs: Any) -> None:
        """Answers until the search has ended and all living workers know it.

        Args:
            *args: arguments of `search`, for the workers alone.
            **kwargs: likewise.

        Raises:
            RuntimeError: if too many trials failed one after another, or the address is taken.
            SearchStopped: if it was asked to stop.
        """
        self._oracle.verbose = 0  # Its table for each trial is nothing for several at a time.
        self._oracle.save()
        say(
            f"this is the chief, at {internals.chief_address()}. Trials of a worker that is not "
            f"heard for {self._silence:g} s are given to others."
        )
        with internals.failures_uncounted(self._oracle), internals.oracle_served(self._oracle):
            while not self._is_over():
                self.stopping.check()
                time.sleep(min(1.0, self._silence / _BEATS))
                self._look()
                with self._lock:
                    self.look(len(self._oracle.ongoing_trials))
        self._failures.check()

    def create_trial(self, place: str) -> Any:
        """Gives a worker a trial. One that would be told to stop waits while others' trials run."""
        with self._lock:
            worker = self._hear(place)
            if self._failures.too_many:
                trial = keras_tuner.engine.trial.Trial(self._oracle.get_space(), "", "STOPPED")
            else:
                trial = self._own["create_trial"](place)
            if trial.status == "STOPPED":
                # Those of a worker that dies are to be run by somebody.
                of_others = any(
                    _OURS in at and _worker(at) != worker for at in self._oracle.ongoing_trials
                )
                if of_others and _OURS in place and not self._failures.too_many:
                    trial.status = "IDLE"
                else:
                    self._told.add(worker)
            return trial

    def update_trial(self, trial_id: str, metrics: Any, step: int = 0) -> Any:
        """Learns results of a trial, if it has not ended in another worker."""
        with self._lock:
            self._hear_of(trial_id)
            if trial_id in self._oracle.end_order:
                return self._oracle.trials[trial_id]
            return self._own["update_trial"](trial_id, metrics, step=step)

    def end_trial(self, trial: Any) -> None:
        """Ends a trial, once: whoever is the second to end it comes too late."""
        with self._lock:
            trial_id, queue = trial.trial_id, internals.retry_queue(self._oracle)
            self._hear_of(trial_id)
            if trial_id in self._oracle.end_order:
                return
            if trial_id in queue:
                queue.remove(trial_id)
            if trial.status != "COMPLETED" and not trial.message:
                trial.message = self._message_of(trial_id) or _UNTOLD
            self._own["end_trial"](trial)

    def get_trial(self, trial_id: str) -> Any:
        """Tells of a trial; the worker that runs it lives."""
        with self._lock:
            self._hear_of(trial_id)
            return self._own["get_trial"](trial_id)

    def _hear(self, place: str) -> str:
        worker = _worker(place)
        self._heard[worker] = time.monotonic()
        self._told.discard(worker)
        if _OURS not in place and worker not in self._warned_of:
            self._warned_of.add(worker)
            say(
                f"worker {worker!r} tells nothing while it trains: if it dies, its trial is lost, "
                "and this chief waits for ever. Give it a tuner of kerasreg or "
                f"kerasreg.tuners.crash_safe(tuner); {_BETTER}."
            )
        return worker

    def _hear_of(self, trial_id: str) -> None:
        for place, trial in self._oracle.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._heard[_worker(place)] = time.monotonic()

    def _is_silent(self, worker: str) -> bool:
        return time.monotonic() - self._heard.get(worker, -float("inf")) > self._silence

    def _look(self) -> None:
        """Takes trials from workers that are silent."""
        with self._lock:
            oracle = self._oracle
            lost = {
                place: trial
                for place, trial in oracle.ongoing_trials.items()
                if _OURS in place and self._is_silent(_worker(place))
            }
            for place, trial in lost.items():
                del oracle.ongoing_trials[place]
                trial.metrics = type(trial.metrics)()  # What it reported on the way.
                if trial.trial_id not in oracle.end_order:
                    internals.retry_queue(oracle).insert(0, trial.trial_id)
            if lost:
                oracle.save()
                names = ", ".join(sorted({_worker(place).partition(_PROCESS)[0] for place in lost}))
                trials = ", ".join(sorted(trial.trial_id for trial in lost.values()))
                say(
                    f"not heard for {self._silence:g} s: {names}. Their trials {trials} are given "
                    "to the next worker that asks."
                )

    def _is_over(self) -> bool:
        with self._lock:
            oracle = self._oracle
            ended = self._failures.too_many or not internals.retry_queue(oracle)
            if not ended or oracle.ongoing_trials or not self._told:
                return False
            return all(one in self._told or self._is_silent(one) for one in self._heard)

    def _keep_running(self) -> None:
        """Leaves to their workers the trials that ran when an earlier chief ended."""
        oracle = self._oracle
        try:
            with open(internals.oracle_path(oracle)) as file:
                ongoing = dict(json.load(file)["ongoing_trials"])
        except (OSError, ValueError, KeyError):
            return  # There was none.
        queue = internals.retry_queue(oracle)
        for place, trial_id in ongoing.items():
            if _OURS in place and trial_id in queue and trial_id in oracle.trials:
                queue.remove(trial_id)
                oracle.ongoing_trials[place] = oracle.trials[trial_id]
                self._heard[_worker(place)] = time.monotonic()

    def _message_of(self, trial_id: str) -> str | None:
        """What a worker has written of an error: KerasTuner's service carries no text."""
        path = os.path.join(internals.trial_folder(self._oracle, trial_id), _MESSAGE)
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            return file.read()
        return None


class WorkerOracle(keras_tuner.Oracle):
    """The oracle of a worker: asks the chief, and keeps the trials of this worker.

    Args:
        own: the oracle that the worker was given, which knows the space.

    Attributes:
        process: what sets the files of this process apart from those of other workers.
    """

    seed: int  # Which KerasTuner's oracle sets.

    def __init__(self, own: Any) -> None:
        super().__init__(
            objective=own.objective,
            max_trials=own.max_trials,
            hyperparameters=own.get_space(),
            tune_new_entries=own.tune_new_entries,
            allow_new_entries=own.allow_new_entries,
            seed=own.seed,
            max_consecutive_failed_trials=10**9,  # The chief counts.
        )
        directory, name = os.path.split(internals.project_folder(own))
        internals.set_project(self, directory, name)
        worker = os.environ["KERASTUNER_TUNER_ID"]
        self.process = uuid.uuid4().hex[:8]
        self._name = f"{worker}{_PROCESS}{self.process}"
        self._client = internals.oracle_client(own)
        self._connection = internals.ChiefConnection()
        self._stopped = False
        self._gone = threading.Event()
        self._silence = silence()
        self._beats: threading.Thread | None = None

    def save(self) -> None:
        """Writes nothing: the state is the chief's."""

    def create_trial(self, tuner_id: str) -> Any:
        """Asks the chief for a trial.

        Args:
            tuner_id: the id of the tuner.

        Returns:
            A KerasTuner trial. Its status is `"IDLE"` while other workers have the last trials.
        """
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        if self._beats is None:
            self._beats = threading.Thread(target=self._beat, name="kerasreg-heart", daemon=True)
            self._beats.start()
        trial = self._ask("create_trial", f"{self._name}{_OURS}{tuner_id}")
        if trial.status == "RUNNING":
            self.hyperparameters.merge(trial.hyperparameters, overwrite=False)
            trial.metrics = type(trial.metrics)()
            internals.run_counts(self)[trial.trial_id] = self._failures_of(trial.trial_id)
            self.ongoing_trials[tuner_id] = trial
            self.trials[trial.trial_id] = trial
            if trial.trial_id not in self.start_order:
                self.start_order.append(trial.trial_id)
        elif trial.status == "STOPPED":
            self._stopped = True
        elif not self.ongoing_trials:
            time.sleep(0.5)
        return trial

    def _failures_of(self, trial_id: str) -> int:
        """How often a trial has failed, in whatever worker: no checkpoint of before is its own."""
        try:
            with open(internals.oracle_path(self)) as file:  # Written before a trial is given.
                return int(json.load(file)["run_times"].get(trial_id, 0))
        except (OSError, ValueError, KeyError):
            return 0

    def end_trial(self, trial: Any) -> None:
        """Tells the chief the results of a trial, and that it has ended.

        Args:
            trial: the trial, with the status `"COMPLETED"`, `"INVALID"` or `"FAILED"`.
        """
        trial_id = trial.trial_id
        own = self.trials[trial_id]
        if trial.status == "COMPLETED":
            for step, metrics in _observations(own.metrics):
                self._ask("update_trial", trial_id, metrics, step=step)
        elif trial.message:
            path = os.path.join(internals.trial_folder(self, trial_id), _MESSAGE)
            with contextlib.suppress(OSError):
                write_texts({path: trial.message})
        self._ask("end_trial", trial)
        told = self._ask("get_trial", trial_id)
        own.hyperparameters, own.message = trial.hyperparameters, trial.message
        own.status, own.score = told.status, told.score
        own.best_step = told.best_step or 0
        for place in [at for at, of in self.ongoing_trials.items() if of.trial_id == trial_id]:
            del self.ongoing_trials[place]
        if own.status in ("COMPLETED", "FAILED") and trial_id not in self.end_order:
            self.end_order.append(trial_id)

    def update_space(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        """Learns hyperparameters that are new, and tells the chief.

        Args:
            hyperparameters: the hyperparameters.
        """
        known = len(self.hyperparameters.space)
        super().update_space(hyperparameters)
        if len(self.hyperparameters.space) > known:
            self._ask("update_space", hyperparameters)

    def get_best_trials(self, num_trials: int = 1) -> list[Any]:
        """The best trials of all workers, as the chief knows them, or as it has left them.

        Args:
            num_trials: at most so many.

        Returns:
            KerasTuner trials.
        """
        if self._connection.answers(2.0):
            return list(self._ask("get_best_trials", num_trials))
        self.trials.update(internals.trials_in_folder(self))
        return list(super().get_best_trials(num_trials))

    def counts(self, trial_id: str) -> bool:
        """Whether a trial of this worker still counts: another one may have ended it.

        That is so where the chief has not heard this worker for long, and given its trials away.

        Args:
            trial_id: the id of the trial.
        """
        return self._ask("get_trial", trial_id).status not in ("COMPLETED", "FAILED")

    def learn_all(self) -> None:
        """Learns the trials of all workers, when the search has ended."""
        known = internals.trials_in_folder(self)
        self.trials.update(known)
        ended = {one for one, of in known.items() if of.status in ("COMPLETED", "FAILED")}
        for order, wanted in ((self.start_order, set(known)), (self.end_order, ended)):
            order += sorted(wanted - set(order))

    def release(self) -> None:
        """Ends the part of this worker in the search: the chief gives its trials to others."""
        self._gone.set()
        self._beats = None
        self.ongoing_trials.clear()

    def _ask(self, what: str, *args: Any, **kwargs: Any) -> Any:
        """Asks the chief, and waits for it; not for an hour, and not without a word.

        Raises:
            RuntimeError: if it does not answer for long.
        """
        until, said = time.monotonic() + _PATIENCE, False
        while True:
            if self._connection.answers(5.0):
                try:
                    return getattr(self._client, what)(*args, **kwargs)
                except Exception as error:
                    if not self._connection.was_cut_off(error):
                        raise
            if not said:
                say(
                    f"the chief does not answer at {internals.chief_address()}; this worker waits "
                    f"for it, {_PATIENCE:g} s at most."
                )
                said = True
            if time.monotonic() > until:
                raise RuntimeError(
                    f"The chief at {internals.chief_address()} does not answer for "
                    f"{_PATIENCE:g} s: it was not started, or has ended. {_BETTER}."
                )

    def _beat(self) -> None:
        self._gone.clear()
        while not self._gone.wait(self._silence / _BEATS):
            running = [trial.trial_id for trial in list(self.ongoing_trials.values())]
            # A chief that does not answer now is asked again.
            with contextlib.suppress(Exception):
                if running and self._connection.answers(self._silence / _BEATS):
                    self._client.get_trial(running[0])


def _worker(place: str) -> str:
    """The worker that has a place."""
    return place.partition(_OURS)[0]


def _observations(metrics: Any) -> Iterator[tuple[int, dict[str, float]]]:
    """The results of a trial by step; of several executions one after the other."""
    by_step: dict[int, list[dict[str, float]]] = {}
    for name, tracked in metrics.metrics.items():
        for observation in tracked.get_history():
            of_step = by_step.setdefault(int(observation.step), [])
            for place, value in enumerate(observation.value):
                if place == len(of_step):
                    of_step.append({})
                of_step[place][name] = float(value)
    for step in sorted(by_step):
        for execution in by_step[step]:
            yield step, execution


def parallel(tuner: keras_tuner.Tuner) -> Chief | None:
    """Makes a tuner a chief or a worker with these guards, where the environment says so.

    Args:
        tuner: the tuner. A worker gets another oracle.

    Returns:
        The chief, or None.

    Raises:
        ValueError: if the search cannot have a chief.
    """
    role = internals.parallel_role()
    if role is not None:
        check_parallel(internals.given_oracle(tuner), type(tuner).__name__)
    if role == "chief":
        return Chief(tuner)
    if role == "worker" and not isinstance(tuner.oracle, WorkerOracle):
        tuner.oracle = WorkerOracle(internals.given_oracle(tuner))
    return None


def check_parallel(oracle: Any, who: str, alone: str | None = None) -> None:
    """Refuses searches whose trials go on with what others have left in the process.

    Args:
        oracle: the oracle of the search.
        who: the name of the tuner.
        alone: why the tuner can have no chief; None if its oracle decides.

    Raises:
        ValueError: if the environment names a chief and the search cannot have one.
    """
    if internals.parallel_role() is None:
        return
    if isinstance(oracle, keras_tuner.oracles.HyperbandOracle):
        alone = "goes on with weights and brackets of this process's trials"
    if hasattr(oracle, "trials_to_end"):
        alone = "shares its trials by a study, and needs no chief"
    if alone is not None:
        raise ValueError(
            f"`KERASTUNER_ORACLE_IP` must not be set for {who}, which {alone}; {_BETTER}. "
            f"Received: {os.environ['KERASTUNER_ORACLE_IP']!r}"
        )
