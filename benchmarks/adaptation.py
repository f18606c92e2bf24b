"""What adapting the English model to a speaker does to the edges of words and phones: nothing, cmn, fmllr, map, both.

    python benchmarks/adaptation.py [--smoke]

Sets, read from ``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are not there: ``synth/en-kal``
and ``synth/en-hts`` (exact labels), ``ae-english`` (hand labels), and the digits of ``fsdd``, of each of four speakers
the takes 5 to 11 to adapt to, and takes 0 to 4 joined to sequences of ten, in which edges of words are known.

No labels are used in adapting, only transcripts. *Held out*: each half of a set is scored with a model adapted to the
other half. *Itself*: the recordings that are scored are also those adapted to, as a user's would be.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import soundfile
import torch
from alignment import Figures, measure, summary
from rich.console import Console
from rich.table import Table

from semihmm.audio import read_audio
from semihmm.speech import AcousticModel, Aligner, Lexicon, Tiers, load_acoustic_model, load_dictionary
from semihmm.speech.training.adaptation import adapt
from semihmm.speech.training.reading import pronounced
from semihmm.speech.training.utterance import Utterance

HERE = Path(__file__).parent
SETS = ("synth/en-kal", "synth/en-hts", "ae-english")
METHODS: dict[str, Sequence[str]] = {
    "as it is": (),
    "cmn": ("cmn",),
    "fmllr": ("fmllr",),
    "map": ("map",),
    "fmllr, then map": ("fmllr", "map"),
}


Part = tuple[list[dict], list[Utterance]]
"""Recordings to be scored, and those to adapt to before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="two recordings of the first set; nothing is written")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "adaptation.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    model, report = load_acoustic_model(), {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS[:1] if arguments.smoke else (*SETS, "fsdd"):
            if not (data / name / "manifest.jsonl").is_file():
                console.print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
                continue
            items = [
                {**item, "audio": str(data / name / item["audio"])}
                for item in map(json.loads, (data / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
            ]
            if name == "fsdd":
                protocols = {"held out": digits(items, Path(folder))}
            else:
                items = items[:2] if arguments.smoke else items
                halves = items[::2], items[1::2]
                protocols = {
                    "held out": [(halves[0], corpus(halves[1])), (halves[1], corpus(halves[0]))],
                    "itself": [(items, corpus(items))],
                }
            for protocol, parts in protocols.items():
                found = {method: scored(model, steps, parts) for method, steps in METHODS.items()}
                kind = "words" if name == "fsdd" else "phones"
                console.print(table(f"{name}, {protocol}: onsets of {kind}", kind, found))
                report[f"{name}, {protocol}"] = {method: summary(figures) for method, figures in found.items()}
    if report and not arguments.smoke:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def scored(model: AcousticModel, steps: Sequence[str], parts: Sequence[Part]) -> Figures:
    """The errors of all parts together, each with a model of its own."""
    total: Figures | None = None
    for items, utterances in parts:
        adapted = model
        for method in steps:
            adapted = adapt(adapted, utterances, method=method)
        aligner = Aligner(adapted)

        def align(wave: torch.Tensor, rate: int, text: str, aligner: Aligner = aligner) -> Tiers:
            alignment = aligner(wave, rate, text)
            return Tiers(words=alignment.words, phones=alignment.phones)

        more = measure(items, Path(), align)
        total = more if total is None else joined(total, more)
    assert total is not None
    return total


def joined(a: Figures, b: Figures) -> Figures:
    return Figures(*(getattr(a, field.name) + getattr(b, field.name) for field in fields(Figures)))


def corpus(items: Sequence[dict]) -> list[Utterance]:
    """Recordings with their transcripts, and nothing else of what is known of them."""
    lexicon = Lexicon(load_dictionary())
    return [
        Utterance(item["id"], *read_audio(Path(item["audio"])), pronounced(item["text"], lexicon)) for item in items
    ]


def digits(items: Sequence[dict], folder: Path) -> list[Part]:
    """Of each speaker, sequences of ten digits out of takes 0 to 4, and the recordings of the other takes."""
    parts = []
    for speaker in sorted({item["speaker"] for item in items}):
        own = [item for item in items if item["speaker"] == speaker]
        sequences = []
        for take in range(5):
            order = torch.randperm(10, generator=torch.Generator().manual_seed(take)).tolist()
            said = [item for item in own if item["take"] == take]
            waves = [read_audio(Path(said[number]["audio"])) for number in order]
            path = folder / f"{speaker}-{take}.wav"
            soundfile.write(path, torch.cat([wave for wave, _ in waves]).numpy(), waves[0][1])
            words, now = [], 0.0
            for number, (wave, rate) in zip(order, waves, strict=True):
                words.append([now, now + len(wave) / rate, said[number]["text"]])
                now = words[-1][1]
            text = " ".join(word[2] for word in words)
            sequences.append({"audio": str(path), "text": text, "words": words, "phones": []})
        parts.append((sequences, corpus([item for item in own if item["take"] > 4])))
    return parts


def table(title: str, kind: str, found: dict[str, Figures]) -> Table:
    made = Table(title=title)
    for column in ("method", "median ms", "mean ms", "bias ms", "≤ 20 ms %", "≤ 50 ms %", "missing"):
        made.add_column(column, justify="left" if column == "method" else "right")
    for method, figures in found.items():
        errors = getattr(figures, kind)
        times = (f"{1000 * value:.1f}" for value in (errors.median, errors.mean, errors.bias))
        shares = (f"{100 * errors.within(limit):.1f}" for limit in (0.02, 0.05))
        made.add_row(method, *times, *shares, str(errors.missing + figures.failed))
    return made


if __name__ == "__main__":
    main()
