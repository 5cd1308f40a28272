"""A training that diverges is a failed trial, never a completed one."""

import keras
import keras_tuner
import numpy as np
import pytest

from kerasreg import hypermodels, tuners

pytestmark = pytest.mark.shares_programs


def classifier(learning_rate):
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(4, kernel_initializer="ones")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile(
        keras.optimizers.SGD(learning_rate),
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
    )
    return model


def table(samples=8):
    x = np.random.default_rng(0).normal(size=(samples, 2)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def test_a_finite_training_returns_its_history():
    history = hypermodels.fit(classifier(0.1), *table(), table(4), batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert "val_accuracy" in history.history


def test_a_loss_that_is_not_a_number_fails_the_trial():
    x, y = table()
    x[3, 1] = np.nan
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="diverged"):
        hypermodels.fit(classifier(0.1), x, y, table(4), batch_size=4, verbose=0)


def test_a_loss_that_overflows_fails_the_trial():
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="diverged"):
        hypermodels.fit(classifier(1e30), *table(), table(4), batch_size=4, epochs=2, verbose=0)


def test_weights_that_the_last_step_destroyed_fail_the_trial():
    # One step: its loss is computed before the update, and finite. Only the
    # validation sees the weights that are left.
    model = classifier(1e38)
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="diverged"):
        hypermodels.fit(model, *table(), table(4), batch_size=8, epochs=1, verbose=0)


class DivergesSometimes(hypermodels.DenseHyperModel):
    """Starts from weights that are not numbers in the named trials."""

    broken = ()
    trial = -1

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        self.trial += 1
        if self.trial in self.broken:
            output = model.get_layer("output")
            output.set_weights([np.full_like(one, np.nan) for one in output.get_weights()])
        return super().fit(hp, model, x, y, validation_data, **kwargs)


def test_one_diverged_trial_costs_itself_alone_and_is_not_tried_again(tmp_path, one_build):
    hypermodel = DivergesSometimes(
        features=2, classes=2, epochs=1, samples=8, widths=(2, 4), depths=(1, 1), seed=1
    )
    hypermodel.broken = {0}
    tuner = keras_tuner.RandomSearch(
        hypermodel,
        keras_tuner.Objective("val_accuracy", "max"),
        max_trials=2,
        max_retries_per_trial=1,
        seed=1,
        directory=tmp_path,
    )
    with pytest.warns(UserWarning, match=r"1 of 2 trials failed.*diverged"):
        completed = tuners.run_search(tuner, *table(), validation_data=table(4), verbose=0)
    assert [one.status for one in tuner.oracle.trials.values()] == ["FAILED", "COMPLETED"]
    assert [one.trial_id for one in completed] == ["1"]
    assert hypermodel.trial == 1
