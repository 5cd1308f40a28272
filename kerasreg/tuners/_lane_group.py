"""The lanes of a program while they train: which training each has, from its first epoch on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import keras

from kerasreg.lanes import Lanes, Replacement
from kerasreg.tuners._best_epochs import KeptEpochs
from kerasreg.tuners._lane_report import EpochClock
from kerasreg.tuners._pace import Running
from kerasreg.tuners._plan import Plan, Seen
from kerasreg.tuners._search_log import SearchLog
from kerasreg.tuners._stacking import Stacking
from kerasreg.tuners._trial import RunningTrial


class TooSlow(Exception):  # Nothing is wrong: fewer lanes begin again.
    """Lanes that would not end in time.

    Args:
        lanes: so many would.
    """

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self.lanes = lanes


class Search(Protocol):
    """What a group of lanes asks of the search that it trains for.

    Attributes:
        running: the trials that run, by id.
    """

    running: dict[str, RunningTrial]

    def watch(self, plans: Mapping[int, Plan], seen: Mapping[int, Seen]) -> Iterable[int]:
        """Reports an epoch of some lanes; returns those of all lanes that are to end.

        Args:
            plans: the training of each lane that trains.
            seen: for lanes that trained the training, its epoch and its logs.
        """

    def epoch_ended(
        self, group: LaneGroup, lanes: Lanes, seen: Mapping[int, Seen], trained: int
    ) -> None:
        """Does what is due when lanes have trained an epoch.

        Args:
            group: the group.
            lanes: its lanes.
            seen: as for `watch`.
            trained: how many lanes have trained the epoch.

        Raises:
            TooSlow: if fewer are to begin again.
        """

    def lanes_ended(
        self,
        group: LaneGroup,
        ended: Mapping[int, Plan],
        at_once: int,
        lent: Callable[[Plan], AbstractContextManager[None]],
    ) -> None:
        """Takes the results of trainings of lanes, and how long they took.

        Args:
            group: the group.
            ended: the trainings that have ended, by lane.
            at_once: how many trained at the same time.
            lent: makes the context in which the code that waits for a training goes on.
        """

    def next_plans(self, key: Any, free: int, lanes: Lanes) -> Sequence[Plan]:
        """Trainings of a program for free lanes: those that wait, and new ones.

        Args:
            key: of the program.
            free: how many lanes are free.
            lanes: all of them.
        """


class LaneGroup:
    """Trainings of one program, as its lanes, and trainings that take over lanes that are free.

    Args:
        plans: trainings of equal keys, which were taken from those that wait.
        search: the search.
        stacking: makes lanes of trainings.
        kept: keeps the weights of the best epochs.
        pace: sees how long epochs take.
        now: gives the time, in seconds.
        log: learns how many lanes train.

    Attributes:
        key: the key of the program.
        kept: as given.
        pace: as given.
        clock: the times of the epochs.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        search: Search,
        stacking: Stacking,
        *,
        kept: KeptEpochs,
        pace: Running,
        now: Callable[[], float],
        log: SearchLog,
    ) -> None:
        self.key = plans[0].key
        self.kept, self.pace = kept, pace
        self.clock = EpochClock()
        self._search, self._stacking, self._now, self._log = search, stacking, now, log
        self._plans: dict[int, Plan] = dict(enumerate(plans))  # Of the lanes that train.
        self._lanes: Lanes | None = None
        self._is_own_error = False  # An error of the search is not the lanes' fault.

    @property
    def trainings(self) -> dict[int, Plan]:
        """The trainings that are not done, by lane."""
        return dict(self._plans)

    @property
    def unfinished(self) -> list[Plan]:
        """The trainings that are not done."""
        return list(self._plans.values())

    @property
    def size(self) -> int:
        """How many lanes there are."""
        return 0 if self._lanes is None else len(self._lanes)

    @property
    def loops(self) -> Sequence[tuple[str, str]]:
        """What ran for one lane after the other."""
        return [] if self._lanes is None else self._lanes.loops

    def train(self, lanes_of: Callable[[Sequence[Plan]], Lanes]) -> Exception | None:
        """Trains, and more of the key as long as there are some; returns an error of the lanes.

        Args:
            lanes_of: gives the lanes of trainings.
        """
        plans = self.unfinished
        try:
            self._lanes = lanes_of(plans)
            self._log.lanes(len(plans))
            self._lanes.fit(
                **self._stacking.fit_arguments(plans),
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
        return None

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[Lanes]:
        """Marks what is raised within as an error of the search; gives the lanes."""
        assert self._lanes is not None
        try:
            with self.clock.paused():
                yield self._lanes
        except Exception:
            self._is_own_error = True
            raise

    def _on_epoch_end(self, epochs: list[int], logs: list[dict[str, Any]]) -> None:
        with self._own_errors() as lanes:
            self.clock.lap()
            seen = {
                lane: Seen(self._plans[lane], epochs[lane], of_lane)
                for lane, of_lane in enumerate(logs)
                if of_lane
                and self._plans[lane].watched
                and self._plans[lane].has_reached(epochs[lane])
            }
            self.kept.update(lanes, seen)
            for lane in self._search.watch(self._plans, seen):
                lanes.stopped[lane] = True
            self._search.epoch_ended(self, lanes, seen, sum(map(bool, logs)))

    def _refill(self, ended: dict[int, Any]) -> dict[int, Replacement]:
        with self._own_errors() as lanes:
            self._take_results(lanes, ended)
            free = [lane for lane in range(len(lanes)) if lane not in self._plans]
            plans = self._search.next_plans(self.key, len(free), lanes)
            taken = dict(zip(free, plans, strict=False))
            self._plans |= taken
            self.pace.take_over(taken, self._now())
            self._log.lanes(len(self._plans))
            self.kept.begin(taken)
            return {lane: self._stacking.replacement(plan) for lane, plan in taken.items()}

    def _take_results(self, lanes: Lanes, ended: Mapping[int, Any]) -> None:
        at_once = len(self._plans)
        plans = {lane: self._plans[lane] for lane in ended}
        for lane, plan in plans.items():
            plan.history, plan.error = ended[lane], ended[lane].error
            best = self.kept.take(lanes, lane)
            apart = self.kept.take(lanes, lane, apart=True)
            running = self._search.running.get(plan.trial.trial_id)
            if running is not None and plan.watched and best is not None:
                running.keep(*best, plan.which)
                if apart is not None and apart[0] is not None:
                    running.keep_apart(apart[0], apart[1], plan.which)
            if plan.thread is not None:
                with lanes.lent(lane):
                    self.unstack(lane)
            del self._plans[lane]
        lane_of = {id(plan): lane for lane, plan in plans.items()}
        self._search.lanes_ended(self, plans, at_once, lambda plan: lanes.lent(lane_of[id(plan)]))

    def unstack(self, lane: int) -> None:
        """Leaves the model of a training as Keras would leave it, for the code that waits for it.

        Args:
            lane: the lane of the training, which is not done.
        """
        lanes, plan = self._lanes, self._plans[lane]
        if lanes is None:  # The training has not begun.
            return
        model = plan.model
        lanes.unstack(lane)
        # A training that an error ended was not asked to stop.
        model.stop_training = bool(lanes.stopped[lane]) and plan.error is None
        if plan.history is not None:
            plan.history.set_model(model)
            model.history = plan.history
        for callback in plan.callbacks():
            # Past its own `set_model`, which would begin something anew.
            keras.callbacks.Callback.set_model(callback, model)

    def fail(self, error: Exception) -> list[Plan]:
        """Ends the trainings that are not done with an error, and returns them."""
        for lane, plan in self._plans.items():
            plan.error = error
            if plan.thread is not None:
                self.unstack(lane)
        plans, self._plans = self.unfinished, {}
        return plans
