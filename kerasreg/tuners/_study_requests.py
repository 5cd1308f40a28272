"""The requests of a study to its storage: several as one, and only for what is new.

Optuna's storages have a request for each parameter, each epoch and each attribute of a trial, and a
database a transaction for each request. Here requests that belong together are one transaction of
a database, and one entry of a journal. Where a storage knows nothing of the kind they are made one
by one, in the same order: who is killed between two of them leaves what the first ones said.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kerasreg._keras import optuna_internals as internals
from kerasreg._keras.optuna_internals import id_in_storage
from kerasreg._keras.patching import replace

_T = TypeVar("_T")


class Requests:
    """What a study asks of its storage.

    Args:
        optuna: the module.
        study: the study.
        storage: its storage, as it was opened.

    Attributes:
        study_id: by what the storage knows the study.
        undoes: whether what was asked together can be undone.
    """

    def __init__(self, optuna: Any, study: Any, storage: Any) -> None:
        self._optuna, self._study, self.storage = optuna, study, storage
        self.study_id = storage.get_study_id_from_name(study.study_name)
        self._sessions, self._entries = _sessions_of(storage), _entries_of(storage)
        self._increments = internals.trials_since(storage)
        # Without it, what was not added after all would stay in Optuna's cache.
        self.undoes = self._increments is not None and self._sessions is not None
        self._set_param = internals.parameter_setter(storage)
        self._distributions: dict[str, Any] = {}

    @property
    def can_be_undone(self) -> bool:
        """Whether what is asked now is not done if an error leaves `together`."""
        return self.undoes and self._sessions is not None and self._sessions.is_joined

    def together(self, work: Callable[[], _T], reads: bool = False) -> _T:
        """Does what makes several requests: all of them or none, where that can be.

        Args:
            work: makes the requests. It is called again, and makes each of them by itself, where
                they could not be made together.
            reads: whether it needs what they return.

        Returns:
            What `work` returns.
        """
        joined: contextlib.AbstractContextManager[None]
        if self._sessions is not None and (self.undoes or not reads):
            joined = self._sessions.joined()
        elif self._entries is not None and not reads:
            storage, study_id = self.storage, self.study_id
            joined = self._entries.joined(lambda: storage.get_study_directions(study_id))
        else:
            joined = contextlib.nullcontext()
        try:
            with joined:
                return work()
        except NotTogether:
            return work()

    def write(self, name: str, trial_id: int, values: tuple[Any, ...]) -> None:
        """Makes a request that writes, by its name.

        Args:
            name: the name.
            trial_id: by what the storage knows the trial.
            values: what is written.
        """
        if self._set_param is None or name != "set_trial_param":
            getattr(self.storage, name)(trial_id, *values)
            return
        # A database looks for a trial with the same parameter, which is to have one distribution.
        parameter, _, distribution = values
        self._set_param(trial_id, *values, self._distributions.get(parameter))
        self._distributions[parameter] = distribution

    def id_of(self, number: int) -> int:
        """By what the storage knows a trial of the study."""
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number))

    def trial(self, number: int) -> Any:
        """A trial of the study as it is now."""
        return self.storage.get_trial(self.id_of(number))

    def create(self, attributes: dict[str, Any]) -> Any:
        """Adds a trial that runs.

        Args:
            attributes: its attributes by the user.

        Returns:
            The trial.
        """
        trial = self._optuna.create_trial(
            state=self._optuna.trial.TrialState.RUNNING, user_attrs=attributes
        )
        added = internals.added_to_database(self.storage, self.study_id, trial)
        if added is not None:
            return added
        trial_id = self.storage.create_new_trial(self.study_id, trial)
        internals.take_id_in_storage(trial, trial_id)
        trial.number = self.storage.get_trial_number_from_id(trial_id)
        return trial

    def news(self, known: int, last: Any, again: Iterable[Any] = ()) -> list[Any]:
        """Reads the trials of the study that are new, and some that are known.

        Args:
            known: how many trials are known.
            last: the last one of these, or None.
            again: those of them that are to be read again.

        Returns:
            The trials, by number.
        """
        ids = {trial.number: id_in_storage(trial) for trial in again}
        if self._increments is not None:
            # A database. In a study, what was made later has a higher id.
            after = id_in_storage(last) if last else -1
            found = self._increments(self.study_id, None, set(ids.values()), after)
            return sorted(found, key=lambda trial: trial.number)
        storages = self._optuna.storages
        if not known or not isinstance(
            self.storage, (storages.InMemoryStorage, storages.JournalStorage)
        ):
            every = self._study.get_trials(deepcopy=False)
            return [every[number] for number in sorted(ids)] + every[known:]
        found = [self.storage.get_trial(ids[number]) for number in sorted(ids)]
        with contextlib.suppress(KeyError):
            while True:
                found.append(self.trial(known))
                known += 1
        return found


class Beside:
    """A study whose trials are read once for several questions of a sampler or a pruner.

    Args:
        study: the study.
    """

    def __init__(self, study: Any) -> None:
        self._given = study
        self._every: list[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)

    def look_anew(self) -> None:
        """Reads the trials at the next question."""
        self._every = None

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[Any]:
        """The trials, as Optuna's studies give them."""
        if self._every is None:
            self._every = self._given.get_trials(deepcopy=False)
        found = [trial for trial in self._every if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _get_trials(
        self, deepcopy: bool = True, states: Any = None, use_cache: bool = False
    ) -> list[Any]:
        """The same, by the name by which Optuna's samplers ask."""
        return self.get_trials(deepcopy, states)


class _WithStorage:
    """A study with another storage."""

    def __init__(self, study: Any, storage: Any) -> None:
        self._given, self._storage = study, storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)


class Later:
    """A trial of a study, of which what is written is told later.

    Args:
        optuna: the module.
        study: the study, or what stands for it.
        requests: by which it is told.
        trial: what is known of the trial.

    Attributes:
        known: what is known of the trial.
        trial: a trial of Optuna's, to draw values for and to report epochs of.
    """

    def __init__(self, optuna: Any, study: Any, requests: Requests, trial: Any) -> None:
        self._reads, self._requests, self.known = study._storage, requests, trial
        self._untold: list[tuple[str, tuple[Any, ...]]] = []
        self.trial = optuna.Trial(_WithStorage(study, self), id_in_storage(trial))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    @property
    def has_untold(self) -> bool:
        """Whether something was written that is not told."""
        return bool(self._untold)

    def tell(self) -> None:
        """Makes the requests that wait. They wait on until `was_told`."""
        for name, values in self._untold:
            self._requests.write(name, id_in_storage(self.known), values)

    def was_told(self) -> None:
        """Forgets the requests that wait."""
        self._untold.clear()

    def get_trial(self, trial_id: int) -> Any:
        """What is known of the trial, without a request; another one as it is."""
        return self.known if self._is_own(trial_id) else self._reads.get_trial(trial_id)

    def get_trial_system_attrs(self, trial_id: int) -> Any:
        """The same of its attributes by samplers and pruners."""
        if self._is_own(trial_id):
            return self.known.system_attrs
        return self._reads.get_trial_system_attrs(trial_id)

    def set_trial_param(self, trial_id: int, *values: Any) -> None:
        """Keeps a parameter."""
        self._keep("set_trial_param", trial_id, values)

    def set_trial_intermediate_value(self, trial_id: int, *values: Any) -> None:
        """Keeps the value of an epoch."""
        self._keep("set_trial_intermediate_value", trial_id, values)

    def set_trial_user_attr(self, trial_id: int, *values: Any) -> None:
        """Keeps an attribute."""
        self._keep("set_trial_user_attr", trial_id, values)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keeps an attribute by a sampler or a pruner."""
        self._keep("set_trial_system_attr", trial_id, (key, value))
        if self._is_own(trial_id):
            self.known.system_attrs[key] = value

    def _is_own(self, trial_id: int) -> bool:
        return bool(trial_id == id_in_storage(self.known))

    def _keep(self, name: str, trial_id: int, values: tuple[Any, ...]) -> None:
        if self._is_own(trial_id):
            self._untold.append((name, values))
        else:
            getattr(self._reads, name)(trial_id, *values)


class NotTogether(Exception):
    """Requests could not be made as one: none of them was done."""


def _sessions_of(storage: Any) -> _Sessions | None:
    """The sessions of a database, of which several may be one; None for other storages."""
    registry = getattr(storage, "scoped_session", None)
    if registry is None or isinstance(registry, _Sessions):
        return registry
    sessions = _Sessions(registry)
    replace(storage, "scoped_session", sessions)
    return sessions


def _entries_of(storage: Any) -> JointEntries | None:
    """The file of a journal, if several entries may be one; None for other storages."""
    backend = internals.file_of_journal(storage)
    return backend if isinstance(backend, JointEntries) else None


class _Sessions:
    """Gives the sessions of a database, of which those of a thread may be one for a while.

    Each request of Optuna's asks for a session, commits it and closes it.
    """

    def __init__(self, registry: Any) -> None:
        self._registry, self._own = registry, threading.local()

    def __call__(self) -> Any:
        joint = getattr(self._own, "joint", None)
        if joint is None:
            return self._registry()
        if joint.is_undone:
            raise NotTogether
        return joint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    @property
    def is_joined(self) -> bool:
        """Whether requests of this thread are one transaction now."""
        return getattr(self._own, "joint", None) is not None

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Makes the requests of this thread one transaction.

        Raises:
            NotTogether: if that failed. None of them was done.
        """
        import optuna
        import sqlalchemy

        if self.is_joined:
            yield
            return
        session = self._registry()
        joint = self._own.joint = _Joint(session)
        try:
            with session.no_autoflush:
                yield
            if joint.is_undone:
                raise NotTogether
            session.commit()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            session.rollback()
            raise NotTogether from error
        except BaseException:
            session.rollback()
            raise
        finally:
            self._own.joint = None
            session.close()


class _Joint:
    """A session that requests share: who opened it commits it, rolls it back and closes it."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.is_undone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def commit(self) -> None:
        """Leaves that to who opened it."""

    def rollback(self) -> None:
        """Leaves that to who opened it. What follows is not done."""
        self.is_undone = True

    def close(self) -> None:
        """Leaves that to who opened it."""


class JointEntries:
    """The file of a journal, to which the entries of several requests may be appended as one.

    Args:
        backend: the file, of Optuna's.
    """

    def __init__(self, backend: Any) -> None:
        self._backend, self._own = backend, threading.local()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends entries, or keeps them for a while."""
        kept = getattr(self._own, "kept", None)
        if kept is None:
            self._backend.append_logs(logs)
        else:
            kept.extend(logs)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Reads entries; none while some are kept."""
        if getattr(self._own, "kept", None) is not None:
            return ()
        append, self._own.append = getattr(self._own, "append", None), None
        if append:
            self._backend.append_logs(append)
        found: Iterable[dict[str, Any]] = self._backend.read_logs(log_number_from)
        return found

    @contextlib.contextmanager
    def joined(self, read: Callable[[], Any]) -> Iterator[None]:
        """Appends the entries of this thread as one, when it ends without an error.

        Args:
            read: lets the storage read what is new. Under its lock, in which the entries are
                appended, so that no other thread reads them first: a storage says to the thread
                that asked what cannot be done.
        """
        if getattr(self._own, "kept", None) is not None:
            yield
            return
        kept = self._own.kept = []
        try:
            yield
        finally:
            self._own.kept = None
        self._own.append, refused = kept, None
        for _ in range(len(kept) + 1):  # Of several that cannot be done each is told.
            try:
                read()
                break
            except RuntimeError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def __getstate__(self) -> dict[str, Any]:
        return {"backend": self._backend}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._backend, self._own = state["backend"], threading.local()
