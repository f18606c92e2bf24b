"""How far semihmm's phone and word onsets are from known ones, beside PocketSphinx's own aligner in the same run.

    python benchmarks/alignment.py [--smoke]

Sets, read from ``SEMIHMM_DATA`` or ``../shared/data``, and skipped by name where they are not there: ``ae-english``
(hand labels), ``synth/en-hts`` and ``synth/en-kal`` (synthetic speech, exact labels). Nothing is tuned on them. Both
aligners use the same acoustic model and dictionary; PocketSphinx also uses its phones in context. What it cannot
align is counted and left out of its figures.

Where in the course of a sound it begins is a convention of labels. Labels of synthetic speech say when it was meant to
begin; what `learn_edges.py` found for other sentences of these voices is taken off in a column more, for ours alone.
Others have ours with phones in context, and without explicit durations; the correction of edges was learnt with them.
Last, the processor time of each part of our work, beside what it was before: densities state by state, in float64.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import _boundaries as boundaries
import pocketsphinx
import torch
from rich.console import Console

from semihmm.audio import read_audio, resample
from semihmm.cli.show import error_table
from semihmm.speech import (
    AcousticModel,
    Aligner,
    BoundaryErrors,
    Interval,
    Tiers,
    compare,
    load_acoustic_model,
    words_of,
)
from semihmm.speech.alignment.pieces import Piece
from semihmm.speech.text.phones import is_silence

CONVENTION = {"synth/en-hts": 0.0054, "synth/en-kal": 0.0087}  # seconds: what learn_edges.py says of slt and of kal
HERE = Path(__file__).parent
SETS = ("ae-english", "synth/en-hts", "synth/en-kal")

Align = Callable[[torch.Tensor, int, str], Tiers | None]


@dataclass(frozen=True)
class Figures:
    """One aligner on one set."""

    words: BoundaryErrors
    phones: BoundaryErrors
    recordings: int
    failed: int
    audio_seconds: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="two recordings per set; results are not written")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "alignment.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as the command line does, and as PocketSphinx has it
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    aligner, in_context = Aligner(), Aligner(load_acoustic_model(contexts=True))
    results = {}
    for name in SETS:
        manifest = data / name / "manifest.jsonl"
        if not manifest.is_file():
            console.print(f"skipped {name}: no such set in SEMIHMM_DATA or ../shared/data")
            continue
        items = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        items = items[:2] if arguments.smoke else items
        figures = {
            "semihmm": measure(items, manifest.parent, partial(_tiers, aligner)),
            "in context": measure(items, manifest.parent, partial(_tiers, in_context)),
            "no durations": measure(items, manifest.parent, partial(_tiers, replace(aligner, durations=None))),
            "pocketsphinx": measure(items, manifest.parent, align_with_pocketsphinx),
        }
        for system, found in figures.items():
            speed = found.audio_seconds / found.seconds
            console.print(f"{system}: {found.failed} of {found.recordings} failed, {speed:.0f} × real time")
        if name in CONVENTION:
            figures["convention off"] = without_convention(figures["semihmm"], CONVENTION[name])
        results[name] = {system: summary(found) for system, found in figures.items()}
        for kind in ("phones", "words"):
            columns = {system: getattr(found, kind) for system, found in figures.items()}
            console.print(error_table(f"{name}: onsets of {kind}", columns))
    parts = times_of_parts(aligner, smoke=arguments.smoke)
    for part, speed in parts.items():
        console.print(f"{part}: {speed} × real time", highlight=False)
    report = {"machine": machine(), "sets": results, "times real time": parts}
    console.print(report["machine"])
    if results and not arguments.smoke:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def without_convention(figures: Figures, seconds: float) -> Figures:
    """The same figures with a constant taken off all onsets."""
    words, phones = (
        replace(errors, differences=tuple(difference - seconds for difference in errors.differences))
        for errors in (figures.words, figures.phones)
    )
    return replace(figures, words=words, phones=phones)


def times_of_parts(aligner: Aligner, *, smoke: bool) -> dict[str, float]:
    """Times real time of each part of the work, on the sentences in ``examples/data``; the best of some repetitions.

    The log-likelihoods are checked against the mixtures' own densities, which is also how they were computed before.
    """
    folder = HERE.parent / "examples" / "data"
    seconds, spent = 0.0, dict.fromkeys(("features", "log-likelihoods", "log-likelihoods before", "paths", "all"), 0.0)
    for path in sorted(folder.glob("austen-*.txt"))[: 1 if smoke else None]:
        wave, rate = read_audio(path.with_suffix(".wav"))
        text = path.read_text(encoding="utf-8")
        seconds += len(wave) / rate
        model = aligner.model
        features = model.front_end(wave)
        heard = aligner._hear(wave, rate, text, 0)
        calls = {
            "features": partial(model.front_end, wave),
            "log-likelihoods": partial(model.log_likelihood, features),
            "log-likelihoods before": partial(plain_log_likelihood, model, features),
            "paths": partial(aligner._solve, heard, Piece(0, len(features), heard.graph), 0),
            "all": partial(aligner, wave, rate, text),
        }
        torch.testing.assert_close(
            model.log_likelihood(features), plain_log_likelihood(model, features).float(), atol=1e-3, rtol=1e-5
        )
        for part, call in calls.items():
            spent[part] += best_time(call, 1 if smoke else 7)
    return {part: round(seconds / time, 1) for part, time in spent.items()}


def plain_log_likelihood(model: AcousticModel, features: torch.Tensor) -> torch.Tensor:
    """State by state and in float64, as the mixtures themselves compute it."""
    with torch.no_grad():
        blocks = features.double().split(500)
        return torch.cat(
            [
                sum(stream(part) for stream, part in zip(model.streams, block.split(13, dim=1), strict=True))
                for block in blocks
            ]
        )


def best_time(call: Callable[[], object], repetitions: int) -> float:
    call()
    found = []
    for _ in range(repetitions):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)


def measure(items: list[dict], folder: Path, align: Align) -> Figures:
    """Align every recording of a set, and add up the errors."""
    words, phones, failed, spent, audio = BoundaryErrors(), BoundaryErrors(), 0, 0.0, 0.0
    for item in items:
        wave, rate = read_audio(folder / item["audio"])
        begin = time.process_time()
        found = align(wave, rate, item["text"])
        spent += time.process_time() - begin
        audio += len(wave) / rate
        if found is None:
            failed += 1
            continue
        result = compare(Tiers(words=spoken(item["words"]), phones=spoken(item["phones"])), found)
        words, phones = words + result.words, phones + result.phones
    return Figures(words, phones, len(items), failed, audio, spent)


def spoken(labels: list[list]) -> tuple[Interval, ...]:
    return tuple(Interval(*label) for label in labels if not is_silence(label[2]))


def _tiers(aligner: Aligner, wave: torch.Tensor, rate: int, text: str) -> Tiers:
    alignment = aligner(wave, rate, text)
    return Tiers(words=alignment.words, phones=alignment.phones)


def align_with_pocketsphinx(wave: torch.Tensor, rate: int, text: str) -> Tiers | None:
    """PocketSphinx's two passes, words and then phones, with a decoder of its own for each recording."""
    samples = (resample(wave, source=rate, target=16000) * 32768).clamp(-32768, 32767).to(torch.int16).numpy().tobytes()
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    try:
        decoder.set_align_text(" ".join(words_of(text)))
        _decode(decoder, samples)
        decoder.set_alignment()
        _decode(decoder, samples)
        found = decoder.get_alignment()
    except RuntimeError:  # what it raises where no path survives its beams
        return None
    if found is None:
        return None
    words, phones = [], []
    for word in found:  # an entry lives only as long as the iteration stands at it
        if not word.name.startswith(("<", "[", "(")):  # pauses and noises
            words.append(_interval(word, word.name.split("(")[0]))
            phones += [_interval(phone, phone.name) for phone in word]
    return Tiers(words=tuple(words), phones=tuple(phones))


def _decode(decoder: pocketsphinx.Decoder, samples: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()


def _interval(item: pocketsphinx.AlignmentEntry, label: str) -> Interval:
    return Interval(item.start / 100, (item.start + item.duration) / 100, label)


def summary(figures: Figures) -> dict:
    """The figures as they go into the JSON file."""
    kept = {key: value for key, value in asdict(figures).items() if key not in ("words", "phones")}
    for kind, errors in (("words", figures.words), ("phones", figures.phones)):
        kept[kind] = boundaries.summary(errors)
    return kept


def machine() -> dict:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dtype": "float32",
    }


if __name__ == "__main__":
    main()
