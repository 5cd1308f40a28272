"""What several tests of serving send."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def as_example():
    """From values by name to a serialised `tf.Example`: whole numbers are integers there."""

    def serialised(**values):
        features = {}
        for name, value in values.items():
            numbers = np.asarray(value)
            if numbers.dtype.kind == "i":
                content = {"int64_list": tf.train.Int64List(value=numbers.tolist())}
            else:
                content = {"float_list": tf.train.FloatList(value=numbers.tolist())}
            features[name] = tf.train.Feature(**content)
        message = tf.train.Features(feature=features)
        return tf.train.Example(features=message).SerializeToString()

    return serialised
