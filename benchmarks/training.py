"""How far phones are from known ones when a model is trained from a flat start, without a label.

    python benchmarks/training.py [SET ...] [--jobs N] [--smoke]

Sets, read from ``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are not there:

- ``ae-english``: hand labels of five sentences of a man. In training, without labels: they, and 32 clips of LJ Speech
  and 5 sentences of LibriVox, by two other readers; 4.5 minutes.
- ``voxangeles``: 1,014 words in 25 languages, hand-corrected; phones given. In training, without labels: all of them.
- ``synth/ja-mei``, ``synth/ko-espeak``, ``synth/zh-espeak``: synthetic, exact. Phones given, and where a pause may be:
  where the voice makes one. Each sentence is aligned by a model trained on the 29 others.

All take the same recipe, that of ``semihmm train``. Peers' figures are those that the sets' READMEs give.
"""

import argparse
import json
import os
import platform
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from _boundaries import summary
from rich.console import Console

from semihmm.audio import read_audio
from semihmm.cli.show import error_table
from semihmm.speech import (
    AcousticModel,
    Aligner,
    BoundaryErrors,
    Interval,
    Lexicon,
    Pronunciation,
    Tiers,
    compare,
    load_lexicon,
)
from semihmm.speech.text.phones import is_silence
from semihmm.speech.training import Utterance, train
from semihmm.speech.training.reading import pronounced
from semihmm.speech.training.sharing import in_threads

HERE = Path(__file__).parent
ENGLISH, FIELD = "ae-english", "voxangeles"
SYNTHETIC = ("synth/ja-mei", "synth/ko-espeak", "synth/zh-espeak")
PEERS = {
    ENGLISH: "an MFA-recipe trainer: mean 31.1 ms, median 12.2 ms, 66.7 % within 20 ms, 85.4 % within 50 ms",
    FIELD: "an MFA-recipe trainer: median 23.6 ms, of internal onsets 20.0 ms",
    "synth/ja-mei": "a neural aligner: 42.6 % within 20 ms",
}
MARKS = "ːˑˈˌʰʷʲˠˤʼⁿˡ͡˞̚ˀʱ‿"  # of length, stress, aspiration, ...: one phone with them and without


@dataclass(frozen=True)
class Item:
    """An utterance and what is known of it: phones, and words where there are any."""

    utterance: Utterance
    text: str
    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]


@dataclass
class Figures:
    """Onsets; those of phones that follow on another, and ends of the last phones; how long training took."""

    onsets: BoundaryErrors
    internal: BoundaryErrors
    ends: BoundaryErrors
    seconds: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", default=[ENGLISH, FIELD, *SYNTHETIC])
    parser.add_argument("--jobs", type=int, default=2, help="threads in training")
    parser.add_argument("--smoke", action="store_true", help="a few recordings per set; results are not written")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "training.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.sets:
        if not (data / name / "manifest.jsonl").is_file():
            console.print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
            continue
        figures = measure(name, data, arguments.jobs, smoke=arguments.smoke)
        columns = {
            "onsets": figures.onsets,
            "internal": figures.internal,
            "onsets and ends": figures.onsets + figures.ends,
        }
        console.print(error_table(name, columns))
        console.print(f"trained in {figures.seconds:.1f} s ({figures.processor:.1f} s of processors)", highlight=False)
        if name in PEERS:
            console.print(PEERS[name], highlight=False)
        results[name] = {"trained in seconds": round(figures.seconds, 1), "of processors": round(figures.processor, 1)}
        results[name] |= {column: summary(errors) for column, errors in columns.items()}
    if results and not arguments.smoke:
        results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def measure(name: str, data: Path, jobs: int, *, smoke: bool) -> Figures:
    """Train as the set asks for, and align it."""
    few = 2 if smoke else None
    if name == ENGLISH:
        lexicon = load_lexicon("en")
        scored = [spoken(item, data / name, lexicon) for item in listed(data / name)[:few]]
        others = [
            spoken(item, data / more, lexicon)
            for more in ("ljspeech32", "librivox5")
            for item in listed(data / more)[:few]
        ]
        model, seconds, processor = trained([*others, *scored], jobs)
        return figures(scored, [model] * len(scored), seconds, processor)
    scored = [phonetic(item, data / name) for item in listed(data / name)[:few]]
    if name not in SYNTHETIC:
        model, seconds, processor = trained(scored, jobs)
        return figures(scored, [model] * len(scored), seconds, processor)
    models, seconds, processor = [], 0.0, 0.0
    phones = {phone for item in scored for phone in item.utterance.phones}
    for left_out in range(len(scored)):
        model, more, of_processor = trained(scored[:left_out] + scored[left_out + 1 :], jobs, phones)
        models.append(model)
        seconds, processor = seconds + more, processor + of_processor
    return figures(scored, models, seconds / len(scored), processor / len(scored))


def listed(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def spoken(item: dict, folder: Path, lexicon: Lexicon) -> Item:
    """A recording with a transcript in words."""
    wave, rate = read_audio(folder / item["audio"])
    utterance = Utterance(item["id"], wave, rate, pronounced(item["text"], lexicon))
    labels = (tuple(Interval(*label) for label in item.get(tier, ())) for tier in ("words", "phones"))
    return Item(utterance, item["text"], *labels)


def phonetic(item: dict, folder: Path) -> Item:
    """A recording with a transcript in phones: words are what pauses part."""
    wave, rate = read_audio(folder / item["audio"])
    labels = [Interval(start, end, label) for start, end, label in item["phones"]]
    groups: list[list[str]] = [[]]
    for label in labels:
        if is_silence(label.label):
            groups.append([])
        else:
            groups[-1].append(plain(label.label))
    said = [tuple(phones) for phones in groups if phones]
    words = tuple(Pronunciation(f"word{chr(97 + n // 26)}{chr(97 + n % 26)}", (p,)) for n, p in enumerate(said))
    kept = tuple(label for label in labels if not is_silence(label.label))
    return Item(Utterance(item["id"], wave, rate, words), " ".join(word.word for word in words), (), kept)


def plain(phone: str) -> str:
    """A phone without marks."""
    bare = "".join(c for c in unicodedata.normalize("NFD", phone) if not unicodedata.combining(c) and c not in MARKS)
    return bare or phone


def trained(
    items: Sequence[Item], jobs: int, phones: Sequence[str] | set[str] = ()
) -> tuple[AcousticModel, float, float]:
    """A model, and the seconds that it took, by the clock and of processors."""
    begin, processor = time.perf_counter(), time.process_time()
    model = train([item.utterance for item in items], phones=phones, each=in_threads(jobs))
    return model, time.perf_counter() - begin, time.process_time() - processor


def figures(items: Sequence[Item], models: Sequence[AcousticModel], seconds: float, processor: float) -> Figures:
    """Each item aligned by its model, as a user would."""
    found = Figures(BoundaryErrors(), BoundaryErrors(), BoundaryErrors(), seconds, processor)
    for item, model in zip(items, models, strict=True):
        words = {word.word: word.variants for word in item.utterance.words}
        aligner = Aligner(model, Lexicon(words, language="en"))
        text = item.text if item.words else " ".join(words)
        wave, rate = item.utterance.wave, item.utterance.sample_rate
        aligned = aligner(wave, rate, text)
        if item.words:
            matches = compare(Tiers(item.words, item.phones), Tiers(aligned.words, aligned.phones)).phone_matches
            assert matches is not None
            found.onsets, found.internal = found.onsets + matches.starts, found.internal + matches.internal
            continue
        pairs = list(zip(item.phones, aligned.phones, strict=True))  # the same phones
        onsets = [other.start - label.start for label, other in pairs]
        inside = [n for n, (label, _) in enumerate(pairs) if n and label.start - pairs[n - 1][0].end < 1e-3]
        found.onsets += BoundaryErrors(tuple(onsets))
        found.internal += BoundaryErrors(tuple(onsets[n] for n in inside))
        found.ends += BoundaryErrors((pairs[-1][1].end - pairs[-1][0].end,))
    return found


if __name__ == "__main__":
    main()
