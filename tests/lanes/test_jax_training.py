"""What lanes do besides a step is the same on Keras' JAX backend: in a process of its own."""

import json

import pytest

pytestmark = pytest.mark.long

PROGRAM = """
import functools, json
import keras, numpy as np
import kerasreg
from kerasreg.lanes import Lanes, Replacement, batch_order

layers = keras.layers
assert keras.backend.backend() == "jax"
rng = np.random.default_rng(1)
x = rng.normal(size=(40, 6)).astype("float32")
y = rng.integers(0, 3, 40)
validation = x[:20], rng.integers(0, 3, 20)

def build(i):
    keras.utils.set_random_seed(i)
    model = keras.Sequential([
        keras.Input((6,)),
        layers.Dense(4, "tanh"),
        layers.BatchNormalization(),
        kerasreg.layers.ScheduledDropout(0.1 * (i + 1), seed=i),
        layers.Dense(3),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1 * (i + 1), momentum=0.2 * (i + 1)), loss)
    return model

@functools.cache
def alone(i, epochs=2, rows=range(40), seed=3):
    model, losses = build(i), []
    for epoch in range(epochs):
        order = np.array(rows)[batch_order(len(rows), epoch, seed=seed)]
        losses += model.fit(x[order], y[order], 16, shuffle=False, verbose=0).history["loss"]
    return model, losses

def difference(found, expected):
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        one, other = np.asarray(one), np.asarray(other)
        scale = max(np.abs(other).max(initial=0.0), 1e-3)
        worst = max(worst, float(np.abs(one - other).max(initial=0.0) / scale))
    return worst

def of_models(lanes, lane, model):
    mine = lanes.unstack(lane, build(0))
    return difference(
        mine.variables + mine.optimizer.variables, model.variables + model.optimizer.variables
    )

found = {}

lanes = Lanes([build(0), build(1)])
histories = lanes.fit(x, y, 16, 2, seed=3)
expected = [alone(i) for i in range(2)]
found["shuffled"] = max(of_models(lanes, i, model) for i, (model, _) in enumerate(expected))
found["losses"] = max(
    difference([histories[i].history["loss"]], [losses]) for i, (_, losses) in enumerate(expected)
)

found["predict"] = max(
    difference([lanes.predict(x, 16)[i]], [model.predict(x, 16, 0)])
    for i, (model, _) in enumerate(expected)
)
evaluated = lanes.evaluate(x, y, 16)
found["evaluate"] = max(
    difference([evaluated[i]["loss"]], [model.evaluate(x, y, 16, 0)])
    for i, (model, _) in enumerate(expected)
)

traces = lanes.traces
lanes.load({1: build(2)})
lanes.fit(x, y, 16, 2, seed=3)
found["loaded"] = of_models(lanes, 1, alone(2)[0])
found["traced for what was loaded"] = lanes.traces - traces

lanes.copy(1, 0)
values = lanes.get_values()
found["copied"] = max(difference([value[0]], [value[1]]) for value in values)
with lanes.view(0) as model:
    model.layers[0].kernel.assign(np.zeros((6, 4)))
after = lanes.get_values()
found["assigned in a view"] = float(np.abs(after[0][0]).max())
found["beside a view"] = max(difference([a[1]], [b[1]]) for a, b in zip(after, values))

rows = [range(26), range(5, 12)]
lanes = Lanes([build(0), build(1)])
lanes.fit(x, y, 16, 2, seed=3, rows=rows)
found["rows"] = max(of_models(lanes, i, alone(i, rows=rows[i])[0]) for i in range(2))

def callbacks(i):
    return [
        keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=1, min_delta=0.2),
    ]

# Far too fast, so that the validation is worse from epoch to epoch.
def fast(i):
    model = build(i)
    model.optimizer.learning_rate = 0.9
    return model

given = dict(batch_size=16, epochs=8, shuffle=False, validation_data=validation)
lanes = Lanes([fast(0), fast(1)])
histories = lanes.fit(x, y, callbacks=[callbacks(0), callbacks(1)], **given)
found["callbacks"], found["epochs"] = 0.0, []
for i in range(2):
    model = fast(i)
    history = model.fit(x, y, callbacks=callbacks(i), verbose=0, **given).history
    found["epochs"].append([len(histories[i].epoch), len(history["loss"])])
    found["callbacks"] = max(found["callbacks"], of_models(lanes, i, model))

later = [build(2), build(3)]
lanes = Lanes([build(0), build(1)])
histories = lanes.fit(
    x, y, 16, [1, 2], seed=3,
    refill=lambda done: {i: Replacement(later.pop(0), epochs=2) for i in sorted(done) if later},
)
found["taken over"] = max(
    difference([history.history["loss"]], [alone(i, len(history.epoch))[1]])
    for i, history in enumerate(histories)
)
found["lanes"] = [history.lane for history in histories]

models = [build(0), build(1)]
models[1].layers[0].kernel.assign(np.full((6, 4), np.nan))
histories = Lanes(models).fit(x, y, 16, 2, seed=3)
found["beside a lane that is not finite"] = difference(
    [histories[0].history["loss"]], [expected[0][1]]
)
found["epochs of that"] = len(histories[1].epoch)
print(json.dumps(found))
"""
EQUAL = [
    "shuffled",
    "losses",
    "predict",
    "evaluate",
    "loaded",
    "rows",
    "callbacks",
    "taken over",
    "beside a lane that is not finite",
]
EXACT = ["traced for what was loaded", "copied", "assigned in a view", "beside a view"]


@pytest.fixture(scope="module")
def found(run_python):
    return json.loads(run_python("-c", PROGRAM, KERAS_BACKEND="jax").splitlines()[-1])


@pytest.mark.parametrize("kind", EQUAL)
def test_equal_to_keras_up_to_rounding(kind, found):
    assert found[kind] < 1e-4


@pytest.mark.parametrize("kind", EXACT)
def test_exact(kind, found):
    assert found[kind] == 0


def test_lanes_end_when_their_models_do(found):
    assert all(mine == alone for mine, alone in found["epochs"])
    # Some stopped early, or the test would show nothing.
    assert min(mine for mine, _ in found["epochs"]) < 8
    assert found["epochs of that"] == 1
    assert found["lanes"] == [0, 1, 0, 1]
