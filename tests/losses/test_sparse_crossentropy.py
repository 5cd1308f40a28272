"""Label smoothing of whole-number classes, beside Keras' of one-hot ones."""

import keras
import numpy as np
import pytest

from kerasreg.losses import SparseCategoricalCrossentropy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)).astype("float32")
CLASSES = RNG.integers(5, size=6)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_it_is_the_loss_of_one_hot_classes(from_logits, smoothing):
    # Not of the sum one, and one so small that Keras clips it.
    outputs = LOGITS if from_logits else np.exp(4 * LOGITS) * [1, 1, 1, 1, 1e-12]
    one_hot = np.eye(5)[CLASSES]
    theirs = keras.losses.CategoricalCrossentropy(from_logits, label_smoothing=smoothing)
    mine = SparseCategoricalCrossentropy(from_logits, smoothing)
    expected = float(theirs(one_hot, outputs))
    assert float(mine(CLASSES, outputs)) == pytest.approx(expected, rel=1e-5)
    assert float(mine(CLASSES[:, None], outputs)) == pytest.approx(expected, rel=1e-5)


def test_sequences_and_weights_of_samples():
    outputs = np.stack([LOGITS, LOGITS[::-1]], axis=1)
    targets = np.stack([CLASSES, CLASSES[::-1]], axis=1)
    mine, theirs = (
        kind(True, reduction="sum")
        for kind in (SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)
    )
    weights = np.arange(12.0).reshape(6, 2)
    expected = float(theirs(np.eye(5)[targets], outputs, weights))
    assert float(mine(targets, outputs, weights)) == pytest.approx(expected, rel=1e-5)


def test_a_compiled_model_is_saved_with_it(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Softmax()])
    model.compile("sgd", SparseCategoricalCrossentropy(label_smoothing=0.3, name="smoothed"))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()
    assert (loaded.loss.label_smoothing, loaded.loss.name) == (0.3, "smoothed")
    before, after = (m.evaluate(LOGITS, CLASSES, verbose=0) for m in (model, loaded))
    assert before == pytest.approx(after)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": -0.1}, "`label_smoothing` must be a number from 0 to 1"),
        ({"label_smoothing": 1.5}, "Received: label_smoothing=1.5"),
        ({"from_logits": 1}, "`from_logits` must be True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SparseCategoricalCrossentropy(**arguments)
