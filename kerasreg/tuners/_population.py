"""Population-based training: trials that copy each other and change while they train."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras_tuner
import numpy as np

from kerasreg._files import write_json
from kerasreg._validation import check_count, check_number
from kerasreg._warnings import warn
from kerasreg.lanes import Lanes
from kerasreg.tuners._explore import explored
from kerasreg.tuners._plan import Plan, Seen
from kerasreg.tuners._scheduler import Scheduler
from kerasreg.tuners._structure_first import StructuralProbe
from kerasreg.tuners._vectorized import VectorizedTuner


class PopulationBasedTraining(VectorizedTuner):
    """Trains a population of trials side by side; the worst become changed copies of the best.

    Every `interval` epochs the worst `quantile` of the population each take the
    weights, the optimizer's slots and the hyperparameters of one of the best
    `quantile` (exploit), and then each hyperparameter is drawn again, with
    probability `resample`, or moved: a number is multiplied by 0.8 or 1.2 within its bounds, to
    a value that its `step` allows, and a choice goes to a neighbour (explore). As in Jaderberg et
    al. 2017, "Population Based Training of Neural Networks" (arXiv:1711.09846), with
    truncation selection.

    The population is one program: a copy is one of a lane to a lane, and new
    hyperparameters are values of its variables. A hyperparameter that changes the
    structure of the model (a width, an activation) stays as it is in a trial, and
    trials of different structure are different populations.

    The result is a schedule of hyperparameters, `schedule(trial)`. The
    hyperparameters of a trial are those of its end.

    Args:
        hypermodel: a hypermodel, or a function that builds a model.
        objective: as for KerasTuner, such as `"val_loss"`.
        population: number of trials, >= 2.
        interval: epochs from exploit to exploit, >= 1.
        quantile: share of the population that is replaced, in (0, 0.5].
        resample: probability that a hyperparameter is drawn again, in [0, 1].
        max_lanes: at most so many trials at a time, >= 1. None for the whole
            population: only trials that train at the same time can copy each other.
        jit_compile: as for `kerasreg.lanes.Lanes`.
        random_numbers: as for `kerasreg.lanes.Lanes`.
        devices: as for `kerasreg.lanes.Lanes`; `max_lanes` is for each of them.
        derive_models: whether models of trials may be derived from others that the hypermodel
            built. With False it builds one for each trial.
        seed: a whole number, for the draws, the copies and the changes; None for
            another one each time.
        hyperparameters: as for `keras_tuner.RandomSearch`.
        directory: the folder of the project folder; the current folder by default.
        project_name: the name of the project folder; `"untitled_project"` by default.
        overwrite: whether a project that exists is deleted; otherwise it is resumed.
        **kwargs: other arguments of `VectorizedTuner`. `folds`, `executions_per_trial`,
            `initial_settings` and `pruner` are refused.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import tempfile, keras, numpy as np, kerasreg
    >>> def build(hp):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    ...     model.compile(keras.optimizers.SGD(rate), "mse")
    ...     return model
    >>> tuner = kerasreg.tuners.PopulationBasedTraining(
    ...     build, "val_loss", population=4, directory=tempfile.mkdtemp(), seed=1)
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> tuner.search(x, y, epochs=3, validation_data=(x, y), verbose=0)
    >>> best = tuner.oracle.get_best_trials()[0]
    >>> tuner.schedule(best)[0]["epoch"]
    0
    """

    _alone = "copies weights and settings among the trials of this process"

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        population: int = 16,
        *,
        interval: int = 1,
        quantile: float = 0.25,
        resample: float = 0.25,
        max_lanes: int | None = None,
        jit_compile: bool | str = "auto",
        random_numbers: Literal["vectorized", "keras"] = "vectorized",
        devices: Sequence[str] | None = None,
        derive_models: bool = True,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        check_count("population", population, minimum=2)
        self.interval = check_count("interval", interval)
        self.quantile = check_number("quantile", quantile, 0.0, 0.5)
        if self.quantile == 0:
            raise ValueError("`quantile` must be in (0, 0.5]. Received: quantile=0")
        self.resample = check_number("resample", resample, 0.0, 1.0)
        for name in ("folds", "executions_per_trial", "initial_settings", "pruner"):
            if name in kwargs:
                raise ValueError(f"`{name}` has no meaning for a population that exchanges.")
        oracle = keras_tuner.oracles.RandomSearchOracle(
            objective, population, seed=seed, hyperparameters=hyperparameters
        )
        self._schedules: dict[str, list[dict[str, Any]]] = {}
        self._probe: StructuralProbe | None = None  # Of the search that runs.
        self._copies = self._rounds = 0  # Copies, and epochs after which there could be some.
        super().__init__(
            oracle,
            hypermodel,
            max_lanes=population if max_lanes is None else max_lanes,
            jit_compile=jit_compile,
            random_numbers=random_numbers,
            devices=devices,
            derive_models=derive_models,
            # Weights are copied between trials, which are equally wide.
            pad_widths=False,
            directory=directory,
            project_name=project_name,
            overwrite=overwrite,
            **kwargs,
        )
        self._random = random.Random(self.oracle.seed)

    def schedule(self, trial: Any) -> list[dict[str, Any]]:
        """Returns the hyperparameters of a trial over time.

        Args:
            trial: a trial that was trained.

        Returns:
            For each change `{"epoch": first epoch, "values": hyperparameters}`,
            also of the trials that it was copied from.
        """
        if trial.trial_id not in self._schedules and os.path.exists(self._path):
            with open(self._path) as stored:
                self._schedules = {**json.load(stored), **self._schedules}
        values = trial.hyperparameters.values
        return self._schedules.get(trial.trial_id, [{"epoch": 0, "values": values}])

    @property
    def _path(self) -> str:
        return os.path.join(self.project_dir, "population.json")

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Searches, as `VectorizedTuner.search` does, and warns if no trial was copied.

        Args:
            *fit_args: given to the hypermodel's `fit`: the training data.
            **fit_kwargs: given to the hypermodel's `fit`: `validation_data`, `epochs`, ...

        Raises:
            keras_tuner.errors.FatalError: if the objective is none of the numbers of an epoch, or
                `build` returns no model.
            RuntimeError: if too many trials failed one after another.
        """
        self._copies, self._rounds = 0, 0
        super().search(*fit_args, **fit_kwargs)
        if not self._copies:
            warn(f"The population has copied no trial: {self._why_no_copies()}")

    def _why_no_copies(self) -> str:
        if self._rounds:
            return "no two trials of one program ended such an epoch with the objective."
        probe, trials = self._probe, list(self.oracle.trials.values())
        if self.distribution_strategy is not None and trials:
            return "a `distribution_strategy` trains its trials one by one."
        if probe is None or not trials:
            return "no trial was trained."
        values = trials[0].hyperparameters.values
        probe.learn(values, self._drawn)
        names = [name for name in values if name not in probe]
        if not probe.shares:
            return "its trials were trained alone, since they cannot be lanes."
        if names:
            return (
                f"no trials share a program, on which the hyperparameters {', '.join(names)} "
                "decide. Give them one value, or search them by another tuner first."
            )
        return f"no training had more epochs than `interval`, {self.interval}."

    def _new_scheduler(self, *args: Any) -> Scheduler:
        scheduler = super()._new_scheduler(*args)
        self._probe = scheduler.probe
        return scheduler

    def on_lanes_epoch_end(self, lanes: Lanes, seen: Mapping[int, Seen]) -> None:
        """Lets the worst lanes become changed copies of the best."""
        objective = self.oracle.objective
        ranked = [
            lane
            for lane, (plan, epoch, logs) in seen.items()
            # After the last epoch nothing would be trained with what is new.
            if (epoch + 1) % self.interval == 0
            and epoch + 1 < plan.epochs()[1]
            and objective.has_value(logs)
        ]
        self._rounds += len(ranked) > 1
        sign = 1.0 if objective.direction == "max" else -1.0
        # One that diverged is the worst of all, and may be saved by a copy.
        score = {lane: sign * objective.get_value(seen[lane].logs) for lane in ranked}
        ranked.sort(key=lambda lane: score[lane] if score[lane] == score[lane] else float("-inf"))
        count = min(len(ranked) // 2, max(1, round(self.quantile * len(ranked))))
        best = [lane for lane in ranked[len(ranked) - count :] if not lanes.stopped[lane]]
        for target in ranked[:count]:
            if best:
                source = self._random.choice(best)
                self._exploit(lanes, seen[source], seen[target], source, target)
        if count:
            write_json(self._path, self._schedules)

    def on_training_end(self, plan: Plan) -> None:
        """Drops the epochs of a trial before it diverged and became a copy."""
        history = getattr(plan.history, "history", {})
        if (values := history.get(self.oracle.objective.name)) and np.isfinite(values).any():
            kept = np.flatnonzero(np.isfinite(values))
            for name, column in history.items():
                history[name] = [column[index] for index in kept]

    def _exploit(self, lanes: Lanes, giver: Seen, taker: Seen, source: int, target: int) -> None:
        best, trial = giver.plan.trial, taker.plan.trial
        lanes.copy(source, target)
        self._copies += 1
        lanes.stopped[target] = False
        hp = trial.hyperparameters
        values = copy.deepcopy(best.hyperparameters.values)
        begun = self._schedules.get(best.trial_id, [{"epoch": 0, "values": copy.deepcopy(values)}])
        probe = self._probe
        assert probe is not None  # A search runs.
        probe.learn(values, self._drawn)
        for one in hp.space:
            if one.name in values and one.name in probe:
                values[one.name] = self._moved(one, values[one.name])
        hp.values = values
        try:
            lanes.assign_hyperparameters(target, self._built(hp, taker.plan))
        except ValueError:
            # Two that each change only values may change more together.
            values = copy.deepcopy(best.hyperparameters.values)
            hp.values = values
            lanes.assign_hyperparameters(target, self._built(hp, taker.plan))
        self._schedules[trial.trial_id] = [
            *begun,
            {"epoch": giver.epoch + 1, "values": copy.deepcopy(values)},
        ]

    def _built(self, hp: keras_tuner.HyperParameters, plan: Plan) -> Any:
        model = self.build_model(hp)
        if not model.built:
            plan.build(model)
        return model

    def _drawn(self, one: Any) -> Any:
        return one.random_sample(self._random.randrange(2**31))

    def _moved(self, one: Any, value: Any) -> Any:
        if self._random.random() < self.resample:
            return self._drawn(one)
        return explored(one, value, self._random)
