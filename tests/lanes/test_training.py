"""`Lanes.fit`: orders, callbacks, lanes that stop, folds, and models that take lanes over."""

import keras
import numpy as np
import pytest
from sklearn.model_selection import KFold

from kerasreg import lanes
from kerasreg.lanes import _batches
from kerasreg.layers import ScheduledDropout

pytestmark = pytest.mark.shares_programs

layers, optimizers = keras.layers, keras.optimizers


def classifier(number, rate=None, **arguments):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "tanh"),
            ScheduledDropout(0.1 * (number + 1), seed=number),
            layers.Dense(3),
        ]
    )
    model.compile(
        optimizers.Adam(0.01 * (number + 1) if rate is None else rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
        **arguments,
    )
    return model


def alone(model, x, y, epochs, seed, rows=None, validation_data=None, initial_epoch=0):
    """The history of Keras with the batches of a lane."""
    history = {}
    rows = np.arange(len(x)) if rows is None else rows
    for epoch in range(initial_epoch, epochs):
        order = rows[lanes.batch_order(len(rows), epoch, seed=seed)]
        found = model.fit(
            x[order],
            y[order],
            batch_size=16,
            shuffle=False,
            validation_data=validation_data,
            verbose=0,
        )
        for name, values in found.history.items():
            history.setdefault(name, []).extend(values)
    return history


def test_each_epoch_has_the_order_that_is_documented(blobs, trials, equal_logs, equal_models):
    x, y, validation_data = blobs
    together = lanes.Lanes(trials(classifier, 2))
    histories = together.fit(x, y, 16, 3, validation_data=validation_data, seed=7)
    for history in histories:
        assert history.params["seed"] == 7
        assert history.epoch == [0, 1, 2]
    model = trials(classifier, 2)[1]
    expected = alone(model, x, y, 3, 7, validation_data=validation_data)
    equal_logs(histories[1].history, expected)
    equal_models(together.unstack(1), model)


def test_an_order_is_a_permutation_of_its_own_for_each_epoch():
    orders = [lanes.batch_order(50, epoch, seed=3) for epoch in range(4)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    np.testing.assert_array_equal(orders[2], lanes.batch_order(50, 2, seed=3))
    assert not np.array_equal(orders[2], lanes.batch_order(50, 2, seed=4))


CALLBACKS = {
    "early stopping": lambda i: [
        keras.callbacks.EarlyStopping("val_loss", patience=i, restore_best_weights=True)
    ],
    "plateau": lambda i: [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.1 * i)
    ],
    "schedule": lambda i: [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / (i + 2))
    ],
}


@pytest.mark.long
@pytest.mark.parametrize("kind", CALLBACKS)
def test_callbacks_act_on_their_lane_alone(kind, blobs, trials, equal_logs, equal_models):
    x, y, (x_validation, y_validation) = blobs
    # Labels of chance, so that the validation grows worse and lanes stop at different epochs.
    rng = np.random.default_rng(5)
    validation_data = x_validation, rng.permutation(y_validation)

    def build(number):
        return classifier(number, rate=0.3 / (number + 1))

    together = lanes.Lanes(trials(build, 3))
    own = [CALLBACKS[kind](number) for number in range(3)]
    given = {"batch_size": 16, "epochs": 6, "shuffle": False, "validation_data": validation_data}
    histories = together.fit(x, y, callbacks=own, **given)
    for number, model in enumerate(trials(build, 3)):
        expected = model.fit(x, y, callbacks=CALLBACKS[kind](number), verbose=0, **given)
        equal_logs(histories[number].history, expected.history)
        equal_models(together.unstack(number), model)
    if kind == "early stopping":
        assert len({len(history.epoch) for history in histories}) > 1


def test_callbacks_of_single_batches(blobs, trials, equal_models):
    x, y, _ = blobs

    class Decay(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            assert np.isfinite(logs["loss"])
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.9

    together = lanes.Lanes(trials(classifier, 2))
    own = [Decay(), Decay()]
    together.fit(x, y, 16, 2, shuffle=False, callbacks=[[one] for one in own])
    assert [one.seen for one in own] == [6, 6]
    model = trials(classifier, 2)[1]
    model.fit(x, y, 16, 2, shuffle=False, callbacks=[Decay()], verbose=0)
    equal_models(together.unstack(1), model)


def test_a_lane_that_is_not_finite_stops_alone(blobs, trials, equal_logs):
    x, y, _ = blobs
    models = trials(classifier, 3)
    models[1].layers[0].kernel.assign(np.full((6, 4), np.inf))
    together = lanes.Lanes(models)
    histories = together.fit(x, y, 16, 3, shuffle=False)
    assert [len(history.epoch) for history in histories] == [3, 1, 3]
    assert together.stopped.tolist() == [False, True, False]
    # By the same program: with a neighbour that learns, and where nothing is to be stopped.
    together.load(dict(enumerate(trials(classifier, 3))))
    expected = together.fit(x, y, 16, 3, shuffle=False)
    for number in (0, 2):
        equal_logs(histories[number].history, expected[number].history, 1e-7)
    together.load(dict(enumerate(models)))
    more = together.fit(x, y, 16, 2, stop_on_nan=False)
    assert [len(history.epoch) for history in more] == [2, 2, 2]


def test_a_callback_that_raises_stops_its_lane_alone(blobs, trials, equal_logs):
    x, y, _ = blobs

    class Raises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError("mine")

    together = lanes.Lanes(trials(classifier, 2))
    with pytest.warns(UserWarning, match=r"Lane 1 stopped: KeyError\('mine'\)"):
        histories = together.fit(x, y, 16, 3, shuffle=False, callbacks=[[], [Raises()]])
    assert histories[0].error is None
    assert isinstance(histories[1].error, KeyError)
    # The history comes after the callbacks, as with Keras.
    assert [len(history.epoch) for history in histories] == [3, 0]
    together.load(dict(enumerate(trials(classifier, 2))))
    expected = together.fit(x, y, 16, 3, shuffle=False)
    equal_logs(histories[0].history, expected[0].history, 1e-7)


def test_rows_of_different_numbers(blobs, trials, equal_logs, equal_models):
    x, y, _ = blobs
    # 40 by 3: two have 27 and 13 examples, one 26 and 14; and one lane has far fewer.
    folds = [*KFold(3, shuffle=True, random_state=0).split(x), (np.arange(5), np.arange(5, 40))]
    together = lanes.Lanes(trials(classifier, 4))
    histories = together.fit(
        x,
        y,
        16,
        3,
        validation_data=(x, y),
        rows=[train for train, _ in folds],
        validation_rows=[validation for _, validation in folds],
        seed=3,
    )
    models = trials(classifier, 4)
    for number in (0, 3):
        model, (train, validation) = models[number], folds[number]
        own = x[validation], y[validation]
        expected = alone(model, x, y, 3, 3, rows=train, validation_data=own)
        equal_logs(histories[number].history, expected)
        equal_models(together.unstack(number), model)


def test_a_part_that_validates(blobs, same_as_alone):
    x, y, _ = blobs
    same_as_alone(classifier, x, y, validation_split=0.3)


def test_epochs_of_each_lane(blobs, trials, equal_models):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 3))
    histories = together.fit(x, y, 16, epochs=[1, 4, 3], initial_epoch=[0, 2, 0], seed=2)
    assert [history.epoch for history in histories] == [[0], [2, 3], [0, 1, 2]]
    models = trials(classifier, 3)
    for number, (first, last) in enumerate([(0, 1), (2, 4)]):
        alone(models[number], x, y, last, 2, initial_epoch=first)
        equal_models(together.unstack(number), models[number])


def test_streamed_data_gives_the_same(blobs, trials, equal_logs, monkeypatch):
    x, y, validation_data = blobs
    given = {"batch_size": 16, "epochs": 2, "seed": 1, "validation_data": validation_data}
    together = lanes.Lanes(trials(classifier, 2))
    resident = together.fit(x, y, **given)
    together.load(dict(enumerate(trials(classifier, 2))))
    # One batch at a time goes in.
    monkeypatch.setattr(_batches, "RESIDENT_BYTES", 500)
    sizes = []
    inner = _batches.Samples.blocks

    def watched(self, *arguments):
        for block in inner(self, *arguments):
            sizes.append((len(block.arrays[0]), self.count))
            yield block

    monkeypatch.setattr(_batches.Samples, "blocks", watched)
    streamed = together.fit(x, y, **given)
    assert all(given < count for given, count in sizes)
    for one, other in zip(streamed, resident, strict=True):
        equal_logs(one.history, other.history, 1e-6)


def test_models_that_take_lanes_over(blobs, trials, equal_logs, equal_models):
    x, y, _ = blobs
    models = trials(classifier, 5)
    together = lanes.Lanes(models[:2])
    following, seen, traces = iter(models[2:]), [], []

    def on_epoch_end(epochs, logs):
        seen.append(list(epochs))
        traces.append(together.traces)
        if len(seen) == 1:
            together.stopped[1] = True

    ended = {}

    def refill(done):
        for lane, history in done.items():
            ended[len(ended)] = (history, together.unstack(lane).get_weights())
        free = [lane for lane in done]
        return {
            lane: lanes.Replacement(model) for lane, model in zip(free, following, strict=False)
        }

    histories = together.fit(x, y, 16, 3, seed=4, on_epoch_end=on_epoch_end, refill=refill)
    assert [history.lane for history in histories] == [0, 1, 1, 0, 1]
    assert [len(history.epoch) for history in histories] == [3, 1, 3, 3, 3]
    # In the order in which they ended.
    order = [1, 0, 2, 3, 4]
    fresh = trials(classifier, 5)
    for (history, weights), number in zip(ended.values(), order, strict=True):
        if number in (0, 2):  # The one that is stopped, and the last of each lane, are enough.
            continue
        model = fresh[number]
        equal_logs(history.history, alone(model, x, y, len(history.epoch), 4))
        for found, expected in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    # One program; traced once for equal batches and once for batches of each lane's own.
    assert traces[-1] == traces[1]


def test_a_function_between_epochs_may_stop_lanes(blobs, trials):
    x, y, _ = blobs
    together = lanes.Lanes(trials(classifier, 2))

    def on_epoch_end(epochs, logs):
        together.stopped[0] = epochs[0] == 1
        if epochs[1] > 1:
            assert logs[0] == {}

    histories = together.fit(x, y, 16, 4, on_epoch_end=on_epoch_end)
    assert [len(history.epoch) for history in histories] == [2, 4]
    # The next training begins with all.
    assert [len(history.epoch) for history in together.fit(x, y, 16, 1)] == [1, 1]
