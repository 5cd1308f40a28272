"""The signal through the layers of a model and back: whether its weights keep it alive.

Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward
neural networks", whose figures 6 and 7 this is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.batches import are_batches, first_batch
from kerasreg._keras.calls import intercept_calls, numbers
from kerasreg._keras.graph import graph_of
from kerasreg._keras.layers import places
from kerasreg._keras.weights import has_matrix, is_kernel, own_weights
from kerasreg._validation import check_count
from kerasreg.models._backward import forward_and_backward
from kerasreg.models._branches import residual_branches
from kerasreg.models._signal_result import SignalReport, SignalRow, judge


def signal_report(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    training: bool = True,
    seed: int = 0,
) -> SignalReport:
    """Measures activations and gradients in every layer on one batch.

    Args:
        model: a built model of any kind, also with nested ones.
        x: one batch of inputs, as the model is called with. Some hundred examples. Of a
            `tf.data.Dataset`, a `PyDataset` or a generator the first batch is taken, with its
            targets.
        y: its targets, for `loss` or the loss that the model is compiled with. By
            default, and where there are none, the loss is a random projection of
            the outputs, `Σ r·output / examples` with `r ~ N(0, 1)`: no targets are
            needed to see how gradients fade.
        loss: a Keras loss, its name or a function `(y, output)`, for a model with
            one output; by default that of `model.compile`.
        training: whether the layers run as in training (normalisation by the batch,
            dropout), which is what begins to be trained, or as at inference. The
            model is afterwards as it was: moving statistics, seeds and step counts
            are put back.
        seed: of the random projection, a whole number >= 0.

    Returns:
        A `SignalReport`, which prints as a table. Its verdict compares the layers
        with a kernel or embeddings (of attention and other layers of layers, the
        whole), but those that make the model's outputs, whose scale is that of the
        targets:

        - `"exploding"`: a number is not finite; or the standard deviation of the
          activations is more than 10³ times the first layer's, or the norm of
          the gradients more than 10³ times the last layer's.
        - `"vanishing"`: one of the two falls below 10⁻³ times it and stays there.
        - `"fine"`: neither.

        10³ is the range over which one learning rate is of use: where gradients
        differ by more, layers stand still or diverge. In 20 layers it is a factor
        of √2 in each, the mistake of Glorot's rule with ReLU. Where the signal is
        small and there again behind, it went around; residual branches that begin
        at zero (see `initialize`) are passed over.

    Raises:
        ValueError: if the model is not built, there is a loss without targets, or
            targets without a loss.
        NotImplementedError: with another backend than TensorFlow.

    Gradients of float16 layers are taken of a scaled loss, as in training.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> layers = [keras.layers.Dense(32, "tanh", kernel_initializer=keras.initializers.
    ...     RandomNormal(stddev=0.01, seed=n)) for n in range(8)]
    >>> model = keras.Sequential([keras.Input((32,)), *layers])
    >>> x = np.random.default_rng(0).normal(size=(64, 32))
    >>> kerasreg.models.signal_report(model, x).verdict
    'vanishing'
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a keras.Model that is built. Received: model={model!r}")
    if are_batches(x):
        if y is not None:
            raise ValueError(f"`y` must be None where `x` has the targets. Received: y={y!r}")
        x, targets, _ = first_batch(x)
        # Without a loss they are of no use.
        y = targets if loss is not None or model.compiled else None
    if y is None and loss is not None:
        raise ValueError(f"`loss` must be None without targets `y`. Received: loss={loss!r}")
    if y is not None and loss is None and not model.compiled:
        raise ValueError(
            "`loss` must be given for targets `y`, for the model is not compiled. "
            "Received: loss=None"
        )
    seed = check_count("seed", seed, minimum=0)
    graph = graph_of(model)
    found = [place for place in places(model, graph) if not isinstance(place.layer, keras.Model)]
    paths = {id(place.layer): place for place in found}
    calls: list[tuple[Any, int, float, float]] = []
    uses: dict[int, int] = {}

    def run(watch: Callable[[Any], None]) -> Any:
        def hook(layer: Any, call: Callable[[], Any]) -> Any:
            result = call()
            tensor = _first_float(result)
            values = None if tensor is None else numbers(tensor)
            if values is not None:
                uses[id(layer)] = uses.get(id(layer), 0) + 1
                watch(tensor)
                with np.errstate(invalid="ignore"):  # Infinities are for the verdict.
                    mean, variance = float(values.mean()), float(values.var())
                calls.append((layer, uses[id(layer)], mean, variance))
            return result

        with intercept_calls([place.layer for place in found], hook):
            output = model(x, training=training)
        return _loss(model, x, y, loss, output, seed)

    state = [(v, np.array(v)) for v in model.variables if not v.trainable]
    kernel_of = {id(place.layer): _own_kernel(place.layer) for place in found}
    wanted = [kernel for kernel in kernel_of.values() if kernel is not None]
    try:
        backward, of_kernels = forward_and_backward(run, wanted)
    finally:
        for variable, value in state:
            variable.assign(value)
    kernel_gradient = {id(k): g for k, g in zip(wanted, of_kernels, strict=True)}
    judged = [
        number
        for number, (layer, *_) in enumerate(calls)
        if has_matrix(layer) and not paths[id(layer)].is_part
    ]
    in_branches = {use for branch in residual_branches(graph) for use in branch} if graph else set()
    rows = []
    for number, ((layer, use, mean, variance), gradient) in enumerate(
        zip(calls, backward, strict=True)
    ):
        place, kernel = paths[id(layer)], kernel_of[id(layer)]
        if graph is not None and place.use is not None:
            is_output = bool(graph.outputs >> place.use & 1)
        else:  # The last one is taken for the output.
            is_output = number == max(judged, default=None)
        closed = place.use in in_branches and (variance == 0 or not np.any(gradient))
        rows.append(
            SignalRow(
                layer=place.path if use == 1 else f"{place.path} ({use})",
                kind=type(layer).__name__,
                mean=mean,
                variance=variance,
                # Gradients of a mean over the batch: times the examples, of each one.
                gradient_norm=_norm(gradient),
                gradient=_root_mean_square(gradient),
                kernel_gradient=_root_mean_square(
                    None if kernel is None else kernel_gradient[id(kernel)]
                ),
                is_judged=number in judged and not is_output and not closed,
            )
        )
    verdict, where, reason = judge(rows)
    return SignalReport(tuple(rows), verdict, where, reason)


def _loss(model: Any, x: Any, y: Any, loss: Any, output: Any, seed: int) -> Any:
    if y is None:
        # Seeded by NumPy: the same on every machine.
        rng = np.random.default_rng(seed)
        total = 0.0
        for tensor in keras.tree.flatten(output):
            tensor = ops.cast(tensor, "float32")
            total += ops.sum(tensor * rng.normal(size=tensor.shape).astype("float32"))
        return total / len(tensor)
    y = keras.tree.map_structure(ops.convert_to_tensor, y)
    if loss is None:
        return model.compute_loss(x=x, y=y, y_pred=output)
    return ops.mean(keras.losses.get(loss)(y, output))


def _own_kernel(layer: Any) -> Any:
    found = [weight for weight in own_weights(layer) if is_kernel(weight)]
    return found[-1] if found else None


def _first_float(result: Any) -> Any:
    for tensor in keras.tree.flatten(result):
        if hasattr(tensor, "dtype") and keras.backend.is_float_dtype(
            keras.backend.standardize_dtype(tensor.dtype)
        ):
            return tensor
    return None


def _root_mean_square(gradient: np.ndarray | None) -> float | None:
    return None if gradient is None else float(np.sqrt(np.mean(np.square(gradient))))


def _norm(gradient: np.ndarray | None) -> float | None:
    """The root mean square, over the examples, of the norm of one's gradient."""
    if gradient is None:
        return None
    return float(np.sqrt(np.sum(np.square(gradient)) * len(gradient)))
