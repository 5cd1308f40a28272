"""Scores of models, and of differences between them, beside scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from kerasreg.cli._scores import differences, format_scores, paired_difference, score


def probabilities(rows=40, classes=3, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    found = rng.dirichlet(np.ones(classes), rows).astype(dtype)
    return rng.integers(0, classes, rows), found


def test_classification_scores_by_hand():
    # Class 2 is never predicted: its precision counts as 0, not as missing.
    y = np.array([0, 0, 0, 1, 1, 2])
    outputs = np.eye(3)[[0, 0, 1, 1, 1, 1]] * 0.5 + 0.1
    found = score(y, outputs, classification=True)
    assert found == pytest.approx(
        {
            "log_loss": -(4 * np.log(0.75) + 2 * np.log(0.125)) / 6,
            "accuracy": 4 / 6,
            "precision": (1.0 + 2 / 4 + 0.0) / 3,
            "recall": (2 / 3 + 1.0 + 0.0) / 3,
            "f1": (0.8 + 2 / 3 + 0.0) / 3,
        }
    )


def test_regression_scores_by_hand():
    y = np.array([1.0, 2.0, 3.0, 6.0])
    found = score(y, np.array([[1.0], [2.0], [5.0], [4.0]]), classification=False)
    assert found == pytest.approx({"r2": 1.0 - 8.0 / 14.0, "rmse": 2.0**0.5})


def test_the_log_loss_is_scikit_learns_also_of_a_class_that_was_excluded():
    y, outputs = probabilities()
    outputs[3] = np.eye(3)[(y[3] + 1) % 3]
    expected = metrics.log_loss(y, outputs, labels=[0, 1, 2])
    assert score(y, outputs, True)["log_loss"] == pytest.approx(expected, rel=1e-4)
    # In double precision it is the same number.
    assert score(y, outputs.astype("float64"), True)["log_loss"] == pytest.approx(
        expected, rel=1e-4
    )


def test_a_paired_difference_is_that_of_the_scores_with_a_standard_error_of_its_own():
    y, a = probabilities(rows=2000, seed=1)
    b = 0.9 * a + 0.1 / 3
    difference, error = paired_difference(y, a, b, True)
    expected = score(y, a, True)["log_loss"] - score(y, b, True)["log_loss"]
    assert difference == pytest.approx(expected)
    each = np.log(b[np.arange(2000), y]) - np.log(a[np.arange(2000), y])
    assert error == pytest.approx(each.std(ddof=1) / np.sqrt(2000), rel=1e-3)
    assert paired_difference(y, b, b, True) == (0.0, 0.0)
    # The same of other rows is worth less.
    assert np.isnan(paired_difference(y[:1], a[:1], b[:1], True)[1])


def test_a_paired_difference_of_numbers_is_of_squared_errors():
    y = np.array([1.0, 2.0, 4.0])
    a, b = np.array([[2.0], [2.0], [7.0]]), np.array([1.0, 3.0, 4.0])
    difference, error = paired_difference(y, a, b, False)
    assert difference == pytest.approx((1 - 1 + 9) / 3)
    assert error == pytest.approx(np.std([1, -1, 9], ddof=1) / 3**0.5)
    # In a table it is one of RMSE.
    found = differences(y, {"a": a, "b": b}, False, "b")
    roots = [score(y, each, False)["rmse"] for each in (a, b)]
    assert set(found) == {"a"}
    assert found["a"] == pytest.approx((roots[0] - roots[1], error / sum(roots)))


def test_the_printed_table_has_a_row_for_each_model():
    text = format_scores(
        {"baseline": {"r2": -0.5, "rmse": 1234.56789}, "winner": {"r2": 1.0, "rmse": 0.0}}
    )
    assert [line.split() for line in text.splitlines()] == [
        ["r2", "rmse"],
        ["baseline", "-0.5000", "1234.5679"],
        ["winner", "1.0000", "0.0000"],
    ]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_printed_table_has_differences_to_a_reference():
    scores = {
        "ensemble": {"r2": 0.5, "rmse": 123456.789},
        "HistGradientBoosting": {"r2": 0.25, "rmse": 223456.789},
    }
    text = format_scores(scores, {"HistGradientBoosting": (1e5, 250.5)}, "ensemble")
    assert [line.split() for line in text.splitlines()] == [
        ["r2", "rmse", "rmse", "-", "that", "of", "ensemble"],
        ["ensemble", "0.5000", "123457"],
        ["HistGradientBoosting", "0.2500", "223457", "+100000", "±", "250.5000"],
    ]
    assert len({len(line) for line in text.splitlines()}) == 1
