"""`patched`: attributes of others are replaced for a while, and for one thread only."""

import threading
import types

import pytest

from kerasreg._keras.patching import original, patched, patched_value, python_math, replace


class Base:
    def method(self):
        return "base"


class Owner(Base):
    number = 1

    def own(self):
        return "own"


class Tracking:
    """Like a Keras layer: it sees what is set."""

    def __init__(self):
        object.__setattr__(self, "seen", [])

    def __setattr__(self, name, value):
        self.seen.append(name)
        object.__setattr__(self, name, value)


def test_patched_methods_and_values_of_a_class_are_as_before_in_the_end():
    before = dict(vars(Owner))
    with patched(Owner, own=lambda self: "new", method=lambda self: "other", number=2, added=3):
        owner = Owner()
        assert (owner.own(), owner.method()) == ("new", "other")
        assert (Owner.number, Owner.added) == (2, 3)
    assert dict(vars(Owner)) == before
    assert (Owner().own(), Owner().method()) == ("own", "base")


def test_an_error_inside_leaves_nothing_behind():
    before = dict(vars(Owner))
    with pytest.raises(KeyError), patched(Owner, own=lambda self: "new", number=2):
        raise KeyError
    assert dict(vars(Owner)) == before


def test_patches_nest():
    with patched(Owner, own=lambda self: "outer"):
        with patched(Owner, own=lambda self: "inner"):
            assert Owner().own() == "inner"
        assert Owner().own() == "outer"
    assert Owner().own() == "own"


def test_another_thread_has_the_functions_as_they_were():
    module = types.ModuleType("module")
    module.function = lambda: "module"
    found = []

    def look():
        found.append((Owner().own(), Owner().method(), module.function()))

    with (
        patched(Owner, own=lambda self: "new", method=lambda self: "new"),
        patched(module, function=lambda: "new"),
    ):
        look()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [("new", "new", "new"), ("own", "base", "module")]


def test_threads_may_leave_in_the_order_in_which_they_came():
    before = dict(vars(Owner))
    first_left, second_entered, found = threading.Event(), threading.Event(), []

    def second():
        with patched(Owner, own=lambda self: "second"):
            second_entered.set()
            first_left.wait(30)
            found.append(Owner().own())

    thread = threading.Thread(target=second)
    with patched(Owner, own=lambda self: "first"):
        thread.start()
        assert second_entered.wait(30)
        assert Owner().own() == "first"
    assert Owner().own() == "own"
    first_left.set()
    thread.join()
    assert found == ["second"]
    assert dict(vars(Owner)) == before


class Methods:
    @staticmethod
    def static(x):
        return ("static", x)

    @classmethod
    def of_class(cls):
        return cls


def test_static_methods_are_replaced_by_static_methods():
    before = dict(vars(Methods))
    with patched(Methods, static=lambda x: ("new", x)):
        assert Methods().static(1) == Methods.static(1) == ("new", 1)
    assert dict(vars(Methods)) == before
    assert Methods().static(1) == ("static", 1)


def test_class_methods_are_refused():
    with pytest.raises(TypeError, match="of_class"), patched(Methods, of_class=lambda: None):
        pass
    assert Methods.of_class() is Methods


def test_original_is_what_a_thread_has_that_replaced_nothing():
    def own(self):
        return [*original(Owner, "own")(self), "new"]

    assert original(Owner, "own") is Owner.own
    before = Owner.own
    with patched(Owner, own=own), patched(Owner, own=own):
        assert original(Owner, "own") is before
        # Not without end.
        assert Owner().own() == [*"own", "new"]


def test_replace_is_for_good_and_past_the_objects_own_setattr():
    tracking = Tracking()
    replace(tracking, "added", 3)
    assert tracking.added == 3
    assert tracking.seen == []


def test_attributes_of_objects_are_set_past_their_own_setattr():
    tracking = Tracking()
    tracking.kept = 1
    with patched(tracking, kept=2, added=3):
        assert (tracking.kept, tracking.added) == (2, 3)
    assert tracking.kept == 1
    assert not hasattr(tracking, "added")
    assert tracking.seen == ["kept"]


def test_an_attribute_in_a_slot_is_as_before_in_the_end():
    class Slotted:
        __slots__ = ("empty", "number")

    owner = Slotted()
    owner.number = 1
    with patched(owner, number=2, empty=3):
        assert (owner.number, owner.empty) == (2, 3)
    assert owner.number == 1
    assert not hasattr(owner, "empty")


def test_patched_value_of_an_object_and_of_a_dictionary():
    owner, items = Tracking(), {"a": 1}
    object.__setattr__(owner, "number", 1)
    with patched_value(owner, "number", 2), patched_value(items, "a", 3):
        assert (owner.number, items) == (2, {"a": 3})
    assert (owner.number, items, owner.seen) == (1, {"a": 1}, [])


def test_python_math_calls_another_function():
    import math

    seen = []

    def call(name, function, arguments):
        seen.append((name, function(*arguments)))
        return "other"

    with python_math(call):
        assert math.sqrt(4.0) == "other"
        assert math.pow(2.0, 3.0) == "other"
    assert seen == [("sqrt", 2.0), ("pow", 8.0)]
    assert math.sqrt(4.0) == 2.0


def test_python_math_compares_by_operations_that_objects_see():
    """With tolerances, which have names."""
    import math

    class Number(float):
        def __sub__(self, other):
            seen.append(other)
            return float(self) - other

    seen = []
    cases = [(1.0, 1.0), (1.0, 1.05), (1.0, 1.2), (math.inf, math.inf), (math.inf, 1.0), (0.0, 0.1)]
    named = [{}, {"rel_tol": 0.1}, {"abs_tol": 0.15}, {"rel_tol": 0.1, "abs_tol": 0.15}]
    expected = [math.isclose(*case, **of) for case in cases for of in named]
    with python_math(lambda name, function, arguments: function(*arguments)):
        assert [math.isclose(*case, **of) for case in cases for of in named] == expected
        assert math.isclose(Number(1.0), 1.05, rel_tol=0.1)
    assert seen == [1.05]
