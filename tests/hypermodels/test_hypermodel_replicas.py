"""`DenseHyperModel` on two replicas: searches complete, and scores are exact.

Each program runs in a process of its own: logical devices must be made before
TensorFlow computes anything, and two strategies in one process can crash.
"""

import json
import math
import os

import pytest

PROGRAM = os.path.join(os.path.dirname(__file__), "replicas_program.py")


@pytest.mark.long
def test_every_tuner_of_kerastuner_searches_on_two_replicas(run_python, tmp_path):
    found = json.loads(run_python(PROGRAM, "searches", tmp_path).splitlines()[-1])
    counts = {"random": 2, "bayesian": 2, "grid": 2, "hyperband": 5, "regression": 1}
    assert found.keys() == counts.keys()
    for name, count in counts.items():
        assert found[name]["statuses"] == ["COMPLETED"] * count, name
        assert found[name]["completed"] == count
        assert math.isfinite(found[name]["best"])
        assert found[name]["learning_rate"] == [True] * count


@pytest.mark.long
def test_an_evaluation_on_two_replicas_is_exact_for_any_number_of_samples(run_python, tmp_path):
    found = json.loads(run_python(PROGRAM, "evaluation", tmp_path).splitlines()[-1])
    assert [(one["task"], one["samples"]) for one in found] == [
        (task, samples) for task in ("classification", "regression") for samples in (2, 3, 7, 8, 17)
    ]
    for one in found:
        loss, exact_loss = one["loss"]
        metric, exact_metric = one["metric"]
        assert one["penalty"] > 1e-3  # The loss contains it, once.
        assert loss == pytest.approx(exact_loss, rel=1e-5), one
        assert metric == pytest.approx(exact_metric, rel=1e-5), one
        if one["samples"] == 17:  # `validation_data` of the training, in its last epoch.
            assert one["val_loss"] == pytest.approx(exact_loss, rel=1e-5)
            assert one["val_metric"] == pytest.approx(exact_metric, rel=1e-5)
            assert len(one["learning_rate"]) == 2
            # 33 samples in batches of 8, the last one of a single sample.
            assert one["iterations"] == 2 * 5
