"""Ensembles, against the plain mean of what their members predict."""

import io
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import kerasreg
from kerasreg import serving
from kerasreg._keras.member_stack import MemberStack
from kerasreg._keras.tensorflow_internals import all_operations
from kerasreg.models import compress, ensemble


def drawn(model, seed):
    """A model with weights that are far from those of others."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.name:
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
        elif keras.backend.is_float_dtype(weight.dtype):
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


def members(make, count=3):
    return [drawn(make(), seed) for seed in range(count)]


def sequential(shape, *kinds, dtype=None):
    return lambda: keras.Sequential([keras.Input(shape, dtype=dtype), *(kind() for kind in kinds)])


def dense(units=4, activation="softmax"):
    return sequential(
        (6,),
        lambda: layers.Dense(8, "relu"),
        lambda: layers.Dropout(0.3),
        layers.BatchNormalization,
        lambda: layers.Dense(units, activation),
    )


def moments(models, x, shares):
    shares = np.asarray(shares, "float64") / np.sum(shares)
    each = np.stack([model.predict(x, verbose=0) for model in models]).astype("float64")
    mean = np.tensordot(shares, each, 1)
    return mean, np.sqrt(np.tensordot(shares, (each - mean) ** 2, 1))


def attention():
    given = keras.Input((5, 4))
    inner = layers.MultiHeadAttention(2, 3)(given, given)
    return keras.Model(given, layers.Dense(2)(layers.GlobalAveragePooling1D()(inner)))


def text():
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    given = keras.Input((3,), dtype="string")
    return keras.Model(
        given, layers.Dense(2)(layers.Flatten()(layers.Embedding(3, 4)(lookup(given))))
    )


NUMBERS = np.random.default_rng(0)
KINDS = {
    "dense": (dense(), NUMBERS.normal(size=(7, 6)).astype("float32")),
    "conv": (
        sequential(
            (6, 6, 2),
            lambda: layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.MaxPooling2D,
            layers.Flatten,
            lambda: layers.Dense(2),
        ),
        NUMBERS.normal(size=(7, 6, 6, 2)).astype("float32"),
    ),
    "gru": (
        sequential((5, 3), lambda: layers.GRU(4), lambda: layers.Dense(2)),
        NUMBERS.normal(size=(7, 5, 3)).astype("float32"),
    ),
    "attention": (attention, NUMBERS.normal(size=(7, 5, 4)).astype("float32")),
    "text": (text, NUMBERS.choice(["a", "b", "c"], size=(7, 3)).astype(object)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_mean_and_spread_of_members_by_one_program(kind):
    make, x = KINDS[kind]
    if kind == "text":
        import tensorflow as tf

        x = tf.constant(x)
    models = members(make)
    both = ensemble(models, [1, 2, 3], spread=True)
    found = both.predict(x, verbose=0)
    mean, deviation = moments(models, x, [1, 2, 3])
    np.testing.assert_allclose(found["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(found["spread"], deviation, atol=1e-5)
    assert both.member_by_member == {}


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any))
def test_weights_are_repeats_and_members_without_weight_are_dropped(shares):
    models, x = members(dense()), KINDS["dense"][1]
    both = ensemble(models, shares)
    assert len(both.member_weights) == len(both.members()) == np.count_nonzero(shares)
    assert sum(both.member_weights) == pytest.approx(1)
    np.testing.assert_allclose(both(x), moments(models, x, shares)[0], atol=1e-5)


def test_members_come_back_with_their_own_weights_and_statistics():
    models, x = members(dense()), KINDS["dense"][1]
    for model, member in zip(models, ensemble(models).members(), strict=True):
        np.testing.assert_allclose(member(x), model(x), atol=1e-6)


def test_structures_have_stacks_of_their_own_in_the_order_of_members():
    narrow = sequential((6,), lambda: layers.Dense(4, "softmax"))
    models = [drawn(make(), seed) for seed, make in enumerate([narrow, dense(), narrow, dense()])]
    x = KINDS["dense"][1]
    both = ensemble(models, [1, 2, 3, 4])
    np.testing.assert_allclose(both(x), moments(models, x, [1, 2, 3, 4])[0], atol=1e-5)
    stacks = [part for part in both._mean.parts if isinstance(part, MemberStack)]
    assert [stack.count for stack in stacks] == [2, 2]
    for model, member in zip(models, both.members(), strict=True):
        np.testing.assert_allclose(member(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (layers.BatchNormalization, {"epsilon": 1e-3}, {"epsilon": 0.5}),
        (layers.Rescaling, {"scale": 1.0}, {"scale": 3.0}),
        (
            layers.Normalization,
            {"mean": 0.0, "variance": 1.0},
            {"mean": 2.0, "variance": 4.0},
        ),
    ],
)
def test_numbers_that_change_inference_are_right_for_each_member(kind, first, second):
    models = [
        drawn(sequential((6,), lambda given=given: kind(**given), lambda: layers.Dense(2))(), seed)
        for seed, given in enumerate([first, second])
    ]
    x = KINDS["dense"][1]
    np.testing.assert_allclose(ensemble(models)(x), moments(models, x, [1, 1])[0], atol=1e-5)


def test_adapted_statistics_are_right_for_each_member_and_after_loading(tmp_path):
    models = []
    for seed, scale in enumerate((1.0, 1.0, 5.0)):
        model = drawn(sequential((6,), layers.Normalization, lambda: layers.Dense(2))(), seed)
        model.layers[0].adapt(scale * KINDS["dense"][1] + scale)
        models.append(model)
    x, both = KINDS["dense"][1], ensemble(models)
    expected = moments(models, x, [1, 1, 1])[0]
    np.testing.assert_allclose(both(x), expected, atol=1e-5)
    both.save(tmp_path / "both.keras")
    loaded = keras.models.load_model(tmp_path / "both.keras")
    np.testing.assert_allclose(loaded(x), expected, atol=1e-5)


def test_rates_and_penalties_do_not_part_members():
    def make(rate):
        return sequential(
            (6,),
            lambda: layers.Dense(4, kernel_regularizer=kerasreg.regularizers.L2(rate)),
            lambda: layers.Dropout(rate),
        )()

    assert ensemble([make(0.1), make(0.2)]).member_by_member == {}


@pytest.mark.parametrize(("kind", "units"), [("softmax", 4), ("sigmoid", 1)])
def test_of_logits_it_gives_the_logits_of_the_mean_probability(kind, units):
    losses = keras.losses
    loss = losses.SparseCategoricalCrossentropy if units > 1 else losses.BinaryCrossentropy
    models, x = members(dense(units, None)), KINDS["dense"][1]
    for model in models:
        model.compile("sgd", loss(from_logits=True))
    activation = getattr(keras.ops, kind)
    each = np.stack([activation(model(x)) for model in models])
    found = ensemble(models, spread=True)(x)
    np.testing.assert_allclose(activation(found["mean"]), each.mean(0), atol=1e-5)
    np.testing.assert_allclose(found["spread"], each.std(0), atol=1e-5)
    plain = ensemble(models, logits="none")(x)
    np.testing.assert_allclose(plain, np.mean([m(x) for m in models], 0), atol=1e-5)


def several():
    given = {"one": keras.Input((2,), name="one"), "two": keras.Input((3,), name="two")}
    hidden = layers.Dense(5, "relu")(layers.Concatenate()(list(given.values())))
    return keras.Model(given, {"a": layers.Dense(1)(hidden), "b": layers.Dense(2)(hidden)})


def test_dictionaries_of_inputs_and_outputs():
    models = members(several)
    x = {"one": np.ones((4, 2)), "two": np.arange(12.0).reshape(4, 3)}
    found = ensemble(models, spread=True).predict(x, verbose=0)
    for name in ("a", "b"):
        each = np.stack([model.predict(x, verbose=0)[name] for model in models])
        np.testing.assert_allclose(found["mean"][name], each.mean(0), atol=1e-5)
        np.testing.assert_allclose(found["spread"][name], each.std(0), atol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("mixed_float16", 2e-3)])
def test_precision_of_members(dtype, atol):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        models = members(dense())
    finally:
        keras.config.set_dtype_policy(before)
    x = KINDS["dense"][1].astype("float64" if dtype == "float64" else "float32")
    found = ensemble(models)(x)
    assert found.dtype.name == models[0](x).dtype.name
    np.testing.assert_allclose(found, moments(models, x, [1, 1, 1])[0], atol=atol)


class Own(keras.Model):
    """A functional model with a call of its own, which no config describes."""

    def call(self, inputs, training=False):
        return 2 * super().call(inputs, training=training)


def own():
    given = keras.Input((6,))
    return Own(given, layers.Dense(4)(given))


def test_subclassed_models_run_member_by_member():
    models, x = members(own), KINDS["dense"][1]
    both = ensemble(models)
    assert set(both.member_by_member) == {0, 1, 2}
    np.testing.assert_allclose(both(x), moments(models, x, [1, 1, 1])[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "text"])
def test_it_saves_and_loads(kind, tmp_path):
    make, x = KINDS[kind]
    if kind == "text":
        import tensorflow as tf

        x = tf.constant(x)
    both = ensemble(members(make), [1, 2, 3], spread=True)
    both.save(tmp_path / "both.keras")
    loaded = keras.models.load_model(tmp_path / "both.keras")
    assert loaded.member_weights == both.member_weights
    for name in ("mean", "spread"):
        np.testing.assert_allclose(loaded(x)[name], both(x)[name], atol=1e-6)
    assert both.count_params() == 3 * make().count_params()
    # A file has the weights of the members, and none of them twice.
    with zipfile.ZipFile(tmp_path / "both.keras") as saved:
        file = h5py.File(io.BytesIO(saved.read("model.weights.h5")))
    sizes = []
    file.visititems(lambda name, of: sizes.append(getattr(of, "size", 0)))
    assert sum(sizes) == both.count_params()


def test_it_is_not_trained():
    both = ensemble(members(dense()))
    with pytest.raises(NotImplementedError, match="An ensemble is not trained"):
        both.fit(KINDS["dense"][1])


def test_compressed_members():
    models, x = members(dense()), KINDS["dense"][1]
    for model in models:
        kernel, bias = model.layers[0].get_weights()
        kernel[:, :3], bias[:3] = 0.0, 0.0
        model.layers[0].set_weights([kernel, bias])
    smaller = ensemble([compress(model).model for model in models])
    assert smaller.count_params() < ensemble(models).count_params()
    np.testing.assert_allclose(smaller(x), moments(models, x, [1, 1, 1])[0], atol=1e-5)


@pytest.mark.short("int8")
@pytest.mark.parametrize("quantization", [None, "float16", "int8"])
def test_it_exports_as_one_saved_model_without_a_loop(quantization, tmp_path):
    import tensorflow as tf

    both, x = ensemble(members(dense())), KINDS["dense"][1]
    data = None if quantization is None else (x, None)
    path = serving.export(
        both, tmp_path, samples=x, quantization=quantization, validation_data=data
    )
    signature = tf.saved_model.load(path).signatures["serve"]
    assert not [one.type for one in all_operations(signature.graph) if "While" in one.type]
    report = serving.runtime_report(path, both, x, ["c"], quantization=quantization, calls=1)
    assert report.passed


def test_what_its_outputs_are_is_known_to_an_export(tmp_path):
    both = ensemble(
        [*members(dense()), *members(sequential((6,), lambda: layers.Dense(4, "softmax")))]
    )
    assert serving._probabilities.scores_of(both, 4, None) == "probabilities"
    assert serving.export(both, tmp_path, labels=["a", "b", "c", "d"])
    of_numbers = ensemble(members(dense(4, "relu")))
    assert serving._probabilities.scores_of(of_numbers, 4, None) is None
    models = members(dense(4, None))
    for model in models:
        model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    assert serving._probabilities.scores_of(ensemble(models), 4, None) == "logits"


@pytest.mark.parametrize("kind", [pytest.param("gru", marks=pytest.mark.long), "attention", "text"])
def test_it_answers_in_another_process_as_here(kind, tmp_path):
    make, x = KINDS[kind]
    both = ensemble(members(make), [1, 2, 3])
    path = serving.export(both, tmp_path, samples=x, tolerance=None)
    assert serving.verify(path, both, x).relative_difference < 1e-6


def test_int8_has_scales_for_each_member_and_output(tmp_path):
    models = members(dense())
    for layer in models[0].layers:
        layer.set_weights([1000 * weight for weight in layer.get_weights()])
    stored = serving._quantization.StoredWeights(ensemble(models), "int8")
    alone = [serving._quantization.StoredWeights(model, "int8") for model in models]
    for kernel, scale, *each in zip(
        stored.stored,
        stored.scales,
        *([*zip(one.stored, one.scales, strict=True)] for one in alone),
        strict=True,
    ):
        np.testing.assert_array_equal(kernel, np.stack([own for own, _ in each]))
        np.testing.assert_array_equal(scale, np.stack([own for _, own in each]))


@pytest.mark.parametrize("weights", [[1, 2], [1, 1, -1], [0, 0, 0], [1, np.nan, 1], "abc"])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="`weights` must be 3 finite numbers >= 0"):
        ensemble(members(dense()), weights)


def test_models_that_differ_are_refused_by_what_differs():
    with pytest.raises(ValueError, match=r"the same outputs.*4\).*3\)"):
        ensemble([dense(4)(), dense(3)()])
    other = sequential((5,), lambda: layers.Dense(4))
    with pytest.raises(ValueError, match=r"the same inputs.*6\).*5\)"):
        ensemble([dense(4)(), other()])
    with pytest.raises(ValueError, match="`models` must be a list of built Keras models"):
        ensemble([])


def test_a_model_of_the_inputs_and_outputs_of_an_ensemble_is_saved_too(tmp_path):
    def member(units):
        return keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(units, "relu"), keras.layers.Dense(2)]
        )

    mean = ensemble([member(4), member(4), member(5)])
    scaled = keras.layers.Rescaling(3.0, 1.0)(mean.output)
    model = keras.Model(mean.input, scaled)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    expected = 3.0 * mean.predict(x, verbose=0) + 1.0
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
