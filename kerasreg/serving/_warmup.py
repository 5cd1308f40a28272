"""Warm-up requests: what TensorFlow Serving asks a model before it answers anyone.

A file of records, each a `tensorflow.serving.PredictionLog`. Its message types are in the package
tensorflow-serving-api, which needs a TensorFlow of its own beside the installed one: the few
fields that are used are described here, with the numbers of that package's `.proto` files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from kerasreg.serving._card import FOLDER

_FILE = "tf_serving_warmup_requests"
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_PACKAGE = "kerasreg.warmup"


def _field(message: Any, name: str, number: int, of: str | None = None) -> Any:
    label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    kind = _STRING if of is None else _MESSAGE
    return message.field.add(name=name, number=number, label=label, type=kind, type_name=of)


def _messages() -> Any:
    """The class of `PredictionLog`: names differ from TensorFlow Serving's, bytes do not."""
    file = descriptor_pb2.FileDescriptorProto(
        name="kerasreg/warmup.proto", package=_PACKAGE, syntax="proto3"
    )
    spec = file.message_type.add(name="ModelSpec")
    _field(spec, "name", 1)
    _field(spec, "signature_name", 3)
    request = file.message_type.add(name="PredictRequest")
    _field(request, "model_spec", 1, f".{_PACKAGE}.ModelSpec")
    # A map is a repeated message of key and value.
    inputs = _field(request, "inputs", 2, f".{_PACKAGE}.PredictRequest.InputsEntry")
    inputs.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    entry = request.nested_type.add(name="InputsEntry")
    entry.options.map_entry = True
    _field(entry, "key", 1)
    # A `TensorProto` as its bytes, which are the same on the way.
    _field(entry, "value", 2).type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
    log = file.message_type.add(name="PredictLog")
    _field(log, "request", 1, f".{_PACKAGE}.PredictRequest")
    prediction = file.message_type.add(name="PredictionLog")
    _field(prediction, "predict_log", 6, f".{_PACKAGE}.PredictLog")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog"))


def write_warmup(
    saved_model: str, name: str, requests: Mapping[str, Mapping[str, np.ndarray]]
) -> None:
    """Writes a request to each signature into a SavedModel.

    Args:
        saved_model: its folder.
        name: the name under which the model will be served.
        requests: by signature, the inputs by name.
    """
    folder = os.path.join(saved_model, FOLDER)
    os.makedirs(folder, exist_ok=True)
    prediction = _messages()
    with tf.io.TFRecordWriter(os.path.join(folder, _FILE)) as writer:
        for signature, inputs in requests.items():
            record = prediction()
            request = record.predict_log.request
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs.items():
                request.inputs[key] = tf.make_tensor_proto(value).SerializeToString()
            writer.write(record.SerializeToString())
