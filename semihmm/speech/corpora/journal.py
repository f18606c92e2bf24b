"""What happens in a run, through the standard logging module: a record for each recording, and for each warning."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

JOURNAL = logging.getLogger("semihmm.speech")
JOURNAL.addHandler(logging.NullHandler())  # without one, Python prints warnings where nobody asked for a log


def record(level: int, event: str, details: Mapping[str, Any]) -> None:
    """Log an event with what there is to know of it."""
    said = " ".join(str(value) for value in details.values() if value is not None)
    said = said.encode("utf-8", "backslashreplace").decode()  # names of files may hold what no encoding has
    JOURNAL.log(level, "%s: %s", event, said, extra={"event": event, "details": details})


@contextmanager
def journal(path: Path | None) -> Iterator[None]:
    """Adds what is logged to a file of JSON lines; without a path, nothing happens.

    Each line is written at once, after those of earlier runs, so that a run that is killed leaves whole lines only.

    Raises:
        OSError: the file cannot be written to.
    """
    if path is None:
        yield
        return
    handler, level = _Lines(path), JOURNAL.level
    JOURNAL.addHandler(handler)
    JOURNAL.setLevel(logging.INFO)
    try:
        yield
    finally:
        JOURNAL.removeHandler(handler)
        JOURNAL.setLevel(level)
        handler.close()


class _Lines(logging.Handler):
    """Appends each record to a file as one line of JSON."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def emit(self, record: logging.LogRecord) -> None:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        content = {
            "time": time,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            **getattr(record, "details", {"message": record.getMessage()}),
        }
        line = f"{json.dumps(content, ensure_ascii=False)}\n".encode("utf-8", "backslashreplace")
        size = os.fstat(self._file).st_size
        if os.write(self._file, line) < len(line):
            os.ftruncate(self._file, size)
            raise OSError("the log cannot be written to: the disk is full.")

    def close(self) -> None:
        os.close(self._file)
        super().close()
