"""Which strategy this machine, or this group of machines, trains with, and why."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import weakref
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from kerasreg._devices import strategy_name
from kerasreg._first_line import first_line
from kerasreg._validation import check_choice, check_count, check_positive
from kerasreg.distribute._cluster import read_cluster, wait_for_peers
from kerasreg.distribute._strategy import mirrored_strategy

KINDS = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
# What says that this is a machine with TPUs: of Google's machines, of notebooks, of clusters.
_TPU_VARIABLES = ("TPU_NAME", "TPU_WORKER_HOSTNAMES", "COLAB_TPU_ADDR")
_reasons: weakref.WeakKeyDictionary[tf.distribute.Strategy, str] = weakref.WeakKeyDictionary()


def strategy(
    kind: str = "auto",
    *,
    replicas: int | None = None,
    batch_size: int | None = None,
    tpu: str | None = None,
    timeout: float = 300.0,
) -> tf.distribute.Strategy:
    """A `tf.distribute` strategy for what is there, checked before anything is trained.

    `"auto"` takes the first that is there: several workers in `TF_CONFIG`, a TPU, several GPUs,
    or else one device. `explain` says which it was and why; the log does too. Call it before
    TensorFlow computes anything: CPU devices and workers cannot be made later.

    Args:
        kind: `"auto"`, `"one_device"`, `"mirrored"` (the GPUs of one machine, or logical CPU
            devices where there are none), `"multi_worker_mirrored"` (one process on each
            machine of `TF_CONFIG`) or `"tpu"`. TPUs have not been tried.
        replicas: of `"mirrored"`, the number of devices; None for all GPUs. Needed where there
            are none, as CPU devices are for trying and not for speed.
        batch_size: the size of a global batch that is going to be used, to be checked: a
            multiple of the number of replicas.
        tpu: of `"tpu"`, the name or the address of the TPU; None for that of the machine.
        timeout: seconds that a worker waits until all others are there. If one of them is gone
            again before all are connected, TensorFlow waits for ever, and nothing can interrupt it:
            after so many seconds more the process ends with code 1, and says where it was.

    Returns:
        The strategy. That of one device is TensorFlow's default one, under which models are
        built, trained and searched as without any.

    Raises:
        ValueError: if there is no such device; if TensorFlow has begun already; if `TF_CONFIG`
            is missing or wrong, or a worker in it does not answer in time; or if `batch_size`
            does not split evenly.

    Example:

    >>> import kerasreg
    >>> strategy = kerasreg.distribute.strategy("one_device")
    >>> strategy.num_replicas_in_sync
    1
    >>> kerasreg.distribute.explain(strategy)
    'one_device: it was asked for'
    """
    check_choice("kind", kind, KINDS)
    check_positive("timeout", timeout)
    if replicas is not None:
        check_count("replicas", replicas)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    reason = "it was asked for"
    if kind == "auto":
        kind, reason = _what_is_there(replicas)
    if replicas is not None and kind != "mirrored" and not (kind == "one_device" and replicas == 1):
        raise ValueError(
            "`replicas` must be None unless `kind` is 'mirrored': the devices that are there "
            f"decide. Received: replicas={replicas} with {kind}"
        )
    made = _made(kind, replicas, tpu, timeout)
    if batch_size is not None:
        check_splits(batch_size, made.num_replicas_in_sync)
    _reasons[made] = f"{kind}: {reason}"
    logging.info("kerasreg.distribute.strategy: %s", _reasons[made])
    return made


def explain(strategy: tf.distribute.Strategy) -> str:
    """Says which kind of strategy `kerasreg.distribute.strategy` chose, and why.

    Args:
        strategy: what it returned; or any other one, of which the class is told.

    Returns:
        One line.

    Example:

    >>> import tensorflow as tf, kerasreg
    >>> kerasreg.distribute.explain(tf.distribute.OneDeviceStrategy("CPU:0"))
    'OneDeviceStrategy: it was not chosen here.'
    """
    known = _reasons.get(strategy)
    return known or f"{strategy_name(strategy)}: it was not chosen here."


def check_splits(batch_size: int, replicas: int) -> None:
    """Raises a ValueError if a global batch does not split evenly over the replicas."""
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        near = f"{below} or {below + replicas}" if below else str(replicas)
        raise ValueError(
            f"`batch_size` must be a multiple of the number of replicas, {replicas}, such as "
            f"{near}: it is the size of the batch of all of them. Received: batch_size={batch_size}"
        )


def _what_is_there(replicas: int | None) -> tuple[str, str]:
    cluster = read_cluster() if os.environ.get("TF_CONFIG") else None
    if cluster is not None and len(cluster.workers) > 1:
        return "multi_worker_mirrored", f"TF_CONFIG has {len(cluster.workers)} workers"
    for name in _TPU_VARIABLES:
        if os.environ.get(name):
            return "tpu", f"{name} is set"
    gpus = len(tf.config.list_physical_devices("GPU"))
    if replicas is not None and replicas > 1:
        return "mirrored", f"replicas={replicas} was asked for"
    if gpus > 1 and replicas is None:
        return "mirrored", f"there are {gpus} GPUs"
    there = "one GPU" if gpus else "no GPU"
    return "one_device", f"there is {there}, no TPU, and no TF_CONFIG with several workers"


def _made(
    kind: str, replicas: int | None, tpu: str | None, timeout: float
) -> tf.distribute.Strategy:
    if kind == "multi_worker_mirrored":
        return _of_workers(timeout)
    if kind == "tpu":
        return _of_tpu(tpu)
    gpus = len(tf.config.list_physical_devices("GPU"))
    if kind == "mirrored":
        if replicas is None and gpus < 2:
            raise ValueError(
                "`replicas` must be given where there are no two GPUs: CPU devices are for trying. "
                f"Received: replicas=None with kind='mirrored', and {gpus} GPUs"
            )
        of_many = mirrored_strategy(replicas or gpus)
        if of_many is not None:
            return of_many
    return _of_one_device()


def _of_one_device() -> tf.distribute.Strategy:
    """TensorFlow's default strategy, which is that of a model without any.

    Under it a search trains lanes, and Keras' own `fit` iterates over the data themselves. Under
    `OneDeviceStrategy` that `fit` dies now and then: see `undivided_data` in `kerasreg._keras`.
    """
    with tf.Graph().as_default():  # Where no other strategy has been entered.
        return tf.distribute.get_strategy()


def _of_workers(timeout: float) -> tf.distribute.Strategy:
    cluster = read_cluster()
    wait_for_peers(cluster, timeout)
    try:
        # One that dies just now is awaited for ever.
        with _ended_after(timeout):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise ValueError(
            "`kind` must be chosen before TensorFlow computes anything, for several workers: "
            f"`{first_line(error)}`. Received: kind='multi_worker_mirrored' afterwards"
        ) from error


@contextlib.contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """Ends the process, and says where it was, if what is within takes longer.

    TensorFlow waits there for workers in calls that hold Python's lock: nothing else than this, of
    all that Python has, can end them, and no Ctrl-C.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _of_tpu(tpu: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu or "")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # The resolver, the network and the driver have errors of their own.
        raise ValueError(
            "`kind` must be another one than 'tpu', as no TPU could be reached: "
            f"{first_line(error)} Received: kind='tpu', tpu={tpu!r}"
        ) from error
