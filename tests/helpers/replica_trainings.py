"""Trainings of `kerasreg.distribute.fit` on one device, on replicas and on workers, compared.

A program: it trains the models of its arguments, and prints their states in its last line. What
is compared is in float64, so that rounding is small beside any fault.
"""

import json
import os
import socket
import subprocess
import sys
import time

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # A strategy of logical CPU devices.

import keras
import numpy as np

SAMPLES, BATCH = 21, 8  # Of the last batch five are left, which four replicas share unevenly.
REPLICAS = {"one": 1, "mirrored_2": 2, "mirrored_4": 4, "worker": 2}


def data(samples=SAMPLES):
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, 6))
    y = np.stack([x[:, 0] - x[:, 1], x[:, 2] * x[:, 3]], -1) + 0.1 * random.normal(
        size=(samples, 2)
    )
    return x, y


def seeded(seed):
    return keras.initializers.GlorotNormal(seed=seed)


def dense(units, seed, **options):
    return keras.layers.Dense(units, kernel_initializer=seeded(seed), **options)


def mlp(*layers):
    return keras.Sequential([keras.Input((6,)), *layers, dense(2, 9)])


def penalties():
    """Penalties of Keras and of kerasreg, on weights and on outputs; a schedule of one."""
    import kerasreg

    ramp = keras.optimizers.schedules.PolynomialDecay(0.01, 6, 0.1)
    model = mlp(
        dense(8, 1, activation="tanh", kernel_regularizer=kerasreg.regularizers.L1(ramp)),
        dense(8, 2, kernel_regularizer=keras.regularizers.L1L2(0.02, 0.03)),
        keras.layers.ActivityRegularization(l2=0.05),
        kerasreg.layers.ScheduledDropout(keras.optimizers.schedules.PolynomialDecay(0.0, 6, 0.0)),
    )
    model.compile(keras.optimizers.AdamW(0.02, weight_decay=0.05), "mse", metrics=["mae"])
    return model, {}


def clipped():
    """Gradients that are clipped by their norm, which is that of the sum."""
    model = mlp(dense(8, 1, activation="tanh"))
    model.compile(keras.optimizers.SGD(0.3, momentum=0.9, clipnorm=0.1), "mse", metrics=["mae"])
    return model, {}


def clipped_at_once():
    model = mlp(dense(8, 1, activation="tanh"))
    model.compile(keras.optimizers.Adam(0.05, global_clipnorm=0.05), "huber")
    return model, {}


def averaged():
    """Gradients that are clipped by value, and moving averages of weights."""
    model = mlp(dense(8, 1, activation="tanh"))
    model.compile(
        keras.optimizers.Adam(0.05, clipvalue=0.02, use_ema=True, ema_momentum=0.5), "mse"
    )
    return model, {}


def scaled():
    """A loss that is scaled, as in mixed precision, and gradients that are clipped without it."""
    model = mlp(dense(8, 1, activation="tanh"))
    inner = keras.optimizers.SGD(0.1, momentum=0.5, clipnorm=0.2)
    model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**6), "mse")
    return model, {}


def proximal():
    import kerasreg

    model = mlp(dense(8, 1, kernel_regularizer=kerasreg.regularizers.L1(0.02)))
    inner = keras.optimizers.Adam(0.02, clipnorm=0.3)
    model.compile(kerasreg.optimizers.Lookahead(kerasreg.optimizers.Proximal(inner)), "mse")
    return model, {}


def normalized():
    """All replicas are normalized together."""
    model = mlp(
        dense(8, 1), keras.layers.BatchNormalization(momentum=0.5, synchronized=True), dense(4, 2)
    )
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"])
    return model, {}


def weighted():
    """Weights of samples and of classes, in metrics too."""
    _, y = data()
    labels = (y[:, 0] > 0).astype("int64") + (y[:, 1] > 0.5)
    model = keras.Sequential([keras.Input((6,)), dense(8, 1, activation="relu"), dense(3, 2)])
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        weighted_metrics=["accuracy", keras.metrics.SparseCategoricalCrossentropy(name="entropy")],
    )
    return model, {"y": labels, "class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}


def weights_of_samples():
    model = mlp(dense(8, 1, activation="tanh"))
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.SGD(0.1), loss, weighted_metrics=["mae"])
    return model, {"sample_weight": np.linspace(0.0, 3.0, SAMPLES)}


def several_losses():
    """Outputs with losses of each reduction, of a function, and a loss that the model adds."""

    def cosine(y_true, y_pred):  # It takes the mean itself.
        return keras.ops.mean(keras.ops.cos(y_true - y_pred))

    inputs = keras.Input((6,))
    hidden = dense(8, 1, activation="tanh")(inputs)
    outputs = {
        "sum": dense(2, 2, name="sum")(hidden),
        "mean": dense(2, 3, name="mean")(hidden),
        "own": dense(2, 4, name="own")(hidden),
    }
    model = keras.Model(inputs, outputs)
    losses = {"sum": keras.losses.MeanAbsoluteError(reduction="sum"), "mean": "mse", "own": cosine}
    weights = {"sum": 0.1, "mean": 0.5, "own": 0.3}
    model.compile(keras.optimizers.SGD(0.05), losses, weights, metrics={"mean": "mae"})
    return model, {"y": dict.fromkeys(outputs, data()[1])}


def sequences():
    """An embedding, whose gradients are slices, and a mask of steps that count not."""
    random = np.random.default_rng(1)
    words = random.integers(1, 12, size=(SAMPLES, 5))
    words[:, 3:] *= random.integers(0, 2, size=(SAMPLES, 2))
    targets = random.normal(size=(SAMPLES, 5, 1))
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(12, 4, mask_zero=True, embeddings_initializer=seeded(1)),
            dense(1, 2),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return model, {"x": words, "y": targets}


def few_samples():
    """The last batch has fewer samples than there are replicas."""
    model = mlp(dense(8, 1, activation="tanh"), keras.layers.LayerNormalization())
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    x, y = data(17)
    return model, {"x": x, "y": y}


class OwnStep(keras.Model):
    """Its own step, with a log that is no metric."""

    def __init__(self):
        super().__init__()
        self.inner = mlp(dense(8, 1, activation="tanh"))
        self.inner.build((None, 6))

    def call(self, x):
        return self.inner(x)

    def train_step(self, batch):
        import tensorflow as tf

        x, y = batch
        with tf.GradientTape() as tape:
            errors = keras.ops.mean(keras.ops.square(self(x) - y), -1)
            loss = self.compute_loss(x, y, self(x))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"first": keras.ops.mean(errors), **self.compute_metrics(x, y, self(x))}


def own_step():
    model = OwnStep()
    model.compile(keras.optimizers.Adam(0.05, clipnorm=0.1), "mse", metrics=["mae"])
    return model, {"validation_data": None}


MODELS = {
    one.__name__: one
    for one in (
        penalties,
        clipped,
        clipped_at_once,
        averaged,
        scaled,
        proximal,
        normalized,
        weighted,
        weights_of_samples,
        several_losses,
        sequences,
        few_samples,
        own_step,
    )
}


def trained(name, **options):
    """The weights and the history of a training, as JSON."""
    import kerasreg

    keras.utils.set_random_seed(1)
    model, given = MODELS[name]()
    # Keras weighs the losses of outputs by the samples only where it knows these when it traces.
    is_alone = model.distribute_strategy.num_replicas_in_sync == 1
    model.run_eagerly = is_alone and name == "several_losses"
    x, y = data()
    given = {"x": x, "y": y, **given}
    given.setdefault("validation_data", (given["x"][:9], _first(given["y"], 9)))
    history = kerasreg.distribute.fit(
        model, batch_size=BATCH, epochs=3, shuffle=False, verbose=0, **{**given, **options}
    )
    return {
        "weights": {v.path: np.array(v).tolist() for v in model.variables},
        "history": history.history,
    }


def _first(y, count):
    return {k: v[:count] for k, v in y.items()} if isinstance(y, dict) else y[:count]


def faults(one, other, tolerance=1e-9):
    """Where two trainings differ; of counts and numbers of any type."""
    found = []
    for name in one:
        assert set(one[name]["history"]) == set(other[name]["history"]), name
        mine = [*one[name]["weights"].values(), *one[name]["history"].values()]
        theirs = [*other[name]["weights"].values(), *other[name]["history"].values()]
        labels = [*one[name]["weights"], *one[name]["history"]]
        for label, first, second in zip(labels, mine, theirs, strict=True):
            worst = np.max(np.abs(np.array(first, float) - np.array(second, float)), initial=0.0)
            if not worst <= tolerance:
                found.append(f"{name}: {label} differs by {worst:.3g}")
    return found


def scope_of(kind):
    """The strategy of a kind, chosen before TensorFlow computes anything."""
    from kerasreg import distribute

    if kind == "one":
        return distribute.strategy("one_device")
    if kind == "worker":
        return distribute.strategy("multi_worker_mirrored", timeout=120)
    return distribute.strategy("mirrored", replicas=REPLICAS[kind])


def joins_or_dies(timeout):
    """A worker that joins the others, but for the last one, which dies when all have answered."""
    import tensorflow as tf

    from kerasreg import distribute

    config = json.loads(os.environ["TF_CONFIG"])
    addresses, index = config["cluster"]["worker"], config["task"]["index"]

    def dies():
        with socket.create_server(("", int(addresses[index].rpartition(":")[2]))):
            time.sleep(5)  # Until each of the others has heard an answer.
            os._exit(9)

    if index == len(addresses) - 1:
        tf.distribute.MultiWorkerMirroredStrategy = dies
    distribute.strategy("multi_worker_mirrored", timeout=float(timeout))


def main(kind, function, *arguments):
    """Calls a function of this module in the scope of a strategy, and prints what it returns."""
    if function == "joins_or_dies":
        joins_or_dies(*arguments)
        return
    strategy = scope_of(kind)
    keras.config.set_floatx("float64")
    if function.startswith("searched"):  # A tuner enters the scope itself.
        found = globals()[function](strategy, *arguments)
    else:
        with strategy.scope():
            found = globals()[function](*arguments)
    print(json.dumps(found))


def all_trained(*names):
    return {name: trained(name) for name in names or MODELS}


def of_replicas():
    """What replicas agree on, and what each has of its own."""
    import tensorflow as tf

    import kerasreg

    strategy = tf.distribute.get_strategy()
    x, y = data(3)
    normalization = keras.layers.BatchNormalization(momentum=0.0)
    model = keras.Sequential([keras.Input((6,)), normalization, dense(2, 1)])
    model.compile("sgd", "mse")
    kerasreg.distribute.fit(model, x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    statistics = [
        [np.array(part).tolist() for part in strategy.experimental_local_results(variable.value)]
        for variable in (normalization.moving_mean, normalization.moving_variance)
    ]

    class Kept(keras.layers.Layer):
        """Keeps in a weight what Keras' dropout lets through; of each replica, its own."""

        def build(self, shape):
            self.dropout = keras.layers.Dropout(0.5, seed=3)
            self.places = self.add_weight(shape=(2, 400), initializer="zeros", aggregation="none")
            self.scale = self.add_weight(shape=())

        def call(self, x):
            context = tf.distribute.get_replica_context()
            if context is None:  # When it is built.
                return x[:, :2] * self.scale
            mask = self.dropout(tf.ones((1, 400), x.dtype), training=True) > 0
            own = tf.one_hot(context.replica_id_in_sync_group, 2, dtype=x.dtype)
            masks = context.all_reduce("SUM", own[:, None] * tf.cast(mask, x.dtype))
            self.places.assign(masks)
            return x[:, :2] * self.scale

    kept = Kept()
    model = keras.Sequential([keras.Input((6,)), kept])
    model.compile("sgd", "mse")
    kerasreg.distribute.fit(model, x, y, batch_size=3, verbose=0)
    return {
        "statistics": statistics,
        "mean": np.array(normalization.moving_mean).tolist(),
        "expected": x.mean(0).tolist(),
        "masks": np.array(kept.places).tolist(),
    }


def with_callbacks(folder):
    """Files are the chief's; another worker ends the training."""
    import kerasreg

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    wrote = []

    class Writer(keras.callbacks.Callback):
        chief_only = True

        def on_train_begin(self, logs=None):
            wrote.append("begin")

        def on_epoch_end(self, epoch, logs=None):
            wrote.append(epoch)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = index == 1 and epoch == 1

    model = mlp(keras.layers.Dense(4))
    model.compile(keras.optimizers.Adam(0.01 * (1 + index)), "mse")
    model.set_weights([weight + index for weight in model.get_weights()])
    callbacks = [
        Writer(),
        Stop(),
        keras.callbacks.ModelCheckpoint(os.path.join(folder, "{epoch}.keras")),
        keras.callbacks.CSVLogger(os.path.join(folder, "log.csv")),
    ]
    x, y = data()
    history = kerasreg.distribute.fit(
        model, x, y, batch_size=BATCH, epochs=5, callbacks=callbacks, verbose=0
    )
    weights = [np.array(v).tolist() for v in [*model.variables, *model.optimizer.variables]]
    return {"epochs": history.epoch, "wrote": wrote, "weights": weights[: len(model.weights)]}


class Broken(Exception):
    pass


def resumed(folder, how):
    """A training that breaks off in its third epoch, or goes on where it was."""
    import kerasreg

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if how == "break" and epoch == 2:
                raise Broken

    keras.utils.set_random_seed(1)
    model = mlp(dense(4, 1, activation="tanh"))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    backup = keras.callbacks.BackupAndRestore(os.path.join(folder, "backup"))
    x, y = data()
    given = {"batch_size": BATCH, "epochs": 4, "shuffle": False, "verbose": 0}
    try:
        history = kerasreg.distribute.fit(model, x, y, callbacks=[backup, Break()], **given)
    except Broken:
        return {"epochs": None}
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    return {"epochs": history.epoch, "weights": weights.tolist()}


class Slow(keras.callbacks.Callback):
    """Tells of each epoch by a line in a file, and lets the test do something then."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with open(self.path, "a") as file:
            file.write(f"{epoch}\n")
        time.sleep(0.3)


def with_backup(folder):
    """A training that goes on where the chief was, and says where a worker was lost."""
    import kerasreg

    os.makedirs(folder, exist_ok=True)
    keras.utils.set_random_seed(1)
    model = mlp(dense(4, 1, activation="tanh"))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    callbacks = [
        keras.callbacks.BackupAndRestore(os.path.join(folder, "backup")),
        Slow(os.path.join(folder, f"epochs-{index}")),
    ]
    x, y = data()
    try:
        history = kerasreg.distribute.fit(
            *(model, x, y, BATCH), epochs=8, callbacks=callbacks, shuffle=False, verbose=0
        )
    except kerasreg.distribute.WorkerLostError as error:
        return {"lost": str(error)}
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    return {"epochs": history.epoch, "weights": weights.tolist()}


def other_orders():
    """Datasets that each worker shuffles as it likes; arrays, that all shuffle alike."""
    import tensorflow as tf

    import kerasreg

    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    keras.utils.set_random_seed(index)
    model = mlp(dense(4, 1))
    model.compile("sgd", "mse")
    x, y = data()
    kerasreg.distribute.fit(model, x, y, batch_size=BATCH, epochs=2, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(30).batch(BATCH)
    try:
        kerasreg.distribute.fit(model, dataset, verbose=0)
    except ValueError as error:
        return {"message": str(error), "shuffled_arrays": "trained"}
    return {"message": "", "shuffled_arrays": "trained"}


def _search_of(strategy, folder, trials, *layers):
    """A search for the learning rate of a network, under a strategy."""
    import kerasreg

    def build(hp):
        model = mlp(dense(4, 1, activation="tanh"), *(make() for make in layers))
        model.compile(keras.optimizers.Adam(hp.Float("rate", 1e-3, 0.1)), "mse")
        return model

    return kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=trials,
        seed=3,
        directory=folder,
        project_name="search",
        distribution_strategy=strategy,
    )


def searched(strategy, folder):
    """A search with ragged batches: its scores, and which files it leaves."""
    x, y = data()
    tuner = _search_of(strategy, folder, 2, lambda: keras.layers.Dropout(0.0))
    tuner.search(
        x, y, validation_data=(x[:9], y[:9]), batch_size=BATCH, epochs=2, shuffle=False, verbose=0
    )
    best = tuner.get_best_models()[0]
    return {
        "scores": [trial.score for trial in tuner.oracle.trials.values()],
        "rates": [trial.hyperparameters.get("rate") for trial in tuner.oracle.trials.values()],
        "folder": os.path.relpath(tuner.project_dir, folder),
        "output": np.array(best(x[:2])).tolist(),
        "rows": [row._asdict() for row in tuner.lane_report()],
        "table": str(tuner.lane_report()),
        "page": tuner.report(ensemble=False).markdown(),
    }


def searched_slowly(strategy, folder):
    """A search in which a worker may be lost."""
    import keras_tuner

    os.makedirs(folder, exist_ok=True)
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    x, y = data()
    tuner = _search_of(strategy, folder, 3)
    given = {"batch_size": BATCH, "epochs": 3, "shuffle": False, "verbose": 0}
    slow = Slow(os.path.join(folder, f"epochs-{index}"))
    try:
        tuner.search(x, y, validation_data=(x[:9], y[:9]), callbacks=[slow], **given)
    except keras_tuner.errors.FatalRuntimeError as error:
        return {"lost": str(error)}
    trials = tuner.oracle.trials.values()
    return {"trials": [[of.trial_id, of.status, of.score] for of in trials]}


def searched_with_other_seeds(strategy, folder):
    import kerasreg

    def build(hp):
        model = mlp()
        model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 0.1)), "mse")
        return model

    x, y = data()
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build,
        "val_loss",
        max_trials=2,
        seed=3 + json.loads(os.environ["TF_CONFIG"])["task"]["index"],
        directory=folder,
        distribution_strategy=strategy,
    )
    try:
        tuner.search(x, y, validation_data=(x, y), verbose=0)
    except Exception as error:
        return str(error)
    return [trial.message for trial in tuner.oracle.trials.values()]


def run(kind, *arguments, timeout=300, **environment):
    """Runs this program; returns what it found, of workers that of each."""
    if kind == "worker":
        return _finished(started_workers(*arguments, **environment), timeout)
    return _finished([_started(kind, *arguments, **environment)], timeout)[0]


def started_workers(*arguments, count=2, **environment):
    """The processes of workers on this machine, each with a port."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return [
        _started(
            "worker",
            *arguments,
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
            **environment,
        )
        for index in range(count)
    ]


def _started(*arguments, **environment):
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finished(processes, timeout):
    try:
        printed = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [
        errors[-3000:]
        for one, (_, errors) in zip(processes, printed, strict=True)
        if one.returncode
    ]
    assert not failed, "\n\n".join(failed)
    return [json.loads(found.splitlines()[-1]) for found, _ in printed]


if __name__ == "__main__":
    main(*sys.argv[1:])
