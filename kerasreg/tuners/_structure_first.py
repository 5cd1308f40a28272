"""A random search of trials that share a program, and the probe that finds how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg.tuners._digests import Digests
from kerasreg.tuners._plan import Plan


class StructuralProbe:
    """Tells hyperparameters that are values of a program from hyperparameters that decide on it.

    A hyperparameter is a value if a model that differs in it alone, and its
    training, share the program. The probe builds two models to try that, once for each.

    Where the training is code of the user's, which is run for trials only, a hyperparameter is a
    value if it moves a number of the model and nothing else.

    Args:
        oracle: knows the space.
        build: builds the model of hyperparameters.
        call: the arguments of `model.fit`; None where the user's code calls it.
        digests: hashes of the data.

    Attributes:
        shares: whether a setting was found that can share a program with others.
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        build: Callable[[Any], Any],
        call: tuple[tuple[Any, ...], dict[str, Any]] | None,
        digests: Digests,
    ) -> None:
        self._oracle = oracle
        self._build = build
        self._call = call
        self._digests = digests
        self._known: dict[str, bool] = {}
        self.shares = False

    def __contains__(self, name: str) -> bool:
        return self._known.get(name, False)

    def learn(self, values: Mapping[str, Any], draw: Callable[[Any], Any]) -> None:
        """Tries the hyperparameters of a setting that are not known yet.

        Args:
            values: the setting.
            draw: gives another value of a hyperparameter of the space.
        """
        space = [hp for hp in self._oracle.get_space().space if hp.name in values]
        unknown = [hp for hp in space if hp.name not in self._known]
        expected = self._program(values) if unknown else None
        self.shares |= expected is not None
        for hp in unknown:
            others = [value for value in (draw(hp) for _ in range(20)) if value != values[hp.name]]
            self._known[hp.name] = bool(
                expected is not None
                and others
                and (found := self._program({**values, hp.name: others[0]})) is not None
                and found[0] == expected[0]
                and (self._call is not None or found[1] != expected[1])
            )

    def _program(self, values: Mapping[str, Any]) -> tuple[Any, Any] | None:
        """What decides on the program of a setting, and its numbers; None if it has none."""
        hp = self._oracle.get_space()
        hp.values = dict(values)
        try:
            trial = keras_tuner.engine.trial.Trial(hp, trial_id="tried")
            model = self._build(hp)
            args, kwargs = self._call or ((), {})
            plan = Plan(trial, 0, model, model.fit, (args, {**kwargs, "callbacks": []}))
        except Exception:  # A setting that fails shares nothing.
            return None
        if plan.structure is None:
            return None
        if self._call is None:
            return plan.structure.tokens, plan.structure.numbers()
        plan.find_key(self._digests)
        return None if plan.key is None else ((plan.key, plan.epochs()), None)


class StructureFirstOracle(keras_tuner.oracles.RandomSearchOracle):
    """A random search that draws what decides on the program once for several trials.

    Args:
        *args: as for KerasTuner's oracle.
        trials_per_structure: how many trials share each structure.
        **kwargs: as for KerasTuner's oracle.

    Attributes:
        probe: tells the values from what decides on the program; None until a search runs.
    """

    def __init__(self, *args: Any, trials_per_structure: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trials_per_structure = trials_per_structure
        self.probe: StructuralProbe | None = None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = len(self.trials)
        first = sorted(self.trials)[number - number % self.trials_per_structure :][:1]
        kept: dict[str, Any] = {}
        if first and self.probe is not None:
            values = self.trials[first[0]].hyperparameters.values
            self.probe.learn(values, self._draw)
            kept = {name: value for name, value in values.items() if name not in self.probe}
        drawn = self._untried_values(kept)
        return {"status": "STOPPED" if drawn is None else "RUNNING", "values": drawn}

    def _draw(self, hp: Any) -> Any:
        return hp.random_sample(internals.next_seed(self))

    def _untried_values(self, kept: dict[str, Any]) -> dict[str, Any] | None:
        """Values that no trial had, with the kept ones if there are such; None for the end."""
        for _ in range(internals.most_collisions(self) + 1):
            hps = keras_tuner.HyperParameters()
            for hp in self.hyperparameters.space:
                hps.merge([hp])
                if hps.is_active(hp):
                    # All are drawn, so that equal seeds draw what KerasTuner's oracle draws.
                    drawn = self._draw(hp)
                    hps.values[hp.name] = kept.get(hp.name, drawn)
            if not internals.was_tried(self, hps.values):
                return dict(hps.values)
            # The structure may have no other values.
            kept = {}
        return None
