"""What else the space of a table may have: all of it values of lanes, and nothing by default."""

import warnings

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

from kerasreg import tuners
from kerasreg.hypermodels import TableHyperModel
from kerasreg.layers import MixUp
from kerasreg.models import MixUpModel
from kerasreg.optimizers import LayerLearningRates
from kerasreg.tables import Table

pytestmark = pytest.mark.shares_programs

EXTRAS = ["mix_up", "layer_rates", "initial_scales"]
NAMES = {
    "mix_up": {"mix_up"},
    "layer_rates": {"embedding_rate", "scale_rate", "bias_rate"},
    "initial_scales": {"embedding_scale", "initial_scale"},
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    jobs = [f"job {k}" for k in range(14)]
    frame = pd.DataFrame({"x": rng.normal(size=160), "job": rng.choice(jobs, 160)})
    frame["y"] = np.where((frame["x"] > 0) ^ (frame["job"] == "job 1"), "yes", "no")
    return frame


@pytest.fixture(scope="module")
def table(frame):
    return Table(frame, target="y")


def hypermodel(table, classes=2, **arguments):
    options = {"samples": 80, "epochs": 2, "widths": (8, 8), "seed": 0, **arguments}
    return TableHyperModel(table, classes, **options)


def built(searched, **values):
    hp = keras_tuner.HyperParameters()
    for name, value in values.items():
        hp.Fixed(name, value)
    return searched.build(hp), hp


def test_none_is_there_by_default(table):
    model, hp = built(hypermodel(table))
    assert not {*hp.values} & {"optimizer", *set().union(*NAMES.values())}
    assert type(model) is not MixUpModel
    assert type(model.optimizer) is keras.optimizers.AdamW


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_has_its_hyperparameters(table, extra):
    _, plain = built(hypermodel(table))
    _, hp = built(hypermodel(table, extras=[extra]))
    assert {*hp.values} - {*plain.values} == NAMES[extra]


def test_hyperparameters_are_what_they_are_called(table):
    values = {"mix_up": 0.25, "embedding_rate": 0.5, "scale_rate": 4.0, "bias_rate": 0.125}
    model, _ = built(hypermodel(table, extras=EXTRAS), **values)
    assert type(model) is MixUpModel
    (mix,) = (layer for layer in model.layers if isinstance(layer, MixUp))
    assert float(mix.alpha) == 0.25
    assert isinstance(model.optimizer, LayerLearningRates)
    found = {name: float(of) for name, of in model.optimizer.multipliers.items()}
    assert found == {
        "number_embedding": 0.5,
        "category_embedding": 0.5,
        "scale": 4.0,
        "bias": 0.125,
    }


def test_initial_weights_are_those_of_the_plain_network_times_a_factor(table):
    plain, _ = built(hypermodel(table))
    values = {"embedding_scale": 0.25, "initial_scale": 1.5}
    scaled, _ = built(hypermodel(table, extras=["initial_scales"]), **values)
    factors = {"number_embedding": 0.25, "category_embedding": 0.25}
    factors |= {"hidden_0": 1.5, "hidden_1": 1.5, "output": 1.0, "scale": 1.0}
    assert {layer.name for layer in plain.layers if layer.trainable_weights} == {*factors}
    for layer in map(plain.get_layer, factors):
        for mine, theirs in zip(
            scaled.get_layer(layer.name).trainable_weights, layer.trainable_weights, strict=True
        ):
            expected = factors[layer.name] * np.array(theirs)
            np.testing.assert_allclose(np.array(mine), expected, rtol=1e-5, atol=1e-7)


def test_the_baseline_mixes_nothing(table):
    model, _ = built(hypermodel(table, extras=["mix_up"], regularized=False))
    assert type(model) is not MixUpModel
    assert not any(isinstance(layer, MixUp) for layer in model.layers)


def test_muon_moves_hidden_matrices_and_adamw_the_rest(table):
    values = {"optimizer": "muon", "weight_decay": 0.5, "beta_2": 0.98}
    model, hp = built(hypermodel(table, optimizers=["adamw", "muon"]), **values)
    assert type(model.optimizer) is keras.optimizers.Muon
    assert {*hp.values} >= {"optimizer"}
    names = [variable.path for variable in model.trainable_variables]
    velocities = model.optimizer.adam_velocities
    of_muon = [name for name, of in zip(names, velocities, strict=True) if of is None]
    assert of_muon == ["hidden_0/kernel", "hidden_1/kernel"]
    decays = (model.optimizer.weight_decay, model.optimizer.adam_weight_decay)
    assert (*decays, model.optimizer.adam_beta_2) == (0.5, 0.5, 0.98)
    bare, _ = built(hypermodel(table, optimizers=["muon"], regularized=False))
    assert bare.optimizer.weight_decay is bare.optimizer.adam_weight_decay is None


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, None])
def test_trials_are_lanes_of_one_program_for_each_optimizer(table, frame, tmp_path, seed):
    searched = hypermodel(table, extras=EXTRAS, optimizers=["adamw", "muon"], seed=seed)
    tuner = tuners.VectorizedRandomSearch(
        searched,
        searched.objective,
        max_trials=16,
        folds=2,
        batches="own",
        seed=1,
        directory=tmp_path,
    )
    x, y = table.arrays(frame), table.targets(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # No model that is built for its trial.
        tuner.search(x, y, epochs=2, batch_size=32, verbose=0)
    report = tuner.lane_report()
    assert report.share == 1.0, str(report)
    assert len(report.rows) == 2, str(report)
    trials = tuner.oracle.trials.values()
    assert {trial.hyperparameters["optimizer"] for trial in trials} == {"adamw", "muon"}
    assert {trial.status for trial in trials} == {"COMPLETED"}, [of.message for of in trials]
    assert np.isfinite([trial.score for trial in trials]).all()
    predicted = tuner.ensemble().predict(x, verbose=0)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizers": ["adam"]}, "`optimizers` must be one of 'adamw', 'muon'"),
        ({"optimizers": []}, "`optimizers` must be at least one of 'adamw', 'muon'"),
        ({"optimizers": ["muon", "muon"]}, "each once"),
        ({"extras": ["mixup"]}, "`extras` must be one of 'mix_up', 'layer_rates'"),
        ({"extras": None}, "`extras` must be one of"),
    ],
)
def test_bad_arguments_are_refused(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        hypermodel(table, **arguments)
