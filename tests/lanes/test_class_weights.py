"""Weights of classes are values of lanes: each lane is trained with its own, as Keras does it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasreg import lanes

pytestmark = pytest.mark.shares_programs
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
CLASSES = RNG.integers(0, 3, 40)
# One that names no class of 2, one of all in another order, none, and one of no class there is.
WEIGHTS = [{0: 0.1, 1: 3.0}, {2: 0.3, 0: 7.0, 1: 0.7}, None, {5: 2.0}]
# Of a dataset, Keras looks for a weight of each class; a step of one's own asks for weights.
OF_ALL = [{2: 0.1, 1: 3.0}, {2: 0.3, 0: 7.0, 1: 0.7}, {2: 1.0}, {5: 2.0}]
TARGETS = {
    "numbers": (CLASSES, "sparse_categorical_crossentropy"),
    "a column": (CLASSES[:, None].astype("float32"), "sparse_categorical_crossentropy"),
    "one-hot": (np.eye(3, dtype="float32")[CLASSES], "categorical_crossentropy"),
}


def model(loss, seed, cls=keras.Sequential):
    keras.utils.set_random_seed(seed)
    made = cls([keras.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3, "softmax")])
    made.compile(
        keras.optimizers.SGD(0.1 * (seed + 1)),
        loss,
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    return made


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return X[rows], CLASSES[rows]


def check(make, arguments, jit_compile=False, weights=WEIGHTS):
    """Trains models as lanes and alone, each with its own weights."""
    together = lanes.Lanes([make(seed) for seed in range(4)], jit_compile)
    given = {"shuffle": False, "epochs": 3}
    histories = together.fit(**arguments(), **given, class_weight=weights)
    for seed, (weight, history) in enumerate(zip(weights, histories, strict=True)):
        alone = make(seed)
        expected = alone.fit(**arguments(), **given, class_weight=weight, verbose=0).history
        assert history.history.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(history.history[name], values, rtol=1e-5, atol=1e-6)
        for mine, other in zip(together.unstack(seed).weights, alone.weights, strict=True):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
    return together


@pytest.mark.short("one-hot-True")
@pytest.mark.parametrize(
    ("targets", "jit_compile"),
    [("numbers", False), ("a column", False), ("one-hot", True)],
)
def test_each_lane_has_its_own(targets, jit_compile):
    y, loss = TARGETS[targets]

    def arguments():
        # Validations have no weights of classes.
        return {"x": X, "y": y, "batch_size": 16, "validation_data": (X[:9], y[:9])}

    check(lambda seed: model(loss, seed), arguments, jit_compile)


@pytest.mark.short("PyDataset")
@pytest.mark.filterwarnings("ignore:`shuffle=")
@pytest.mark.parametrize(
    "stream",
    [lambda: tf.data.Dataset.from_tensor_slices((X, CLASSES)).batch(16), Batches],
    ids=["dataset", "PyDataset"],
)
def test_so_it_is_with_data_that_are_read_batch_by_batch(stream):
    check(
        lambda seed: model("sparse_categorical_crossentropy", seed),
        lambda: {"x": stream()},
        weights=OF_ALL,
    )


class OwnStep(keras.Sequential):
    def train_step(self, data):
        x, y, weights = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True), weights)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return self.compute_metrics(x, y, self(x), weights) | {"loss": loss}


def test_a_step_of_the_models_own_is_given_the_weights():
    check(
        lambda seed: model("sparse_categorical_crossentropy", seed, OwnStep),
        lambda: {"x": X, "y": CLASSES, "batch_size": 16},
        weights=OF_ALL,
    )


def test_a_replacement_brings_its_own():
    def make(seed):
        return model("sparse_categorical_crossentropy", seed)

    # The last one has more classes than those before.
    weights = [{0: 2.0}, {1: 3.0}, {0: 0.2, 1: 5.0, 2: 0.6}]
    waiting = [lanes.Replacement(make(2), class_weight=weights[2])]
    together = lanes.Lanes([make(0), make(1)])
    histories = together.fit(
        X,
        CLASSES,
        epochs=[1, 3],
        shuffle=False,
        class_weight=weights[:2],
        refill=lambda ended: {lane: waiting.pop() for lane in sorted(ended) if waiting},
    )
    expected = make(2).fit(X, CLASSES, epochs=1, shuffle=False, class_weight=weights[2], verbose=0)
    np.testing.assert_allclose(histories[2].history["loss"], expected.history["loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("class_weight", "said"),
    [
        ([{0: 1.0}], r"`class_weight` must be a dictionary, or a list .* of 2 lanes"),
        (3.0, r"`class_weight` must be a dictionary, or a list"),
        ([{0: 1.0}, {"1": 2.0}], r"dictionary of numbers by class number. Received: {'1': 2.0}"),
        ([{0: 1.0}, {1: "2"}], r"dictionary of numbers by class number. Received: {1: '2'}"),
    ],
)
def test_what_is_no_weight_of_classes_is_refused(class_weight, said):
    together = lanes.Lanes([model("sparse_categorical_crossentropy", seed) for seed in range(2)])
    with pytest.raises(ValueError, match=said):
        together.fit(X, CLASSES, class_weight=class_weight)


def test_weights_of_samples_beside_them_are_refused_as_by_keras():
    together = lanes.Lanes([model("sparse_categorical_crossentropy", seed) for seed in range(2)])
    with pytest.raises(ValueError, match="cannot be given together"):
        together.fit(X, CLASSES, sample_weight=np.ones(40), class_weight=WEIGHTS[:2])


def test_a_replacement_of_lanes_without_has_none():
    make = [model("sparse_categorical_crossentropy", seed) for seed in range(3)]
    with pytest.raises(ValueError, match="`class_weight` of a replacement must be None"):
        lanes.Lanes(make[:2]).fit(
            X,
            CLASSES,
            class_weight=WEIGHTS[0],
            refill=lambda ended: {0: lanes.Replacement(make[2], class_weight={0: 1.0})},
        )
