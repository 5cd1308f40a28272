"""What `test_jax.py` runs with KERAS_BACKEND=jax: steps of a model's own, in lanes and alone.

Prints the largest difference of a log or a weight.
"""

import jax
import keras
import numpy as np

from kerasreg.lanes import Lanes, group_by_program

layers = keras.layers
X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).uniform(size=(40, 3)).astype("float32")


class Custom(keras.Model):
    """As in Keras' guide."""

    def __init__(self, *args, alpha=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.alpha = alpha

    def compute_loss_and_updates(self, trainable, non_trainable, x, y, training=False):
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=training)
        return self.alpha * self.compute_loss(x, y, y_pred), (y_pred, non_trainable)

    def train_step(self, state, data):
        trainable, non_trainable, optimizer_variables, metrics = state
        x, y = data
        grad_fn = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable)), grads = grad_fn(
            trainable, non_trainable, x, y, training=True
        )
        trainable, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable
        )
        logs, metrics = self.updated(metrics, loss, y, y_pred)
        return logs, (trainable, non_trainable, optimizer_variables, metrics)

    def test_step(self, state, data):
        trainable, non_trainable, metrics = state
        x, y = data
        y_pred, non_trainable = self.stateless_call(trainable, non_trainable, x, training=False)
        loss = self.compute_loss(x, y, y_pred)
        logs, metrics = self.updated(metrics, loss, y, y_pred)
        # The last one is the result of no metric.
        return {**logs, "of the last batch": loss}, (trainable, non_trainable, metrics)

    def updated(self, variables, loss, y, y_pred):
        logs, after = {}, []
        for metric in self.metrics:
            own = variables[len(after) : len(after) + len(metric.variables)]
            values = (loss,) if metric.name == "loss" else (y, y_pred)
            own = metric.stateless_update_state(own, *values)
            logs[metric.name] = metric.stateless_result(own)
            after += own
        return logs, after


def build(number):
    keras.utils.set_random_seed(number)
    inputs = keras.Input((6,))
    hidden = layers.BatchNormalization()(layers.Dense(4, "tanh", use_bias=False)(inputs))
    hidden = layers.Dropout(0.25 * number, seed=number)(hidden)
    model = Custom(inputs, layers.Dense(3)(hidden), alpha=0.5 + number)
    model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse", metrics=["mae"])
    return model


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    models = [build(number) for number in range(3)]
    assert group_by_program(models) == [[0, 1, 2]]
    together = Lanes(models, random_numbers="keras")
    given = {"batch_size": 16, "epochs": 3, "shuffle": False, "validation_data": (X, Y)}
    histories = together.fit(X, Y, **given)
    worst = 0.0
    for number in range(3):
        alone = build(number)
        expected = alone.fit(X, Y, verbose=0, **given).history
        assert set(expected) == set(histories[number].history)
        pairs = [(histories[number].history[name], of) for name, of in expected.items()]
        pairs += zip(together.unstack(number).get_weights(), alone.get_weights(), strict=True)
        worst = max(worst, *(float(np.abs(np.asarray(a) - b).max()) for a, b in pairs))
    print(worst)
