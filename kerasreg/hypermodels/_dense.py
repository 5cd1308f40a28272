"""A dense network whose regularization, training and shape are searched jointly."""

from __future__ import annotations

import math
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasreg import spaces
from kerasreg._validation import check_choice, check_count
from kerasreg.hypermodels._fit import fit
from kerasreg.hypermodels._output import output_layer
from kerasreg.tables import EMBEDDINGS, Table


class DenseHyperModel(keras_tuner.HyperModel):
    """A KerasTuner hypermodel of dense networks for tables.

    Searched: penalty kind and strength, dropout rate and schedule,
    learning-rate policy, optimizer, batch size, initializer, activation, width
    and depth. The network standardises its inputs itself, so that what is saved
    or exported takes raw features.

    Args:
        features: number of input columns.
        classes: number of classes, >= 2; None for regression on one target.
        epochs: length of a whole training, which schedules and policies span.
        samples: number of training samples, to count steps per epoch.
        mean: mean of each feature in the training data, shape (features,), or
            None to leave the features as they are.
        variance: variance of each feature, shape (features,). A feature that is
            constant in the training data is centred only, as scikit-learn's
            `StandardScaler` does; Keras' `Normalization` would divide what it
            meets there later by 1e-7.
        table: a `kerasreg.tables.Table`, for columns that are not all numbers without holes. The
            network takes rows of `table.arrays`, and begins with `table.encode`; `table.model`
            makes a model of raw rows of it. `mean` and `variance` are None then.
        embedding: of the numbers of `table`, see `kerasreg.tables.Table.encode`.
        widths: smallest and largest number of units of a layer.
        depths: smallest and largest number of hidden layers.
        regularized: False leaves penalty, dropout and weight decay out whatever
            the hyperparameters say: the baseline to compare with.
        seed: seed of initial weights, masks and batch order; None for other ones
            in each trial.
        name: optional name of the hypermodel.

    Raises:
        ValueError: if a number is outside its range.

    The model that `build` returns is compiled with `weighted_metrics`, so that
    padded batches (see `kerasreg.distribute`) are counted rightly. Objectives:
    `"val_accuracy"` or `"val_loss"`; the reported loss contains the penalty.

    One build declares the whole space (`declares_whole_space`): a tuner of
    `kerasreg.tuners` builds one model before the first trial. A subclass with a
    `build` of its own makes this promise anew, or the tuner explores.

    Example:

    >>> import keras_tuner, kerasreg
    >>> hypermodel = kerasreg.hypermodels.DenseHyperModel(
    ...     features=4, classes=3, epochs=5, samples=100)
    >>> hypermodel.build(keras_tuner.HyperParameters()).output_shape
    (None, 3)
    """

    declares_whole_space = True

    def __init__(
        self,
        features: int,
        classes: int | None,
        *,
        epochs: int,
        samples: int,
        mean: Any = None,
        variance: Any = None,
        table: Table | None = None,
        embedding: str = "piecewise_linear",
        widths: tuple[int, int] = (16, 256),
        depths: tuple[int, int] = (1, 3),
        regularized: bool = True,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.features = check_count("features", features)
        self.classes = None if classes is None else check_count("classes", classes, minimum=2)
        self.epochs = check_count("epochs", epochs)
        self.samples = check_count("samples", samples)
        if (mean is None) != (variance is None):
            raise ValueError("`mean` and `variance` must be given together, or neither.")
        self.mean = mean if mean is None else np.asarray(mean, dtype="float32")
        if table is not None and (mean is not None or len(table.features) != self.features):
            raise ValueError(
                f"`table` must be one of {self.features} features, as `features`, and `mean` None. "
                f"Received: a table of {len(table.features)} features, mean={mean!r}"
            )
        self.table = table
        self.embedding = check_choice("embedding", embedding, EMBEDDINGS)
        self.variance = None
        if variance is not None:
            found = np.asarray(variance, dtype="float32")
            self.variance = np.where(found > 0.0, found, np.float32(1.0))
        self.widths = tuple(check_count("widths", width) for width in widths)
        self.depths = tuple(check_count("depths", depth) for depth in depths)
        self.regularized = regularized
        self.seed = seed

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds and compiles the model of one setting."""
        depth = hp.Int("depth", *self.depths, default=self.depths[0])
        width = hp.Int("width", *self.widths, sampling="log", default=self.widths[0])
        activation = spaces.activation(hp)
        batch_size = spaces.batch_size(hp)
        steps = self.epochs * math.ceil(self.samples / batch_size)
        # Declared even where unused, so that the baseline has the same space.
        optimizer = spaces.optimizer(hp)
        spaces.learning_rate_policy(hp, 1.0, self.epochs)
        if not self.regularized:
            optimizer.weight_decay = None

        inputs = keras.Input((self.features,), name="features")
        x = inputs
        if self.mean is not None:
            layer = keras.layers.Normalization(mean=self.mean, variance=self.variance)
            x = layer(x)
        elif self.table is not None:
            x = self.table.encode(x, embedding=self.embedding, seed=self.seed)
        for index in range(depth):
            penalty = spaces.penalty(hp)
            dropout = spaces.dropout(hp, steps, seed=self._seed(index))
            x = keras.layers.Dense(
                width,
                activation=activation,
                kernel_initializer=spaces.initializer(hp, activation, seed=self._seed(index)),
                kernel_regularizer=penalty if self.regularized else None,
                name=f"hidden_{index}",
            )(x)
            if dropout is not None and self.regularized:
                x = dropout(x)
        outputs = output_layer(self.classes, self._seed(depth))(x)
        model = keras.Model(inputs, outputs, name="dense")
        if self.classes:
            loss, metric = "sparse_categorical_crossentropy", "accuracy"
        else:
            loss, metric = "mse", keras.metrics.RootMeanSquaredError(name="rmse")
        model.compile(optimizer=optimizer, loss=loss, weighted_metrics=[metric])
        # With its slots in place, a checkpoint of a trial loads whole.
        optimizer.build(model.trainable_variables)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        x: Any,
        y: Any,
        validation_data: tuple[Any, Any],
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains one setting: batch size and learning-rate policy are hyperparameters.

        Args:
            hp: the setting.
            model: what `build` returned.
            x: features, shape (samples, features).
            y: class numbers from 0, or targets, shape (samples,).
            validation_data: `(x, y)` of the validation part.
            **kwargs: passed on to `model.fit`.

        Returns:
            The history, with `learning_rate` in it.

        Raises:
            keras_tuner.errors.FailedTrialError: if the loss is not finite.
        """
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        # Made here and not passed to `search(callbacks=...)`: KerasTuner copies those.
        policy = spaces.learning_rate_policy(hp, rate, self.epochs)
        kwargs["callbacks"] = [policy, *kwargs.get("callbacks", ())]
        kwargs.setdefault("epochs", self.epochs)
        kwargs.setdefault("verbose", 0)
        size = spaces.batch_size(hp)
        return fit(model, x, y, validation_data, batch_size=size, seed=self.seed, **kwargs)

    def _seed(self, index: int) -> int | None:
        return None if self.seed is None else self.seed + index
