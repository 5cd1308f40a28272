"""The weights of each lane are those of its best epoch, whichever epoch that is."""

import keras_tuner
import numpy as np
import pytest

from kerasreg.tuners._best_epochs import BestEpochs

pytestmark = pytest.mark.shares_programs


class Weights:
    """In place of lanes: one weight of each, which is the number of the epoch."""

    def __init__(self):
        self.epoch = -1

    def get_values(self):
        self.epoch += 1
        return [np.full((2, 1), float(self.epoch))]


@pytest.mark.parametrize(
    ("direction", "scores", "best"),
    [
        ("min", [[3.0, 1.0], [2.0, 2.0], [4.0, 3.0]], [(2.0, 1.0), (1.0, 0.0)]),
        ("max", [[3.0, 1.0], [2.0, 2.0], [4.0, 1.0]], [(4.0, 2.0), (2.0, 1.0)]),
    ],
)
def test_the_weights_are_those_of_the_best_epoch(direction, scores, best):
    kept = BestEpochs(keras_tuner.Objective("score", direction), 2)
    lanes = Weights()
    for of_lanes in scores:
        kept.update(lanes, [{"score": score} for score in of_lanes])
        lanes.epoch = scores.index(of_lanes)
    found = [kept.take(lane) for lane in range(2)]
    assert [(score, float(values[0][0])) for score, values in found] == best


def test_a_lane_that_has_stopped_keeps_its_weights():
    kept = BestEpochs(keras_tuner.Objective("score", "min"), 2)
    lanes = Weights()
    kept.update(lanes, [{"score": 3.0}, {"score": 3.0}])
    kept.update(lanes, [{}, {"score": 2.0}])
    assert [float(kept.take(lane)[1][0][0]) for lane in range(2)] == [0.0, 1.0]
