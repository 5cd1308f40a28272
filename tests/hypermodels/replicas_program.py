"""What `test_hypermodel_replicas.py` runs in a process of its own, on two replicas.

Usage: python replicas_program.py searches|evaluation FOLDER

The last line that it prints is a JSON object.
"""

import json
import os
import sys


def table(classes, samples, seed):
    import numpy as np

    x = np.random.default_rng(seed).normal(size=(samples, 3)).astype("float32")
    target = x[:, 0] + x[:, 1]
    return x, (target.astype("float32") if classes is None else (target > 0).astype("int32"))


def hypermodel(classes):
    from kerasreg import hypermodels

    return hypermodels.DenseHyperModel(
        features=3, classes=classes, epochs=2, samples=33, widths=(4, 8), depths=(1, 2), seed=1
    )


def searches(strategy, folder):
    """Each of KerasTuner's tuners, on two replicas."""
    import keras_tuner

    from kerasreg import tuners

    runs = {
        "random": (keras_tuner.RandomSearch, 2, {"max_trials": 2}),
        "bayesian": (
            keras_tuner.BayesianOptimization,
            2,
            {"max_trials": 2, "num_initial_points": 1},
        ),
        "grid": (keras_tuner.GridSearch, 2, {"max_trials": 2}),
        "hyperband": (keras_tuner.Hyperband, 2, {"max_epochs": 2, "factor": 2}),
        "regression": (keras_tuner.RandomSearch, None, {"max_trials": 1}),
    }
    found = {}
    for name, (cls, classes, arguments) in runs.items():
        objective = ("val_rmse", "min") if classes is None else ("val_accuracy", "max")
        tuner = cls(
            hypermodel(classes),
            keras_tuner.Objective(*objective),
            seed=1,
            directory=folder,
            project_name=name,
            distribution_strategy=strategy,
            **arguments,
        )
        completed = tuners.run_search(
            tuner, *table(classes, 33, 0), validation_data=table(classes, 17, 1), verbose=0
        )
        found[name] = {
            "statuses": [one.status for one in tuner.oracle.trials.values()],
            "completed": len(completed),
            "best": float(completed[0].score),
            "learning_rate": [one.metrics.exists("learning_rate") for one in completed],
        }
    return found


def evaluation(strategy, folder):
    """Trained on two replicas: what Keras says of padded batches, and the exact values."""
    import keras
    import keras_tuner
    import numpy as np

    from kerasreg import distribute

    values = {
        "classification": {"penalty": "l2", "penalty_strength": 0.01},
        "regression": {"penalty": "elastic_net", "penalty_strength": 0.01, "penalty_alpha": 0.5},
    }
    found = []
    for task, setting in values.items():
        classes = 2 if task == "classification" else None
        hp = keras_tuner.HyperParameters()
        hp.values = {"batch_size": 8, "dropout": "constant", "dropout_rate": 0.3, **setting}
        model = hypermodel(classes)
        with strategy.scope():
            built = model.build(hp)
        x, y = table(classes, 33, 0)
        validation = table(classes, 17, 1)
        history = model.fit(hp, built, x, y, validation_data=validation).history
        single = keras.models.clone_model(built)  # Outside the scope: one device.
        single.set_weights(built.get_weights())
        for samples in (2, 3, 7, 8, 17):
            one_x, one_y = validation[0][:samples], validation[1][:samples]
            logs = built.evaluate(
                distribute.evaluation_batches(one_x, one_y, 8, replicas=2),
                return_dict=True,
                verbose=0,
            )
            outputs = np.asarray(single(one_x)).astype("float64")
            single_penalty = sum(float(loss) for loss in single.losses)
            if classes:
                metric = "accuracy"
                loss = -np.mean(np.log(outputs[np.arange(samples), one_y]))
                exact = np.mean(outputs.argmax(axis=1) == one_y)
            else:
                metric = "rmse"
                loss = np.mean((outputs[:, 0] - one_y) ** 2)
                exact = np.sqrt(loss)
            found.append(
                {
                    "task": task,
                    "samples": samples,
                    "penalty": single_penalty,
                    "loss": [logs["loss"], loss + single_penalty],
                    "metric": [logs[metric], exact],
                }
            )
            if samples == 17:  # The validation of the last epoch.
                found[-1]["val_loss"] = history["val_loss"][-1]
                found[-1]["val_metric"] = history[f"val_{metric}"][-1]
                found[-1]["learning_rate"] = history["learning_rate"]
                iterations = keras.ops.convert_to_numpy(built.optimizer.iterations)
                found[-1]["iterations"] = int(iterations)
    return found


def main(what, folder):
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # Two logical CPU devices, also beside GPUs.
    from kerasreg import distribute

    strategy = distribute.mirrored_strategy(2)
    assert strategy.num_replicas_in_sync == 2
    found = {"searches": searches, "evaluation": evaluation}[what](strategy, folder)
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(*sys.argv[1:])
