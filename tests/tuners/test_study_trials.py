"""Which trials of a study are one trial of a search, and which count: of made-up trials."""

import itertools
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.tuners import _study_trials as marks
from kerasreg.tuners._study_trials import Standing, lost
from kerasreg.tuners._study_workers import PREFIX, Heart, Workers, host, started


def trial(number, state="RUNNING", **attrs):
    named = {getattr(marks, name): value for name, value in attrs.items()}
    names = types.SimpleNamespace(
        name=state, is_finished=lambda: state in ("COMPLETE", "PRUNED", "FAIL")
    )
    return types.SimpleNamespace(number=number, state=names, user_attrs=named)


def standing(trials, counts=bool):
    found = Standing(counts)
    found.update(trials)
    return found


def roots(found):
    return [chain.root for chain in found.chains]


def test_each_trial_is_one_of_the_search():
    found = standing([trial(0, "COMPLETE", RESULT={}), trial(1), trial(2, "WAITING")])
    assert roots(found) == [0, 1, 2]
    assert [chain.ended for chain in found.chains] == [True, False, False]
    assert [chain.trial_id for chain in found.chains] == ["0000", "0001", "0002"]
    assert not found.surplus


def test_a_trial_that_is_tried_again_is_the_same():
    trials = [trial(0, "FAIL", WORKER="a"), trial(1), trial(2, "RUNNING", AGAIN=0, ATTEMPT=1)]
    found = standing(trials)
    assert roots(found) == [0, 1]
    assert not found.chains[0].ended
    assert found.rank_of(2) == 0
    ended = standing([*trials, trial(3, "COMPLETE", AGAIN=1, ATTEMPT=1)])
    assert ended.chains[1].ended
    assert ended.chains[1].best.number == 3


@pytest.mark.parametrize("state", ["WAITING", "RUNNING", "COMPLETE", "FAIL"])
def test_of_two_that_take_a_trial_over_the_first_one_counts(state):
    trials = [trial(0, "FAIL", WORKER="a"), trial(1, state, AGAIN=0, ATTEMPT=1)]
    found = standing([*trials, trial(2, "RUNNING", AGAIN=0, ATTEMPT=1)])
    assert found.surplus == {2}
    assert found.rank_of(2) is None
    assert len(found.chains) == 1


def test_a_trial_that_has_ended_after_all_is_not_tried_again():
    found = standing([trial(0, "COMPLETE", WORKER="a"), trial(1, "WAITING", AGAIN=0, ATTEMPT=1)])
    assert found.surplus == {1}
    assert found.chains[0].best.number == 0


def test_a_setting_that_two_have_queued_counts_once():
    trials = [trial(0, "WAITING", SETTING="s"), trial(1, "WAITING", SETTING="t")]
    found = standing([*trials, trial(2, "WAITING", SETTING="s"), trial(3)])
    assert roots(found) == [0, 1, 3]
    assert found.surplus == {2}


def test_what_another_program_has_told_counts_if_it_is_of_the_space():
    trials = [trial(0, "COMPLETE"), trial(1, "FAIL"), trial(2, "COMPLETE")]
    found = standing(trials, lambda one: one.number == 2)
    assert roots(found) == [2]
    assert found.surplus == {0, 1}


def test_what_began_too_late_does_not_count():
    found = standing([trial(0), trial(1, "FAIL", SURPLUS=True), trial(2)])
    assert roots(found) == [0, 2]
    assert found.rank_of(2) == 1


def test_the_trials_of_those_who_died_are_lost_and_no_others():
    trials = [
        trial(0, "RUNNING", WORKER="dead"),
        trial(1, "RUNNING", WORKER="alive"),
        trial(2, "COMPLETE", WORKER="dead"),
        trial(3, "WAITING"),
        trial(4, "FAIL", WORKER="dead"),
        trial(5, "RUNNING", AGAIN=4, ATTEMPT=1, WORKER="dead"),
        trial(6, "RUNNING"),
        trial(7, "RUNNING"),
    ]
    found = lost(
        standing(trials).chains, lambda worker: worker == "alive", lambda number: number == 7
    )
    assert [chain.root for chain in found] == [0, 4, 7]


def record(beat, ended=False, **changed):
    import os

    own = {"host": host(), "pid": os.getpid(), "started": started(os.getpid())}
    return {"beat": beat, "ended": ended, **own, **changed}


def test_a_process_of_this_machine_lives_as_long_as_it_does():
    workers = Workers(60.0)
    gone = 2**22 + 1  # Above the largest id of a process.
    workers.look(
        {
            PREFIX + "me": record(1),
            PREFIX + "left": record(9, ended=True),
            PREFIX + "gone": record(3, pid=gone),
            PREFIX + "reused": record(3, started="long ago"),
            "other": 1,
        }
    )
    found = {one for one in ("me", "left", "gone", "reused") if workers.is_alive(one)}
    assert found == {"me"}
    assert workers.others("me") == []
    assert workers.others(None) == ["me"]


def test_a_process_elsewhere_lives_as_long_as_it_is_heard():
    now = itertools.count(100.0)
    time = [next(now)]
    workers = Workers(60.0, clock=lambda: time[0])
    far = PREFIX + "far"
    for seconds, beat, alive in [(0, 1, True), (50, 2, True), (59, 2, True), (2, 2, False)]:
        time[0] += seconds
        workers.look({far: record(beat, host="elsewhere")})
        assert workers.is_alive("far") is alive, seconds
    workers.look({far: record(3, host="elsewhere")})
    assert workers.is_alive("far")


def test_a_process_that_has_come_since_the_last_look_lives():
    """The study was asked for its workers, then another one came, and then for its trials."""
    time = [0.0]
    workers = Workers(60.0, clock=lambda: time[0])
    assert workers.is_alive("new")
    time[0] = 61.0
    assert not workers.is_alive("new")
    workers.look({PREFIX + "new": record(1)})
    assert workers.is_alive("new")


def test_a_trial_without_a_worker_waits_for_one_if_there_may_be_one():
    time = [0.0]
    workers = Workers(60.0, clock=lambda: time[0])
    for first_look in (True, False):  # Its worker may have come since then.
        assert workers.is_orphan(0, "me") is not first_look
    workers.look({PREFIX + "far": record(1, host="elsewhere")})
    assert not workers.is_orphan(0, "me")
    time[0] = 59.0
    workers.look({PREFIX + "far": record(2, host="elsewhere")})
    assert not workers.is_orphan(0, "me")
    time[0] = 61.0
    assert workers.is_orphan(0, "me")


def test_a_heart_beats_until_it_is_stopped():
    import threading

    told, beaten = [], threading.Event()

    def tell(name, record):
        told.append((name, record))
        if len(told) == 2:
            beaten.set()
            raise OSError("the storage is away")  # Which ends nothing.

    heart = Heart(tell, timeout=0.06)
    assert beaten.wait(20)
    heart.stop()
    names, records = zip(*told, strict=True)
    assert set(names) == {PREFIX + heart.worker}
    assert [one["beat"] for one in records] == list(range(1, len(told) + 1))
    assert [one["ended"] for one in records] == [False] * (len(told) - 1) + [True]


def test_a_heart_stops_though_the_storage_is_away():
    told = []

    def tell(name, record):
        told.append(record)
        if record["ended"]:
            raise OSError("the storage is away")

    Heart(tell, timeout=60.0, beats=False).stop()
    assert [one["ended"] for one in told] == [False, True]


@pytest.mark.parametrize(
    ("offset", "found"),
    [(0.0, {}), (2.9, {}), (-2.9, {}), (120.0, {"far": 117.0}), (-120.0, {"far": -117.0})],
)
def test_clocks_that_differ_by_more_than_the_time_between_looks_are_known(offset, found):
    wall = [1000.0]
    workers = Workers(60.0, clock=lambda: wall[0], wall=lambda: wall[0])
    far = "far|since|then"
    # It is looked every 3 s, and what was heard was told at any time since the last look.
    for told, now in ((0.0, 0.0), (None, 3.0), (3.0 if offset > 0 else 6.0, 6.0)):
        wall[0] = 1000.0 + now
        if told is not None:
            beat = record(int(now), host=far, time=1000.0 + told + offset)
        workers.look({PREFIX + "w": beat, PREFIX + "me": record(1, time=wall[0])})
    assert workers.clocks() == found


def test_one_that_only_ends_a_search_runs_no_trials():
    workers = Workers(60.0)
    workers.look({PREFIX + "runs": record(1), PREFIX + "ends": record(1, searches=False)})
    assert workers.others(None) == ["runs", "ends"]
    assert workers.searching(None) == ["runs"]
    assert workers.searching("runs") == []


_MARKS = st.fixed_dictionaries(
    {},
    optional={
        "WORKER": st.just("a"),
        "SURPLUS": st.just(True),
        "SETTING": st.sampled_from("st"),
        "AGAIN": st.integers(0, 6),
        "ATTEMPT": st.integers(1, 2),
    },
)
_ENDS = st.sampled_from(["COMPLETE", "PRUNED", "FAIL"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_carried_on_is_what_is_found_of_all_trials_at_once(data):
    """Whatever is learnt of which trials when, and whatever another program does."""
    every, carried, counts = [], Standing(lambda one: one.number % 2), lambda one: one.number % 2
    for _ in range(data.draw(st.integers(1, 8))):
        changed = {}
        for one in every:
            if one.state.is_finished() or not data.draw(st.booleans()):
                continue
            attrs = data.draw(st.sampled_from([{}, {"WORKER": "b"}, {"SURPLUS": True}]))
            kept = {key: value for key, value in one.user_attrs.items()}
            state = data.draw(st.one_of(st.just("RUNNING"), _ENDS))
            changed[one.number] = trial(one.number, state, **attrs)
            changed[one.number].user_attrs = {**kept, **changed[one.number].user_attrs}
        new = [
            trial(
                len(every) + of,
                data.draw(st.one_of(st.just("WAITING"), _ENDS)),
                **data.draw(_MARKS),
            )
            for of in range(data.draw(st.integers(0, 2)))
        ]
        every = [changed.get(one.number, one) for one in every] + new
        before = {chain.rank: chain for chain in carried.chains}
        told = carried.update([*changed.values(), *new])
        whole = Standing(counts)
        whole.update(every)
        assert carried.chains == whole.chains
        assert carried.surplus == whole.surplus
        assert carried.open == whole.open
        assert carried.unended == whole.unended
        assert [carried.rank_of(one.number) for one in every] == [
            whole.rank_of(one.number) for one in every
        ]
        # It says of which trials of the search something is other than it was.
        other = {chain.rank for chain in carried.chains if before.get(chain.rank) != chain}
        assert other <= set(told)
    taken = Standing(counts)
    taken.update(every)
    number = data.draw(st.integers(0, len(every)))
    taken.take_back(number)
    part = Standing(counts)
    part.update(every[:number])
    assert (taken.chains, taken.surplus) == (part.chains, part.surplus)
