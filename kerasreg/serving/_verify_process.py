"""Runs SavedModels with TensorFlow alone. A script for a process of its own.

Reads requests from its standard input, each a line of JSON: the paths of a SavedModel, of an .npz
file of inputs, and of the .npz file of outputs that is to be written. Answers each with a line of
JSON: null, or the last line of the error. The process ends with its input.

Neither Keras nor kerasreg can be imported in this process: what it shows is that
a SavedModel needs neither. It is run by its path, not as a module.
"""

import gc
import json
import os
import sys
import traceback


def run(saved_model: str, inputs: str, outputs: str) -> None:
    """Writes the outputs of the signature `serving_default` for the inputs."""
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    signature = model.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    with np.load(inputs) as given:
        features = {name: tf.constant(given[name], spec.dtype) for name, spec in specs.items()}
    result = signature(**features)
    np.savez(outputs, **{name: values.numpy() for name, values in result.items()})


def main() -> None:
    """Answers requests until there are no more."""
    # `import tensorflow` imports Keras where it finds it. None makes every import
    # of these names fail, here and in TensorFlow, which does without.
    for name in ("keras", "tf_keras", "kerasreg"):
        sys.modules[name] = None  # type: ignore[assignment]
    # Answers have the output to themselves: what a library prints goes to the errors.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for request in sys.stdin:
            problem = None
            try:
                run(*json.loads(request))
            except Exception as error:
                lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
                problem = lines[-1]
            gc.collect()  # A model refers to itself, and the next one may need its memory.
            answers.write(json.dumps(problem) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
