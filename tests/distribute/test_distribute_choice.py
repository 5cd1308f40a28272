"""Which strategy is chosen, what is said of it, and what is refused before anything is trained."""

import json
import socket
import threading
import time

import pytest
import tensorflow as tf

from kerasreg import distribute
from kerasreg.distribute._choice import check_splits
from kerasreg.distribute._cluster import Cluster, read_cluster, wait_for_peers


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME", "TPU_WORKER_HOSTNAMES", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(name, raising=False)


def config(workers, kind="worker", index=0, **others):
    return json.dumps(
        {"cluster": {"worker": workers, **others}, "task": {"type": kind, "index": index}}
    )


def free_port():
    with socket.socket() as own:
        own.bind(("", 0))
        return own.getsockname()[1]


def with_gpus(monkeypatch, count):
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(count)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)


def test_one_device_is_chosen_where_there_is_nothing_else(monkeypatch):
    with_gpus(monkeypatch, 0)
    chosen = distribute.strategy()
    assert chosen is tf.distribute.get_strategy()  # TensorFlow's default one.
    assert distribute.explain(chosen) == (
        "one_device: there is no GPU, no TPU, and no TF_CONFIG with several workers"
    )


def test_one_worker_is_one_device(monkeypatch):
    with_gpus(monkeypatch, 0)
    monkeypatch.setenv("TF_CONFIG", config(["localhost:1"]))
    assert distribute.strategy() is tf.distribute.get_strategy()


def test_one_device_is_one_device_within_another_strategy():
    default = tf.distribute.get_strategy()
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        assert distribute.strategy("one_device") is default


def test_several_gpus_are_mirrored(monkeypatch):
    # Stands in for a machine with two: which devices are asked for.
    with_gpus(monkeypatch, 2)
    asked = []
    monkeypatch.setattr("kerasreg.distribute._choice.mirrored_strategy", asked.append)
    distribute.strategy(batch_size=3)
    assert asked == [2]


def test_several_replicas_that_are_asked_for_are_mirrored(monkeypatch):
    with_gpus(monkeypatch, 0)
    asked = []
    monkeypatch.setattr("kerasreg.distribute._choice.mirrored_strategy", asked.append)
    distribute.strategy(replicas=3)
    distribute.strategy("mirrored", replicas=2)
    assert asked == [3, 2]


def test_what_was_not_chosen_here_is_said():
    assert distribute.explain(tf.distribute.OneDeviceStrategy("CPU:0")) == (
        "OneDeviceStrategy: it was not chosen here."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "many"}, r"`kind` must be .*multi_worker_mirrored.*'many'"),
        ({"replicas": 0}, "`replicas`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"timeout": 0}, "`timeout`"),
        ({"kind": "one_device", "replicas": 2}, r"`replicas` must be None.*replicas=2"),
        ({"kind": "mirrored"}, r"`replicas` must be given.*0 GPUs"),
        ({"kind": "multi_worker_mirrored"}, r"`TF_CONFIG` must be .*it is not set"),
    ],
)
def test_what_is_not_there_is_refused(monkeypatch, arguments, message):
    with_gpus(monkeypatch, 0)
    with pytest.raises(ValueError, match=message):
        distribute.strategy(**arguments)


def test_a_tpu_that_is_not_there_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("TPU_NAME", "nowhere")

    def no_tpu(tpu):
        raise ValueError("Please provide a TPU Name to connect to.\nAnd much more.")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", no_tpu)
    with pytest.raises(ValueError, match="no TPU could be reached: Please") as caught:
        distribute.strategy()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("batch_size", "near"), [(5, "such as 4 or 8"), (3, "such as 4"), (10, "such as 8 or 12")]
)
def test_a_global_batch_that_does_not_split_is_refused(batch_size, near):
    check_splits(8, 4)
    with pytest.raises(ValueError, match=rf"`batch_size`.*, 4, {near}:.*batch_size={batch_size}"):
        check_splits(batch_size, 4)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "no JSON"),
        ("[]", 'no "cluster" and "task"'),
        ('{"cluster": {}}', 'no "cluster" and "task"'),
        (config("localhost:1"), '"worker" is no list'),
        (config(["localhost"]), '"worker" is no list'),
        (config(["localhost:1", "localhost:0"]), '"worker" is no list'),
        (config(["localhost:1", "localhost:1"]), "twice"),
        (config(["localhost:1"], index=1), '"index" of the task, 1,'),
        (config(["localhost:1"], index=None), '"index" of the task, None,'),
        (config(["localhost:1"], kind="ps"), "\"type\" of the task, 'ps',"),
        (config(["localhost:1"], ps=["localhost:2"]), r"not \['ps'\]"),
    ],
)
def test_a_wrong_tf_config_is_refused_in_one_line(monkeypatch, text, what):
    monkeypatch.setenv("TF_CONFIG", text)
    for kind in ("auto", "multi_worker_mirrored"):
        with pytest.raises(ValueError, match=rf"`TF_CONFIG` must be .*{what}") as caught:
            distribute.strategy(kind)
        assert "\n" not in str(caught.value)


def test_the_chief_is_the_first_worker(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config(["a:1", "b:2"], index="1", chief=["c:3"]))
    found = read_cluster()
    assert found.workers == ("c:3", "a:1", "b:2")
    assert (found.index, found.address) == (2, "b:2")


def test_a_worker_that_does_not_answer_is_named_in_time(monkeypatch):
    own, other = free_port(), free_port()
    monkeypatch.setenv("TF_CONFIG", config([f"localhost:{own}", f"localhost:{other}"]))
    begin = time.monotonic()
    with pytest.raises(ValueError, match=rf"`TF_CONFIG`.*Received: localhost:{other} without"):
        distribute.strategy(timeout=0.3)
    assert time.monotonic() - begin < 60


def test_a_port_that_is_taken_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("TF_CONFIG", config([f"localhost:{port}", f"localhost:{free_port()}"]))
        with pytest.raises(ValueError, match=rf"`TF_CONFIG` .*free port.*localhost:{port}, of"):
            distribute.strategy(timeout=0.3)


def test_workers_that_wait_for_each_other_go_on():
    """Each answers while it waits; whoever comes late is waited for."""
    workers = tuple(f"localhost:{free_port()}" for _ in range(2))
    done = []

    def worker(index, late):
        time.sleep(late)
        wait_for_peers(Cluster(workers, index), 30)
        done.append(index)
        # In the place of TensorFlow, which now has its port.
        with socket.create_server(("", int(workers[index].rpartition(":")[2]))):
            gone_on.wait(30)

    gone_on = threading.Event()
    threads = [threading.Thread(target=worker, args=(i, 0.3 * i), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 30
    while len(done) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    gone_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [0, 1]


@pytest.mark.long
def test_devices_that_are_made_too_late_are_refused(run_python):
    run_python(
        "-c",
        f"""
import os
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow as tf
from kerasreg import distribute
tf.constant(1.0) + 1.0
os.environ["TF_CONFIG"] = '{config([f"localhost:{free_port()}"])}'
for arguments in ({{"kind": "mirrored", "replicas": 2}}, {{"kind": "multi_worker_mirrored"}}):
    try:
        distribute.strategy(**arguments)
    except ValueError as error:
        assert "before TensorFlow computes" in str(error), error
        assert "\\n" not in str(error)
    else:
        # One worker is no cluster: TensorFlow takes it as it is.
        assert arguments["kind"] == "multi_worker_mirrored"
""",
    )
