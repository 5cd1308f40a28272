"""Greedy selection with replacement, against a search of all choices and what must hold of it."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as of_sklearn

from kerasreg._scoring import Scorer
from kerasreg.models import ensemble, greedy_selection

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 60)


def probabilities(seed, sharpness=1.0):
    """Predictions that are right more often than not."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(60, 3)) + sharpness * np.eye(3)[CLASSES]
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def mean_of(predictions, counts):
    return np.tensordot(np.asarray(counts) / np.sum(counts), np.asarray(predictions), 1)


def test_it_is_the_greedy_choice_and_cut_where_it_is_best():
    """Written anew: by lists of numbers of models."""
    each = [probabilities(seed) for seed in range(6)]
    chosen, best, found = [], np.inf, None
    for _ in range(7):
        candidates = [
            of_sklearn.log_loss(CLASSES, np.mean([each[k] for k in [*chosen, one]], axis=0))
            for one in range(6)
        ]
        chosen.append(int(np.argmin(candidates)))
        if min(candidates) < best - 1e-12:
            best, found = min(candidates), list(chosen)
    assert len(found) < 7  # It is cut.
    counts = greedy_selection(each, CLASSES, of_sklearn.log_loss, mode="min", steps=7)
    assert counts.tolist() == [found.count(one) for one in range(6)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
def test_it_is_never_worse_than_the_best_model_nor_better_than_all_choices(models, steps, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=7)
    each = [y + rng.normal(size=7) for _ in range(models)]
    counts = greedy_selection(each, y, "mse", steps=steps)
    assert 1 <= counts.sum() <= steps
    found = np.mean((mean_of(each, counts) - y) ** 2)
    assert found <= min(np.mean((one - y) ** 2) for one in each) + 1e-6
    if models <= 3:
        every = itertools.product(range(steps + 1), repeat=models)
        allowed = [of for of in every if 1 <= sum(of) <= steps]
        assert found >= min(np.mean((mean_of(each, of) - y) ** 2) for of in allowed) - 1e-6


@pytest.mark.parametrize(
    ("metric", "mode", "score", "sign"),
    [
        ("sparse_categorical_crossentropy", "auto", of_sklearn.log_loss, 1),
        (keras.losses.SparseCategoricalCrossentropy(), "auto", of_sklearn.log_loss, 1),
        (
            "sparse_categorical_accuracy",
            "auto",
            lambda y, p: of_sklearn.accuracy_score(y, p.argmax(1)),
            -1,
        ),
        (
            lambda y, p: of_sklearn.balanced_accuracy_score(y, p.argmax(1)),
            "max",
            lambda y, p: of_sklearn.balanced_accuracy_score(y, p.argmax(1)),
            -1,
        ),
    ],
)
def test_metrics_are_those_of_keras_and_functions(metric, mode, score, sign):
    each = [probabilities(seed, 0.3) for seed in range(8)]
    counts = greedy_selection(each, CLASSES, metric, mode=mode)
    of_mean = sign * score(CLASSES, mean_of(each, counts))
    assert of_mean < min(sign * score(CLASSES, one) for one in each)


def test_its_counts_are_weights_of_an_ensemble():
    def model(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])

    models = [model(seed) for seed in range(5)]
    x = RNG.normal(size=(60, 4)).astype("float32")
    each = [one.predict(x, verbose=0) for one in models]
    counts = greedy_selection(each, CLASSES, "sparse_categorical_crossentropy")
    both = ensemble(models, counts)
    assert len(both.members()) == np.count_nonzero(counts)
    np.testing.assert_allclose(both.predict(x, verbose=0), mean_of(each, counts), atol=1e-6)


def test_models_that_diverged_are_not_chosen():
    y = np.arange(5.0)
    lost = np.full(5, np.nan)
    assert greedy_selection([lost, y + 1], y, "mse").tolist() == [0, 1]
    with pytest.raises(ValueError, match="`predictions` must be finite for one model"):
        greedy_selection([lost], y, "mse")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"predictions": []}, r"`predictions` must be arrays of one shape"),
        ({"predictions": [np.ones(5), np.ones(4)]}, r"Received: shapes \[\(4,\), \(5,\)\]"),
        ({"targets": np.ones(4)}, r"`targets` must be as many as the 5 samples"),
        ({"metric": "accuracy"}, r"`metric` must be the name of a loss or a metric of Keras"),
        ({"metric": 3.0}, r"`metric` must be a loss or a metric"),
        ({"metric": np.dot}, r'`mode` must be "min" or "max"'),
        ({"metric": lambda y, p: np.nan, "mode": "min"}, r"`metric` must return numbers"),
        ({"mode": "best"}, r"`mode` must be one of"),
        ({"steps": 0}, r"`steps` must be a whole number >= 1"),
    ],
)
def test_bad_input(change, said):
    given = {"predictions": [np.ones(5)], "targets": np.ones(5), "metric": "mse", **change}
    with pytest.raises(ValueError, match=said):
        greedy_selection(**given)


SCORED = {
    "a loss": (keras.losses.SparseCategoricalCrossentropy(), "auto"),
    "the name of a loss": ("sparse_categorical_crossentropy", "auto"),
    "a metric that is a mean": (keras.metrics.SparseCategoricalCrossentropy(), "auto"),
    "an accuracy": (keras.metrics.SparseCategoricalAccuracy(), "auto"),
    "a sum": (keras.losses.SparseCategoricalCrossentropy(reduction="sum"), "auto"),
    "a function": (lambda y, p: -np.mean(np.log(p[np.arange(len(y)), y])), "min"),
}


@pytest.mark.parametrize("kind", SCORED)
def test_scores_that_are_computed_at_once_are_those_of_each(kind):
    generator = np.random.default_rng(1)
    y = generator.integers(0, 3, 50)
    each = [generator.dirichlet(np.ones(3), 50) for _ in range(7)]
    scorer = Scorer(*SCORED[kind])
    expected = [scorer(y, of) for of in each]
    np.testing.assert_allclose(scorer.each(y, each), expected, rtol=1e-5)


def test_the_root_of_a_mean_is_taken_of_each():
    generator = np.random.default_rng(1)
    y, each = generator.normal(size=(40, 1)), list(generator.normal(size=(5, 40, 1)))
    scorer = Scorer(keras.metrics.RootMeanSquaredError(), "auto")
    expected = [np.sqrt(np.mean((y - of) ** 2)) for of in each]
    np.testing.assert_allclose(scorer.each(y, each), expected, rtol=1e-5)
