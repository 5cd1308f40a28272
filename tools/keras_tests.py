"""Runs Keras' own tests with classes of kerasreg in the place of those of Keras.

Keras' wheel has no tests, its source has them:

    pip download --no-binary :all: --no-deps keras==VERSION
    tar xzf keras-VERSION.tar.gz
    python tools/keras_tests.py keras-VERSION [PART_OF_A_FILE_NAME ...]

VERSION is the one that is installed. For each file of `FILES` that has one of the parts in its
name, by default for all, it says which class stands where, how many tests pass and fail, and why
each of those fails: `EXPECTED` knows the differences that kerasreg means to have. It ends with 1 if
a test fails that is not there, or passes that is.

The test files run in this process, as modules of the installed Keras. A name of Keras that is
replaced is so before a test file is imported.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import operator
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
from keras.src.testing import test_case

from kerasreg import layers, regularizers

# What stands where.


@keras.saving.register_keras_serializable("kerasreg_keras_tests")
class L1(regularizers.L1):
    """`L1(l1)` with Keras' argument."""

    def __init__(self, l1: Any = 0.01, **options: Any) -> None:
        super().__init__(options.pop("strength", l1), **options)


@keras.saving.register_keras_serializable("kerasreg_keras_tests")
class L2(regularizers.L2):
    """`L2(2 * l2)` with Keras' argument: Keras does not halve the square."""

    def __init__(self, l2: Any = 0.01, **options: Any) -> None:
        strength = options.pop("strength", None)
        super().__init__(2.0 * l2 if strength is None else strength, **options)


@keras.saving.register_keras_serializable("kerasreg_keras_tests")
class L1L2(regularizers.ElasticNet):
    """`ElasticNet(l1 + l2, l2 / (l1 + l2))` with Keras' arguments."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        if "strength" not in options:
            options = {"strength": l1 + l2, "alpha": l2 / (l1 + l2) if l1 + l2 else 0.5, **options}
        super().__init__(**options)


_run_layer_test = test_case.TestCase.run_layer_test


def run_layer_test(case: Any, *arguments: Any, **options: Any) -> None:
    """Keras' own, which does not count generators of seeds: kerasreg's keys have none."""
    options.pop("expected_num_seed_generators", None)
    _run_layer_test(case, *arguments, **options)


_TEST = {"keras.src.testing.test_case.TestCase.run_layer_test": run_layer_test}
_LAYERS = "keras.src.layers."
_REGULARIZERS = "keras.src.regularizers."

_PENALTIES = {
    f"{_REGULARIZERS}{place}": value
    for name, value in {"L1": L1, "L2": L2, "L1L2": L1L2}.items()
    for place in (name, f"ALL_OBJECTS_DICT.{name}", f"ALL_OBJECTS_DICT.{name.lower()}")
}

# By the path of the test file in `keras/src`: by the place in Keras, what is put there. A place is
# a name in a module or in a dictionary of a module.
FILES: dict[str, dict[str, Any]] = {
    "layers/regularization/dropout_test.py": {
        **_TEST,
        f"{_LAYERS}Dropout": layers.ScheduledDropout,
    },
    "layers/regularization/alpha_dropout_test.py": {
        **_TEST,
        f"{_LAYERS}AlphaDropout": layers.ScheduledAlphaDropout,
    },
    "layers/regularization/gaussian_dropout_test.py": {
        **_TEST,
        f"{_LAYERS}GaussianDropout": layers.ScheduledGaussianDropout,
    },
    "layers/regularization/spatial_dropout_test.py": {
        **_TEST,
        f"{_LAYERS}SpatialDropout1D": layers.ScheduledSpatialDropout1D,
        f"{_LAYERS}SpatialDropout2D": layers.ScheduledSpatialDropout2D,
        f"{_LAYERS}SpatialDropout3D": layers.ScheduledSpatialDropout3D,
    },
    "regularizers/regularizers_test.py": _PENALTIES,
    # Layers and models that have them.
    **{
        f"{name}_test.py": {**_TEST, **_PENALTIES, f"{_LAYERS}Dropout": layers.ScheduledDropout}
        for name in (
            "layers/activations/prelu",
            "layers/convolutional/conv",
            "layers/core/dense",
            "layers/core/wrapper",
            "layers/layer",
            "layers/normalization/batch_normalization",
            "layers/normalization/group_normalization",
            "layers/normalization/layer_normalization",
            "layers/regularization/activity_regularization",
            "layers/rnn/gru",
            "layers/rnn/lstm",
            "layers/rnn/simple_rnn",
            "models/cloning",
            "models/model",
            "saving/serialization_lib",
            "trainers/trainer",
        )
    },
}

_MESSAGE = "It is refused, with kerasreg's own message."

# By the test: why it fails.
EXPECTED: dict[str, str] = {
    "DropoutTest::test_dropout_negative_rate": _MESSAGE,
    "DropoutTest::test_dropout_rate_greater_than_one": _MESSAGE,
    "DropoutTest::test_validate_noise_shape_invalid_type": _MESSAGE,
    "DropoutTest::test_validate_noise_shape_negative_value": _MESSAGE,
    "DropoutTest::test_validate_noise_shape_non_iterable": _MESSAGE,
    "DropoutTest::test_validate_noise_shape_zero_value": _MESSAGE,
    "AlphaDropoutTest::test_alpha_dropout_negative_rate": _MESSAGE,
    "AlphaDropoutTest::test_alpha_dropout_rate_greater_than_one": _MESSAGE,
    "CloneModelTest::test_recursive": "It counts layers: dropout has its rate in an inner one.",
    "RegularizersTest::test_l1l2_get_config": "The config has `strength` and `alpha`.",
}


@contextlib.contextmanager
def replaced(places: dict[str, Any]) -> Iterator[None]:
    """Within it, something else stands at some places of Keras."""
    with contextlib.ExitStack() as stack:
        for place, value in places.items():
            path, _, name = place.rpartition(".")
            stack.enter_context(_put(_found(path), name, value))
        yield


@contextlib.contextmanager
def _put(holder: Any, name: str, value: Any) -> Iterator[None]:
    is_dict = isinstance(holder, dict)
    before = (holder if is_dict else vars(holder))[name]  # An error, if Keras has it no more.
    put = functools.partial(operator.setitem if is_dict else setattr, holder, name)
    put(value)
    try:
        yield
    finally:
        put(before)


def _found(path: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(_found(module), name)


class _Outcomes:
    """A plugin of pytest that keeps what became of each test."""

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passed: list[str] = []
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = "::".join(report.nodeid.split("::")[1:])
        if report.failed:
            self.failed[name] = _reason(report)
        elif report.skipped:
            self.skipped.append(name)
        elif report.when == "call":
            self.passed.append(name)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed["(import)"] = _reason(report)


def _reason(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:300]


def run(source: Path, file: str, places: dict[str, Any]) -> _Outcomes:
    """Runs one file of tests."""
    outcomes = _Outcomes()
    with tempfile.TemporaryDirectory() as folder, replaced(places):
        # A copy, in packages of Keras' names: it is imported as a module of Keras, beside those of
        # the installed Keras.
        copy = Path(folder, "keras", "src", file)
        for package in [one for one in copy.parents if Path(folder) in one.parents]:
            package.mkdir(parents=True, exist_ok=True)
            Path(package, "__init__.py").touch()
        shutil.copyfile(source / "keras" / "src" / file, copy)
        options = ["--import-mode=importlib", "-c", os.devnull, f"--rootdir={folder}"]
        options += ["-p", "no:terminal", "-p", "no:cacheprovider"]
        pytest.main([*options, str(copy)], plugins=[outcomes])
    return outcomes


def report(file: str, places: dict[str, Any], outcomes: _Outcomes) -> list[str]:
    """Prints what became of a file; returns the tests of which that was not expected."""
    print(f"\n{file}")
    for place, value in places.items():
        own = value.__module__ == __name__
        print(f"  {place}: {value.__doc__.splitlines()[0] if own else value.__qualname__}")
    skipped = f", {len(outcomes.skipped)} skipped" if outcomes.skipped else ""
    print(f"  {len(outcomes.passed)} passed, {len(outcomes.failed)} failed{skipped}")
    strange = []
    for name, reason in outcomes.failed.items():
        missing = reason.startswith("ModuleNotFoundError")
        why = "It needs a package that is not here." if missing else EXPECTED.get(name)
        if why is None:
            strange.append(name)
        print(f"  FAILED {name}: {reason}\n    {why or 'Not expected.'}")
    for name in outcomes.passed:
        if name in EXPECTED:
            strange.append(name)
            print(f"  PASSED {name}, which was expected to fail")
    return strange


def main(source: str, *parts: str) -> None:
    """Runs the files that are asked for."""
    folder, version = Path(source), importlib.metadata.version("keras")
    of = folder / "keras" / "src" / "version.py"
    if not of.exists() or f'"{version}"' not in of.read_text():
        sys.exit(f"FOLDER must have the source of Keras {version}. Received: {source}")
    chosen = {f: p for f, p in FILES.items() if not parts or any(part in f for part in parts)}
    passed = failed = 0
    strange: list[str] = []
    for file, places in chosen.items():
        outcomes = run(folder, file, places)
        strange += report(file, places, outcomes)
        passed += len(outcomes.passed)
        failed += len(outcomes.failed)
    print(f"\n{passed} of {passed + failed} tests of Keras {version} pass")
    if strange:
        sys.exit(f"not as expected: {', '.join(strange)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
