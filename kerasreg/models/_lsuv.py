"""Initial weights by data: every layer's output has the wanted variance.

Mishkin and Matas 2016, "All you need is a good init" (arXiv:1511.06422).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.activations import elementwise
from kerasreg._keras.batches import are_batches, first_batch
from kerasreg._keras.calls import intercept_calls, numbers
from kerasreg._keras.fans import kernel_fans
from kerasreg._keras.graph import graph_of
from kerasreg._keras.layers import places
from kerasreg._keras.patching import patched
from kerasreg._keras.seeds import Seeds
from kerasreg._keras.weights import is_kernel, own_weights
from kerasreg._validation import check_choice, check_count, check_positive
from kerasreg._warnings import warn
from kerasreg.models._initialization_report import InitializationReport
from kerasreg.models._kernel_rules import draw


class Scaled(NamedTuple):
    """One layer, and the variance of its output before and after the scaling."""

    layer: str
    variance_before: float | None
    variance: float | None
    iterations: int
    note: str

    @property
    def is_left_alone(self) -> bool:
        """Whether the layer misses the wanted variance; the note says why."""
        return bool(self.note)


def lsuv(
    model: keras.Model,
    x: Any,
    *,
    target_variance: float = 1.0,
    tolerance: float = 0.05,
    max_iterations: int = 10,
    where: str = "before_activation",
    seed: int | None = None,
) -> InitializationReport:
    """Scales every kernel until its layer's output has the wanted variance on `x`.

    Layer-sequential unit-variance initialisation: kernels begin orthonormal and
    biases zero; then, in the order in which the layers run, each kernel is
    multiplied by `√(target_variance/variance)` until `|variance/target_variance -
    1| <= tolerance`. The variance is the one of all numbers of the output
    together, in inference mode: dropout is the identity, batch normalisation uses
    its moving statistics.

    As in the paper, the output is that of the sum, before the layer's own
    activation; for a `Dense` without activation and an `Activation` layer behind
    it the two are the same. What tanh returns could have a variance of 1 in
    complete saturation only.

    It is one pass over the model, in which each layer runs some times; the
    optimizer is not touched and nothing is traced again.

    Args:
        model: a built model of any kind, also with nested ones. A layer that is
            used several times is scaled where it runs first.
        x: one batch of inputs, as the model is called with: an array, or a list or
            dict of them. Some hundred examples. Of a `tf.data.Dataset`, a `PyDataset` or a
            generator the first batch is taken, without its targets.
        target_variance: a number > 0.
        tolerance: the accepted relative error, a number > 0.
        max_iterations: scalings of a layer, a whole number >= 1. Before an
            activation, one is enough.
        where: `"before_activation"`, or `"after_activation"` for what the next
            layer sees. Layers whose own activation cannot have that variance, such
            as tanh, are then scaled before it, and noted.
        seed: a whole number >= 0, or None for another draw each time.

    Returns:
        An `InitializationReport` of `(layer, variance_before, variance, iterations, note)`, which
        prints as a table. `variance_before` is that of the orthonormal kernel. The
        note is empty where all is well.

    Raises:
        ValueError: if the model is not built or an argument is out of its range.
            After an error in the model itself, it has its old weights.

    Warns:
        UserWarning: with the notes: dead layers (of variance zero), variances that
            were not reached, and layers that have no such scale: recurrent, frozen,
            or not run by the model.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "tanh", name="a")])
    >>> x = np.random.default_rng(0).normal(size=(256, 8))
    >>> record = kerasreg.models.lsuv(model, x, seed=1)
    >>> print(round(record[0].variance, 3), record[0].note)
    1.0
    """
    if not isinstance(model, keras.Model) or not model.built or not model.weights:
        raise ValueError(
            "`model` must be a keras.Model that is built and has weights. "
            f"Received: model={model!r}"
        )
    target = check_positive("target_variance", target_variance)
    tolerance = check_positive("tolerance", tolerance)
    max_iterations = check_count("max_iterations", max_iterations)
    after = check_choice("where", where, ("before_activation", "after_activation")) != (
        "before_activation"
    )
    seeds = Seeds(seed)
    x = first_batch(x).x if are_batches(x) else x
    rows: dict[int, Scaled] = {}  # By the id of the layer; in the order of the model.
    targets: dict[int, tuple[Any, str]] = {}
    before: list[tuple[Any, np.ndarray]] = []
    for place in places(model, graph_of(model)):
        layer = place.layer
        weights = own_weights(layer)
        if not any(is_kernel(weight) for weight in weights):
            continue
        note = _unsuited(layer, weights)
        rows[id(layer)] = Scaled(place.path, None, None, 0, note or "left alone: it is not run")
        if not note:
            targets[id(layer)] = (layer, place.path)

    def hook(layer: Any, call: Callable[[], Any]) -> Any:
        path = targets.pop(id(layer), (None, None))[1]
        if path is not None:
            activation = getattr(layer, "activation", None)
            reachable = not after or _can_have(activation, target)
            with contextlib.ExitStack() as stack:
                if not after or not reachable:
                    stack.enter_context(_linear(layer))
                found = _scale(path, layer, call, target, tolerance, max_iterations)
            if not reachable and not found.note:
                note = "its activation cannot have this variance: scaled before it"
                found = found._replace(note=note)
            rows[id(layer)] = found
        return call()

    try:
        for number, (layer, _) in enumerate(targets.values()):
            for weight in own_weights(layer):
                if not is_kernel(weight) and weight.name != "bias":
                    continue
                before.append((weight, np.array(weight)))
                weight.assign(_first_values(layer, weight, seeds.at(number)))
        with intercept_calls([layer for layer, _ in targets.values()], hook):
            model(x, training=False)
    except BaseException:
        for weight, value in before:
            weight.assign(value)
        raise
    record = InitializationReport(tuple(rows.values()))
    if record.left_alone:
        notes = "\n".join(f"  {row.layer}: {row.note}" for row in record.left_alone)
        warn(f"lsuv has not the wanted variance in\n{notes}")
    return record


def _unsuited(layer: Any, weights: list[Any]) -> str:
    if any(weight.name == "recurrent_kernel" for weight in weights):
        return "left alone: it is recurrent"
    if not layer.trainable:
        return "left alone: it is frozen"
    if not all(keras.backend.is_float_dtype(w.dtype) for w in weights if is_kernel(w)):
        return "left alone: it is quantized"
    return ""


def _first_values(layer: Any, weight: Any, seed: int) -> Any:
    shape = tuple(weight.shape)
    if not is_kernel(weight):
        return np.zeros(shape, "float32")
    orthonormal = keras.initializers.Orthogonal(seed=seed)
    # In float32 whatever the weight's type: a decomposition needs it.
    return draw(orthonormal, shape, "float32", kernel_fans(layer, str(weight.name), shape))


@contextlib.contextmanager
def _linear(layer: Any) -> Iterator[None]:
    """Within it, the layer has no activation."""
    if not hasattr(layer, "activation"):
        yield
        return
    # Past Keras' tracking: an activation may be a layer.
    with patched(layer, activation=keras.activations.linear):
        yield


def _can_have(activation: Any, variance: float) -> bool:
    """Whether the outputs of an elementwise activation spread as far as that."""
    if activation is None:
        return True
    try:
        values = elementwise(activation)(np.array([-1e6, -1e3, 0.0, 1e3, 1e6]))
    except ValueError:  # Like softmax.
        return False
    # Half at either end of the range have the largest variance that there is.
    return bool(np.nanmax(values) - np.nanmin(values) > 2 * math.sqrt(variance) * (1 + 1e-3))


def _scale(
    path: str,
    layer: Any,
    call: Callable[[], Any],
    target: float,
    tolerance: float,
    max_iterations: int,
) -> Scaled:
    # Of several, the last: behind it is the output.
    kernel = [weight for weight in own_weights(layer) if is_kernel(weight)][-1]
    values = numbers(kernel)
    first = variance = math.nan
    scale, iteration = 1.0, 0
    while True:
        output = numbers(call())
        if output is None or values is None:
            return Scaled(path, None, None, 0, "left alone: it is run in a traced function")
        with np.errstate(invalid="ignore"):  # Infinities are noted below.
            variance = float(np.var(output))
        first = variance if iteration == 0 else first
        if abs(variance / target - 1) <= tolerance:
            return Scaled(path, first, variance, iteration, "")
        if variance == 0 or not math.isfinite(variance):
            note = "dead: its output is constant" if variance == 0 else "its output is not finite"
            return Scaled(path, first, variance, iteration, note)
        if iteration == max_iterations:
            return Scaled(path, first, variance, iteration, f"not reached in {iteration} scalings")
        scale *= math.sqrt(target / variance)
        iteration += 1
        kernel.assign((values * scale).astype("float32"))
