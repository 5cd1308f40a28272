"""KServe's server for `benchmarks/serving.py`: run by the Python of an environment that has it.

Usage: python benchmarks/kserve_server.py VERSION_FOLDER NAME PORT
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kserve
import numpy as np
import tensorflow as tf


class SavedModel(kserve.Model):
    """A predictor as KServe's guide to custom models has it."""

    def __init__(self, name, path):
        super().__init__(name)
        self.loaded = tf.saved_model.load(path)
        self.signature = self.loaded.signatures["serving_default"]
        (self.input,) = self.signature.structured_input_signature[1]
        self.ready = True

    def predict(self, payload, headers=None):
        """Rows to rows."""
        rows = tf.constant(np.asarray(payload["instances"], "float32"))
        (found,) = self.signature(**{self.input: rows}).values()
        return {"predictions": found.numpy().tolist()}


if __name__ == "__main__":
    path, name, port = sys.argv[1:]
    model = SavedModel(name, path)
    server = kserve.ModelServer(
        http_port=int(port), enable_grpc=False, workers=1, access_log_format=None
    )
    server.start([model])
