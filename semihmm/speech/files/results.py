"""The result of aligning one recording, and its JSON form."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from semihmm._files import atomically
from semihmm.errors import DataError
from semihmm.speech.files.textgrid import read_tiers, save_textgrid
from semihmm.speech.intervals import Interval
from semihmm.speech.text.transcript import Token
from semihmm.types import Hertz, Seconds

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
        tokens: everything that the transcript holds, as it was written, with the words said for it and their times.
        unaligned: why, by stretch, for the utterances that could not be aligned.
        sample_rate: of the recording as it was given.
        pauses: between, before and after the words, labelled with nothing or, where there is speech that the transcript
            does not hold, with an asterisk.
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
    tokens: tuple[Token, ...] = ()
    unaligned: dict[str, str] = field(default_factory=dict)
    sample_rate: Hertz | None = None
    pauses: tuple[Interval, ...] = ()

    def tiers(self) -> dict[str, list[Interval]]:
        """The tiers ``words``, ``phones`` and ``written``, the transcript as given.

        Of several speakers, such tiers for each: ``Ann - words``.
        """
        written = [
            Interval(token.start, token.end, token.written, speaker=token.speaker)
            for token in self.tokens
            if token.start is not None and token.end is not None
        ]
        items = {"words": self.words, "phones": self.phones, "written": written}
        speakers = list(dict.fromkeys(word.speaker for word in self.words)) or [None]
        return {
            f"{speaker} - {name}" if speaker and len(speakers) > 1 else name: [
                item for item in intervals if item.speaker == speaker
            ]
            for speaker in speakers
            for name, intervals in items.items()
        }

    def without_entropy(self) -> "Alignment":
        """The same, where nobody wants to know how unsure it is."""
        words, phones = (tuple(replace(item, entropy=None) for item in items) for items in (self.words, self.phones))
        return replace(self, words=words, phones=phones)

    def save(self, textgrid: Path, record: Path, *, options: dict[str, Any] | None = None) -> None:
        """Write the TextGrid and then the JSON, each all at once: where the JSON exists, both are complete.

        Args:
            textgrid: path of the TextGrid, with the `tiers`.
            record: path of the JSON file.
            options: what the result depends on; kept in the JSON for `finished` to compare.
        """
        record.unlink(missing_ok=True)
        with atomically(textgrid) as temporary:
            save_textgrid(temporary, self.tiers(), duration=self.duration)
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
            content = {"suspicious": (), "pauses": (), **content}  # which results of earlier versions lack
            for name in ("words", "phones", "suspicious", "pauses"):
                content[name] = tuple(Interval(**item) for item in content[name])
            content["alternatives"] = tuple(
                Alternative(
                    item["log_prob"],
                    tuple(Interval(**word) for word in item["words"]),
                    tuple(Interval(**phone) for phone in item["phones"]),
                )
                for item in content["alternatives"]
            )
            content["tokens"] = tuple(
                Token(**(item | {"spoken": tuple(item["spoken"])})) for item in content.get("tokens", ())
            )
            return cls(**content)
        except (KeyError, TypeError) as error:
            raise DataError(
                f"Alignment.load: {record} lacks a part of an alignment, or has one too many ({error})."
            ) from error


def finished(textgrid: Path, record: Path, *, options: dict[str, Any]) -> Alignment | None:
    """The alignment, if both files of a result are there, whole, and made with the same options.

    The TextGrid may differ from the alignment: somebody may have corrected it.
    """
    try:
        if _read(record).get("options") == options and read_tiers(textgrid):
            return Alignment.load(record)
    except DataError:
        pass
    return None


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"Alignment.load: cannot read {record} as JSON ({error}).") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DataError(f"Alignment.load: {record} is not a file that 'semihmm align' wrote (no format {_FORMAT!r}).")
    return content
