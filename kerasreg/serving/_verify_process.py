"""Runs a SavedModel with TensorFlow alone. A script for a process of its own.

Usage: python _verify_process.py SAVED_MODEL INPUTS.npz OUTPUTS.npz

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
    specs = signature.structured_input_signature[1]
    with np.load(inputs) as given:
        features = {name: tf.constant(given[name], spec.dtype) for name, spec in specs.items()}
    result = signature(**features)
    np.savez(outputs, **{name: values.numpy() for name, values in result.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
