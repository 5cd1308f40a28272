"""Runs a SavedModel with TensorFlow alone. A script for a process of its own.

Usage: python _verify_process.py SAVED_MODEL INPUTS.npy OUTPUTS.npy

It imports no kerasreg (it is run by its path, not as a module) and no Keras, and
fails when either was imported all the same: what it shows is that the SavedModel
needs neither.
"""

import sys

import numpy as np
import tensorflow as tf


def main(saved_model: str, inputs: str, outputs: str) -> None:
    model = tf.saved_model.load(saved_model)
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    dtype = signature.structured_input_signature[1][name].dtype
    result = signature(**{name: tf.constant(np.load(inputs), dtype)})
    (values,) = result.values()
    imported = sorted({"keras", "kerasreg"} & {module.split(".")[0] for module in sys.modules})
    if imported:
        raise SystemExit(f"imported in the verifying process: {', '.join(imported)}")
    np.save(outputs, values.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
