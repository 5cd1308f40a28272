"""Publishing a model in the layout that TensorFlow Serving reads: `<base>/<version>/`.

A version directory appears by one rename of a folder that is complete and
synced: a reader sees all of it or nothing, and nothing is ever overwritten.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasreg._files import characters_of_patterns
from kerasreg._keras.tensorflow_internals import name_inputs
from kerasreg._validation import check_count, check_positive
from kerasreg._warnings import warn
from kerasreg.serving._card import model_card, write_card
from kerasreg.serving._original import against_original, check_original, check_validation_data
from kerasreg.serving._signatures import (
    Labels,
    Served,
    check_labels,
    classification,
    examples,
    monte_carlo_signature,
)
from kerasreg.serving._verify import check_features, compare, outputs_of_keras, random_features
from kerasreg.serving._warmup import write_warmup

# Its input is the same for every model.
_EXAMPLES: dict[str, dict[str, str]] = {"serve_examples": {}}


def list_versions(base_dir: str | os.PathLike[str]) -> list[int]:
    """Lists the published versions in a base directory, in ascending order.

    Args:
        base_dir: the directory; it need not exist.

    Returns:
        The numbers of its version directories.

    Example:

    >>> import kerasreg
    >>> kerasreg.serving.list_versions("does-not-exist")
    []
    """
    if not os.path.isdir(base_dir):
        return []
    return sorted(
        int(name)
        for name in os.listdir(base_dir)
        if name.isascii() and name.isdigit() and os.path.isdir(os.path.join(base_dir, name))
    )


def export(
    model: keras.Model,
    base_dir: str | os.PathLike[str],
    *,
    preprocessing: keras.Model | None = None,
    outputs: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    passes: int = 0,
    samples: Any = None,
    card: Mapping[str, Any] | None = None,
    tolerance: float | None = 1e-6,
    quantization: str | None = None,
    original: keras.Model | None = None,
    validation_data: Any = None,
    original_tolerance: float | None = None,
) -> str:
    """Exports a model for inference as the next version in a base directory.

    In contrast to `model.export(path)`, nothing is overwritten, and there is no
    moment at which the version is on disk in part. Concurrent exports get
    different versions. What would differ from Keras is not published.

    Signatures, each for a batch of any size, or of the one size that the model takes:

    - `serve`, which is also `serving_default`: from the inputs of the model, or of its
      preprocessing, by their names, to its outputs. Names are those that users know, such as
      `capital-gain` or `petal length (cm)`: the keys of dicts, joined by `_` where dicts and
      lists are in dicts, and else the names of inputs. Inputs that have only a name by Keras are
      `inputs`, or `inputs_0`, `inputs_1`, ...; so are outputs, where the model returns no dict.
    - `serve_examples`: the same from `examples`, serialised `tf.Example` messages with a
      feature for each input. Not there for inputs with unknown axes after their first.
    - `classify`, with `labels`: `label`, `classes` and `scores` of each example.
    - `predict_mc`, with `passes`: for each output the mean and the variance of so many
      passes with dropout on, `outputs_mean` and `outputs_variance`. The masks of an example are
      made by its values: it gets the same answer each time and in any batch.

    In Python `tf.saved_model.load(path).signatures` takes the same names, unless two of them differ
    only in what is no letter or digit: then the keys of `structured_input_signature` tell.

    Beside it, in `assets.extra`: `model_card.json` and `model_card.md`, and, with `samples`,
    the warm-up requests that TensorFlow Serving sends to itself.

    Args:
        model: a built Keras model.
        base_dir: the directory of the versions; it is made if there is none.
        preprocessing: a built model, from raw features to what `model` takes. It becomes part of
            what is served.
        outputs: a name for each output.
        labels: strings, one for each class of a model whose only output has the shape
            (batch, classes), or two for one that ends with a sigmoid. Scores are probabilities: the
            outputs of a model that ends with a softmax or a sigmoid; the softmax of the outputs of
            one that ends with a layer without activation, and is not compiled, or compiled with a
            crossentropy of logits. Other outputs are refused.
        passes: how many passes `predict_mc` makes, a whole number >= 0; the model must have layers
            of dropout of kerasreg. 0 leaves the signature out.
        samples: raw inputs, as `model`, or `preprocessing`, is called with them: to compare
            with Keras, and as warm-up requests (of the first eight). Without them the comparison
            is of random numbers, and left out where there are strings or unknown axes, or where
            the model takes no such numbers. Equal NaN and infinities are no difference.
        card: more entries of the model card, such as `{"hyperparameters": ..., "metrics": ...,
            "data": ..., "command": ...}`. What the card cannot say of the model, such as the config
            of a schedule that has none, is listed in it as `not_described`.
        tolerance: the largest relative difference from Keras with which a version is
            published, a number > 0; None for no comparison. For a model that computes in half
            precision it is at least four of the roundings of that type.
        quantization: `"float16"` or `"int8"`: weights of two or more axes are stored in so many
            bits, with one scale for each output of a layer, and widened where they are used.
            In contrast to `model.quantize("int8")`, of which the result can be exported too,
            this is for all layers, and what is computed between them stays floating. None
            stores them as they are.
        original: the model before it was made smaller, such as by `kerasreg.models.compress`,
            to compare with. By default the model itself without `quantization`.
        validation_data: `(x, y)`, inputs as for `samples` and targets (or None), on which
            the original and what is exported are compared, by outputs and by the metrics that the
            original is compiled with; needed with `quantization` or `original`. The card
            has the figures.
        original_tolerance: the largest relative difference from the original with which a version
            is published, a number > 0; None for any.

    Returns:
        The path of the new version directory, `<base_dir>/<number>`.

    Raises:
        ValueError: if the model is not built, `base_dir` is a file, or an argument does not
            fit the model.
        RuntimeError: if what was exported differs from Keras, or more than
            `original_tolerance` from the original; nothing is published then.

    Example:

    >>> import tempfile, keras, kerasreg
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> path = kerasreg.serving.export(model, tempfile.mkdtemp())
    >>> path.endswith("/1")
    True
    """
    for argument, value in (("model", model), ("preprocessing", preprocessing)):
        if value is None and argument == "preprocessing":
            continue
        if not isinstance(value, keras.Model):
            raise ValueError(
                f"`{argument}` must be a `keras.Model`. Received: {argument}={value!r} of the type "
                f"{type(value)}"
            )
        if not value.built:
            raise ValueError(
                f"`{argument}` must be built: call it on data first. "
                f"Received: {value.name!r}, unbuilt"
            )
    base_dir = os.fspath(base_dir)
    if os.path.exists(base_dir) and not os.path.isdir(base_dir):
        raise ValueError(f"`base_dir` must be a directory. Received: the file {base_dir!r}")
    if special := characters_of_patterns(base_dir):
        warn(
            f"TensorFlow takes {special!r} in a path for a pattern, and may not load what is "
            f"exported to {base_dir!r} from there: copy it to a path without."
        )
    check_count("passes", passes, minimum=0)
    for argument, value in (("tolerance", tolerance), ("original_tolerance", original_tolerance)):
        if value is not None:
            check_positive(argument, value)
    served = Served(model, preprocessing, outputs, quantization)
    features = (
        _at_random(served) if samples is None else check_features(served, served.by_name(samples))
    )
    values = None if labels is None or features is None else outputs_of_keras(served, features)
    classes = None if labels is None else check_labels(labels, served, values)
    written = model_card(model, card or {})
    if served.weights is not None:
        written["quantization"] = {"to": quantization, "bytes": served.weights.bytes}
    if quantization is not None or original is not None or validation_data is not None:
        before = Served(model if original is None else original, preprocessing, outputs)
        check_original(before, served)
        compared, metrics = against_original(
            served, before, *check_validation_data(validation_data, served)
        )
        written |= {"against_original": compared, "metrics_against_original": metrics}
        difference = compared["relative_difference"]
        if original_tolerance is not None and not difference <= original_tolerance:
            raise RuntimeError(
                f"What would be exported differs from the original by {difference:.1e} of the "
                f"largest output, which is more than {original_tolerance:.0e}: it is not published."
            )
    os.makedirs(base_dir, exist_ok=True)
    # In the base directory, so that the rename stays in one file system. Readers
    # look for names that are numbers and pass over this one.
    staging = tempfile.mkdtemp(prefix=".staging-", dir=base_dir)
    try:
        staged = os.path.join(staging, "model")
        requests = _write(served, staged, staging, classes, passes)
        written["inputs"] = {name: str(spec) for name, spec in served.specs.items()}
        written["outputs"] = served.names
        written["signatures"] = sorted(requests)
        if tolerance is not None and features is not None:
            found = compare(staged, served, features, tolerance)
            if not found.passed:
                raise RuntimeError(
                    f"The exported model differs from Keras by {found.relative_difference:.1e} of "
                    "the largest output, which is more than "
                    f"{found.tolerance:.0e}: it is not published."
                )
            written["verification"] = dataclasses.asdict(found)
        # Requests to a model with a state would move it on.
        if samples is not None and features is not None and not served.stateful:
            rows = {name: value[: served.batch or 8] for name, value in features.items()}
            warm = {name: rows for name in requests if name != "serve_examples"}
            write_warmup(staged, os.path.basename(os.path.abspath(base_dir)), warm)
        write_card(staged, written)
        _sync(staged)
        return _publish(staged, base_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _at_random(served: Served) -> dict[str, np.ndarray] | None:
    """Numbers at random, or None where the model takes none."""
    features = random_features(served)
    if features is not None:
        try:
            outputs_of_keras(served, features)
        except Exception:  # The model's own.
            return None
    return features


def _write(
    served: Served, staged: str, folder: str, labels: Labels | None, passes: int
) -> list[str]:
    """Writes the SavedModel; returns the names of its signatures."""
    # The first is `serving_default` too.
    functions = {"serve": served.function(served)}
    archive = keras.export.ExportArchive()
    if served.weights is None:
        archive.track(served.model)
    else:
        served.weights.track(archive)
    if served.preprocessing is not None:
        archive.track(served.preprocessing)
    from_examples = examples(served)
    if from_examples is not None:
        functions["serve_examples"] = from_examples
    if labels is not None:
        functions["classify"], table = classification(served, labels, folder)
        archive.track(table)
    if passes:
        functions["predict_mc"] = monte_carlo_signature(served, passes)
    for name, function in functions.items():
        archive.add_endpoint(name, function)
    archive.write_out(staged, verbose=False)
    # TensorFlow has the names of specs in small letters.
    if any(name != argument.lower() for name, argument in served.arguments.items()):
        own = {argument: name for name, argument in served.arguments.items()}
        name_inputs(staged, {key: own for key in (*functions, "serving_default")} | _EXAMPLES)
    return list(functions)


def _publish(staged: str, base_dir: str) -> str:
    """Renames a staged folder to the next free version; returns its path."""
    version = max(list_versions(base_dir), default=0) + 1
    while True:
        path = os.path.join(base_dir, str(version))
        try:
            # Renaming onto a directory with files in it fails: that version was
            # taken by another export meanwhile.
            os.rename(staged, path)
        except OSError:
            if not os.path.exists(path):
                raise
            version += 1
            continue
        _sync_folder(base_dir)
        return path


def _sync(folder: str) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot sync a folder.
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
