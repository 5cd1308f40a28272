"""A command: its options, its help, and how it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from absl import flags

from kerasreg._files import free_bytes
from kerasreg._keras.patching import original, patched
from kerasreg.cli._options import help_of, parse

HELP = ("--help", "-h", "-help", "--helpfull")


class UsageError(Exception):
    """What the user gave cannot be used: one line, exit code 2."""


class FailedError(Exception):
    """A command could not do its work: one line, exit code 1."""


class InterruptionError(Exception):
    """A command was told to end: one line, exit code 130."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `kerasreg`.

    Attributes:
        name: its first argument.
        summary: the lines of the list of all commands.
        purpose: the title of its help.
        examples: calls, in its help.
        options: the dataclass of its options.
        run: does its work, given the options, the names of those that were given, and the
            arguments that are no flags, None for one that is missing.
        takes: the arguments that are no flags, and flags that it needs, as the help shows them.
        paths: how many arguments that are no flags there may be, if it takes any.
    """

    name: str
    summary: Sequence[str]
    purpose: str
    examples: Sequence[str]
    options: type
    run: Callable[..., None]
    takes: str = ""
    paths: int = 1

    def __call__(self, arguments: Sequence[str]) -> None:
        """Runs the command, or prints its help.

        Raises:
            UsageError: if it can't use what it was given.
            FailedError: if it could not do its work.
        """
        if any(one in HELP for one in arguments):
            print(self.help())
            return
        try:
            options, given, rest = parse(self.options, self.name, arguments)
        except flags.Error as error:
            raise UsageError(str(error)) from error
        most = self.paths if self.takes else 0
        if len(rest) > most:
            raise UsageError(f"unexpected argument {rest[most]!r}; see kerasreg {self.name} --help")
        self.run(options, given, *rest, *[None] * (self.paths - len(rest)))

    def help(self) -> str:
        """How the command is called, and each of its flags."""
        takes = f"{self.takes} " if self.takes else ""
        lines = [f"kerasreg {self.name}: {self.purpose}", ""]
        lines += [f"Usage: kerasreg {self.name} {takes}[--flag=value ...]", ""]
        lines += [f"  {example}" for example in self.examples]
        return "\n".join([*lines, "", "Flags:", *help_of(self.options)])


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """A `ValueError`, or a package that is missing, is the user's to mend."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error
    except ModuleNotFoundError as error:
        if error.name in ("keras", "tensorflow", "jax", "torch"):
            raise UsageError(
                f"Keras needs a backend ({error}); install one with: "
                "pip install 'kerasreg[tensorflow-cpu]'"
            ) from error
        if error.name not in ("sklearn", "pandas", "pyarrow"):
            raise
        raise UsageError(
            f"{error.name} is missing; install it with: pip install 'kerasreg[search]'"
        ) from error


@contextlib.contextmanager
def failing(*errors: type[Exception]) -> Iterator[None]:
    """Errors of these types are a failure of the command."""
    try:
        yield
    except errors as error:
        raise FailedError(str(error)) from error


@contextlib.contextmanager
def writing(folder: str) -> Iterator[None]:
    """Errors of the system, and of TensorFlow, while a folder is written are a failure.

    TensorFlow, which is to be loaded before, has its own errors for those of the system. What is
    warned of is a note.
    """
    import tensorflow as tf

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, UserWarning):
            note(" ".join(str(message).split()))
        else:
            original(warnings, "showwarning")(message, category, filename, lineno, file, line)

    try:
        with (
            failing(RuntimeError, OSError, tf.errors.OpError),
            patched(warnings, showwarning=show),
        ):
            yield
    except FailedError as error:
        if os.strerror(errno.ENOSPC) not in str(error):
            raise
        free = f"{free_bytes(folder)} bytes are free"
        told = "" if "bytes are free" in str(error) else f", {free}"
        raise FailedError(f"the disk of {folder!r} is full{told}: {error}") from error


def check_writable(flag: str, folder: str) -> None:
    """Refuses a folder that cannot be made, or written, before anything is computed."""
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if os.path.isdir(existing) and not os.access(existing, os.W_OK | os.X_OK):
        shown = folder if os.path.exists(folder) else existing
        raise UsageError(f"{flag} must be a folder that can be written; {shown!r} is not")


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Imports TensorFlow and what is imported inside, without what they print."""
    # TensorFlow reads its log level when it is loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_start():
        import tensorflow as tf

        yield
        tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow prints while it is loaded, before it obeys any log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def note(line: str) -> None:
    """Prints what the user has to know, apart from the results."""
    print(f"kerasreg: note: {line}", file=sys.stderr, flush=True)


def write(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)
