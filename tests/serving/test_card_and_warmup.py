"""What lies beside an exported model: its card, and requests to warm it up."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasreg import serving
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import Proximal
from kerasreg.regularizers import L1
from kerasreg.schedules import Linear

GIVEN = {
    "hyperparameters": {"strength": 0.1, "units": np.int64(8)},
    "metrics": {"val_loss": {"mean": 0.25, "standard_error": np.float32(0.5)}},
    "data": {"sha256": "ab|c"},
    "command": "kerasreg search --data=a.csv\n--target=y",
}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    ramp = Linear(0.5, 0.25, 8)
    dense = keras.layers.Dense(4, kernel_regularizer=L1(0.5), name="first")
    drop = ScheduledDropout(ramp, seed=1, name="drop")
    ridge = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1), name="last")
    model = keras.Sequential([keras.Input((3,), name="x"), dense, drop, ridge], name="net")
    model.compile(Proximal(keras.optimizers.SGD(0.1)), "mse")
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    model.fit(x, x[:, :1], 8, 1, verbose=0)
    return model, x


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    model, x = trained
    base = tmp_path_factory.mktemp("base") / "prices"
    return pathlib.Path(serving.export(model, base, card=GIVEN, samples=x, passes=2))


def test_the_card_says_what_was_given_and_what_the_model_is(exported, trained):
    model, x = trained
    card = json.loads((exported / "assets.extra/model_card.json").read_text())
    for name, value in GIVEN.items():
        assert card[name] == json.loads(json.dumps(value, default=float))
    assert card["model"] == "net"
    assert card["parameters"] == model.count_params()
    weights = [np.array(weight) for weight in model.weights]
    assert card["zeros"]["count"] == sum(int(np.sum(weight == 0)) for weight in weights[:2])
    assert card["zeros"]["count"] > 0
    rate, strength = sorted(card["hyperparameters_of_layers"], key=lambda row: row["name"])
    assert (rate["of"], rate["name"], rate["step"]) == ("drop", "rate", 4)
    # The rate of the last step that was made, the fourth.
    assert rate["value"] == pytest.approx(0.5 - 0.25 * 3 / 8)
    assert "Linear" in rate["schedule"]
    assert (strength["value"], strength["schedule"]) == (0.5, None)
    penalties = {row["weight"]: row for row in card["penalties"]}
    kernel, last = (model.get_layer(name).kernel for name in ("first", "last"))
    assert penalties[kernel.path]["value"] == pytest.approx(0.5 * np.abs(kernel.numpy()).sum())
    assert penalties[last.path]["value"] == pytest.approx(0.1 * (last.numpy() ** 2).sum())
    assert card["optimizer"]["class"] == "Proximal"
    assert card["optimizer"]["steps"] == 4
    assert card["versions"]["keras"] == keras.__version__
    assert card["signatures"] == ["predict_mc", "serve", "serve_examples"]
    assert list(card["inputs"]) == ["x"]
    assert card["outputs"] == ["outputs"]
    assert card["verification"]["samples"] == len(x)
    assert card["verification"]["relative_difference"] <= 1e-6


def test_the_card_is_there_to_be_read_with_each_row_in_one_line(exported):
    text = (exported / "assets.extra/model_card.md").read_text()
    assert text.startswith("# Model card: net\n")
    assert "**command**: kerasreg search --data=a.csv --target=y\n" in text
    assert "| sha256 | ab\\|c |" in text
    assert "|  | mean | standard_error |\n| --- | --- | --- |\n| val_loss | 0.25 | 0.5 |\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| drop |")]
    assert len(rows) == 1
    assert "0.40625" in rows[0]


def test_a_card_of_a_model_without_weights_or_optimizer(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(2.0)], name="twice")
    path = pathlib.Path(serving.export(model, tmp_path, tolerance=None))
    card = json.loads((path / "assets.extra/model_card.json").read_text())
    assert (card["parameters"], card["zeros"]["count"], card["optimizer"]) == (0, 0, None)
    assert "verification" not in card
    assert not (path / "assets.extra/tf_serving_warmup_requests").exists()


def test_warmup_requests_are_those_that_tensorflow_serving_reads(exported, trained):
    messages = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    _, x = trained
    file = str(exported / "assets.extra/tf_serving_warmup_requests")
    records = [messages.PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(file)]
    signatures = tf.saved_model.load(str(exported)).signatures
    seen = []
    for record in records:
        assert record.WhichOneof("log_type") == "predict_log"
        request = record.predict_log.request
        assert request.model_spec.name == "prices"
        seen.append(request.model_spec.signature_name)
        (name,) = request.inputs
        values = tf.make_ndarray(request.inputs[name])
        np.testing.assert_array_equal(values, x[:8])
        # And the signature takes them.
        signatures[seen[-1]](**{name: tf.constant(values)})
    assert seen == ["serve", "predict_mc"]


def test_warmup_requests_hold_nothing_that_tensorflow_serving_does_not_know(exported):
    messages = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    from google.protobuf import unknown_fields

    file = str(exported / "assets.extra/tf_serving_warmup_requests")
    for record in tf.data.TFRecordDataset(file):
        parsed = messages.PredictionLog.FromString(record.numpy())
        for message in (parsed, parsed.predict_log, parsed.predict_log.request):
            assert len(unknown_fields.UnknownFieldSet(message)) == 0
        # Written again it is as long: nothing was lost on the way.
        assert len(parsed.SerializeToString()) == len(record.numpy())


def test_warmup_requests_have_the_types_of_the_inputs(trained, tmp_path):
    messages = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    model, x = trained
    path = serving.export(model, tmp_path, samples=x.astype("float64"), tolerance=None)
    records = tf.data.TFRecordDataset(f"{path}/assets.extra/tf_serving_warmup_requests")
    (record,) = [messages.PredictionLog.FromString(r.numpy()) for r in records]
    (value,) = record.predict_log.request.inputs.values()
    assert tf.make_ndarray(value).dtype == np.float32


# What others wrote and cannot be described stops no export.


class Noam(keras.optimizers.schedules.LearningRateSchedule):
    """Without `get_config`, as in many programs."""

    def __call__(self, step):
        return 1e-3 * ops.rsqrt(ops.cast(step, "float32") + 1)


class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no repr")


class NoConfig(keras.optimizers.SGD):
    def get_config(self):
        raise Silent


class OddConfig(keras.optimizers.SGD):
    def get_config(self):
        return {**super().get_config(), "odd": Unspeakable()}


class Failing(keras.regularizers.Regularizer):
    def __call__(self, weight):
        raise ZeroDivisionError("by nothing")


class NoNumber(keras.regularizers.Regularizer):
    def __call__(self, weight):
        return weight


class Quiet(Linear):
    def __repr__(self):
        raise RuntimeError("no repr")


class Uncounted(keras.Sequential):
    def count_params(self):
        raise RuntimeError("not counted")


class OwnLoss(keras.losses.Loss):
    def call(self, y, predicted):
        return ops.mean(y - predicted)

    def get_config(self):
        raise NotImplementedError


class OwnLayer(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function, self.odd = function, Unspeakable()

    def call(self, inputs):
        return self.function(inputs)

    def __repr__(self):
        raise RuntimeError("no repr")


def dense(**options):
    return keras.layers.Dense(2, **options)


NOT_DESCRIBED = {
    "a schedule without a config": (
        [dense()],
        {"optimizer": keras.optimizers.Adam(Noam())},
        {"optimizer.config": "NotImplementedError: Learning rate schedule 'Noam' must override"},
    ),
    "and in a wrapper": (
        [dense()],
        {"optimizer": Proximal(keras.optimizers.SGD(Noam()))},
        {"optimizer.config": "NotImplementedError: "},
    ),
    "an optimizer whose error has no text": (
        [dense()],
        {"optimizer": NoConfig()},
        {"optimizer.config": "Silent: a message that cannot be written"},
    ),
    "an optimizer with an odd config": (
        [dense()],
        {"optimizer": OddConfig()},
        {"optimizer.config": "RuntimeError: no repr"},
    ),
    "penalties": (
        [dense(kernel_regularizer=Failing()), dense(kernel_regularizer=NoNumber())],
        {},
        {
            "penalties.0.value": "ZeroDivisionError: by nothing",
            "penalties.1.value": "TypeError: ",
        },
    ),
    "a schedule of a rate": (
        [ScheduledDropout(Quiet(0.5, 0.25, 8))],
        {},
        {"hyperparameters_of_layers.0.schedule": "RuntimeError: no repr"},
    ),
    "a layer and a loss": ([OwnLayer(ops.relu)], {"loss": OwnLoss(), "optimizer": "sgd"}, None),
    "a model": ([dense()], {}, {"parameters": "RuntimeError: not counted"}),
}


@pytest.mark.parametrize(
    ("layers", "compiled", "missing"), NOT_DESCRIBED.values(), ids=NOT_DESCRIBED
)
def test_what_cannot_be_described_is_said_and_stops_no_export(layers, compiled, missing, tmp_path):
    kind = Uncounted if missing and "parameters" in missing else keras.Sequential
    model = kind([keras.Input((3,)), *layers], name="net")
    if compiled:
        model.compile(**{"loss": "mse", **compiled})
    path = pathlib.Path(serving.export(model, tmp_path, tolerance=None))
    card = json.loads((path / "assets.extra/model_card.json").read_text())
    found = card.get("not_described")
    assert (found is None) == (missing is None)
    for name, reason in (missing or {}).items():
        assert found[name].startswith(reason)
    # All else is there.
    assert card["versions"]["keras"] == keras.__version__
    assert card["zeros"]["count"] >= 0
    if "optimizer" in compiled and missing:
        assert card["optimizer"]["class"] == type(compiled["optimizer"]).__name__
        assert card["optimizer"]["learning_rate"] == pytest.approx(
            float(compiled["optimizer"].learning_rate)
        )
        assert card["optimizer"]["steps"] == 0
    text = (path / "assets.extra/model_card.md").read_text()
    assert ("## Not described" in text) == (missing is not None)


def test_numbers_that_are_not_finite_are_text_in_a_card(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", metrics=["mae"])
    data = (np.ones((2, 1)), np.array([[np.nan], [1.0]]))
    path = pathlib.Path(serving.export(model, tmp_path, validation_data=data, tolerance=None))

    def refused(name):
        raise AssertionError(f"{name} is no JSON")

    text = (path / "assets.extra/model_card.json").read_text()
    card = json.loads(text, parse_constant=refused)
    assert card["metrics_against_original"]["mae"]["original"] == "nan"
