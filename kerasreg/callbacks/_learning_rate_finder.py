"""The learning-rate range test (Smith 2017, arXiv:1506.01186; Howard and Gugger, fastai)."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kerasreg._validation import check_above, check_below_one, check_count, check_positive
from kerasreg.callbacks._learning_rate_range import RangeTestResult
from kerasreg.callbacks._targets import Place, Target, batches_of_a_step, scope_of
from kerasreg.callbacks._training_snapshot import TrainingSnapshot, independent

_FEWEST = 5  # Losses, of which something can be said.


@keras.saving.register_keras_serializable(package="kerasreg")
class LearningRateFinder(keras.callbacks.Callback):
    """Trains a few batches with a learning rate that grows, and puts everything back.

    Step i is made with the rate `low · (high / low)^(i / (steps - 1))`. A step is one batch;
    with `steps_per_execution` it is such a group of batches, and with gradient accumulation
    the batches of which the optimizer gathers gradients, whose loss is their mean. The loss is
    smoothed, `s = smoothing · s + (1 - smoothing) · loss`, over `1 - smoothing^(i + 1)`; the
    test ends after `steps` steps, or when the smoothed loss is above `divergence` times
    its least, or is not finite. Then all variables of the model and its optimizer, and the
    generators of Python, NumPy, Keras and TensorFlow, are as they were before.

    As a callback it makes of a `fit` the test: it stops it, and with arrays the next `fit`
    begins where this one did. A `tf.data` pipeline and a `PyDataset` keep their order
    themselves: there, `find_learning_rate` works on a copy.

    Args:
        low: the first learning rate, a number > 0.
        high: the last one, a number > `low`.
        steps: how many, a whole number >= 5. If the training has fewer, as many as it has.
        smoothing: from 0, no smoothing, to below 1.
        divergence: a number > 1.

    Attributes:
        result: a `RangeTestResult`, when the training has ended.

    Raises:
        ValueError: if an argument is outside its range; when training begins, if the
            optimizer has a schedule, if the model is not built, or on the JAX backend; at
            its end, if there were less than five losses.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> keras.utils.set_random_seed(0)
    >>> x = np.random.normal(size=(3200, 4))
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> finder = kerasreg.callbacks.LearningRateFinder(steps=100)
    >>> history = model.fit(x, x[:, :1], 32, verbose=0, callbacks=[finder])
    >>> 1e-2 < finder.result.steepest < 1.0
    True
    """

    def __init__(
        self,
        low: float = 1e-7,
        high: float = 10.0,
        *,
        steps: int = 100,
        smoothing: float = 0.98,
        divergence: float = 4.0,
    ) -> None:
        super().__init__()
        self.low = check_positive("low", low)
        self.high = check_above("high", high, self.low)
        self.steps = check_count("steps", steps, minimum=_FEWEST)
        self.smoothing = check_below_one("smoothing", smoothing)
        self.divergence = check_above("divergence", divergence, 1.0)
        self.result: RangeTestResult | None = None
        self._places: list[Place] = []
        self._state: TrainingSnapshot | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if keras.backend.backend() == "jax":
            raise ValueError(
                "`LearningRateFinder` is not for the JAX backend, where callbacks see the losses "
                "of single batches too late."
            )
        self._places = Target("learning_rate").places(self.model)
        if not self.model.built:
            raise ValueError(
                "`model` must be built, so that its weights can be put back: give it an Input, or "
                f"call it once. Received: {self.model.name!r}"
            )
        if not self.model.optimizer.built:
            with scope_of(self.model):
                self.model.optimizer.build(self.model.trainable_variables)
        self._state = TrainingSnapshot(self.model)
        self.result = None
        self._losses: list[float] = []
        self._rates: list[float] = []
        self._smoothed: list[float] = []
        self._average = 0.0
        self._diverged = False
        self._count = self.steps
        # What callbacks see of a step: groups of batches, each with its loss.
        group = self.model.steps_per_execution
        self._calls_of_a_step = math.ceil(batches_of_a_step(self.model) / group)
        self._loss_of_step: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        batches = self.params.get("steps")
        if batches is not None and not self._rates:
            # As many as callbacks see; only here is it known which epoch is the first.
            seen = math.ceil(batches / self.model.steps_per_execution)
            seen *= self.params.get("epochs", 1) - epoch
            self._count = min(self.steps, seen // self._calls_of_a_step)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Keras begins anew in each epoch, also within a step.
        self.model.reset_metrics()
        if self._loss_of_step:
            return
        passed = len(self._rates) / max(self._count - 1, 1)
        rate = math.exp(math.log(self.low) + passed * math.log(self.high / self.low))
        self._rates.append(rate)
        for place in self._places:
            place.assign(rate)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._loss_of_step.append(float((logs or {}).get("loss", math.nan)))
        if len(self._loss_of_step) < self._calls_of_a_step:
            return
        loss = float(np.mean(self._loss_of_step))
        self._loss_of_step = []
        self._average = self.smoothing * self._average + (1.0 - self.smoothing) * loss
        smoothed = self._average / (1.0 - self.smoothing ** len(self._rates))
        least = min([smoothed, *self._smoothed])
        # Of a loss below zero, what is far above the least is measured by its size.
        if not math.isfinite(smoothed) or smoothed - least > (self.divergence - 1) * abs(least):
            self._rates.pop()
            self._diverged = self.model.stop_training = True
            return
        self._losses.append(loss)
        self._smoothed.append(smoothed)
        if len(self._losses) >= self._count:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        assert self._state is not None
        self._state.restore()
        self._state = None
        if len(self._losses) < _FEWEST:
            raise ValueError(
                f"`low` must be a rate with which the loss does not explode, and the data must "
                f"have at least {_FEWEST} batches. Received: low={self.low:g}, and "
                f"{len(self._losses)} losses"
            )
        rates = self._rates[: len(self._losses)]
        self.result = RangeTestResult(
            np.array(rates), np.array(self._losses), np.array(self._smoothed), self._diverged
        )

    def get_config(self) -> dict[str, Any]:
        names = ("low", "high", "steps", "smoothing", "divergence")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateFinder:
        return cls(**config)


def find_learning_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.98,
    divergence: float = 4.0,
    **fit_arguments: Any,
) -> RangeTestResult:
    """Finds learning rates with which a model trains well, and leaves it as it was.

    The test of `LearningRateFinder`, over as many epochs as it needs. A `tf.data.Dataset` is
    copied, without its caches, and a `PyDataset` is not told of epochs, so that the order of
    the next pass stays what it was. What functions of the pipeline keep themselves, such as a
    `tf.random.Generator` or a file, is not put back.

    Args:
        model: a compiled model.
        x: what `fit` takes: arrays, a `tf.data.Dataset`, or a `PyDataset`. No generator,
            which could not be begun anew.
        y: targets, where `x` has none.
        low: the first learning rate, a number > 0.
        high: the last one, a number > `low`.
        steps: how many, a whole number >= 5.
        smoothing: from 0 to below 1.
        divergence: a number > 1.
        **fit_arguments: others of `fit`, such as `batch_size`, `sample_weight`.

    Returns:
        A `RangeTestResult`.

    Raises:
        ValueError: if an argument is none of these, or the loss explodes at once.

    Example:

    >>> import keras, numpy as np
    >>> from kerasreg.callbacks import find_learning_rate
    >>> keras.utils.set_random_seed(0)
    >>> x = np.random.normal(size=(64, 4))
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> found = find_learning_rate(model, x, x[:, :1], batch_size=8, steps=50)
    >>> model.optimizer.learning_rate = found.steepest
    """
    if not isinstance(model, keras.Model) or getattr(model, "optimizer", None) is None:
        raise ValueError(f"`model` must be a compiled keras.Model. Received: model={model!r}")
    if hasattr(x, "__next__"):
        raise ValueError(
            "`x` must be arrays, a tf.data.Dataset or a PyDataset, no generator, which could not "
            f"be begun anew. Received: x={x!r}"
        )
    finder = LearningRateFinder(low, high, steps=steps, smoothing=smoothing, divergence=divergence)
    callbacks = [*(fit_arguments.pop("callbacks", None) or []), finder]
    # As many as it needs where each has one batch.
    epochs = steps * batches_of_a_step(model)
    arguments = {"verbose": 0, **fit_arguments, "epochs": epochs, "callbacks": callbacks}
    copied = independent(x)
    if not model.built:
        with scope_of(model):
            model(_first_inputs(copied))
    if not model.optimizer.built:
        with scope_of(model):
            model.optimizer.build(model.trainable_variables)
    state = TrainingSnapshot(model)
    # An endless pipeline has no epochs but those that are asked for.
    cardinality = getattr(copied, "cardinality", lambda: 0)()
    if int(cardinality) == -1:
        arguments.setdefault("steps_per_epoch", steps)
    try:
        model.fit(copied, y, **arguments)
    finally:
        # Again, since what prepares batches runs ahead, until `fit` has ended.
        state.restore()
    assert finder.result is not None
    return finder.result


def _first_inputs(x: Any) -> Any:
    """Inputs that a model can be built with: of the first batch, or of the first sample."""
    if isinstance(x, keras.utils.PyDataset):
        return x[0][0]
    if hasattr(x, "element_spec"):
        return keras.utils.unpack_x_y_sample_weight(next(iter(independent(x))))[0]
    return keras.tree.map_structure(lambda array: array[:1], x)
