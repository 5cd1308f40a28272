"""Which hyperparameters are only values of a program, and a random search that uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras_tuner

from kerasreg.tuners._plan import Plan

if TYPE_CHECKING:
    from kerasreg.tuners._vectorized import VectorizedTuner


class ValueNames:
    """Tells hyperparameters that are values of a program from those that decide on it.

    A hyperparameter is a value if a model that differs in it alone, and its
    training, share the program. That is tried once for each.

    Args:
        tuner: builds the models.
    """

    def __init__(self, tuner: VectorizedTuner) -> None:
        self._tuner = tuner
        self._known: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        return self._known.get(name, False)

    def learn(self, values: Mapping[str, Any], draw: Callable[[Any], Any]) -> None:
        """Tries the hyperparameters of a setting that are not known yet.

        Args:
            values: the setting.
            draw: gives another value of a hyperparameter of the space.
        """
        space = [hp for hp in self._tuner.oracle.get_space().space if hp.name in values]
        unknown = [hp for hp in space if hp.name not in self._known]
        expected = self._program(values) if unknown else None
        for hp in unknown:
            others = [value for value in (draw(hp) for _ in range(20)) if value != values[hp.name]]
            self._known[hp.name] = (
                expected is not None
                and bool(others)
                and self._program({**values, hp.name: others[0]}) == expected
            )

    def _program(self, values: Mapping[str, Any]) -> Any:
        """What decides on the program of a setting, or None where it is no lane."""
        tuner = self._tuner
        args, kwargs = tuner._call
        hp = tuner.oracle.get_space()
        hp.values = dict(values)
        try:
            trial = keras_tuner.engine.trial.Trial(hp, trial_id="tried")
            plan = Plan(trial, 0, tuner._try_build(hp))
            plan.reach(tuner.hypermodel, args, {**kwargs, "callbacks": []})
        except Exception:  # A setting that fails shares nothing.
            return None
        key = plan.key(tuner._digests)
        return None if key is None else (key, plan.epochs())


class StructureFirstOracle(keras_tuner.oracles.RandomSearchOracle):
    """A random search that draws what decides on the program once for several trials.

    Args:
        *args: those of KerasTuner's oracle.
        trials_per_structure: how many trials share each structure.
        **kwargs: likewise.
    """

    def __init__(self, *args: Any, trials_per_structure: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trials_per_structure = trials_per_structure
        self.value_names: ValueNames | None = None
        self._kept: dict[str, Any] = {}

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = len(self.trials)
        first = sorted(self.trials)[number - number % self.trials_per_structure :][:1]
        self._kept = {}
        if first and self.value_names is not None:
            values = self.trials[first[0]].hyperparameters.values
            self.value_names.learn(values, self._draw)
            self._kept = {k: v for k, v in values.items() if k not in self.value_names}
        return dict(super().populate_space(trial_id))

    def _draw(self, hp: Any) -> Any:
        self._seed_state += 1
        return hp.random_sample(self._seed_state)

    def _random_values(self) -> dict[str, Any] | None:
        for _ in range(self._max_collisions + 1):
            hps = keras_tuner.HyperParameters()
            for hp in self.hyperparameters.space:
                hps.merge([hp])
                if hps.is_active(hp):
                    drawn = self._draw(hp)
                    hps.values[hp.name] = self._kept.get(hp.name, drawn)
            if not self._duplicate(hps.values):
                return dict(hps.values)
            # The structure may have no other values.
            self._kept = {}
        return None
