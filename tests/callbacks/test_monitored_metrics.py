"""What callbacks monitor: which values are better, and epochs that have no validation."""

import keras
import numpy as np
import pytest

from kerasreg._keras.internals import validates_some_epochs
from kerasreg.callbacks import AdaptiveRegularization, ReduceOnPlateau
from kerasreg.layers import ScheduledDropout

X, Y = np.zeros((2, 1)), np.ones((2, 1))


def small_model(**options):
    keras.utils.set_random_seed(0)
    layers = [ScheduledDropout(0.2), keras.layers.Dense(1, use_bias=False)]
    model = keras.Sequential([keras.Input((1,)), *layers])
    model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True, **options)
    return model


def fit(*callbacks, model=None, epochs=6, **options):
    """From inputs of zero nothing can be learned: every epoch is a plateau."""
    options = {"validation_data": (X, Y), **options}
    model = small_model() if model is None else model
    return model.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks), **options).history


# Which values are better.


def two_decoders():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,))
    hidden = ScheduledDropout(0.2)(inputs)
    names = ("decoder1", "decoder2")  # There is an `r2` in the second.
    model = keras.Model(inputs, [keras.layers.Dense(1, name=name)(hidden) for name in names])
    model.compile(keras.optimizers.SGD(1.0), ["mse", "mse"], run_eagerly=True)
    return model


@pytest.mark.parametrize("name", ["decoder1_loss", "decoder2_loss"])
def test_the_loss_of_an_output_is_a_loss_whatever_is_in_its_name(name):
    options = {"min_value": 0.05, "max_value": 0.6, "high_gap": 0.1, "factor": 1.25}
    adaptive = AdaptiveRegularization("dropout", metric=name, **options)
    far = (X, [Y + 2, Y + 2])  # Validation is far worse than training.
    model = two_decoders()
    model.optimizer.learning_rate.assign(0.0)
    history = model.fit(
        X, [Y, Y], epochs=3, verbose=0, validation_data=far, callbacks=[adaptive]
    ).history
    assert min(history["gap"]) > 0.1
    assert history["dropout"] == pytest.approx([0.2, 0.25, 0.3125])


def test_a_loss_of_an_output_that_falls_is_no_plateau():
    model = two_decoders()
    model.optimizer.learning_rate.assign(0.05)
    callback = ReduceOnPlateau("val_decoder2_loss", patience=2)
    history = model.fit(
        X + 1, [Y, Y], epochs=6, verbose=0, validation_data=(X + 1, [Y, Y]), callbacks=[callback]
    ).history
    assert np.all(np.diff(history["val_decoder2_loss"]) < -1e-4)
    assert history["learning_rate"] == pytest.approx([0.05] * 6)


# Epochs without validation.


@pytest.mark.short("frequency3-rates3")
@pytest.mark.parametrize(
    ("frequency", "rates"),
    [
        (1, [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        (2, [1, 1, 1, 1, 1, 1, 0.5, 0.5]),
        (3, [1] * 8),
        ([1, 2, 5, 6], [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]),
        (100, [1] * 8),
    ],
)
def test_epochs_without_validation_do_not_count_as_with_keras(frequency, rates):
    options = {"epochs": 8, "validation_freq": frequency}
    history = fit(ReduceOnPlateau(patience=2, factor=0.5), **options)
    assert history["learning_rate"] == rates
    theirs = fit(keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5), **options)
    assert theirs["learning_rate"] == rates


def test_a_cooldown_is_of_validated_epochs():
    reduce = ReduceOnPlateau(patience=1, factor=0.5, cooldown=1)
    history = fit(reduce, epochs=10, validation_freq=2)
    # Validated: epochs 1 (the best), 3 (reduces), 5 (cools down), 7 (reduces), 9.
    assert history["learning_rate"] == [1] * 4 + [0.5] * 4 + [0.25] * 2


def test_a_metric_of_training_is_there_in_each_epoch():
    history = fit(ReduceOnPlateau("loss", patience=2, factor=0.5), validation_freq=2)
    assert history["learning_rate"] == [1, 1, 1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_gaps_are_of_validated_epochs(smoothing):
    options = {"min_value": 0.05, "max_value": 0.5, "high_gap": 0.1, "factor": 2.0}
    adaptive = AdaptiveRegularization("dropout", smoothing=smoothing, **options)
    history = fit(adaptive, epochs=5, validation_data=(X, Y + 1), validation_freq=2)
    gap = (1 + 1) ** 2 - 1
    assert history["dropout"] == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.5])
    assert np.isnan(history["gap"][0])
    assert history["gap"][1:] == pytest.approx([gap] * 4)


def test_a_state_is_written_after_epochs_without_validation_too(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def reduce(folder):
        return ReduceOnPlateau(patience=2, factor=0.5, backup_dir=folder)

    options = {"epochs": 8, "validation_freq": 3}
    whole, model = fit(reduce(None), **options), small_model()
    with pytest.raises(KeyboardInterrupt):
        fit(reduce(tmp_path), Stop(), model=model, **options)
    rest = fit(reduce(tmp_path), model=model, initial_epoch=4, **options)
    assert rest["learning_rate"] == whole["learning_rate"][4:]


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: ReduceOnPlateau("val_los"), "Received: monitor='val_los'"),
        (lambda: ReduceOnPlateau("los"), "Received: monitor='los'"),
        (
            lambda: AdaptiveRegularization("dropout", 0.1, max_value=0.5, metric="mae"),
            "Received: metric='mae'",
        ),
    ],
)
@pytest.mark.parametrize("frequency", [1, 2])
def test_a_metric_that_no_epoch_has_is_refused(callback, message, frequency):
    with pytest.raises(ValueError, match=message):
        fit(callback(), validation_freq=frequency)


@pytest.mark.parametrize(
    "callback",
    [
        lambda: ReduceOnPlateau(),
        lambda: AdaptiveRegularization("dropout", 0.1, max_value=0.5),
    ],
)
def test_without_validation_data_a_frequency_is_no_reason(callback):
    with pytest.raises(ValueError, match="val_loss"):
        fit(callback(), validation_data=None, validation_freq=2)


def test_the_fit_that_is_asked_is_that_of_the_model():
    seen = []

    class Ask(keras.callbacks.Callback):
        def __init__(self, other=None):
            super().__init__()
            self.other = other

        def on_epoch_end(self, epoch, logs=None):
            seen.append(validates_some_epochs(self.other or self.model))

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def fit(self, *args, **kwargs):
            return super().fit(*args, **kwargs)

    own = Own()
    own.compile("sgd", "mse")
    fit(Ask(), model=own, epochs=1, validation_freq=2)
    fit(Ask(), epochs=1)
    fit(Ask(own), epochs=1, validation_freq=2)
    assert seen == [True, False, False]
    assert not validates_some_epochs(own)
