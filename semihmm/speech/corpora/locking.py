"""Keeping two runs out of one folder, on one machine or on several.

A run holds a lock of the operating system, which ends with its process however that ends. Some network file systems
keep such locks within each machine (NFS mounted with ``nolock`` or ``local_lock``, SMB, Lustre with ``localflock``). So
a run also keeps a file there that names its machine, and touches it all the while: a run on another machine is refused
until that file has not changed for a minute, by the file server's clock.
"""

import os
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.types import Seconds

_LOCK, _MARK = ".semihmm.lock", ".semihmm.run"
_BEAT: Seconds = 10.0
_DEAD: Seconds = 60.0
_PARTIAL = re.compile(r"\..+\.[0-9a-f]+\.partial")  # what `atomically` leaves behind if it is killed


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keeps other runs out of a folder of results, which is made as needed and rid of what a killed run left half done.

    Raises:
        DataError: another run writes there now, or nobody can.
        DependencyError: ``filelock`` is not installed.
    """
    filelock = require("filelock", extra="speech", purpose="Keeping two runs out of one folder")
    lock = filelock.FileLock(out / _LOCK, timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise DataError(_taken(out)) from None
    except (OSError, NotImplementedError) as error:  # not implemented: the file system has no locks
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"results cannot be written to {out} ({reason}). Choose another folder.") from error
    try:
        with _marked(out):
            for path in out.rglob(".*.partial"):
                if _PARTIAL.fullmatch(path.name):
                    path.unlink()
            yield
    finally:
        lock.release()


@contextmanager
def _marked(out: Path) -> Iterator[None]:
    """Has a file in a folder, touched all the while, that says on which machine its run is."""
    mark, ended = out / _MARK, threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):
                mark.touch()

    while True:
        try:
            with mark.open("x", encoding="utf-8") as file:
                file.write(platform.node())
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                os.utime(out / _LOCK)  # now, by the file server's clock
                age = (out / _LOCK).stat().st_mtime - mark.stat().st_mtime
                if _holder(out) != platform.node() and age < _DEAD:  # of this machine, the lock tells
                    raise DataError(f"{_taken(out)} If it was killed, wait a minute.") from None
                mark.unlink()
    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        mark.unlink(missing_ok=True)


def _holder(out: Path) -> str:
    """The machine whose run has a folder; nothing where that is not known."""
    with suppress(OSError, UnicodeDecodeError):
        return (out / _MARK).read_text(encoding="utf-8")
    return ""


def _taken(out: Path) -> str:
    where = f" on {machine}" if (machine := _holder(out)) else ""
    return f"another run{where} is writing its results to {out}. Wait for it, or choose another folder."
