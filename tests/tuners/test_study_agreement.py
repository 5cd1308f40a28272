"""What processes agree upon by the numbers of trials: who was first, and whose turn it is."""

import optuna
import pytest

from kerasreg.tuners._study_agreement import Agreement
from kerasreg.tuners._study_storage import storage_of


@pytest.fixture(params=["study.db", "study.log"])
def made(request, tmp_path):
    """Makes what one process has of the agreement."""

    def make():
        storage = storage_of(str(tmp_path / request.param), str)
        return Agreement(optuna, storage, "study")

    return make


def all_live(worker):
    return True


def test_the_first_value_counts(made):
    one, other = made(), made()
    assert one.first("record", {"epochs": 3}) == {"epochs": 3}
    assert other.first("record", {"epochs": 4}) == {"epochs": 3}
    assert other.first("time", 1.5) == 1.5
    assert one.first("time", 2.5) == 1.5


def test_of_two_that_come_at_once_the_lower_number_counts(made, monkeypatch):
    one, other = made(), made()
    trials = Agreement._trials
    seen = iter([[], None, [], None])

    def as_if_alone(self, about):
        found = next(seen)
        return trials(self, about) if found is None else found

    monkeypatch.setattr(Agreement, "_trials", as_if_alone)
    assert one.first("record", "one") == other.first("record", "other") == "one"


def test_it_is_done_once(made):
    one, other = made(), made()
    assert one.turn("end", "a", all_live).whose == "mine"
    assert other.turn("end", "b", all_live).whose == "another"
    assert one.turn("end", "a", all_live).whose == "mine"
    assert one.done("end", {"folder": "x"})
    assert other.turn("end", "b", all_live) == ("done", {"folder": "x"})
    # Another thing is done by whoever asks first.
    assert other.turn("end of more", "b", all_live).whose == "mine"


def test_another_one_takes_it_over_when_one_dies_or_fails(made):
    one, other, third = made(), made(), made()
    assert one.turn("end", "a", all_live).whose == "mine"
    assert other.turn("end", "b", lambda worker: worker != "a").whose == "mine"
    assert third.turn("end", "c", lambda worker: worker != "a").whose == "another"
    # It lives after all, and what it has done is not the end.
    assert not one.done("end", "too late")
    other.failed("end")
    assert third.turn("end", "c", all_live).whose == "mine"
    assert third.done("end", "third")
    assert other.turn("end", "b", all_live) == ("done", "third")
    assert one.turn("end", "a", all_live) == ("done", "third")


def test_one_that_was_taken_for_dead_asks_again(made):
    one, other = made(), made()
    assert one.turn("end", "a", all_live).whose == "mine"
    assert other.turn("end", "b", lambda worker: False).whose == "mine"
    other.failed("end")
    assert one.turn("end", "a", all_live).whose == "another"
    assert one.turn("end", "a", all_live).whose == "mine"
