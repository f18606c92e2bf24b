"""An hour of speech, aligned in one call: peak memory, time, and how far the last words are from where they were put.

    python benchmarks/long_alignment.py [--minutes 60] [--smoke]

Recordings of which it is known where each begins are joined to one file, and ``semihmm align`` aligns it, in a process
of its own, as a user would. Sets, read from ``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are
not there: ``fsdd`` (digits of four speakers, drawn at random) and ``librivox5`` (five sentences, again and again); with
``--smoke``, a minute of the recordings in ``examples/data``. "By hand" are tenths of the recordings, each aligned in a
call of its own.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import soundfile
import torch
from rich.console import Console

from semihmm.audio import read_audio, resample
from semihmm.speech import Aligner, Alignment, words_of

HERE = Path(__file__).parent
RATE = 16000
DIGITS = "zero one two three four five six seven eight nine".split()


@dataclass(frozen=True)
class Clip:
    """A recording and its words."""

    wave: torch.Tensor
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a minute of examples/data; results are not written")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "long_alignment.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(soft_wrap=True)
    results = {}
    for name, clips in sources(arguments.smoke, console):
        results[name] = measure(clips, 60 * (1 if arguments.smoke else arguments.minutes))
        for figure, value in results[name].items():
            console.print(f"{name}: {figure} {value}", highlight=False)
    if results and not arguments.smoke:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def sources(smoke: bool, console: Console) -> Iterator[tuple[str, list[Clip]]]:
    """Sets of clips by name."""
    if smoke:
        folder = HERE.parent / "examples" / "data"
        texts = sorted(folder.glob("austen-*.txt"))
        yield "examples", [Clip(read_audio(p.with_suffix(".wav"))[0], p.read_text(encoding="utf-8")) for p in texts]
        return
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    for name in ("fsdd", "librivox5"):
        if not (data / name).is_dir():
            console.print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
        elif name == "fsdd":
            files = sorted((data / name).glob("*.flac"))
            yield name, [Clip(at_rate(file), DIGITS[int(file.name[0])]) for file in files]
        else:
            lines = (data / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
            items = [json.loads(line) for line in lines]
            yield name, [Clip(at_rate(data / name / item["audio"]), item["text"]) for item in items]


def at_rate(path: Path) -> torch.Tensor:
    wave, rate = read_audio(path)
    return resample(wave, source=rate, target=RATE)


def measure(clips: list[Clip], seconds: float) -> dict[str, float]:
    """Join clips, align them at once in a process of its own, and in tenths here."""
    draw = random.Random(0)
    shuffled: list[Clip] = []
    samples = 0
    while samples < seconds * RATE:
        clip = draw.choice(clips) if len(clips) > 10 else clips[len(shuffled) % len(clips)]
        shuffled.append(clip)
        samples += len(clip.wave)
    with tempfile.TemporaryDirectory() as name:
        corpus, out = Path(name) / "corpus", Path(name) / "out"
        corpus.mkdir()
        wave = torch.cat([clip.wave for clip in shuffled])
        soundfile.write(corpus / "joined.wav", wave.numpy(), RATE)
        (corpus / "joined.txt").write_text("\n".join(clip.text for clip in shuffled), encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [str(Path(sys.executable).with_name("semihmm")), "align", str(corpus), "--out", str(out)]
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        aligned = Alignment.load(out / "joined.json")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    begins, numbers = positions(shuffled)
    joined = [aligned.words[number].start for number in numbers]
    return {
        "minutes": round(samples / RATE / 60, 1),
        "words": len(aligned.words),
        "peak memory (MB)": round(after.ru_maxrss / 1024),
        "processor time with start-up (s)": round(spent, 1),
        "times real time with start-up": round(samples / RATE / spent, 1),
        "onset of the last recording's first word, from where it was put (ms)": round(
            1000 * (joined[-1] - begins[-1]), 1
        ),
        **by_hand(shuffled, begins, numbers, aligned),
    }


def positions(clips: list[Clip]) -> tuple[list[float], list[int]]:
    """Where each clip begins, in seconds, and the number of its first word."""
    begins, numbers, samples, words = [], [], 0, 0
    for clip in clips:
        begins.append(samples / RATE)
        numbers.append(words)
        samples += len(clip.wave)
        words += len(words_of(clip.text))
    return begins, numbers


def by_hand(clips: list[Clip], begins: list[float], numbers: list[int], aligned: Alignment) -> dict[str, float]:
    """How far the words are from those of tenths, aligned each by itself."""
    aligner = Aligner()
    differences: list[float] = []
    size = -(-len(clips) // 10)
    for first in range(0, len(clips), size):
        part = clips[first : first + size]
        found = aligner(torch.cat([clip.wave for clip in part]), RATE, " ".join(clip.text for clip in part))
        inside = aligned.words[numbers[first] : numbers[first] + len(found.words)]
        pairs = zip(inside, found.words, strict=True)
        differences += [abs(one.start - other.start - begins[first]) for one, other in pairs]
        last = (inside[-1].end, found.words[-1].end + begins[first])
    return {
        "end of the last word, from where it is by hand (ms)": round(1000 * (last[0] - last[1]), 1),
        "onsets of words from where they are by hand: median (ms)": round(1000 * median(differences), 1),
        "the same, within 30 ms (%)": round(100 * sum(d <= 0.03 for d in differences) / len(differences), 2),
        "the same, largest (ms)": round(1000 * max(differences), 1),
    }


if __name__ == "__main__":
    main()
