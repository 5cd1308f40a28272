"""What the processes of a study agree upon: a value, and who does what is to be done once.

Optuna's storages change a value without a look at the one before, so that two processes may both
think that theirs counts. But they give the trials of a study numbers in one order. Here each
process adds a trial to a study beside that of the search, and the lowest number decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kerasreg.tuners._study_storage import id_of, quiet

# The name of the study is that of the search with this behind it.
_ENDING = " (agreed)"
_ABOUT, _VALUE, _WORKER = "kerasreg:about", "kerasreg:value", "kerasreg:worker"


class Turn(NamedTuple):
    """Whose turn it is to do what is done once.

    Attributes:
        whose: `"mine"`, `"another"` process's, or `"done"`.
        value: what the process said that has done it, or None.
    """

    whose: str
    value: Any = None


class Agreement:
    """What is agreed upon in a study.

    Args:
        optuna: the module.
        storage: the storage of the study.
        study_name: the name of the study.
    """

    def __init__(self, optuna: Any, storage: Any, study_name: str) -> None:
        self._optuna = optuna
        self._storage, self._states = storage, optuna.trial.TrialState
        with quiet():
            self._study = optuna.create_study(
                storage=storage, study_name=study_name + _ENDING, load_if_exists=True
            )
        self._mine: dict[str, int] = {}

    def first(self, about: str, value: Any) -> Any:
        """The value that the first process has given.

        Args:
            about: what the value is of.
            value: that of this process, plain as JSON has it.
        """
        if not self._trials(about):
            self._add(about, self._states.COMPLETE, {_VALUE: value}, value=0.0)
        return self._trials(about)[0].user_attrs[_VALUE]

    def turn(self, about: str, worker: str, is_alive: Callable[[str], bool]) -> Turn:
        """Whose turn it is: that of the first process which asked and lives, until one is done.

        Args:
            about: what is to be done.
            worker: this process.
            is_alive: whether another process lives.
        """
        if about not in self._mine:
            self._add(about, self._states.RUNNING, {_WORKER: worker})
            asked = self._trials(about)
            # The last one: it may have asked before.
            self._mine[about] = max(t.number for t in asked if t.user_attrs[_WORKER] == worker)
        asked = self._trials(about)
        for trial in asked:
            if trial.state == self._states.COMPLETE:
                return Turn("done", trial.user_attrs.get(_VALUE))
        for trial in asked:
            if trial.state != self._states.RUNNING:
                continue
            if trial.number == self._mine[about]:
                return Turn("mine")
            if is_alive(trial.user_attrs[_WORKER]):
                return Turn("another")
            self._study.tell(trial.number, state=self._states.FAIL, skip_if_finished=True)
        # This process was taken for dead, and asks again.
        del self._mine[about]
        return Turn("another")

    def done(self, about: str, value: Any) -> bool:
        """Says that this process has done it; False if it was taken for dead meanwhile.

        Args:
            about: what was done.
            value: what others are to know of it.
        """
        number = self._mine.pop(about)
        try:
            trial = self._study.get_trials(deepcopy=False)[number]
            if trial.state.is_finished():
                return False
            identifier = id_of(self._storage, self._study.study_name, number)
            self._storage.set_trial_user_attr(identifier, _VALUE, value)
            self._study.tell(number, 0.0)
        except (RuntimeError, ValueError):
            return False
        return True

    def failed(self, about: str) -> None:
        """Says that this process could not do it: it is another one's turn."""
        number = self._mine.pop(about, None)
        if number is not None:
            self._study.tell(number, state=self._states.FAIL, skip_if_finished=True)

    def _trials(self, about: str) -> list[Any]:
        trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.user_attrs.get(_ABOUT) == about]

    def _add(self, about: str, state: Any, more: dict[str, Any], value: Any = None) -> None:
        attributes = {_ABOUT: about, **more}
        trial = self._optuna.create_trial(state=state, value=value, user_attrs=attributes)
        self._study.add_trial(trial)
