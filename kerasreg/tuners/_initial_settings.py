"""Settings that a search tries before those that its oracle proposes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras_tuner

from kerasreg._keras.patching import replace
from kerasreg.tuners._explore import nearest
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._study_space import active_values

# What Hyperband keeps of a trial among the values of its hyperparameters.
_OF_HYPERBAND = "tuner/"
_GOES_ON_WITH = "tuner/trial_id"


class AdaptedSetting(NamedTuple):
    """A setting as a space can have it: what `adapt_setting` returns.

    Attributes:
        values: the value of each hyperparameter that is taken over, by name.
        unknown: names that the space does not have, or not with these other values.
        moved: by name, the values that the space does not have, where the nearest one is taken.
        left_out: by name, the values that have no nearest one.
    """

    values: dict[str, Any]
    unknown: tuple[str, ...]
    moved: dict[str, Any]
    left_out: dict[str, Any]


def adapt_setting(
    setting: Mapping[str, Any] | keras_tuner.HyperParameters,
    hyperparameters: keras_tuner.HyperParameters,
) -> AdaptedSetting:
    """Fits a setting of another search into a space, for `initial_settings` of a tuner.

    Names that the space does not have are left out. Of a value that the space does not have, the
    nearest one is taken: the bound of a range, the next place of a step, the nearest of choices
    that are numbers. A value of another kind is left out.

    Args:
        setting: values by the names of hyperparameters, or KerasTuner's hyperparameters of a trial.
        hyperparameters: the space, such as `tuner.oracle.get_space()`.

    Returns:
        An `AdaptedSetting`.

    Raises:
        ValueError: if `setting` is neither.

    Example:

    >>> import keras_tuner, kerasreg
    >>> space = keras_tuner.HyperParameters()
    >>> rate, units = space.Float("rate", 1e-3, 1e-1), space.Choice("units", [16, 32])
    >>> earlier = {"rate": 0.5, "units": 30, "momentum": 0.9}
    >>> found = kerasreg.tuners.adapt_setting(earlier, space)
    >>> found.values, found.unknown, found.moved
    ({'rate': 0.1, 'units': 32}, ('momentum',), {'rate': 0.5, 'units': 30})
    """
    given = _as_dict("setting", setting)
    values, moved, left_out = dict[str, Any](), dict[str, Any](), dict[str, Any]()

    def choose(hp: Any) -> Any:
        if hp.name not in given:
            return hp.default
        value = nearest(hp, given[hp.name])
        if value is None:
            left_out[hp.name] = given[hp.name]
            return hp.default
        if not _is_same(value, given[hp.name]):
            moved[hp.name] = given[hp.name]
        values[hp.name] = value
        return value

    active_values(hyperparameters, choose)
    unknown = tuple(name for name in given if name not in values and name not in left_out)
    return AdaptedSetting(values, unknown, moved, left_out)


class InitialSettings:
    """Lets an oracle propose given settings first, each once.

    An oracle is asked as ever. In the place of what it draws anew stands the next setting that no
    trial has, so that a search that is resumed goes on with those that are left.

    Args:
        oracle: an oracle that has no trial yet.
        settings: as `initial_settings` of a tuner.

    Raises:
        ValueError: if the settings are none, or the oracle goes through a grid.
    """

    def __init__(self, oracle: keras_tuner.Oracle, settings: Any) -> None:
        if isinstance(settings, (str, Mapping)) or not isinstance(settings, Sequence):
            raise ValueError(
                "`initial_settings` must be a list of dictionaries, each of values by the names of "
                f"hyperparameters. Received: initial_settings={settings!r}"
            )
        self._oracle = oracle
        self._given = [_as_dict("initial_settings", one) for one in settings]
        self._left: list[dict[str, Any]] = []
        if not self._given:
            return
        if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
            raise ValueError(
                "`initial_settings` must be empty for a grid search, which goes through its points "
                f"in their order. Received: {len(self._given)} settings"
            )
        if not isinstance(oracle, StudyOracle):  # Which has a queue.
            self._propose = oracle.populate_space
            replace(oracle, "populate_space", self._populate_space)

    def check(self, hypermodel: Any) -> None:
        """Completes the settings by the defaults of the space, which the oracle knows by now.

        Args:
            hypermodel: of the search, or None. It is built once for each setting that names a
                hyperparameter which the space does not have yet, as those of a layer that is one
                more than usual; the oracle learns them.

        Raises:
            ValueError: if the space does not have a name or a value.
        """
        for given in self._given:
            space = self._oracle.get_space()
            known = {hp.name for hp in space.space}
            _completed(space, {name: given[name] for name in given if name in known})
            if not known.issuperset(given) and hypermodel is not None:
                self._learn(hypermodel, given)
            self._left.append(_completed(self._oracle.get_space(), given))
        if self._left and isinstance(self._oracle, StudyOracle):
            self._oracle.enqueue(self._left)

    def _learn(self, hypermodel: Any, given: dict[str, Any]) -> None:
        oracle = self._oracle
        if not (oracle.tune_new_entries and oracle.allow_new_entries):
            return
        hp = oracle.get_space()
        hp.values = {**hp.values, **given}
        hypermodel.build(hp)
        oracle.update_space(hp)

    def _populate_space(self, trial_id: str) -> dict[str, Any]:
        proposed = dict(self._propose(trial_id))
        drawn = proposed.get("values") or {}
        # A trial that goes on with another one is none that is drawn.
        if proposed["status"] == "RUNNING" and _GOES_ON_WITH not in drawn:
            while self._left and self._was_tried(self._left[0]):
                self._left.pop(0)
            if self._left:
                kept = {name: drawn[name] for name in drawn if name.startswith(_OF_HYPERBAND)}
                proposed["values"] = {**self._left[0], **kept}
        return proposed

    def _was_tried(self, setting: Mapping[str, Any]) -> bool:
        defaults = {hp.name: hp.default for hp in self._oracle.hyperparameters.space}
        # A trial may lack what a later one has brought into the space, and had its default.
        tried = (trial.hyperparameters.values for trial in self._oracle.trials.values())
        return any(
            all(had.get(name, defaults.get(name)) == value for name, value in setting.items())
            for had in tried
        )


def _as_dict(argument: str, setting: Any) -> dict[str, Any]:
    """The values of a setting, without those by which Hyperband goes on with trials."""
    values = getattr(setting, "values", None)
    if isinstance(setting, Mapping):
        values = setting
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise ValueError(
            f"`{argument}` must have values by the names of hyperparameters. Received: {setting!r}"
        )
    return {name: values[name] for name in values if not name.startswith(_OF_HYPERBAND)}


def _completed(space: keras_tuner.HyperParameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """All active values of a setting: those that are given, and defaults."""

    def choose(hp: Any) -> Any:
        if hp.name not in given:
            return hp.default
        value = nearest(hp, given[hp.name])
        if value is None or not _is_same(value, given[hp.name]):
            raise ValueError(
                f"`initial_settings` must have values that the hyperparameter {hp.name!r} may "
                f"have: {_range_of(hp)}. Received: {given[hp.name]!r}"
            )
        return value

    values, names = active_values(space, choose), list(dict.fromkeys(hp.name for hp in space.space))
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                "`initial_settings` must name hyperparameters of the search. "
                f"Received: {name!r} = {given[name]!r}{hint}"
            )
        if name not in values:
            raise ValueError(
                "`initial_settings` must name hyperparameters that are active with the other "
                f"values. Received: {name!r} = {given[name]!r}, which is not"
            )
    return values


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, but for the rounding of a number."""
    if isinstance(one, bool) or not isinstance(one, (int, float)):
        return bool(one == other)
    return math.isclose(one, other, rel_tol=1e-9)


def _range_of(hp: Any) -> str:
    if not hasattr(hp, "min_value"):
        return f"one of {list(hp.values)}"
    whole = "whole numbers " if isinstance(hp.min_value, int) else ""
    steps = "" if hp.step in (None, 1) else f" in steps of {hp.step}"
    return f"{whole}from {hp.min_value} to {hp.max_value}{steps}"
