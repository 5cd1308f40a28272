"""Callbacks of Keras see their lane as they would see its model trained alone."""

import keras
import numpy as np
import pytest

from kerasreg import lanes

pytestmark = pytest.mark.shares_programs

layers, optimizers, callbacks = keras.layers, keras.optimizers, keras.callbacks


def classifier(number):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, "tanh"), layers.Dense(3)])
    model.compile(
        optimizers.SGD(0.1 * (number + 1), momentum=0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


class Batches(callbacks.Callback):
    """Keeps which batches of training it was called for, and their losses."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch, 0.0))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(("end", batch, logs["loss"]))


def equal_calls(found, expected):
    assert [call[:2] for call in found] == [call[:2] for call in expected]
    losses = [[call[2] for call in calls] for calls in (found, expected)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_batches_are_those_of_keras(blobs, trials):
    x, y, _ = blobs
    own, alone = [Batches(), Batches()], Batches()
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(x, y, 16, 2, shuffle=False, callbacks=[[one] for one in own])
    trials(classifier, 2)[1].fit(x, y, 16, 2, shuffle=False, callbacks=[alone], verbose=0)
    equal_calls(own[1].seen, alone.seen)
    assert len(own[0].seen) == 12


def test_functions_for_single_batches(blobs, same_as_alone):
    x, y, _ = blobs
    seen = []

    def of_number(number):
        # Such a callback has its hooks in the object and not in the class.
        def decay(batch, logs):
            seen.append(batch)
            callback.model.optimizer.learning_rate = 0.1 / (batch + number + 1)

        callback = callbacks.LambdaCallback(on_train_batch_end=decay)
        return [callback]

    same_as_alone(classifier, x, y, callbacks=of_number, epochs=1)
    # Three batches for each of two lanes, and for the one that is trained alone.
    assert len(seen) == 9


def test_batches_of_lanes_with_fewer_rows(blobs, trials):
    x, y, _ = blobs
    rows = [np.arange(26), np.arange(5, 26), np.arange(7)]
    own = [Batches() for _ in rows]
    together = lanes.Lanes(trials(classifier, 3))
    together.fit(x, y, 16, 1, shuffle=False, rows=rows, callbacks=[[one] for one in own])
    for number, model in enumerate(trials(classifier, 3)):
        alone, mine = Batches(), rows[number]
        model.fit(x[mine], y[mine], 16, shuffle=False, callbacks=[alone], verbose=0)
        equal_calls(own[number].seen, alone.seen)


class Validations(callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_test_begin(self, logs=None):
        self.seen.append("begin")

    def on_test_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch))

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(("end", batch))

    def on_test_end(self, logs=None):
        self.seen.append("end")


def test_batches_of_the_validation(blobs, trials):
    x, y, validation_data = blobs
    own, alone = [Validations(), Validations()], Validations()
    given = {"shuffle": False, "validation_data": validation_data, "validation_batch_size": 8}
    lanes.Lanes(trials(classifier, 2)).fit(x, y, callbacks=[[one] for one in own], **given)
    classifier(0).fit(x, y, callbacks=[alone], verbose=0, **given)
    assert own[0].seen == own[1].seen == alone.seen


class StopsAt(callbacks.Callback):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.model.stop_training = True


def test_a_lane_that_is_stopped_at_a_batch(blobs, same_as_alone):
    x, y, _ = blobs
    # The second one has no such batch, and trains to the end.
    _, histories = same_as_alone(
        classifier, x, y, callbacks=lambda number: [StopsAt(9**number)], alone=[0, 1]
    )
    assert [len(history.epoch) for history in histories] == [1, 3]


HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_epoch_end",
    "on_train_end",
]


@pytest.fixture(scope="module")
def neighbour(blobs, trials):
    """What the first of two lanes is to be, whatever the other does."""
    x, y, validation_data = blobs
    model = trials(classifier, 1)[0]
    return model, model.fit(
        x, y, 16, 2, shuffle=False, validation_data=validation_data, verbose=0
    ).history


def raises_in(hook):
    def method(self, *arguments, **logs):
        raise KeyError(hook)

    return type("Raises", (callbacks.Callback,), {hook: method})()


@pytest.mark.parametrize("hook", HOOKS)
def test_any_hook_that_raises_stops_its_lane_alone(
    hook, blobs, trials, neighbour, equal_logs, equal_models
):
    x, y, validation_data = blobs
    together, ended = lanes.Lanes(trials(classifier, 2)), []

    def refill(done):
        ended.extend(done)
        return {}

    given = {"shuffle": False, "validation_data": validation_data, "refill": refill}
    with pytest.warns(UserWarning, match=f"Lane 1 stopped: .*{hook}"):
        histories = together.fit(x, y, 16, 2, callbacks=[[], [raises_in(hook)]], **given)
    assert histories[0].error is None
    assert isinstance(histories[1].error, KeyError)
    assert together.stopped.tolist() == [False, True]
    # A lane that ended in an error has ended too: another model may take it over.
    assert sorted(ended) == [0, 1]
    model, history = neighbour
    equal_logs(histories[0].history, history)
    equal_models(together.unstack(0), model)


def test_a_lane_whose_epoch_cannot_begin_stays_as_it_is(blobs, trials, equal_models):
    x, y, _ = blobs

    class Raises(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyError(epoch)

    together = lanes.Lanes(trials(classifier, 2))
    with pytest.warns(UserWarning, match="Lane 1 stopped"):
        together.fit(x, y, 16, 3, shuffle=False, callbacks=[[], [Raises()]])
    expected = trials(classifier, 2)[1]
    expected.fit(x, y, 16, 1, shuffle=False, verbose=0)
    equal_models(together.unstack(1), expected)


@pytest.mark.parametrize("only_weights", [True, False])
def test_a_checkpoint_is_that_of_the_lane(only_weights, blobs, trials, tmp_path, equal_models):
    x, y, _ = blobs
    names = [str(tmp_path / f"{number}.weights.h5") for number in range(2)]
    if not only_weights:
        names = [name.replace(".weights.h5", ".keras") for name in names]
    own = [[callbacks.ModelCheckpoint(name, save_weights_only=only_weights)] for name in names]
    together = lanes.Lanes(trials(classifier, 2))
    histories = together.fit(x, y, 16, 2, callbacks=own)
    assert [history.error for history in histories] == [None, None]
    for number, name in enumerate(names):
        if only_weights:
            saved = classifier(number)
            saved.optimizer.build(saved.trainable_variables)
            saved.load_weights(name)
        else:
            saved = keras.models.load_model(name)
        # With the optimizer's slots and rate.
        equal_models(saved, together.unstack(number), 1e-7)


def test_callbacks_are_told_of_the_training(blobs, trials):
    x, y, _ = blobs
    own = [callbacks.Callback(), callbacks.Callback()]
    together = lanes.Lanes(trials(classifier, 2))
    histories = together.fit(x, y, 16, [1, 2], seed=5, callbacks=[[own[0]], [own[1]]])
    assert [one.params["epochs"] for one in own] == [1, 2]
    assert all(one.params["steps"] == 3 for one in own)
    assert [history.params["seed"] for history in histories] == [5, 5]


def test_keras_termination_stops_its_lane_alone(blobs, trials):
    x, y, _ = blobs
    models = trials(classifier, 2)
    models[1].layers[0].kernel.assign(np.full((6, 4), np.nan))
    own = [[callbacks.TerminateOnNaN()], [callbacks.TerminateOnNaN()]]
    histories = lanes.Lanes(models).fit(x, y, 16, 3, callbacks=own)
    assert [len(history.epoch) for history in histories] == [3, 1]
    assert np.isnan(histories[1].history["loss"]).all()
