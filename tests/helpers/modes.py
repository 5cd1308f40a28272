"""Modes of execution."""

import tensorflow as tf

MODES = ["eager", "graph", "XLA"]


def in_mode(call, mode, **options):
    """A function as it is, as a graph, or compiled by XLA."""
    return call if mode == "eager" else tf.function(call, jit_compile=mode == "XLA", **options)
