"""The public checks, one for each kind of component."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras

from kerasreg.testing._checks import (
    Refused,
    check_names,
    raise_if_any,
    run_alone,
    run_trained,
)
from kerasreg.testing._training import Component, Make, Shapes


def check_regularizer(
    make: Make, *, refused: Refused | None = None, checks: Collection[str] | None = None
) -> None:
    """Checks a regularizer, such as a `Penalty` of one's own.

    The trainings use the regularizer on a kernel of shape (3, 1). `check_layer` says for each
    check what the check is for. The check `prox` asks a `Penalty` with a proximal operator
    whether any other point is better.

    Args:
        make: a function without arguments that makes a new regularizer each time. It should
            be strong enough to be seen in a training of six steps.
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no regularizer, or a check is not known.

    Example:

    >>> import kerasreg
    >>> def make(strength=0.5):
    ...     return kerasreg.regularizers.L1(strength)
    >>> kerasreg.testing.check_regularizer(
    ...     make, refused={"strength": [-1.0, "1"]}, checks=kerasreg.testing.ALONE)
    """
    _check(make, (keras.regularizers.Regularizer,), "a regularizer", refused, checks)


def check_layer(
    make: Make,
    *,
    input_shape: tuple[int, ...] | None = None,
    refused: Refused | None = None,
    checks: Collection[str] | None = None,
) -> None:
    """Checks a layer, such as one that drops by a `Hyperparameter`, or such a wrapper.

    Checks of the layer alone (`kerasreg.testing.ALONE`):

    - `config`: the config is JSON, and makes a layer that computes the same.
    - `registered`: Keras serialises the layer under the name of a package, and makes an equal
      layer from that.
    - `deep_copy`: a copy is equal, and shares no variable with the layer.
    - `refused`: each bad value raises a `ValueError` whose message has
      ``"`argument` must be "`` and `"Received: argument="`.
    - `documentation`: see `check_documentation`.

    Checks of trainings with the layer (`kerasreg.testing.TRAINED`), of six steps and with
    equal seeds:

    - `effect`: the weights differ from those of a training without the layer. Other checks
      would not see a layer without an effect.
    - `counted`: each training step is counted once, and what a schedule moves is where the
      schedule is.
    - `graph`, `xla`, `mixed_float16`, `mixed_bfloat16_xla`, ...: the training ends as an
      eager training in float32 does, to a tolerance of the precision: ten unit roundoffs, or
      ten times what rounding the data once makes of the training, where that is more. A name
      of a precision alone stands for eager execution.
    - `saved_model`: a model from a `.keras` file has equal state, outputs and losses, and
      trains on as the saved model does.
    - `used_copy`: a deep copy after a training has the state of the layer.
    - `backup_and_restore`, `initial_epoch`: an interrupted training ends exactly as a whole
      training does.

    `check_two_replicas` is for replicas.

    Args:
        make: a function without arguments that makes a new layer each time.
        input_shape: of its inputs, without the batch; None for what its `input_spec`
            asks for, or three features.
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no layer, or a check is not known.

    Example:

    >>> import kerasreg
    >>> def make(rate=0.5):
    ...     return kerasreg.layers.ScheduledDropout(rate, seed=1)
    >>> kerasreg.testing.check_layer(
    ...     make, refused={"rate": [-0.1, None]}, checks=kerasreg.testing.ALONE)
    """
    _check(make, (keras.layers.Layer,), "a layer", refused, checks, input_shape)


def check_schedule(
    make: Make, *, refused: Refused | None = None, checks: Collection[str] | None = None
) -> None:
    """Checks a schedule, which is the factor of a layer's inputs in trainings.

    `check_layer` says for each check what the check is for. The check `values` asks whether
    steps of any type give equal values, one by one or at once. The values must be within
    `bounds`, and constant from `length` on.

    Args:
        make: a function without arguments that makes a new schedule each time, of one class.
            Its values should differ from 1 in the first six steps.
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no schedule, or a check is not known.

    Example:

    >>> import kerasreg
    >>> def make(steps=4):
    ...     return kerasreg.schedules.Linear(0.5, 0.1, steps)
    >>> kerasreg.testing.check_schedule(
    ...     make, refused={"steps": [0, "4"]}, checks=kerasreg.testing.ALONE)
    """
    kinds = (keras.optimizers.schedules.LearningRateSchedule,)
    _check(make, kinds, "a schedule", refused, checks)


def check_initializer(
    make: Make,
    *,
    shape: tuple[int, ...] | None = None,
    refused: Refused | None = None,
    checks: Collection[str] | None = None,
) -> None:
    """Checks an initializer, by weights of a layer that it draws.

    `check_layer` says for each check what the check is for.

    Args:
        make: a function without arguments that makes a new initializer each time; of one
            that draws at random, with a seed.
        shape: of the weights that it draws; None for (2, 2, 3, 4).
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no initializer, or a check is not known.

    Example:

    >>> import kerasreg
    >>> def make(depth=2):
    ...     return kerasreg.initializers.Fixup(depth, seed=1)
    >>> kerasreg.testing.check_initializer(
    ...     make, refused={"depth": [0, 0.5]}, checks=kerasreg.testing.ALONE)
    """
    kinds = (keras.initializers.Initializer,)
    _check(make, kinds, "an initializer", refused, checks, shape)


def check_optimizer(
    make: Make, *, refused: Refused | None = None, checks: Collection[str] | None = None
) -> None:
    """Checks an optimizer, such as a wrapper around others.

    `check_layer` says for each check what the check is for. The model has an `L1` penalty,
    which an optimizer may apply itself. In a training without the optimizer, `SGD` trains the
    model.

    Args:
        make: a function without arguments that makes a new optimizer each time.
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no optimizer, or a check is not known.

    Example:

    >>> import keras, kerasreg
    >>> def make(sync_period=2):
    ...     return kerasreg.optimizers.Lookahead(keras.optimizers.Adam(0.05), sync_period)
    >>> kerasreg.testing.check_optimizer(
    ...     make, refused={"sync_period": [0, 0.5]}, checks=["deep_copy", "refused"])
    """
    _check(make, (keras.optimizers.Optimizer,), "an optimizer", refused, checks)


def check_callback(
    make: Make, *, refused: Refused | None = None, checks: Collection[str] | None = None
) -> None:
    """Checks a callback, which needs a `get_config` for that.

    `check_layer` says for each check what the check is for. The check `saved_model` asks
    nothing of callbacks. The model has dropout at a rate of 0, an `L2` penalty, and `SGD`
    with momentum and weight decay, for a callback to move. The training is validated for a
    callback whose `monitor` begins with `val_`, or that has a `metric`. A callback that only
    looks on is checked without `effect`. A callback that ends a training is checked without
    `backup_and_restore` and `initial_epoch`.

    Args:
        make: a function without arguments that makes a new callback each time. Where it
            takes a `backup_dir`, checks of interrupted trainings give it one.
        refused: for arguments of `make`, values that must be refused.
        checks: names of checks, of `kerasreg.testing.CHECKS`; None for all.

    Raises:
        AssertionError: if a check fails, with the name of each that does.
        ValueError: if `make` makes no callback, or a check is not known.

    Example:

    >>> import kerasreg
    >>> def make(factor=0.5):
    ...     return kerasreg.callbacks.StepDecay(0.5, factor=factor, every=1)
    >>> kerasreg.testing.check_callback(
    ...     make, refused={"factor": [2.0]}, checks=kerasreg.testing.ALONE)
    """
    _check(make, (keras.callbacks.Callback,), "a callback", refused, checks)


def check_together(
    makes: Mapping[str, Callable[..., Any]],
    *,
    shapes: Shapes | None = None,
    checks: Collection[str] | None = None,
) -> None:
    """Checks many components in few trainings, for a package that has many.

    One model holds all layers, penalties, schedules and initializers. Each component has a
    branch of the model with weights of the branch's own, so that a fault has the name of a
    component. Each optimizer and each callback has a model of its own. `check_layer` says for
    each check what the check is for.

    Args:
        makes: functions without arguments that make the components, by name.
        shapes: by name, of the inputs of layers or of what initializers draw, as in
            `check_layer` and `check_initializer`.
        checks: names of checks, of `kerasreg.testing.CHECKS`, of which only those in
            `kerasreg.testing.TRAINED` are run; None for all of them.

    Raises:
        AssertionError: if a check fails, with each component and check that does.
        ValueError: if a check is not known.

    Example:

    >>> import kerasreg
    >>> from kerasreg.regularizers import L1, L2
    >>> makes = {"L1": lambda: L1(0.5), "L2": lambda: L2(0.5)}
    >>> kerasreg.testing.check_together(makes, checks=["effect", "saved_model"])
    """
    raise_if_any(run_trained(makes, check_names(checks), shapes))


def _check(
    make: Make,
    kinds: tuple[type, ...],
    kind: str,
    refused: Refused | None,
    checks: Collection[str] | None,
    shape: tuple[int, ...] | None = None,
) -> None:
    chosen = check_names(checks)
    component: Component = make()
    if not isinstance(component, kinds):
        raise ValueError(f"`make` must make {kind}. Received: make() = {component!r}")
    name = type(component).__name__
    faults = run_alone(name, make, chosen, shape, refused)
    faults += run_trained({name: make}, chosen, {} if shape is None else {name: shape})
    raise_if_any(faults)
