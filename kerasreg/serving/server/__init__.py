"""A development server for exported models, with TensorFlow Serving's REST interface."""

from kerasreg.serving.server._serve import serve

__all__ = ["serve"]
