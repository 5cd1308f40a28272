"""The bias of an output layer with which a model begins at the class frequencies.

Karpathy 2019, "A Recipe for Training Neural Networks" ("init well"), and Lin et
al. 2017, "Focal Loss" (arXiv:1708.02002), section 3.3. Without it the first
epochs of an imbalanced problem go into learning how rare the classes are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasreg._validation import check_choice, check_count, check_number


def output_bias(
    counts: Any, activation: str | None = "softmax", *, smoothing: float = 0.0
) -> np.ndarray:
    """The biases that make an untrained output equal to the class frequencies.

    Softmax: `log p`, less its mean. Sigmoid: `log(p/(1-p))`. With a zero kernel
    the output is `p` exactly; with a random one of zero mean, its logits are so on
    average.

    Args:
        counts: how often each class occurs. For softmax an array of shape
            `(classes,)` with at least two entries. For sigmoid `(2,)`, the
            negative and the positive examples, or `(labels, 2)`, these for each
            of several labels.
        activation: `"softmax"` or `"sigmoid"`; None, an output of logits for a
            softmax loss, is `"softmax"`.
        smoothing: examples that are added to every class, a number >= 0. A class
            without an example has no finite bias and needs one: 1 is Laplace's
            rule, 0.5 Jeffreys'.

    Returns:
        A float64 array: `(classes,)` for softmax; for sigmoid `(1,)` or
        `(labels,)`. For `keras.initializers.Constant` or `layer.bias.assign`.

    Raises:
        ValueError: if `counts` has another shape, an entry that is negative or
            not finite, or, without smoothing, an entry 0.

    Example:

    >>> import kerasreg
    >>> kerasreg.initializers.output_bias([900, 100], "sigmoid").round(3)
    array([-2.197])
    """
    kind = check_choice("activation", activation or "softmax", ("softmax", "sigmoid"))
    smoothing = check_number("smoothing", smoothing, 0.0, float("inf"))
    try:
        given = np.asarray(counts, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`counts` must be an array of numbers >= 0. Received: counts={counts!r}"
        ) from error
    softmax = given.ndim == 1 and given.size >= 2
    sigmoid = given.ndim in (1, 2) and given.shape[-1] == 2 and given.size > 0
    if not (softmax if kind == "softmax" else sigmoid):
        shapes = "(classes,), with 2 or more" if kind == "softmax" else "(2,) or (labels, 2)"
        raise ValueError(
            f"`counts` must have the shape {shapes} for a {kind}. "
            f"Received: counts of shape {given.shape}"
        )
    if not np.all(np.isfinite(given) & (given >= 0)):
        raise ValueError(f"`counts` must be finite numbers >= 0. Received: counts={given.tolist()}")
    if np.any(given + smoothing == 0):
        raise ValueError(
            "`counts` must be > 0 where smoothing=0: the bias of a class without an example is "
            f"-infinity; pass a smoothing such as 1.0. Received: counts={given.tolist()}"
        )
    # The sum of the counts cancels in both.
    logits = np.log(given + smoothing)
    if kind == "softmax":
        return np.asarray(logits - logits.mean())
    return np.atleast_1d(logits[..., 1] - logits[..., 0])


def class_counts(labels: Any, classes: int | None = None) -> np.ndarray:
    """How often each class occurs in integer labels.

    Args:
        labels: whole numbers from 0 to `classes - 1`, of any shape.
        classes: how many classes there are, a whole number >= 1; by default as
            many as the largest label says.

    Returns:
        An int64 array of shape `(classes,)`, for `output_bias`.

    Raises:
        ValueError: if `labels` is empty, has other than whole numbers, or numbers
            out of range.

    Example:

    >>> import kerasreg
    >>> kerasreg.initializers.class_counts([0, 2, 2, 1, 2])
    array([1, 1, 3])
    """
    given = np.asarray(labels)
    if given.size == 0 or given.dtype == bool or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            "`labels` must be whole numbers, at least one. "
            f"Received: labels of shape {given.shape} and dtype {given.dtype}"
        )
    largest = int(given.max())
    classes = largest + 1 if classes is None else check_count("classes", classes)
    if given.min() < 0 or largest >= classes:
        raise ValueError(
            f"`labels` must be from 0 to {classes - 1}. "
            f"Received: labels from {given.min()} to {largest}"
        )
    return np.bincount(given.ravel().astype("int64"), minlength=classes)
