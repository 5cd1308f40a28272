"""How the trials of a search were trained: as lanes of which programs, or alone, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from kerasreg._devices import device_alone, strategy_name
from kerasreg._report import Report
from kerasreg._text_table import table
from kerasreg.lanes import ModelStructure
from kerasreg.tuners._plan import Plan

# Up to so many programs are told by nobody's wish; more are if each has few trials.
_FEW_PROGRAMS = 3
_FEW_TRIALS = 8
_WITHOUT_FIT = "its own code trains it without `model.fit`, which is what lanes take the place of"
# Who trained what was no lane: Keras' `fit`, the loop of `kerasreg.distribute`, or other code.
KERAS, REPLICAS, OWN_CODE = "keras", "replicas", "own code"
_LANES = "lanes"
_WAYS = {
    KERAS: "alone by Keras",
    REPLICAS: "one by one on {}",
    OWN_CODE: "alone by their own code",
}
_LANES_ON_DEVICES = (
    "models that fit one device train many at a time by `devices=keras.distribution.list_devices()`"
    " in the place of the strategy"
)
# More lines, or more values of a line, are in the table only.
_LINES = 5
_VALUES = 4
# Of a reason.
_LENGTH = 300


class LaneRow(NamedTuple):
    """Trials that were trained in one way: by one program, or alone for one reason.

    Attributes:
        program: the number of the program, from 1 in the order in which they were found; None
            for trials that were no lanes.
        trials: how many trials were trained so.
        at_once: the most trainings that ran at the same time, folds and executions included.
        seconds: the time of tracing, compiling and training, but not of building the models.
        tracing: the part of it for tracing and compiling: what the first epoch took longer than
            the median of the others. None if there was no other one, or trials were no lanes.
        loops: what ran for one lane after the other, as `"layer: operation"`.
        why: of a program, where its models or trainings differ from those of the program with
            the most trials; of trials alone, the reason. Empty for the program with the most.
        change: what would let such trials share a program with others; empty where nothing is
            known, or nothing is needed.
        by: what trained them: `"lanes"` of a program, `"keras"` for `model.fit`, `"replicas"` for
            `kerasreg.distribute.fit`, `"own code"` for code that calls neither.
        replicas: of `"replicas"`, on how many each training ran; else 1.
    """

    program: int | None
    trials: int
    at_once: int
    seconds: float
    tracing: float | None
    loops: tuple[str, ...]
    why: str
    change: str
    by: str = _LANES
    replicas: int = 1


class TrainedTrial(NamedTuple):
    """One training of a trial; a trial has several with folds, executions or code of its own.

    Attributes:
        trial: the id of the trial.
        program: the number of the program whose lane the training was; None if it was none.
        at_once: how many trainings ran in the program when this one ended, with this one.
        why: the reason for which it was no lane, or None.
        by: what trained it, as in `LaneRow`.
        replicas: on how many replicas, as in `LaneRow`.
    """

    trial: str
    program: int | None
    at_once: int
    why: str | None
    by: str = _LANES
    replicas: int = 1


@dataclasses.dataclass(frozen=True)
class LaneReport(Report):
    """How the trials of a search were trained; `str` of it is a table with the total.

    Attributes:
        rows: a `LaneRow` for each program, the one with the most trials first, and one for each
            reason for which trials were trained alone.
        trainings: a `TrainedTrial` for each training, in the order in which they ended.
    """

    rows: tuple[LaneRow, ...]
    trainings: tuple[TrainedTrial, ...]

    empty = "nothing was trained in this process"

    @property
    def share(self) -> float:
        """The share of trials that were lanes of programs with other trainings, from 0 to 1."""
        trials = {one.trial for one in self.trainings}
        trained = Counter(one.program for one in self.trainings)
        apart = {
            one.trial for one in self.trainings if one.program is None or trained[one.program] < 2
        }
        return 1.0 - len(apart) / len(trials) if trials else 0.0

    def __str__(self) -> str:
        if not self.rows:
            return self.empty
        titles = ["program", "trials", "at once", "seconds", "tracing", "why"]
        if any(row.loops for row in self.rows):
            titles.append("lane after lane")
        rows = [
            [
                _trained_as(row),
                *(row.trials, row.at_once, row.seconds, row.tracing),
                row.why or None,
                ", ".join(row.loops) or None,
            ][: len(titles)]
            for row in self.rows
        ]
        count = len({one.trial for one in self.trainings})
        total = f"{round(self.share * count)} of {count} trials shared a program with others"
        changes = dict.fromkeys(row.change for row in self.rows if row.change)
        return "\n".join([table(titles, rows), total, *changes])


def _trained_as(row: LaneRow) -> str:
    if row.by == REPLICAS:
        return _count(row.replicas, "replica")
    return "alone" if row.program is None else str(row.program)


class EpochClock:
    """The seconds of the epochs of lanes, without what a search does between them."""

    def __init__(self) -> None:
        self._epochs = [0.0]
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count what is done within."""
        self._count()
        try:
            yield
        finally:
            self._since = time.perf_counter()

    def lap(self) -> None:
        """An epoch has ended."""
        self._epochs.append(0.0)

    def read(self) -> tuple[float, float | None]:
        """All seconds, and what the first epoch took longer than others; None without those."""
        self._count()
        others = self._epochs[1:-1]  # The last one did not end.
        more = max(0.0, self._epochs[0] - statistics.median(others)) if others else None
        return sum(self._epochs), more

    def _count(self) -> None:
        now = time.perf_counter()
        self._epochs[-1] += now - self._since
        self._since = now


class _Program:
    """A program of a search: what its trainings have in common, and what became of them."""

    def __init__(self, plan: Plan) -> None:
        self.key = plan.key  # Of which there is one object, whose id is not given again.
        self.outline = ModelStructure(plan.program_model, places=True).outline()
        layers = getattr(plan.program_model, "layers", ())
        self.layers = Counter(type(layer).__name__ for layer in layers)
        self.why_not_padded = plan.why_not_padded
        given = plan.common_arguments()
        plain = (bool, int, float, str)
        self.arguments = {name: value for name, value in given.items() if isinstance(value, plain)}
        self.trials: set[str] = set()
        self.at_once = 0
        self.seconds = 0.0
        self.tracing: float | None = None
        self.loops: set[tuple[str, str]] = set()

    def difference(self, other: _Program) -> tuple[str, tuple[str, ...]]:
        """A place where the program differs from another one, and what both have there."""
        if self.layers != other.layers:
            return "the layers", tuple(_counted(one.layers) for one in (self, other))
        found = self.outline.difference(other.outline)
        if found is not None:
            return _told(found.place, found.contents)
        for name in sorted({*self.arguments, *other.arguments}):
            both = [repr(one.arguments.get(name)) for one in (self, other)]
            if both[0] != both[1]:
                return f"`{name}` of `model.fit`", tuple(both)
        return "the data", ()


class Training(NamedTuple):
    """How a trial was trained that was no lane.

    Attributes:
        why: why it was none.
        by: what trained it, as in `LaneRow`.
        replicas: on how many replicas.
        change: what would make it one, or nothing.
    """

    why: str
    by: str = KERAS
    replicas: int = 1
    change: str = ""


def under_strategy(strategy: Any, called: Sequence[str] | None, own_fit: bool) -> Training:
    """How a trial was trained under a `distribution_strategy`.

    Args:
        strategy: the strategy.
        called: what `kerasreg.distribute.trained_by_replicas` gave; None if nothing asked it.
        own_fit: whether the hypermodel has a `fit` of its own.
    """
    name = strategy_name(strategy)
    if called and "fit" in called:
        why = f"`kerasreg.distribute.fit` trains it on the replicas of a {name}"
        # Workers have a device each, and a model may need all of them.
        change = _LANES_ON_DEVICES if name == "MirroredStrategy" else ""
        return Training(why, REPLICAS, int(strategy.num_replicas_in_sync), change)
    # Of one device the loop of replicas leaves `model.fit` as it is.
    if called is not None and not own_fit:
        device = device_alone(strategy)
        has = "one device has no lanes" if device is None else f"{device} alone has no lanes"
        instead = "" if device is None else f"; `devices=[{device!r}]` has"
        return Training(f"a {name} of {has}{instead}")
    return Training(f"its own code trains it under a {name}", OWN_CODE)


class _Alone:
    """The trials that were trained one by one in one way, for one reason."""

    def __init__(self) -> None:
        self.trials: set[str] = set()
        self.seconds = 0.0


class LaneRecord:
    """What became of the trainings of one search.

    While the search runs, the record has the tokens of each program. It keeps no model.

    Args:
        trials_per_structure: how many trials share what decides on the program; None if the
            oracle of the search cannot be asked for that.
    """

    def __init__(self, trials_per_structure: int | None = None) -> None:
        self._drawn = trials_per_structure
        self._programs: dict[int, _Program] = {}  # By the id of the key.
        self._alone: dict[Training, _Alone] = {}
        self._trainings: list[tuple[str, _Program | None, int, Training | None]] = []
        self._known: set[str] = set()  # The ids of trials of which a training has ended.
        self._rows: list[LaneRow] | None = None  # When the search has ended.
        self._trained: list[TrainedTrial] = []

    def see(self, plan: Plan) -> None:
        """Learns of a training that may be a lane, while its model is as it was built."""
        # Keys are long: to hash one for each trial costs more than all the rest here.
        if plan.key is not None and id(plan.key) not in self._programs:
            self._programs[id(plan.key)] = _Program(plan)

    @contextlib.contextmanager
    def traced_ahead(self, key: Any) -> Iterator[None]:
        """A program is traced within, while the models of its lanes are still built."""
        begun = time.perf_counter()
        yield
        program, seconds = self._programs[id(key)], time.perf_counter() - begun
        program.seconds += seconds
        program.tracing = (program.tracing or 0.0) + seconds

    def ran(self, key: Any, clock: EpochClock, loops: Sequence[tuple[str, str]]) -> None:
        """Lanes of a program have run."""
        program, (seconds, tracing) = self._programs[id(key)], clock.read()
        program.seconds += seconds
        if tracing is not None:
            program.tracing = (program.tracing or 0.0) + tracing
        program.loops |= set(loops)

    def were_lanes(self, key: Any, trial_ids: Sequence[str], at_once: int) -> None:
        """Trainings have ended as lanes of a program."""
        program = self._programs[id(key)]
        program.trials |= set(trial_ids)
        self._known |= set(trial_ids)
        program.at_once = max(program.at_once, at_once)
        self._trainings += [(trial_id, program, at_once, None) for trial_id in trial_ids]

    @contextlib.contextmanager
    def alone(self, trial_id: str, how: Callable[[], Training]) -> Iterator[None]:
        """A trial is trained within that is no lane.

        Args:
            trial_id: the id of the trial.
            how: tells, when it was trained, by what it was, and why so.
        """
        begun = time.perf_counter()
        self._known.add(trial_id)  # The trial may end within.
        try:
            yield
        finally:
            known = how()
            known = known._replace(why=_short(known.why))
            found = self._alone.setdefault(known, _Alone())
            found.trials.add(trial_id)
            found.seconds += time.perf_counter() - begun
            self._trainings.append((trial_id, None, 1, known))

    def ended(self, trial_id: str) -> None:
        """A trial has ended, perhaps without a call of `model.fit`."""
        if trial_id not in self._known:
            with self.alone(trial_id, lambda: Training(_WITHOUT_FIT, OWN_CODE)):
                pass

    def close(self) -> str | None:
        """Keeps the results alone, when the search has ended; returns its summary, if any."""
        summary = self.summary()
        self._rows, self._trained = self.rows(), self.trainings()
        self._programs, self._alone, self._trainings = {}, {}, []
        return summary

    def rows(self) -> list[LaneRow]:
        """A row for each program with trials, the largest first, and for each reason."""
        if self._rows is not None:
            return self._rows
        programs = self._largest_first()
        numbers = self._numbers()
        rows = []
        for program in programs:
            why = change = ""
            if program is not programs[0]:
                place, contents = program.difference(programs[0])
                why = ": ".join(filter(None, (place, " against ".join(contents))))
                change = self._change(program, contents)
            loops = tuple(
                ": ".join(filter(None, (layer or "the model", operation)))
                for layer, operation in sorted(program.loops)
            )
            rows.append(
                LaneRow(
                    numbers[id(program)],
                    len(program.trials),
                    program.at_once,
                    program.seconds,
                    program.tracing,
                    loops,
                    why,
                    change,
                )
            )
        for how, of in sorted(self._alone.items(), key=lambda item: -len(item[1].trials)):
            count, seconds = len(of.trials), of.seconds
            told = how.why, how.change, how.by, how.replicas
            rows.append(LaneRow(None, count, 1, seconds, None, (), *told))
        return rows

    def trainings(self) -> list[TrainedTrial]:
        """The trainings that have ended, in that order."""
        if self._rows is not None:
            return self._trained
        numbers = self._numbers()
        found = []
        for trial_id, of, at_once, how in self._trainings:
            if of is not None:
                found.append(TrainedTrial(trial_id, numbers[id(of)], at_once, None))
            elif how is not None:
                told = how.why, how.by, how.replicas
                found.append(TrainedTrial(trial_id, None, at_once, *told))
        return found

    def summary(self) -> str | None:
        """What a user is to know of trials that shared no program, in some lines; else None."""
        programs = self._largest_first()
        in_lanes = {trial_id for program in programs for trial_id in program.trials}
        by: dict[tuple[str, int], set[str]] = {}
        for how, of in self._alone.items():
            by.setdefault((how.by, how.replicas), set()).update(of.trials)
        # Who gave a strategy has what was asked for.
        alone = {how: of for how, of in self._alone.items() if how.by != REPLICAS}
        # Who asked for a draw of the structure for some trials has what was asked for.
        drawn = self._drawn or 1
        enough = _FEW_TRIALS if drawn == 1 else drawn / 2
        many = len(programs) > _FEW_PROGRAMS and len(in_lanes) <= enough * len(programs)
        if not alone and not many:
            return None
        lines = [
            f"{_count(len(of.trials), 'trial')} trained alone: {how.why}"
            for how, of in sorted(alone.items(), key=lambda item: -len(item[1].trials))
        ]
        changes: dict[str, None] = {}  # Each is said once.
        if many:
            lines += self._differences(programs, changes)
        shown, left = [f"- {line}." for line in lines[:_LINES]], len(lines) - _LINES
        if left > 0:
            shown.append(f"- And {_count(left, 'other reason')}.")
        shown += [f"- {change}." for change in changes if change]
        ways = [
            f"{len(of)} were trained {_WAYS[how].format(_count(replicas, 'replica'))}"
            for (how, replicas), of in by.items()
        ]
        if in_lanes:
            ways.append(f"{len(in_lanes)} were lanes of {_count(len(programs), 'program')}")
        total = _count(len(in_lanes.union(*by.values())), "trial")
        head = f"Of {total}, {' and '.join(ways)}: `tuner.lane_report()` has the table."
        return "\n".join([head, *shown])

    def _differences(self, programs: list[_Program], changes: dict[str, None]) -> list[str]:
        """Where programs differ from the largest one, a line for each place; adds to `changes`."""
        places: dict[str, list[tuple[str, ...]]] = {}
        for program in programs[1:]:
            place, contents = program.difference(programs[0])
            places.setdefault(place, []).append(contents)
            changes.setdefault(self._change(program, contents))
        lines = []
        for place, every in sorted(places.items(), key=lambda item: -len(item[1])):
            # What the largest one has is the last content of each.
            values = [content for one in every for content in reversed(one)]
            distinct = list(dict.fromkeys(values))
            shown = ", ".join(distinct[:_VALUES])
            shown += ", ..." if len(distinct) > _VALUES else ""
            verb = "differs" if len(every) == 1 else "differ"
            at = f"{place} ({shown})" if shown else place
            lines.append(f"{_count(len(every), 'program')} {verb} from the largest one in {at}")
        return lines

    def _change(self, program: _Program, contents: tuple[str, ...]) -> str:
        """What lets trials share a program that differ so."""
        if program.why_not_padded is not None:
            return f"models of other widths are not padded: {program.why_not_padded}"
        if contents and all(map(_is_fraction, contents)):
            return "a number may differ where code computes with it and decides nothing by it"
        if self._drawn == 1:
            return "`trials_per_structure=16` draws what decides on that once for 16 trials"
        return ""

    def _largest_first(self) -> list[_Program]:
        trained = [program for program in self._programs.values() if program.trials]
        return sorted(trained, key=lambda program: -len(program.trials))

    def _numbers(self) -> dict[int, int]:
        trained = [program for program in self._programs.values() if program.trials]
        return {id(program): number for number, program in enumerate(trained, 1)}


def report_of(records: Sequence[LaneRecord]) -> LaneReport:
    """The report of searches, whose programs are numbered on."""
    rows: list[LaneRow] = []
    trainings: list[TrainedTrial] = []
    before = 0
    for record in records:
        found = record.rows()
        rows += [row._replace(program=_after(row.program, before)) for row in found]
        trainings += [
            one._replace(program=_after(one.program, before)) for one in record.trainings()
        ]
        before += sum(row.program is not None for row in found)
    return LaneReport(tuple(rows), tuple(trainings))


def _after(program: int | None, before: int) -> int | None:
    return None if program is None else program + before


def _short(why: str) -> str:
    """The first line of a reason, which may be what an error of TensorFlow's says."""
    first = (why.splitlines() or [why])[0]
    return first.rstrip(".") if len(first) <= _LENGTH else f"{first[:_LENGTH]} ..."


def _counted(layers: Counter[str]) -> str:
    return " + ".join(f"{count} {name}" for name, count in layers.items())


def _told(place: str, contents: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A place of a model, and what two models have there, as a user would say it."""
    if not contents:
        return place, ()
    where, _, last = place.rpartition(".")
    kind = last[1:-1] if last.startswith("<") and last.endswith(">") else None
    # The class of the first model's object is in the place; an object met before has no words.
    found = tuple(
        (kind or "another object") if content.startswith("again ") else _plain(content)
        for content in contents
    )
    return f"`{where if kind else place}`", found


def _plain(content: str) -> str:
    """A content in words without the name of its type, where the value shows the type."""
    kind, _, value = content.partition(" ")
    if kind in ("class", "function", "builtin"):
        return content.rpartition(" ")[2]
    named = ("activation", "bool", "int", "float", "str", "NoneType")
    return value if value and kind in named else content


def _is_fraction(content: str) -> bool:
    with contextlib.suppress(ValueError):
        float(content)
        return not content.lstrip("+-").isdigit()
    return False


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
