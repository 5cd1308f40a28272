"""Choosing a strategy: what is refused, and what one gets.

Devices can be made once in a process, so most of this runs in one of its own.
"""

import pytest
import tensorflow as tf

from kerasreg import distribute

HEADER = """
import os
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow as tf
from kerasreg.distribute import mirrored_strategy

def refused(replicas):
    try:
        mirrored_strategy(replicas)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{replicas} replicas were not refused")
"""


@pytest.mark.parametrize("replicas", [0, -1, 1.5, "2", None, True])
def test_a_number_of_replicas_that_is_no_count_is_refused(replicas):
    with pytest.raises(ValueError, match="`replicas`"):
        distribute.mirrored_strategy(replicas)


def test_one_replica_needs_no_strategy():
    assert distribute.mirrored_strategy(1) is None


@pytest.mark.long
def test_three_replicas_on_the_cpu_add_up_and_may_be_asked_for_again(run_python):
    run_python(
        "-c",
        HEADER
        + """
strategy = mirrored_strategy(3)
assert strategy.num_replicas_in_sync == 3

@tf.function
def total():
    number = lambda: tf.distribute.get_replica_context().replica_id_in_sync_group + 1
    return strategy.reduce("SUM", strategy.run(number), axis=None)

assert int(total()) == 1 + 2 + 3
assert mirrored_strategy(1) is None
assert mirrored_strategy(2).num_replicas_in_sync == 2
assert "replicas=4" in refused(4)
""",
    )


@pytest.mark.long
def test_devices_that_tensorflow_has_fixed_already_are_refused(run_python):
    run_python(
        "-c",
        HEADER
        + """
tf.constant(1.0) + 1.0
message = refused(2)
assert "`replicas`" in message and "replicas=2" in message, message
""",
    )


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    # Stands in for a machine with one GPU.
    def listed(kind=None):
        return [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]

    monkeypatch.setattr(tf.config, "list_physical_devices", listed)
    monkeypatch.setattr(tf.config, "list_logical_devices", listed)
    with pytest.raises(ValueError, match=r"`replicas`.*GPUs, 1\..*replicas=2"):
        distribute.mirrored_strategy(2)
