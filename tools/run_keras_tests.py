"""Runs Keras' own tests of optimizers and callbacks with those of kerasreg in their place.

Usage: python tools/run_keras_tests.py [FOLDER]

FOLDER has Keras' source with its tests, of the version that is installed: the folder `keras/src` of
a checkout, or of the wheel, which has them too and is the default. Each optimizer of Keras is put
within wrappers that change nothing. The classes `ReduceLROnPlateau` and `LearningRateScheduler` are
`ReduceOnPlateau` and `LearningRateScheduler` of kerasreg, told the same by other arguments.

The script prints how many tests passed, and of each that failed why, and whether that is known:
`KNOWN` says of those what kerasreg does otherwise on purpose. Its exit code is 1 if another failed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import importlib
import io
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import keras
import pytest

import kerasreg
from kerasreg.optimizers import LayerLearningRates, Lookahead, WeightAveraging

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
FILES_OF_OPTIMIZERS = (
    *(f"optimizers/{module}_test.py" for module in OPTIMIZERS.values()),
    "optimizers/optimizer_test.py",
    "optimizers/optimizer_sparse_test.py",
    "optimizers/loss_scale_optimizer_test.py",
    "optimizers/multi_optimizer_test.py",
    "callbacks/swap_ema_weights_test.py",
    "backend/tensorflow/optimizer_distribute_test.py",
)
FILES_OF_CALLBACKS = (
    "callbacks/reduce_lr_on_plateau_test.py",
    "callbacks/learning_rate_scheduler_test.py",
)
# What kerasreg does otherwise on purpose, by patterns of names of tests.
_COUNT = "It counts the variables: a wrapper has two more of its own."
_PRIVATE = "It reads a private attribute of the optimizer, which the one within has."
_NAME = "It expects the name or the class of the optimizer without the wrapper."
_REPLACED = "It needs the class that this script has replaced, to be asked for or to be pickled."
_SPARSE = "It replaces `assign` of the optimizer that it sees, and the one within calls its own."
_AVERAGES = "It expects no averages, which WeightAveraging has."
_FUNCTION = "It gives a function of the epoch and the rate: kerasreg takes schedules."
_VERBOSE = "It expects a line on the screen: kerasreg has the value in the logs instead."
KNOWN: dict[str, str] = {
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
}


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
    return kerasreg.callbacks.ReduceOnPlateau(**{"factor": 0.1, "patience": 10, **arguments})


def _scheduler(function: Callable[[int], float], verbose: int = 0) -> Any:
    return kerasreg.callbacks.LearningRateScheduler(_OfFunction(function))


def _wrapped(kind: Any, wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(kind, updated=())
    def make(*args: Any, **kwargs: Any) -> Any:
        return wrap(kind(*args, **kwargs))

    make.from_config = kind.from_config  # type: ignore[attr-defined]
    return make


class _Replacements:
    """A plugin of pytest: puts objects in the place of Keras', and notes what failed."""

    def __init__(self, replacements: dict[tuple[str, str], Any]) -> None:
        self.before: dict[tuple[str, str], Any] = {}
        self.replacements = replacements
        self.passed = 0
        self.failed: dict[str, str] = {}

    def __enter__(self) -> _Replacements:
        for (module, name), value in self.replacements.items():
            imported = importlib.import_module(module)
            self.before[module, name] = getattr(imported, name)
            setattr(imported, name, value(self.before[module, name]))
        return self

    def __exit__(self, *_: Any) -> None:
        for (module, name), value in self.before.items():
            setattr(importlib.import_module(module), name, value)
        for name in [name for name in sys.modules if name.endswith("_test")]:
            del sys.modules[name]  # To be imported anew, with other replacements.

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" and report.passed:
            self.passed += 1
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = str(report.longrepr if crash is None else crash.message)
            self.failed[report.nodeid.split("::", 1)[-1]] = " ".join(reason.split())[:300]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.failed[report.nodeid] = " ".join(str(report.longrepr).split())[-300:]


def _run(name: str, files: list[str], replacements: dict[tuple[str, str], Any]) -> int:
    with _Replacements(replacements) as plugin:
        options = ["-p", "no:cacheprovider", "--import-mode=importlib", "-c", os.devnull]
        with contextlib.redirect_stdout(io.StringIO()):  # What pytest says of itself.
            pytest.main([*options, *files], [plugin])
    print(f"{name}: {plugin.passed} passed, {len(plugin.failed)} failed", flush=True)
    unknown = 0
    for test, reason in plugin.failed.items():
        why = [text for pattern, text in KNOWN.items() if fnmatch.fnmatchcase(test, pattern)]
        unknown += not why
        print(f"  {test}\n    {reason}\n    {why[0] if why else 'NOT KNOWN'}", flush=True)
    return unknown


def main(folder: str | None = None) -> int:
    """Runs all, and returns how many tests failed that are not known to."""
    where = pathlib.Path(folder or pathlib.Path(keras.__file__).parent / "src")

    def there(files: tuple[str, ...]) -> list[str]:
        found = [str(where / file) for file in files if (where / file).exists()]
        if not found:
            raise SystemExit(f"{where} has no tests: give the folder keras/src of Keras' source.")
        return found

    unknown = 0
    for name, wrap in WRAPPERS.items():
        replacements: dict[tuple[str, str], Any] = {}
        for kind, module in OPTIMIZERS.items():
            make = functools.partial(_wrapped, wrap=wrap)
            replacements[f"keras.src.optimizers.{module}", kind] = make
            if hasattr(importlib.import_module("keras.src.optimizers"), kind):
                replacements["keras.src.optimizers", kind] = make
        unknown += _run(f"optimizers within {name}", there(FILES_OF_OPTIMIZERS), replacements)
    of_callbacks = {
        ("keras.src.callbacks", "ReduceLROnPlateau"): lambda _: _plateau,
        ("keras.src.callbacks", "LearningRateScheduler"): lambda _: _scheduler,
    }
    return unknown + _run("callbacks", there(FILES_OF_CALLBACKS), of_callbacks)


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:2])))
