"""Runs a SavedModel with TensorFlow alone. A script for a process of its own.

Usage: python _verify_process.py SAVED_MODEL INPUTS.npy OUTPUTS.npy

Neither Keras nor kerasreg can be imported in this process: what it shows is that
the SavedModel needs neither. It is run by its path, not as a module.
"""

import sys


def main(saved_model: str, inputs: str, outputs: str) -> None:
    """Writes the outputs of the signature `serving_default` for the inputs."""
    # `import tensorflow` imports Keras where it finds it. None makes every import
    # of these names fail, here and in TensorFlow, which does without.
    for name in ("keras", "tf_keras", "kerasreg"):
        sys.modules[name] = None  # type: ignore[assignment]
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    signature = model.signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()
    result = signature(**{name: tf.constant(np.load(inputs), spec.dtype)})
    (values,) = result.values()
    np.save(outputs, values.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
