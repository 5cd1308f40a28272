"""The contract of components, run on every class that the package exports.

Classes and functions are found through `__all__` of the packages. A new component needs one
line in `EXAMPLES` and one in `REFUSED` of `helpers/component_examples.py`; without them its
tests fail. Trainings are of many components together, by `kerasreg.testing.check_together`,
which tells faults by name; those of every single one are among the long tests.
"""

import dataclasses
import inspect
import math
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.component_examples import (
    ABSTRACT,
    COMPONENTS,
    ENDING,
    EXAMPLES,
    OF_TEXT,
    ON_REPLICAS,
    PUBLIC,
    REFUSED,
    REPLICAS,
    TOOLS,
    UNCHECKED,
    WATCHERS,
    examples,
    maker,
    packages,
)

import kerasreg
from kerasreg import testing
from kerasreg.models._ensemble import MembersMean
from kerasreg.testing._checks import raise_if_any
from kerasreg.testing._replicas import faults_of_replicas, train

every_component = pytest.mark.parametrize("name", COMPONENTS)

# What the trainings of all components of a model, of each optimizer and of each callback ask.
RESUMED = ("backup_and_restore", "initial_epoch")
# What XLA compiles is a graph; and in a mixed precision, compilations of single components find no
# more than eager trainings of all: graphs and these are among the long tests.
TOGETHER = (
    "effect",
    "counted",
    "xla",
    "mixed_float16",
    "saved_model",
    "used_copy",
)
# The other mixed precision does not scale the loss.
OTHERS = ("mixed_bfloat16",)


def check(name):
    """The public check for a component."""
    kinds = {
        keras.optimizers.schedules.LearningRateSchedule: testing.check_schedule,
        keras.regularizers.Regularizer: testing.check_regularizer,
        keras.initializers.Initializer: testing.check_initializer,
        keras.callbacks.Callback: testing.check_callback,
        keras.optimizers.Optimizer: testing.check_optimizer,
        keras.layers.Layer: testing.check_layer,
    }
    return next(c for kind, c in kinds.items() if issubclass(COMPONENTS[name], kind))


def fitting(name, checks):
    """Of checks, those that a component is for."""
    left_out = (set(RESUMED) if name in ENDING else set()) | (
        {"effect"} if name in WATCHERS else set()
    )
    return [check for check in checks if check not in left_out]


# What there is.


def test_the_battery_finds_the_components():
    assert {"regularizers.L2", "layers.ScheduledDropout", "schedules.Warmup"} <= set(COMPONENTS)


def test_every_package_is_exported():
    found = {module.name for module in pkgutil.iter_modules(kerasreg.__path__) if module.ispkg}
    # The command is no library, and the ground floor is for the others.
    assert found - {"cli", "_keras"} == set(packages())


def test_no_table_mentions_what_is_not_exported():
    assert set(EXAMPLES) == set(COMPONENTS)
    assert set(REFUSED) == set(COMPONENTS)
    assert set(TOOLS) <= set(packages())
    assert set(ABSTRACT) <= set(PUBLIC)


def test_every_class_that_is_registered_with_keras_is_exported():
    registered = {
        cls
        for key, cls in keras.saving.get_custom_objects().items()
        if key.startswith("kerasreg>") and inspect.isclass(cls)
    }
    # A model, its layer and a loss are no components; registered, they can be loaded.
    others = {
        kerasreg.models.Ensemble,
        kerasreg.models.MixUpModel,
        MembersMean,
        kerasreg.losses.SparseCategoricalCrossentropy,
    }
    assert registered == {*COMPONENTS.values(), *(PUBLIC[name] for name in OF_TEXT), *others}


def test_the_abstract_base_of_penalties_cannot_be_used():
    with pytest.raises(NotImplementedError):
        kerasreg.regularizers.Penalty(0.1)(np.ones(3))


# Alone: it serialises, deep-copies, is what it says, refuses bad arguments, is documented.


@every_component
def test_it_serialises_and_deep_copies(name):
    registered = keras.saving.get_registered_name(COMPONENTS[name])
    assert registered.startswith("kerasreg>")
    for which in range(len(examples(name))):
        checks = ["config", "registered", "deep_copy", "values", "prox"]
        check(name)(maker(name, which), checks=checks)


@every_component
def test_every_argument_is_refused_where_it_is_bad(name):
    """With what is accepted and what was received."""
    cls, refused = COMPONENTS[name], REFUSED.get(name, {})
    for argument in inspect.signature(cls).parameters:
        unchecked = {argument, f"{argument} of {cls.__name__}"} & set(UNCHECKED)
        assert argument in refused or unchecked, f"`{argument}` has no line in REFUSED"
    check(name)(maker(name, 0), refused=refused, checks=["refused"])


def is_result(public):
    """Whether users meet it only as what a function returns or raises."""
    return inspect.isclass(public) and (
        issubclass(public, (tuple, Exception)) or dataclasses.is_dataclass(public)
    )


DOCUMENTED = [
    name for name, public in PUBLIC.items() if inspect.isclass(public) or callable(public)
]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_is_documented(name):
    for_users = not is_result(PUBLIC[name])
    testing.check_documentation(
        PUBLIC[name], arguments=for_users, example=for_users and name not in ABSTRACT
    )


# In trainings: equal in every mode and precision, saved, copied, resumed.

HELD = [
    name
    for name, cls in COMPONENTS.items()
    if not issubclass(cls, (keras.optimizers.Optimizer, keras.callbacks.Callback))
]
# Callbacks are compiled one by one: `CosineDecay` stands for other schedules of the rate.
ALIKE = [
    f"callbacks.{name}"
    for name in ("ExponentialDecay", "FixedLearningRate", "StepDecay", "TimeBasedDecay")
]
GROUPS = {
    "models": HELD,
    "optimizers": [n for n, c in COMPONENTS.items() if issubclass(c, keras.optimizers.Optimizer)],
    "callbacks": [
        name
        for name, cls in COMPONENTS.items()
        if issubclass(cls, keras.callbacks.Callback) and name not in ALIKE
    ],
}


def test_every_component_is_trained_with():
    trained = [*ALIKE, *(name for names in GROUPS.values() for name in names)]
    assert sorted(trained) == sorted(COMPONENTS)


@pytest.mark.parametrize(
    ("group", "checks"),
    [
        *((group, TOGETHER) for group in GROUPS),
        pytest.param("models", OTHERS, marks=pytest.mark.long),
        # A state that is resumed is that of one object or of many: a part is among the long tests.
        *(
            pytest.param(group, RESUMED, marks=() if group == "optimizers" else pytest.mark.long)
            for group in GROUPS
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_trainings_with_components_are_equal(group, checks):
    names = {name: tuple(fitting(name, checks)) for name in GROUPS[group]}
    # Those of which less is asked are alone.
    for asked in dict.fromkeys(names.values()):
        makes = {name: maker(name) for name in names if names[name] == asked}
        testing.check_together(makes, checks=asked)


@pytest.mark.parametrize("name", WATCHERS)
def test_a_training_with_what_only_looks_on_is_the_training_without_it(name):
    with pytest.raises(AssertionError, match="differ by 0 at most"):
        check(name)(maker(name), checks=["effect"])


@pytest.mark.long
@every_component
def test_trainings_with_a_single_component_are_equal(name):
    checks = [*testing.TRAINED]
    check(name)(maker(name), checks=fitting(name, checks))


# It works on one replica and on two.


@pytest.fixture(scope="module")
def replicas():
    """What one device and two replicas found, in one process."""
    return testing.two_replicas(f"{__file__}:trained_and_masked")


def trained_and_masked():
    return {"trained": train("helpers.component_examples:ON_REPLICAS"), "masks": masks()}


@pytest.mark.long
def test_two_replicas_train_as_one_device_does(replicas):
    one, two = replicas
    assert set(one["trained"]) == set(ON_REPLICAS)
    raise_if_any(faults_of_replicas(one["trained"], two["trained"]))


@pytest.mark.long
@pytest.mark.parametrize("room", REPLICAS)
def test_two_replicas_train_as_one_device_does_with_every_component(room):
    testing.check_two_replicas(f"helpers.component_examples:REPLICAS.{room}")


@pytest.mark.long
@pytest.mark.parametrize("room", REPLICAS)
@pytest.mark.parametrize("count", [2, 4])
def test_replicas_train_as_one_device_does_by_our_loop(room, count):
    testing.check_replicas(f"helpers.component_examples:REPLICAS.{room}", count)


def masks():
    """Which elements each replica keeps; called there."""
    strategy = tf.distribute.get_strategy()
    layer = kerasreg.layers.ScheduledDropout(0.5, seed=1)

    @tf.function
    def kept():
        return strategy.run(lambda: layer(tf.ones((32, 32)), training=True) > 0)

    return [np.array(mask).tolist() for mask in strategy.experimental_local_results(kept())]


@pytest.mark.long
def test_replicas_drop_different_elements(replicas):
    alone, both = (found["masks"] for found in replicas)
    first, second = (np.array(mask) for mask in both)
    np.testing.assert_array_equal(first, alone[0])
    for mask in (first, second):
        assert abs(mask.mean() - 0.5) < 4 * 0.5 / math.sqrt(mask.size)
    assert abs(np.mean(first == second) - 0.5) < 4 * 0.5 / math.sqrt(first.size)
