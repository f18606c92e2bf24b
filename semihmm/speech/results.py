"""The result of aligning one recording, and its JSON form."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from semihmm._files import atomically
from semihmm.errors import DataError
from semihmm.speech.intervals import Interval
from semihmm.speech.textgrid import save_textgrid
from semihmm.types import Seconds

_FORMAT = "semihmm-alignment-1"


@dataclass(frozen=True)
class Alternative:
    """One of the most probable readings of the transcript.

    Args:
        log_prob: log-posterior of the pronunciations that it takes, whenever they are said, in nats.
        words: as in `Alignment`, without confidences.
        phones: as in `Alignment`, without confidences.
    """

    log_prob: float
    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]


@dataclass(frozen=True)
class Alignment:
    """Where each word and phone of a transcript is in its recording.

    Args:
        text: the transcript, as given.
        duration: of the recording.
        words: in order of time, with confidences; the pauses between them are left out.
        phones: the same for the phones of the pronunciations chosen.
        frames: number of feature vectors.
        log_likelihood: log-likelihood of the recording under the transcript's graph, all paths together, in nats.
        free_log_likelihood: the same under a free phone loop, which knows no transcript: their difference is the
            log-likelihood ratio of the transcript. None in results of earlier versions, like the next.
        match: the share of the words that were said, as the sum of their matches would have it.
        suspicious: stretches to listen to, each labelled with the reason.
        unknown: pronunciations of the words that no dictionary had.
        alternatives: the most probable readings, best first, as many as were asked for: no two take the same
            pronunciations. The first is nearly always that of the alignment itself.
    """

    text: str
    duration: Seconds
    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]
    frames: int
    log_likelihood: float
    free_log_likelihood: float | None = None
    match: float | None = None
    suspicious: tuple[Interval, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()

    def save(self, textgrid: Path, record: Path, *, options: dict[str, Any] | None = None) -> None:
        """Write the TextGrid and then the JSON, each all at once: where the JSON exists, both are complete.

        Args:
            textgrid: path of the TextGrid, with tiers ``words`` and ``phones``.
            record: path of the JSON file.
            options: what the result depends on; kept in the JSON for `is_finished` to compare.
        """
        with atomically(textgrid) as temporary:
            save_textgrid(temporary, {"words": self.words, "phones": self.phones}, duration=self.duration)
        with atomically(record) as temporary:
            content = {"format": _FORMAT, "options": options or {}, **asdict(self)}
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, record: Path) -> "Alignment":
        """Read what `save` wrote.

        Raises:
            DataError: the file is not such a JSON file.
        """
        content = _read(record)
        try:
            del content["format"], content["options"]
            content.setdefault("suspicious", ())  # in results of earlier versions
            for name in ("words", "phones", "suspicious"):
                content[name] = tuple(Interval(**item) for item in content[name])
            content["alternatives"] = tuple(
                Alternative(
                    item["log_prob"],
                    tuple(Interval(**word) for word in item["words"]),
                    tuple(Interval(**phone) for phone in item["phones"]),
                )
                for item in content["alternatives"]
            )
            return cls(**content)
        except (KeyError, TypeError) as error:
            raise DataError(
                f"Alignment.load: {record} lacks a part of an alignment, or has one too many ({error})."
            ) from error


def is_finished(textgrid: Path, record: Path, *, options: dict[str, Any]) -> bool:
    """Whether both files of a result are there, readable, and made with the same options."""
    try:
        return textgrid.stat().st_size > 0 and _read(record)["options"] == options and bool(Alignment.load(record))
    except (OSError, DataError):
        return False


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"Alignment.load: cannot read {record} as JSON ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"Alignment.load: {record} is not a file that 'semihmm align' wrote (no format {_FORMAT!r}).")
    return content
