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


class Standing(NamedTuple):
    """How the trials of a study stand.

    Attributes:
        chains: the trials of the search, in the order in which they began.
        surplus: the numbers of the trials of the study that do not count.
    """

    chains: list[Chain]
    surplus: set[int]


def standing(trials: Iterable[Any], counts: Callable[[Any], bool] = bool) -> Standing:
    """Finds which trials of a study make up the trials of a search.

    Args:
        trials: the trials of the study, by number.
        counts: whether a trial that ended in another program counts.

    Returns:
        The `Standing`. It follows from the trials alone, so that all processes find the same.
    """
    chains: dict[int, Chain] = {}
    surplus: set[int] = set()
    settings: set[str] = set()
    for trial in trials:
        attrs, number = trial.user_attrs, trial.number
        root = attrs.get(AGAIN)
        if attrs.get(SURPLUS):
            surplus.add(number)
        elif root is not None:
            chain = chains.get(root)
            # Two processes may have taken it over, or the first one has ended it after all.
            if (
                chain is None
                or attrs.get(ATTEMPT) != len(chain.attempts)
                or chain.best.state.name in _WITH_RESULT
            ):
                surplus.add(number)
            else:
                chain.attempts.append(trial)
        elif attrs.get(SETTING, number) in settings:
            surplus.add(number)
        elif not trial.state.is_finished() or RESULT in attrs or WORKER in attrs or counts(trial):
            settings.add(attrs.get(SETTING, number))
            chains[number] = Chain(number, [trial])
        else:
            surplus.add(number)
    ranked = [chain._replace(rank=rank) for rank, chain in enumerate(chains.values())]
    return Standing(ranked, surplus)


def rank_of(found: Standing, number: int) -> int | None:
    """How many trials of the search began before the one that a trial of the study belongs to.

    Args:
        found: how the trials stand.
        number: the number of a trial of the study.

    Returns:
        The number; None if the trial does not count.
    """
    for rank, chain in enumerate(found.chains):
        if any(attempt.number == number for attempt in chain.attempts):
            return rank
    return None


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
