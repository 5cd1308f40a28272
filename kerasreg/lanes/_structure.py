"""Which models share a program: those that differ in nothing but the values of variables.

`ModelStructure` walks a model object by object. It makes a token of all that decides
how the model is traced: classes, numbers, functions with their code and their
closures, shapes and dtypes of variables. Values of variables make no token: weights,
slots, seeds, learning rates, strengths, rates, and the numbers that
`kerasreg.lanes._scalars` finds. Models share a program if their tokens are equal.

In doubt, models differ: an object that cannot be looked into equals only itself.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import itertools
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerasreg._devices import strategy_name
from kerasreg._keras.ignored_attributes import (
    KNOWN,
    global_names,
    is_bookkeeping,
    is_known,
    module_of,
)
from kerasreg._keras.internals import (
    compile_arguments,
    functional_of,
    graph_nodes,
    inner_layers,
    input_structure,
    learning_rate_of,
    loss_weights,
    output_structure,
    tracked_dictionary,
    trainer_attributes,
)
from kerasreg._keras.missing_generators import ATTRIBUTES, draws, generator_of
from kerasreg._keras.names_of_variables import names_in_model
from kerasreg._keras.outer_optimizer import OuterOptimizer
from kerasreg._keras.own_steps import own_steps, steps_are_enough, why_no_step
from kerasreg._keras.stateless_optimizer import decaying, inner_optimizers
from kerasreg.lanes._activations import ActivationSite, is_choosable
from kerasreg.lanes._scalars import (
    Scalar,
    Tried,
    findings,
    is_tried,
    known_numbers,
    may_be_tried,
    plain_number,
    sides,
)

# Types of plain values, as their tokens begin.
_VALUES = ("bool", "int", "float", "str")
_DICTIONARIES = (dict, tracked_dictionary())
_RECURRENT = "recurrent_dropout"
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


class Itself:
    """A part of a token that equals only the part of the same object, and keeps the object alive.

    Args:
        value: the object.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"<a {type(self.value).__name__}>"


class Difference(NamedTuple):
    """The first place at which two structures differ.

    Attributes:
        place: the place in the model, such as `"model.dense.units"`.
        contents: what the two structures have there, in words; empty where one of them has
            nothing more.
    """

    place: str
    contents: tuple[str, ...] = ()


class Outline(NamedTuple):
    """The tokens of a structure, and where in the model each was found.

    Attributes:
        tokens: as `ModelStructure.tokens`.
        places: the place of each token; None if they were not kept.
    """

    tokens: tuple[Any, ...]
    places: tuple[str, ...] | None

    def difference(self, other: Outline) -> Difference | None:
        """Where this outline and another one differ; None if they do not.

        That is the first place, or, as far as the places of both are the same, the first one
        with a plain value in an attribute that is not private: `units`, and not the shape of a
        kernel that follows from it.

        Args:
            other: another outline.
        """
        first: Difference | None = None
        for index, (mine, theirs) in enumerate(zip(self.tokens, other.tokens, strict=False)):
            if mine == theirs:
                continue
            place = self.places[index] if self.places else "the models"
            found = Difference(place, (_words(mine), _words(theirs)))
            first = first or found
            if self.places is None or other.places is None or place != other.places[index]:
                break
            if mine[0] == theirs[0] in _VALUES and not any(
                part.startswith("_") for part in place.split(".")
            ):
                return found
        if first is None and len(self.tokens) != len(other.tokens):
            return Difference("one model has more parts than the other")
        return first


class ModelStructure:
    """The structure of a model: all that decides how a program of the model is traced.

    Two models share a program exactly if their `tokens` are equal. Then one of
    them can be a lane of the other's `kerasreg.lanes.Lanes`. The values of
    variables, such as weights, learning rates and seeds, are no part of it.

    Args:
        model: a built and compiled Keras model.
        places: whether to keep where in the model each token was found, so that
            `difference` can name the place.

    Attributes:
        tokens: a tuple that can be compared and hashed.
        variables: each `keras.Variable` of the model once, in a fixed order.
        scalars: the numbers in no variable that may differ between lanes, such as
            the `momentum` of an optimizer, in a fixed order.
        hyperparameters: the variables of the rates of layers and the strengths
            of penalties.
        activations: the places where one of Keras' activations stands, in a fixed order.
        generators: those of `variables` that a model may lack, since a rate of it is zero.

    Example:

    >>> import keras, kerasreg
    >>> def model(units, learning_rate):
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    ...     model.compile(keras.optimizers.SGD(learning_rate), "mse")
    ...     return model
    >>> structure = kerasreg.lanes.ModelStructure(model(4, 0.1))
    >>> structure.tokens == kerasreg.lanes.ModelStructure(model(4, 0.5)).tokens
    True
    >>> structure.tokens == kerasreg.lanes.ModelStructure(model(8, 0.1)).tokens
    False
    """

    def __init__(self, model: keras.Model, places: bool = False) -> None:
        self._tokens: list[Any] = []
        self._places: list[str] | None = [] if places else None
        self._operations = 0  # So many operations hold what is visited.
        self._counts: list[int] = []  # The tokens of whole numbers that operations hold.
        self._path: list[str] = []
        self._findings = [findings()]  # Shared by structures that differ in scalars alone.
        self._outermost = functional_of(model)
        dtypes = [str(variable.dtype) for variable in getattr(model, "trainable_variables", ())]
        self._half = "float16" in dtypes
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # The id of what is gone could be given again.
        self.variables: list[keras.Variable] = []
        self.scalars: list[Scalar] = []
        self.hyperparameters: list[keras.Variable] = []
        self.activations: list[ActivationSite] = []
        self.generators: list[keras.Variable] = []
        self._visit(model, "model")
        self._visit(getattr(model, "optimizer", None), "optimizer")
        self._visit_decisions(model)
        given = compile_arguments(model)
        for name in ("loss", "metrics", "weighted_metrics"):
            self._visit(given.get(name), f"compile({name})")
        self._visit_loss_weights(model, given.get("loss_weights"))
        self.tokens = tuple(self._tokens)
        self._of_operations = frozenset(self._counts)
        optimizer = getattr(model, "optimizer", None)
        found = [] if optimizer is None else map(learning_rate_of, inner_optimizers(optimizer))
        # A schedule in the place of a learning rate has scalars, and no variable.
        self._rates = [rate for rate in found if isinstance(rate, keras.Variable)]

    def difference(self, other: ModelStructure, contents: bool = True) -> str | None:
        """Names a difference between this structure and another one.

        Args:
            other: another structure.
            contents: whether to say what the two structures have at that place.

        Returns:
            The place and the two contents in words; None if the structures are
            equal. A structure that kept no places says "the models".

        Example:

        >>> import keras, kerasreg
        >>> def model(activation):
        ...     dense = keras.layers.Dense(2, activation, name="dense")
        ...     model = keras.Sequential([keras.Input((3,)), dense])
        ...     model.compile("sgd", "mse")
        ...     return kerasreg.lanes.ModelStructure(model, places=True)
        >>> model("relu").difference(model("tanh"), contents=False)
        'model.dense.activation'
        """
        found = self.outline().difference(other.outline())
        if found is None or not found.contents or not contents:
            return None if found is None else found.place
        return f"{found.place}: {' against '.join(found.contents)}"

    def outline(self) -> Outline:
        """The tokens of the structure and their places, which keep no model alive.

        Returns:
            What `Outline.difference` compares.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> structure = kerasreg.lanes.ModelStructure(model)
        >>> structure.outline().tokens is structure.tokens
        True
        """
        return Outline(self.tokens, None if self._places is None else tuple(self._places))

    @functools.cached_property
    def unsized_tokens(self) -> tuple[Any, ...]:
        """The tokens without sizes and activations.

        Sizes are lengths of axes, and whole numbers from 2 that operations hold. Models with equal
        ones may be lanes of a model that is wider than each of them.
        """
        return tuple(
            _unsized(token, index in self._of_operations) for index, token in enumerate(self.tokens)
        )

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that `unsized_tokens` leaves out, in their order."""
        found: list[int] = []
        for index, (token, without) in enumerate(
            zip(self.tokens, self.unsized_tokens, strict=True)
        ):
            if index in self._of_operations:
                found.append(int(token[1]))
            elif token is not without and token[0] != "activation":
                found += [length for length in token[1] if length is not None]
        return tuple(found)

    def is_as_wide_as(self, other: ModelStructure) -> bool:
        """Whether the model is like another one, but that it may have more.

        Sizes may be larger, and of several activations one may be chosen, as
        `kerasreg.lanes.merge_activations` makes it.

        Args:
            other: the structure of the other model.

        Example:

        >>> import keras, kerasreg
        >>> def structure(units):
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
        ...     model.compile("sgd", "mse")
        ...     return kerasreg.lanes.ModelStructure(model)
        >>> structure(4).is_as_wide_as(structure(2)), structure(2).is_as_wide_as(structure(4))
        (True, False)
        """
        if self.unsized_tokens != other.unsized_tokens:
            return False
        sites = zip(self.activations, other.activations, strict=True)
        if not all(set(mine.names) >= set(its.names) for mine, its in sites):
            return False
        return all(mine >= its for mine, its in zip(self.sizes, other.sizes, strict=True))

    def with_scalars(self, scalars: Sequence[Scalar]) -> ModelStructure:
        """The structure of a model that differs in the values of scalars."""
        found = copy.copy(self)
        found.scalars = list(scalars)
        return found

    def is_current(self, model: keras.Model) -> bool:
        """Whether the model has this structure by all that is known of its numbers by now.

        Args:
            model: the model that the structure was found for, as it was then.

        Returns:
            False if a number of it was found to decide what is computed.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> kerasreg.lanes.ModelStructure(model).is_current(model)
        True
        """
        if self._findings[0] != findings():
            if ModelStructure(model).tokens != self.tokens:
                return False
            self._findings[0] = findings()
        return True

    def numbers(self) -> tuple[Any, ...]:
        """The numbers by which lanes of the structure differ, but for weights and slots.

        Returns:
            The values of `scalars`, of `hyperparameters`, and of the learning rates, in a fixed
            order.

        Example:

        >>> import keras, kerasreg
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(keras.optimizers.SGD(0.5, momentum=0.25), "mse")
        >>> {0.25, 0.5} <= set(kerasreg.lanes.ModelStructure(model).numbers())
        True
        """
        variables = [*self.hyperparameters, *self._rates]
        return (
            *(scalar.value for scalar in self.scalars),
            *(float(ops.convert_to_numpy(variable)) for variable in variables),
        )

    def _token(self, *token: Any) -> None:
        self._tokens.append(token)
        if self._places is not None:
            # Models of one kind have the same places, and their outlines share them.
            self._places.append(sys.intern(".".join(self._path)))

    def _visit(self, value: Any, place: str) -> None:
        self._path.append(place)
        try:
            self._visit_value(value)
        finally:
            self._path.pop()

    def _visit_value(self, value: Any) -> None:
        if isinstance(value, _PLAIN):
            # The type too: 1 == 1.0 == True. As text: NaN is not itself.
            # A subclass of float, as NumPy's, is a number like others.
            if isinstance(value, float):
                self._token("float", repr(float(value)))
            else:
                if type(value) is int and self._operations:
                    self._counts.append(len(self._tokens))
                self._token(type(value).__name__, repr(value))
            return
        if id(value) in self._met:
            self._token("again", self._met[id(value)])
            return
        self._remember(value)
        tokens, variables, met = len(self._tokens), len(self.variables), len(self._met)
        try:
            self._visit_contents(value)
        except Exception:
            # What cannot be looked into equals only itself, if no state would be lost by that.
            if issubclass(type(value), keras.Layer) or len(self.variables) > variables:
                raise
            del self._tokens[tokens:]
            self._counts = [index for index in self._counts if index < tokens]
            if self._places is not None:
                del self._places[tokens:]
            self._met = dict(itertools.islice(self._met.items(), met))
            self._token("opaque", Itself(value))

    def _visit_contents(self, value: Any) -> None:
        if isinstance(value, keras.Variable):
            self._visit_variable(value)
        elif isinstance(value, keras.KerasTensor):
            self._token("tensor", tuple(value.shape), str(value.dtype))
        elif isinstance(value, (np.ndarray, np.generic)) or ops.is_tensor(value):
            self._visit_array(value)
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
        elif isinstance(value, slice):
            self._token("slice")
            for name in ("start", "stop", "step"):
                self._visit(getattr(value, name), name)
        elif isinstance(value, (set, frozenset)):
            plain = all(isinstance(item, _PLAIN) for item in value)
            self._token("set", tuple(sorted(map(repr, value))) if plain else Itself(value))
        elif isinstance(value, type):
            self._visit_class(value)
        elif isinstance(value, types.ModuleType):
            self._token("module", value.__name__)
        elif isinstance(value, functools.partial):
            self._token("partial", len(value.args), tuple(value.keywords))
            self._visit(value.func, "func")
            tried = _code_of(value.func)
            for index, item in enumerate(value.args):
                self._visit_argument(value, "args", item, tried, f"argument {index}", index)
            for name, item in value.keywords.items():
                self._visit_argument(value.keywords, name, item, tried, name)
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

    def _try_number(
        self,
        owner: Any,
        name: str,
        item: Any,
        kind: type,
        index: int | None = None,
        fades: bool = False,
    ) -> None:
        number = plain_number(item)
        assert number is not None  # It is one.
        self.scalars.append(Scalar(owner, name, number, kind, index, fades))
        self._token("number", name, sides(self.scalars[-1]))

    def _remember(self, value: Any) -> None:
        self._met[id(value)] = len(self._met)
        self._alive.append(value)

    def _is_known(self, value: Any) -> bool:
        return id(value) in self._met

    def _visit_numbers(self, values: Any, name: str, owner: Any) -> None:
        """A list or tuple of numbers of an object, as numbers that are its attributes."""
        self._remember(values)
        self._token("list", len(values))
        kind = type(owner)
        fades = draws(kind)
        for index, item in enumerate(values):
            # Of a range that begins or ends with zero, Keras makes a whole number of it.
            if is_tried(owner, name, float(item) if fades else item, kind):
                self._try_number(owner, name, item, kind, index, fades=fades)
            else:
                self._visit(item, f"{name}.{index}")

    def _visit_dictionary(self, value: dict[Any, Any], place: str, owner: Any) -> None:
        """A dictionary of an object, whose numbers are as those that are attributes."""
        kind = type(owner)
        numbers = [key for key, item in value.items() if is_tried(owner, key, item, kind)]
        if not numbers or self._is_known(value):
            self._visit(value, place)
            return
        self._remember(value)
        self._path.append(place)
        self._token("dict", len(value))
        for key, item in value.items():
            self._visit(key, "key")
            if key in numbers:
                self._try_number(value, key, item, kind)
            else:
                self._visit(item, str(key))
        self._path.pop()

    def _visit_array(self, value: Any) -> None:
        # The handle of a table, or a tensor of a graph, has no values, which is an error here.
        array = np.asarray(ops.convert_to_numpy(value) if ops.is_tensor(value) else value)
        contents = repr(array.tolist()) if array.dtype == object else array.tobytes()
        digest = hashlib.sha256(contents if isinstance(contents, bytes) else contents.encode())
        self._token("array", array.shape, str(array.dtype), digest.hexdigest())

    def _visit_variable(self, variable: keras.Variable) -> None:
        self.variables.append(variable)
        self._token(
            "variable", tuple(variable.shape), str(variable.dtype), bool(variable.trainable)
        )
        self._visit(variable.regularizer, "regularizer")
        self._visit(variable.constraint, "constraint")

    def _visit_function(self, function: types.FunctionType) -> None:
        if is_known(function):
            self._token("function", function.__module__, function.__qualname__)
            return
        code = function.__code__
        self._visit_code(code)
        defaults, by_name = function.__defaults__ or (), function.__kwdefaults__ or {}
        self._token("defaults", len(defaults), tuple(by_name))
        names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
        for index, (name, item) in enumerate(zip(names, defaults, strict=True)):
            self._visit_argument(function, "__defaults__", item, code, name, index)
        for name, item in by_name.items():
            self._visit_argument(by_name, name, item, code, name)
        for name, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            try:
                contents = cell.cell_contents
            except ValueError:  # Not bound yet.
                contents = None
            self._visit_argument(cell, "cell_contents", contents, code, name)
        for name in global_names(function.__code__):
            if name in function.__globals__:
                self._visit(function.__globals__[name], f"{function.__name__}<global {name}>")

    def _visit_argument(
        self,
        owner: Any,
        name: str,
        item: Any,
        tried: Tried,
        called: str,
        index: int | None = None,
        dtype: str | None = None,
    ) -> None:
        """What a function or an operation has of its own, which may be a number."""
        if may_be_tried(item, tried, called):
            number = Scalar(owner, name, float(item), tried, index, called=called, dtype=dtype)
            self.scalars.append(number)
            self._token("number", called, sides(number))
        elif index is None and _are_numbers(item) and not self._is_known(item):
            # A list, or a tuple, in the place of the number.
            self._remember(item)
            self._token("list", len(item))
            for place, part in enumerate(item):
                self._visit_argument(owner, name, part, tried, called, place, dtype)
        elif type(item) in _DICTIONARIES and not self._is_known(item):
            self._remember(item)
            self._token("dict", len(item))
            for key, part in item.items():
                self._visit(key, "key")
                self._visit_argument(item, key, part, tried, f"{called}[{key!r}]", dtype=dtype)
        else:
            self._visit(item, called)

    def _visit_loss_weights(self, model: keras.Model, given: Any) -> None:
        """Weights of losses, of which Keras asks nothing, so that zero is one like others."""
        weights = loss_weights(model)
        if weights is None:
            self._visit(given, "compile(loss_weights)")
            return
        self._path.append("compile(loss_weights)")
        self._token("loss weights", *weights.places)
        for index, value in enumerate(weights.weights):
            number = Scalar(weights, "weights", value, type(weights), index, True, "loss_weights")
            self.scalars.append(number)
            self._token("number", sides(number))
        self._path.pop()

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
        operation = isinstance(value, keras.Operation)
        self._operations += operation
        try:
            self._visit_parts(value)
        finally:
            self._operations -= operation

    def _visit_parts(self, value: Any) -> None:
        kind = type(value)
        self._visit(kind, f"<{kind.__name__}>")
        if module_of(kind) == "tensorflow":
            from kerasreg._keras.tensorflow_internals import table_contents

            if (contents := table_contents(value)) is not None:
                self._token("table", repr(sorted(map(repr, contents.items()))))
                return
        attributes = getattr(value, "__dict__", None)
        if attributes is None:
            slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
            if not slots:
                self._token("opaque", Itself(value))
                return
            attributes = {name: getattr(value, name, None) for name in slots}
        fading = _fading(value, attributes)
        if fading is not None:
            attributes = {n: item for n, item in attributes.items() if n not in ATTRIBUTES}
        for name in getattr(kind, "lane_hyperparameters", ()):
            self.hyperparameters.append(getattr(value, name))
        known = known_numbers(value, attributes, self._half)
        for name, item in attributes.items():
            if name in known:
                self.scalars.append(known[name])
                self._token("number", name, sides(known[name]))
            elif not is_bookkeeping(value, name, item):
                self._token("attribute", name)
                if is_tried(value, name, item, kind):
                    self._try_number(value, name, item, kind, fades=name in (fading or ()))
                elif is_choosable(value, name, item):
                    self.activations.append(site := ActivationSite(value, name, item))
                    self._path.append(name)
                    self._token("activation", *site.names)
                    self._path.pop()
                elif _are_numbers(item) and not self._is_known(item):
                    self._visit_numbers(item, name, value)
                elif type(item) in _DICTIONARIES:
                    self._visit_dictionary(item, name, value)
                else:
                    self._visit(item, name)
        if fading is not None:
            generator = generator_of(value)
            self.generators.append(generator.state)
            self._token("attribute", "seed generator")
            self._visit(generator, "seed_generator")
        # A Sequential model is the functional one that it builds.
        if (functional := functional_of(value)) is not None:
            self._visit_graph(functional)
        elif isinstance(value, keras.Layer):
            self._visit(inner_layers(value), "layers")

    def _visit_decisions(self, model: keras.Model) -> None:
        """What optimizers decide for each variable, since a program has the names of one model."""
        optimizer, variables = getattr(model, "optimizer", None), model.trainable_variables
        names: list[frozenset[str]] | None = None
        for part in [] if optimizer is None else inner_optimizers(optimizer):
            if (decays := decaying(part, variables)) is not None:
                self._visit(decays, "optimizer.exclude_from_weight_decay")
            if isinstance(part, OuterOptimizer):
                names = names_in_model(model, variables) if names is None else names
                self._visit(part.by_names(names), f"{type(part).__name__}(names of variables)")

    def _visit_graph(self, functional: keras.Model) -> None:
        """The graph of a functional model: which operation is called with what, in order."""
        self._visit(input_structure(functional), "inputs")
        for node in graph_nodes(functional):
            name = node.operation.name
            self._visit(node.operation, name)
            given, tried, dtype = node.arguments, type(node.operation), node.outputs[0].dtype
            self._token("arguments", len(given.args), tuple(given.kwargs))
            for index, item in enumerate(given.args):
                at = f"argument {index}"
                self._visit_argument(given, "args", item, tried, at, index, str(dtype))
            for at, item in given.kwargs.items():
                self._visit_argument(given.kwargs, at, item, tried, at, dtype=str(dtype))
            self._visit(list(node.outputs), f"{name}(outputs)")
        self._visit(output_structure(functional), "outputs")
        names = list(getattr(functional, "output_names", ()))
        # Losses may be given by name, but for models within.
        if len(names) > 1 and functional is self._outermost:
            self._visit(names, "output names")


def _code_of(function: Any) -> Tried:
    """What is found out about the arguments of a `functools.partial` is known by this."""
    code = getattr(function, "__code__", None)
    return code if isinstance(code, types.CodeType) else type(function)


def _fading(value: Any, attributes: Mapping[str, Any]) -> frozenset[str] | None:
    """The numbers of a layer that draws which may be zero among others.

    None if the layer draws by no such number, so that it has its generator in any case.
    """
    kind = type(value)
    if not draws(kind):
        return None
    names = [name for name, item in attributes.items() if is_tried(value, name, item, kind)]
    if not names:
        return None
    # Two rates of a recurrent cell have one generator: what one draws depends on the other.
    if _RECURRENT in names:
        names = [] if attributes[_RECURRENT] else ["dropout"]
    return frozenset(names)


def _are_numbers(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or hasattr(value, "_fields"):
        return False
    return any(isinstance(item, float) for item in value) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value
    )


def _unsized(token: tuple[Any, ...], of_operation: bool) -> tuple[Any, ...]:
    kind = token[0]
    if kind in ("variable", "tensor"):
        # What has one element is spread over others: that is no size among others.
        return kind, tuple(_size(length) for length in token[1]), *token[2:]
    if of_operation and kind == "int":
        return kind, _size(int(token[1]))
    return token[:1] if kind == "activation" else token


def _size(length: int | None) -> int | str | None:
    return length if length is None or length < 2 else "a size"


def _words(token: tuple[Any, ...]) -> str:
    return " ".join(part if isinstance(part, str) else repr(part) for part in token)[:120]


# Of what Keras' trainer defines, a model may have its own of these: the program uses them, or
# `fit` does not.
_OWN = frozenset(
    [
        "compile",
        "compile_from_config",
        "compiled_loss",
        "compiled_metrics",
        "compute_loss",
        "compute_metrics",
        "get_compile_config",
        "get_metrics_result",
        "loss",
        "make_predict_function",
        "metrics",
        "metrics_names",
        "predict",
        "predict_on_batch",
        "predict_step",
        "reset_metrics",
        "test_on_batch",
        "train_on_batch",
    ]
)


# And these, where a step is its own too.
_OF_STEPS = frozenset(["compute_loss_and_updates"])


def why_not_a_lane(model: Any) -> str | None:
    """Says why a model cannot be trained as a lane.

    Only what can be seen without running the model is checked: some models, such
    as those that call back into Python, are refused when `Lanes` first runs them.

    Args:
        model: a Keras model, or any other object.

    Returns:
        The reason in words; None if the model can be a lane.

    Example:

    >>> import keras, kerasreg
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> kerasreg.lanes.why_not_a_lane(model)
    'it is not compiled; call `model.compile(...)`'
    >>> model.compile("sgd", "mse")
    >>> kerasreg.lanes.why_not_a_lane(model) is None
    True
    """
    if not isinstance(model, keras.Model):
        return f"it must be a Keras model, and is a {type(model).__name__}"
    if not model.built and not steps_are_enough(model):
        return "it is not built; call it on data, or give it an `Input`"
    if not getattr(model, "compiled", False):
        return "it is not compiled; call `model.compile(...)`"
    if model.optimizer is None:
        return "it is compiled without an optimizer"
    unknown = "of which the program would know nothing"
    steps = own_steps(model)
    for name in sorted(trainer_attributes() - _OWN - (_OF_STEPS if steps else frozenset())):
        owner = next(kind for kind in type(model).__mro__ if name in vars(kind))
        if module_of(owner) != "keras" and name not in steps:
            return f"its class defines its own `{name}`, {unknown}"
        if name in vars(model):
            change = "; its class may define it" if name.endswith("_step") else ""
            return f"it was given its own `{name}`, {unknown}{change}"
    for name, step in steps.items():
        if (reason := why_no_step(step)) is not None:
            change = "; `compute_loss` and `compute_metrics` may be its own too"
            return f"its class defines its own `{name}`, {reason}{change}"
    if model.run_eagerly:
        return "it is compiled with `run_eagerly=True`; without it, it may be a lane"
    if not model.trainable_variables:
        return "it has no trainable weights"
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        # Lanes exchange no gradients: what divides them needs no strategy.
        return (
            f"it was built for the {strategy.num_replicas_in_sync} replicas of a "
            f"{strategy_name(strategy)}; build it outside of the strategy, and divide lanes by "
            "`devices=` among the devices of a machine, or among machines by a search with the "
            "`storage=` of one study in each process"
        )
    return None


def structure_of(model: keras.Model) -> ModelStructure:
    """The structure of a model that is to be a lane.

    Args:
        model: a model.

    Raises:
        ValueError: if `model` cannot be a lane; the message gives the reason.
    """
    if (reason := why_not_a_lane(model)) is not None:
        name = getattr(model, "name", model)
        raise ValueError(f"{name!r} cannot be a lane: {reason}.")
    return ModelStructure(model)


def group_by_program(models: Sequence[keras.Model]) -> list[list[int]]:
    """Groups models by the program that they share.

    Args:
        models: built and compiled Keras models.

    Returns:
        Lists of positions in `models`, one list for each program, in the order of
        their first models. A model that cannot be a lane is alone in its list.

    Example:

    >>> import keras, kerasreg
    >>> def model(units, rate):
    ...     dropout = kerasreg.layers.ScheduledDropout(rate)
    ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units), dropout])
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> kerasreg.lanes.group_by_program([model(4, 0.1), model(8, 0.1), model(4, 0.5)])
    [[0, 2], [1]]
    """
    groups: dict[Any, list[int]] = {}
    for index, model in enumerate(models):
        lane = why_not_a_lane(model) is None
        key = ModelStructure(model).tokens if lane else ("alone", index)
        groups.setdefault(key, []).append(index)
    return list(groups.values())
