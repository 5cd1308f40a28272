"""What makes two models one program: everything about them but the values of variables.

A model is walked object by object. What decides how it is traced becomes a
token: classes, numbers, functions with their code and what they close over, the
shapes and dtypes of variables. What is a value in a variable does not: weights,
slots, seeds, learning rates, strengths, rates, and the numbers that
`kerasreg.lanes._numbers` turns into such. Two models share a program if their
tokens are the same.

When in doubt, models differ: an object that cannot be looked into is equal to
itself alone.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import threading
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._keras.ignored_attributes import (
    KNOWN,
    global_names,
    is_bookkeeping,
    is_known,
    module_of,
)
from kerasreg.lanes._numbers import Number, liftable, plain_number

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


class Structure:
    """The tokens of a model, and what was met on the way.

    Args:
        model: a built and compiled Keras model.
        places: keep where each token was found, to explain a difference.

    Attributes:
        tokens: a tuple; equal for models that share a program.
        variables: every `keras.Variable` that was met, once, in order.
        numbers: every number that may differ between lanes though it is in no
            variable, in order.
        hyperparameters: the variables that hold hyperparameters of layers and
            penalties: those that a class names in `lane_hyperparameters`.
    """

    def __init__(self, model: keras.Model, places: bool = False) -> None:
        self._tokens: list[Any] = []
        self._places: list[str] | None = [] if places else None
        self._path: list[str] = []
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # The id of what is gone could be given again.
        self.variables: list[keras.Variable] = []
        self.numbers: list[Number] = []
        self.hyperparameters: list[keras.Variable] = []
        self._visit(model, "model")
        self._visit(getattr(model, "optimizer", None), "optimizer")
        for name, argument in _compile_arguments(model):
            self._visit(argument, f"compile({name})")
        self.tokens = tuple(self._tokens)

    def difference(self, other: Structure, contents: bool = True) -> str | None:
        """Where another structure first differs from this one, in words, or None."""
        for index, (mine, theirs) in enumerate(zip(self.tokens, other.tokens, strict=False)):
            if mine != theirs:
                place = self._places[index] if self._places else "the models"
                return f"{place}: {_words(mine)} against {_words(theirs)}" if contents else place
        if len(self.tokens) != len(other.tokens):
            return "one model has more parts than the other"
        return None

    def _token(self, *token: Any) -> None:
        self._tokens.append(token)
        if self._places is not None:
            self._places.append(".".join(self._path))

    def _visit(self, value: Any, place: str) -> None:
        self._path.append(place)
        try:
            self._visit_value(value)
        finally:
            self._path.pop()

    def _visit_value(self, value: Any) -> None:
        if isinstance(value, _PLAIN):
            # The type too: 1 == 1.0 == True. As text: NaN is not itself.
            self._token(type(value).__name__, repr(value))
            return
        if id(value) in self._met:
            self._token("again", self._met[id(value)])
            return
        self._met[id(value)] = len(self._met)
        self._alive.append(value)
        if isinstance(value, keras.Variable):
            self._visit_variable(value)
        elif isinstance(value, keras.KerasTensor):
            self._token("tensor", tuple(value.shape), str(value.dtype))
        elif isinstance(value, (np.ndarray, np.generic)) or ops.is_tensor(value):
            array = np.asarray(ops.convert_to_numpy(value) if ops.is_tensor(value) else value)
            contents = repr(array.tolist()) if array.dtype == object else array.tobytes()
            digest = hashlib.sha256(contents if isinstance(contents, bytes) else contents.encode())
            self._token("array", array.shape, str(array.dtype), digest.hexdigest())
        elif isinstance(value, keras.initializers.Initializer):
            # Has done its work, or will for each lane by itself.
            self._token("initializer")
        elif isinstance(value, dict):
            self._token("dict", len(value))
            for key, item in value.items():
                self._visit(key, "key")
                self._visit(item, str(key))
        elif isinstance(value, (list, tuple)):
            self._token("list", len(value))
            for index, item in enumerate(value):
                self._visit(item, str(index))
        elif isinstance(value, (set, frozenset)):
            plain = all(isinstance(item, _PLAIN) for item in value)
            self._token("set", tuple(sorted(map(repr, value))) if plain else id(value))
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, types.ModuleType):
            self._token("module", value.__name__)
        elif isinstance(value, functools.partial):
            self._token("partial")
            for name in ("func", "args", "keywords"):
                self._visit(getattr(value, name), name)
        elif isinstance(value, types.MethodType):
            self._token("method")
            self._visit(value.__func__, "function")
            self._visit(value.__self__, "self")
        elif isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            self._token("builtin", getattr(value, "__module__", None), value.__name__)
        elif isinstance(value, (inspect.Signature, threading.local)):
            self._token(type(value).__name__)
        else:
            self._visit_object(value)

    def _visit_variable(self, variable: keras.Variable) -> None:
        self.variables.append(variable)
        self._token(
            "variable", tuple(variable.shape), str(variable._dtype), bool(variable.trainable)
        )
        self._visit(variable.regularizer, "regularizer")
        self._visit(variable.constraint, "constraint")

    def _visit_function(self, function: types.FunctionType) -> None:
        if is_known(function):
            self._token("function", function.__module__, function.__qualname__)
            return
        self._visit_code(function.__code__)
        self._visit(function.__defaults__, "defaults")
        self._visit(function.__kwdefaults__, "keyword defaults")
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                contents = cell.cell_contents
            except ValueError:  # Not bound yet.
                contents = None
            self._visit(contents, f"{function.__name__}<closure {name}>")
        for name in global_names(function.__code__):
            if name in function.__globals__:
                self._visit(function.__globals__[name], f"{function.__name__}<global {name}>")

    def _visit_code(self, code: types.CodeType) -> None:
        constants = [item for item in code.co_consts if not isinstance(item, types.CodeType)]
        self._token("code", code.co_code, repr(constants), code.co_names, code.co_varnames)
        for item in code.co_consts:
            if isinstance(item, types.CodeType):
                self._visit_code(item)

    def _visit_class(self, kind: type) -> None:
        if module_of(kind) in KNOWN:
            self._token("class", kind.__module__, kind.__qualname__)
            return
        # The user's: of two classes with the same code, each in its own closure,
        # the instances do the same.
        self._token("class", kind.__qualname__)
        for base in kind.__bases__:
            self._visit(base, "base")
        for name, item in vars(kind).items():
            if name.startswith("__") and not isinstance(item, types.FunctionType):
                continue
            if isinstance(item, (staticmethod, classmethod)):
                item = item.__func__
            if isinstance(item, property):
                item = (item.fget, item.fset)
            if not isinstance(item, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                self._visit(item, name)

    def _visit_object(self, value: Any) -> None:
        kind = type(value)
        self._visit(kind, f"<{kind.__name__}>")
        attributes = getattr(value, "__dict__", None)
        if attributes is None:
            slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
            if not slots:
                self._token("opaque", id(value))
                return
            attributes = {name: getattr(value, name, None) for name in slots}
        names = liftable(value)
        for name in getattr(kind, "lane_hyperparameters", ()):
            self.hyperparameters.append(getattr(value, name))
        for name, item in attributes.items():
            if name in names and (number := plain_number(item)) is not None:
                self.numbers.append(Number(value, name, number, item))
                # Whether there is such a number at all may decide what is built.
                self._token("number", name, number == 0 and name != "seed")
            elif not is_bookkeeping(value, name, item):
                self._token("attribute", name)
                self._visit(item, name)
        # A sequential model is the functional one that it builds.
        functional = getattr(value, "_functional", value)
        if isinstance(functional, keras.Model) and hasattr(functional, "_nodes_by_depth"):
            self._visit_nodes(functional)
        elif isinstance(value, keras.Layer):
            self._visit(getattr(value, "_layers", None), "layers")

    def _visit_nodes(self, model: keras.Model) -> None:
        """The graph of a functional model: which operation is called with what, in order."""
        self._visit(model._inputs_struct, "inputs")
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                self._visit(node.operation, node.operation.name)
                self._visit(node.arguments.args, f"{node.operation.name}(args)")
                self._visit(node.arguments.kwargs, f"{node.operation.name}(kwargs)")
                self._visit(list(node.outputs), f"{node.operation.name}(outputs)")
        self._visit(model._outputs_struct, "outputs")
        names = list(getattr(model, "output_names", ()))
        if len(names) > 1:  # Losses may be given by name.
            self._visit(names, "output names")


def _compile_arguments(model: keras.Model) -> Iterator[tuple[str, Any]]:
    config = getattr(getattr(model, "_compile_config", None), "config", {})
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        yield name, config.get(name)


def _words(token: tuple[Any, ...]) -> str:
    return " ".join(part if isinstance(part, str) else repr(part) for part in token)[:120]
