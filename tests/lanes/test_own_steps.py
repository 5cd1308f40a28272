"""Models with a `train_step` or a `test_step` of their own, as Keras' guides write them."""

import keras
import numpy as np
import pytest

from kerasreg.lanes import DifferentPrograms, Lanes, group_by_program, why_not_a_lane

if keras.backend.backend() != "tensorflow":
    pytest.skip("These are written for TensorFlow.", allow_module_level=True)
import tensorflow as tf

layers, ops = keras.layers, keras.ops
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(40, 3)).astype("float32")
RATES = [0.2, 0.05, 0.1]


def functional(kind, number, units=3, **arguments):
    inputs = keras.Input((6,))
    hidden = layers.BatchNormalization()(layers.Dense(4, "tanh", use_bias=False)(inputs))
    hidden = layers.Dropout(0.1 + 0.1 * number, seed=number)(hidden)
    model = kind(inputs, layers.Dense(units)(hidden), **arguments)
    # Keras asks metrics for results that were never updated.
    metrics = None if kind in (LastBatch, Accumulates) else ["mae"]
    model.compile(keras.optimizers.SGD(RATES[number], momentum=0.9), "mse", metrics=metrics)
    return model


class Custom(keras.Model):
    """The first one of the guide."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        trainable_vars = self.trainable_variables
        gradients = tape.gradient(loss, trainable_vars)
        self.optimizer.apply(gradients, trainable_vars)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class OwnTrackers(keras.Model):
    """Without `compile(loss=...)`, and with a test step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
        self.loss_fn = keras.losses.MeanSquaredError()

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.loss_fn(y, y_pred)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.loss_tracker.update_state(loss)
        self.mae_metric.update_state(y, y_pred)
        return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        self.loss_tracker.update_state(self.loss_fn(y, y_pred))
        self.mae_metric.update_state(y, y_pred)
        return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae_metric]


class Weighted(keras.Model):
    """With weights of samples."""

    def train_step(self, data):
        if len(data) == 3:
            x, y, sample_weight = data
        else:
            sample_weight = None
            x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred, sample_weight=sample_weight)
        return {m.name: m.result() for m in self.metrics}


class OnlyTest(keras.Model):
    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class BeforeKeras(keras.Model):
    """Changes the data, and leaves the rest to Keras."""

    def train_step(self, data):
        x, y = data
        return super().train_step((x * 0.5, y))


class LastBatch(keras.Model):
    """Its logs are no results of metrics, but those of the last batch."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(y - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        norm = tf.linalg.global_norm(gradients)
        return {"mse": loss, "norm": norm, "within": {"twice": 2 * norm}}


class GradientPenalty(keras.Model):
    """A tape within another one, and a number of a trial."""

    def __init__(self, *args, weight=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight = weight

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(x)
                y_pred = self(x, training=True)
            slope = inner.gradient(y_pred, x)
            norm = tf.sqrt(tf.reduce_sum(tf.square(slope), axis=1) + 1e-6)
            penalty = tf.reduce_mean(tf.square(norm - 1.0))
            loss = self.compute_loss(x, y, y_pred) + self.weight * penalty
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(x, y, y_pred)


class Accumulates(keras.Model):
    """Two updates for each batch, with one tape that lasts."""

    def train_step(self, data):
        x, y = data
        for _ in range(2):
            with tf.GradientTape(persistent=True) as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            half = len(self.trainable_variables) // 2
            gradients = tape.gradient(loss, self.trainable_variables[:half])
            gradients += tape.gradient(loss, self.trainable_variables[half:])
            self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
        return {"loss": self.metrics[0].result()}


KINDS = [Custom, OwnTrackers, Weighted, OnlyTest, BeforeKeras, LastBatch, GradientPenalty]
KINDS += [Accumulates]


@pytest.mark.short("Weighted")
@pytest.mark.parametrize("kind", KINDS)
def test_an_own_step_is_that_of_the_model_alone(kind, same_as_alone):
    own = {}
    weights = np.linspace(0.1, 2.0, 40).astype("float32") if kind is Weighted else None

    def build(number):
        own.update(weight=0.5 + number) if kind is GradientPenalty else None
        return functional(kind, number, **own)

    assert group_by_program([build(0), build(1)]) == [[0, 1]]
    validation = {} if kind is LastBatch else {"validation_data": (X, Y)}
    same_as_alone(build, X, Y, 2, 3e-5, alone=[0, 1], sample_weight=weights, **validation)


@pytest.mark.long
def test_an_own_step_under_xla(trials, equal_models):
    def build(number):
        return functional(GradientPenalty, number, weight=0.5 + number)

    plain, compiled = (Lanes(trials(build, 2), jit_compile) for jit_compile in (False, True))
    for together in (plain, compiled):
        together.fit(X, Y, 16, 2, seed=1, validation_data=(X, Y))
    assert compiled.compilations
    equal_models(compiled.unstack(1), plain.unstack(1), 3e-5)


class Sampling(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_var = inputs
        epsilon = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * epsilon


class VAE(keras.Model):
    """As in Keras' example: without a `call`, and compiled without a loss."""

    def __init__(self, encoder, decoder, beta, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.beta = beta
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.reconstruction_loss_tracker, self.kl_loss_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            reconstruction_loss = ops.mean(
                ops.sum(keras.losses.binary_crossentropy(data, reconstruction), axis=0)
            )
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
            total_loss = reconstruction_loss + self.beta * kl_loss
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total_loss)
        self.reconstruction_loss_tracker.update_state(reconstruction_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {
            "loss": self.total_loss_tracker.result(),
            "reconstruction_loss": self.reconstruction_loss_tracker.result(),
            "kl_loss": self.kl_loss_tracker.result(),
        }


def vae(number):
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, activation="relu")(inputs)
    mean, log_var = layers.Dense(2)(hidden), layers.Dense(2)(hidden)
    encoder = keras.Model(inputs, [mean, log_var, Sampling()([mean, log_var])])
    latent = keras.Input((2,))
    decoder = keras.Model(latent, layers.Dense(6, activation="sigmoid")(latent))
    model = VAE(encoder, decoder, 0.5 + number)
    model.compile(optimizer=keras.optimizers.Adam(RATES[number]))
    return model


class Distiller(keras.Model):
    """A student and a teacher that is not trained, with a `compile` of its own."""

    def __init__(self, student, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = student

    def compile(
        self, optimizer, metrics, student_loss_fn, distillation_loss_fn, alpha, temperature
    ):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn = student_loss_fn
        self.distillation_loss_fn = distillation_loss_fn
        self.alpha = alpha
        self.temperature = temperature

    def call(self, x):
        return self.student(x)

    def train_step(self, data):
        x, y = data
        teacher_predictions = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            student_predictions = self.student(x, training=True)
            student_loss = self.student_loss_fn(y, student_predictions)
            distillation_loss = (
                self.distillation_loss_fn(
                    tf.nn.softmax(teacher_predictions / self.temperature, axis=1),
                    tf.nn.softmax(student_predictions / self.temperature, axis=1),
                )
                * self.temperature**2
            )
            loss = self.alpha * student_loss + (1 - self.alpha) * distillation_loss
        trainable_vars = self.student.trainable_variables
        gradients = tape.gradient(loss, trainable_vars)
        self.optimizer.apply_gradients(zip(gradients, trainable_vars, strict=True))
        self.compute_metrics(x, y, student_predictions, None)
        results = {m.name: m.result() for m in self.metrics}
        results.update({"student_loss": student_loss, "distillation_loss": distillation_loss})
        return results

    def test_step(self, data):
        x, y = data
        y_prediction = self.student(x, training=False)
        student_loss = self.student_loss_fn(y, y_prediction)
        self.compute_metrics(x, y, y_prediction, None)
        results = {m.name: m.result() for m in self.metrics}
        results.update({"student_loss": student_loss})
        return results


def distiller(number):
    def net(units):
        return keras.Sequential([keras.Input((6,)), layers.Dense(units, "tanh"), layers.Dense(3)])

    model = Distiller(net(3), net(8))
    model.teacher.trainable = False
    model.build((None, 6))
    model.compile(
        keras.optimizers.Adam(RATES[number]),
        [keras.metrics.CategoricalAccuracy()],
        keras.losses.CategoricalCrossentropy(from_logits=True),
        keras.losses.KLDivergence(),
        alpha=0.1 + 0.2 * number,
        temperature=3.0 + number,
    )
    return model


@pytest.mark.parametrize("build", [vae, pytest.param(distiller, marks=pytest.mark.long)])
def test_models_of_models(build, same_as_alone):
    data = (X, None) if build is vae else (X, np.eye(3, dtype="float32")[np.arange(40) % 3])
    validation = {} if build is vae else {"validation_data": data}
    assert why_not_a_lane(build(0)) is None
    assert group_by_program([build(0), build(1)]) == [[0, 1]]
    _, histories = same_as_alone(build, *data, 2, 1e-5, alone=[0, 1], **validation)
    assert ("kl_loss" if build is vae else "student_loss") in histories[0].history


def test_an_own_step_under_a_loss_scale(same_as_alone):
    def build(number):
        model = functional(Custom, number)
        scaled = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(RATES[number]), initial_scale=1.0
        )
        model.compile(scaled, "mse")
        return model

    same_as_alone(build, X, Y, 2, 1e-5)


class Counts(Custom):
    """Counts in a variable that Keras does not know."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps = tf.Variable(0.0, trainable=False)

    def train_step(self, data):
        self.steps.assign_add(1.0)
        return Custom.train_step(self, data)


class TwoOptimizers(Custom):
    def compile(self, other=None, **kwargs):
        super().compile(**kwargs)
        self.other = keras.optimizers.SGD(0.1)
        self.other.build(self.trainable_variables[:2])

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(y - self(x, training=True)))
        self.other.apply(
            tape.gradient(loss, self.trainable_variables[:2]), self.trainable_variables[:2]
        )
        return {"loss": loss}


class ReadsNumbers(Custom):
    def train_step(self, data):
        return {"loss": float(data[0].numpy().mean())}


class Graph(Custom):
    @tf.function
    def train_step(self, data):
        return super().train_step(data)


def two_optimizers(number):
    inputs = keras.Input((6,))
    model = TwoOptimizers(inputs, layers.Dense(3)(inputs))
    model.compile(optimizer="sgd", loss="mse")
    return model


@pytest.mark.parametrize("kind", [Counts, TwoOptimizers, ReadsNumbers])
def test_steps_that_cannot_be_lanes_are_known_after_the_first(kind):
    models = [
        functional(kind, n) if kind is not TwoOptimizers else two_optimizers(n) for n in (0, 1)
    ]
    with pytest.raises(DifferentPrograms, match="cannot be a lane"):
        Lanes(models, False).fit(X, Y)
    assert "its class defines its own `train_step`, with which" in why_not_a_lane(models[0])
    assert group_by_program(models) == [[0], [1]]
    if kind is not ReadsNumbers:  # Which is none in Keras either.
        models[0].fit(X, Y, verbose=0)


def test_a_step_that_is_a_graph_itself_is_no_lane():
    assert "no plain function" in why_not_a_lane(functional(Graph, 0))
