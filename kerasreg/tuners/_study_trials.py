"""Which trials of an Optuna study are one trial of a search, and which count.

A trial of a search is one trial of the study, or a chain of them: when a process dies, its running
trial is marked as failed and a new one with the same parameters is queued, as Optuna does it.
Several processes may do so at once, and nothing is locked. The numbers of trials, which every
storage gives in one order, decide: of two that are the same, the one with the lower number counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

# What a trial of the study has among its user attributes.
AGAIN = "kerasreg:again"  # The number of the first trial of its chain.
ARTIFACTS = "kerasreg:artifacts"  # The names of the files that its process has shared.
ATTEMPT = "kerasreg:attempt"  # How many of the chain were before it.
DRAWN = "kerasreg:drawn"  # That all of its values were drawn.
FAILURES = "kerasreg:failures"  # How often its training has failed.
HANDED_BACK = "kerasreg:handed_back"  # That its process was told to end, and did not die.
RESULT = "kerasreg:result"  # What KerasTuner keeps of it when it has ended.
SETTING = "kerasreg:setting"  # Which of the initial settings it is.
SURPLUS = "kerasreg:surplus"  # That it does not count.
WORKER = "kerasreg:worker"  # The process that runs it.
NOBODY = "nobody"  # In the place of a process that died before it said so.

_WITH_RESULT = ("COMPLETE", "PRUNED")


class Chain(NamedTuple):
    """A trial of a search.

    Attributes:
        root: the number of its first trial in the study.
        attempts: its trials in the study, the last one last.
        rank: how many trials of the search began before it. Trials of the study that were tried
            again do not count, so that a search in which processes died has the ids, and draws the
            values, of one in which none did.
    """

    root: int
    attempts: list[Any]
    rank: int = 0

    @property
    def trial_id(self) -> str:
        """The id of the trial for KerasTuner."""
        return trial_id_of(self.rank)

    @property
    def deaths(self) -> int:
        """How many processes died while they ran it, if its last attempt broke off so too."""
        return sum(not attempt.user_attrs.get(HANDED_BACK) for attempt in self.attempts)

    @property
    def best(self) -> Any:
        """The attempt that has a result; the last one if none has."""
        for attempt in self.attempts:
            if attempt.state.name in _WITH_RESULT:
                return attempt
        return self.attempts[-1]

    @property
    def ended(self) -> bool:
        """Whether it has a result, or has failed for good."""
        return bool(self.best.state.is_finished())


def trial_id_of(rank: int) -> str:
    """The id for KerasTuner of the trial before which so many began."""
    return f"{rank:04d}"


class Standing:
    """How the trials of a study stand: which make up the trials of a search, and which count.

    It follows from the trials alone, so that all processes find the same, in whatever pieces they
    learn of them. It is carried on: a trial that has ended does not change any more, and what was
    found of it stays, so that a new trial costs the same however many there are.

    Args:
        counts: whether a trial that ended in another program counts.

    Attributes:
        chains: the trials of the search, in the order in which they began.
        surplus: the numbers of the trials of the study that do not count.
        open: the trials of the study that have not ended, by number.
        unended: the trials of the search that have not ended, by rank.
    """

    def __init__(self, counts: Callable[[Any], bool] = bool) -> None:
        self._counts = counts
        self._trials: list[Any] = []
        self._clear()

    def _clear(self) -> None:
        self.chains: list[Chain] = []
        self.surplus: set[int] = set()
        self.open: dict[int, Any] = {}
        self.unended: dict[int, Chain] = {}
        # By the number of the first trial of a chain: all that say they are of it, and its rank.
        self._families: dict[int, list[Any]] = {}
        self._ranks: dict[int, int] = {}
        self._settings: set[str | int] = set()

    @property
    def count(self) -> int:
        """How many trials of the study are known."""
        return len(self._trials)

    @property
    def last(self) -> Any:
        """The trial of the study with the highest number; None if there is none."""
        return self._trials[-1] if self._trials else None

    def take_back(self, number: int) -> None:
        """Forgets trials from a number on, which there are not after all."""
        if number < self.count:
            every, self._trials = self._trials[:number], []
            self._clear()
            self.update(every)

    def update(self, trials: Iterable[Any]) -> list[int]:
        """Takes trials of the study that are new, or of which something may be.

        Args:
            trials: the trials, by number; of those that are new none is left out.

        Returns:
            The ranks of the trials of the search to which something happened.
        """
        changed: set[int] = set()
        begin_again = False
        for trial in trials:
            number = trial.number
            is_new = number == self.count
            if is_new:
                self._trials.append(trial)
            else:
                self._trials[number] = trial
            self._see(trial)
            if not is_new and number in self._families and not self._is_first(trial):
                begin_again = True
            elif is_new and trial.user_attrs.get(AGAIN) is None:
                changed |= self._add(trial)
            else:
                changed |= self._place(trial, is_new)
        if begin_again:  # Those after it have other ranks: another program ended a trial so.
            before, every, self._trials = len(self.chains), self._trials, []
            self._clear()
            self.update(every)
            return list(range(max(before, len(self.chains))))
        return sorted(changed)

    def _see(self, trial: Any) -> None:
        """Remembers whether a trial of the study has ended."""
        if trial.state.is_finished():
            self.open.pop(trial.number, None)
        else:
            self.open[trial.number] = trial

    def _is_first(self, trial: Any) -> bool:
        """Whether a trial that is not one tried again is one of the search, for all that it is."""
        attrs = trial.user_attrs
        if attrs.get(SURPLUS):
            return False
        known = not trial.state.is_finished() or RESULT in attrs or WORKER in attrs
        return known or self._counts(trial)

    def _add(self, trial: Any) -> set[int]:
        """Adds a new trial that is not one tried again."""
        number = trial.number
        setting = trial.user_attrs.get(SETTING, number)
        # Two processes may have queued one setting.
        if setting in self._settings or not self._is_first(trial):
            self.surplus.add(number)
            return set()
        self._settings.add(setting)
        self._families[number] = [trial]
        rank = self._ranks[number] = len(self.chains)
        self.chains.append(Chain(number, [trial], rank))
        return self._find(number)

    def _place(self, trial: Any, is_new: bool) -> set[int]:
        """Puts a trial into its chain, in the place of what was known of it."""
        number = trial.number
        root = trial.user_attrs.get(AGAIN, number)
        family = self._families.get(root)
        if family is None or number < root:
            self.surplus.add(number)
            return set()
        if is_new:
            family.append(trial)
        else:
            place = next(at for at, known in enumerate(family) if known.number == number)
            family[place] = trial
        return self._find(root)

    def _find(self, root: int) -> set[int]:
        """Finds anew which trials make up a chain; gives its rank."""
        first, *others = self._families[root]
        chain = Chain(root, [first], self._ranks[root])
        for trial in others:
            attrs, number = trial.user_attrs, trial.number
            # Two processes may have taken it over, or the first one has ended it after all.
            if (
                attrs.get(SURPLUS)
                or attrs.get(ATTEMPT) != len(chain.attempts)
                or chain.best.state.name in _WITH_RESULT
            ):
                self.surplus.add(number)
            else:
                self.surplus.discard(number)
                chain.attempts.append(trial)
        self.chains[chain.rank] = chain
        if chain.ended:
            self.unended.pop(chain.rank, None)
        else:
            self.unended[chain.rank] = chain
        return {chain.rank}

    def rank_of(self, number: int) -> int | None:
        """How many trials of the search began before the one that a trial of the study belongs to.

        Args:
            number: the number of a trial of the study.

        Returns:
            The number; None if the trial does not count.
        """
        if number in self.surplus:
            return None
        return self._ranks.get(self._trials[number].user_attrs.get(AGAIN, number))

    def running(self, limit: int | None) -> list[Chain]:
        """The trials of the search that have not ended, but for those beyond a limit."""
        found = sorted(self.unended.items())
        return [chain for rank, chain in found if limit is None or rank < limit]


def lost(
    chains: Iterable[Chain], is_alive: Callable[[str], bool], is_orphan: Callable[[int], bool]
) -> list[Chain]:
    """The trials of a search that no process runs, though the study says that they run.

    Args:
        chains: the trials of the search.
        is_alive: whether a process lives, by the id of its worker.
        is_orphan: whether a running trial that names no worker has none, by its number.

    Returns:
        The trials.
    """
    gone = []
    for chain in chains:
        last = chain.attempts[-1]
        if chain.ended or last.state.name != "RUNNING":
            continue
        worker = last.user_attrs.get(WORKER)
        if is_orphan(last.number) if worker is None else not is_alive(worker):
            gone.append(chain)
    return gone
