"""The same training on one device and on replicas, in a process of its own.

Two strategies in one process may crash, and logical devices are made before TensorFlow
begins. So what is trained is named, as `module:name` or `path.py:name`, and not given.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasreg._validation import check_count
from kerasreg.testing._checks import EPOCHS, raise_if_any
from kerasreg.testing._training import OPTIMIZER, Training, groups

# Two replicas add up what one device adds in another order.
TOLERANCE = 1e-5


def check_two_replicas(target: str) -> None:
    """Checks that two replicas train with components as one device does.

    A new process with two logical CPU devices trains under a
    `tf.distribute.MirroredStrategy`, and without. All weights and all variables of the
    component agree to rounding, since a step of two replicas is one step.

    Each replica draws noise of its own, so a layer that drops needs a rate of 0 here. The
    command `python -m kerasreg.testing TARGET` does the same.

    Args:
        target: `"package.module:name"` or `"path/to/file.py:name"`, of a function without
            arguments that makes a component, or of a mapping from names to such.

    Raises:
        AssertionError: if a training differs, with the name of each component; or if the
            process fails.
        ValueError: if `target` is no such name.

    Example:

    >>> import kerasreg
    >>> try:
    ...     kerasreg.testing.check_two_replicas("make_penalty")
    ... except ValueError as error:
    ...     print(str(error)[:60])
    `target` must be "module:name" or "path.py:name". Received:
    """
    _parts(target)
    one, two = two_replicas("kerasreg.testing._replicas:train", target)
    raise_if_any(faults_of_replicas(one, two))


def check_replicas(target: str, replicas: int = 4) -> None:
    """Checks that `kerasreg.distribute.fit` trains components on replicas as one device does.

    As `check_two_replicas`, which trains by Keras' own `fit`, but for any number of replicas: they
    need not have equal parts of a batch of four samples.

    Args:
        target: as of `check_two_replicas`.
        replicas: how many, at least 2.

    Raises:
        AssertionError: if a training differs, with the name of each component; or if the
            process fails.
        ValueError: if `target` is no such name, or `replicas` is below 2.

    Example:

    >>> import kerasreg
    >>> try:
    ...     kerasreg.testing.check_replicas("my_module:make_penalty", replicas=1)
    ... except ValueError as error:
    ...     print(error)
    `replicas` must be a whole number >= 2. Received: replicas=1
    """
    _parts(target)
    count = check_count("replicas", replicas, minimum=2)
    options = ["--replicas", str(count), "--own-loop"]
    one, several = _in_a_process("kerasreg.testing._replicas:train", [target, "own loop"], options)
    raise_if_any(faults_of_replicas(one, several, f"{count} replicas"))


def two_replicas(target: str, *arguments: str, timeout: float = 1800.0) -> tuple[Any, Any]:
    """Calls a function on one device and on two replicas, in a process of its own.

    The process has two logical CPU devices. The second call is in the scope of a
    `tf.distribute.MirroredStrategy` of both, which `tf.distribute.get_strategy()` returns.

    Args:
        target: `"package.module:name"` or `"path/to/file.py:name"` of the function.
        *arguments: strings that it is called with.
        timeout: seconds until the process is ended.

    Returns:
        What the two calls return, which must be JSON.

    Raises:
        AssertionError: if the process fails, with the end of what it wrote.
        ValueError: if `target` is no such name.

    Example:

    >>> import kerasreg
    >>> try:
    ...     kerasreg.testing.two_replicas("train")
    ... except ValueError as error:
    ...     print(str(error)[:60])
    `target` must be "module:name" or "path.py:name". Received:
    """
    _parts(target)
    return _in_a_process(target, arguments, [], timeout)


def _in_a_process(
    target: str, arguments: Sequence[str], options: Sequence[str], timeout: float = 1800.0
) -> tuple[Any, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [sys.executable, "-m", "kerasreg.testing", "--report", str(report), *options]
        # It imports what this process can.
        paths = os.pathsep.join(filter(None, sys.path))
        process = subprocess.run(
            [*command, target, *arguments],
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if process.returncode != 0:
            raise AssertionError(f"replicas of {target} failed: {process.stderr[-4000:]}")
        one, several = json.loads(report.read_text())
    return one, several


def main(arguments: list[str]) -> int:
    """What the process runs; returns its exit code."""
    import argparse

    from kerasreg.distribute import mirrored_strategy

    parser = argparse.ArgumentParser("python -m kerasreg.testing", description=__doc__)
    parser.add_argument("--report", help="a file for what the function returns")
    parser.add_argument("--replicas", type=int, default=2, help="how many; 2 by default")
    parser.add_argument(
        "--own-loop",
        action="store_true",
        help="train by kerasreg.distribute.fit, not by Keras' fit",
    )
    parser.add_argument("target", help="module:name or path.py:name")
    parser.add_argument("arguments", nargs="*", help="of the function, with --report")
    given = parser.parse_args(arguments)
    # Before anything that is imported makes a variable.
    strategy = mirrored_strategy(check_count("--replicas", given.replicas, minimum=2))
    own_loop = ["own loop"] if given.own_loop else []
    call: Callable[[], Any] = functools.partial(train, given.target, *own_loop)
    if given.report:
        call = functools.partial(resolve(given.target), *given.arguments)
    assert strategy is not None, "two are more than one"
    one = call()
    with strategy.scope():
        several = call()
    if given.report:
        pathlib.Path(given.report).write_text(json.dumps([one, several]))
        return 0
    try:
        raise_if_any(faults_of_replicas(one, several, f"{given.replicas} replicas"))
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.target}: {given.replicas} replicas train as one device does.")
    return 0


def train(target: str, loop: str = "") -> dict[str, Any]:
    """The state after a training with each component, by name and path, as JSON.

    Args:
        target: what names the components.
        loop: `"own loop"` for `kerasreg.distribute.fit`.
    """
    import tensorflow as tf

    from kerasreg.distribute import trained_by_replicas

    makes = resolve(target)
    if not isinstance(makes, Mapping):
        makes = {target.rpartition(":")[2]: makes}
    found: dict[str, Any] = {}
    # On one device, tracing so few steps takes longer than they do.
    alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    for group in groups(makes):
        training = Training(group, run_eagerly=alone)
        with trained_by_replicas(training.model) if loop else contextlib.nullcontext():
            training.fit(EPOCHS)
        state = training.state()
        slots = state.pop(OPTIMIZER)
        if len(group) == 1:
            # Its counts and rates. Slots are sums over replicas, which weights tell of.
            its = {path: value for path, value in slots.items() if value.shape == ()}
            state[next(iter(group))].update(its)
        for name, values in state.items():
            found[name] = {path: value.tolist() for path, value in values.items()}
    return found


def faults_of_replicas(
    one: dict[str, Any], several: dict[str, Any], who: str = "two_replicas"
) -> list[str]:
    """Where the two states differ."""
    faults = []
    for name, values in one.items():
        pairs = zip(values.items(), several[name].values(), strict=True)
        for (path, mine), theirs in pairs:
            if not np.allclose(theirs, mine, rtol=0, atol=TOLERANCE):
                faults.append(f"{name}: {who}: {path} is {theirs}, on one device {mine}")
    return faults


def resolve(target: str) -> Any:
    """What a target names."""
    module, path = _parts(target)
    if module.endswith(".py"):
        name = pathlib.Path(module).stem
        spec = importlib.util.spec_from_file_location(name, module)
        assert spec is not None, module
        assert spec.loader is not None, module
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(module)
    found: Any = loaded
    for part in path.split("."):
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def _parts(target: str) -> tuple[str, str]:
    module, _, name = target.rpartition(":") if isinstance(target, str) else ("", "", "")
    if not module or not name:
        raise ValueError(
            f'`target` must be "module:name" or "path.py:name". Received: target={target!r}'
        )
    return module, name
