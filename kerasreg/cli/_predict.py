"""`kerasreg predict`: what a saved model says of the rows of a file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Set

from kerasreg.cli._command import Command, UsageError, bad_input, failing, loading, note, write
from kerasreg.cli._options import decimal_option, option, sep_option


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What is predicted, of which columns, and where it is written."""

    output: str | None = option(None, "File of the predictions, a .csv or .parquet file.")
    keep: tuple[str, ...] = option(
        (), "Columns of FILE that are written beside, separated by commas, such as an identifier."
    )
    features: tuple[str, ...] = option(
        (),
        "For a model of rows of numbers: its columns in their order, separated by commas. Without "
        "it those of its card, or all of FILE.",
    )
    labels: tuple[str, ...] = option(
        (), "Names of the classes, separated by commas, of a model that does not have them."
    )
    spread: bool = option(
        False, "Also the spread of the members of an ensemble that was made with one."
    )
    sep: str = sep_option()
    decimal: str = decimal_option()
    batch_size: int = option(1024, "Rows that are predicted at once.", minimum=1)


def _run(options: PredictOptions, given: Set[str], model: str | None, file: str | None) -> None:
    if model is None or file is None or not options.output:
        raise UsageError(
            "predict needs a model, a file and a file to write: "
            "kerasreg predict models/net rows.csv --output=predicted.csv"
        )
    with bad_input():
        from kerasreg.cli import _data

        if os.path.splitext(options.output)[1].lower() not in (".csv", ".parquet"):
            raise ValueError(f"--output must end in .csv or .parquet. Received: {options.output!r}")
        # Before TensorFlow is loaded.
        _data.check_file(file, options.sep, options.decimal)
        if os.path.exists(options.output) and os.path.samefile(options.output, file):
            raise ValueError(f"--output must be another file than FILE. Received: {file!r}")
        with loading():
            import tensorflow as tf

            from kerasreg.cli import _predictions
        with failing(OSError, tf.errors.OpError):
            write(_predictions.predict(model, file, note=note, **dataclasses.asdict(options)))


PREDICT = Command(
    name="predict",
    summary=["write what a saved model says of each row of a file"],
    purpose="what a saved model says of each row of a file",
    examples=[
        "kerasreg predict kerasreg_search/model rows.csv --output=predicted.csv",
        "kerasreg predict net.keras rows.csv --output=predicted.csv --keep=id",
    ],
    options=PredictOptions,
    run=_run,
    takes="MODEL FILE --output=FILE",
    paths=2,
)
