"""Datasets, loaders and generators: each batch is read once for all lanes, which end as alone."""

import functools
import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import lanes
from kerasreg.lanes import DataError, Replacement, _streams
from kerasreg.layers import ScheduledDropout

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 6)).astype("float32")
Y = RANDOM.integers(0, 3, 40)
WEIGHTS = RANDOM.uniform(size=40).astype("float32")
# Of several sizes: the last one is a ragged one.
SIZE = 16


def classifier(number):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, "tanh"),
            keras.layers.BatchNormalization(),
            ScheduledDropout(0.1 * (number + 1), seed=number),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01 * (number + 1)), loss, metrics=["accuracy"])
    return model


def two_inputs(number):
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((4,), name="b")}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    outputs = {
        "c": keras.layers.Dense(3, name="c")(joined),
        "d": keras.layers.Dense(1, name="d")(joined),
    }
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1 / (number + 1)), {"c": loss, "d": "mse"})
    return model


class Batches(keras.utils.PyDataset):
    """Batches of the samples, in another order after each epoch; it keeps what is called."""

    def __init__(self, endless=False, **arguments):
        super().__init__(**arguments)
        self.endless, self.calls, self.order = endless, [], np.arange(40)

    @property
    def num_batches(self):
        return None if self.endless else 3

    def __getitem__(self, index):
        self.calls.append(index)
        rows = self.order[(index % 3) * SIZE : (index % 3 + 1) * SIZE]
        return X[rows], Y[rows], WEIGHTS[rows]

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
        if not self.endless:
            self.order = np.roll(self.order, 7)


def dataset(*arrays, size=SIZE):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def generator(*arrays):
    """Without an end."""
    for begin in itertools.cycle(range(0, 40 - SIZE + 1, 8)):
        yield tuple(array[begin : begin + SIZE] for array in arrays)


def named(x, y):
    return {"a": x[:, :2], "b": x[:, 2:]}, {"c": y, "d": x[:, :1]}


STREAMS = {
    "a dataset": lambda: {"x": dataset(X, Y)},
    "a dataset with weights": lambda: {"x": dataset(X, Y, WEIGHTS)},
    "a shuffled dataset": lambda: {"x": dataset(X, Y, size=1).shuffle(40, seed=3)},
    "an endless dataset": lambda: {"x": dataset(X, Y).repeat(), "steps_per_epoch": 4},
    "a dataset of double precision": lambda: {"x": dataset(X.astype("float64"), Y)},
    "weights of classes": lambda: {"x": dataset(X, Y), "class_weight": {0: 0.5, 2: 3.0}},
    "a sequence": lambda: {"x": Batches()},
    "a sequence with workers": lambda: {"x": Batches(workers=2)},
    "an endless sequence": lambda: {"x": Batches(endless=True), "steps_per_epoch": 2},
    "a generator": lambda: {"x": generator(X, Y), "steps_per_epoch": 3},
    "a generator with weights": lambda: {"x": generator(X, Y, WEIGHTS), "steps_per_epoch": 3},
    "arrays with fewer steps": lambda: {"x": X, "y": Y, "batch_size": 8, "steps_per_epoch": 3},
    "arrays in so many steps": lambda: {"x": X, "y": Y, "steps_per_epoch": 3},
    "a dataset that validates": lambda: {
        "x": X, "y": Y, "validation_data": dataset(X, Y, size=12), "validation_steps": 2
    },
    "a sequence that validates": lambda: {"x": dataset(X, Y), "validation_data": Batches()},
    "a generator that validates": lambda: {
        "x": Batches(), "validation_data": generator(X, Y), "validation_steps": 2
    },
    "arrays that validate": lambda: {
        "x": dataset(X, Y), "validation_data": (X, Y), "validation_steps": 2
    },
    "some epochs": lambda: {"x": dataset(X, Y), "validation_data": (X, Y), "validation_freq": 2},
    "chosen epochs": lambda: {"x": X, "y": Y, "validation_data": (X, Y), "validation_freq": [1, 3]},
}  # fmt: skip

pytestmark = [
    pytest.mark.shares_programs,
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),
]


def same_as_alone(build, make, equal_logs, equal_models, trials, epochs=3, **more):
    """Trains lanes with one stream, and the last model with another one that is equal."""
    together = lanes.Lanes(trials(build, 2), jit_compile=False)
    given = {"shuffle": False, "epochs": epochs, **more}
    histories = together.fit(**make(), **given)
    keras.utils.set_random_seed(1)
    model = build(1)
    expected = model.fit(**make(), **given, verbose=0).history
    equal_logs(histories[1].history, expected)
    equal_models(together.unstack(1), model)
    return together


# The others show what these do not, and each is some seconds.
BRIEF = [
    "a shuffled dataset", "an endless dataset", "weights of classes", "a sequence", "a generator",
    "arrays with fewer steps", "a generator that validates", "some epochs",
]  # fmt: skip


@pytest.mark.short(
    "a shuffled dataset",
    "a generator that validates",
    "some epochs",
)
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in BRIEF else pytest.mark.long) for kind in STREAMS],
)
def test_lanes_of_a_stream_end_as_alone(kind, trials, equal_logs, equal_models):
    same_as_alone(classifier, STREAMS[kind], equal_logs, equal_models, trials)


@pytest.mark.long
def test_a_dataset_of_unknown_length(trials, equal_logs, equal_models):
    # By itself, TensorFlow's function for it may count one more step of the optimizer when it finds
    # that there is no batch: the count does not wait for the batch.
    known = dataset(X, Y)
    together = lanes.Lanes(trials(classifier, 3))
    histories = together.fit(known.filter(lambda x, y: True), epochs=3)
    model = trials(classifier, 3)[2]
    equal_logs(histories[2].history, model.fit(known, epochs=3, verbose=0).history)
    equal_models(together.unstack(2), model)


def test_a_dataset_of_dictionaries(trials, equal_logs, equal_models):
    def make():
        return {"x": dataset(*named(X, Y)), "validation_data": dataset(*named(X, Y))}

    same_as_alone(two_inputs, make, equal_logs, equal_models, trials)


@pytest.mark.long
def test_blocks_are_as_long_as_they_may_be(trials, equal_logs, equal_models, monkeypatch):
    monkeypatch.setattr(_streams, "_MOST_STEPS", 2)

    def make():
        return {"x": dataset(X, Y, size=4), "validation_data": dataset(X, Y, size=3)}

    same_as_alone(classifier, make, equal_logs, equal_models, trials)
    monkeypatch.setattr(_streams, "_MOST_BYTES", 1)
    same_as_alone(classifier, make, equal_logs, equal_models, trials)


@pytest.mark.long
def test_a_compiled_program_is_compiled_once_for_its_blocks(trials, equal_models, no_programs):
    together = lanes.Lanes(trials(classifier, 2), jit_compile="auto")
    # Of 70 batches in blocks of 64, and one of 6 samples.
    steps = tf.data.Dataset.from_tensor_slices((X, Y)).repeat(14).batch(8)
    together._stack.epochs.worth_compiling = lambda kind, steps: kind == "train"
    together.fit(steps.concatenate(dataset(X[:6], Y[:6])), epochs=2)
    assert together.compilations == 1
    (model,) = trials(classifier, 1)
    model.fit(steps.concatenate(dataset(X[:6], Y[:6])), epochs=2, verbose=0)
    equal_models(together.unstack(0), model, 1e-3)


def test_batches_of_any_size_trace_nothing_more(trials, equal_logs, equal_models, no_programs):
    sizes = [7, 7, 5, 9, 12]

    def make():
        parts = [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
        batches = [dataset(X[part], Y[part], size=40) for part in parts]
        return {"x": functools.reduce(tf.data.Dataset.concatenate, batches)}

    together = same_as_alone(classifier, make, equal_logs, equal_models, trials)
    traces = together.traces
    together.fit(dataset(X[:11], Y[:11], size=3), epochs=1)
    assert together.traces == traces


def recurrent(number):
    layers = [keras.Input((None, 2)), keras.layers.GRU(3), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1 * (number + 1)), loss)
    return model


class Sequences(keras.utils.PyDataset):
    """Sequences of another length in each batch."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        length = 3 + index
        return np.resize(X, (8, length, 2)), Y[index : index + 8]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["dataset", "sequence"])
def test_sequences_of_any_length(kind, trials, equal_logs, equal_models, no_programs):
    def of_lengths():
        yield from map(Sequences().__getitem__, range(4))

    specs = tf.TensorSpec((None, None, 2)), tf.TensorSpec((None,), "int64")

    def make():
        if kind == "sequence":
            return {"x": Sequences()}
        found = tf.data.Dataset.from_generator(of_lengths, output_signature=specs)
        return {"x": found.apply(tf.data.experimental.assert_cardinality(4))}

    together = same_as_alone(recurrent, make, equal_logs, equal_models, trials)
    # Its first batch is known to differ from others, so all lengths share one trace.
    assert together.traces <= 3


@pytest.mark.long
def test_a_sequence_is_called_as_keras_calls_it(trials):
    called = []
    for train in (lanes.Lanes(trials(classifier, 2)).fit, classifier(0).fit):
        data, validating = Batches(), Batches()
        given = {"validation_data": validating, "epochs": 2, "shuffle": False}
        quiet = {"verbose": 0} if isinstance(train.__self__, keras.Model) else {}
        train(data, **given, **quiet)
        # Keras looks at some batches before it begins.
        called.append([calls[calls.index("end") :] for calls in (data.calls, validating.calls)])
    assert called[0] == called[1]


def test_no_more_is_taken_of_a_generator_than_is_used(trials):
    taken = itertools.count()
    numbers = (next(taken) for _ in range(100))
    batches = ((X[:8] + number, Y[:8]) for number in numbers)
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(batches, steps_per_epoch=5, epochs=3)
    assert next(taken) == 15


def test_a_batch_is_read_in_another_thread_while_lanes_train(trials):
    threads = set()

    def batches():
        while True:
            threads.add(threading.current_thread().name)
            yield X[:8], Y[:8]

    lanes.Lanes(trials(classifier, 2)).fit(batches(), steps_per_epoch=5, epochs=2)
    assert any(name.startswith("kerasreg-read") for name in threads)
    # None of them is left.
    assert not [one for one in threading.enumerate() if one.name.startswith("kerasreg-read")]


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, round(float(logs["loss"]), 4)))
        if self.params["epochs"] == 2 and batch == 1:
            self.model.stop_training = True


def test_callbacks_of_single_batches(trials):
    together, recorders = lanes.Lanes(trials(classifier, 2)), [Recorder(), Recorder()]
    callbacks = [[recorder] for recorder in recorders]
    together.fit(dataset(X, Y), epochs=[2, 3], callbacks=callbacks)
    for number, epochs in enumerate([2, 3]):
        model, alone = trials(classifier, 2)[number], Recorder()
        model.fit(dataset(X, Y), epochs=epochs, callbacks=[alone], verbose=0)
        assert [batch for batch, _ in recorders[number].seen] == [batch for batch, _ in alone.seen]
        found, expected = ([loss for _, loss in of.seen] for of in (recorders[number], alone))
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_stream_that_all_lanes_have_left_is_not_read_on(trials):
    taken = itertools.count()
    batches = ((X[:8] + next(taken), Y[:8]) for _ in range(100))
    callbacks = [[Recorder()], [Recorder()]]
    together = lanes.Lanes(trials(classifier, 2))
    together.fit(batches, steps_per_epoch=50, epochs=2, callbacks=callbacks)
    # Two were used; some were read ahead.
    assert next(taken) < 6


def test_a_replacement_begins_with_the_next_pass(trials, equal_models):
    models = trials(classifier, 3)
    together = lanes.Lanes(models[:2])
    waiting = [models[2]]

    def refill(ended):
        free = list(ended)[: len(waiting)]
        return {lane: Replacement(waiting.pop(), epochs=2) for lane in free}

    taken = together.fit(
        generator(X, Y), steps_per_epoch=3, epochs=[1, 3], refill=refill
    )  # Lane 0 is taken over after 3 batches.
    assert [len(history.epoch) for history in taken] == [1, 3, 2]
    stream = generator(X, Y)
    for _ in range(3):
        next(stream)
    fresh = trials(classifier, 3)[2]
    fresh.fit(stream, steps_per_epoch=3, epochs=2, verbose=0)
    equal_models(together.unstack(0), fresh)


@pytest.mark.short("dataset-None", "sequence-2", "arrays-None")
@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("kind", ["dataset", "sequence", "arrays"])
def test_scores_and_predictions(kind, steps, trials):
    def data():
        return {"dataset": dataset(X, Y), "sequence": Batches(), "arrays": X}[kind]

    y = Y if kind == "arrays" else None
    together = lanes.Lanes(trials(classifier, 2))
    (model,) = trials(classifier, 1)
    scores = together.evaluate(data(), y, SIZE, steps=steps)[0]
    expected = model.evaluate(data(), y, SIZE, steps=steps, return_dict=True, verbose=0)
    assert scores == pytest.approx(expected, rel=1e-4)
    outputs = together.predict(data(), SIZE, steps=steps)[0]
    np.testing.assert_allclose(outputs, model.predict(data(), SIZE, 0, steps), rtol=1e-4, atol=1e-5)


# Bad data.


def test_a_stream_that_ends_early_ends_the_epoch(trials, equal_logs, equal_models):
    def make():
        return {"x": dataset(X, Y), "steps_per_epoch": 5}

    with pytest.warns(UserWarning, match="ran out of data"):
        same_as_alone(classifier, make, equal_logs, equal_models, trials)


def of_other_shapes(*shapes):
    for shape in shapes:
        yield np.zeros(shape, "float32"), np.zeros(shape[:1], "int32")


BAD = {
    "another shape": (lambda: of_other_shapes((8, 6), (8, 6), (8, 5)), "Batch 3.*8, 5"),
    "another rank": (lambda: of_other_shapes((8, 6), (8, 6, 1)), "Batch 2.*8, 6, 1"),
    "another structure": (
        lambda: iter_of((X[:8], Y[:8]), (X[:8], Y[:8], WEIGHTS[:8])), "one structure.*Batch 2"
    ),
    "arrays of other lengths": (lambda: iter_of((X[:8], Y[:7])), r"same length.*\[8, 7\]"),
    "numbers": (lambda: iter_of((X[:8], 1.0)), "first axis of samples"),
    "no batch": (lambda: iter_of(), "at least one batch"),
    "an empty dataset": (lambda: dataset(X, Y).take(0), "at least one batch"),
    "an empty sequence": (lambda: Empty(), "at least one batch"),
    "ragged batches": (
        lambda: tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [2.0, 3.0]])), "ragged"
    ),
    "an error": (lambda: raising(), "KeyError"),
}  # fmt: skip


class Empty(keras.utils.PyDataset):
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


def iter_of(*batches):
    yield from batches


def raising():
    yield X[:8], Y[:8]
    yield X[:8], Y[:8]
    raise KeyError("no such file")


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_are_named(kind, trials):
    make, message = BAD[kind]
    together = lanes.Lanes(trials(classifier, 2), jit_compile=False)
    with pytest.raises(DataError, match=message):
        together.fit(make(), steps_per_epoch=None if "empty" in kind or "no " in kind else 4)
    # The lanes are as good as before.
    together.fit(dataset(X, Y))


def test_the_error_of_a_generator_is_the_cause(trials):
    with pytest.raises(DataError) as caught:
        lanes.Lanes(trials(classifier, 1)).fit(raising(), steps_per_epoch=4)
    assert isinstance(caught.value.__cause__, KeyError)


REFUSED = {
    "steps_per_epoch": {"x": dataset(X, Y).repeat()},
    "validation_steps": {"x": X, "y": Y, "validation_data": Batches(endless=True)},
    "validation_split": {"x": dataset(X, Y), "validation_split": 0.5},
    "validation_freq": {"x": X, "y": Y, "validation_data": (X, Y), "validation_freq": 0},
    "x": {"x": dataset(X), "y": Y},
    "rows": {"x": dataset(X, Y), "rows": [[0, 1]]},
}


@pytest.mark.parametrize("argument", REFUSED)
def test_an_argument_that_no_stream_can_have_is_named(argument, trials):
    with pytest.raises(ValueError, match=f"^`{argument}`"):
        lanes.Lanes(trials(classifier, 1)).fit(**REFUSED[argument])
