"""A narrow model and a wide one with zeros in the place of what the narrow one lacks, compared."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.deferred_variables import initial_value
from kerasreg._keras.internals import functional_of, walk_layers
from kerasreg._keras.random_draws import replaced_draws
from kerasreg._keras.stateless_optimizer import optimizer_variables
from kerasreg.lanes._derived import OwnVariables
from kerasreg.lanes._padding import NotPadded, Padding, chosen_of, ones_at
from kerasreg.lanes._scalars import Scalar, ScalarValues, stack_scalars
from kerasreg.lanes._step import Differentiate, Step
from kerasreg.lanes._structure import ModelStructure

# Two runs of the same sums, in another order.
_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
_TOLERANCE = 1e-4
# Of an axis of the inputs that has any length.
_LENGTH = 32
_SAMPLES = 10
# Strengths, and other single numbers, are at least so large.
_LEAST = 0.1
_STEPS = 2

_MOST = 32
# The kinds of models whose optimizers leave zeros alone, which no activation changes.
_optimizers: collections.OrderedDict[Any, None] = collections.OrderedDict()


class Comparison:
    """A narrow model and a wide one, run with the same numbers.

    Args:
        narrow: the narrow model.
        wide: the wide model.
        structures: the structures of both.
        padding: where the values of the narrow model lie in the wide one.
    """

    def __init__(
        self,
        narrow: keras.Model,
        wide: keras.Model,
        structures: tuple[ModelStructure, ModelStructure],
        padding: Padding,
    ) -> None:
        if not narrow.optimizer.built:
            narrow.optimizer.build(narrow.trainable_variables)
        self._models, self._structures, self._padding = (narrow, wide), structures, padding
        self._random = np.random.default_rng(0)
        theirs = OwnVariables(wide, structures[1]).in_model(narrow, structures[0])
        self._pairs = [
            (theirs[id(variable)], variable)
            for variable in _variables_of(wide, structures[1])
            if id(variable) in theirs
        ]

    def difference(self, masked: bool) -> str | None:
        """Compares what comes out of both models, and what steps of the optimizer change.

        Args:
            masked: whether gradients of the wide model are made zero beside the values.

        Returns:
            What differs, in words; None for nothing.
        """
        narrow, wide = self._results
        if masked:
            pairs = zip(self._trainable, wide["gradients"], strict=True)
            wide = {**wide, "gradients": [self._masked(at, gradient) for at, gradient in pairs]}
        layers = walk_layers(self._models[1])
        tolerance = max(_TOLERANCES.get(layer.compute_dtype, _TOLERANCE) for layer in layers)
        for name, mine in narrow.items():
            for one, other in zip(mine, wide[name], strict=True):
                if not _close(one, other, tolerance):
                    return f"with zeros beside it, a narrow model has other {name} than without"
        for name in ("gradients", "weights after steps of the optimizer"):
            if not all(map(self._is_zero_beside, self._trainable, wide[name])):
                return f"the {name} of units that are zero are not zero"
        _optimizers[self._structures[1].unsized_tokens] = None
        while len(_optimizers) > _MOST:
            _optimizers.popitem(last=False)
        return None

    @functools.cached_property
    def _results(self) -> list[dict[str, list[Any]]]:
        """What the narrow model gives, and what the wide one gives."""
        weights = {id(variable) for variable in self._models[0].variables}
        begin = [self._value(mine, id(mine) in weights) for mine, _ in self._pairs]
        # Units that all have one sign, of which a maximum over them is not 0.
        alike = [
            _of_one_sign(value, self._random) if mine.trainable else value
            for value, (mine, _) in zip(begin, self._pairs, strict=True)
        ]
        x = [self._input(tensor) for tensor in self._models[0].inputs]
        return [
            {**self._run(which, begin, x), "outputs": self._infer(which, alike, x)}
            for which in (0, 1)
        ]

    def _value(self, variable: keras.Variable, is_weight: bool) -> np.ndarray:
        """A value to begin with: of a weight one that hides nothing, as zeros would."""
        value = np.asarray(ops.convert_to_numpy(initial_value(variable)))
        if not np.issubdtype(value.dtype, np.floating):
            return value
        if value.ndim == 0:
            return np.asarray(_not_small(float(value)), value.dtype)
        if not is_weight:
            return value
        moved = np.abs(self._random.normal(size=value.shape)) * 0.1
        if variable.trainable:
            moved *= self._random.choice([-1.0, 1.0], size=value.shape)
        return (value + moved).astype(value.dtype)

    def _is_zero_beside(self, at: int, value: np.ndarray) -> bool:
        """Whether what belongs to padded units is zero, and not only small."""
        mine, its = self._pairs[at]
        beside = self._padding.embed(its, np.ones(mine.shape)) == 0
        return not np.any(value[beside])

    def _input(self, tensor: Any) -> Any:
        shape = [_SAMPLES, *(length or _LENGTH for length in tensor.shape[1:])]
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            raise NotPadded("its inputs are texts")
        if "float" in dtype:
            return ops.convert_to_tensor(self._random.normal(size=shape), dtype=dtype)
        return ops.convert_to_tensor(self._random.integers(0, 2, size=shape), dtype=dtype)

    @functools.cached_property
    def _trainable(self) -> list[int]:
        """Which of the pairs are weights that are trained."""
        index = {id(wide): at for at, (_, wide) in enumerate(self._pairs)}
        return [index[id(variable)] for variable in self._models[1].trainable_variables]

    def _step(self, which: int, begin: list[np.ndarray]) -> tuple[Step, ScalarValues, list[Any]]:
        """What runs a model, its numbers, and the values of its variables."""
        # Seeds, and numbers that follow from widths, are those of the narrow model in both. The
        # strength of a penalty may be so small that nothing would be seen of it.
        pairs = [
            (mine._replace(value=_shown(mine)), (mine, its)[which])
            for mine, its in zip(*(of.scalars for of in self._structures), strict=True)
            if mine.name == "seed" or not mine.value == its.value == _shown(mine)
        ]
        # Behind the variables that both models have are those of the wide one.
        chosen = chosen_of(self._structures[1]) if which else []
        normalized = [
            (layer, keras.Variable(ones_at(None, layer.input.shape[-1]), dtype="float32"))
            for layer, _ in (self._padding.normalized if which else ())
        ]
        variables = [pair[which] for pair in self._pairs]
        variables += [*chosen, *(mask for _, mask in normalized)]
        own = [scalar for _, scalar in pairs]
        step = Step(self._models[which], variables, own, normalized=normalized)
        step.draws = _constant_draws
        step.before = self._structures[which]
        stacked = stack_scalars([[mine for mine, _ in pairs]])
        scalars = keras.tree.map_structure(lambda of: ops.convert_to_tensor(of[0]), stacked)
        values = [
            self._as(which, wide, value)
            for (_, wide), value in zip(self._pairs, begin, strict=True)
        ]
        values += [
            ops.convert_to_tensor(self._padding.chosen[id(of)], dtype=of.dtype) for of in chosen
        ]
        values += [
            ops.convert_to_tensor(
                self._padding.mask_of_units(layer, mask.shape[0]), dtype=mask.dtype
            )
            for layer, mask in normalized
        ]
        return step, scalars, values

    def _infer(self, which: int, begin: list[np.ndarray], x: list[Any]) -> list[Any]:
        """The outputs of a model that does not train."""
        step, scalars, values = self._step(which, begin)
        inputs = _packed(self._models[which], x)
        outputs = _compiled(lambda values: step.predict(values, scalars, inputs))(values)
        return keras.tree.flatten(outputs)

    def _run(self, which: int, begin: list[np.ndarray], x: list[Any]) -> dict[str, list[Any]]:
        """What a model that trains gives, and is afterwards."""
        model, trainable = self._models[which], self._trainable
        step, scalars, values = self._step(which, begin)
        random = np.random.default_rng(1)

        # The same for both: what is rounded differently may be divided by its own size.
        steps = [
            [
                self._as(which, wide, random.normal(size=mine.shape).astype(str(mine.dtype)))
                for mine, wide in (self._pairs[at] for at in trainable)
            ]
            for _ in range(_STEPS if self._structures[1].unsized_tokens not in _optimizers else 0)
        ]

        def loss(of: Sequence[Any], inside: list[Any]) -> tuple[Any, Any]:
            for at, value in zip(trainable, of, strict=True):
                inside[at] = value
            with step.lane(inside, scalars) as scope:
                outputs = keras.tree.flatten(step.forward(_packed(model, x), True))
                parts = [
                    ops.sum(ops.cast(out, "float32") * ops.cast(_weights(out.shape), "float32"))
                    for out in outputs
                ]
                found = sum(parts) + sum(ops.cast(of, "float32") for of in model.losses)
                return found, (found, [scope.get_current_value(of) for of in step.variables])

        def moves(values: list[Any]) -> Any:
            of_values = _differentiate()(lambda of, assigned: loss(of, list(values)))
            gradients, (total, after) = of_values([values[at] for at in trainable])
            moved = list(after)
            for gradients_of_step in steps:
                moved = step.update(moved, scalars, gradients_of_step)
            return [_dense(gradient) for gradient in gradients], total, after, moved

        gradients, total, after, moved = _compiled(moves)(values)
        weights = [moved[at] for at in trainable]
        return {
            "loss": [total],
            "gradients": [
                self._wide(which, at, gradient)
                for at, gradient in zip(trainable, gradients, strict=True)
            ],
            "variables": [
                self._narrow(which, at, value) for at, value in enumerate(after[: len(self._pairs)])
            ],
            "weights after steps of the optimizer": [
                self._wide(which, at, value) for at, value in zip(trainable, weights, strict=True)
            ],
        }

    def _masked(self, at: int, gradient: np.ndarray) -> np.ndarray:
        """A gradient of the wide model with zeros beside what the narrow one has."""
        wide = self._pairs[at][1]
        return self._padding.embed(wide, self._padding.extract(wide, gradient))

    def _as(self, which: int, wide: keras.Variable, value: np.ndarray) -> Any:
        given = self._padding.embed(wide, value) if which else value
        return ops.convert_to_tensor(given, dtype=wide.dtype)

    def _wide(self, which: int, at: int, value: Any) -> np.ndarray:
        """A value as the wide model has it: there are zeros beside, which both must have."""
        array = np.asarray(ops.convert_to_numpy(value))
        return array if which else self._padding.embed(self._pairs[at][1], array)

    def _narrow(self, which: int, at: int, value: Any) -> np.ndarray:
        found = self._padding.extract(self._pairs[at][1], value) if which else value
        return np.asarray(ops.convert_to_numpy(found))


def _shown(scalar: Scalar) -> float:
    """The value of a number with which its effect is seen."""
    is_strength = isinstance(scalar.owner, keras.regularizers.Regularizer)
    return _not_small(scalar.value) if is_strength else scalar.value


def _not_small(value: float) -> float:
    return value if abs(value) >= _LEAST else math.copysign(_LEAST, value)


def _of_one_sign(value: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Weights of units that are nearly alike, so that all of a sample have one sign."""
    if value.ndim < 2 or not np.issubdtype(value.dtype, np.floating):
        return value
    size = np.abs(value[..., :1]) + 0.1 * np.abs(value)
    return (size * random.choice([-1.0, 1.0], size=(*value.shape[:-1], 1))).astype(value.dtype)


def _variables_of(model: keras.Model, structure: ModelStructure) -> list[keras.Variable]:
    every = [
        *model.variables,
        *optimizer_variables(model.optimizer).values(),
        *structure.variables,
    ]
    return list({id(variable): variable for variable in every}.values())


def _packed(model: keras.Model, x: list[Any]) -> Any:
    return keras.tree.pack_sequence_as(functional_of(model).input, x)


def _weights(shape: Sequence[int]) -> np.ndarray:
    """Other weights for each number of an output, so that none goes unseen in a sum."""
    return np.cos(np.arange(math.prod(shape))).reshape(shape)


def _dense(gradient: Any) -> Any:
    # Of an embedding TensorFlow has slices.
    return gradient if gradient is None else ops.convert_to_tensor(gradient)


def _close(one: Any, other: Any, tolerance: float) -> bool:
    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    scale = max(1.0, float(np.abs(one).max(initial=0.0)))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * scale))


def _compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """JAX compiles each operation, and so better all of them at once."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    compiled: Callable[[Any], Any] = jax.jit(function)
    return compiled


def _differentiate() -> Differentiate:
    if keras.backend.backend() == "jax":
        from kerasreg.lanes._jax import differentiate

        return differentiate
    from kerasreg.lanes._tensorflow import differentiate as of_tensorflow

    return of_tensorflow


def _constant_draws() -> contextlib.AbstractContextManager[None]:
    """Draws that are the same in both models, and no zeros for what is added to units."""
    return replaced_draws(
        uniform=_middle,
        normal=_one_deviation,
        truncated_normal=_one_deviation,
        randint=_least,
        dropout=_nothing_dropped,
    )


def _middle(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    return ops.ones(shape, dtype) * ops.cast((minval + maxval) / 2, dtype or keras.config.floatx())


def _one_deviation(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Any:
    return ops.ones(shape, dtype) * ops.cast(mean + stddev, dtype or keras.config.floatx())


def _least(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    return ops.ones(shape, dtype) * ops.cast(minval, dtype)


def _nothing_dropped(inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    return inputs
