"""A dense network for a table, in whose space nearly everything is a value of lanes.

What is searched, and where, follows Holzmüller et al. 2024, "Better by default" (RealMLP,
arXiv:2407.04491), Gorishniy et al. 2024, "TabM" (arXiv:2410.24210), and Kadra et al. 2021,
"Well-tuned simple nets excel on tabular datasets" (arXiv:2106.11189).
"""

from __future__ import annotations

import inspect
import math
import statistics
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import keras
import keras_tuner

from kerasreg import initializers
from kerasreg._validation import check_choice, check_count
from kerasreg.hypermodels._output import output_layer
from kerasreg.layers import MixUp, ScheduledDropout
from kerasreg.losses import SparseCategoricalCrossentropy
from kerasreg.models import MixUpModel
from kerasreg.optimizers import LayerLearningRates
from kerasreg.regularizers import ElasticNet
from kerasreg.schedules import WarmupStableDecay
from kerasreg.tables import EMBEDDINGS, Table


class _Ranges(NamedTuple):
    """Where the numbers are searched whose best values differ between tasks.

    Attributes:
        l1: strengths of the absolute part of the penalty, of which one is none at all.
        l2: of the quadratic part, likewise.
        dropout: the lowest and the highest rate. Where the lowest is not 0, their logarithms are
            equally likely.
        learning_rate: the smallest and the largest one.
        weight_decay: the largest one.
        steps: of a whole training, about so many.
        depths: the smallest and the largest number of hidden layers.
    """

    l1: list[float]
    l2: list[float]
    dropout: tuple[float, float]
    learning_rate: tuple[float, float]
    weight_decay: float
    steps: int
    depths: tuple[int, int]


# Classes of small tables are soon fitted by heart; numbers take long, and little that holds back.
_CLASSIFICATION = _Ranges(
    l1=[0.0, 1e-5, 1e-4, 3e-4],
    l2=[0.0, 1e-5, 1e-4, 1e-3],
    dropout=(0.0, 0.6),
    learning_rate=(1e-3, 2e-2),
    weight_decay=1.0,
    steps=1000,
    depths=(2, 2),
)
_REGRESSION = _Ranges(
    l1=[0.0, 1e-7, 1e-6, 1e-5],
    l2=[0.0, 1e-6, 1e-5, 1e-4],
    dropout=(0.02, 0.4),
    learning_rate=(2e-3, 2.5e-2),
    weight_decay=0.1,
    steps=2000,
    depths=(3, 3),
)
_EPOCHS = (20, 100)
# So many numbers, half of which have so few values, are levels, such as the pixels of digits.
_MANY_NUMBERS, _FEW_VALUES = 32, 20
_BETA_2 = [0.9, 0.95, 0.98, 0.999]
# Shares of the training: a rate rises, stays, and falls along half a cosine in the rest.
_WARM_UP, _RISE, _FALL = 0.05, 0.25, 0.5
# What a rate of zero is taken for, so that all rates are values of one program.
_LEAST = 1e-6
# Beside sums of strengths.
_NOTHING = 1e-15
_OPTIMIZERS = ("adamw", "muon")
_EXTRAS = ("mix_up", "layer_rates", "initial_scales")
# What is searched of these: from nearly nothing to the strongest mixture of the paper; factors of
# learning rates and of initial weights, around 1.
_ALPHA = (1e-3, 1.0)
_RATES = {"embedding_rate": (0.1, 10.0), "scale_rate": (0.3, 10.0), "bias_rate": (0.1, 3.0)}
_SCALES = {"embedding_scale": (0.1, 3.0), "initial_scale": (0.3, 2.0)}


class TableHyperModel(keras_tuner.HyperModel):
    """A KerasTuner hypermodel of dense networks for a table, whose space is nearly all values.

    Searched: learning rate, decay of weights, memory of squared gradients (`beta_2` of AdamW); the
    strengths of an elastic net, each of which may be 0; rate and course of the dropout; label
    smoothing; depth, width and activation. Trials of one depth are lanes of one program. The
    hypermodel has no `fit`, so that a tuner builds few of the models.

    The learning rate rises in the first twentieth of the training, stays, and falls to a
    hundredth along half a cosine in the second half. The rate of dropout goes from one share of
    its highest value to that value, stays, and goes to another share in the second half: it may be
    constant, rise, fall or both.

    Objectives: `objective`, the log loss or the root mean squared error of the validation part,
    without penalties and without label smoothing.

    Args:
        table: a `kerasreg.tables.Table`. The network takes rows of `table.arrays`, and begins with
            `table.encode`; `table.model` makes a model of raw rows of it.
        classes: number of classes, >= 2; None for regression on one target, as `table.targets`
            standardises it.
        samples: number of samples of one training, to count its steps: with `folds=5` four
            fifths of those that are given to `search`.
        epochs: length of a whole training, to be given to `search` too. By default from 20 to 100,
            so that a training has about 1000 steps for classes and 2000 for numbers.
        batch_size: to be given to `search` too. By default a power of two from 32 to 256, with
            which an epoch has at least about 16 steps.
        embedding: of the numbers of the table, see `kerasreg.tables.Table.encode`. `"auto"` is
            `"piecewise_linear"`, but `"none"` for 32 numbers or more of which half have at most 20
            values, such as pixels: embeddings tell such values apart as if they were names.
        widths: smallest and largest number of units of a hidden layer.
        depths: smallest and largest number of hidden layers. By default there are 2 for classes and
            3 for numbers.
        activations: names of activations to choose from.
        optimizers: names of optimizers to choose from: `"adamw"` and `"muon"`, with which weights
            of the hidden layers have orthogonal steps. Each is another program.
        extras: names of what else is searched, all of it values: `"mix_up"`, the strength of a
            mixture of examples behind the embeddings; `"layer_rates"`, factors of the learning
            rates of embeddings, of the scales of numbers, and of biases; `"initial_scales"`,
            factors of the initial weights of embeddings and of hidden layers. None is there by
            default: see "How tables are read" for what they gave.
        regularized: False leaves penalties, dropout, weight decay and label smoothing out whatever
            the hyperparameters say: the baseline to compare with.
        seed: seed of initial weights and masks; None for other ones in each trial.
        name: optional name of the hypermodel.

    Attributes:
        epochs: for `search`.
        batch_size: for `search`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> import pandas, keras_tuner, kerasreg
    >>> frame = pandas.DataFrame({"x": [1.0, 2.5, 3.5, 4.0], "y": ["no", "no", "yes", "yes"]})
    >>> table = kerasreg.tables.Table(frame, target="y")
    >>> hypermodel = kerasreg.hypermodels.TableHyperModel(table, 2, samples=4, epochs=10)
    >>> hypermodel.build(keras_tuner.HyperParameters()).output_shape
    (None, 2)
    >>> hypermodel.objective.name, hypermodel.epochs, hypermodel.batch_size
    ('val_log_loss', 10, 32)
    """

    declares_whole_space = True

    def __init__(
        self,
        table: Table,
        classes: int | None,
        *,
        samples: int,
        epochs: int | None = None,
        batch_size: int | None = None,
        embedding: str = "auto",
        widths: tuple[int, int] = (128, 128),
        depths: tuple[int, int] | None = None,
        activations: Sequence[str] = ("mish",),
        optimizers: Sequence[str] = ("adamw",),
        extras: Sequence[str] = (),
        regularized: bool = True,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(table, Table):
            raise ValueError(
                f"`table` must be a `kerasreg.tables.Table`. Received: table={table!r}"
            )
        self.table = table
        self.classes = None if classes is None else check_count("classes", classes, minimum=2)
        self.samples = check_count("samples", samples)
        if batch_size is None:
            batch_size = min(max(2 ** round(math.log2(samples / 16)), 32), 256)
        self.batch_size = check_count("batch_size", batch_size)
        self._ranges = _CLASSIFICATION if self.classes else _REGRESSION
        if epochs is None:
            of_epoch = math.ceil(self.samples / self.batch_size)
            epochs = min(max(round(self._ranges.steps / of_epoch), _EPOCHS[0]), _EPOCHS[1])
        self.epochs = check_count("epochs", epochs)
        check_choice("embedding", embedding, ("auto", *EMBEDDINGS))
        self.embedding = _embedding_for(table) if embedding == "auto" else embedding
        self.widths = _range("widths", widths)
        self.depths = _range("depths", self._ranges.depths if depths is None else depths)
        self.activations = list(activations)
        self.optimizers = _names("optimizers", optimizers, _OPTIMIZERS, fewest=1)
        if "muon" in self.optimizers and "rms_rate" not in _arguments_of_muon():
            raise ValueError(
                "`optimizers` may have 'muon' where `keras.optimizers.Muon` has the argument "
                f"`rms_rate`. Received: optimizers={optimizers!r} and Keras {keras.__version__}"
            )
        self.extras = _names("extras", extras, _EXTRAS)
        self.regularized = regularized
        self.seed = seed

    @property
    def objective(self) -> keras_tuner.Objective:
        """What a search is to minimize: a proper score of the validation part."""
        return keras_tuner.Objective("val_log_loss" if self.classes else "val_rmse", "min")

    @property
    def steps(self) -> int:
        """The number of steps of a whole training."""
        return self.epochs * math.ceil(self.samples / self.batch_size)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds and compiles the model of one setting."""
        depth = hp.Int("depth", *self.depths, default=self.depths[0])
        width = hp.Int("width", *self.widths, sampling="log", default=self.widths[0])
        activation = hp.Choice("activation", self.activations)
        # All declared even where unused, so that the baseline has the same space.
        absolute, quadratic = hp.Choice("l1", self._ranges.l1), hp.Choice("l2", self._ranges.l2)
        dropout = self._dropout(hp)
        optimizer = self._optimizer(hp)
        rates = self._factors(hp, "layer_rates", _RATES)
        scales = self._factors(hp, "initial_scales", _SCALES)
        alpha = hp.Float("mix_up", *_ALPHA, sampling="log") if "mix_up" in self.extras else None
        smoothing = hp.Float("label_smoothing", 1e-3, 0.1, sampling="log") if self.classes else 0.0

        inputs = self.table.inputs()
        embedding_scale, initial_scale = scales.values()
        x = self.table.encode(
            inputs, embedding=self.embedding, initial_scale=embedding_scale, seed=self.seed
        )
        mixes = alpha is not None and self.regularized
        if mixes:
            x = MixUp(alpha, seed=self._seed(0), name="mix_up")(x)
        for index in range(depth):
            penalty = None
            if self.regularized:
                # No branch where both are 0: it would divide the trials.
                strength = absolute + quadratic
                penalty = ElasticNet(strength, quadratic / (strength + _NOTHING))
            x = keras.layers.Dense(
                width,
                activation=activation,
                kernel_initializer=self._initializer(activation, initial_scale, index),
                kernel_regularizer=penalty,
                name=f"hidden_{index}",
            )(x)
            if self.regularized:
                x = ScheduledDropout(dropout, seed=self._seed(index), name=f"dropout_{index}")(x)
        outputs = output_layer(self.classes, self._seed(depth))(x)
        model = (MixUpModel if mixes else keras.Model)(inputs, outputs, name="table_network")
        optimizer = self._with_rates(rates, optimizer, model)
        loss: Any = "mse"
        metrics: list[Any] = [keras.metrics.RootMeanSquaredError(name="rmse")]
        if self.classes:
            smoothed = smoothing if self.regularized else 0.0
            loss = SparseCategoricalCrossentropy(label_smoothing=smoothed)
            log_loss = keras.metrics.SparseCategoricalCrossentropy(name="log_loss")
            metrics = ["accuracy", log_loss]
        model.compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics)
        # With its slots in place, a checkpoint of a trial loads whole.
        optimizer.build(model.trainable_variables)
        return model

    def _dropout(self, hp: keras_tuner.HyperParameters) -> WarmupStableDecay:
        low, high = self._ranges.dropout
        sampling = "log" if low else "linear"
        rate = max(hp.Float("dropout", low, high, sampling=sampling, default=0.15), _LEAST)
        first = hp.Float("dropout_first", 0.01, 1.0, default=1.0)
        last = hp.Float("dropout_last", 0.01, 1.0, default=1.0)
        return self._course(rate, rate * first, rate * last, rise=_RISE)

    def _optimizer(self, hp: keras_tuner.HyperParameters) -> keras.optimizers.Optimizer:
        low, high = self._ranges.learning_rate
        middle = math.sqrt(low * high)
        rate = hp.Float("learning_rate", low, high, sampling="log", default=middle)
        most = self._ranges.weight_decay
        decay = hp.Float("weight_decay", 1e-3, most, sampling="log", default=1e-2)
        beta_2 = hp.Choice("beta_2", _BETA_2, default=0.95)
        course = self._course(rate, None, rate * 0.01, rise=_WARM_UP)
        # No choice of one, so that the space stays as it is known.
        several = len(self.optimizers) > 1
        name = hp.Choice("optimizer", self.optimizers) if several else self.optimizers[0]
        decay = decay if self.regularized else None
        if name == "muon":
            return keras.optimizers.Muon(
                course,
                weight_decay=decay,
                adam_weight_decay=decay,
                adam_beta_2=beta_2,
                exclude_layers=["output"],
            )
        # Its constructor refuses to go without.
        given = 0.0 if decay is None else decay
        optimizer = keras.optimizers.AdamW(course, weight_decay=given, beta_2=beta_2)
        optimizer.weight_decay = decay
        return optimizer

    def _factors(
        self, hp: keras_tuner.HyperParameters, extra: str, ranges: dict[str, tuple[float, float]]
    ) -> dict[str, float]:
        """A factor by each name, searched if the extra is."""
        if extra not in self.extras:
            return dict.fromkeys(ranges, 1.0)
        return {
            name: hp.Float(name, low, high, sampling="log", default=1.0)
            for name, (low, high) in ranges.items()
        }

    def _with_rates(
        self, rates: dict[str, float], optimizer: keras.optimizers.Optimizer, model: keras.Model
    ) -> keras.optimizers.Optimizer:
        """The optimizer with factors of learning rates, if these are searched."""
        if "layer_rates" not in self.extras:
            return optimizer
        # What a table has none of is no pattern, which would be refused.
        weighted = {layer.name for layer in model.layers if layer.weights}
        patterns = {
            "number_embedding": rates["embedding_rate"],
            "category_embedding": rates["embedding_rate"],
            "scale": rates["scale_rate"],
        }
        found = {name: rate for name, rate in patterns.items() if name in weighted}
        return LayerLearningRates(optimizer, {**found, "bias": rates["bias_rate"]})

    def _initializer(self, activation: str, scale: float, index: int) -> Any:
        """The rule for the activation; its weights times a factor, if that is searched."""
        rule: Any = initializers.for_activation(activation, seed=self._seed(index))
        if "initial_scales" not in self.extras:
            return rule
        variance = rule.scale * scale * scale
        kind = keras.initializers.VarianceScaling
        return kind(variance, rule.mode, rule.distribution, seed=self._seed(index))

    def _course(
        self, highest: float, first: float | None, last: float, *, rise: float
    ) -> WarmupStableDecay:
        """From the first value to the highest, which stays until half of the steps, to the last."""
        steps = self.steps
        falling = max(int(_FALL * steps), 1)
        rising = min(int(rise * steps), steps - falling)
        return WarmupStableDecay(
            highest,
            rising,
            stable_steps=steps - falling - rising,
            decay_steps=falling,
            start=first,
            minimum=last,
            shape="cosine",
        )

    def _seed(self, index: int) -> int | None:
        return None if self.seed is None else self.seed + index


def _embedding_for(table: Table) -> str:
    values = [column.values for column in table.columns.used if column.kind == "number"]
    are_levels = len(values) >= _MANY_NUMBERS and statistics.median(values) <= _FEW_VALUES
    return "none" if are_levels else "piecewise_linear"


def _arguments_of_muon() -> Collection[str]:
    kind = getattr(keras.optimizers, "Muon", None)
    return () if kind is None else inspect.signature(kind).parameters


def _names(argument: str, names: Any, known: Sequence[str], fewest: int = 0) -> list[str]:
    """Some of the names that are known, each once."""
    found = [names] if isinstance(names, str) or not isinstance(names, Sequence) else list(names)
    for name in found:
        check_choice(argument, name, known)
    if len(set(found)) < max(len(found), fewest):
        raise ValueError(
            f"`{argument}` must be {'at least one of' if fewest else 'some of'} "
            f"{', '.join(map(repr, known))}, each once. Received: {argument}={names!r}"
        )
    return found


def _range(argument: str, bounds: Any) -> tuple[int, int]:
    """Two whole numbers >= 1, the second not below the first."""
    try:
        low, high = (check_count(argument, number) for number in bounds)
    except (TypeError, ValueError):
        low, high = 1, 0
    if low > high:
        raise ValueError(
            f"`{argument}` must be two whole numbers >= 1, the smallest and the largest. "
            f"Received: {argument}={bounds!r}"
        )
    return low, high
