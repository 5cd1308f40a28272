"""Bodies of `HyperModel.fit`, drawn at random: what people write before, after and around a fit.

A body is a list of statements, each a method of `Body`. All that it does is noted, in order, so
that two tuners can be compared: numbers that it sees, prints, files, what it enters and leaves.
"""

import contextlib
import io
import os
import random

import keras
import keras_tuner
import numpy as np

ROWS = 48
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(ROWS, 4)).astype("float32")
Y = (X[:, :1] * 2 - X[:, 1:2]).astype("float32")


class Noting(keras.callbacks.Callback):
    """Notes what it is told, draws and prints; asks the model; writes into the logs."""

    def __init__(self, note, raises_at=None):
        super().__init__()
        self.note = note
        self.raises_at = raises_at

    def on_train_begin(self, logs=None):
        self.note("begin")

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.raises_at:
            raise RuntimeError("the callback broke")
        logs["own"] = logs["loss"] + epoch
        self.note("epoch", epoch, logs["loss"], float(np.random.random()))
        print(f"<{epoch}>", end="")

    def on_train_end(self, logs=None):
        self.note("end", float(np.sum(self.model.layers[0].get_weights()[0])))


class Body(keras_tuner.HyperModel):
    """A hypermodel whose `fit` is a list of statements.

    Args:
        seed: of the draw of the statements.
        folder: where files are written.
    """

    def __init__(self, seed, folder):
        super().__init__()
        draw = random.Random(seed)
        kinds = sorted(name for name in vars(type(self)) if name.startswith("do_"))
        count = draw.randint(0, 3)
        before = [draw.choice(kinds) for _ in range(count)]
        self.statements = [(name, draw.random()) for name in [*before, "do_fit"]]
        self.statements += [(draw.choice(kinds), draw.random()) for _ in range(draw.randint(0, 2))]
        self.ending = draw.choice(["dictionary", "number", "history"])
        self.folder = folder
        self.notes = {}

    def build(self, hp):
        # A number of the trial's own, so that trials are the same in any order.
        keras.utils.set_random_seed(hp.Int("number", 1, 10**6))
        layers = [keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        self.compile(model, hp.Float("rate", 0.01, 0.05), "mse")
        return model

    def compile(self, model, rate, loss):
        model.compile(keras.optimizers.SGD(rate, momentum=0.5), loss, jit_compile=False)

    def fit(self, hp, model, x, y, callbacks=(), **kwargs):
        # The trials of a search share the hypermodel, and use it for what is theirs.
        self.hp, self.model, self.x, self.y = hp, model, x, y
        self.callbacks, self.kwargs, self.history = callbacks, kwargs, None
        mine = self.notes.setdefault(hp.get("number"), [])
        self.note = note = lambda *what: mine.append(what)
        for name, number in self.statements:
            done = getattr(self, name)(number)
            note(name)
            if done is not None:
                return done
        loss = model.evaluate(self.x, self.y, verbose=0)
        note("evaluated", loss, int(model.optimizer.iterations), model.stop_training)
        if self.ending == "history" and self.history is not None:
            return self.history
        return {"loss": loss} if self.ending == "dictionary" else float(loss)

    # Statements. One that returns something ends the body.

    def do_fit(self, number, **more):
        history = self.model.fit(
            self.x,
            self.y,
            epochs=2,
            batch_size=16,
            shuffle=False,
            callbacks=list(self.callbacks),
            verbose=0,
            **more,
        )
        self.history = history

    def do_note_history(self, number):
        if self.history is not None:
            for name, column in sorted(self.history.history.items()):
                self.note(name, *map(float, column))
            self.note(self.history.model is self.model, self.model.history is self.history)

    def do_split(self, number):
        order = np.random.permutation(len(self.x))[: 32 if number < 0.5 else 24]
        self.x, self.y = self.x[order], self.y[order]
        self.note("rows", *order[:3].tolist())

    def do_name_hyperparameter(self, number):
        if self.hp.Choice("scale", [1.0, 2.0, 4.0]) > 1.5:
            self.y = self.y * 0.5

    def do_fit_with_validation(self, number):
        self.do_fit(number, validation_data=(self.x[:8], self.y[:8]))

    def do_fit_noted(self, number):
        given = self.callbacks
        self.callbacks = [*given, Noting(self.note)]
        self.do_fit(number)
        self.callbacks = given

    def do_fit_that_breaks(self, number):
        given = self.callbacks
        self.callbacks = [*given, Noting(self.note, raises_at=1)]
        try:
            self.do_fit(number)
        except RuntimeError as error:
            self.note("caught", str(error))
        finally:
            self.note("finally")
        self.callbacks = given

    def do_fit_within(self, number):
        folder, text = os.path.join(self.folder, str(self.hp.get("number"))), io.StringIO()
        os.makedirs(folder, exist_ok=True)
        keep = keras.callbacks.ModelCheckpoint("kept.weights.h5", save_weights_only=True)
        given = self.callbacks
        self.callbacks = [*given, keep, Noting(self.note)]
        with contextlib.chdir(folder), contextlib.redirect_stdout(text):
            self.do_fit(number)
            print("trained")
            self.note("folder", os.path.relpath(os.getcwd(), self.folder), sorted(os.listdir()))
            self.model.load_weights("kept.weights.h5")
        self.callbacks = given
        self.note("printed", text.getvalue())

    def do_fit_stopping(self, number):
        given = self.callbacks
        stop = keras.callbacks.EarlyStopping("loss", min_delta=10.0, patience=0)
        self.callbacks = [*given, stop]
        self.do_fit(number)
        self.callbacks = given
        self.note("stopped", self.model.stop_training, len(self.history.epoch), stop.stopped_epoch)

    def do_fit_copy(self, number):
        copy = keras.models.clone_model(self.model)
        copy.set_weights(self.model.get_weights())
        self.compile(copy, 0.02, "mae")
        history = copy.fit(self.x, self.y, shuffle=False, batch_size=16, verbose=0)
        self.note("copy", *map(float, history.history["loss"]))

    def do_fit_data_of_its_own(self, number):
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((self.x, self.y)).batch(16)
        history = self.model.fit(data, epochs=1, verbose=0, callbacks=list(self.callbacks))
        self.note("dataset", *map(float, history.history["loss"]))

    def do_own_loop(self, number):
        for begin in (0, 16):
            batch = slice(begin, begin + 16)
            found = self.model.train_on_batch(self.x[batch], self.y[batch])
            self.note("batch", float(np.ravel(found)[0]))

    def do_compile(self, number):
        self.compile(self.model, 0.02, "mae" if number < 0.5 else "mse")

    def do_freeze(self, number):
        self.model.layers[0].trainable = False
        if number < 0.5:
            self.do_compile(number)

    def do_unfreeze(self, number):
        self.model.layers[0].trainable = True
        if number < 0.5:
            self.do_compile(number)

    def do_change_rate(self, number):
        self.model.optimizer.learning_rate = 0.005

    def do_change_weights(self, number):
        kernel = self.model.layers[1].kernel
        kernel.assign(kernel * 0.5)

    def do_evaluate(self, number):
        self.note("loss", float(self.model.evaluate(self.x, self.y, verbose=0)))

    def do_draw(self, number):
        self.note("drawn", random.random(), float(np.random.random()))

    def do_seed(self, number):
        np.random.seed(self.hp.get("number") % 1000)

    def do_return(self, number):
        if self.hp.get("rate") < 0.03:
            return {"loss": 1.0 + number}
        return None

    def do_raise(self, number):
        if self.hp.get("rate") < 0.02:
            raise keras_tuner.errors.FailedTrialError("a bad rate")
        if self.hp.get("rate") < 0.03:
            raise ValueError("a rate that is not good")
