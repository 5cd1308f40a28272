"""`kerasreg lr-find`: a range test of learning rates, for a table."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from kerasreg._optimizer_names import OPTIMIZERS
from kerasreg.cli._command import Command, bad_input, failing, loading, note, write
from kerasreg.cli._options import TableOptions, option

if TYPE_CHECKING:
    import keras

    from kerasreg.cli._data import Table
    from kerasreg.cli._split import Parts


@dataclasses.dataclass(frozen=True)
class LrFindOptions(TableOptions):
    """What decides a test of learning rates."""

    model: str | None = option(
        None,
        "A compiled Keras model in a .keras file that takes the features; a dense network without.",
    )
    optimizer: str = option("adam", "Optimizer of the dense network.", choices=OPTIMIZERS)
    depth: int = option(2, "Hidden layers of the dense network.", minimum=1)
    width: int = option(64, "Units of each of its hidden layers.", minimum=1)
    batch_size: int = option(32, "Samples of a step.", minimum=1)
    seed: int = option(
        0,
        "Seed of the split, the initial weights and the order of the batches.",
        minimum=0,
        maximum=2**32 - 1,
    )
    low: float = option(1e-7, "First learning rate, above 0.")
    high: float = option(10.0, "Last learning rate, above --low.")
    steps: int = option(100, "Learning rates, one for each step.", minimum=5)
    plot: str | None = option(None, "Write a picture, a .png or .svg file.")


def _run(options: LrFindOptions, given: Set[str], path: str | None) -> None:
    with bad_input():
        from kerasreg.cli import _data

        table = _data.load_table(
            options.data,
            options.target,
            options.task,
            options.drop,
            options.sep,
            options.decimal,
            columns=options.columns,
        )
        for line in table.notes:
            note(line)
        with loading():
            import kerasreg.callbacks
            import kerasreg.hypermodels  # noqa: F401
        with failing(OSError, ImportError):  # The picture.
            _find(options, table)


def _find(options: LrFindOptions, table: Table) -> None:
    """Tests learning rates on the training part of a table, and tells what was found."""
    import keras

    from kerasreg._pictures import check_picture
    from kerasreg.callbacks import find_learning_rate
    from kerasreg.cli._split import split

    if options.plot is not None:
        check_picture(options.plot)
    parts = split(table, seed=options.seed)
    x, y = parts.train
    keras.utils.set_random_seed(options.seed)
    model = _loaded(options.model, table, x) if options.model else _dense(options, table, parts)
    write(f"{table.name}: {len(x)} rows to train on, {x.shape[1]} features; {model.name}")
    found = find_learning_rate(
        model,
        x,
        y,
        batch_size=options.batch_size,
        low=options.low,
        high=options.high,
        steps=options.steps,
    )
    write(str(found))
    if options.plot is not None:
        found.plot(options.plot)
        write(f"wrote {options.plot}")


def _dense(options: LrFindOptions, table: Table, parts: Parts) -> keras.Model:
    import keras_tuner

    from kerasreg.hypermodels import DenseHyperModel

    values = keras_tuner.HyperParameters()
    names = ("optimizer", "depth", "width", "batch_size")
    values.values = {name: getattr(options, name) for name in names}
    return DenseHyperModel(
        features=parts.train[0].shape[1],
        classes=None if table.classes is None else len(table.classes),
        epochs=1,
        samples=len(parts.train[0]),
        **parts.first_layers(),
        regularized=False,
        seed=options.seed,
        name="dense",
    ).build(values)


def _loaded(path: str, table: Table, x: Any) -> keras.Model:
    """The model of a file, which must be compiled and for this table."""
    import keras

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
    if not isinstance(shape, tuple) or shape[1:] != x.shape[1:]:
        raise ValueError(
            f"`model` must take the {x.shape[1]} features of {table.name}. "
            f"Received: model={path!r} with inputs of shape {shape}"
        )
    return model


LR_FIND = Command(
    name="lr-find",
    summary=[
        "test learning rates on a table, from small to large, for a dense",
        "network or a saved Keras model, and suggest some",
    ],
    purpose="learning rates from small to large, and which of them suit",
    examples=[
        "kerasreg lr-find --data=houses.csv --target=price --plot=rates.png",
        "kerasreg lr-find --model=network.keras --data=houses.csv --target=price",
    ],
    options=LrFindOptions,
    run=_run,
)
