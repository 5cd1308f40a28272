"""A PostgreSQL server of its own for a while, where a package such as Debian's is installed."""

import contextlib
import glob
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

# PostgreSQL refuses to run as root.
USER = "postgres" if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def missing():
    """What is missing for a server and for a client, in words; None if all is there."""
    if folder() is None:
        return "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
    if driver() is None:
        return "no driver of PostgreSQL is installed (pip install 'psycopg[binary]')"
    return None


def folder():
    """The folder of the programs of PostgreSQL, or None."""
    found = shutil.which("pg_ctl")
    if found:
        return os.path.dirname(os.path.realpath(found))
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"))
    return os.path.dirname(found[-1]) if found else None


def driver():
    """The name of a module that reaches PostgreSQL, or None."""
    names = ("psycopg", "psycopg2")
    return next((name for name in names if importlib.util.find_spec(name)), None)


class Server:
    """A server that runs, with an empty database.

    Attributes:
        url: of the database, as SQLAlchemy reads it.
    """

    def __init__(self, at):
        self._at, self._programs = at, folder()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._call("initdb", "-A", "trust", "-U", "kerasreg", "-N", "-D", f"{at}/data")
        with open(os.path.join(at, "data", "postgresql.conf"), "a") as file:
            file.write(
                f"port = {self._port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{at}'\nmax_connections = 200\n"
            )
        self.start()
        self.url = f"postgresql+{driver()}://kerasreg@127.0.0.1:{self._port}/postgres"

    def start(self):
        """Starts it, and waits until it answers."""
        self._call("pg_ctl", "-w", "-D", f"{self._at}/data", "-l", f"{self._at}/log", "start")

    def stop(self):
        """Stops it: connections are cut, and what was committed stays."""
        self._call("pg_ctl", "-w", "-m", "fast", "-D", f"{self._at}/data", "stop")

    def _call(self, name, *arguments):
        program = os.path.join(self._programs, name)
        done = subprocess.run(
            [program, *arguments],
            user=USER,
            cwd=self._at,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # A pipe would stay open as long as the server runs.
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            log = pathlib.Path(self._at, "log")
            raise RuntimeError(f"{name} failed: {log.read_text() if log.exists() else ''}")


@contextlib.contextmanager
def server():
    """A server while it is needed."""
    with tempfile.TemporaryDirectory() as at:
        if USER is not None:
            shutil.chown(at, USER)
        running = Server(at)
        try:
            yield running
        finally:
            with contextlib.suppress(RuntimeError):
                running.stop()
