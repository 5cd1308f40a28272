"""From PyTorch, timm and fastai: a training recipe of theirs, with a model of Keras' own layers.

AdamW that does not decay biases and norms, label smoothing, one cycle of the learning rate with
momentum the other way, stochastic depth that grows with the depth, gradients that are clipped,
an average of the weights, and smaller learning rates in earlier layers. In the comments is what
stood there in PyTorch. Run: python examples/from_pytorch.py [--epochs=12]
"""

import argparse

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kerasreg

BATCH_SIZE, DEPTH = 32, 4


# [network]
def network(drop_path):
    """A residual network; `timm.layers.DropPath(rate)` in each block."""
    inputs = keras.Input((64,))
    x = keras.layers.Dense(64, name="stem")(inputs)
    # timm: torch.linspace(0, drop_path, DEPTH), whose first rate is 0.
    rates = [0.0, *kerasreg.schedules.linear_depth(drop_path, depth=DEPTH - 1)]
    for block, rate in enumerate(rates):
        branch = keras.layers.LayerNormalization(name=f"block_{block}_norm")(x)
        branch = keras.layers.Dense(128, "gelu", name=f"block_{block}_in")(branch)
        branch = keras.layers.Dense(64, name=f"block_{block}_out")(branch)
        x = kerasreg.layers.ScheduledStochasticDepth(rate, name=f"block_{block}_path")([x, branch])
    return keras.Model(inputs, keras.layers.Dense(10, name="head")(x))


# [end]


# [optimizer]
def optimizer(learning_rate):
    # torch.optim.AdamW([{"params": decayed}, {"params": biases_and_norms, "weight_decay": 0}],
    #                   lr=..., weight_decay=0.05): PyTorch's decay is times the learning rate.
    adam = keras.optimizers.Adam(
        learning_rate,
        global_clipnorm=1.0,  # torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        use_ema=True,  # timm.utils.ModelEmaV3(model, decay=0.99)
        ema_momentum=0.99,
    )
    decayed = kerasreg.optimizers.DecoupledWeightDecay(
        adam, 0.05, exclude=["bias", "gamma", "beta"]
    )
    # fastai: Learner.fit_one_cycle(n, slice(lr / 10, lr)), with the stem in the first group.
    return kerasreg.optimizers.LayerLearningRates(decayed, {"stem": 0.1})


# [end]


def one_cycle_of_pytorch(peak, total_steps, pct_start=0.3):
    """`torch.optim.lr_scheduler.OneCycleLR(max_lr=peak, total_steps=total_steps)`."""
    # [one cycle]
    last = total_steps - 1
    return kerasreg.schedules.OneCycle(peak, last, pct_start=(pct_start * total_steps - 1) / last)
    # [end]


def main(argv=None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    epochs = parser.parse_args(argv).epochs
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (x / 16).astype("float32"), y, test_size=0.25, random_state=0, stratify=y
    )
    steps = epochs * -(-len(x) // BATCH_SIZE)
    schedule = one_cycle_of_pytorch(1e-2, steps)
    places = [0, round(0.3 * steps) - 1, steps - 1]
    print("learning rate at the first step, at the top and at the last:", end=" ")
    print(" ".join(f"{float(schedule(step)):.1e}" for step in places))
    model = network(drop_path=0.1)
    # [train]
    # torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    loss = kerasreg.losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(optimizer(schedule), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    # [end]
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"test accuracy {accuracy:.3f} with the averaged weights, loss {loss:.3f}")
    # One step without gradients: what decays, and what does not.
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    zeros = [keras.ops.zeros_like(variable) for variable in model.trainable_variables]
    step = optimizer(1.0)
    step.apply(zeros, model.trainable_variables)
    kept = {
        variable.name
        for variable, value in zip(model.trainable_variables, before, strict=True)
        if (keras.ops.convert_to_numpy(variable) == value).all()
    }
    print("not decayed:", *sorted(kept))
    return {"accuracy": accuracy, "one_cycle_of_pytorch": one_cycle_of_pytorch, "not decayed": kept}


if __name__ == "__main__":
    main()
