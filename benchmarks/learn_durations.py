"""Learns how long English phones last: the table in ``semihmm/speech/alignment/durations.py``.

    python benchmarks/learn_durations.py [--smoke]

Phones are measured in alignments without explicit durations, of recordings that are in the public domain or CC BY, and
that no benchmark scores for onsets: ``librivox5``, ``ljspeech32``, ``librispeech4`` and ``arctic1``, read from
``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are not there; with ``--smoke``, those in
``examples/data`` alone. Mean and spread of rare phones are drawn towards those of all.
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, pvariance

import torch

from semihmm.audio import read_audio
from semihmm.speech import Aligner

HERE = Path(__file__).parent
SETS = ("librivox5", "ljspeech32", "librispeech4")
ARCTIC = ("arctic1/arctic_a0009.wav", "he turned sharply and faced gregson across the table")
OF_MEAN, OF_SPREAD, SPREAD = 5, 10, 0.45  # how many phones the prior counts for, and its deviation over its mean


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one recording of the examples")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    aligner = Aligner(durations=None)
    lengths: dict[str, list[float]] = defaultdict(list)
    for audio, text in smallest() if arguments.smoke else recordings():
        wave, rate = read_audio(audio)
        for phone in aligner(wave, rate, text).phones:
            if phone.label.isalpha():  # neither noises nor free speech
                lengths[phone.label].append(phone.end - phone.start)
    everything = fmean(length for own in lengths.values() for length in own)
    for phone, own in sorted(lengths.items()):
        mean = (sum(own) + OF_MEAN * everything) / (len(own) + OF_MEAN)
        variance = (len(own) * pvariance(own) + OF_SPREAD * (SPREAD * mean) ** 2) / (len(own) + OF_SPREAD)
        print(f"{phone} {1000 * mean:.0f} {1000 * variance**0.5:.0f}", end="  ")
    print(f"\n{sum(map(len, lengths.values()))} phones: name, mean and standard deviation in ms")


def smallest() -> Iterator[tuple[Path, str]]:
    audio = HERE.parent / "examples" / "data" / "austen-0880.wav"
    yield audio, audio.with_suffix(".txt").read_text(encoding="utf-8")


def recordings() -> Iterator[tuple[Path, str]]:
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    for name in SETS:
        manifest = data / name / "manifest.jsonl"
        if not manifest.is_file():
            print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
            continue
        for line in manifest.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            yield manifest.parent / item["audio"], item["text"]
    if (data / ARCTIC[0]).is_file():
        yield data / ARCTIC[0], ARCTIC[1]


if __name__ == "__main__":
    main()
