"""Which callbacks do something before or after single batches."""

from __future__ import annotations

import keras

_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
}


def has_batch_hooks(callback: keras.callbacks.Callback, kind: str) -> bool:
    """Whether a callback does something before or after single batches.

    A callback that has hooks for batches of training, but not always acts in
    them, says so by an attribute `batch_hooks`.

    Args:
        callback: a Keras callback.
        kind: batches of what: `"train"` or `"test"`.
    """
    if kind == "train":
        declared = getattr(callback, "batch_hooks", None)
        if declared is not None:
            return bool(declared)
        # Stops at the epoch's end here; a lane that diverged harms no other.
        if isinstance(callback, keras.callbacks.TerminateOnNaN):
            return False
        # These have hooks for batches and, as they are by default, no use for them.
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            return bool(callback.save_freq != "epoch")
        if isinstance(callback, keras.callbacks.TensorBoard):
            of_epochs = callback.update_freq == "epoch" and not callback.write_steps_per_second
            return not (of_epochs and callback._start_batch == callback._stop_batch == 0)
    return any(
        # In its class, or, as those of a `LambdaCallback`, in the object.
        name in vars(callback)
        or getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
        for name in _HOOKS[kind]
    )
