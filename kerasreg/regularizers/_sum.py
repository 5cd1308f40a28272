"""Sums of penalties on one weight: `L1(a) + GroupLasso(b)`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kerasreg._keras.hyperparameter import NumberOrSchedule
from kerasreg.regularizers._groups import GroupLasso, SparseGroupLasso
from kerasreg.regularizers._norms import L1, L2, ElasticNet
from kerasreg.regularizers._penalty import Penalty
from kerasreg.regularizers._proximal_operators import soft_threshold
from kerasreg.regularizers._shape import TotalVariation

# Before the operator of the absolute sum, or after it, theirs makes that of the sum.
_BEFORE_ABSOLUTE = (TotalVariation,)
_AFTER_ABSOLUTE = (GroupLasso, SparseGroupLasso)


@keras.saving.register_keras_serializable(package="kerasreg")
class Sum(Penalty):
    """`strength * Σ penalties`, which `a + b` makes.

    The parts keep their own strengths and schedules; `strength` multiplies all.
    A proximal operator exists for any number of `L1`, `L2` and `ElasticNet`, and
    for these with one other: `GroupLasso`, `SparseGroupLasso` or
    `TotalVariation`. With `L2` alone, for any one penalty that has it.

    Args:
        penalties: one or more penalties of `kerasreg.regularizers`.
        strength: factor of the sum, a finite number >= 0 or a schedule of them.
        name: optional name of the penalty.

    Returns:
        Called with a tensor that every part takes: a scalar of its dtype;
        float32 for half precision.

    Raises:
        ValueError: if `penalties` is empty or holds what is no penalty; if the
            strength is, or a schedule of it becomes, negative.

    The order in which the operators of the parts make that of the sum: Friedman et
    al. 2007 (fused lasso), Jenatton et al. 2011 (groups).

    Example:

    >>> import numpy as np
    >>> from kerasreg.regularizers import L1, GroupLasso
    >>> penalty = L1(1.0) + GroupLasso(2.0, axis=0)
    >>> float(penalty(np.array([[3.0, -4.0, 0.0, 0.0]])))
    27.0
    """

    def __init__(
        self,
        penalties: Sequence[Penalty],
        strength: NumberOrSchedule = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(strength, name=name)
        parts: list[Any] = list(penalties) if isinstance(penalties, list | tuple) else [penalties]
        deserialize = keras.saving.deserialize_keras_object
        parts = [deserialize(part) if isinstance(part, dict) else part for part in parts]
        if not parts or not all(isinstance(part, Penalty) for part in parts):
            raise ValueError(
                "`penalties` must be one or more penalties of `kerasreg.regularizers`. "
                f"Received: penalties={penalties!r}"
            )
        self.penalties: list[Any] = parts

    def unit_penalty(self, w: Any) -> Any:
        return sum(part.counted(w) for part in self.penalties)

    def value(self, w: Any) -> Any:
        """The penalty of `w` at the strengths as they are now: no schedule is advanced."""
        total = sum(part.value(w) for part in self.penalties)
        return ops.cast(ops.convert_to_tensor(self.strength), total.dtype) * total

    @property
    def has_prox(self) -> bool:
        parts = [part for part, _ in self._flat()]
        others = [part for part in parts if not isinstance(part, L1 | L2 | ElasticNet)]
        if not others:
            return True
        absolute = any(isinstance(part, L1 | ElasticNet) for part in parts)
        combines = isinstance(others[0], _BEFORE_ABSOLUTE + _AFTER_ABSOLUTE)
        return len(others) == 1 and others[0].has_prox and (combines or not absolute)

    @property
    def takes_step_sizes(self) -> bool:  # type: ignore[override]
        """Whether all parts take a step size for each weight."""
        return all(part.takes_step_sizes for part in self.penalties)

    @property
    def largest_step_size(self) -> float:
        """The least of those of the parts, at the strength as it is now."""
        least = min(part.largest_step_size for part in self.penalties)
        strength = float(ops.convert_to_numpy(self.strength))
        return least / strength if strength > 0 else math.inf

    def unit_prox(self, v: Any, t: Any) -> Any:
        absolute, quadratic, other = ops.zeros_like(t), ops.zeros_like(t), None
        for part, factor in self._flat():
            factor = t * ops.cast(factor, v.dtype)
            strength = ops.cast(part.strength, v.dtype)
            if isinstance(part, L1):
                absolute = absolute + factor * strength
            elif isinstance(part, L2):
                quadratic = quadratic + factor * strength
            elif isinstance(part, ElasticNet):
                alpha = ops.cast(part.alpha, v.dtype)
                absolute = absolute + (1.0 - alpha) * factor * strength
                quadratic = quadratic + 2.0 * alpha * factor * strength
            else:
                other = part, factor, strength
        # The square joins that of the distance: another point, and shorter steps.
        scale = 1.0 + quadratic
        v, absolute = v / scale, absolute / scale
        if other is None:
            return soft_threshold(v, absolute)
        part, factor, strength = other
        if isinstance(part, _BEFORE_ABSOLUTE):
            return soft_threshold(part.proximal(v, factor / scale, strength), absolute)
        return part.proximal(soft_threshold(v, absolute), factor / scale, strength)

    def _flat(self) -> Iterator[tuple[Penalty, Any]]:
        """The parts, also those of sums among them, with what multiplies each here."""
        for part in self.penalties:
            if isinstance(part, Sum):
                for inner, factor in part._flat():
                    yield inner, factor * ops.convert_to_tensor(part.strength)
            else:
                yield part, 1.0

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        parts = [keras.saving.serialize_keras_object(part) for part in self.penalties]
        return {"penalties": parts, **config}
