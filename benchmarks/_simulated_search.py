"""Searches of small models whose truth is known: their data are drawn, and more can be."""

from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from kerasreg.tuners._out_of_fold import OutOfFold
from kerasreg.tuners._trial_ensembles import select

INPUTS, FEATURES, FOLDS, TRIALS, EPOCHS, STEPS = 10, 16, 5, 16, 20, 4
NEW_ROWS = 2000
METRICS = ("log loss", "accuracy", "rmse")


def score(metric, targets, predicted):
    """The score of predictions: probabilities of the second of two classes, or numbers."""
    if metric == "rmse":
        return np.sqrt(np.mean((predicted - targets) ** 2))
    if metric == "accuracy":
        return np.mean((predicted > 0.5) == targets)
    right = np.clip(np.where(targets == 1, predicted, 1 - predicted), 1e-7, 1.0)
    return -np.mean(np.log(right))


def drawn(rng, rows, metric):
    """Inputs, and targets that follow from some of them, and from noise."""
    x = rng.normal(size=(rows, INPUTS))
    signal = x[:, 0] + 0.7 * x[:, 1] * x[:, 2] + 0.5 * np.abs(x[:, 3]) - 0.4
    if metric == "rmse":
        return x, signal + rng.normal(size=rows)
    return x, (rng.random(rows) < 1 / (1 + np.exp(-1.5 * signal))).astype(int)


class Trained(NamedTuple):
    """Trials of a search, trained in folds.

    Attributes:
        metric: one of `METRICS`.
        targets: of the samples.
        fold: of each sample.
        predicted: out of fold, an array of shape (epochs, trials, samples).
        curves: the objective, which is a loss, of shape (epochs, trials, folds).
        new: by the epochs of trials, what the mean of the models of each predicts for new samples.
        new_targets: their targets.
    """

    metric: str
    targets: np.ndarray
    fold: np.ndarray
    predicted: np.ndarray
    curves: np.ndarray
    new: Any
    new_targets: np.ndarray


def trained(rng, rows, metric, alike, trials=TRIALS, epochs=EPOCHS):
    """Trials in folds: each is a linear model of random features, trained by momentum.

    Args:
        rng: a generator.
        rows: how many samples there are.
        metric: one of `METRICS`.
        alike: whether trials differ by their random numbers alone.
        trials: how many.
        epochs: how many.

    Returns:
        A `Trained`.
    """
    x, y = drawn(rng, rows, metric)
    x_new, y_new = drawn(rng, NEW_ROWS, metric)
    scale = 1.0 if alike else np.exp(rng.uniform(-1, 1, size=(trials, 1, 1)))
    inner = scale * rng.normal(size=(trials, INPUTS, FEATURES)) / np.sqrt(INPUTS)
    shift = rng.normal(size=(trials, 1, FEATURES))

    def features(of):
        found = np.maximum(of @ inner + shift, 0.0)
        return np.concatenate([found, np.ones((*found.shape[:2], 1))], axis=2)

    def outputs(weights, of):
        found = weights @ of.transpose(0, 2, 1)
        return found if metric == "rmse" else 1 / (1 + np.exp(-found))

    def values(least, most):
        between = rng.uniform(np.log(least), np.log(most), size=(trials, 1, 1))
        return np.full_like(between, np.sqrt(least * most)) if alike else np.exp(between)

    rate, penalty = values(0.003, 0.1), values(1e-4, 0.3)
    fold = rng.permutation(rows) % FOLDS
    shares = (fold != np.arange(FOLDS)[:, None]).astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    of = features(x)
    weights = 0.1 * rng.normal(size=(trials, FOLDS, FEATURES + 1))
    speed = np.zeros_like(weights)
    predicted, kept = [], []
    for _ in range(epochs):
        for _ in range(STEPS):
            slope = ((outputs(weights, of) - y) * shares) @ of + penalty * weights
            speed = 0.9 * speed - rate * slope
            weights = weights + speed
        kept.append(weights)
        predicted.append(outputs(weights, of)[:, fold, np.arange(rows)])
    # The objective of the search is a loss, of each fold by the epoch.
    objective = "rmse" if metric == "rmse" else "log loss"
    curves = np.array(
        [
            [[score(objective, y[fold == f], p[fold == f]) for f in range(FOLDS)] for p in of_epoch]
            for of_epoch in predicted
        ]
    )

    def new(at):
        return outputs(np.array(kept)[at, np.arange(trials)], features(x_new)).mean(axis=1)

    return Trained(metric, y, fold, np.array(predicted), curves, new, y_new)


def searched(rng, rows, metric, alike):
    """A search: its predictions at best epochs, and the truth.

    Args:
        rng: a generator.
        rows: how many samples there are.
        metric: one of `METRICS`.
        alike: whether trials differ by their random numbers alone.

    Returns:
        An `OutOfFold`, and a function that tells by the shares of trials what the mean of all their
        models scores for new samples.
    """
    made = trained(rng, rows, metric, alike)
    trials = np.arange(TRIALS)
    best = made.curves.mean(axis=2).argmin(axis=0)
    together, apart = made.predicted[best, trials], np.empty((TRIALS, rows))
    for f in range(FOLDS):
        epochs = np.delete(made.curves, f, axis=2).mean(axis=2).argmin(axis=0)
        mine = made.fold == f
        apart[:, mine] = made.predicted[epochs, trials][:, mine]
    mean = made.new(best)
    names = tuple(f"{k:02d}" for k in trials)
    found = OutOfFold(names, tuple(together), made.targets, np.arange(rows), tuple(apart))
    return found, lambda shares: score(metric, made.new_targets, shares @ mean)


def like():
    """A model, compiled as those of the trials would be."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def ensemble_of(found, metric, model):
    """The ensemble that is chosen, and the shares of trials in it."""
    selection = select(
        found,
        model,
        keras_tuner.Objective("val_loss", "min"),
        lambda targets, predicted: score(metric, targets, predicted),
        "max" if metric == "accuracy" else "min",
        40,
        100.0,
        0,
        lambda *_: None,
    )
    shares = np.zeros(len(found.trial_ids))
    for row in selection.rows:
        shares[int(row.trial_id)] = row.share
    return selection, shares
