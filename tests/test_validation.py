"""Bounds of schedules: they may be missed by rounding, and by no more."""

import keras
import pytest

from kerasreg.layers import ScheduledDropout


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """One value at all steps, of which nothing is known before it is asked."""

    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return keras.ops.convert_to_tensor(self.value, dtype="float64")


@pytest.mark.parametrize("value", [1.0 + 5e-7, -5e-7])
def test_a_schedule_that_misses_its_bound_by_rounding_is_accepted(value):
    assert float(ScheduledDropout(Rate(value)).rate) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("value", [1.0 + 1e-5, -1e-5])
def test_one_that_misses_it_by_more_is_refused(value):
    with pytest.raises(ValueError, match="`rate` must be a schedule whose every value is"):
        ScheduledDropout(Rate(value))
