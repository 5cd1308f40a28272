"""One model at many strengths of its penalty: what becomes zero, and what that costs."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._pictures import COLOURS, MARKERS, Look, drawn_to, grid
from kerasreg._report import Report
from kerasreg._text_table import table
from kerasreg._validation import check_number
from kerasreg.lanes import Lanes
from kerasreg.regularizers import Penalty


class PathPoint(NamedTuple):
    """The training at one strength.

    Attributes:
        strength: the strength of the penalty.
        zeros: the share of the penalised weights that are exactly zero.
        logs: the loss and the metrics of the last epoch; those of the validation data have `val_`
            before their names.
    """

    strength: float
    zeros: float
    logs: dict[str, float]


@dataclasses.dataclass(frozen=True)
class RegularizationPath(Report):
    """A model at many strengths of its penalty; `str` of it is a table.

    Attributes:
        rows: a `PathPoint` for each strength, in the order given.
        weights: for each strength, the values of `model.weights`; not in `to_dict()`.
        penalised: the places in `model.weights` of the weights with the penalty.
    """

    objects = ("weights",)

    rows: tuple[PathPoint, ...]
    weights: tuple[list[np.ndarray], ...]
    penalised: tuple[int, ...]

    def __str__(self) -> str:
        names = list(self.rows[0].logs)
        rows = [[p.strength, p.zeros, *(p.logs[name] for name in names)] for p in self.rows]
        return table(["strength", "zeros", *names], rows)

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        metric: str | None = None,
        style: str | None = None,
    ) -> Any:
        """Draws the share of zeros, a metric and the weights over the strength.

        Args:
            path: a file for the picture, whose name ends with `.png` or `.svg`; None writes
                no file. The file is written beside and renamed.
            metric: one of the logs; by default the validation loss, or the loss.
            style: `"light"` or `"dark"`; None for dark where Matplotlib draws on dark paper, as
                `plt.style.use("dark_background")` has it, and else light.

        Returns:
            The Matplotlib figure, which notebooks show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if the name of the file ends otherwise, `style` is none of these, or there
                is no such metric.
            OSError: if the file cannot be written.
        """
        logs = self.rows[0].logs
        drawn = metric or ("val_loss" if "val_loss" in logs else "loss")
        if drawn not in logs:
            raise ValueError(f"`metric` must be one of {list(logs)}. Received: metric={metric!r}")

        def draw(onto: Any, look: Look) -> None:
            self._draw(onto, look, drawn)

        return drawn_to(path, "RegularizationPath.plot", 7.0, 7.0, draw, style)

    def _draw(self, drawn: Any, look: Look, metric: str) -> None:
        above, below = drawn.subplots(2, 1, sharex=True)
        order = sorted(range(len(self.rows)), key=lambda k: self.rows[k].strength)
        strengths = [self.rows[k].strength for k in order]
        zeros = [100.0 * self.rows[k].zeros for k in order]
        above.plot(strengths, zeros, color=COLOURS[0], marker=MARKERS[0])
        # The marks say which line an axis is of, also where there are no colours.
        above.set_ylabel("\u25cf penalised weights that are 0 (%)")
        right = above.twinx()
        logs = [self.rows[k].logs[metric] for k in order]
        right.plot(strengths, logs, color=COLOURS[1], marker=MARKERS[1], linestyle="--")
        right.set_ylabel(f"\u25a0 {metric}, last epoch")
        above.set_title("Zeros, score and weights by the strength of the penalty")
        values = [
            np.concatenate([self.weights[k][place].ravel() for place in self.penalised])
            for k in order
        ]
        # More lines than this show nothing: those of the largest ones.
        shown = np.argsort(-np.abs(values).max(axis=0))[:200]
        for number, line in enumerate(np.array(values)[:, shown].T):
            below.plot(strengths, line, color=COLOURS[number % len(COLOURS)], linewidth=0.8)
        below.set_ylabel("weights" if len(shown) == len(values[0]) else "200 largest weights")
        log = min(strengths) > 0
        below.set_xlabel("strength of the penalty" + (" (logarithmic)" if log else ""))
        for axes in (above, below):
            grid(axes, look, "x" if axes is above else "both")
        if log:
            below.set_xscale("log")


def regularization_path(
    model: keras.Model,
    penalty: Penalty | Sequence[Penalty],
    strengths: Sequence[float],
    x: Any = None,
    y: Any = None,
    *,
    warm_start: bool = False,
    **arguments: Any,
) -> RegularizationPath:
    """Trains a model at many strengths of its penalty, all at once.

    Each strength is a lane of one program (`kerasreg.lanes.Lanes`), and each lane
    begins with the weights of the model. With `warm_start` the strengths are trained
    one after another, in the order given. Each training then begins with the weights of the
    training before, and with a new optimizer. Use it for a problem with many minima,
    usually from the largest strength down. With an optimizer in
    `kerasreg.optimizers.Proximal` weights become exactly zero; with others they do not.

    Args:
        model: a built and compiled Keras model. The model is not changed; to go on with a row,
            `model.set_weights(path.weights[k])`.
        penalty: the penalty of `kerasreg.regularizers` whose strength is varied, or
            several penalties that get the same strength. Each is the regularizer of a
            trainable weight, and its strength is a number.
        strengths: numbers >= 0.
        x: inputs, as for `Lanes.fit`.
        y: targets.
        warm_start: whether each training begins where the training before ended.
        **arguments: other arguments of `Lanes.fit`, such as `epochs`, `batch_size` and
            `validation_data`.

    Returns:
        A `RegularizationPath`: `str` of it is a table, `plot(path)` its picture.

    Raises:
        ValueError: if an argument is outside its range; if no trainable weight has the
            penalty, or the penalty has a schedule; if the model cannot be a lane.

    scikit-learn's `lasso_path` and R's glmnet (Friedman, Hastie and Tibshirani 2010) trace
    this for linear models.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> x = np.random.default_rng(0).normal(size=(64, 5))
    >>> penalty = kerasreg.regularizers.L1(0.1)
    >>> dense = keras.layers.Dense(1, kernel_regularizer=penalty)
    >>> model = keras.Sequential([keras.Input((5,)), dense])
    >>> model.compile(kerasreg.optimizers.Proximal(keras.optimizers.SGD(0.1)), "mse")
    >>> path = kerasreg.tuners.regularization_path(
    ...     model, penalty, [3.0, 0.5, 0.0], x, x[:, :1], epochs=30, seed=0)
    >>> [row.zeros for row in path.rows]
    [1.0, 0.8, 0.0]
    """
    penalties: list[Any] = list(penalty) if isinstance(penalty, list | tuple) else [penalty]
    places = _penalised(model, penalties)
    values = [check_number("strengths", value, 0.0, math.inf) for value in strengths]
    if not values:
        raise ValueError("`strengths` must be one number or more. Received: strengths=[]")

    def assign(shown: keras.Model, lane: int) -> None:
        for each in penalties:
            each.strength.assign(values[lane])

    if not warm_start:
        lanes = Lanes.from_model(model, len(values), assign=assign)
        histories = lanes.fit(x, y, **arguments)
        return _path(values, [_weights(lanes, k) for k in range(len(values))], places, histories)
    lanes = Lanes.from_model(model, 1)
    with lanes.view(0):
        begun = [np.array(variable) for variable in model.optimizer.variables]
    histories, weights = [], []
    for k in range(len(values)):
        with lanes.view(0) as shown:
            assign(shown, k)
            for variable, value in zip(model.optimizer.variables, begun, strict=True):
                variable.assign(value)
        histories += lanes.fit(x, y, **arguments)
        weights.append(_weights(lanes, 0))
    return _path(values, weights, places, histories)


def _penalised(model: Any, penalties: Sequence[Any]) -> tuple[int, ...]:
    """The places in `model.weights` of what the penalties are on."""
    if not isinstance(model, keras.Model) or not model.built or not model.compiled:
        raise ValueError(f"`model` must be a built and compiled model. Received: {model!r}")
    weights = [weight for weight in model.weights if weight.trainable]
    for penalty in penalties:
        if not isinstance(penalty, Penalty) or penalty.schedule is not None:
            raise ValueError(
                "`penalty` must be a penalty of `kerasreg.regularizers` whose strength is a "
                f"number, not a schedule. Received: penalty={penalty!r}"
            )
        if not any(weight.regularizer is penalty for weight in weights):
            raise ValueError(
                "`penalty` must be the regularizer of a trainable weight of the model. "
                f"Received: {penalty.name}, which is on none"
            )
    return tuple(
        place
        for place, weight in enumerate(model.weights)
        if weight.trainable and any(weight.regularizer is penalty for penalty in penalties)
    )


def _weights(lanes: Lanes, lane: int) -> list[np.ndarray]:
    with lanes.view(lane) as shown:
        return [np.array(weight) for weight in shown.weights]


def _path(
    strengths: Sequence[float],
    weights: list[list[np.ndarray]],
    places: tuple[int, ...],
    histories: Sequence[Any],
) -> RegularizationPath:
    rows = []
    for strength, values, history in zip(strengths, weights, histories, strict=True):
        count = sum(values[place].size for place in places)
        zeros = sum(int((values[place] == 0).sum()) for place in places)
        logs = {name: float(of[-1]) for name, of in history.history.items()}
        rows.append(PathPoint(strength, zeros / count, logs))
    return RegularizationPath(tuple(rows), tuple(weights), places)
