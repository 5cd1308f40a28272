"""How a lane's training ends, and how another model goes on in its place."""

import keras
import numpy as np
import pytest

from kerasreg import lanes

pytestmark = pytest.mark.shares_programs

layers, optimizers = keras.layers, keras.optimizers


def classifier(number, optimizer=None):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, "tanh"), layers.Dense(3)])
    model.compile(
        optimizer or optimizers.Adam(0.01 * (number + 1)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def alone(model, x, y, epochs, seed, rows=None, initial_epoch=0, **arguments):
    """The history of Keras with the batches of a lane."""
    history = {}
    rows = np.arange(len(x)) if rows is None else rows
    for epoch in range(initial_epoch, epochs):
        order = rows[lanes.batch_order(len(rows), epoch, seed=seed)]
        given = {"batch_size": 16, "shuffle": False, "verbose": 0, **arguments}
        found = model.fit(
            x[order], y[order], initial_epoch=epoch, epochs=epoch + 1, **given
        ).history
        for name, values in found.items():
            history.setdefault(name, []).extend(values)
    return history


AVERAGES = {
    "plain": lambda i: optimizers.SGD(0.1 * (i + 1), use_ema=True, ema_momentum=0.9),
    "loss scale": lambda i: optimizers.LossScaleOptimizer(
        optimizers.SGD(0.1 * (i + 1), use_ema=True, ema_momentum=0.9)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", AVERAGES)
def test_each_lane_ends_with_its_average(kind, blobs, trials, equal_models):
    x, y, _ = blobs

    def build(number):
        return classifier(number, AVERAGES[kind](number))

    class Keeps(keras.callbacks.Callback):
        weights = None

        def on_train_end(self, logs=None):
            self.weights = np.array(self.model.layers[0].kernel)

    own = [Keeps() for _ in range(3)]
    together = lanes.Lanes(trials(build, 3))
    together.fit(x, y, 16, [1, 3, 2], shuffle=False, callbacks=[[one] for one in own])
    for number, (model, epochs) in enumerate(zip(trials(build, 3), [1, 3, 2], strict=True)):
        model.fit(x, y, 16, epochs, shuffle=False, verbose=0)
        equal_models(together.unstack(number), model)
        # When a callback is told, the average is in place, as with Keras.
        np.testing.assert_allclose(own[number].weights, model.layers[0].kernel, atol=1e-5)


def test_a_lane_without_epochs_ends_too(blobs, trials):
    x, y, _ = blobs

    class Hooks(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_begin(self, logs=None):
            self.seen.append("begin")

        def on_train_end(self, logs=None):
            self.seen.append("end")

    own, alone = [Hooks(), Hooks()], Hooks()
    together, ended = lanes.Lanes(trials(classifier, 2)), []

    def refill(done):
        ended.extend(done)
        return {}

    given = {"initial_epoch": [2, 0], "callbacks": [[one] for one in own], "refill": refill}
    together.fit(x, y, 16, [2, 1], **given)
    # It may have been continued from where its training was complete.
    classifier(0).fit(x, y, 16, 2, initial_epoch=2, callbacks=[alone], verbose=0)
    assert own[0].seen == own[1].seen == alone.seen
    assert sorted(ended) == [0, 1]


def test_a_rate_that_is_far_too_large_harms_no_other_lane(blobs, trials):
    x = blobs[0]
    y = x[:, :3]

    def regression(number, rate=0.1):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3)])
        model.compile(optimizers.SGD(rate), "mse", jit_compile=False)
        return model

    found, together = [], lanes.Lanes(trials(regression, 3))
    for rate in (0.1, 1e30):
        models = trials(lambda i, r=rate: regression(i, r if i == 1 else 0.1), 3)
        together.load(dict(enumerate(models)))
        histories = together.fit(x, y, 16, 3, seed=1)
        found.append((together.get_values(), histories))
    assert [len(history.epoch) for history in found[1][1]] == [3, 1, 3]
    assert not np.isfinite(found[1][1][1].history["loss"]).any()
    # Of the same program with a neighbour that learns: bit by bit.
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])


def test_a_seed_that_was_drawn_is_kept(blobs, trials, all_values):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))
    first, second = (together.fit(x, y, 16, 1)[0].params["seed"] for _ in range(2))
    assert first != second
    found = all_values(together)
    together.load(dict(enumerate(trials(classifier, 2))))
    for seed in (first, second):
        together.fit(x, y, 16, 1, seed=seed)
    for one, other in zip(found, all_values(together), strict=True):
        np.testing.assert_array_equal(one, other)


class Rates(keras.callbacks.Callback):
    """Has a rate for each epoch, and keeps the epochs."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.epochs = rate, []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.model.optimizer.learning_rate = self.rate / (epoch + 1)


def test_a_replacement_has_its_own_data_callbacks_and_epochs(
    blobs, trials, equal_logs, equal_models
):
    x, y, _ = blobs
    models, fresh = trials(classifier, 4), trials(classifier, 4)
    rows = [np.arange(30), np.arange(8, 30), np.arange(3, 38), np.arange(20)]
    tests = [np.arange(30, 40), np.arange(8), np.arange(3), np.arange(20, 40)]
    own = [Rates(0.05), Rates(0.02)]
    waiting = [
        lanes.Replacement(
            models[2],
            [own[0]],
            rows=rows[2],
            validation_rows=tests[2],
            epochs=4,
            initial_epoch=1,
        ),
        # Where it says nothing, of the epochs of the lane before.
        lanes.Replacement(models[3], [own[1]], rows=rows[3], validation_rows=tests[3]),
    ]
    together = lanes.Lanes(models[:2])
    traces = []

    def refill(done):
        traces.append(together.traces)
        return {lane: waiting.pop(0) for lane in sorted(done) if waiting}

    given = {"rows": rows[:2], "validation_data": (x, y), "validation_rows": tests[:2]}
    histories = together.fit(x, y, 16, 2, seed=3, refill=refill, **given)
    assert [history.lane for history in histories] == [0, 1, 0, 1]
    assert own[0].epochs == [1, 2, 3]
    assert own[1].epochs == [0, 1]
    assert [history.params["epochs"] for history in histories] == [2, 2, 4, 2]
    for number, (first, last) in [(1, (0, 2)), (2, (1, 4)), (3, (0, 2))]:
        callback = [Rates((0.05, 0.02)[number - 2])] if number > 1 else []
        validation_data = x[tests[number]], y[tests[number]]
        mine = {"validation_data": validation_data, "callbacks": callback}
        expected = alone(fresh[number], x, y, last, 3, rows[number], first, **mine)
        equal_logs(histories[number].history, expected)
    for lane in range(2):
        equal_models(together.unstack(lane), fresh[lane + 2])
    assert len(set(traces)) == 1


def test_a_lane_may_be_taken_over_later(blobs, trials, equal_models):
    x, y, _ = blobs
    models, ended = trials(classifier, 3), []
    together = lanes.Lanes(models[:2])

    def refill(done):
        ended.append(sorted(done))
        # The lane that ended two epochs ago, and not the one that ends now.
        return {0: lanes.Replacement(models[2], epochs=2)} if ended == [[0], [1]] else {}

    histories = together.fit(x, y, 16, [1, 3], seed=2, refill=refill)
    assert ended == [[0], [1], [0]]
    assert [(history.lane, history.epoch) for history in histories] == [
        (0, [0]),
        (1, [0, 1, 2]),
        (0, [0, 1]),
    ]
    fresh = trials(classifier, 3)
    alone(fresh[2], x, y, 2, 2)
    equal_models(together.unstack(0), fresh[2])
    alone(fresh[1], x, y, 3, 2)
    equal_models(together.unstack(1), fresh[1])


@pytest.mark.parametrize("rows", [None, [39, 40], [-1], []])
def test_rows_of_a_replacement_are_checked(rows, blobs):
    x, y, _ = blobs
    later = [lanes.Replacement(classifier(1), rows=rows)]
    with pytest.raises(ValueError, match="`rows`"):
        lanes.Lanes([classifier(0)]).fit(
            x, y, rows=[np.arange(9)], refill=lambda done: {0: later.pop()} if later else {}
        )


def test_a_replacement_of_other_structure_is_refused(blobs):
    x, y, _ = blobs
    other = keras.Sequential([keras.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(3)])
    other.compile("adam", "mse")
    with pytest.raises(ValueError, match="share no program"):
        lanes.Lanes([classifier(0)]).fit(x, y, refill=lambda done: {0: lanes.Replacement(other)})
