"""Results of functions have one shape: rows, text, plain values, and pictures."""

import dataclasses
import json
from typing import NamedTuple

import keras
import numpy as np
import pytest

import kerasreg
from kerasreg._report import Report


class Row(NamedTuple):
    name: str
    number: np.float32
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Example(Report):
    rows: tuple[Row, ...]
    array: np.ndarray
    model: object

    objects = ("model",)


ROWS = (Row("a", np.float32(0.5), (2, 3)), Row("b", np.float32(2.0), ()))


def test_a_report_is_the_sequence_of_its_rows():
    report = Example(ROWS, np.ones(2), None)
    assert list(report) == list(ROWS)
    assert len(report) == 2
    assert report[1] is ROWS[1]
    assert report[:1] == ROWS[:1]


def test_its_dictionary_is_of_plain_values_without_objects():
    report = Example(ROWS, np.array([1, 2]), object())
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    rows = [
        {"name": "a", "number": 0.5, "shape": [2, 3]},
        {"name": "b", "number": 2.0, "shape": []},
    ]
    assert plain == {"rows": rows, "array": [1, 2]}


def reports():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu", name="a")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x, y = np.ones((16, 4), "float32"), np.ones((16, 3), "float32")
    models = kerasreg.models
    yield models.sparsity_report(model)
    yield models.initialize(model, seed=1)
    yield models.signal_report(model, x, y)
    yield models.lsuv(model, np.random.default_rng(0).normal(size=(64, 4)), seed=1)
    yield models.attach_regularizer(model, kerasreg.regularizers.L2(0.1))
    yield models.insert_dropout(keras.models.clone_model(chain()), 0.5, after="b")
    yield models.compress(chain())
    yield kerasreg.callbacks.find_learning_rate(model, x, y, steps=5, batch_size=4)


def chain():
    layers = [keras.layers.Dense(3, name=name) for name in "bcd"]
    model = keras.Sequential([keras.Input((4,)), *layers])
    kernel = np.array(layers[0].kernel)
    kernel[:, 1] = 0.0
    layers[0].kernel.assign(kernel)
    return model


def test_results_of_functions_have_this_shape(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = 0
    for report in reports():
        assert isinstance(report, Report), type(report)
        assert len(report) == len(report.rows) > 0
        fields = report.rows[0]._fields
        assert [set(row) for row in report.to_dict()["rows"]] == [set(fields)] * len(report)
        json.dumps(report.to_dict())
        assert str(report)
        if hasattr(report, "plot"):
            pictures += 1
            assert report.plot().axes
            path = tmp_path / f"{pictures}.png"
            report.plot(path)
            assert path.read_bytes()[:4] == b"\x89PNG"
            with pytest.raises(ValueError, match=r"`path` must end with .png or .svg"):
                report.plot(tmp_path / "picture.jpg")
    assert pictures == 2
