"""What a saved model says of the rows of a file: from columns to its inputs, and from outputs."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas

from kerasreg import serving, tables
from kerasreg._files import plain_path, write_bytes
from kerasreg._first_line import first_line
from kerasreg._keras.internals import first_call_signature, functional_of, input_structure
from kerasreg.cli import _data
from kerasreg.cli._export import load
from kerasreg.tables import Column, Columns


@dataclasses.dataclass(frozen=True)
class _Input:
    """An input of a model: its shape without the batch, and its type."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class _Model:
    """A model as a function of named arrays.

    Attributes:
        inputs: by name.
        batch: the size of a batch, if the model takes no other; or None.
        columns: names of the columns of a model that takes rows of numbers, where it tells; else
            empty.
        reading: how a model reads its columns, where it tells.
        labels: of classes, where it tells; perhaps only after it was asked.
        ask: from arrays to arrays, by name.
    """

    inputs: Mapping[str, _Input]
    batch: int | None
    columns: Sequence[str]
    reading: Columns | None
    labels: list[str]
    ask: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

    def __post_init__(self) -> None:
        for name, one in self.inputs.items():
            if self.numbers is None and one.shape not in ((), (1,)):
                raise ValueError(
                    "MODEL must take rows of numbers, or columns of a table by name. Received: one "
                    f"with the input {name!r} of the shape {(None, *one.shape)}"
                )

    @property
    def numbers(self) -> int | None:
        """How many numbers the rows have that a model takes, or None for columns by name."""
        (first, *others) = self.inputs.values()
        if others or len(first.shape) != 1 or first.dtype == "string":
            return None
        return first.shape[0]

    def dtype_of(self, column: str) -> str:
        """The type of a column."""
        if self.numbers is None:
            return self.inputs[column].dtype
        (only,) = self.inputs.values()
        return only.dtype


def predict(
    path: str,
    file: str,
    output: str,
    *,
    keep: Sequence[str] = (),
    features: Sequence[str] = (),
    labels: Sequence[str] = (),
    spread: bool = False,
    sep: str = ",",
    decimal: str = ".",
    batch_size: int = 1024,
    note: Callable[[str], None],
) -> str:
    """Loads a model, asks it of each row of a file, and writes the answers.

    Args:
        path: of the model.
        file: of the rows.
        output: of the answers.
        keep: columns of the file that are written beside.
        features: columns of a model that takes rows of numbers.
        labels: of the classes, of a model that does not have them.
        spread: whether to write the spread of an ensemble too.
        sep: as for `load_table`.
        decimal: as for `load_table`.
        batch_size: rows that are asked at once.
        note: is given what the user has to know.

    Returns:
        What was written, in a line.
    """
    model = _keras_model(path) if path.endswith(".keras") else _saved_model(path, spread)
    columns = _columns(model, features)
    texts = [c.name for c in columns if model.dtype_of(c.name) in ("string", "bool")]
    frame = _data.read_features(
        file, [*(c.name for c in columns), *keep], [*texts, *keep], sep, decimal
    )
    if not columns:
        columns = _all_columns(model, frame, file)
    raw = _raw(columns, frame, decimal)
    outputs = _asked(model, _inputs(model, raw), batch_size)
    _check_holes(raw, outputs)
    known = model.labels or list(labels)
    if labels and list(labels) != known:
        raise ValueError(f"--labels must be left out: the model has its own, {', '.join(known)}")
    predicted = _named(outputs, known, spread)
    both = set(keep) & set(predicted)
    if both:
        raise ValueError(f"--keep must not name {min(both)!r}: a column of the predictions.")
    _tell_of_what_is_not_finite(predicted, note)
    written = pandas.DataFrame({**{name: frame[name].to_numpy() for name in keep}, **predicted})
    _write(written, output, _data.check_separators(sep, decimal), decimal)
    return f"wrote {output}: {len(written)} rows of {', '.join(_shortened(written))}"


def _shortened(names: Any) -> list[str]:
    names = list(names)
    return names if len(names) <= 6 else [*names[:5], f"{len(names) - 5} more columns"]


def _tell_of_what_is_not_finite(
    predicted: Mapping[str, np.ndarray], note: Callable[[str], None]
) -> None:
    for name, values in predicted.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = ~np.isfinite(values)
            note(
                f"{name!r} is not finite in {int(bad.sum())} rows, the first of which is data row "
                f"{int(np.argmax(bad)) + 1}"
            )


def _write(frame: Any, path: str, sep: str, decimal: str) -> None:
    if path.lower().endswith(".parquet"):
        content = io.BytesIO()
        frame.to_parquet(content, index=False)
        write_bytes(path, content.getvalue())
        return
    text = frame.to_csv(index=False, sep=sep, decimal=decimal, lineterminator="\n")
    write_bytes(path, text.encode())


# --- From a file to what a model takes --------------------------------------------------


def _columns(model: _Model, features: Sequence[str]) -> list[Column]:
    """The columns that a model takes, and how; none if neither it nor the user names them."""
    if model.numbers is None:
        if features:
            raise ValueError(
                "--features is for models of rows of numbers; this one takes columns by name: "
                f"{', '.join(map(repr, model.inputs))}"
            )
        return [_column(name, each, model.reading) for name, each in model.inputs.items()]
    names = list(features or model.columns)
    if names and len(names) != model.numbers:
        raise ValueError(
            f"The model takes rows of {model.numbers} numbers, but "
            f"{'--features' if features else 'its card'} names {len(names)} columns"
        )
    return [Column(one, "number", model.dtype_of(one), "") for one in names]


def _all_columns(model: _Model, frame: Any, file: str) -> list[Column]:
    index = _data.index_columns(frame)
    names = [one for one in frame.columns if one not in index]
    if len(names) != model.numbers:
        raise ValueError(
            f"The model takes rows of {model.numbers} numbers, but {file!r} has {len(names)} "
            "columns; name those of the model, in their order, with --features"
        )
    return [Column(one, "number", model.dtype_of(one), "") for one in names]


def _inputs(model: _Model, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of a model of its columns."""
    if model.numbers is None:
        return {
            name: raw[name].reshape([-1] + [1] * len(each.shape))
            for name, each in model.inputs.items()
        }
    (name,) = model.inputs
    return {name: np.stack(list(raw.values()), axis=1)}


def _raw(columns: Sequence[Column], frame: Any, decimal: str) -> dict[str, np.ndarray]:
    """What a model takes of a table."""
    plain = {}
    for column in columns:
        values = frame[column.name]
        # With a value that is no number a column is text, all of it.
        if decimal != "." and column.kind == "number" and values.dtype.kind not in "biuf":
            texts = values.astype(object).tolist()
            plain[column.name] = [
                one.replace(decimal, ".") if isinstance(one, str) else one for one in texts
            ]
    return Columns(tuple(columns)).raw(frame.assign(**plain))


def _check_holes(raw: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
    """A `ValueError` if a model has no answer to a row that lacks a number."""
    lost = np.zeros(len(next(iter(raw.values()))), dtype=bool)
    for each in outputs.values():
        if each.dtype.kind == "f":
            lost |= ~np.isfinite(each.reshape(len(lost), -1)).all(axis=1)
    for column, values in raw.items():
        bad = lost & (values != values)  # NaN alone differs from itself.
        if bad.any():
            raise ValueError(
                f"Column {column!r} has no value in data row {int(np.argmax(bad)) + 1}, and the "
                "model has no answer without."
            )


def _column(name: str, given: _Input, reading: Columns | None) -> Any:
    """How a column is read that a model takes: of its own knowledge, or by its type."""
    known = {column.name: column for column in reading or ()}
    if name in known and known[name].kind != "dropped":
        return dataclasses.replace(known[name], dtype=given.dtype)
    return Column(
        name, tables.KIND_OF_DTYPE.get(given.dtype, "number"), given.dtype, "as the model takes it"
    )


# --- Models -----------------------------------------------------------------------------


def _saved_model(path: str, spread: bool) -> _Model:
    """A version of a SavedModel, or the newest of a folder."""
    import tensorflow as tf

    folder = path
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        versions = serving.list_versions(folder)
        if not versions:
            inside = os.path.join(folder, "model")
            hint = f"; did you mean {inside!r}?" if serving.list_versions(inside) else ""
            raise ValueError(
                "MODEL must be a .keras file, a SavedModel, or a folder of its versions. "
                f"Received: {path!r}{hint}"
            )
        folder = os.path.join(folder, str(versions[-1]))
    try:
        with plain_path(folder) as plain:
            loaded = tf.saved_model.load(plain)
    except Exception as error:  # Whatever is wrong with the files.
        raise ValueError(f"MODEL {folder!r} cannot be loaded: {first_line(error)}") from error
    signatures = loaded.signatures
    # Of the two, `classify` has the labels, and probabilities also of logits.
    name = "classify" if "classify" in signatures and not spread else "serving_default"
    if name not in signatures:
        raise ValueError(f"MODEL {folder!r} has no signature {name!r}. It has {list(signatures)}")
    # An argument is called by letters; its spec has the name of the input.
    specs = signatures[name].structured_input_signature[1]
    arguments = {spec.name or key: key for key, spec in specs.items()}
    inputs = {
        name: _Input(tuple(specs[key].shape[1:]), specs[key].dtype.name)
        for name, key in arguments.items()
    }
    columns, reading, labels = _of_card(folder)

    def ask(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {
            key: tf.constant(features[name], specs[key].dtype) for name, key in arguments.items()
        }
        # By what was loaded, which a signature does not keep.
        answered = loaded.signatures[name](**tensors)
        outputs = {key: value.numpy() for key, value in answered.items()}
        if name != "classify":
            return outputs
        labels[:] = [label.decode() for label in outputs["classes"][0]]
        return {"scores": outputs["scores"]}

    batches = {spec.shape[0] for spec in specs.values()} - {None}
    return _Model(inputs, min(batches, default=None), columns, reading, labels, ask)


def _of_card(folder: str) -> tuple[list[str], Columns | None, list[str]]:
    """The columns of a model, how they are read, and its classes, as far as its card tells."""
    try:
        data = serving.read_card(folder)["data"]
        reading = (data.get("reading") or {}).get("columns") or {}
        columns = [
            Column(name, one["kind"], "", one.get("reason", ""), order=one.get("order", ""))
            for name, one in reading.items()
        ]
        names = [[str(one) for one in data.get(key) or ()] for key in ("columns", "classes")]
    except (ValueError, KeyError, TypeError, AttributeError):  # No card, or another one.
        return [], None, []
    return names[0], Columns(tuple(columns)), names[1]


def _keras_model(path: str) -> _Model:
    """The model of a .keras file."""
    import tensorflow as tf

    model = load("MODEL", path)
    structure = input_structure(functional_of(model)) if functional_of(model) else None
    if structure is None:
        specs = list(first_call_signature(model))
        structure = specs[0] if len(specs) == 1 else specs
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    tensors = keras.tree.flatten(structure)
    reading = None
    if isinstance(structure, dict) and all(len(path) == 1 for path in paths):
        names = [str(path[0]) for path in paths]
        reading = tables.model_columns(model) if input_structure(model) else None
    else:
        names = [one.name for one in tensors]
    types = [keras.backend.standardize_dtype(one.dtype) for one in tensors]
    inputs = {
        name: _Input(tuple(tensor.shape[1:]), dtype)
        for name, tensor, dtype in zip(names, tensors, types, strict=True)
    }
    batches = {tensor.shape[0] for tensor in tensors} - {None}

    @tf.function(reduce_retracing=True)
    def answer(*flat: Any) -> Any:
        return model(keras.tree.pack_sequence_as(structure, flat), training=False)

    def ask(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        flat = [
            tf.constant(features[name], dtype) for name, dtype in zip(names, types, strict=True)
        ]
        outputs = keras.tree.flatten_with_path(answer(*flat))
        return {"_".join(map(str, path)) or "outputs": np.array(one) for path, one in outputs}

    return _Model(inputs, min(batches, default=None), (), reading, [], ask)


def _asked(
    model: _Model, features: Mapping[str, np.ndarray], batch_size: int
) -> dict[str, np.ndarray]:
    """The answers to all rows, batch by batch."""
    size = model.batch or batch_size
    count = len(next(iter(features.values())))
    parts: dict[str, list[np.ndarray]] = {}
    for begin in range(0, count, size):
        batch = {name: values[begin : begin + size] for name, values in features.items()}
        given = min(size, count - begin)
        if model.batch and given < size:
            batch = {
                name: np.resize(values, (size, *values.shape[1:])) for name, values in batch.items()
            }
        for name, values in model.ask(batch).items():
            parts.setdefault(name, []).append(values[:given])
    return {name: np.concatenate(values) for name, values in parts.items()}


# --- From what a model answers to columns -----------------------------------------------


def _named(
    outputs: Mapping[str, np.ndarray], labels: Sequence[str], spread: bool
) -> dict[str, np.ndarray]:
    """Columns of predictions, by name."""
    deviation = outputs["spread"] if set(outputs) == {"mean", "spread"} else None
    if deviation is not None:
        outputs = {"mean": outputs["mean"]}
    elif spread:
        raise ValueError(
            "--spread needs an ensemble that was made with spread=True; the model answers "
            f"{', '.join(outputs)}"
        )
    if len(outputs) > 1:
        if labels:
            raise ValueError(f"--labels is for a model with one output. Received: {list(outputs)}")
        return {key: one for name, each in outputs.items() for key, one in _each(name, each)}
    (values,) = outputs.values()
    values = values.reshape(len(values), -1)
    count = values.shape[1]
    if not labels and count > 1 and _are_probabilities(values):
        labels = [str(k) for k in range(count)]
    found = {}
    if labels:
        if count == 1:
            values = np.concatenate([1 - values, values], axis=1)
        if len(labels) != values.shape[1] or not _are_probabilities(values):
            raise ValueError(
                f"--labels must be names of the {max(count, 2)} classes of a model whose outputs "
                f"are probabilities. Received: {', '.join(labels)}"
            )
        found["prediction"] = np.array(labels, dtype=object)[values.argmax(axis=1)]
        found |= {f"probability_{label}": values[:, k] for k, label in enumerate(labels)}
    else:
        found |= dict(_each("prediction", values))
    if spread and deviation is not None:
        deviation = deviation.reshape(len(values), -1)
        if labels:
            wide = np.broadcast_to(deviation, values.shape)  # Both of two classes have the same.
            found |= {f"spread_{label}": wide[:, k] for k, label in enumerate(labels)}
        else:
            found |= dict(_each("spread", deviation))
    return found


def _each(name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The numbers of an output as columns: one of its name, or several with numbers behind it."""
    values = values.reshape(len(values), -1)
    count = values.shape[1]
    return [(name if count == 1 else f"{name}_{k}", values[:, k]) for k in range(count)]


def _are_probabilities(values: np.ndarray) -> bool:
    if values.dtype.kind != "f":
        return False
    sums = values.astype("float64").sum(axis=1)
    return bool((values >= 0).all() and (values <= 1).all() and np.allclose(sums, 1, atol=1e-2))
