"""Runs Keras' own tests with classes of kerasreg in the place of those of Keras.

Keras' wheel has no tests, its source has them:

    pip download --no-binary :all: --no-deps keras==VERSION
    tar xzf keras-VERSION.tar.gz
    python tools/keras_tests.py keras-VERSION [PART_OF_A_FILE_NAME ...]

VERSION is the one that is installed. For each of `RUNS` whose file has one of the parts in its
name, by default for all, it says what stands where, how many tests pass and fail, and why each of
those fails: `EXPECTED` knows the differences that kerasreg means to have. It ends with 1 if a test
fails that is not there, or one that is there fails nowhere.

The test files run in this process, as modules of the installed Keras. A name of Keras that is
replaced is so before a test file is imported.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib
import importlib.metadata
import operator
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
from keras.src.testing import test_case

from kerasreg import callbacks, layers, regularizers
from kerasreg.optimizers import LayerLearningRates, Lookahead, WeightAveraging

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
_LAYERS_AND_PENALTIES: dict[str, dict[str, Any]] = {
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

# Wrappers that change nothing are put around each optimizer.
NEVER = 10**9
OPTIMIZERS = {
    "Adadelta": "adadelta",
    "Adafactor": "adafactor",
    "Adagrad": "adagrad",
    "Adam": "adam",
    "AdamW": "adamw",
    "Adamax": "adamax",
    "Ftrl": "ftrl",
    "Lamb": "lamb",
    "Lion": "lion",
    "Nadam": "nadam",
    "RMSprop": "rmsprop",
    "SGD": "sgd",
}
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "LayerLearningRates and Lookahead": lambda inner: LayerLearningRates(
        Lookahead(inner, NEVER), {"*": 1.0}
    ),
    # It refuses to average twice.
    "WeightAveraging": lambda inner: (
        inner if inner.use_ema else WeightAveraging(inner, start_step=NEVER)
    ),
}
_FILES_OF_OPTIMIZERS = (
    *(f"optimizers/{module}_test.py" for module in OPTIMIZERS.values()),
    "optimizers/optimizer_test.py",
    "optimizers/optimizer_sparse_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "callbacks/swap_ema_weights_test.py",
    "backend/tensorflow/optimizer_distribute_test.py",
)
_FILES_OF_CALLBACKS = (
    "callbacks/reduce_lr_on_plateau_test.py",
    "callbacks/learning_rate_scheduler_test.py",
)


class _OfFunction(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that calls a function of the epoch, which Keras' callback takes."""

    def __init__(self, function: Callable[[int], float]) -> None:
        self.function = function

    def __call__(self, step: Any) -> Any:
        return keras.ops.convert_to_tensor(float(self.function(int(step))))

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError


def _plateau(**arguments: Any) -> Any:
    arguments.pop("verbose", None)
    if "min_lr" in arguments:
        arguments["min_value"] = arguments.pop("min_lr")
    return callbacks.ReduceOnPlateau(**{"factor": 0.1, "patience": 10, **arguments})


def _scheduler(function: Callable[[int], float], verbose: int = 0) -> Any:
    return callbacks.LearningRateScheduler(_OfFunction(function))


def _wrapped(kind: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(kind, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        return wrap(kind(*args, **kwargs))

    make.from_config = kind.from_config  # type: ignore[attr-defined]
    return make


def _optimizers_within(wrap: Callable[[Any], Any]) -> dict[str, Any]:
    """Each optimizer, where its module and where all are, within a wrapper."""
    places: dict[str, Any] = {}
    for kind, module in OPTIMIZERS.items():
        path = f"keras.src.optimizers.{module}"
        made = _wrapped(getattr(importlib.import_module(path), kind), wrap)
        places[f"{path}.{kind}"] = made
        if hasattr(importlib.import_module("keras.src.optimizers"), kind):
            places[f"keras.src.optimizers.{kind}"] = made
    return places


class Run(NamedTuple):
    """A file of tests, and what is put in the place of Keras' own.

    `what` says so in words; where it is empty, the places do.
    """

    file: str
    places: dict[str, Any]
    what: str = ""


_CALLBACKS = {
    "keras.src.callbacks.ReduceLROnPlateau": _plateau,
    "keras.src.callbacks.LearningRateScheduler": _scheduler,
}
RUNS = [
    *(Run(file, places) for file, places in _LAYERS_AND_PENALTIES.items()),
    *(
        Run(file, _optimizers_within(wrap), f"each optimizer within {name}")
        for name, wrap in WRAPPERS.items()
        for file in _FILES_OF_OPTIMIZERS
    ),
    *(Run(file, _CALLBACKS, "kerasreg's callbacks") for file in _FILES_OF_CALLBACKS),
]

_MESSAGE = "It is refused, with kerasreg's own message."
# Of optimizers within wrappers, and of callbacks.
_COUNT = "It counts the variables: a wrapper has two more of its own."
_PRIVATE = "It reads a private attribute of the optimizer, which the one within has."
_NAME = "It expects the name or the class of the optimizer without the wrapper."
_REPLACED = "It needs the class that this script has replaced, to be asked for or to be pickled."
_SPARSE = "It replaces `assign` of the optimizer that it sees, and the one within calls its own."
_AVERAGES = "It expects no averages, which WeightAveraging has."
_FUNCTION = "It gives a function of the epoch and the rate: kerasreg takes schedules."
_VERBOSE = "It expects a line on the screen: kerasreg has the value in the logs instead."

# By the test, or a pattern of names of tests: why it fails.
EXPECTED: dict[str, str] = {
    "NadamTest::test_build_with_empty_var_list": _PRIVATE,
    "SGDTest::test_single_step": _COUNT,
    "OptimizerTest::test_setting_lr_to_callable_untracks_lr_var": _COUNT,
    "Optimizer*Test::test_gradient_accumulation": _PRIVATE,
    "OptimizerTest::test_overwrite_with_gradient_with_gradient_accumulation": _PRIVATE,
    "OptimizerTest::test_get_method": _REPLACED,
    "OptimizerTest::test_pickleable_optimizers*": _REPLACED,
    "OptimizerTest::test_optimizer_auto_naming": _NAME,
    "MultiOptimizerTest::test_serialization": _NAME,
    "MultiOptimizerTest::test_tensorboard_logging_with_multi_optimizer": _NAME,
    "OptimizerSparseTest::test_sparse_gradients_*": _SPARSE,
    "SwapEMAWeightsTest::test_swap_ema_weights_with_invalid_optimizer": _AVERAGES,
    "ReduceLROnPlateauTest::test_cooldown": (
        "Keras counts the last epoch of a cooldown; kerasreg does not, as its docstring says."
    ),
    "ReduceLROnPlateauTest::test_state_reset_across_fit_calls": (
        "It sets counters by Keras' names: those of kerasreg have others."
    ),
    "ReduceLROnPlateauTest::test_throws_when_optimizer_has_schedule": (
        "It expects a TypeError: kerasreg refuses with a ValueError."
    ),
    "ReduceLROnPlateauTest::test_verbose_logging": _VERBOSE,
    "LearningRateSchedulerTest::test_verbose_logging": _VERBOSE,
    "LearningRateSchedulerTest::test_learning_rate_in_history": _FUNCTION,
    "LearningRateSchedulerTest::test_schedule_dependent_on_previous_learning_rate": _FUNCTION,
    "LearningRateSchedulerTest::test_throws_when_optimizer_has_schedule": _FUNCTION,
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
    for name in [n for n in sys.modules if n.startswith("keras.src.") and n.endswith("_test")]:
        del sys.modules[name]  # To be imported anew, with something else in the same places.
    return outcomes


def _why(test: str) -> str | None:
    found = (why for pattern, why in EXPECTED.items() if fnmatch.fnmatchcase(test, pattern))
    return next(found, None)


def report(of: Run, outcomes: _Outcomes) -> list[str]:
    """Prints what became of a file; returns the tests whose failure was not expected."""
    print(f"\n{of.file}")
    if of.what:
        print(f"  {of.what}")
    for place, value in {} if of.what else of.places.items():
        own = value.__module__ == __name__
        print(f"  {place}: {value.__doc__.splitlines()[0] if own else value.__qualname__}")
    skipped = f", {len(outcomes.skipped)} skipped" if outcomes.skipped else ""
    print(f"  {len(outcomes.passed)} passed, {len(outcomes.failed)} failed{skipped}", flush=True)
    strange = []
    for name, reason in outcomes.failed.items():
        missing = reason.startswith("ModuleNotFoundError")
        why = "It needs a package that is not here." if missing else _why(name)
        if why is None:
            strange.append(name)
        print(f"  FAILED {name}: {reason}\n    {why or 'Not expected.'}", flush=True)
    return strange


def main(source: str, *parts: str) -> None:
    """Runs the files that are asked for."""
    folder, version = Path(source), importlib.metadata.version("keras")
    of = folder / "keras" / "src" / "version.py"
    if not of.exists() or f'"{version}"' not in of.read_text():
        sys.exit(f"FOLDER must have the source of Keras {version}. Received: {source}")
    passed, failed, strange = [], [], []
    for one in RUNS:
        # Other versions lack some.
        is_there = (folder / "keras" / "src" / one.file).exists()
        if is_there and (not parts or any(part in one.file for part in parts)):
            outcomes = run(folder, one.file, one.places)
            strange += report(one, outcomes)
            passed += outcomes.passed
            failed += outcomes.failed
    print(f"\n{len(passed)} of {len(passed) + len(failed)} tests of Keras {version} pass")
    for pattern in EXPECTED:
        # Within another wrapper it may pass.
        if fnmatch.filter(passed, pattern) and not fnmatch.filter(failed, pattern):
            strange.append(pattern)
            print(f"{pattern} passes, which was expected to fail")
    if strange:
        sys.exit(f"not as expected: {', '.join(strange)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
