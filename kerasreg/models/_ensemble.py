"""Trained models as one model that gives the weighted mean of their outputs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kerasreg._keras.graph import has_graph
from kerasreg._keras.internals import (
    first_call_signature,
    functional_of,
    input_structure,
    output_structure,
    walk_layers,
)
from kerasreg._keras.member_stack import MemberStack
from kerasreg._validation import check_choice
from kerasreg.models._rebuilding import rebuild

_LOGITS = ("auto", "none", "softmax", "sigmoid")
# What Keras names by itself, with numbers that differ from model to model.
_UNNAMED = re.compile(r"(keras_tensor|input_layer|input)(_\d+)?$")
# Arguments of layers of Keras and kerasreg that change nothing at inference.
_OF_TRAINING = re.compile(
    r"(.*_)?(regularizer|initializer|constraint)$|"
    r"(seed|rate|initial_rate|dropout|recurrent_dropout|trainable|name|shared_object_id)$"
)
_IGNORED_EVERYWHERE = {"name", "trainable", "shared_object_id", "compile_config", "build_config"}
_TABLES = (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization)


@keras.saving.register_keras_serializable(package="kerasreg")
class Ensemble(keras.Model):
    """Trained models as one Keras model: the weighted mean of their outputs.

        y(x) = Σₖ wₖ yₖ(x),    wₖ >= 0, Σₖ wₖ = 1.

    Members of one structure are held as one, with a leading axis of members on each weight, and
    are computed by one program of batched products. Members of other structures have a stack of
    their own. Members that Keras cannot make anew from a config, such as subclassed ones, are held
    as they are. `member_by_member` tells which members no batched program computes, and why.

    The model is for inference: `fit` raises. Train members, and make an ensemble of them again.
    `kerasreg.models.compress` works on members, before: `ensemble([compress(m).model for m in
    models])`. Members that keep other widths are then of several structures.

    Means are of probabilities. Where members give logits, the output is the logits of the mean
    probabilities: log Σₖ wₖ softmax(yₖ) for a softmax, and log(p / (1 - p)) with
    p = Σₖ wₖ σ(yₖ) for a sigmoid. A loss with `from_logits=True`, or a softmax after the model, so
    is right as it was for a member.

    Args:
        models: built Keras models that take and return the same.
        weights: for each member a number >= 0, which are divided by their sum; repeats of a
            greedy selection are such numbers. Members of weight 0 are left out. None for equal
            ones.
        spread: whether to return the weighted standard deviation of members too, as
            `{"mean": ..., "spread": ...}`, each in the structure of the members' output. Of
            logits that is the deviation of probabilities.
        logits: what outputs are: `"softmax"` or `"sigmoid"` for logits before these, `"none"` for
            anything else. `"auto"` asks the loss that members are compiled with: logits if it is a
            crossentropy with `from_logits=True`.
        name: of the model.

    Raises:
        ValueError: if there are no models, weights do not fit, or models differ in inputs or
            outputs.

    After Caruana et al. 2004, "Ensemble selection from libraries of models".

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model():
    ...     return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> models = [model(), model(), model()]
    >>> both = kerasreg.models.Ensemble(models, weights=[2, 1, 1])
    >>> x = np.ones((4, 2))
    >>> expected = sum(w * np.array(m(x)) for w, m in zip([0.5, 0.25, 0.25], models))
    >>> bool(np.allclose(both(x), expected, atol=1e-6))
    True
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        weights: Sequence[float] | None = None,
        spread: bool = False,
        logits: str = "auto",
        name: str = "ensemble",
    ) -> None:
        given = _check_models(models)
        shares = _check_weights(weights, len(given))
        check_choice("logits", logits, _LOGITS)
        kinds = {_logits_of(model) if logits == "auto" else logits for model in given}
        if len(kinds) > 1:
            raise ValueError(
                "`models` must all return probabilities or all logits of one kind. Received: "
                f"models whose losses say {sorted(kinds)}; `logits` tells what outputs are"
            )
        _check_alike(given)
        kept = [index for index, share in enumerate(shares) if share > 0]
        groups: dict[Any, list[int]] = {}
        for place, index in enumerate(kept):
            groups.setdefault(_structure(given[index]), []).append(place)
        parts: list[Any] = []
        for members in groups.values():
            mine = [given[kept[place]] for place in members]
            parts.append(_part(mine))
        mean = MembersMean(
            parts, list(groups.values()), [shares[index] for index in kept], spread, kinds.pop()
        )
        self._assemble(given[0], mean, name)

    def _assemble(self, first: Any, mean: MembersMean, name: str) -> None:
        inputs = tree.map_structure(
            lambda tensor: keras.Input(
                batch_shape=tensor.shape, dtype=tensor.dtype, name=_own_name(tensor)
            ),
            _symbolic(first, input_structure),
        )
        super().__init__(inputs=inputs, outputs=mean(inputs), name=name)
        self._mean = mean

    @property
    def member_weights(self) -> list[float]:
        """The weight of each member that was not left out; their sum is 1."""
        return list(self._mean.shares)

    @property
    def logits(self) -> str:
        """The logits that outputs are: `"softmax"`, `"sigmoid"`, or `"none"`."""
        return self._mean.logits

    @property
    def member_by_member(self) -> dict[int, str]:
        """By the number of a member that no batched program computes, why."""
        found: dict[int, str] = {}
        for part, places in zip(self._mean.parts, self._mean.places, strict=True):
            why = part.problem if isinstance(part, MemberStack) else "no other has its structure"
            found |= dict.fromkeys(places, why) if why else {}
        return dict(sorted(found.items()))

    def members(self) -> list[keras.Model]:
        """The members as Keras models with weights of their own, without those of weight 0."""
        found: dict[int, keras.Model] = {}
        for part, places in zip(self._mean.parts, self._mean.places, strict=True):
            for number, place in enumerate(places):
                source = _model_of(part)
                found[place] = rebuild(source, lambda _: None) if has_graph(source) else source
                if isinstance(part, MemberStack):
                    part.show(found[place], number)
        return [found[place] for place in sorted(found)]

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Raises: an ensemble is for inference."""
        raise NotImplementedError(
            "An ensemble is not trained: train the models of `members()`, and make an ensemble "
            "of them again."
        )

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Raises: an ensemble is for inference."""
        return self.fit()

    def get_config(self) -> dict[str, Any]:
        parts = [
            {
                "model": keras.saving.serialize_keras_object(_model_of(part)),
                "stacked": isinstance(part, MemberStack),
                "members": places,
            }
            for part, places in zip(self._mean.parts, self._mean.places, strict=True)
        ]
        mean = self._mean
        return {
            "name": self.name,
            "trainable": self.trainable,
            "parts": parts,
            "shares": mean.shares,
            "spread": mean.spread,
            "logits": mean.logits,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Ensemble:
        parts, places = [], []
        for part in config["parts"]:
            model = keras.saving.deserialize_keras_object(
                part["model"], custom_objects=custom_objects
            )
            places.append(list(part["members"]))
            parts.append(MemberStack(model, None, len(places[-1])) if part["stacked"] else model)
        mean = MembersMean(parts, places, config["shares"], config["spread"], config["logits"])
        made = cls.__new__(cls)
        made._assemble(_model_of(parts[0]), mean, config["name"])
        made.trainable = config["trainable"]
        return made


def ensemble(
    models: Sequence[keras.Model],
    weights: Sequence[float] | None = None,
    spread: bool = False,
    logits: str = "auto",
    name: str = "ensemble",
) -> Ensemble:
    """Makes of trained models one that gives the weighted mean of their outputs.

    Args:
        models: as for `Ensemble`.
        weights: as for `Ensemble`.
        spread: as for `Ensemble`.
        logits: as for `Ensemble`.
        name: as for `Ensemble`.

    Returns:
        An `Ensemble`.

    Raises:
        ValueError: as `Ensemble` does.

    Example:

    >>> import keras, numpy as np, kerasreg
    >>> def model():
    ...     return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> both = kerasreg.models.ensemble([model(), model()], spread=True)
    >>> sorted(both.predict(np.ones((4, 2)), verbose=0))
    ['mean', 'spread']
    """
    return Ensemble(models, weights, spread, logits, name)


class MembersMean(keras.layers.Layer):
    """The weighted mean of stacks of members and of single ones, and their spread."""

    def __init__(
        self,
        parts: Sequence[Any],
        places: Sequence[Sequence[int]],
        shares: Sequence[float],
        spread: bool,
        logits: str,
    ) -> None:
        super().__init__(autocast=False, name="members")
        self.parts = list(parts)
        self.places, self.shares = [list(each) for each in places], [float(w) for w in shares]
        self.spread, self.logits = bool(spread), logits
        self.built = True

    def member_outputs(self) -> list[list[Any]]:
        """For each structure of members the symbolic outputs of one of them."""
        structures = [_symbolic(_model_of(part), output_structure) for part in self.parts]
        return [tree.flatten(structure) for structure in structures]

    def call(self, inputs: Any) -> Any:
        flat: list[list[Any]] = []
        for part in self.parts:
            if isinstance(part, MemberStack):
                flat.append(part(inputs))
            else:
                structure = part(inputs, training=False)
                flat.append([ops.expand_dims(y, 0) for y in tree.flatten(structure)])
        shares = np.array([self.shares[place] for each in self.places for place in each])
        found = []
        for each in zip(*flat, strict=True):
            y = ops.concatenate(each, axis=0) if len(each) > 1 else each[0]
            found.append(self._moments(y, shares))
        return self._packed(*zip(*found, strict=True))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Symbolic outputs: those of a member."""
        flat = [
            keras.KerasTensor(y.shape, y.dtype) for y in tree.flatten(self._outputs_of_member())
        ]
        return self._packed(flat, [keras.KerasTensor(y.shape, y.dtype) for y in flat])

    def _packed(self, means: Any, spreads: Any) -> Any:
        structure = self._outputs_of_member()
        mean = tree.pack_sequence_as(structure, list(means))
        if not self.spread:
            return mean
        return {"mean": mean, "spread": tree.pack_sequence_as(structure, list(spreads))}

    def _outputs_of_member(self) -> Any:
        return _symbolic(_model_of(self.parts[0]), output_structure)

    def _moments(self, y: Any, shares: np.ndarray) -> tuple[Any, Any]:
        kind = keras.backend.standardize_dtype(y.dtype)
        # In half precision a sum of many would lose what each of them has.
        y = y if kind == "float64" else ops.cast(y, "float32")
        w = ops.cast(shares.reshape([-1] + [1] * (len(y.shape) - 1)), y.dtype)
        logs = ops.log(w)
        if self.logits == "softmax":
            each = ops.log_softmax(y, axis=-1)
            mean = ops.logsumexp(each + logs, axis=0)
            each, middle = ops.exp(each), ops.exp(mean)
        elif self.logits == "sigmoid":
            yes = ops.logsumexp(ops.log_sigmoid(y) + logs, axis=0)
            mean = yes - ops.logsumexp(ops.log_sigmoid(-y) + logs, axis=0)
            each, middle = ops.sigmoid(y), ops.exp(yes)
        else:
            mean = middle = ops.sum(w * y, axis=0)
            each = y
        spread = mean
        if self.spread:
            spread = ops.sqrt(ops.sum(w * ops.square(each - middle), axis=0))
        return ops.cast(mean, kind), ops.cast(spread, kind)


def _model_of(part: Any) -> Any:
    """A model of the structure of a part of an ensemble."""
    return part.template() if isinstance(part, MemberStack) else part


def _part(models: list[Any]) -> Any:
    """A stack of models of one structure, or the one that there is."""
    if not has_graph(models[0]):
        return models[0]
    template = rebuild(models[0], lambda _: None)
    if len(models) == 1:
        return template
    values = [[ops.convert_to_numpy(weight) for weight in model.weights] for model in models]
    return MemberStack(template, values, len(models))


def _check_models(models: Any) -> list[Any]:
    given = list(models) if isinstance(models, (list, tuple)) else []
    if not given or not all(isinstance(one, keras.Model) and one.built for one in given):
        raise ValueError(
            f"`models` must be a list of built Keras models, at least one. Received: {models!r}"
        )
    for model in given:
        stateful = [one.name for one in walk_layers(model) if getattr(one, "stateful", False)]
        if stateful:
            raise ValueError(
                "`models` must keep no state from call to call. "
                f"Received: {model.name!r} with the stateful layers {stateful}"
            )
    return given


def _check_weights(weights: Any, count: int) -> list[float]:
    if weights is None:
        return [1 / count] * count
    given = np.asarray(weights)
    good = given.shape == (count,) and given.dtype.kind in "iuf"
    if not good or not np.all(np.isfinite(given)) or np.any(given < 0) or not np.any(given > 0):
        raise ValueError(
            f"`weights` must be {count} finite numbers >= 0, one for each model, and not all 0. "
            f"Received: weights={weights!r}"
        )
    # Of the largest first: a sum of large numbers has no infinity then.
    given = given.astype("float64") / np.max(given)
    return [float(share) for share in given / math.fsum(given)]


def _logits_of(model: Any) -> str:
    """What logits a model returns, by the loss that it is compiled with."""
    losses = tree.flatten(getattr(model, "loss", None) if getattr(model, "compiled", False) else [])
    losses = [keras.losses.get(loss) for loss in losses if loss is not None]
    of_logits = [
        "sigmoid" if "Binary" in type(loss).__name__ else "softmax"
        for loss in losses
        if isinstance(loss, keras.losses.Loss) and loss.get_config().get("from_logits") is True
    ]
    if of_logits and len(losses) > 1:
        raise ValueError(
            "`logits` must be given for models of several losses, some of which are of logits. "
            f"Received: logits='auto' for {model.name!r}"
        )
    return of_logits[0] if of_logits else "none"


def _check_alike(models: Sequence[Any]) -> None:
    """A `ValueError` that names in what models differ from the first one."""
    for what, find in (("inputs", input_structure), ("outputs", output_structure)):
        expected = _symbolic(models[0], find)
        for model in models[1:]:
            found = _symbolic(model, find)
            mine, theirs = (_described(one, what == "inputs") for one in (expected, found))
            if mine != theirs:
                raise ValueError(
                    f"`models` must have the same {what}. Received: {models[0].name!r} with {mine} "
                    f"and {model.name!r} with {theirs}"
                )
        if what == "outputs":
            for output in tree.flatten(expected):
                if not keras.backend.is_float_dtype(output.dtype):
                    raise ValueError(
                        "`models` must have outputs of floating numbers, of which there is a mean. "
                        f"Received: {models[0].name!r} with an output of {output.dtype}"
                    )


def _described(structure: Any, named: bool) -> dict[str, str]:
    found = {}
    for path, tensor in tree.flatten_with_path(structure):
        name = _own_name(tensor) if named else None
        place = "/".join(map(str, path)) or "0"
        found[place] = f"{tuple(tensor.shape)} {tensor.dtype}" + (f" {name!r}" if name else "")
    return found


def _own_name(tensor: Any) -> str | None:
    """The name that a user gave an input."""
    name = getattr(tensor, "name", None)
    return None if not name or _UNNAMED.match(name) else str(name)


def _symbolic(model: Any, find: Any) -> Any:
    """The structure of inputs or outputs of a model, of symbolic tensors."""
    functional = functional_of(model)
    if functional is not None:
        return find(functional)
    # A class of one's own, which was called to be built.
    signature = [
        tree.map_structure(
            lambda spec: keras.KerasTensor((None, *spec.shape[1:]), spec.dtype, name=spec.name),
            given,
        )
        for given in first_call_signature(model)
    ]
    if len(signature) != 1:
        raise ValueError(
            "`models` must take one argument of inputs, in any structure. "
            f"Received: {model.name!r}, which was called with {len(signature)}"
        )
    return signature[0] if find is input_structure else model.compute_output_spec(*signature)


def _structure(model: Any) -> Any:
    """Equal for models that a stack may hold: what decides inference, but for weights."""
    if not has_graph(model):
        return id(model)
    try:
        text = json.dumps(_plain(keras.saving.serialize_keras_object(model), {}), sort_keys=True)
    except Exception:  # A layer without a config.
        return id(model)
    state: list[Any] = []
    for layer in walk_layers(model):
        if isinstance(layer, _TABLES):
            state.append(tuple(map(str, layer.get_vocabulary())))
        elif hasattr(layer, "finalize_state"):
            # Such layers compute with numbers that they make of their weights.
            arrays = [np.asarray(ops.convert_to_numpy(weight)) for weight in layer.weights]
            state.append(tuple(array.tobytes() for array in arrays))
    return text, tuple((tuple(w.shape), str(w.dtype)) for w in model.weights), tuple(state)


def _plain(config: Any, names: dict[str, str]) -> Any:
    """A config without names, and without what is of training alone."""
    if isinstance(config, (list, tuple)):
        return [_plain(one, names) for one in config]
    if not isinstance(config, dict):
        return names.get(config, config) if isinstance(config, str) else config
    ours = str(config.get("module")).startswith("keras") or str(
        config.get("registered_name")
    ).startswith("kerasreg>")
    layers = config.get("layers")
    if isinstance(layers, list):
        names = {
            one["name"] if "name" in one else one["config"]["name"]: f"layer {number}"
            for number, one in enumerate(layers)
            if isinstance(one, dict) and ("name" in one or "name" in one.get("config", {}))
        }
    found = {}
    for key, value in config.items():
        if key in _IGNORED_EVERYWHERE:
            continue
        if key == "config" and isinstance(value, dict) and ours and "layers" not in value:
            value = {k: v for k, v in value.items() if not _OF_TRAINING.match(k)}
            if config.get("class_name") == "BatchNormalization":
                value.pop("momentum", None)
        found[key] = _plain(value, names)
    return found
