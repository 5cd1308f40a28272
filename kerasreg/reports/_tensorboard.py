"""The trials of a search, as TensorBoard's HParams dashboard reads them."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

# One name, so that a later call takes the place of an earlier one.
_FILE = "events.out.tfevents.0000000000.kerasreg"
_MOST_VALUES = 100  # More choices are told as none.


def write_tensorboard(report: Any, folder: str | os.PathLike[str]) -> None:
    """Writes event files of a `SearchReport`: `SearchReport.to_tensorboard` says which."""
    folder = os.fspath(folder)
    _write(folder, [(_experiment(report), _first_time(report), 0)])
    curves = {one["trial"]: one for one in (report.curves or {"trials": ()})["trials"]}
    kinds = {one["name"]: _type(_values(report, one["name"])) for one in report.hyperparameters}
    for place, row in enumerate(report.trials):
        events = list(_events(report, row, curves.get(row["trial"]), kinds))
        _write(os.path.join(folder, _run(row["trial"], place)), events)


def _run(trial: str, place: int) -> str:
    """The name of the folder of a trial: its id, where that is a plain name."""
    plain = re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", trial)
    return f"trial-{trial}" if plain else f"trial-number-{place}"


def _first_time(report: Any) -> float:
    known = [row["began"] for row in report.trials if row.get("began")]
    return min(known) if known else time.time()


def _experiment(report: Any) -> Any:
    """What hyperparameters and metrics there are."""
    from tensorboard.plugins.hparams import api

    hparams = [
        api.HParam(one["name"], _domain(one, _values(report, one["name"])))
        for one in report.hyperparameters
    ]
    names = [report.objective["name"]]
    names += [name for row in report.trials for name in row["metrics"]]
    metrics = [api.Metric(name) for name in dict.fromkeys(names)]
    return api.hparams_config_pb(hparams, metrics, _first_time(report))


def _values(report: Any, name: str) -> list[Any]:
    """The values that trials have of a hyperparameter."""
    return [row["values"][name] for row in report.trials if row["values"].get(name) is not None]


def _type(values: list[Any]) -> type:
    """The type of values, of which the dashboard takes one; text where they have several."""
    kinds = {type(value) for value in values}
    if kinds <= {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 else str


def _domain(one: Mapping[str, Any], found: list[Any]) -> Any:
    """The values of a hyperparameter; None where there are too many to choose from."""
    from tensorboard.plugins.hparams import api

    if one["kind"] == "number":
        ends = [one["least"], one["most"]]
        space = one.get("space") or {}
        ends += [space[end] for end in ("low", "high") if space.get(end) is not None]
        return api.RealInterval(float(min(ends)), float(max(ends)))
    values = [*((one.get("space") or {}).get("values") or ()), *found]
    kind = _type(values)
    distinct = list(dict.fromkeys(map(kind, values)))
    return api.Discrete(distinct, kind) if 0 < len(distinct) <= _MOST_VALUES else None


def _events(
    report: Any,
    row: Mapping[str, Any],
    curve: Mapping[str, Any] | None,
    kinds: Mapping[str, type],
) -> Iterator[tuple[Any, float, int]]:
    """The summaries of a trial, each with its time and its step."""
    from tensorboard.plugins.hparams import api, api_pb2, plugin_data_pb2

    begun = row.get("began") or _first_time(report)
    ended = row.get("ended") or begun
    values = {
        name: kinds.get(name, str)(value)
        for name, value in row["values"].items()
        if value is not None
    }
    yield api.hparams_pb(values, trial_id=row["trial"], start_time_secs=begun), begun, 0
    if curve is not None:
        epochs = curve["epochs"]
        for place, epoch in enumerate(epochs):
            at = begun + (ended - begun) * (place + 1) / len(epochs)
            for part, called in (("validation", "metric"), ("training", "training_metric")):
                value = curve[part][place] if curve[part] else None
                if value is not None:
                    yield _scalar(f"epoch_{report.curves[called]}", value), at, epoch
    step = row["best_epoch"] or 0
    results = dict(row["metrics"])
    if row["score"] is not None:
        results[report.objective["name"]] = row["score"]
    for name, value in results.items():
        if value is not None:
            yield _scalar(name, value), ended, step
    status = {
        "COMPLETED": api_pb2.STATUS_SUCCESS,
        "FAILED": api_pb2.STATUS_FAILURE,
        "INVALID": api_pb2.STATUS_FAILURE,
    }.get(row["status"])
    if status is not None:  # Of others the dashboard says that they run.
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
        yield _of_plugin(plugin_data_pb2.HParamsPluginData(session_end_info=end)), ended, 0


def _scalar(name: str, value: float) -> Any:
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=name, simple_value=value)])


def _of_plugin(data: Any) -> Any:
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import metadata

    value = summary_pb2.Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return summary_pb2.Summary(value=[value])


def _write(folder: str, events: list[tuple[Any, float, int]]) -> None:
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    records = RecordWriter(content)
    first = events[0][1]
    records.write(
        event_pb2.Event(wall_time=first, file_version="brain.Event:2").SerializeToString()
    )
    for summary, at, step in events:
        event = event_pb2.Event(wall_time=at, step=step)
        event.summary.MergeFromString(summary.SerializeToString())
        records.write(event.SerializeToString())
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, _FILE)
    # Whole at every instant; not synced to the disk, as there may be thousands.
    with open(f"{path}.part", "wb") as file:
        file.write(content.getvalue())
    os.replace(f"{path}.part", path)
