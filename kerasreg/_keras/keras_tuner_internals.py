"""Questions about the insides of KerasTuner: one function for each.

Each docstring says for which versions the answer was read in the source. A name that a later
version lacks raises a `RuntimeError`, which tells the name. Only the tuners and the command import
this module, so that the components need no KerasTuner. `tests/_keras/test_keras_tuner_internals.py`
has a test for each function, with the function's name in its own.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import keras_tuner

from kerasreg._files import write_json
from kerasreg._keras.patching import patched, replace


def callbacks_of_execution(
    tuner: keras_tuner.Tuner, callbacks: Any, trial: Any, execution: int
) -> list[Any]:
    """Which callbacks does one execution of a trial get?

    Copies of the callbacks of the search. TensorBoard's write to a folder of the execution.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        keras_tuner.errors.FatalValueError: if a callback cannot be copied.
    """
    copies = list(_private(tuner, "_deepcopy_callbacks")(callbacks))
    _private(tuner, "_configure_tensorboard_dir")(copies, trial, execution)
    return copies


def hooks_callback(tuner: keras_tuner.Tuner, trial: Any) -> Any:
    """Which callback calls `on_epoch_end` and the other hooks of a tuner?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return _private(_tuner_utils(), "TunerCallback")(tuner, trial)


def best_epoch_callback(objective: Any, path: str) -> Any:
    """Which callback saves the weights of the best epoch to a file?

    KerasTuner's own keeps the file of the chief alone, where workers train a model together. Here
    each worker has a file. Read for KerasTuner 1.4.7 and 1.4.8.
    """
    callback = _private(_tuner_utils(), "SaveBestEpoch")(objective, path)
    _private(callback, "_save_model")

    def save() -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        callback.model.save_weights(path)

    replace(callback, "_save_model", save)
    return callback


def checkpoint_path(tuner: keras_tuner.Tuner, trial_id: str) -> str:
    """In which file does a tuner keep the weights of a trial's best epoch?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(tuner, "_get_checkpoint_fname")(trial_id))


def build_hypermodel(tuner: keras_tuner.Tuner, hp: keras_tuner.HyperParameters) -> Any:
    """Which model does the hypermodel build, with the tuner's own `loss`, `optimizer`, ...?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return _private(tuner, "_build_hypermodel")(hp)


@contextlib.contextmanager
def reading_values(
    hp: keras_tuner.HyperParameters, read: Callable[[str, Any], Any]
) -> Iterator[None]:
    """Which values does a hypermodel read? Within, `read` is told of each, and gives another.

    Read for KerasTuner 1.4.7 and 1.4.8, where `hp.Float` and the like ask `_retrieve`.

    Args:
        hp: the hyperparameters that are given to the hypermodel.
        read: is called with the name of a hyperparameter and its value, which is None of one
            that is not active; returns the value that the hypermodel gets.
    """
    retrieve, full_name = _private(hp, "_retrieve"), _private(hp, "_get_name")
    values, watched = hp.values, _WatchedValues(hp.values)
    watched.read = read

    def of_declared(declared: Any) -> Any:
        return read(declared.name, retrieve(declared))

    def of_name(name: str) -> Any:
        return read(full_name(name), type(hp).get(hp, name))

    try:
        with patched(hp, _retrieve=of_declared, get=of_name):
            hp.values = watched
            yield
    finally:
        values.update(watched)
        hp.values = values


class _WatchedValues(dict[str, Any]):
    """The values of hyperparameters, which tell of what others than KerasTuner read.

    Attributes:
        read: is told, and gives what is read.
    """

    read: Callable[[str, Any], Any]

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return value if _is_keras_tuner(2) else self.read(name, value)

    def get(self, name: str, default: Any = None) -> Any:
        value = super().get(name, default)
        return value if _is_keras_tuner(2) else self.read(name, value)

    def __contains__(self, name: object) -> bool:
        # What there is depends on what `build` declares, and is compared as None.
        if not _is_keras_tuner(2):
            self.read(str(name), super().get(str(name)))
        return super().__contains__(name)

    def items(self) -> Any:
        return self._copy(_is_keras_tuner(2)).items()

    def values(self) -> Any:
        return self._copy(_is_keras_tuner(2)).values()

    def _copy(self, plain: bool) -> dict[str, Any]:
        found = {name: dict.__getitem__(self, name) for name in self}
        if plain:
            return found
        return {name: self.read(name, value) for name, value in found.items()}


def _is_keras_tuner(depth: int) -> bool:
    """Whether a function is called by KerasTuner's own code."""
    name = str(sys._getframe(depth).f_globals.get("__name__", ""))
    return name.partition(".")[0] in ("keras_tuner", "copy")


def explore_space(tuner: keras_tuner.Tuner) -> None:
    """Which hyperparameters does a hypermodel declare? The oracle learns them.

    KerasTuner builds the hypermodel again and again, until each of its conditional scopes was
    entered.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    _private(keras_tuner.Tuner, "_populate_initial_space")(tuner)


def check_result(result: Any, objective: Any, returned_by: str = "HyperModel.fit()") -> None:
    """Is what a hypermodel's `fit` returned a result that KerasTuner takes?

    Read for KerasTuner 1.4.7 and 1.4.8.

    Args:
        result: the result.
        objective: a KerasTuner objective.
        returned_by: the function that returned it, for the error.

    Raises:
        keras_tuner.errors.FatalError: if it is none.
    """
    for one in result if isinstance(result, list) else [result]:
        # KerasTuner wants the sum of several objectives there, and reads each of them.
        if not (_is_several(objective) and isinstance(one, dict) and objective.has_value(one)):
            _private(_tuner_utils(), "validate_trial_results")(one, objective, returned_by)


def metrics_of_result(result: Any, objective: Any) -> dict[str, Any]:
    """Which metrics does KerasTuner read from a result?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    found = dict(_private(_tuner_utils(), "convert_to_metrics_dict")(result, objective))
    if _is_several(objective) and objective.name not in found and objective.has_value(found):
        found[objective.name] = objective.get_value(found)
    return found


def _is_several(objective: Any) -> bool:
    """Whether an objective is the sum of several."""
    return hasattr(objective, "objectives")


def best_step_of_results(results: list[Any], objective: Any) -> int:
    """Which epoch does KerasTuner take for the best one of these results?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return int(_private(_tuner_utils(), "get_best_step")(results, objective))


def hyperband_trials(oracle: keras_tuner.oracles.HyperbandOracle) -> int:
    """How many trials does Hyperband run? Those of all its brackets and rounds.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    rounds, size = _private(oracle, "_get_num_rounds"), _private(oracle, "_get_size")
    sizes = (
        size(bracket, number)
        for bracket in range(_private(oracle, "_get_num_brackets")())
        for number in range(rounds(bracket))
    )
    return int(oracle.hyperband_iterations * sum(sizes))


@contextlib.contextmanager
def failures_uncounted(oracle: keras_tuner.Oracle) -> Iterator[None]:
    """How does an oracle end a search after too many failed trials? Within, it does not.

    Read for KerasTuner 1.4.7 and 1.4.8: it looks when a trial ends.
    """
    _private(oracle, "_check_consecutive_failures")
    with patched(oracle, _check_consecutive_failures=lambda: None):
        yield


def write_build_config(tuner: keras_tuner.Tuner, trial_id: str, model: Any) -> None:
    """Where does KerasTuner keep how to build a model that `build` leaves unbuilt?

    Read for KerasTuner 1.4.7 and 1.4.8.

    Args:
        tuner: the tuner.
        trial_id: the id of the trial.
        model: the built model.
    """
    write_json(build_config_path(tuner, trial_id), model.get_build_config())


def build_config_path(tuner: keras_tuner.Tuner, trial_id: str) -> str:
    """In which file does KerasTuner keep how to build a model that `build` leaves unbuilt?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(tuner, "_get_build_config_fname")(trial_id))


def build_as_trained(tuner: keras_tuner.Tuner, trial_id: str, model: Any) -> None:
    """How was a model built in the training of a trial? This builds another one so.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Args:
        tuner: the tuner.
        trial_id: the id of the trial.
        model: the model, which is not built.
    """
    with open(build_config_path(tuner, trial_id)) as stored:
        config = json.load(stored)
    model.build_from_config(config)
    if not model.built:
        # Of a subclass without a `build` of its own that builds the layers alone. Its export, and
        # what is made of several models, ask for one that was called.
        shapes = config.get("shapes_dict", {})
        inputs = {name.removesuffix("_shape"): _symbols(shape) for name, shape in shapes.items()}
        model(*([_symbols(config["input_shape"])] if "input_shape" in config else []), **inputs)


def _symbols(shapes: Any) -> Any:
    """Symbolic tensors of one shape, or of a structure of shapes, as JSON has them."""
    if isinstance(shapes, dict):
        return {name: _symbols(shape) for name, shape in shapes.items()}
    if any(isinstance(each, (dict, list)) for each in shapes):
        return [_symbols(shape) for shape in shapes]
    return keras.KerasTensor(tuple(shapes))


def has_own_build_and_fit(tuner: keras_tuner.Tuner) -> bool:
    """Does a tuner build and train a model by a method of its own, as AutoKeras' do?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    name = "_build_and_fit_model"
    of_object = name in vars(tuner)
    return of_object or _private(type(tuner), name) is not _private(keras_tuner.Tuner, name)


def build_and_fit(tuner: keras_tuner.Tuner, trial: Any, args: Any, kwargs: Any) -> Any:
    """What does such a method give for a trial?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return _private(tuner, "_build_and_fit_model")(trial, *args, **kwargs)


def oracle_path(oracle: keras_tuner.Oracle) -> str:
    """In which file is the state of an oracle?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(oracle, "_get_oracle_fname")())


def trial_path(oracle: keras_tuner.Oracle, trial_id: str) -> str:
    """In which file is the state of a trial?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return os.path.join(_private(oracle, "_get_trial_dir")(trial_id), "trial.json")


def trials_in_folder(oracle: keras_tuner.Oracle) -> dict[str, Any]:
    """Which trials has the project folder of an oracle? By their ids, as they were last written.

    KerasTuner itself takes the name of the folder for a pattern, and finds none in `a[1]`.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        RuntimeError: if a file is not the state of its trial.
    """
    folder = _private(oracle, "_project_dir")
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name, "trial.json")
        if name.startswith("trial_") and os.path.exists(path):
            with _state_in(path):
                trial = keras_tuner.engine.trial.Trial.load(path)
                if name != f"trial_{trial.trial_id}":
                    raise ValueError(f"it is of trial {trial.trial_id!r}")
            found[trial.trial_id] = trial
    return found


def check_trials(oracle: keras_tuner.Oracle, started: Sequence[str]) -> None:
    """Has an oracle all trials that it has begun? KerasTuner does without those that are lost.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        RuntimeError: if the file of one is missing; the message names it.
    """
    if missing := [one for one in started if one not in oracle.trials]:
        raise RuntimeError(
            f"{trial_path(oracle, missing[0])!r} is missing, of a trial that the search has begun: "
            "put a copy in its place, or search in another folder."
        )


@contextlib.contextmanager
def _state_in(path: str) -> Iterator[None]:
    """Names the file of a state that cannot be read: KerasTuner names none."""
    try:
        yield
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise RuntimeError(
            f"{path!r} is not the state of a search that can go on ({why}): put a copy in its "
            "place, or search in another folder."
        ) from error


def reload_from_any_folder(oracle: keras_tuner.Oracle) -> None:
    """How does an oracle find its trials when it is reloaded, whatever its folder is called?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    if not isinstance(oracle, keras_tuner.Oracle):
        return  # Which KerasTuner refuses.
    reload = _private(oracle, "reload")

    def reload_all() -> None:
        # KerasTuner reads its state when the trials are there.
        oracle.trials.update(trials_in_folder(oracle))
        path = oracle_path(oracle)
        with _state_in(path), open(path, encoding="utf-8") as file:
            started = list(json.load(file)["start_order"])
        check_trials(oracle, started)
        with _state_in(path):
            reload()

    replace(oracle, "reload", reload_all)


def tuner_path(tuner: keras_tuner.Tuner) -> str:
    """In which file is the state of a tuner?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(tuner, "_get_tuner_fname")())


def write_state_by(
    tuner: keras_tuner.Tuner,
    save_oracle: Callable[[], None],
    save_trial: Callable[[Any], None],
    save_tuner: Callable[[], None],
) -> None:
    """How does a tuner write its state by other functions? For good, and from all threads.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    for owner, name in ((tuner.oracle, "save"), (tuner.oracle, "_save_trial"), (tuner, "save")):
        _private(owner, name)  # What it does not call would never be called.
    replace(tuner.oracle, "save", save_oracle)
    replace(tuner.oracle, "_save_trial", save_trial)
    replace(tuner, "save", save_tuner)


def queue_again(oracle: keras_tuner.Oracle, trial_id: str) -> None:
    """How does an oracle give a trial again, as if nothing had come of it?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    trial = oracle.trials[trial_id]
    trial.metrics = type(trial.metrics)()
    retry_queue(oracle).append(trial_id)


def retry_queue(oracle: keras_tuner.Oracle) -> list[str]:
    """Which trials does an oracle give again? The list is the oracle's own, and may be changed.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    queue: list[str] = _private(oracle, "_retry_queue")
    return queue


def record_end(oracle: keras_tuner.Oracle, trial: Any) -> None:
    """How does an oracle learn that a trial has ended, which it does not know of yet?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    oracle.update_space(trial.hyperparameters)
    _private(oracle, "_record_values")(trial)
    _private(oracle, "_run_times")[trial.trial_id] += 1
    oracle.end_order.append(trial.trial_id)


def restore_grid(oracle: keras_tuner.oracles.GridSearchOracle) -> None:
    """Which points of the grid were visited? KerasTuner does not save it: the trials tell.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    compare, ordered = _private(oracle, "_compare"), _private(oracle, "_ordered_ids")
    values = {name: trial.hyperparameters.values for name, trial in oracle.trials.items()}
    order = functools.cmp_to_key(lambda one, other: compare(values[one], values[other]))
    previous = None
    for trial_id in sorted(values, key=order):
        ordered.insert(trial_id, previous)
        previous = trial_id
    # Points whose next one was visited are passed over.
    _private(oracle, "_populate_next")[:] = oracle.end_order


def continue_grid_after(oracle: keras_tuner.oracles.GridSearchOracle, trial_id: str) -> None:
    """How does a grid give the point after a trial that has not ended yet?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    _private(oracle, "_populate_next").append(trial_id)


def wait_for_new_hyperparameters(oracle: keras_tuner.oracles.GridSearchOracle) -> None:
    """After which trials does a grid go on? After none that lacks values which it will bring.

    Such a trial runs, and another one has brought a hyperparameter meanwhile. The oracle goes on
    after it when it has ended.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    hps, queue = oracle.get_space(), _private(oracle, "_populate_next")

    def is_whole(trial: Any) -> bool:
        hps.values = dict(trial.hyperparameters.values)
        return all(hp.name in hps.values for hp in hps.space if hps.is_active(hp))

    queue[:] = [
        trial_id
        for trial_id in queue
        if trial_id in oracle.end_order or is_whole(oracle.trials[trial_id])
    ]


def compare_with_running(oracle: keras_tuner.oracles.GridSearchOracle) -> None:
    """Which of two points of a grid is the later one, if a trial at the second has not ended yet?

    It may lack hyperparameters that another trial has brought, and will have their defaults.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    compare = _private(oracle, "_compare")

    def compare_all(one: dict[str, Any], other: dict[str, Any]) -> int:
        defaults = {hp.name: hp.default for hp in oracle.get_space().space if hp.name in one}
        return int(compare(one, {**defaults, **other}))

    replace(oracle, "_compare", compare_all)


def record_metrics(
    oracle: keras_tuner.Oracle, trial: Any, metrics: dict[str, Any], step: int
) -> None:
    """How does an oracle learn metrics of a trial that it has registered?

    As by KerasTuner's own `update_trial`, which looks for the best of all steps before and after
    each of them, and writes the trial.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        ValueError: if the trial has not registered one of the metrics.
    """
    _private(oracle, "_check_objective_found")(metrics)
    for name, value in metrics.items():
        if not trial.metrics.exists(name):
            raise ValueError(f"`metrics` must be registered. Received: {name!r}")
        trial.metrics.metrics[name].update(float(value), step=step)


def next_seed(oracle: keras_tuner.Oracle) -> int:
    """Which seed has the next draw of an oracle? The oracle counts it.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    seed = int(_private(oracle, "_seed_state"))
    oracle._seed_state = seed + 1
    return seed


def was_tried(oracle: keras_tuner.Oracle, values: dict[str, Any]) -> bool:
    """Has a trial of an oracle had these values?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return bool(_private(oracle, "_duplicate")(values))


def most_collisions(oracle: keras_tuner.Oracle) -> int:
    """After how many values that were tried does an oracle give up?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return int(_private(oracle, "_max_collisions"))


def grid_size(hp: Any) -> int:
    """How many values has a number that was declared with a `step`?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return int(_private(hp, "_get_n_values")())


def grid_value(hp: Any, index: int) -> float:
    """Which one of its values has a place on the grid of a number that has a `step`?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    value: float = _private(hp, "_get_value_by_index")(index)
    return value


def project_folder(oracle: keras_tuner.Oracle) -> str:
    """In which folder does an oracle keep its state? The folder is made.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(oracle, "_project_dir"))


def set_project(oracle: keras_tuner.Oracle, directory: str, project_name: str) -> None:
    """How does an oracle learn its folder, before its tuner is made?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    _private(oracle, "_set_project_dir")(directory, project_name)


def begin_trial(oracle: keras_tuner.Oracle, tuner_id: str, trial: Any) -> None:
    """How does an oracle learn that a trial has begun whose id it did not choose?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    _private(oracle, "_record_values")(trial)
    oracle.ongoing_trials[tuner_id] = trial
    if trial.trial_id not in oracle.trials:
        oracle.start_order.append(trial.trial_id)
    oracle.trials[trial.trial_id] = trial
    _private(oracle, "_save_trial")(trial)
    oracle.save()
    _private(oracle, "_display").on_trial_begin(trial)


def run_counts(oracle: keras_tuner.Oracle) -> dict[str, int]:
    """How often was each trial run? The dictionary is the oracle's own, and may be changed.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    counts: dict[str, int] = _private(oracle, "_run_times")
    return counts


def parallel_role() -> str | None:
    """Is this process the chief or a worker of KerasTuner's parallel searches? None if neither.

    `KERASTUNER_ORACLE_IP`, `KERASTUNER_ORACLE_PORT` and `KERASTUNER_TUNER_ID` say so.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        RuntimeError: if the environment names the chief without its port, or without who asks.
    """
    from keras_tuner.src.distribute import utils

    if _private(utils, "is_chief_oracle")():
        return "chief"
    return "worker" if _private(utils, "has_chief_oracle")() else None


@contextlib.contextmanager
def no_chief() -> Iterator[None]:
    """Which tuner searches alone in a process of a parallel search? One of which all is within.

    KerasTuner asks the environment when a tuner is made, and when it searches.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    name = "KERASTUNER_ORACLE_IP"
    before = os.environ.pop(name, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before


def chief_address() -> str:
    """Where does the chief of a parallel search listen?

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


@contextlib.contextmanager
def oracle_served(oracle: Any) -> Iterator[None]:
    """How does a chief answer its workers? Within, an oracle is served at the chief's address.

    One thread answers, so that the oracle is asked for one thing at a time. KerasTuner's own
    `start_server` lets two chiefs listen at one address.

    Read for KerasTuner 1.4.7 and 1.4.8.

    Raises:
        RuntimeError: if the address cannot be listened at.
    """
    from concurrent import futures

    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute import oracle_chief

    options = (("grpc.so_reuseport", 0),)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=options)
    servicer = _private(oracle_chief, "OracleServicer")(oracle)
    _private(protos, "get_service_grpc")().add_OracleServicer_to_server(servicer, server)
    try:
        if not server.add_insecure_port(chief_address()):
            raise RuntimeError("the port is taken")
    except RuntimeError as error:
        raise RuntimeError(
            f"The chief cannot listen at {chief_address()!r} (KERASTUNER_ORACLE_IP and "
            f"KERASTUNER_ORACLE_PORT): another program does, or it is no address of this machine: "
            f"{error}"
        ) from None
    server.start()
    try:
        yield
    finally:
        server.stop(grace=5.0).wait()


def given_oracle(tuner: keras_tuner.Tuner) -> Any:
    """Which oracle was a tuner given? In a worker, another object stands in its place.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    oracle = tuner.oracle
    return oracle if isinstance(oracle, keras_tuner.Oracle) else _private(oracle, "_oracle")


def oracle_client(oracle: Any) -> Any:
    """What asks the chief in the place of an oracle?

    Read for KerasTuner 1.4.7 and 1.4.8. Each request waits for the chief, for up to an hour.
    """
    from keras_tuner.src.distribute import oracle_client as client

    return _private(client, "OracleClient")(oracle)


class ChiefConnection:
    """Does the chief of a parallel search answer?

    Read for KerasTuner 1.4.7 and 1.4.8, which never asks, and waits for an hour.
    """

    def __init__(self) -> None:
        import grpc

        self._grpc, self._channel = grpc, grpc.insecure_channel(chief_address())

    def answers(self, seconds: float) -> bool:
        """Whether the chief can be reached, within so many seconds."""
        ready = self._grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=seconds)
        except self._grpc.FutureTimeoutError:
            ready.cancel()
            return False
        return True

    def was_cut_off(self, error: BaseException) -> bool:
        """Whether a request has failed because the chief was gone."""
        status = self._grpc.StatusCode.UNAVAILABLE
        return isinstance(error, self._grpc.RpcError) and error.code() == status


def trial_folder(oracle: keras_tuner.Oracle, trial_id: str) -> str:
    """Which folder has an oracle for a trial? The folder is made.

    Read for KerasTuner 1.4.7 and 1.4.8.
    """
    return str(_private(oracle, "_get_trial_dir")(trial_id))


def _tuner_utils() -> Any:
    from keras_tuner.src.engine import tuner_utils

    return tuner_utils


def _private(owner: Any, name: str) -> Any:
    """A private attribute, or an error that says which one KerasTuner has no more."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        what = getattr(owner, "__name__", type(owner).__name__)
        raise RuntimeError(
            f"KerasTuner {keras_tuner.__version__} has no `{name}` in {what}: kerasreg knows the "
            "insides of versions 1.4.7 and 1.4.8."
        ) from error
