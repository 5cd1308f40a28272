"""Lanes that are divided among devices: each lane is what it is on one."""

import json
import os

import keras
import pytest

from kerasreg import lanes, tuners
from kerasreg._devices import check_devices
from kerasreg.lanes._shares import shares_over

PROGRAM = os.path.join(os.path.dirname(__file__), "devices_program.py")


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def found(request, run_python):
    flags = "--xla_force_host_platform_device_count=4"
    printed = run_python(PROGRAM, KERAS_BACKEND=request.param, XLA_FLAGS=flags)
    return json.loads(printed.splitlines()[-1])


@pytest.mark.long
def test_a_lane_is_the_same_on_one_device_and_among_several(found):
    assert len(found["devices"]) == 4
    assert max(found["differences"].values()) < 1e-5


@pytest.mark.long
def test_each_device_computes(found):
    assert len(found["computed"]) == 3


@pytest.mark.long
def test_a_search_has_lanes_on_each_device(found):
    of_one, of_two = found["scores"]
    assert of_two == pytest.approx(of_one, rel=1e-4)
    assert found["at once"] == [4, 8]


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 130])
def test_shares_are_of_one_size_and_as_many_as_devices(count, devices):
    shares = shares_over(count, devices)
    assert len({share.stop - share.start for share in shares}) == 1
    assert sorted({lane for share in shares for lane in range(count)[share]}) == list(range(count))
    assert len(shares) <= devices
    assert shares[0].stop == -(-count // min(devices, count))
    assert max(share.stop - share.start for share in shares_over(count, devices, 64)) <= 64


@pytest.mark.parametrize("devices", [[], ["gpu:7"], ["cpu:0", "cpu:0"], "cpu:0", ["nowhere"], 2])
def test_what_is_no_device_is_refused(devices, tmp_path):
    with pytest.raises(ValueError, match=r"`devices` must be None or a list.*'cpu:0'.*Received"):
        check_devices(devices)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`devices`"):
        lanes.Lanes([model], devices=devices)
    with pytest.raises(ValueError, match="`devices`"):
        tuners.VectorizedRandomSearch(
            lambda hp: model, "val_loss", devices=devices, directory=tmp_path
        )


def test_names_are_as_keras_lists_them():
    assert check_devices(keras.distribution.list_devices("cpu")[:1]) == ("cpu:0",)
    assert check_devices(["CPU:0"]) == ("cpu:0",)
    assert check_devices(None) == ()
