"""Searches over models with a `train_step` of their own."""

import warnings

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from kerasreg.tuners import VectorizedRandomSearch

pytestmark = pytest.mark.shares_programs

layers = keras.layers
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5], [0.0]], "float32")


class Custom(keras.Model):
    def __init__(self, rate, alpha):
        super().__init__()
        self.hidden = layers.Dense(4, "tanh")
        self.dropout = layers.Dropout(rate)
        self.end = layers.Dense(1)
        self.alpha = alpha

    def call(self, x, training=False):
        return self.end(self.dropout(self.hidden(x), training=training))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.alpha * self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class Counts(Custom):
    """In a variable that Keras does not know, and lanes would share."""

    def __init__(self, *args):
        super().__init__(*args)
        self.steps = tf.Variable(0.0, trainable=False)

    def train_step(self, data):
        self.steps.assign_add(1.0)
        return super().train_step(data)


def search(kind, folder, trials=6, **options):
    def build(hp):
        model = kind(hp.Float("rate", 0.0, 0.5, step=0.25), hp.Float("alpha", 0.5, 2.0))
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"], jit_compile=False)
        return model

    objective = keras_tuner.Objective("val_mae", "min")
    tuner = VectorizedRandomSearch(build, objective, trials, seed=3, directory=folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tuner.search(X, Y, epochs=2, validation_data=(X, Y), verbose=0, **options)
    return tuner, [str(one.message) for one in told if one.category is UserWarning]


def test_trials_with_a_step_of_their_own_are_lanes(tmp_path):
    tuner, told = search(Custom, tmp_path)
    assert told == []
    assert [(row.program, row.trials) for row in tuner.lane_report().rows] == [(1, 6)]
    trials = list(tuner.oracle.trials.values())
    assert {trial.status for trial in trials} == {"COMPLETED"}
    assert {"loss", "mae", "val_loss", "val_mae"} <= set(trials[0].metrics.metrics)
    best = tuner.get_best_models()[0]
    found = best.evaluate(X, Y, verbose=0, return_dict=True)["mae"]
    assert found == pytest.approx(tuner.oracle.get_best_trials()[0].score, rel=1e-4)


def test_steps_that_cannot_be_traced_are_trained_alone_and_told_once(tmp_path):
    tuner, told = search(Counts, tmp_path)
    alone, summary = told
    assert "its class defines its own `train_step`, with which lanes cannot do" in alone
    assert "6 were trained alone" in summary
    (row,) = tuner.lane_report().rows
    assert (row.program, row.trials) == (None, 6)
