"""Each question to the insides of TensorFlow has the answer that kerasreg relies on.

The name of a test begins with the name of its function, as in `test_internals.py`.
"""

import os

import keras
import numpy as np
import pytest

from kerasreg._keras import tensorflow_internals as internals

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow is not the backend.", allow_module_level=True)

import tensorflow as tf


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


def mapped(function):
    """The graph of a `tf.vectorized_map` over three numbers."""

    @tf.function(autograph=False)
    def traced(x):
        return tf.vectorized_map(function, x)

    return traced.get_concrete_function(tf.zeros((3,))).graph


def without_form(x):
    with tf.name_scope("dense"):
        # No vectorised form in any version so far: its result has no fixed shape.
        return tf.reduce_sum(tf.raw_ops.Unique(x=x[None], out_idx=tf.int32).y, name="sum")


@pytest.mark.parametrize("jit_compile", [True, False])
def test_is_compiled_by_xla_in_a_function_that_is(jit_compile):
    seen = []

    @tf.function(jit_compile=jit_compile, autograph=False)
    def traced(x):
        seen.append(internals.is_compiled_by_xla(tf.compat.v1.get_default_graph()))
        return x + 1.0

    traced(tf.constant(1.0))
    assert set(seen) == {jit_compile}


def test_is_in_vectorized_map_while_its_body_is_traced():
    seen = []

    def body(x):
        seen.append(internals.is_in_vectorized_map(tf.compat.v1.get_default_graph()))

        @tf.function(autograph=False)
        def inner(x):
            seen.append(internals.is_in_vectorized_map(tf.compat.v1.get_default_graph()))
            return x

        return inner(x)

    mapped(body)
    assert set(seen) == {True}
    assert internals.is_in_vectorized_map(tf.Graph()) is False


def test_is_in_vectorized_map_names_the_scope_that_is_gone(monkeypatch, fresh_probes):
    monkeypatch.setattr(internals, "_BODY", "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.is_in_vectorized_map(tf.Graph())


def test_path_in_vectorized_map_is_that_of_the_body():
    def body(x):
        with tf.name_scope("dense"):
            return tf.numpy_function(lambda x: x, [x], tf.float32, name="python")

    names = [op.name for op in internals.all_operations(mapped(body)) if op.type == "PyFunc"]
    assert names
    assert {internals.path_in_vectorized_map(name) for name in names} == {"dense/python"}


def test_looped_operation_is_the_one_without_a_vectorised_form():
    found = [
        internals.looped_operation(op) for op in internals.all_operations(mapped(without_form))
    ]
    assert {one for one in found if one is not None} == {("dense", "Unique")}
    found = map(internals.looped_operation, internals.all_operations(mapped(lambda x: x + 1.0)))
    assert set(found) == {None}


def test_looped_operation_names_the_scope_that_is_gone(monkeypatch, fresh_probes):
    monkeypatch.setattr(internals, "_CONVERTED", "moved")
    (operation, *_) = mapped(lambda x: x + 1.0).get_operations()
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.looped_operation(operation)


def test_all_operations_has_those_of_functions_that_are_called():
    @tf.function(autograph=False)
    def inner(x):
        return tf.sin(x)

    @tf.function(autograph=False)
    def outer(x):
        return inner(x)

    graph = outer.get_concrete_function(tf.constant(1.0)).graph
    assert "Sin" not in [op.type for op in graph.get_operations()]
    assert "Sin" in [op.type for op in internals.all_operations(graph)]


def test_widen_converter_takes_another_form_for_some_inputs_and_only_once(monkeypatch):
    from tensorflow.python.ops.parallel_for import pfor

    monkeypatch.setattr(pfor, "_pfor_converter_registry", dict(pfor._pfor_converter_registry))
    halved = []

    def half(converted):
        halved.append(converted.op.type)
        return pfor.wrap(converted.stacked_input(0) / 2.0, True)

    def is_double(converted):
        return converted.input(0).t.dtype == tf.float64

    for _ in range(2):
        internals.widen_converter("Cos", is_double, half)
    for dtype, expected in (("float64", 1.0), ("float32", np.cos(2.0))):
        found = tf.vectorized_map(tf.cos, tf.constant([2.0, 2.0], dtype))
        np.testing.assert_allclose(found, [expected] * 2, rtol=1e-6)
    assert halved == ["Cos"]
    with pytest.raises(KeyError):
        internals.widen_converter("NoSuchOperation", is_double, half)


def test_has_converter_of_operations_that_are_vectorised():
    assert internals.has_converter("MatMul") is True
    assert internals.has_converter("Unique") is False


def test_handles_text_also_in_functions_that_are_called():
    @tf.function
    def inner(x):
        return tf.strings.length(tf.strings.as_string(x))

    @tf.function
    def outer(x):
        return inner(x) + 1

    @tf.function
    def numbers(x):
        return x + 1

    graph = outer.get_concrete_function(tf.constant(1)).graph
    assert not any(op.outputs[0].dtype == tf.string for op in graph.get_operations() if op.outputs)
    assert internals.handles_text(graph)
    assert not internals.handles_text(numbers.get_concrete_function(tf.constant(1)).graph)


def test_table_contents_are_those_of_a_table_that_stays_as_it_is():
    keys, values = tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64)
    filled = tf.lookup.KeyValueTensorInitializer(keys, values)
    table = tf.lookup.StaticHashTable(filled, default_value=-1)
    expected = {b"a": 1, b"b": 2, None: -1}
    assert internals.table_contents(table) == expected
    found = []

    @tf.function(autograph=False)
    def traced(x):
        found.append(internals.table_contents(table))
        return x

    traced(1)
    assert found == [expected]
    changing = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    assert internals.table_contents(changing) is None
    assert internals.table_contents("no table") is None


def test_recomputed_calls_tell_the_second_evaluation_from_the_first():
    seen = []

    @tf.recompute_grad
    def function(x):
        seen.append(internals.recomputed_calls())
        return x * x

    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = function(x * 1.0)
    tape.gradient(y, x)
    (first,), (again, *_) = seen
    assert first[0] is False
    assert again == (True, first[1])
    assert internals.recomputed_calls() == []


@pytest.mark.parametrize("name", ["_FIRST", "_AGAIN", "_RECOMPUTES_IN"])
def test_recomputed_calls_name_what_is_gone(monkeypatch, fresh_probes, name):
    monkeypatch.setattr(internals, name, "moved")
    with pytest.raises(RuntimeError, match="'moved'"):
        internals.recomputed_calls()


def test_operation_seeds_come_with_a_global_seed():
    tf.random.set_seed(5)
    generator = internals.operation_seeds()
    before = generator.getstate()
    first = tf.random.normal((3,)).numpy().tolist()
    generator.setstate(before)
    internals.forget_kernels()
    assert tf.random.normal((3,)).numpy().tolist() == first
    context = internals._context()
    context._seed = None
    assert internals.operation_seeds() is None


def test_operation_seeds_state_is_that_of_the_next_draw():
    tf.random.set_seed(5)
    state = internals.operation_seeds_state()
    assert state[0] == 5
    tf.random.normal((3,))
    assert internals.operation_seeds_state() != state


def test_restore_operation_seeds_draws_again():
    tf.random.set_seed(5)
    state = internals.operation_seeds_state()
    first = tf.random.normal((3,)).numpy().tolist()
    tf.random.set_seed(6)
    internals.restore_operation_seeds(state)
    assert tf.random.normal((3,)).numpy().tolist() == first
    internals.restore_operation_seeds(None)
    assert internals.operation_seeds_state() is None


def test_forget_kernels_lets_an_operation_with_a_seed_begin_anew():
    tf.random.set_seed(5)
    state = internals.operation_seeds().getstate()

    def draw():
        internals.operation_seeds().setstate(state)
        return float(tf.random.normal((), seed=7))

    first = draw()
    assert draw() != first
    internals.forget_kernels()
    assert draw() == first


def test_saved_signature_has_the_names_of_tensors(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "given")])
        def __call__(self, x):
            return {"answer": x + 1.0}

    module = Module()
    tf.saved_model.save(module, tmp_path, signatures=module.__call__)
    signature = internals.saved_signature(os.fspath(tmp_path))
    assert list(signature.inputs) == ["given"]
    assert list(signature.outputs) == ["answer"]
    assert signature.inputs["given"].name.endswith(":0")


def test_datatype_name_is_that_of_tensorflows_messages():
    assert internals.datatype_name(tf.float32) == "DT_FLOAT"
    assert internals.datatype_name(tf.string) == "DT_STRING"


def test_is_endless_of_datasets_that_never_end():
    numbers = tf.data.Dataset.range(4)
    generated = tf.data.Dataset.from_generator(
        lambda: iter([1]), output_signature=tf.TensorSpec((), "int32")
    )
    endless = numbers.repeat()
    assert not any(map(internals.is_endless, (numbers, numbers.repeat(2), generated)))
    for dataset in (endless, endless.batch(2).prefetch(1), generated.repeat(),
                    tf.data.Dataset.random(seed=1)):  # fmt: skip
        assert internals.is_endless(dataset)
    filtered = endless.filter(lambda x: x > 1)
    assert internals.is_endless(filtered.map(lambda x: x + 1).batch(2))
    assert internals.is_endless(endless.batch(2).unbatch())
    assert not internals.is_endless(filtered.take(3).map(lambda x: x + 1))
    for dataset in (filtered.take(3), filtered.take_while(lambda x: x < 3)):
        assert not internals.is_endless(dataset)
        assert [int(number) for number in dataset] in ([2, 3, 2], [2])


def test_name_inputs_of_the_signatures_in_the_file_of_a_saved_model(tmp_path):
    module = tf.Module()
    module.function = tf.function(
        lambda inputs: {"y": 2.0 * inputs["a_b"] + inputs["other"]},
        input_signature=[{name: tf.TensorSpec([None], name=name) for name in ("a_b", "other")}],
    )
    path = str(tmp_path / "saved")
    tf.saved_model.save(module, path, {"one": module.function, "two": module.function})
    marks = (tmp_path / "saved" / "fingerprint.pb").read_bytes()
    internals.name_inputs(path, {"one": {"a_b": "a (b)"}, "absent": {"a_b": "c"}})
    assert set(internals.saved_signature(path, "one").inputs) == {"a (b)", "other"}
    assert set(internals.saved_signature(path, "two").inputs) == {"a_b", "other"}
    assert (tmp_path / "saved" / "fingerprint.pb").read_bytes() != marks
    loaded = tf.saved_model.load(path).signatures["one"]
    specs = loaded.structured_input_signature[1]
    assert {key: spec.name for key, spec in specs.items()} == {"a_b": "a (b)", "other": "other"}
    values = {"a (b)": tf.constant([1.0]), "other": tf.constant([10.0])}
    assert loaded(**values)["y"].numpy().tolist() == [12.0]


def test_name_inputs_fails_without_the_function_of_a_signature(tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add().signature_def["one"].inputs["x"].name = "x:0"
    saved.meta_graphs[0].object_graph_def.nodes.add()
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(RuntimeError, match="has no function of 'one'"):
        internals.name_inputs(str(tmp_path), {"one": {"x": "y"}})


def test_dataset_contents_of_equal_datasets():
    def numbers(count):
        return tf.data.Dataset.range(count).shuffle(3, seed=1)

    assert internals.dataset_contents(numbers(4)) == internals.dataset_contents(numbers(4))
    assert internals.dataset_contents(numbers(4)) != internals.dataset_contents(numbers(5))
    drawn = numbers(4).map(lambda x: tf.random.uniform(()))
    assert internals.dataset_contents(drawn) is None
