"""Dense networks on tables with more than numbers: alone, and as lanes of a search."""

import keras_tuner
import numpy as np
import pandas as pd
import pytest

from kerasreg import tuners
from kerasreg.hypermodels import DenseHyperModel
from kerasreg.layers import CategoryEmbedding, PeriodicEmbedding, PiecewiseLinearEmbedding
from kerasreg.tables import Table

pytestmark = pytest.mark.shares_programs


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=160), "job": rng.choice(["a", "b", "c"], 160)})
    frame["y"] = np.where((frame["x"] > 0) ^ (frame["job"] == "a"), "yes", "no")
    return Table(frame, target="y"), frame


def hypermodel(table, **arguments):
    options = {"epochs": 4, "samples": 120, "table": table, "seed": 0, **arguments}
    return DenseHyperModel(len(table.features), 2, **options)


@pytest.mark.parametrize(
    ("embedding", "expected"),
    [
        ("piecewise_linear", PiecewiseLinearEmbedding),
        ("periodic", PeriodicEmbedding),
        ("none", None),
    ],
)
def test_the_network_begins_with_the_columns_of_its_table(table, embedding, expected):
    model = hypermodel(table[0], embedding=embedding).build(keras_tuner.HyperParameters())
    kinds = {type(layer) for layer in model.layers}
    assert CategoryEmbedding in kinds
    assert {PiecewiseLinearEmbedding, PeriodicEmbedding} & kinds == {expected} - {None}
    assert model.predict(table[0].arrays(table[1]), verbose=0).shape == (160, 2)


@pytest.mark.long
def test_settings_of_a_search_are_trained_together(table, tmp_path):
    table, frame = table
    x, y = table.arrays(frame), table.targets(frame)
    tuner = tuners.VectorizedRandomSearch(
        hypermodel(table),
        objective="val_loss",
        max_trials=6,
        trials_per_structure=3,
        seed=1,
        directory=tmp_path,
    )
    tuner.search(x[:120], y[:120], validation_data=(x[120:], y[120:]), verbose=0)
    report = tuner.lane_report()
    assert len({training.trial for training in report.trainings}) == 6
    # All are lanes, and nothing of the columns runs for one lane after the other.
    assert {training.why for training in report.trainings} == {None}, str(report)
    assert not [row for row in report.rows if row.loops], str(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": np.zeros(2), "variance": np.ones(2)}, "`table` must be one of 2 features"),
        ({"embedding": "plr"}, "`embedding` must be one of 'none'"),
    ],
)
def test_bad_arguments_are_refused(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        hypermodel(table[0], **arguments)
