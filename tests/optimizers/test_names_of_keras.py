"""Each name that Keras' optimizers have, on an optimizer around another one: whose is it?"""

import keras
import numpy as np
import pytest

from kerasreg._keras.outer_optimizer import OuterOptimizer
from kerasreg.lanes import Lanes
from kerasreg.optimizers import (
    DecoupledWeightDecay,
    LayerLearningRates,
    Lookahead,
    Proximal,
    WeightAveraging,
)
from kerasreg.regularizers import L1

SGD, AdamW, Adam = keras.optimizers.SGD, keras.optimizers.AdamW, keras.optimizers.Adam
LossScale = keras.optimizers.LossScaleOptimizer
RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 3)).astype("float32")
Y = (3 * X @ [[1.0], [-0.5], [0.2]]).astype("float32")

# Set on, and read from, the optimizer within.
OPTIONS = {
    "clipnorm": 0.02,
    "clipvalue": 0.01,
    "global_clipnorm": 0.03,
    "gradient_accumulation_steps": 2,
    "loss_scale_factor": 4.0,
    "use_ema": True,
    "ema_momentum": 0.25,
    "ema_overwrite_frequency": 2,
    "weight_decay": 0.5,
    "learning_rate": 0.01,
}
# What they need beside them, to do something.
BESIDE = {"ema_momentum": {"use_ema": True}, "ema_overwrite_frequency": {"use_ema": True}}
# Defined by `OuterOptimizer` or `Wrapper`, and tested below or in the other files.
DEFINED = {
    "apply",
    "apply_gradients",
    "build",
    "exclude_from_weight_decay",
    "finalize_variable_values",
    "from_config",
    "get_config",
    "iterations",
    "scale_loss",
    "set_weights",
    "variables",
    "_model_variables_moving_average",
}
# Right as they are, of whatever has a name, variables of its own and those of the optimizer within.
OWN = {
    "add_optimizer_variables",
    "add_variable",
    "add_variable_from_reference",
    "assign",
    "assign_add",
    "assign_sub",
    "built",
    "load_own_variables",
    "name",
    "save_own_variables",
    "stateless_apply",
    "_api_export_path",
    "_api_export_symbol_id",
    "_check_super_called",
    "_check_variables_are_known",
    "_distribution_strategy",
    "_get_variable_index",
    "_lock",
    "_obj_type",
    "_overwrite_variable_with_gradient",
    "_track_variable",
    "_tracker",
    "_trainable_variables",
    "_trainable_variables_indices",
    "_unpickle_model",
    "_untrack_variable",
    "_var_key",
    "_variables",
}
# Parts of Keras' own `apply`, which is not used: nobody asks for them.
NOT_ASKED_FOR = {
    "update_step",
    "_accumulated_gradients",
    "_all_reduce_sum_gradients",
    "_apply_weight_decay",
    "_backend_apply_gradients",
    "_backend_increment_gradient_accumulators",
    "_backend_reset_gradient_accumulators",
    "_backend_update_step",
    "_clip_by_norm",
    "_clip_gradients",
    "_distributed_tf_update_step",
    "_exclude_from_weight_decay",
    "_exclude_from_weight_decay_cache",
    "_exclude_from_weight_decay_pattern",
    "_filter_empty_gradients",
    "_get_current_learning_rate",
    "_iterations",
    "_learning_rate",
    "_overwrite_model_variables_with_average_value",
    "_overwrite_variables_directly_with_gradients",
    "_update_model_variables_moving_average",
    "_use_weight_decay",
}


def test_each_name_that_keras_has_is_decided():
    optimizer = keras.optimizers.Optimizer(0.1, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([keras.Variable(1.0)])
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    names = {name for name in dir(optimizer) if not name.startswith("__")}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tracked = tf.__internal__.tracking.AutoTrackable()
        tracked.one = 1
        names -= set(dir(tracked)) | {n for n in names if n.startswith("_self_")}
        names -= {"_tf_api_names", "_tf_api_names_v1"}
    decided = OPTIONS.keys() | DEFINED | OWN | NOT_ASKED_FOR
    assert names - decided == set(), "Keras has new names: decide whose each is"


def test_what_is_said_to_be_defined_is_defined():
    base = keras.optimizers.Optimizer
    for name in OPTIONS.keys() | DEFINED:
        kinds = [kind for kind in Lookahead.__mro__ if name in vars(kind)]
        assert not issubclass(base, kinds[0]), name


def nested(inner):
    return LayerLearningRates(Lookahead(LayerLearningRates(inner, {"*": 1.0}), 99), {"*": 1.0})


def network(penalty=None):
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(1, bias_initializer="ones", kernel_regularizer=penalty)
    return keras.Sequential([keras.Input((3,)), dense])


def trained(optimizer, x=X, y=Y, penalty=None, **options):
    model = network(penalty)
    model.compile(optimizer, "mse", run_eagerly=True)
    history = model.fit(x, y, 3, 1, shuffle=False, verbose=0, **options).history
    return model.get_weights(), history


def assert_equal(one, other):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_the_outermost_is_that_of_the_rule(name):
    beside, value = BESIDE.get(name, {}), OPTIONS[name]
    expected, _ = trained(SGD(**{"learning_rate": 0.1, **beside, name: value}))
    optimizer = nested(SGD(0.1, **beside))
    setattr(optimizer, name, value)
    found, _ = trained(optimizer)
    assert_equal(found, expected)
    for of in (optimizer, optimizer.inner_optimizer, optimizer.rule):
        assert float(getattr(of, name)) == pytest.approx(float(value))
    plain, _ = trained(SGD(0.1))
    moved = max(np.abs(a - b).max() for a, b in zip(plain, expected, strict=True))
    assert moved > 1e-3 or name == "loss_scale_factor"  # The option does something.


def test_an_option_of_the_rule_is_seen_from_outside():
    optimizer = nested(AdamW(0.1, weight_decay=0.25, global_clipnorm=2.0, use_ema=True))
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.25, 2.0)
    assert optimizer.use_ema
    scaled = LossScale(nested(SGD(0.1, loss_scale_factor=8.0)))  # It turns the other one off.
    assert scaled.inner_optimizer.rule.loss_scale_factor is None


def test_averages_twice_are_refused():
    for inner in (nested(SGD(use_ema=True)), Lookahead(WeightAveraging(SGD()))):
        with pytest.raises(ValueError, match="one that does not average"):
            WeightAveraging(inner)
    with pytest.raises(ValueError, match="`use_ema` must be True"):
        WeightAveraging(SGD()).use_ema = False


def test_decays_twice_are_refused_at_any_depth():
    with pytest.raises(ValueError, match="without a `weight_decay` of its own"):
        DecoupledWeightDecay(nested(AdamW()), 0.1)


# Weight decay.

DECAYING = {
    "Keras": lambda rate=0.1: AdamW(rate, weight_decay=1.0),
    "around Keras'": lambda rate=0.1: nested(AdamW(rate, weight_decay=1.0)),
    "decoupled": lambda rate=0.1: DecoupledWeightDecay(Adam(rate), 1.0),
    "around the decoupled": lambda rate=0.1: Lookahead(DecoupledWeightDecay(Adam(rate), 1.0), 99),
    "twice": lambda rate=0.1: DecoupledWeightDecay(DecoupledWeightDecay(Adam(rate), 0.5), 0.5),
}


@pytest.mark.short("what0-twice", "what1-around Keras'", "the kernel-twice")
@pytest.mark.parametrize(
    "decaying",
    [
        pytest.param(make, id=name, marks=() if name in ("twice", "around Keras'") else long)
        for long in [pytest.mark.long]
        for name, make in DECAYING.items()
    ],
)
@pytest.mark.parametrize("what", [{"var_names": ["bias"]}, {"var_names": ["s"]}, "the kernel"])
def test_what_is_excluded_does_not_decay_also_in_lanes(decaying, what):
    def compiled(rate):
        model = network()
        optimizer = decaying(rate)
        given = {"var_list": [model.layers[0].kernel]} if what == "the kernel" else what
        optimizer.exclude_from_weight_decay(**given)
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    # No gradient: only decay moves weights.
    x, y = np.zeros((4, 3)), np.ones((4, 1))
    model, before = compiled(0.1), network().get_weights()
    model.fit(x, y, verbose=0)
    moved = [not np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True)]
    # TensorFlow's names have those of the layers in them, as `dense` has an s.
    every = keras.backend.backend() == "tensorflow"
    expected = {"bias": [True, False], "s": [not every, False], "kernel": [False, None]}
    wanted = expected["kernel" if what == "the kernel" else what["var_names"][0]]
    assert moved[0] == wanted[0]
    assert wanted[1] is None or moved[1] == wanted[1]
    lanes = Lanes([compiled(0.1), compiled(0.2)])
    lanes.fit(x, y, batch_size=4, epochs=1)
    assert_equal(lanes.unstack(0).get_weights(), model.get_weights())


def test_what_is_excluded_differently_is_no_program():
    models = []
    for names in (["bias"], ["kernel"]):
        model = network()
        optimizer = nested(AdamW())
        optimizer.exclude_from_weight_decay(var_names=names)
        model.compile(optimizer, "mse")
        models.append(model)
    with pytest.raises(ValueError, match="exclude_from_weight_decay"):
        Lanes(models)


def test_a_decay_that_is_set_is_assigned():
    optimizer = DecoupledWeightDecay(SGD(), 0.5)
    variable = optimizer.weight_decay
    optimizer.weight_decay = 0.25
    assert optimizer.weight_decay is variable
    assert float(variable) == 0.25
    outside = Lookahead(optimizer)
    outside.weight_decay = 0.125
    assert outside.weight_decay is variable
    assert float(variable) == 0.125
    with pytest.raises(ValueError, match="`weight_decay` must be"):
        optimizer.weight_decay = -1.0
    scheduled = DecoupledWeightDecay(SGD(), keras.optimizers.schedules.ExponentialDecay(0.1, 9, 1))
    with pytest.raises(ValueError, match="where a schedule moves it"):
        scheduled.weight_decay = 0.1


# State.


def test_the_count_that_is_returned_is_that_of_the_rule():
    optimizer = nested(SGD(0.1, gradient_accumulation_steps=2))
    variable = keras.Variable(1.0)
    counts = [int(optimizer.apply_gradients([(variable * 1.0, variable)])) for _ in range(3)]
    assert counts == [1, 2, 3]  # As Keras' own, which counts gathered gradients too.
    assert int(optimizer.iterations) == 1


def test_all_variables_are_set_as_they_are_listed():
    one, other = (Lookahead(SGD(0.1, momentum=0.5), sync_period=2) for _ in range(2))
    variable = keras.Variable([1.0, 2.0])
    for optimizer in (one, other):
        optimizer.build([variable])
    for _ in range(3):
        one.apply([variable * 1.0], [variable])
    other.set_weights([np.array(v) for v in one.variables])
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert int(other.iterations) == 3
    with pytest.raises(ValueError, match="`weights` must be one array for each of the 7"):
        other.set_weights([0.0])
    with pytest.raises(ValueError, match="not yet been built"):
        Lookahead(SGD(0.1)).set_weights([0.0])


# Averages that Keras swaps in.


def around_nothing(inner):
    return LayerLearningRates(inner, {"*": 1.0})


@pytest.mark.short("False-around_nothing", "False-<lambda>1", "True-nested", "True-<lambda>0")
@pytest.mark.parametrize(
    "wrap",
    [
        around_nothing,
        nested,
        lambda inner: LossScale(around_nothing(inner), initial_scale=2.0),
        lambda inner: LossScale(nested(inner), initial_scale=2.0),
    ],
)
@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_the_averages_that_are_swapped_in_are_those_of_the_rule(wrap, swap_on_epoch):
    def of(wrap):
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=swap_on_epoch)
        inner = SGD(0.1, use_ema=True, ema_momentum=0.5)
        return trained(wrap(inner), validation_data=(X, Y), callbacks=[swap])

    weights, history = of(wrap)
    expected, history_of_keras = of(lambda inner: inner)
    assert history["val_loss"] == pytest.approx(history_of_keras["val_loss"], rel=1e-5)
    assert_equal(weights, expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: LossScale(WeightAveraging(inner), initial_scale=2.0),
        lambda inner: LossScale(Lookahead(WeightAveraging(inner), 99), initial_scale=2.0),
        lambda inner: Lookahead(around_nothing(WeightAveraging(inner)), 99),
    ],
)
def test_means_are_swapped_in_at_any_depth(wrap):
    swap = keras.callbacks.SwapEMAWeights()
    weights, history = trained(wrap(SGD(0.1)), validation_data=(X, Y), callbacks=[swap])
    model = network()
    model.set_weights(trained(WeightAveraging(SGD(0.1)))[0])
    model.compile("sgd", "mse")
    assert_equal(weights, model.get_weights())
    assert history["val_loss"] == [pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-4)]


@pytest.mark.parametrize("around", [lambda inner: inner, Lookahead, around_nothing])
def test_weights_that_are_set_before_there_is_a_mean_stay_when_it_is_swapped_in(around):
    optimizer = LossScale(around(WeightAveraging(SGD(0.1), start_step=9)), initial_scale=2.0)
    model = network()
    model.compile(optimizer, "mse", run_eagerly=True)
    model.train_on_batch(X, Y)
    given = [np.full(weight.shape, 7.0) for weight in model.get_weights()]
    model.set_weights(given)
    swap = keras.callbacks.SwapEMAWeights()
    loss = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(X, Y, verbose=0, callbacks=[swap]) == pytest.approx(loss)
    assert_equal(model.get_weights(), given)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="variables of TensorFlow")
def test_variables_of_tensorflow_have_their_names():
    import tensorflow as tf

    for wrap, moves in (
        (lambda inner: LayerLearningRates(inner, {"one": 0.0}), [False, True]),
        (lambda inner: DecoupledWeightDecay(inner, 0.5, exclude=["one"]), [True, True]),
        (WeightAveraging, [True, True]),
        (Lookahead, [True, True]),
    ):
        variables = [tf.Variable(1.0, name=name) for name in ("one", "two")]
        wrap(SGD(0.1)).apply([tf.constant(1.0)] * 2, variables)
        assert [float(variable) != 1.0 for variable in variables] == moves


def test_averages_of_a_proximal_optimizer_within_a_loss_scale():
    swap = keras.callbacks.SwapEMAWeights()
    found = [
        trained(wrap(Proximal(SGD(0.1, use_ema=True))), penalty=L1(0.1), callbacks=[swap],
                validation_data=(X, Y))
        for wrap in (lambda inner: inner, lambda inner: LossScale(inner, initial_scale=2.0))
    ]  # fmt: skip
    assert_equal(found[0][0], found[1][0])
    assert found[0][1]["val_loss"] == pytest.approx(found[1][1]["val_loss"], rel=1e-5)


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="this Keras has no MultiOptimizer"
)
def test_averages_of_one_optimizer_of_several():
    def several(inner):
        return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(inner))

    swap = keras.callbacks.SwapEMAWeights()
    options = {"validation_data": (X, Y), "callbacks": [swap]}
    for inner in (lambda: SGD(0.1, use_ema=True), lambda: WeightAveraging(SGD(0.1))):
        weights, history = trained(several(around_nothing(inner())), **options)
        expected, alone = trained(inner(), **options)
        assert_equal(weights, expected)
        assert history["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-5)


def test_without_averages_a_swap_is_refused_as_by_keras():
    for optimizer in (nested(SGD(0.1)), LossScale(nested(SGD(0.1)))):
        with pytest.raises(ValueError, match="SwapEMAWeights must be used when"):
            trained(optimizer, validation_data=(X, Y), callbacks=[keras.callbacks.SwapEMAWeights()])


def test_the_base_class_is_an_optimizer_of_keras():
    assert issubclass(OuterOptimizer, keras.optimizers.Optimizer)
