"""New initial weights for a model that exists, by what each layer is there for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasreg._keras.graph import graph_of
from kerasreg._keras.layers import Place, places
from kerasreg._keras.seeds import Seeds, with_seed
from kerasreg._keras.weights import is_kernel, own_weights
from kerasreg._validation import check_choice
from kerasreg.initializers import preset as preset_named
from kerasreg.initializers import presets
from kerasreg.models._initialization_report import InitializationReport
from kerasreg.models._kernel_rules import KernelRules, Rule, gpt2


class Initialized(NamedTuple):
    """One weight, and the rule by which it was drawn."""

    layer: str
    variable: str
    rule: str

    @property
    def is_left_alone(self) -> bool:
        """Whether the variable has the value that it had."""
        return self.rule.startswith("left alone")


def initialize(
    model: keras.Model,
    preset: str = "by_activation",
    *,
    seed: int | None = None,
    zero_last_gain: bool = False,
    **options: Any,
) -> InitializationReport:
    """Draws the weights of a model anew, in place, each by the role of its layer.

    - Kernels by the `preset`, with the fans that the layer really has (also of
      depthwise, grouped and transposed convolutions, and of `EinsumDense`).
    - Recurrent kernels orthogonal; biases zero, of an LSTM's forget gate one.
    - Gains of normalisation one, its offsets zero, and BatchNormalization's moving
      mean and variance, which belong to the old weights, zero and one.
    - Every other weight by the initializer that its layer has for it
      (`embeddings_initializer`, ...), with a new seed.
    - Frozen weights, and those that nothing is known about, are left alone.

    The optimizer and its state are not touched, and nothing is traced again: after
    a training, compile anew for fresh momenta. A weight that is shared is drawn
    once. Draws depend on the seed and the place in the graph, not on the names of
    layers; a subclassed model has no graph, and its layers count in the order in
    which they were set.

    Args:
        model: a built model of any kind, also with nested ones. Of a subclassed
            model, or layer with layers inside, only the layers' own activations
            are known, not what follows them.
        preset: which rule the kernels have:

            - `"by_activation"`: `for_activation` of the activation that follows:
              the layer's own or, where that is linear, the nearest in the graph
              past normalisation, dropout, reshaping, pooling and additions.
              Kernels that make outputs have Glorot's rule, and so have linear
              ones and recurrent layers' input kernels.
            - `"gpt2"`: `N(0, 0.02²)`, embeddings too; divided by the square root
              of the number of residual branches where a kernel ends one (Radford
              et al. 2019).
            - `"fixup"`: in residual branches `Fixup`, zeros at their ends and in
              the output layers; elsewhere by activation (arXiv:1901.09321).
            - any name of `presets()`, for all kernels. `"siren"` knows the first
              layers; `"delta_orthogonal"` is `"orthogonal"` for what is no
              convolution, or has fewer channels out than in.
        seed: a whole number >= 0, or None for another draw each time.
        zero_last_gain: whether the normalisation that ends a residual branch,
            behind its last kernel, has the gain 0, so that the network begins as
            the identity (Goyal et al. 2017, arXiv:1706.02677).
        **options: of the preset's class, as in `preset(...)`.

    A residual branch is what an addition adds to its shortcut, the input with the
    fewest layers with kernels (then: the fewest operations) behind the last place
    that the inputs have in common. Where two are tied, there is no branch. The
    kernel that ends it is the last one in forward order; of attention, that of
    the output.

    Returns:
        An `InitializationReport` of `(layer, variable, rule)`, which prints as a table.

    Raises:
        ValueError: if the model is not built, there is no such preset or option,
            or the preset is about residual branches and none is found. The model
            is then as it was.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="a"),
    ...     keras.layers.ReLU(), keras.layers.Dense(2, "softmax", name="b")])
    >>> print(kerasreg.models.initialize(model, seed=1))
    layer  variable  rule
    a      kernel    he_normal (ReLU)
    a      bias      zeros
    b      kernel    glorot_normal (output)
    b      bias      zeros
    """
    if not isinstance(model, keras.Model) or not model.built or not model.weights:
        raise ValueError(
            "`model` must be a keras.Model that is built and has weights. "
            f"Received: model={model!r}"
        )
    plain = check_choice("preset", preset, ("by_activation", "gpt2", "fixup", *presets()))
    if plain not in ("by_activation", "gpt2", "fixup"):
        preset_named(plain, seed=0, **options)
    elif options:
        raise ValueError(
            f"`options` must be empty: the preset {plain!r} has none. Received: options={options!r}"
        )
    graph = graph_of(model)
    kernel_rules = KernelRules(plain, options, graph, zero_last_gain)
    seeds = Seeds(seed)
    rows: list[Initialized] = []
    tasks: list[tuple[Any, Callable[[int], Any]]] = []
    done: set[int] = set()
    for place in places(model, graph):
        for variable in own_weights(place.layer):
            if id(variable) in done:
                continue
            done.add(id(variable))
            rule, values = _rule(place, variable, kernel_rules)
            rows.append(Initialized(place.path, str(variable.name), rule))
            if values is not None:
                tasks.append((variable, values))
    # Nothing is assigned before everything has a rule.
    for number, (variable, values) in enumerate(tasks):
        variable.assign(values(seeds.at(number)))
    return InitializationReport(tuple(rows))


def _rule(place: Place, variable: Any, kernel_rules: KernelRules) -> Rule:
    layer, name = place.layer, str(variable.name)
    shape, dtype = tuple(variable.shape), variable.dtype
    moving = {"moving_mean": 0.0, "moving_variance": 1.0}
    is_moving = name in moving and hasattr(layer, f"{name}_initializer")
    if not keras.backend.is_float_dtype(dtype):
        return f"left alone: it is of {dtype}", None
    if not layer.trainable:
        return "left alone: its layer is frozen", None
    if not variable.trainable and not is_moving:
        return "left alone: it is no trainable weight", None
    if is_moving:
        return _constant(moving[name], shape, dtype)
    normalises = type(layer).__name__.endswith("Normalization")
    if normalises and name in ("gamma", "scale"):
        return _constant(0.0 if id(variable) in kernel_rules.zero_gains else 1.0, shape, dtype)
    if name == "beta" and normalises:
        return _constant(0.0, shape, dtype)
    if name == "bias" or name.endswith("_bias"):
        if getattr(layer, "unit_forget_bias", False):
            return _forget_gate_one(shape, dtype)
        return _constant(0.0, shape, dtype)
    if is_kernel(variable):
        return kernel_rules.rule(place, variable)
    if name == "embeddings" and kernel_rules.preset == "gpt2":
        return "N(0, 0.02²)", lambda seed: gpt2(seed)(shape, dtype=dtype)
    own = getattr(layer, f"{name}_initializer", None)
    if callable(own):
        what = f"its own {getattr(own, '__name__', type(own).__name__)}"
        return what, lambda seed: with_seed(own, seed)(shape, dtype=dtype)
    return "left alone: what it is for is not known", None


def _constant(value: float, shape: Any, dtype: str) -> Rule:
    return "ones" if value else "zeros", lambda seed: np.full(shape, value, dtype)


def _forget_gate_one(shape: Any, dtype: str) -> Rule:
    def values(seed: int) -> Any:
        bias = np.zeros(shape, "float32")
        # Keras' order of the gates is input, forget, candidate, output.
        units = shape[-1] // 4
        bias[..., units : 2 * units] = 1.0
        return bias.astype(dtype)

    return "zeros, ones for the forget gate", values
