"""Optuna: that it is installed, its storages by URL or path, and its samplers by name."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import time
import types
import urllib.parse
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kerasreg._first_line import first_line
from kerasreg._keras import optuna_internals
from kerasreg._keras.patching import replace
from kerasreg._urls import without_password
from kerasreg._validation import check_choice
from kerasreg.tuners._study_requests import JointEntries

# So long a process waits for another one that writes to SQLite.
_SQLITE_SECONDS = 60
# So long a process waits for a database that is gone: a server that is started again.
_SECONDS_GONE = 60.0
# What a database says of what will be over soon: tables that others are making, a new start.
_PASSING = ("exists", "duplicate", "deadlock", "terminat", "starting up", "shutting down")
# So often a process looks again then.
_LOOKS_FOR_TABLES = 8
# For so long it looks for a server where none listens: one that is started again, or together with
# this process.
_SECONDS_REFUSED, _REFUSED = 10.0, "refused"
_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")
# What a sampler needs beyond Optuna: the modules, and the packages that have them.
_NEEDS = {
    "gp": {"scipy": "scipy", "torch": "torch"},
    "cmaes": {"cmaes": "cmaes"},
    "qmc": {"scipy": "scipy"},
}
# The packages of drivers of databases, by their modules.
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql cryptography",
}
# Storages that were prepared: of one that is given several times, the first time counts.
_prepared: weakref.WeakSet[Any] = weakref.WeakSet()
SAMPLERS = ("tpe", "gp", "cmaes", "qmc", "nsgaii", "random")


def import_optuna(who: str) -> types.ModuleType:
    """Imports Optuna.

    Raises:
        ImportError: if it is not installed, with the command that does.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f"{who} needs Optuna: pip install kerasreg[optuna]") from error
    return optuna


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lets Optuna announce nothing: which studies there are, and what of it is experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _passwords(url: str) -> list[str]:
    """The passwords of a URL, as they are written and as they are meant."""
    found = re.findall(r"://[^:/?#@]*:(.*)@", url)
    found += re.findall(r"(?i)[?&][^=&]*(?:pass|token|secret)[^=&]*=([^&\s]*)", url)
    return [text for one in found for text in (one, urllib.parse.unquote(one)) if text]


def storage_of(storage: Any, default_path: Callable[[], str]) -> Any:
    """The storage of a study.

    Args:
        storage: a URL, a path, a storage of Optuna's, or None.
        default_path: gives the SQLite file if `storage` is None.

    Raises:
        ValueError: if `storage` is none of these.
        ImportError: if the module that reaches the database is not installed.
        RuntimeError: if it cannot be reached. No password is in the message.
    """
    import optuna

    if isinstance(storage, optuna.storages.BaseStorage):
        _prepare_sqlite(storage, own=False)
        return storage
    if storage is None:
        storage = default_path()
    if not isinstance(storage, (str, os.PathLike)) or not os.fspath(storage):
        raise ValueError(
            "`storage` must be a URL such as 'sqlite:///study.db' or "
            "'postgresql://user:password@host/database', the path of a file (.db, .sqlite or "
            ".sqlite3 for SQLite, any other for Optuna's journal), a storage of Optuna's, or None. "
            f"Received: storage={storage!r}"
        )
    text = os.fspath(storage)
    try:
        return _opened(text)
    except ImportError as error:
        raise ImportError(_told(text, error)) from None
    except Exception as error:  # Of SQLAlchemy, of the driver, or of the system.
        raise RuntimeError(_told(text, error)) from None


def _told(url: str, error: Exception) -> str:
    reason = f"{type(error).__name__}: {first_line(error)}"
    for password in _passwords(url):
        reason = reason.replace(password, "***")
    if isinstance(error, ImportError):
        # Which driver is the default one depends on the version of SQLAlchemy. Optuna says nothing.
        missing = getattr(error.__cause__, "name", None) or error.name
        package = _PACKAGES.get(missing or "")
        reason += f" (pip install {package})" if package else ""
    return f"`storage` cannot be opened: {without_password(url)!r}: {without_password(reason)}"


def _opened(text: str) -> Any:
    import optuna

    path = None if "://" in text else os.path.abspath(text)
    if path is not None and not path.endswith(_SQLITE_ENDINGS):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(path)
        return optuna.storages.JournalStorage(JointEntries(backend))
    if path is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        text = f"sqlite:///{path}"
    arguments: dict[str, Any] = {}
    if text.startswith("sqlite"):
        arguments["connect_args"] = {"timeout": _SQLITE_SECONDS}
    else:
        # A server that was started again has closed the connections of the pool.
        arguments["pool_pre_ping"] = True
    # Optuna formats the text.
    text = text.replace("{", "{{").replace("}", "}}")
    # Tables are made within its constructor, where two processes may meet.
    with _made_by_one_process(path):
        storage = _patient(_with_tables(text, arguments))
    _prepare_sqlite(storage, own=True)
    return storage


def _with_tables(url: str, arguments: dict[str, Any]) -> Any:
    """Opens a database, whose tables several processes may be about to make at once.

    Optuna looks which tables there are, and then makes those that are not. Of processes that meet
    there, all but one are told that something exists already, and find it at the next look. Where
    no server listens it is looked for during some seconds; a name that is unknown is told at once.
    """
    import optuna
    import sqlalchemy

    until, left = time.monotonic() + _SECONDS_REFUSED, _LOOKS_FOR_TABLES
    while True:
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=arguments)
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            text = f"{error} {error.__cause__}".lower()
            if _REFUSED in text and time.monotonic() < until:
                pause = 0.5
            elif left > 1 and any(word in text for word in _PASSING):
                left -= 1
                pause = 0.2 * (_LOOKS_FOR_TABLES - left)
            else:
                raise
        time.sleep(pause)


def _patient(storage: Any) -> Any:
    """Lets each request of a storage be made again while the database is gone for a while.

    A server that is started again cuts connections, and refuses new ones until it is there. A
    request that was cut off may have been done all the same. Made again, a new trial is then a
    second one: the first has no worker, and is taken over as those of processes that died; and a
    trial that is told twice how it ended has ended.

    Args:
        storage: a storage of Optuna's over a database, which was made here.

    Returns:
        The same storage.
    """
    import optuna

    requests = [name for name in dir(optuna.storages.BaseStorage) if not name.startswith("_")]
    # By these Optuna's cache asks a database.
    requests += optuna_internals.database_requests()
    for name in requests:
        request = getattr(storage, name, None)
        if callable(request):
            replace(storage, name, _until_it_answers(request))
    return storage


def _until_it_answers(request: Callable[..., Any]) -> Callable[..., Any]:
    """A request that is made again, for up to a minute, while the database is gone."""
    import optuna

    @functools.wraps(request)
    def ask(*args: Any, **kwargs: Any) -> Any:
        until, pause = time.monotonic() + _SECONDS_GONE, 0.1
        while True:
            try:
                return request(*args, **kwargs)
            except optuna.exceptions.StorageInternalError as error:
                if not _is_gone(error.__cause__) or time.monotonic() > until:
                    raise
            except Exception as error:  # While a session begins, what SQLAlchemy says is as it is.
                if not _is_gone(error) or time.monotonic() > until:
                    raise
            time.sleep(pause)
            pause = min(2.0, 2 * pause)

    return ask


def _is_gone(error: BaseException | None) -> bool:
    """Whether a database did not answer, and may do so again."""
    import sqlalchemy

    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return False
    text = str(error.orig).lower()
    if type(error.orig).__module__.startswith("sqlite3"):
        # Of those who open and close the log that is written ahead at once, some must try again.
        return "locking protocol" in text
    # What cannot be said so is an error of the request, or of who is allowed what.
    told = ("connect", "terminat", "closed", "starting up", "shutting down", "gone away", "timeout")
    return error.connection_invalidated or (
        isinstance(error, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))
        and any(word in text for word in told)
    )


@contextlib.contextmanager
def _made_by_one_process(path: str | None) -> Iterator[None]:
    """Lets one process at a time make the tables of a file, where the system has such locks."""
    try:
        import fcntl
    except ImportError:  # Windows.
        path = None
    if path is None:
        yield
        return
    with open(f"{path}.lock", "w") as lock:
        with contextlib.suppress(OSError):  # A file system without locks.
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare_sqlite(storage: Any, own: bool) -> None:
    """Lets each transaction of SQLite begin with the lock for writing, and write ahead.

    Optuna reads whether a trial waits and writes that it runs, in one transaction, with
    `FOR UPDATE`. SQLite knows no such lock, so that two processes may both read first, and both
    run the trial. SQLAlchemy's documentation has this recipe, under "Database Locking Behavior".

    With a log that is written ahead nothing waits for the disk at each of the many small
    transactions of a trial. What a killed process has written is there all the same; after a loss
    of power the last trials may be missing, and the file is whole.

    Args:
        storage: a storage of Optuna's.
        own: whether it was made here, so that its file may be changed.
    """
    engine = getattr(storage, "engine", None)
    if engine is None or engine.name != "sqlite":
        return
    import sqlalchemy

    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # Python's sqlite3 shall begin no transaction itself.
        if own:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    if storage not in _prepared:
        _prepared.add(storage)
        sqlalchemy.event.listen(engine, "connect", connected)
        sqlalchemy.event.listen(engine, "begin", begun)
        engine.dispose()  # Connections that were made before.


def id_of(storage: Any, study_name: str, number: int) -> int:
    """By what a storage knows a trial of a study.

    Args:
        storage: a storage of Optuna's.
        study_name: the name of the study.
        number: the number of the trial in the study.
    """
    study = storage.get_study_id_from_name(study_name)
    return int(storage.get_trial_id_from_study_id_trial_number(study, number))


def sampler_of(sampler: Any, objectives: int, seed: int) -> Any:
    """The sampler of a study.

    Args:
        sampler: a sampler of Optuna's, the name of one, or None.
        objectives: how many objectives there are.
        seed: a whole number for the draws of a sampler by name.

    Raises:
        ValueError: if it is none of these.
        ImportError: if a package is missing that the sampler needs.
    """
    import optuna

    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    if sampler is None:
        sampler = "tpe" if objectives == 1 else "nsgaii"
    if not isinstance(sampler, str):
        raise ValueError(
            f"`sampler` must be a sampler of Optuna's, or one of {', '.join(SAMPLERS)}. Received: "
            f"sampler={sampler!r}"
        )
    check_choice("sampler", sampler, SAMPLERS)
    missing = [
        package
        for module, package in _NEEDS.get(sampler, {}).items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise ImportError(
            f"The sampler {sampler!r} needs more than Optuna: pip install {' '.join(missing)}"
        )
    if sampler == "cmaes" and objectives > 1:
        raise ValueError(
            "`sampler` must be another one than 'cmaes', which has one objective. "
            f"Received: {objectives} objectives"
        )
    if sampler != "qmc":
        return _seeded(sampler, seed)
    with quiet():
        # One sequence for all processes: which of its points is next is in the study.
        return optuna.samplers.QMCSampler(
            seed=seed,
            scramble=True,
            independent_sampler=_seeded("random", seed),
            warn_independent_sampling=False,
        )


def _made(name: str, seed: int) -> Any:
    """A sampler of Optuna's by its name."""
    from optuna import samplers

    with quiet():
        if name == "tpe":
            # What runs is taken for bad: trials that are asked for together differ.
            return samplers.TPESampler(seed=seed, constant_liar=True)
        if name == "gp":
            return samplers.GPSampler(seed=seed)
        if name == "cmaes":
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if name == "nsgaii":
            return samplers.NSGAIISampler(seed=seed)
        return samplers.RandomSampler(seed=seed)


def _seeded(name: str, seed: int) -> Any:
    """A sampler by name, whose draws for a trial follow from the seed and the trial's rank.

    So processes draw other values than each other, and a search that is resumed draws what it
    would have drawn.
    """
    import optuna

    class Seeded(optuna.samplers.BaseSampler):
        """Draws each trial by a sampler of its own."""

        def __init__(self) -> None:
            self.now: tuple[Any, Any] = None, None
            self.ranks: dict[int, int] = {}

        def place(self, number: int, rank: int) -> None:
            """Takes the rank of a trial that begins; until then its number stands for it.

            It draws from the beginning: where a database has undone what began it, the trial has
            the same number again, and is to have the same values.
            """
            self.ranks, self.now = {number: rank}, (None, None)

        def of(self, trial: Any) -> Any:
            rank = self.ranks.get(trial.number, trial.number)
            if self.now[0] != (trial.number, rank):
                own = np.random.SeedSequence([seed, rank]).generate_state(1)
                self.now = (trial.number, rank), _made(name, int(own[0]) % 2**31)
            return self.now[1]

        def reseed_rng(self) -> None:
            pass

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self.of(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self.of(trial).sample_relative(study, trial, search_space)

        def sample_independent(
            self, study: Any, trial: Any, param_name: str, param_distribution: Any
        ) -> Any:
            own = self.of(trial)
            return own.sample_independent(study, trial, param_name, param_distribution)

        def before_trial(self, study: Any, trial: Any) -> None:
            self.of(trial).before_trial(study, trial)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            # Trials end in any order, and what is drawn then decides nothing.
            _made(name, seed).after_trial(study, trial, state, values)

    return Seeded()
