"""What Keras' steps do under `tf.distribute`, and what is changed for them."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg._keras import replicas

X = np.random.default_rng(3).normal(size=(10, 1)).astype("float32")
Y = X**2


def compiled(*layers, optimizer="sgd"):
    model = keras.Sequential([keras.Input((1,)), *(layers or [keras.layers.Dense(1)])])
    model.compile(optimizer, "mse")
    return model


def of_parts(loss, parts, **given):
    """The sum of the losses of replicas that have these parts of the samples."""
    asked = []

    def shares(all_sum):
        for rows in parts:
            mine = keras.ops.convert_to_tensor(float(len(X[rows])))
            with replicas.weighted_by_samples(compiled(), mine, float(len(X)), all_sum):
                weights = {name: values[rows] for name, values in given.items()}
                yield loss(Y[rows], X[rows], **weights)

    # First what each of them has, then, for each, the sum.
    for _ in shares(lambda value: asked.append(value) or value):
        pass
    return float(sum(shares(lambda value: sum(asked))))


PARTS = [slice(0, 7), slice(7, 10), slice(10, 10)]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_weighted_by_samples_losses_of_ragged_parts_add_up(reduction, is_weighted):
    loss = keras.losses.MeanSquaredError(reduction=reduction)
    given = {"sample_weight": np.linspace(0, 2, 10, dtype="float32")} if is_weighted else {}
    expected = float(loss(Y, X, **given))
    assert of_parts(loss, PARTS, **given) == pytest.approx(expected, rel=1e-5)


def test_own_draws():
    def draw(*replica):
        seed = keras.random.SeedGenerator(3)
        if not replica:
            return np.array(keras.random.uniform((100,), seed=seed))
        with replicas.own_draws(keras.ops.convert_to_tensor(*replica)):
            return np.array(keras.random.uniform((100,), seed=seed))

    np.testing.assert_array_equal(draw(0), draw())
    assert abs(np.corrcoef(draw(0), draw(1))[0, 1]) < 0.4
    assert not np.array_equal(draw(1), draw(2))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_summed_gradients_are_clipped_afterwards():
    optimizer = keras.optimizers.SGD(1.0, clipnorm=1.0)
    variables = [keras.Variable(np.zeros(2, "float32")), keras.Variable(1.0)]
    with replicas.summed_gradients(optimizer, lambda values: [3 * value for value in values]):
        optimizer.apply([keras.ops.convert_to_tensor([0.3, 0.4]), None], variables)
    np.testing.assert_allclose(variables[0], [-0.6, -0.8], rtol=1e-6)
    assert "apply" not in vars(optimizer)


def test_with_inner_optimizers():
    rule = keras.optimizers.SGD()
    outer = keras.optimizers.LossScaleOptimizer(rule)
    assert replicas.with_inner_optimizers(outer) == [outer, rule]
    assert replicas.with_inner_optimizers(None) == []


def test_losses_of_each_replica_are_not_forgotten_by_threads():
    model = compiled(keras.layers.ActivityRegularization(l2=1.0))
    found, expected, before = [], [], model.layers[0]._losses
    for value in (2.0, 3.0):
        model(np.full((4, 1), value, "float32"), training=True)
        expected.append([pytest.approx(float(loss)) for loss in model.losses])

    def called():
        model(np.full((4, 1), 3.0, "float32"), training=True)
        found.append([float(loss) for loss in model.losses])

    with replicas.losses_of_each_replica(model):
        model(np.full((4, 1), 2.0, "float32"), training=True)
        other = threading.Thread(target=called)
        other.start()
        other.join()
        assert [float(loss) for loss in model.losses] == expected[0] != expected[1]
    assert found == [expected[1]]
    assert model.layers[0]._losses is before


def test_statistics_of_batches():
    alone, together = (
        keras.layers.BatchNormalization(synchronized=synchronized) for synchronized in (False, True)
    )
    found = replicas.statistics_of_batches(compiled(alone, together))
    assert {id(v) for v in found} == {id(alone.moving_mean), id(alone.moving_variance)}
    alone.trainable = False
    assert not replicas.statistics_of_batches(compiled(alone, together))


def test_epoch_iterator():
    seen = []
    iterator = replicas.epoch_iterator(
        lambda dataset: seen.append(dataset) or dataset, x=X, y=Y, batch_size=4
    )
    assert iterator.num_batches == 3
    for _ in range(2):
        steps = []
        with iterator.catch_stop_iteration():
            for step, batches in iterator:
                steps.append((step, len(next(batches)[0])))
        assert steps == [(0, 4), (1, 4), (2, 2)]
    assert len(seen) == 1


@pytest.mark.parametrize(
    "strategy",
    [
        tf.distribute.OneDeviceStrategy("CPU:0"),
        tf.distribute.MirroredStrategy(["CPU:0"]),
        tf.distribute.get_strategy(),
    ],
    ids=lambda strategy: type(strategy).__name__,
)
def test_undivided_data_are_iterated_over(strategy):
    seen = set()

    class Model(keras.Sequential):
        def make_test_function(self, force=False):
            super().make_test_function(force)
            inner = self.test_function

            def noted(iterator):
                seen.add(isinstance(iterator, tf.data.Iterator))
                return inner(iterator)

            self.test_function = noted

    with strategy.scope():
        model = Model([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    expected = model.evaluate(X, Y, batch_size=4, verbose=0)
    seen.clear()
    with replicas.undivided_data(model):
        assert model.evaluate(X, Y, batch_size=4, verbose=0) == pytest.approx(expected)
    assert seen == {True}
    # The strategy is as it was.
    with strategy.scope():
        assert "experimental_distribute_dataset" not in vars(strategy)


def test_split_for_validation():
    (train, _, _), (test, _, _) = replicas.split_for_validation((X, Y, None), 0.3)
    np.testing.assert_array_equal(np.concatenate([train, test]), X)
    assert len(test) == 3


def test_prepare_saving(tmp_path, monkeypatch):
    model = compiled(optimizer="adam")
    model.fit(X, Y, verbose=0)
    replicas.prepare_saving(model)

    def no_more(*args, **kwargs):
        raise AssertionError("a variable is made")

    monkeypatch.setattr(keras.Variable, "__init__", no_more)
    model.save_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.keras")


def test_initial_epoch_of():
    model = compiled()
    assert replicas.initial_epoch_of(model) is None
    model._initial_epoch = 3
    assert replicas.initial_epoch_of(model) == 3


def test_is_validated():
    model = compiled()
    assert [replicas.is_validated(model, epoch, 2) for epoch in range(3)] == [False, True, False]


def test_in_order_of_metrics():
    assert replicas.in_order_of_metrics(compiled(), {"loss": 0.5}) == 0.5


def test_check_compiled():
    with pytest.raises(ValueError, match="compile"):
        replicas.check_compiled(keras.Sequential([keras.Input((1,))]), "fit")
    replicas.check_compiled(compiled(), "fit")


def test_ratio():
    found = replicas.ratio(keras.ops.convert_to_tensor(2**24 + 3), 2, "float64")
    assert (float(found), found.dtype) == ((2**24 + 3) / 2, "float64")
    found = replicas.ratio(1.0, 3.0, "float16")
    assert float(found) == np.float16(1 / 3)


def test_share_of_mean():
    parts = [(np.float32(2.0), 3), (np.float32(6.0), 1), (np.float32(np.nan), 0)]
    found = [
        float(replicas.share_of_mean(keras.ops.convert_to_tensor(mean), float(mine), 4.0))
        for mean, mine in parts
    ]
    assert found == [1.5, 1.5, 0.0]
