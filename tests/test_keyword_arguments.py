"""Arguments beyond the second are keywords, but where Keras has them by position."""

import inspect

import pytest

from kerasreg import layers, optimizers, random, regularizers, schedules

PACKAGES = (layers, optimizers, random, regularizers, schedules)

# More arguments by position, and where Keras has them so.
MORE = {
    "schedules.Linear": (3, "PolynomialDecay: a value, a length, a value"),
    "schedules.Cosine": (3, "CosineDecay"),
    "schedules.Polynomial": (3, "PolynomialDecay"),
    "schedules.Step": (3, "ExponentialDecay: a value, a length, a factor"),
    "schedules.Clipped": (3, "ops.clip"),
    "schedules.Hyperparameter": (5, "none; its first two are what owners give by position"),
    "layers.ScheduledDropout": (3, "Dropout"),
    "layers.ScheduledAlphaDropout": (3, "AlphaDropout"),
    "layers.ScheduledSpatialDropout2D": (3, "SpatialDropout2D"),
    "layers.ScheduledSpatialDropout3D": (3, "SpatialDropout3D"),
    "layers.dropout": (4, "random.dropout"),
    "layers.alpha_dropout": (4, "random.dropout"),
    "layers.gaussian_dropout": (3, "random.dropout"),
    "layers.concrete_dropout": (3, "random.dropout"),
    "layers.drop_block": (3, "random.dropout"),
    "random.Key": (4, "a tuple"),
    "random.keep_mask": (3, "random.binomial: a shape and numbers"),
}
# Methods that Keras, or a penalty's base class, calls.
CALLED_BY_POSITION = ("call", "drop", "proximal", "step")


def callables():
    for package in PACKAGES:
        place = package.__name__.removeprefix("kerasreg.")
        for name in package.__all__:
            owner = getattr(package, name)
            yield f"{place}.{name}", owner
            for method in vars(owner) if inspect.isclass(owner) else ():
                if not method.startswith("_") and callable(getattr(owner, method)):
                    yield f"{place}.{name}.{method}", getattr(owner, method)


@pytest.mark.parametrize("package", [package.__name__.split(".")[1] for package in PACKAGES])
def test_no_more_than_two_arguments_go_by_position(package):
    unused = {name for name in MORE if name.startswith(f"{package}.")}
    for name, function in callables():
        if not name.startswith(f"{package}."):
            continue
        parameters = inspect.signature(function).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        positional = [p for p in positional if p != "self"]
        most, _ = MORE.get(name, (3, "") if name.split(".")[-1] in CALLED_BY_POSITION else (2, ""))
        assert len(positional) <= most, f"{name}: {positional}"
        unused -= {name} if len(positional) > 2 else set()
    assert not unused
