"""Runs SavedModels with TensorFlow alone. A script for a process of its own.

Reads requests from its standard input, each a line of JSON: the paths of a SavedModel, of a file of
inputs, and of the file of outputs that is to be written, see `write_tensors`. Answers each with a
line of JSON: null, or the last line of the error. The process ends with its input.

Neither Keras nor kerasreg can be imported in this process: what it shows is that
a SavedModel needs neither. It is run by its path, not as a module.
"""

import gc
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any


def write_tensors(path: str, tensors: Mapping[str, Any]) -> None:
    """Writes tensors by name, of any type of TensorFlow and with any name, to an .npz file."""
    import numpy as np
    import tensorflow as tf

    values = {name: tf.convert_to_tensor(value) for name, value in tensors.items()}
    header = json.dumps([[name, value.dtype.name] for name, value in values.items()]).encode()
    parts = [header, *(tf.io.serialize_tensor(value).numpy() for value in values.values())]
    # By numbers: a name may be one of `savez`.
    np.savez(path, *(np.frombuffer(part, "uint8") for part in parts))


def read_tensors(path: str) -> dict[str, Any]:
    """The tensors by name that `write_tensors` has written."""
    import numpy as np
    import tensorflow as tf

    with np.load(path) as file:
        header, *parts = (file[f"arr_{number}"].tobytes() for number in range(len(file.files)))
    return {
        name: tf.io.parse_tensor(part, dtype)
        for (name, dtype), part in zip(json.loads(header), parts, strict=True)
    }


def run(saved_model: str, inputs: str, outputs: str) -> None:
    """Writes the outputs of the signature `serving_default` for the inputs."""
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    signature = model.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    given = read_tensors(inputs)
    # An argument is called by letters; its spec has the name of the input.
    features = {key: tf.cast(given[spec.name], spec.dtype) for key, spec in specs.items()}
    write_tensors(outputs, signature(**features))


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
