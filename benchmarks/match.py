"""Whether `match` finds what was not said, and deviations how far edges are off: fitted, and measured by set.

    python benchmarks/match.py [--smoke] [--contexts]

Every recording is aligned with its transcript, and again with wrong ones: one word in seven replaced by another of all
transcripts here, drawn alike; one phone in fifteen of the pronunciations by another vowel or consonant; and the whole
transcript by that of the next recording. Where phones are labelled, edges are compared.

Sets are read from ``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are not there. The constants
in ``semihmm/speech/alignment/match.py`` are those printed last: fitted on the sets in the public domain, CC BY, or
synthetic (`FITTED`). Each set's figures are with constants fitted without it, so none is measured on itself.
"""

import argparse
import json
import os
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from semihmm.audio import read_audio
from semihmm.errors import DataError
from semihmm.speech import (
    AcousticModel,
    Aligner,
    Alignment,
    Interval,
    Lexicon,
    Tiers,
    compare,
    load_acoustic_model,
    words_of,
)
from semihmm.speech.alignment.match import Calibration
from semihmm.speech.text.phones import is_silence
from semihmm.speech.text.transcript import is_filler

HERE = Path(__file__).parent
FITTED = {"librivox5": 6, "librispeech4": 5, "arctic1": 10, "synth/en-hts": 2, "synth/en-kal": 2, "ljspeech32": 2}
MEASURED = {"ae-english": 10, "small-gold": 10, "spontaneous-silver": 3}
"""How often each recording of a set is given wrong words: about 400 words or more in all."""

UNIT = 0.1  # of a raw score in the logit that is reported: what is certain must not be rounded to 1
RAW = Calibration(word=(0.0, UNIT), phone=(0.0, UNIT), edge=(0.0, 1.0))
CERTAIN = {False: 30.0, True: 60.0}  # raw scores beyond which nothing more is said, without and with contexts
RATE = 1 / 7
FAR = 0.025
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
_FRAME = 0.01


@dataclass
class Scores:
    """Raw scores, and what they should have said: 1 for what was not said; for edges, the error in frames."""

    words: list[tuple[float, int]] = field(default_factory=list)
    phones: list[tuple[float, int]] = field(default_factory=list)
    files: list[tuple[float, int]] = field(default_factory=list)
    edges: list[tuple[float, float]] = field(default_factory=list)


class Remembering(AcousticModel):
    """A model that is asked for the same recordings again and again."""

    known: ClassVar[dict[int, Tensor]] = {}

    def log_likelihood(self, features: Tensor, *, columns: Tensor | None = None, room: int = 0) -> Tensor:
        columns = self.plain if columns is None else columns
        key = hash((features.numpy().tobytes(), columns.numpy().tobytes(), room))
        if key not in self.known:
            self.known[key] = super().log_likelihood(features, columns=columns, room=room)
        return self.known[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one recording per set; results are not written")
    parser.add_argument("--contexts", action="store_true", help="with phones in context")
    parser.add_argument("--out", type=Path, help="default: results/match.json, or match-contexts.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=150)  # for nine sets side by side
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    sets = {}
    for name in FITTED | MEASURED:
        if (data / name).is_dir():
            items = recordings(data / name)
            sets[name] = items[:1] if arguments.smoke else items
        else:
            console.print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
    if not sets:
        return
    plain = Aligner(load_acoustic_model(contexts=arguments.contexts))
    model = Remembering(**{name: getattr(plain.model, name) for name in plain.model.__dataclass_fields__})
    aligner = replace(plain, model=model, calibration=replace(RAW, certain=CERTAIN[arguments.contexts]))
    vocabulary = sorted({word for items in sets.values() for item in items for word in words_of(item["text"])})
    vocabulary = [word for word in vocabulary if word in aligner.lexicon.entries]
    scores = {}
    for name, items in sets.items():
        scores[name] = measure(aligner, items, vocabulary, 1 if arguments.smoke else (FITTED | MEASURED)[name])
        console.print(f"{name}: {len(scores[name].words)} words", style="dim")
    fit = {name: calibrated([scores[other] for other in FITTED if other in scores and other != name]) for name in sets}
    figures = {name: judge(found, fit[name]) for name, found in scores.items()}
    console.print(table(figures))
    found = calibrated([scores[name] for name in FITTED if name in scores])
    shipped = replace(found, certain=CERTAIN[arguments.contexts])
    console.print(f"all of {', '.join(name for name in FITTED if name in scores)}: {shipped}")
    if not arguments.smoke:
        out = arguments.out or HERE / "results" / f"match{'-contexts' if arguments.contexts else ''}.json"
        content = {"sets": figures, "calibration": asdict(shipped)}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {out}")


def recordings(folder: Path) -> list[dict]:
    """Of a set: wave, sample rate, text and labels; English only."""
    if folder.name == "arctic1":
        text = "He turned sharply, and faced Gregson across the table."
        items = [{"id": "a0009", "audio": "arctic_a0009.wav", "text": text}]
    else:
        lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        items = [item for item in map(json.loads, lines) if item.get("lang", "en") == "en"]
    for item in items:
        item["wave"], item["rate"] = read_audio(folder / item["audio"])
    return items


def measure(aligner: Aligner, items: list[dict], vocabulary: list[str], times: int) -> Scores:
    """Align every recording with right and with wrong transcripts."""
    scores = Scores()
    for item, following in pairwise([*items, items[0]]):
        draw = random.Random(item["id"])
        words = [word for word in words_of(item["text"]) if not is_filler(word)]
        right = align(aligner, item, words)
        assert right is not None
        scores.words += [(raw(word), 0) for word in right.words]
        scores.files.append((right.match, 0))
        if item.get("phones"):
            scores.edges += edges(item, right, 1 / aligner.model.front_end.frame_rate)
        for _ in range(times):
            changed = [draw.choice(vocabulary) if draw.random() < RATE else word for word in words]
            found = align(aligner, item, changed)
            if found is not None:
                said = [_same(aligner.lexicon, *pair) for pair in zip(words, changed, strict=True)]
                scores.words += [(raw(word), int(not same)) for word, same in zip(found.words, said, strict=True)]
        scores.phones += misspelt(aligner, item, words, draw)
        other = following if following is not item else {"text": " ".join(reversed(words))}
        found = align(aligner, item, words_of(other["text"])[: len(words)])
        if found is not None:
            scores.files.append((found.match, 1))
    return scores


def align(aligner: Aligner, item: dict, words: list[str]) -> Alignment | None:
    """None where the words cannot be said as fast as that."""
    try:
        return aligner(item["wave"], item["rate"], " ".join(words))
    except DataError:
        return None


def raw(interval: Interval) -> float:
    """The score behind a match."""
    return float(torch.tensor(interval.match, dtype=torch.float64).logit()) / UNIT


def _same(lexicon: Lexicon, a: str, b: str) -> bool:
    return a == b or bool(set(lexicon.pronounce(a).variants) & set(lexicon.pronounce(b).variants))


def misspelt(aligner: Aligner, item: dict, words: list[str], draw: random.Random) -> list[tuple[float, int]]:
    """The phones of a recording whose dictionary has other vowels for vowels, and consonants for consonants."""
    entries, marks = {}, {}
    consonants = [phone for phone in aligner.model.phones if phone.isalpha() and phone not in {*VOWELS, "SIL"}]
    names = []
    for word in words:
        names.append("q" + "".join(chr(ord("a") + int(digit)) for digit in str(len(names))))
        phones = list(aligner.lexicon.pronounce(word).variants[0])
        wrong = [draw.random() < 1 / 15 for _ in phones]
        for at, phone in enumerate(phones):
            if wrong[at]:
                alike = VOWELS if phone in VOWELS else consonants
                phones[at] = draw.choice([other for other in alike if other != phone])
        entries[names[-1]], marks[names[-1]] = (tuple(phones),), wrong
    found = align(replace(aligner, lexicon=Lexicon(entries)), item, names)
    if found is None:
        return []
    spelt = ((phone, int(mark)) for name in names for phone, mark in zip(entries[name][0], marks[name], strict=True))
    heard, pairs = iter(found.phones), []
    for phone, mark in spelt:
        said = next(said for said in heard if said.label == phone)  # a stop behind a nasal may be nobody's
        pairs.append((raw(said), mark))
    return pairs


def edges(item: dict, found: Alignment, frame: float = _FRAME) -> list[tuple[float, float]]:
    """Deviations and errors of phone onsets, in frames."""
    labels = {kind: tuple(Interval(*x) for x in item[kind] if not is_silence(x[2])) for kind in ("words", "phones")}
    matched = compare(Tiers(**labels), Tiers(found.words, found.phones)).phone_matches
    both = [(pair.other, pair.reference) for pair in matched.pairs if pair.other and pair.reference]
    return [(ours.start_sd / frame, (ours.start - theirs.start) / frame) for ours, theirs in both]


def calibrated(found: list[Scores]) -> Calibration:
    """Constants fitted on sets: logistic regressions, as if `RATE` were wrong, and a normal law of errors."""
    every = Scores()
    for scores in found:
        for name in ("words", "phones", "edges"):
            getattr(every, name).extend(getattr(scores, name))
    deviation, error = torch.tensor(every.edges, dtype=torch.float64).reshape(-1, 2).unbind(1)

    def surprise(log_constants: Tensor) -> Tensor:
        floor, scale = log_constants.exp().square()
        variance = floor + scale * deviation.square()
        return (error.square() / variance + variance.log()).mean()

    return Calibration(
        _logistic(every.words), _logistic(every.phones), tuple(round(x, 3) for x in _least(surprise).exp().tolist())
    )


def _logistic(pairs: list[tuple[float, int]]) -> tuple[float, float]:
    score, wrong = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    weight = torch.where(wrong == 1, RATE / wrong.sum(), (1 - RATE) / (1 - wrong).sum())

    def surprise(line: Tensor) -> Tensor:
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        return bce(line[0] + line[1] * score, 1 - wrong, weight, reduction="sum")

    a, b = _least(surprise).tolist()
    return round(a, 3), round(b, 3)


def _least(function: Callable[[Tensor], Tensor]) -> Tensor:
    """Where a function of two numbers is smallest."""
    at = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([at], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        value = function(at)
        value.backward()
        return value

    search.step(closure)
    return at.detach()


def judge(found: Scores, calibration: Calibration) -> dict:
    """The figures of one set."""
    score, wrong = torch.tensor(found.words, dtype=torch.float64).unbind(1)
    flagged = calibration.word[0] + calibration.word[1] * score < 0
    figures = {
        "words": len(score),
        "wrong words": int(wrong.sum()),
        "AUC of words": auc(found.words),
        "wrong words found": float(flagged[wrong == 1].double().mean()),
        "false alarms": float(flagged[wrong == 0].double().mean()),
        "AUC of phones": auc(found.phones),
        "AUC of transcripts": auc(found.files),
    }
    if found.edges:
        deviation, error = torch.tensor(found.edges, dtype=torch.float64).unbind(1)
        deviation = (calibration.edge[0] ** 2 + (calibration.edge[1] * deviation) ** 2).sqrt()
        off = [(-sd, int(abs(e) * _FRAME > FAR)) for sd, e in zip(deviation.tolist(), error.tolist(), strict=True)]
        figures |= {
            "edges": len(error),
            "off by more than 25 ms": sum(mark for _, mark in off),
            "AUC of edges": auc(off),
            "within 1 sd": float((error.abs() <= deviation).double().mean()),
            "within 2 sd": float((error.abs() <= 2 * deviation).double().mean()),
            "median sd (ms)": 1000 * _FRAME * float(deviation.median()),
        }
    return {name: None if value != value else round(value, 3) for name, value in figures.items()}  # JSON has no NaN


def auc(pairs: list[tuple[float, int]]) -> float:
    """Probability that what is wrong has the lower score, of a pair drawn at random; NaN without both kinds."""
    score, wrong = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2).unbind(1)
    bad, good = score[wrong == 1, None], score[wrong == 0]
    return float(((bad < good).double() + 0.5 * (bad == good)).mean())


def table(figures: dict[str, dict]) -> Table:
    """One row per figure, one column per set."""
    result = Table(title="match and deviations, constants fitted on other sets", title_justify="left")
    result.add_column("", no_wrap=True)
    for name in figures:
        result.add_column(name.replace("/", " ").replace("-", " "), justify="right")
    for row in dict.fromkeys(row for column in figures.values() for row in column):
        cells = (column.get(row) for column in figures.values())
        result.add_row(row, *("–" if cell is None else f"{cell:g}" for cell in cells))
    return result


if __name__ == "__main__":
    main()
