"""Callbacks whose state survives an interruption, in a file of their own."""

from __future__ import annotations

import json
import os
from typing import Any

import keras
from keras import ops

from kerasreg._files import write_json
from kerasreg._keras.internals import validates_some_epochs
from kerasreg._keras.metrics import direction_of
from kerasreg._validation import check_choice
from kerasreg.callbacks._targets import Place, Target


class Resumable(keras.callbacks.Callback):
    """A callback with what it remembers from epoch to epoch.

    Subclasses name the attributes in `remembered`, set them in `reset()` and call
    `remember()` when an epoch has ended. When an epoch begins that a saved state is for,
    they are as they were.

    Args:
        backup_dir: a folder for the state, or None.
    """

    file_name = "callback.json"
    remembered: tuple[str, ...] = ()

    def __init__(self, backup_dir: str | os.PathLike[str] | None) -> None:
        super().__init__()
        if backup_dir is not None and not isinstance(backup_dir, (str, os.PathLike)):
            raise ValueError(
                f"`backup_dir` must be a path or None. Received: backup_dir={backup_dir!r}"
            )
        self.backup_dir = None if backup_dir is None else os.fspath(backup_dir)
        # The states after the last two epochs: a process that is killed between
        # this callback and the one that writes the backup repeats an epoch.
        self._states: list[dict[str, Any]] = []
        self._saved: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._states = []
        self.reset()
        self._saved = self._read()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The epoch to resume at is known only here: a state of a training that
        # began again from epoch 0 must not be taken for this one's.
        saved, self._saved = self._saved, []
        for state in saved:
            if state["next_epoch"] == epoch:
                self.restore(state)
                self._states = [state]

    def state(self) -> dict[str, Any]:
        """The values to remember now."""
        return {name: getattr(self, name) for name in self.remembered}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what was remembered."""
        for name in self.remembered:
            setattr(self, name, state[name])

    def remember(self, next_epoch: int) -> None:
        """Writes the state, if there is a folder for it."""
        if self.backup_dir is None:
            return
        self._states = [*self._states[-1:], {**self.state(), "next_epoch": next_epoch}]
        write_json(self._state_file, {"states": self._states})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.backup_dir is not None and os.path.exists(self._state_file):
            os.remove(self._state_file)

    @property
    def _state_file(self) -> str:
        assert self.backup_dir is not None
        return os.path.join(self.backup_dir, self.file_name)

    def _read(self) -> list[dict[str, Any]]:
        if self.backup_dir is None or not os.path.exists(self._state_file):
            return []
        with open(self._state_file) as file:
            return json.load(file)["states"]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


class ResumableMover(Resumable):
    """A resumable callback that moves a target.

    Args:
        target: what is moved; see `Target`.
        backup_dir: a folder for the state, or None.
    """

    def __init__(self, target: str, backup_dir: str | os.PathLike[str] | None) -> None:
        self._target = Target(target)
        self._places: list[Place] = []
        super().__init__(backup_dir)

    @property
    def target(self) -> str:
        """The name of the target."""
        return self._target.name

    def values(self) -> list[float]:
        """The values of the target, as they are now."""
        return [float(ops.convert_to_numpy(place.variable)) for place in self._places]

    def assign(self, values: list[float]) -> None:
        """Sets the values of the target, each within the bounds of its place."""
        for place, value in zip(self._places, values, strict=True):
            place.assign(value)

    def set_model(self, model: keras.Model) -> None:
        """Takes the model, before its step is traced."""
        super().set_model(model)
        self._target.prepare(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._places = self._target.places(self.model)
        super().on_train_begin(logs)

    def state(self) -> dict[str, Any]:
        """The values to remember now."""
        return {**super().state(), "values": self.values()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes what was remembered."""
        super().restore(state)
        # A backup that was written before this callback acted has the old ones.
        self.assign(state["values"])


def check_metric(argument: str, name: Any) -> str:
    """The name of a metric, or a `ValueError`."""
    if not isinstance(name, str):
        raise ValueError(
            f"`{argument}` must be the name of a metric. Received: {argument}={name!r}"
        )
    return name


def check_mode(mode: Any) -> str:
    """A mode, or a `ValueError`."""
    return check_choice("mode", mode, ("auto", "min", "max"))


def larger_is_better(model: keras.Model, metric: str, mode: str) -> bool:
    """Whether a larger value of a metric is better; the mode `"auto"` asks the metric.

    Raises:
        ValueError: if the mode is `"auto"`, and Keras knows no direction of the metric.
    """
    direction = direction_of(model, metric) if mode == "auto" else mode
    if direction is None:
        raise ValueError(
            f"`mode` must be 'min' or 'max' for {metric!r}, since Keras does not know which "
            "values of this metric are better. Received: mode='auto'"
        )
    return direction == "max"


def logged(model: keras.Model, argument: str, metric: str, logs: dict[str, Any]) -> float | None:
    """The value of a metric in the logs of an epoch; None if the epoch has no validation.

    Raises:
        ValueError: if the logs have no such metric, and `validation_freq` is no reason for it.
    """
    if metric in logs:
        return float(logs[metric])
    validated = any(name.startswith("val_") for name in logs)
    if metric.startswith("val_") and not validated and validates_some_epochs(model):
        return None
    raise ValueError(
        f"`{argument}` must be a metric of this training: {', '.join(sorted(logs))}. "
        f"Received: {argument}={metric!r}"
    )
