"""A component that keeps the contract passes; one that breaks a part of it fails that check."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from keras.saving import register_keras_serializable

from kerasreg import testing
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Lookahead
from kerasreg.regularizers import L1, L2, Penalty
from kerasreg.schedules import Hyperparameter, Linear, Schedule
from kerasreg.testing import _checks as checks


@register_keras_serializable("tests")
class Power(Penalty):
    """The penalty `strength * Σ|w|^power`.

    Args:
        strength: a number >= 0 or a schedule.
        power: a number >= 1.
        name: optional name.

    Example:

    >>> round(float(Power(0.5, power=2.0)(np.array([[1.0, -3.0]]))), 3)
    5.0
    """

    def __init__(self, strength, power=1.5, name=None):
        super().__init__(strength, name=name)
        if not isinstance(power, float) or power < 1:
            raise ValueError(f"`power` must be a number >= 1. Received: power={power!r}")
        self.power = power

    def unit_penalty(self, w):
        return ops.sum(ops.power(ops.abs(w) + 1e-6, self.power))

    def get_config(self):
        return {**super().get_config(), "power": self.power}


def power(strength=0.5, power=1.5):
    return Power(strength, power)


def test_a_penalty_of_ones_own_passes_all_checks():
    trained = ["effect", "counted", "graph", "saved_model", "initial_epoch"]
    refused = {"strength": [-1.0, "1"], "power": [0.5, None]}
    testing.check_regularizer(power, refused=refused, checks=[*testing.ALONE, *trained])


# One class for each part that is broken.


@register_keras_serializable("tests")
class ForgetsItsPower(Power):
    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "power"}


class Unregistered(Power):
    pass


@register_keras_serializable("tests")
class SharesItsVariables(Power):
    def __deepcopy__(self, memo):
        copied = type(self).from_config(self.get_config())
        copied._strength = self._strength
        return copied


@register_keras_serializable("tests")
class WrongProx(Power):
    def unit_prox(self, v, t):
        return v + t * ops.sign(v)


@register_keras_serializable("tests")
class TakesAnything(Power):
    def __init__(self, strength, power=1.5, name=None):
        super().__init__(strength, name=name)
        self.power = power


@register_keras_serializable("tests")
class NamesNoArgument(Power):
    def __init__(self, strength, power=1.5, name=None):
        if not isinstance(power, float):
            raise ValueError("no")
        super().__init__(strength, power, name)


@register_keras_serializable("tests")
class Undocumented(Power):
    """no sentence"""


BROKEN_ALONE = [
    (ForgetsItsPower, "config"),
    (Unregistered, "registered"),
    (SharesItsVariables, "deep_copy"),
    (WrongProx, "prox"),
    (TakesAnything, "refused"),
    (NamesNoArgument, "refused"),
    (Undocumented, "documentation"),
]


@pytest.mark.parametrize(("cls", "check"), BROKEN_ALONE, ids=lambda value: str(value))
def test_a_broken_penalty_fails_its_check(cls, check):
    def make(power=2.5):
        return cls(0.5, power)

    with pytest.raises(AssertionError, match=f"{cls.__name__}: {check}: "):
        testing.check_regularizer(make, refused={"power": ["2"]}, checks=[check])


@register_keras_serializable("tests")
class WrongBounds(Schedule):
    bounds = (0.0, 0.5)

    def __call__(self, step):
        return 0.2 * ops.cast(step, "float32")

    def get_config(self):
        return {}


@register_keras_serializable("tests")
class WrongLength(WrongBounds):
    bounds = (0.0, 1e9)
    length = 3


@pytest.mark.parametrize(("cls", "what"), [(WrongBounds, "bounds"), (WrongLength, "length")])
def test_a_schedule_that_breaks_its_promises_fails(cls, what):
    with pytest.raises(AssertionError, match=rf"(?s){cls.__name__}: values: .*{what}"):
        testing.check_schedule(cls, checks=["values"])


# Broken in trainings.


class Doubling(keras.layers.Layer):
    """Multiplies by a number that doubles in each training step, and is kept in many ways."""

    def get_config(self):
        return super().get_config()


@register_keras_serializable("tests")
class InPython(Doubling):
    """A graph is traced once, and so has one number."""

    number = 0.1

    def call(self, inputs, training=False):
        if training:
            self.number *= 2.0
        return inputs * self.number


@register_keras_serializable("tests")
class InHalfPrecision(Doubling):
    """The number is another one in half precision."""

    def build(self, shape):
        self.number = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, inputs, training=False):
        if training:
            self.number.assign_add(ops.cast(1e-4 * ops.ones(()), self.compute_dtype))
        return inputs * ops.cast((self.number - 1.0) * 3e3, inputs.dtype)


@register_keras_serializable("tests")
class NotTracked(Doubling):
    """The variable is neither saved nor restored."""

    def build(self, shape):
        object.__setattr__(self, "number", keras.Variable(0.1, trainable=False, autocast=False))

    def call(self, inputs, training=False):
        if training:
            self.number.assign(ops.minimum(self.number * 2.0, 1.0))
        return inputs * ops.cast(self.number.value, inputs.dtype)


BROKEN_IN_TRAININGS = [
    (InPython, "graph"),
    (InHalfPrecision, "mixed_bfloat16"),
    (NotTracked, "saved_model"),
    (NotTracked, "backup_and_restore"),
    (functools.partial(ScheduledDropout, 0.0), "effect"),
]
# Without addresses: the processes that share the tests compare the names.
IDS = [f"{getattr(make, '__name__', 'NoDropout')}-{check}" for make, check in BROKEN_IN_TRAININGS]


@pytest.mark.parametrize(("make", "check"), BROKEN_IN_TRAININGS, ids=IDS)
def test_a_broken_layer_fails_its_check(make, check):
    name = type(make()).__name__
    with pytest.raises(AssertionError, match=f"{name}: {check}: "):
        testing.check_layer(make, checks=[check])


@register_keras_serializable("tests")
class Amplifying(keras.layers.Layer):
    """Weights go up and down with it, and what is rounded grows, as with large noise."""

    def call(self, inputs):
        return inputs * 1.8


def test_a_layer_that_amplifies_what_is_rounded_is_not_broken():
    plain = checks.Trainings({"layer": Amplifying}, {})
    rounding = checks.ROUNDINGS * checks.ROUNDOFFS["mixed_bfloat16"]
    half = plain.trained("mixed_bfloat16", run_eagerly=True)
    assert checks.differences(half, plain.eager.state(), rounding, also_optimizer=False)
    testing.check_layer(Amplifying, checks=["mixed_bfloat16", "xla"])


def test_among_others_the_broken_one_is_named_and_no_other():
    makes = {
        "good": lambda: L2(0.5),
        "bad": NotTracked,
        "drops": lambda: ScheduledDropout(0.5, seed=1),
    }
    with pytest.raises(AssertionError) as error:
        testing.check_together(makes, checks=["saved_model", "used_copy"])
    lines = str(error.value).splitlines()[1:]
    assert [line.partition(": ")[0] for line in lines] == ["bad"]


@register_keras_serializable("tests")
class Raises(keras.layers.Layer):
    def call(self, inputs):
        raise RuntimeError("not today")


def test_among_others_the_one_that_raises_is_named():
    makes = {"good": lambda: L2(0.5), "bad": Raises}
    with pytest.raises(AssertionError, match="bad: used_copy: raised RuntimeError") as error:
        testing.check_together(makes, checks=["used_copy"])
    assert "good:" not in str(error.value)


@register_keras_serializable("tests")
class Forgetful(keras.callbacks.Callback):
    """Lowers the learning rate in the fourth epoch that it sees."""

    def __init__(self, backup_dir=None):
        super().__init__()
        self.epochs = 0

    def on_train_begin(self, logs=None):
        self.epochs = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs += 1
        if self.epochs == 4:
            self.model.optimizer.learning_rate.assign(0.01)

    def get_config(self):
        return {}


@pytest.mark.parametrize("check", ["backup_and_restore", "initial_epoch"])
def test_a_callback_that_forgets_fails(check):
    with pytest.raises(AssertionError, match=f"Forgetful: {check}: "):
        testing.check_callback(Forgetful, checks=[check])


@register_keras_serializable("tests")
class Lazy(Lookahead):
    """Its slow weights are no part of what is saved."""

    def make_slots(self, variables):
        slots = [keras.Variable(ops.zeros(v.shape), trainable=False) for v in variables]
        object.__setattr__(self, "_slow", slots)


def test_an_optimizer_that_forgets_fails():
    with pytest.raises(AssertionError, match="Lazy: saved_model: "):
        testing.check_optimizer(
            lambda: Lazy(keras.optimizers.SGD(0.2), sync_period=3), checks=["saved_model"]
        )


@register_keras_serializable("tests")
class Unseeded(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(np.random.default_rng().normal(size=shape), dtype)

    def get_config(self):
        return {}


def test_an_initializer_that_draws_something_else_each_time_fails():
    with pytest.raises(AssertionError, match="Unseeded: config: "):
        testing.check_initializer(Unseeded, checks=["config"], shape=(3,))


# On replicas.


@register_keras_serializable("tests")
class CountsEachReplica(keras.layers.Layer):
    """Its steps are added up over replicas."""

    def build(self, shape):
        self.steps = self.add_weight(
            name="steps", shape=(), initializer="zeros", trainable=False, aggregation="sum"
        )

    def call(self, inputs, training=False):
        if training:
            self.steps.assign(self.steps + 1.0)
        return inputs


MAKES = {"good": lambda: L1(Linear(0.5, 0.1, 4)), "bad": CountsEachReplica}


@pytest.mark.long
def test_a_component_that_counts_each_replica_fails():
    with pytest.raises(AssertionError, match=r"bad: two_replicas: .*steps") as error:
        testing.check_two_replicas(f"{__file__}:MAKES")
    assert "good:" not in str(error.value)


@pytest.mark.long
def test_a_component_that_counts_each_replica_fails_in_our_loop():
    # Of a batch of four samples, three replicas have two, one and one.
    with pytest.raises(AssertionError, match=r"bad: 3 replicas: .*steps") as error:
        testing.check_replicas(f"{__file__}:MAKES", replicas=3)
    assert "good:" not in str(error.value)


# What is asked for.


def test_a_component_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="`make` must make a layer"):
        testing.check_layer(lambda: Linear(0.5, 0.1, 4))
    with pytest.raises(ValueError, match="`make` must make a regularizer"):
        testing.check_regularizer(lambda: Hyperparameter(0.5))


@pytest.mark.parametrize("checks", [["nothing"], "graph"])
def test_checks_that_are_not_known_are_refused(checks):
    with pytest.raises(ValueError, match="`checks` must be names of checks"):
        testing.check_layer(lambda: ScheduledDropout(0.5), checks=checks)


@pytest.mark.parametrize("target", ["make", "module:", ":make", 1])
def test_a_target_that_is_no_name_is_refused(target):
    with pytest.raises(ValueError, match="`target` must be"):
        testing.two_replicas(target)
