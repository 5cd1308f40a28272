"""The command's range test of learning rates, for a table."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner

from kerasreg._pictures import check_picture
from kerasreg.callbacks import RangeTestResult, find_learning_rate
from kerasreg.cli._data import Table
from kerasreg.cli._split import split
from kerasreg.hypermodels import DenseHyperModel


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides a test, beside its data.

    Attributes:
        model: a compiled model that was saved with `model.save("....keras")`, or None for a
            dense network.
        optimizer: of the dense network, as in `kerasreg.spaces.optimizer`.
        depth: its hidden layers.
        width: the units of each.
        batch_size: samples of a step.
        seed: of the split, the initial weights and the order of the batches.
        low: the first learning rate.
        high: the last one.
        steps: how many there are.
        plot: where to write a picture, or None.
    """

    model: str | None
    optimizer: str
    depth: int
    width: int
    batch_size: int
    seed: int
    low: float
    high: float
    steps: int
    plot: str | None


def find(settings: Settings, table: Table, write: Callable[[str], None]) -> RangeTestResult:
    """Tests learning rates on the training part of a table.

    Raises:
        ValueError: if a setting, or the model, cannot be used.
    """
    if settings.plot is not None:
        check_picture(settings.plot)
    x, y = split(table, seed=settings.seed).train
    keras.utils.set_random_seed(settings.seed)
    model = _loaded(settings.model, table) if settings.model else _dense(settings, table, x)
    write(f"{table.name}: {len(x)} rows to train on, {x.shape[1]} features; {model.name}")
    found = find_learning_rate(
        model,
        x,
        y,
        batch_size=settings.batch_size,
        low=settings.low,
        high=settings.high,
        steps=settings.steps,
    )
    write(str(found))
    if settings.plot is not None:
        found.plot(settings.plot)
        write(f"wrote {settings.plot}")
    return found


def _dense(settings: Settings, table: Table, x: Any) -> keras.Model:
    values = keras_tuner.HyperParameters()
    names = ("optimizer", "depth", "width", "batch_size")
    values.values = {name: getattr(settings, name) for name in names}
    return DenseHyperModel(
        features=x.shape[1],
        classes=None if table.classes is None else len(table.classes),
        epochs=1,
        samples=len(x),
        mean=x.mean(axis=0, dtype="float64"),
        variance=x.var(axis=0, dtype="float64"),
        regularized=False,
        seed=settings.seed,
        name="dense",
    ).build(values)


def _loaded(path: str, table: Table) -> keras.Model:
    """The model of a file, which must be compiled and for this table."""
    if not os.path.isfile(path):
        raise ValueError(f"`model` must be a .keras file. Received: model={path!r}, no file")
    try:
        model = keras.saving.load_model(path)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`model` must be a .keras file that Keras can load. Received: model={path!r}, of "
            f"which it says: {error}"
        ) from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`model` must be one that was compiled before it was saved. Received: model={path!r}"
        )
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or shape[1:] != table.x.shape[1:]:
        raise ValueError(
            f"`model` must take the {table.x.shape[1]} features of {table.name}. "
            f"Received: model={path!r} with inputs of shape {shape}"
        )
    return model
