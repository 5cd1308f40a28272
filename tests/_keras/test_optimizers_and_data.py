"""What optimizers around others know of them and of their models, and the batches of data."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg._keras.batches import are_batches, batches, first_batch
from kerasreg._keras.internals import validates_some_epochs
from kerasreg._keras.names_of_variables import (
    names_in_model,
    names_of_variables,
    places_of_variables,
)
from kerasreg._keras.outer_optimizer import OuterOptimizer, makes_a_step, rule_of, value_of
from kerasreg._keras.stateless_optimizer import decaying

SGD = keras.optimizers.SGD


def nested():
    """A model whose `backbone` was made as a model of its own."""
    given = keras.Input((2,))
    backbone = keras.Model(given, keras.layers.Dense(3, name="inner")(given), name="backbone")
    whole = keras.Input((2,))
    return keras.Model(whole, keras.layers.Dense(1, name="head")(backbone(whole)), name="whole")


def test_are_batches_of_iterables_and_not_of_arrays():
    dataset = tf.data.Dataset.range(4).batch(2)
    assert all(map(are_batches, (dataset, iter([np.ones(2)]))))
    assert not any(
        map(are_batches, (np.ones(2), [np.ones(2)], tf.ones(2), {"a": np.ones(2)}, None))
    )


def test_batches_of_arrays_datasets_and_what_never_ends():
    x = np.arange(5.0)
    assert [batch.x.tolist() for batch in batches(x, batch_size=2)] == [[0, 1], [2, 3], [4]]
    pairs = tf.data.Dataset.from_tensor_slices((x, 2 * x)).batch(4)
    assert [np.array(batch.y).tolist() for batch in batches(pairs, batch_size=1)] == [
        [0, 2, 4, 6],
        [8],
    ]
    with pytest.raises(ValueError, match="`steps`"):
        batches(pairs.repeat(), batch_size=1)
    drawn = iter(itertools.count())
    assert (
        len(list(batches((np.ones(next(drawn) + 1) for _ in range(9)), batch_size=1, steps=3))) == 3
    )
    assert next(drawn) == 3


def test_first_batch_is_taken_alone():
    given = iter([np.ones(2), np.zeros(3)])
    assert first_batch(given).x.tolist() == [1.0, 1.0]
    assert next(given).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="at least one batch"):
        first_batch(iter([]))


def test_validates_some_epochs_by_the_arguments_of_the_running_fit():
    seen = []

    class Asks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(validates_some_epochs(self.model))

    x = np.ones((4, 2))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    for given in ({}, {"validation_data": (x, x[:, :1])}):
        for every in (1, 2):
            model.fit(x, x[:, :1], validation_freq=every, verbose=0, callbacks=[Asks()], **given)
    assert seen == [False, False, False, True]
    assert validates_some_epochs(model) is False


def test_places_of_variables_are_paths_from_the_model():
    model = nested()
    places = places_of_variables(model)
    inner = model.get_layer("backbone").get_layer("inner").kernel
    assert places[id(inner)] == ["backbone/inner/kernel"]
    assert places[id(model.get_layer("head").bias)] == ["head/bias"]


def test_names_of_variables_are_those_in_the_model_of_the_optimizer():
    model, optimizer = nested(), SGD()
    model.compile(optimizer, "mse")
    (path, names), *_ = names_of_variables(optimizer, model.trainable_variables)
    assert path == "backbone/inner/kernel"
    assert {"backbone/inner/kernel", "inner/kernel"} <= names
    other = keras.Variable(1.0, name="alone")
    ((path, names),) = names_of_variables(SGD(), [other])
    assert (path, "alone" in names) == ("alone", True)


def test_names_in_model_are_all_that_a_variable_is_meant_by():
    model = nested()
    head = model.get_layer("head").kernel
    (names,) = names_in_model(model, [head])
    assert {"head/kernel", "head"} & names
    assert not any("backbone" in name for name in names)


class Outer(OuterOptimizer):
    """Adds nothing."""

    def apply(self, grads, trainable_variables=None):
        self.inner_optimizer.apply(grads, trainable_variables)


def test_rule_of_is_the_innermost_optimizer():
    inner = SGD()
    assert rule_of(Outer(Outer(inner))) is inner
    assert rule_of(inner) is inner


def test_value_of_a_variable_of_keras_and_of_tensorflow():
    for variable in (keras.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])):
        assert np.array(value_of(variable)).tolist() == [1.0, 2.0]


def test_makes_a_step_after_all_gradients_are_gathered():
    gathers = SGD(gradient_accumulation_steps=3)
    made = [bool(makes_a_step(gathers, tf.constant(calls))) for calls in range(1, 7)]
    assert made == [False, False, True, False, False, True]
    assert makes_a_step(SGD(), tf.constant(1)) is True


def test_decaying_knows_names_and_variables_that_were_excluded():
    model = nested()
    variables = model.trainable_variables
    optimizer = keras.optimizers.AdamW()
    optimizer.build(variables)
    assert decaying(optimizer, variables) is None
    # A list must be built to be told, so another one is told.
    told = keras.optimizers.AdamW()
    told.exclude_from_weight_decay(var_list=[variables[0]], var_names=["head/bias"])
    told.build(variables)
    assert decaying(told, variables) == [False, True, True, False]
