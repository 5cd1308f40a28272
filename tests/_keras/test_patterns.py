"""One language of patterns for weights, layers and penalties."""

import pytest

from kerasreg._keras.patterns import (
    check_matches,
    check_patterns,
    matches,
    names_of_layer,
    names_within,
)


@pytest.mark.parametrize(
    "pattern",
    [
        "encoder/block1/dense/kernel",  # The path,
        "block1/dense/kernel",  # an end of it,
        "kernel",  # the name,
        "encoder",  # and what it lies in, by its path,
        "encoder/block1",
        "block1/dense",  # by an end of that,
        "dense",  # and by its name.
        "*",
        "enc*",
        "block?/*",
        "block[12]",
    ],
)
def test_matches_a_path_its_ends_and_what_is_within_a_layer(pattern):
    assert matches(pattern, names_within("encoder/block1/dense/kernel"))


@pytest.mark.parametrize("pattern", ["kern", "Kernel", "encoder/kernel", "block", "block[23]", ""])
def test_matches_nothing_else(pattern):
    assert not matches(pattern, names_within("encoder/block1/dense/kernel"))


def test_names_of_layer_leave_out_the_layers_around_it():
    assert names_of_layer("encoder/dense") == {"encoder/dense", "dense"}
    assert not matches("encoder", names_of_layer("encoder/dense"))
    assert matches("encoder/*", names_of_layer("encoder/dense"))


def test_names_within_have_those_of_the_layers_around():
    assert names_within("encoder/dense") == {"encoder/dense", "dense", "encoder"}


def test_check_patterns_returns_a_tuple():
    assert check_patterns("layers", "a*") == ("a*",)
    assert check_patterns("layers", ["a", "b"]) == ("a", "b")
    assert check_patterns("exclude", (), fewest=0) == ()


@pytest.mark.parametrize("value", [(), 3, None, [3], "", ["a", ""], b"a", {"a": 1}])
def test_check_patterns_refuses_what_is_no_pattern(value):
    with pytest.raises(ValueError, match=r"`layers` must be a pattern .*Received: layers="):
        check_patterns("layers", value)


def test_check_matches_lists_what_there_is_and_the_nearest():
    things = {path: names_within(path) for path in ("first/kernel", "last/kernel")}
    assert check_matches("layers", "first", things) is None
    message = "`layers` must match one of 'first/kernel', 'last/kernel'.*'frist'.*mean 'first'"
    with pytest.raises(ValueError, match=message):
        check_matches("layers", "frist", things)
    with pytest.raises(ValueError, match="since there is none"):
        check_matches("layers", "a", {})
