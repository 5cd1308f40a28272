"""The rule of each kernel, by the preset, the activation and the residual branch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.fans import Fans, kernel_fans
from kerasreg._keras.graph import Graph
from kerasreg._keras.layers import Place
from kerasreg._keras.seeds import with_seed
from kerasreg._keras.weights import is_kernel, kernels, own_weights
from kerasreg.initializers import DeltaOrthogonal, DepthScaled, Fixup, Siren, for_activation
from kerasreg.initializers import preset as preset_named
from kerasreg.models._branches import residual_branches
from kerasreg.models._following_activation import activation_behind

_initializers = keras.initializers

# A rule in words, and the function from a seed to the values; None leaves them.
Rule = tuple[str, Callable[[int], Any] | None]


def gpt2(seed: int) -> keras.initializers.Initializer:
    """The initializer of GPT-2, for all that does not end a residual branch."""
    return _initializers.RandomNormal(stddev=0.02, seed=seed)


class KernelRules:
    """The rule of each kernel of one model, by one preset."""

    def __init__(
        self, preset: str, options: dict[str, Any], graph: Graph | None, zero_last_gain: bool
    ) -> None:
        self.preset, self.options, self.graph = preset, options, graph
        self.branches = [] if graph is None else residual_branches(graph)
        for argument, value, needed in (
            ("preset", preset, preset in ("gpt2", "fixup")),
            ("zero_last_gain", zero_last_gain, zero_last_gain),
        ):
            if needed and not self.branches:
                raise ValueError(
                    f"`{argument}` must be another for a model in which no residual branch is "
                    "found (in layers with layers inside, and in subclassed models, they are not "
                    f"seen). Received: {argument}={value!r}"
                )
        # By the id of the kernel: kernels in the branch, and whether it ends it.
        self.in_branch: dict[int, tuple[int, bool]] = {}
        self.zero_gains: set[int] = set()
        for branch in self.branches:
            assert graph is not None
            operations = [graph.uses[index].operation for index in branch]
            # A kernel may be shared: each once, at its last place.
            found = list(
                dict.fromkeys(id(k) for operation in operations for k in kernels(operation))
            )
            for kernel in found:
                _, is_end = self.in_branch.get(kernel, (0, False))
                self.in_branch[kernel] = (len(found), is_end or kernel == found[-1])
            if zero_last_gain:
                self.zero_gains |= _last_gain(operations)
        if zero_last_gain and not self.zero_gains:
            raise ValueError(
                "`zero_last_gain` must be False for a model in which no residual branch ends "
                "with a normalisation that has a gain. Received: zero_last_gain=True"
            )

    def rule(self, place: Place, variable: Any) -> Rule:
        """The rule of one kernel."""
        layer, name = place.layer, str(variable.name)
        shape, dtype = tuple(variable.shape), variable.dtype
        what, make = self._choose(place, variable)
        fans = kernel_fans(layer, name, shape)

        def values(seed: int) -> Any:
            initializer = make(seed)
            if isinstance(initializer, DeltaOrthogonal):
                return initializer(shape, dtype=dtype)
            return draw(initializer, shape, dtype, fans)

        return what, values

    def _choose(self, place: Place, variable: Any) -> tuple[str, Callable[[int], Any]]:
        layer, name = place.layer, str(variable.name)
        recurrent = any(
            weight.name == "recurrent_kernel" for weight in own_weights(layer) if is_kernel(weight)
        )
        if name == "recurrent_kernel":
            return "orthogonal", lambda seed: _initializers.Orthogonal(seed=seed)
        kernels_in_branch, is_end = self.in_branch.get(id(variable), (0, False))
        count = len(self.branches)
        if self.preset == "gpt2":
            if is_end:
                return (
                    f"N(0, 0.02²/{count}), ends a residual branch",
                    lambda seed: DepthScaled(count, 1, seed=seed),
                )
            return "N(0, 0.02²)", gpt2
        if self.preset not in ("by_activation", "fixup"):
            return self._named(place, variable)
        if recurrent:
            return "glorot_normal (recurrent)", _glorot
        separable = name == "depthwise_kernel" and len(own_weights(layer)) > 1
        activation, is_output = activation_behind(layer, self.graph, place.use)
        if self.preset == "fixup":
            if is_end or (is_output and kernels_in_branch == 0):
                end = "ends a residual branch" if is_end else "output"
                return f"zeros ({end})", lambda seed: _initializers.Zeros()
            if kernels_in_branch:
                return (
                    f"fixup, {count} branches of {kernels_in_branch} kernels",
                    lambda seed: Fixup(count, kernels_in_branch, seed=seed),
                )
        if is_output:
            return "glorot_normal (output)", _glorot
        if activation is None or separable:
            return "glorot_normal (linear)", _glorot
        label = _label(activation)
        try:
            rule = for_activation(activation)
        except ValueError:
            return f"glorot_normal ({label}, for which no gain is known)", _glorot
        return f"{_words(rule)} ({label})", lambda seed: with_seed(rule, seed)

    def _named(self, place: Place, variable: Any) -> tuple[str, Callable[[int], Any]]:
        shape = tuple(variable.shape)
        options = dict(self.options)
        label = self.preset
        convolves = isinstance(preset_named(label, **options), DeltaOrthogonal)
        # As a depthwise kernel is no matrix between channels, it is none of these.
        suits = (
            3 <= len(shape) <= 5 and shape[-2] <= shape[-1] and _is_plain_convolution(place.layer)
        )
        if convolves and not suits:
            label = "orthogonal"
        if isinstance(preset_named(label, **options), Siren) and "first" not in options:
            options["first"] = self._is_first(place)
            label += " (first layer)" if options["first"] else ""
        name = label.split()[0]
        return label, lambda seed: preset_named(name, seed=seed, **options)

    def _is_first(self, place: Place) -> bool:
        if self.graph is None or place.use is None:
            return False
        before = self.graph.ancestors[place.use] & ~(1 << place.use)
        return not before & self.graph.matrices


def _glorot(seed: int) -> keras.initializers.Initializer:
    return _initializers.GlorotNormal(seed=seed)


def _last_gain(operations: list[Any]) -> set[int]:
    """The id of the gain of the last normalisation, if it is behind the last kernel."""
    for operation in reversed(operations):
        if kernels(operation):
            break
        for weight in getattr(operation, "weights", []):
            if weight.name in ("gamma", "scale") and weight.trainable:
                return {id(weight)}
    return set()


def _is_plain_convolution(layer: Any) -> bool:
    plain = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    return isinstance(layer, plain) and layer.groups == 1


def _label(activation: Any) -> str:
    if isinstance(activation, str):
        return activation
    return str(getattr(activation, "__name__", type(activation).__name__))


def _words(rule: Any) -> str:
    if type(rule) is _initializers.VarianceScaling:
        return f"variance {rule.scale:.3g}/fan_in"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(rule).__name__).lower()


def draw(initializer: Any, shape: Sequence[int], dtype: str, fans: Fans) -> Any:
    """Values of a kernel by the rule of an initializer, with the right fans.

    Rules of variances get their variance; every other one, such as an orthogonal
    one, draws the matrix `(what is summed, the rest)` that the kernel is.
    """
    size = math.prod(shape)
    if isinstance(initializer, keras.initializers.VarianceScaling):
        mean = (fans.fan_in + fans.fan_out) / 2
        fan = {"fan_in": fans.fan_in, "fan_out": fans.fan_out, "fan_avg": mean}
        # Of the shape (1, size) Keras takes the fan 1.
        unit = keras.initializers.VarianceScaling(
            initializer.scale / fan[initializer.mode],
            "fan_in",
            initializer.distribution,
            seed=initializer.seed,
        )
        return ops.reshape(unit((1, size), dtype=dtype), shape)
    order = [*fans.summed, *(axis for axis in range(len(shape)) if axis not in fans.summed)]
    rows = int(math.prod(shape[axis] for axis in fans.summed))
    matrix = initializer((rows, size // rows), dtype=dtype)
    permuted = ops.reshape(matrix, [shape[axis] for axis in order])
    return ops.transpose(permuted, [order.index(axis) for axis in range(len(shape))])
