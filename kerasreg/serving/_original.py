"""What a smaller model lost: beside the one that it was made of, on validation data."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kerasreg.serving._signatures import Served
from kerasreg.serving._verify import check_features, largest_difference

_BATCH = 256


def check_validation_data(given: Any, served: Served) -> tuple[dict[str, np.ndarray], Any]:
    """Features by name and targets (or None), or a `ValueError`."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError(
            "`validation_data` must be (x, y): inputs as for `samples`, and targets or None. "
            f"Received: {type(given).__name__}"
        )
    features = check_features(
        served, served.by_name(given[0], "validation_data"), argument="validation_data"
    )
    count = len(next(iter(features.values())))
    if given[1] is None:
        return features, None
    y = tree.map_structure(np.atleast_1d, given[1])
    lengths = [len(part) for part in tree.flatten(y)]
    if set(lengths) != {count}:
        raise ValueError(
            f"`validation_data` must have a target for each of its {count} samples. "
            f"Received: {lengths}"
        )
    return features, y


def check_original(original: Served, exported: Served) -> None:
    """A `ValueError` unless both take and return the same."""
    others = _interface(original)
    for what, expected in _interface(exported).items():
        if others[what] != expected:
            raise ValueError(
                f"`original` must have the {what} of the model, {expected}. "
                f"Received: {others[what]}"
            )


def _interface(served: Served) -> dict[str, dict[str, Any]]:
    """The shapes of what a model takes and returns, by name."""
    return {
        "inputs": {name: spec.shape for name, spec in served.specs.items()},
        "outputs": dict(zip(served.names, served.shapes, strict=True)),
    }


def against_original(
    exported: Served, original: Served, features: Mapping[str, np.ndarray], y: Any
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """The outputs of both, and the compiled metrics of the original with the outputs of both.

    Returns:
        `samples`; `relative_difference`, the largest of an output over its largest value, of
        outputs of numbers if there are any; and `same_class`, the share of samples where the
        largest of several scores, or a string, is the same (None where there are other outputs).
        And for each metric, if there are `y` and a compiled model, its value for the original and
        the exported model and the difference.
    """
    outputs, expected = _outputs(exported, features), _outputs(original, features)
    named, named_expected = exported.named(outputs), original.named(expected)
    compared = {
        "samples": len(next(iter(features.values()))),
        "relative_difference": largest_difference(*_numbers(named, named_expected)),
        "same_class": _same_class(named, named_expected),
    }
    after = _metrics(original.model, outputs, y)
    metrics = {
        name: {"original": value, "exported": after[name], "difference": after[name] - value}
        for name, value in _metrics(original.model, expected, y).items()
    }
    return compared, metrics


def _outputs(served: Served, features: Mapping[str, np.ndarray]) -> Any:
    """In the structure in which the model returns them, of all samples."""
    count, size = len(next(iter(features.values()))), served.batch or _BATCH
    parts = []
    with served.as_it_was():
        for start in range(0, count, size):
            batch = {
                name: ops.convert_to_tensor(value[start : start + size], served.specs[name].dtype)
                for name, value in features.items()
            }
            parts.append(tree.map_structure(ops.convert_to_numpy, served.outputs(batch)))
    return tree.map_structure(lambda *each: np.concatenate(each), *parts)


def _numbers(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both without outputs of strings, which are made of numbers and are the same or not."""
    names = [name for name, value in expected.items() if value.dtype != object]
    names = names or list(expected)
    return {name: found[name] for name in names}, {name: expected[name] for name in names}


def _same_class(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Any:
    same = []
    for name, value in expected.items():
        if value.dtype == object:
            same.append((found[name] == value).reshape(len(value), -1).all(axis=1))
        elif value.ndim == 2 and value.shape[1] > 1:
            same.append(found[name].argmax(1) == value.argmax(1))
        else:
            return None
    return float(np.mean(np.all(same, axis=0)))


def _metrics(model: keras.Model, outputs: Any, y: Any) -> dict[str, float]:
    """The compiled metrics of a model for given outputs; as after `evaluate`, they are reset."""
    if y is None or not getattr(model, "compiled", False):
        return {}
    model.reset_metrics()
    count = len(tree.flatten(outputs)[0])
    for start in range(0, count, _BATCH):
        take = operator.itemgetter(slice(start, start + _BATCH))
        batch, batch_y = tree.map_structure(take, outputs), tree.map_structure(take, y)
        found = model.compute_metrics(None, batch_y, batch)
    model.reset_metrics()
    # Keras' tracker of the loss has seen nothing here.
    return {name: float(value) for name, value in found.items() if name != "loss"}
