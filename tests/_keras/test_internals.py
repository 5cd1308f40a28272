"""Each question to the insides of Keras has the answer that kerasreg relies on.

The name of a test begins with the name of its function: `test_running_call...` tests
`running_call`. At a new version of Keras the tests that fail say which answers changed.
"""

import threading
import warnings

import keras
import numpy as np
import pandas
import pytest

import kerasreg
from kerasreg._keras import internals


class Caller(keras.layers.Layer):
    """Calls a function while it is called."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x, training=None):
        self.function()
        return x


def functional():
    inputs = keras.Input((2,), name="given")
    hidden = keras.layers.Dense(3, name="first")(inputs)
    return keras.Model({"given": inputs}, [keras.layers.Dense(1, name="last")(hidden)])


def sequential():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


def compiled(optimizer="sgd", **arguments):
    model = sequential()
    model.compile(optimizer, "mse", **arguments)
    return model


def built(optimizer):
    optimizer.build([keras.Variable([1.0, 2.0])])
    return optimizer


@pytest.fixture
def fresh_probes():
    """Probes are made anew, before and after."""
    probes = [value for value in vars(internals).values() if hasattr(value, "cache_clear")]
    assert probes
    for probe in probes:
        probe.cache_clear()
    yield
    for probe in probes:
        probe.cache_clear()


X = np.zeros((4, 2), "float32")


def test_running_call_is_the_context_of_the_outermost_layer():
    seen = []
    inner = Caller(lambda: seen.append(internals.running_call()))
    outer = keras.Sequential([keras.Input((2,)), inner])
    seen.clear()
    outer(X)
    assert seen[0].entry_layer is outer
    assert internals.running_call() is None


def test_running_call_names_the_key_that_keras_no_longer_has(monkeypatch, fresh_probes):
    monkeypatch.setattr(internals, "_CALL", "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.running_call()


def test_running_call_that_is_gone_stops_a_training_with_a_scheduled_penalty(
    monkeypatch, fresh_probes
):
    """The strength would stay at its first value otherwise, and nothing would say so."""
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 8, 1.0)
    penalty = kerasreg.regularizers.L1(schedule)
    dense = keras.layers.Dense(1, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((2,)), dense])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, np.zeros((4, 1)), epochs=4, batch_size=4, verbose=0)
    assert float(penalty.strength) == pytest.approx(3 / 8)
    monkeypatch.setattr(internals, "_CALL", "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        model.fit(X, np.zeros((4, 1)), verbose=0)


@pytest.mark.parametrize("training", [True, False])
def test_is_training_is_what_the_outermost_layer_was_told(training):
    seen = []
    layer = Caller(lambda: seen.append(internals.is_training(internals.running_call())))
    layer(X, training=training)
    assert seen == [training]


def test_outermost_layer_is_that_which_was_called():
    seen = []
    layer = Caller(lambda: seen.append(internals.outermost_layer(internals.running_call())))
    layer(X)
    assert seen == [layer]


def test_forget_loss_leaves_a_loss_in_the_scope_when_the_next_call_begins():
    layer = Caller(lambda: layer.add_loss(keras.ops.ones(())))
    forgetful = Caller(lambda: add_and_forget())

    def add_and_forget():
        loss = keras.ops.ones(())
        forgetful.add_loss(loss)
        internals.forget_loss(forgetful, loss)

    for one, kept in ((layer, 1), (forgetful, 2)):
        with keras.StatelessScope(collect_losses=True) as scope:
            one(X)
            one(X)
        assert len(scope.losses) == kept


def test_takes_training_asks_the_signature_of_call():
    assert internals.takes_training(keras.layers.Dropout(0.5)) is True
    assert internals.takes_training(keras.layers.Flatten()) is False


def test_symbolic_call_leaves_the_number_of_samples_open():
    given = {"x": keras.ops.ones((2, 3)), "y": keras.ops.ones((2,))}
    found = internals.symbolic_call(
        lambda of: (of["x"] * 2.0, keras.ops.cast(of["y"], "int32")), given
    )
    assert [(of.shape, of.dtype) for of in found] == [((None, 3), "float32"), ((None,), "int32")]


def test_takes_mask_asks_the_signature_of_call():
    assert internals.takes_mask(keras.layers.LSTM(1)) is True
    assert internals.takes_mask(keras.layers.Flatten()) is False


def test_check_calls_are_seen_finds_layers_that_are_told_of_no_call(monkeypatch, fresh_probes):
    internals.check_calls_are_seen()
    internals.check_calls_are_seen.cache_clear()
    monkeypatch.setattr(keras.layers.Layer, "_clear_losses", lambda self: None)
    monkeypatch.setattr(keras.layers.Layer, "_get_call_context", lambda self: Context())
    monkeypatch.setattr(keras.layers.Layer, "_maybe_reset_call_context", lambda self: None)
    with pytest.raises(RuntimeError, match="_clear_losses"):
        internals.check_calls_are_seen()


class Context:
    entry_layer = None

    def get_value(self, name, default=None):
        return default

    def set_value(self, name, value):
        pass


def test_check_calls_are_seen_does_not_disturb_a_call_that_is_running(fresh_probes):
    seen = []

    def ask():
        before = internals.running_call()
        internals.check_calls_are_seen()
        seen.append(before is internals.running_call() is not None)

    Caller(ask)(X)
    assert seen == [True]


def test_stateless_scope_is_the_innermost_or_none():
    assert internals.stateless_scope() is None
    with keras.StatelessScope() as outer:
        assert internals.stateless_scope() is outer
        with keras.StatelessScope() as inner:
            assert internals.stateless_scope() is inner


def test_outside_stateless_scopes_variables_are_assigned():
    variable = keras.Variable(1.0)
    with keras.StatelessScope() as scope:
        with internals.outside_stateless_scopes():
            variable.assign(2.0)
        assert internals.stateless_scope() is scope
        variable.assign(3.0)
    assert float(variable) == 2.0


def test_outside_stateless_scopes_names_the_key_that_keras_no_longer_has(monkeypatch):
    monkeypatch.setattr(internals, "_SCOPE", "moved")
    with (
        keras.StatelessScope(),
        pytest.raises(RuntimeError, match="'moved'"),
        internals.outside_stateless_scopes(),
    ):
        pass


def test_walk_layers_has_a_model_and_all_within():
    model = keras.Sequential([keras.Input((2,)), keras.Sequential([keras.layers.Dense(1)])])
    names = [type(layer).__name__ for layer in internals.walk_layers(model)]
    assert names[0] == "Sequential"
    assert (names.count("Dense"), names.count("Sequential")) == (1, 2)


def test_inner_layers_are_not_those_of_inner_layers():
    dense = keras.layers.Dense(1)
    wrapper = keras.layers.TimeDistributed(keras.layers.TimeDistributed(dense))
    assert internals.inner_layers(wrapper) == [wrapper.layer]
    assert internals.inner_layers(dense) == []


def test_tracked_variables_are_those_of_the_layer_alone():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    assert internals.tracked_variables(model) == []
    names = [variable.name for variable in internals.tracked_variables(model.layers[0])]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance"]


def test_set_on_built_layer_tracks_the_state_of_the_value():
    layer, inner = keras.layers.Dense(1), keras.layers.Dense(2)
    layer.build((None, 2))
    with pytest.raises(ValueError, match="state"):
        layer.inner = keras.layers.Dense(2)
    internals.set_on_built_layer(layer, "inner", inner)
    assert layer.inner is inner
    assert internals.inner_layers(layer) == [inner]
    with pytest.raises(ValueError, match="state"):
        layer.other = keras.layers.Dense(2)


def test_untrack_takes_a_layer_from_those_within():
    layer = keras.layers.TimeDistributed(keras.layers.Dense(1))
    internals.untrack(layer, layer.layer)
    assert internals.inner_layers(layer) == []


def test_put_first_orders_what_is_within():
    layer = Caller(lambda: None)
    layer.one, layer.two = keras.layers.Dense(1), keras.layers.Dense(2)
    internals.put_first(layer, [layer.two])
    assert internals.inner_layers(layer) == [layer.two, layer.one]


def test_made_by_is_the_operation_of_a_tensor():
    model = functional()
    assert internals.made_by(model.outputs[0]) is model.get_layer("last")


def test_node_of_a_tensor_has_its_arguments_and_outputs():
    inputs = keras.Input((2,))
    dense = keras.layers.Dense(2)
    first, second = dense(inputs), dense(dense(inputs))
    node = internals.node_of(second)
    assert node.operation is dense
    assert node.outputs[0] is second
    assert internals.node_of(first).input_tensors[0] is inputs


def test_output_place_of_a_tensor_is_its_place_among_the_outputs_of_the_call():
    inputs = keras.Input((2,))
    two = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)])
    assert [internals.output_place(one) for one in two(keras.Input((2,)))] == [0, 1]


def test_is_in_graph_of_symbolic_tensors_that_keras_made():
    assert internals.is_in_graph(keras.Input((2,))) is True
    assert internals.is_in_graph(keras.KerasTensor((2,))) is False


def test_is_functional_of_models_of_inputs_and_outputs():
    assert internals.is_functional(functional()) is True
    assert internals.is_functional(sequential()) is False
    assert internals.is_functional(keras.layers.Dense(1)) is False


def test_functional_of_a_sequential_model_is_what_it_built():
    model = functional()
    assert internals.functional_of(model) is model
    assert internals.is_functional(internals.functional_of(sequential()))
    assert internals.functional_of(keras.Sequential([keras.layers.Dense(1)])) is None
    assert internals.functional_of(keras.layers.Dense(1)) is None


def test_has_own_call_sees_a_class_and_an_object_with_another_call():
    class Doubled(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    class Trained(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1)(inputs)
    for model in (functional(), sequential(), Trained(inputs, outputs)):
        assert internals.has_own_call(model) is False
    assert internals.has_own_call(Doubled(inputs, outputs)) is True
    changed = functional()
    changed.call = lambda x: x
    assert internals.has_own_call(changed) is True


def test_is_made_of_inputs_and_outputs_asks_the_constructor():
    class Other(keras.Model):
        def __init__(self, width):
            inputs = keras.Input((width,))
            super().__init__(inputs, keras.layers.Dense(1)(inputs))

    assert internals.is_made_of_inputs_and_outputs(type(functional())) is True
    assert internals.is_made_of_inputs_and_outputs(type(Other(2))) is False


def test_graph_nodes_are_in_the_order_in_which_they_run():
    nodes = internals.graph_nodes(functional())
    assert [node.operation.name for node in nodes] == ["given", "first", "last"]


def test_input_structure_is_as_the_model_was_made():
    assert list(internals.input_structure(functional())) == ["given"]
    assert internals.input_structure(sequential()) is None


def test_output_structure_is_as_the_model_was_made():
    model = functional()
    assert internals.output_structure(model) == model.outputs
    assert internals.output_structure(sequential()) is None


def test_first_call_signature_has_the_shapes_of_the_first_call():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model(X)
    (spec,) = internals.first_call_signature(model)
    assert tuple(spec.shape)[1:] == (2,)


def test_operation_classes_are_behind_operators():
    inputs = keras.Input((2,))
    add, multiply = internals.operation_classes(["Add", "Multiply"])
    assert isinstance(internals.made_by(inputs + inputs), add)
    assert isinstance(internals.made_by(inputs * inputs), multiply)
    with pytest.raises(AttributeError, match="NoOperation"):
        internals.operation_classes(["NoOperation"])


def test_compile_arguments_are_those_of_compile():
    assert internals.compile_arguments(sequential()) == {}
    arguments = internals.compile_arguments(compiled(metrics=["mae"], loss_weights=[2.0]))
    assert arguments["loss"] == "mse"
    assert (arguments["metrics"], arguments["loss_weights"]) == (["mae"], [2.0])
    assert "weighted_metrics" in arguments


def test_compute_loss_is_that_of_a_batch():
    y = np.full((4, 1), 2.0, "float32")
    loss = internals.compute_loss(compiled(), X, y, np.zeros_like(y), None, training=True)
    assert float(loss) == 4.0


def test_are_arrays_takes_what_fit_takes_for_arrays():
    import scipy.sparse
    import tensorflow as tf

    table = pandas.DataFrame({"a": [1.0], "b": ["text"]})
    assert internals.are_arrays((X, {"t": tf.constant(X), "p": table, "s": table["a"]}, None))
    for other in (
        [1.0, 2.0],
        tf.data.Dataset.from_tensors(X),
        scipy.sparse.csr_matrix(X),
        tf.sparse.from_dense(X),
        tf.ragged.constant([[1.0]]),
        iter([X]),
    ):
        assert not internals.are_arrays((X, other))


@pytest.mark.parametrize(
    "data",
    [
        X.astype("float64"),
        X.astype("int64"),
        X > 0,
        pandas.DataFrame({"a": [0.5] * 4, "n": [1, 2, 3, 4], "b": [True, False] * 2}),
        pandas.Series([1, 2, 3, 4]),
        pandas.Series([0.5] * 4, index=[7, 8, 9, 10]),
        np.array(["a", "b", "c", "d"], object),
    ],
)
def test_as_keras_arrays_are_what_a_model_sees_in_fit(data):
    seen = []

    class Model(keras.Model):
        def train_step(self, batch):
            seen.append(batch[0].numpy())
            return {"loss": 0.0}

    model = Model()
    model.compile(run_eagerly=True)
    model.fit(data, np.zeros(4), batch_size=4, shuffle=False, verbose=0)
    array = internals.as_keras_arrays(data)
    np.testing.assert_array_equal(array, seen[0])
    assert (array.dtype, array.shape) == (seen[0].dtype, seen[0].shape)


def test_as_keras_arrays_keeps_the_structure_and_refuses_what_keras_does():
    found = internals.as_keras_arrays({"x": pandas.Series([1.5]), "none": None})
    assert found == {"x": np.float32([[1.5]]), "none": None}
    with pytest.raises(ValueError, match=r"The data must be arrays.*Received: 3"):
        internals.as_keras_arrays((X, 3))
    with pytest.raises(ValueError, match="Invalid dtype"):
        internals.as_keras_arrays(np.array(["text"]))


def test_rows_for_fit_are_seen_as_all_rows_are():
    table = pandas.DataFrame({"a": [0.5, 1.5, 2.5], "b": [True, False, True]}, index=[7, 8, 9])
    data = {"t": table, "s": table["b"], "text": np.array(["a", "b", "c"], object), "none": None}
    found = internals.rows_for_fit(data, np.array([2, 0]))
    assert found["t"].tolist() == [[2.5, 1.0], [0.5, 1.0]]
    assert found["s"].tolist() == [[True], [True]]
    whole = internals.as_keras_arrays(data)
    again = internals.as_keras_arrays(internals.rows_for_fit(data, slice(None)))
    for name in ("t", "s", "text"):
        np.testing.assert_array_equal(again[name], whole[name])
    assert again["none"] is None


def test_loss_tracker_has_the_mean_loss():
    model = compiled()
    model.fit(X, np.full((4, 1), 2.0, "float32"), verbose=0)
    assert float(internals.loss_tracker(model).result()) == pytest.approx(4.0)


def test_build_by_batch_builds_metrics_and_slots():
    model = compiled("adam", metrics=["mae"])
    assert not model.optimizer.built
    internals.build_by_batch(model, (X[:1], np.zeros((1, 1), "float32"), None))
    assert model.optimizer.built
    assert len(model.metrics_variables) == 4


def test_forget_functions_makes_the_next_step_trace_again():
    model = compiled()
    model.fit(X, np.zeros((4, 1)), verbose=0)
    model.evaluate(X, np.zeros((4, 1)), verbose=0)
    internals.forget_functions(model, "train")
    assert model.train_function is None
    assert model.test_function is not None
    with pytest.raises(AttributeError, match="other_function"):
        internals.forget_functions(model, "other")


@pytest.mark.skipif(
    not hasattr(keras.Model, "_warn_if_trainable_state_changed"), reason="This Keras has no check."
)
def test_note_new_layers_keeps_keras_from_warning_of_them():
    model = compiled()
    internals.set_on_built_layer(model.layers[0], "inner", keras.layers.Dropout(0.5))
    internals.note_new_layers(model)
    # Directly: there are versions of Keras that have the check and never make it.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model._warn_if_trainable_state_changed()
    internals.set_on_built_layer(model.layers[0], "other", keras.layers.Dropout(0.5))
    with pytest.warns(UserWarning, match="trainable"):
        model._warn_if_trainable_state_changed()


def test_profiles_batches_asks_for_the_batches_of_the_profiler():
    assert internals.profiles_batches(keras.callbacks.TensorBoard(profile_batch=0)) is False
    assert internals.profiles_batches(keras.callbacks.TensorBoard(profile_batch=2)) is True


def test_logged_metrics_have_the_names_of_the_logs():
    x = keras.Input((2,))
    model = keras.Model(x, [keras.layers.Dense(1, name=name)(x) for name in "ab"])
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], ["mae", "mae"]])
    assert list(internals.logged_metrics(model)) == ["loss"]
    y = np.ones((2, 1))
    logs = model.evaluate(np.ones((2, 2)), [y, y], return_dict=True, verbose=0)
    found = internals.logged_metrics(model)
    assert set(found) == set(logs)
    assert len({id(metric) for metric in found.values()}) == len(logs)


def test_metric_direction_is_known_of_metrics_that_compare():
    assert internals.metric_direction(keras.metrics.BinaryAccuracy()) == "up"
    assert internals.metric_direction(keras.metrics.MeanSquaredError()) == "down"
    assert internals.metric_direction(keras.metrics.Mean()) is None


def test_metric_direction_says_that_keras_keeps_none(monkeypatch, fresh_probes):
    monkeypatch.setattr(keras.metrics, "MeanSquaredError", keras.metrics.Mean)
    with pytest.raises(RuntimeError, match="_direction"):
        internals.metric_direction(keras.metrics.Mean())


def test_stored_dtype_is_not_that_of_an_autocast_scope():
    seen = []

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=())

        def call(self, x):
            seen.append((self.w.dtype, internals.stored_dtype(self.w)))
            return x

    Own(dtype="mixed_float16")(X)
    assert seen == [("float16", "float32")]


_OF = keras.optimizers


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (_OF.Adagrad(), ["accumulator"]),
        (_OF.RMSprop(centered=True), ["velocity", "average_gradient"]),
        (_OF.Adam(amsgrad=True), ["velocity", "velocity_hat"]),
        (_OF.Nadam(), ["velocity"]),
        (_OF.Adamax(), ["norm"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_slots_of_an_optimizer_are_shaped_like_the_variables(optimizer, names):
    built(optimizer)
    for name in names:
        (slot,) = internals.slots_of(optimizer, name)
        assert slot.shape == (2,)
        assert name in slot.path


def test_trainable_variables_of_an_optimizer_are_those_it_was_built_for():
    variable = keras.Variable([1.0])
    optimizer = _OF.SGD()
    optimizer.build([variable])
    assert internals.trainable_variables_of(optimizer) == [variable]


def test_index_of_a_variable_also_as_the_backends_own():
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = _OF.SGD()
    optimizer.build(variables)
    assert internals.index_of(optimizer, variables[1]) == 1
    if keras.backend.backend() == "tensorflow":
        assert internals.index_of(optimizer, variables[1].value) == 1


def test_own_variables_are_the_steps_and_slots():
    variables = internals.own_variables(built(_OF.SGD(momentum=0.9)))
    assert [variable.name for variable in variables][:2] == ["iteration", "learning_rate"]
    assert len(variables) == 3


def test_learning_rate_of_an_optimizer_is_a_variable_or_a_schedule():
    assert isinstance(internals.learning_rate_of(_OF.SGD(0.1)), keras.Variable)
    schedule = _OF.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert internals.learning_rate_of(_OF.SGD(schedule)) is schedule


def test_show_moving_averages_lets_keras_swap_them_in():
    model = compiled()
    weights = model.trainable_variables
    model.optimizer.build(weights)
    internals.show_moving_averages(
        model.optimizer, [keras.Variable(keras.ops.full(w.shape, 7.0)) for w in weights]
    )
    model.optimizer.use_ema = True
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    assert all(np.all(np.array(weight) == 7.0) for weight in weights)


def test_replace_update_step_is_between_the_optimizer_and_each_variable():
    optimizer, variable, seen = _OF.SGD(1.0), keras.Variable([1.0]), []

    def step(gradient, variable, learning_rate):
        seen.append(float(learning_rate))
        before(gradient * 0.5, variable, learning_rate)

    before = internals.replace_update_step(optimizer, step)
    optimizer.apply([keras.ops.ones((1,))], [variable])
    assert seen == [1.0]
    assert np.array(variable).tolist() == [0.5]


def test_share_trainable_variables_lets_an_optimizer_find_those_of_another():
    outer, inner, variable = _OF.SGD(), _OF.SGD(), keras.Variable([1.0])
    inner.build([variable])
    internals.share_trainable_variables(outer, inner)
    assert internals.index_of(outer, variable) == 0
    assert internals.trainable_variables_of(outer) == [variable]


def test_check_known_is_the_error_of_keras():
    optimizer, variable = _OF.SGD(), keras.Variable([1.0])
    optimizer.build([variable])
    internals.check_known(optimizer, [variable])
    with pytest.raises(ValueError, match="Unknown variable"):
        internals.check_known(optimizer, [keras.Variable([1.0])])


def test_calls_of_counts_gathered_gradients_too():
    optimizer, variable = _OF.SGD(gradient_accumulation_steps=2), keras.Variable([1.0])
    for _ in range(3):
        optimizer.apply([keras.ops.ones((1,))], [variable])
    assert int(internals.calls_of(optimizer)) == 3
    assert int(optimizer.iterations) == 1


def test_decays_asks_what_was_excluded():
    optimizer, variables = _OF.AdamW(), [keras.Variable([1.0], name=name) for name in "ab"]
    optimizer.exclude_from_weight_decay(var_list=variables[:1])
    assert [internals.decays(optimizer, variable) for variable in variables] == [False, True]


def test_default_stateless_apply_is_not_that_of_the_loss_scaling_wrapper():
    assert internals.default_stateless_apply(_OF.Adam()) is True
    assert internals.default_stateless_apply(_OF.LossScaleOptimizer(_OF.Adam())) is False


def test_base_optimizer_is_the_base_of_all():
    assert issubclass(_OF.Adam, internals.base_optimizer())
    assert issubclass(_OF.LossScaleOptimizer, internals.base_optimizer())
    assert not issubclass(keras.layers.Layer, internals.base_optimizer())


def test_is_writing_model_while_a_model_is_saved(tmp_path):
    seen = []

    @keras.saving.register_keras_serializable("test_internals")
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            seen.append(internals.is_writing_model())
            return super().get_config()

    model = keras.Sequential([keras.Input((2,)), Own()])
    seen.clear()
    model.get_config()
    assert set(seen) == {False}
    seen.clear()
    model.save(tmp_path / "model.keras")
    assert True in seen


def test_is_writing_model_names_the_key_that_keras_no_longer_has(monkeypatch, fresh_probes):
    monkeypatch.setattr(internals, "_WRITING", "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.is_writing_model()


def test_config_sharing_scope_keeps_objects_until_it_ends():
    with internals.config_sharing_scope():
        internals.note_shared_object("key", "value")
        assert internals.shared_object("key") == "value"
        assert internals.is_writing_model()
    assert not internals.is_writing_model()


def test_shared_object_is_none_outside_of_a_scope_and_for_other_keys():
    assert internals.shared_object("key") is None
    with internals.config_sharing_scope():
        internals.note_shared_object("key", "value")
        assert internals.shared_object("other") is None
        assert internals.shared_object("key") == "value"


def test_note_shared_object_is_forgotten_with_its_scope():
    with internals.config_sharing_scope():
        internals.note_shared_object("key", "value")
        assert internals.shared_object("key") == "value"
    assert internals.shared_object("key") is None


def test_global_seed_generator_is_there_after_the_first_draw():
    results = []

    def look():
        before = internals.global_seed_generator()
        keras.random.normal((1,))
        results.extend([before, internals.global_seed_generator()])

    thread = threading.Thread(target=look)  # Each thread has its own.
    thread.start()
    thread.join()
    assert results[0] is None
    assert isinstance(results[1], keras.random.SeedGenerator)


def test_global_seed_generator_names_the_key_that_keras_no_longer_has(monkeypatch, fresh_probes):
    monkeypatch.setattr(internals, "_SEEDS", "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.global_seed_generator()


def test_restore_global_seed_generator_draws_from_another_one():
    before = internals.global_seed_generator()
    try:
        draws = []
        for _ in range(2):
            internals.restore_global_seed_generator(keras.random.SeedGenerator(3))
            draws.append(np.array(keras.random.normal((3,))).tolist())
        assert draws[0] == draws[1]
    finally:
        internals.restore_global_seed_generator(before)


def _in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_thread_settings_are_copies_of_what_this_thread_alone_has():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        settings = internals.thread_settings()
    finally:
        keras.config.set_dtype_policy(policy)

    def dtype():
        internals.adopt_thread_settings(settings)
        return keras.layers.Dense(1).dtype_policy.name

    assert _in_a_thread(dtype) == "float64"
    assert keras.layers.Dense(1).dtype_policy.name == policy.name


def test_adopt_thread_settings_gives_the_same_draws_and_moves_no_others():
    keras.utils.set_random_seed(7)
    keras.random.uniform((1,))
    settings = internals.thread_settings()
    first = keras.ops.convert_to_numpy(keras.random.uniform((3,))).tolist()

    def draw(only_seeds):
        internals.adopt_thread_settings(settings, only_seeds)
        return keras.ops.convert_to_numpy(keras.random.uniform((3,))).tolist()

    assert _in_a_thread(lambda: draw(False)) == first
    assert _in_a_thread(lambda: draw(True)) == first
    with keras.name_scope("outer"):
        named = internals.thread_settings()

    def scopes():
        internals.adopt_thread_settings(named, only_seeds=True)
        return internals.thread_settings()[0].get("name_scope_stack")

    assert not _in_a_thread(scopes)


def test_trainer_attributes_are_methods_of_training():
    names = internals.trainer_attributes()
    assert {"fit", "train_step", "make_train_function", "evaluate", "_symbolic_build"} <= names
    assert not {"call", "save", "count_params", "__init__"} & names


def test_trainer_attributes_names_a_version_that_has_none(monkeypatch, fresh_probes):
    class Other:
        __module__ = "keras.src.elsewhere"

    monkeypatch.setattr(internals.keras, "Model", Other)
    with pytest.raises(RuntimeError, match="elsewhere"):
        internals.trainer_attributes.__wrapped__()


def test_reset_automatic_names_begins_anew():
    first = keras.layers.Dense(1).name
    assert keras.layers.Dense(1).name != first
    internals.reset_automatic_names()
    assert keras.layers.Dense(1).name == "dense"


def test_tracked_dictionary_is_what_a_layer_keeps():
    layer = keras.layers.Dense(1)
    layer.given = {"a": 1}
    assert type(layer.given) is internals.tracked_dictionary()
