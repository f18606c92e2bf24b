"""Networks beside the Gaussians that taught them, on four minutes of speech: edges of phones, and seconds of training.

    python benchmarks/networks.py [--smoke]

Trained on ``librivox5`` and ``ljspeech32`` (real readers, transcripts without times), scored on ``ae-english`` (hand
labels) and ``synth/en-hts`` (exact labels), of which nothing is trained on; all read from ``SEMIHMM_DATA`` or
``../shared/data``, and skipped by name where they are not there. The teacher is Sphinx's English model, which learnt
from thousands of hours, or one trained on the same four minutes from a flat start. What is learnt is never tuned on
the sets that are scored.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from adaptation import corpus
from alignment import Figures, machine, measure, summary
from rich.console import Console
from rich.table import Table

from semihmm.speech import AcousticModel, Aligner, Tiers, load_acoustic_model
from semihmm.speech.text.phones import is_silence
from semihmm.speech.training.neural import train_network
from semihmm.speech.training.trainer import train
from semihmm.speech.training.utterance import Utterance

HERE = Path(__file__).parent
TRAINED, SCORED = ("librivox5", "ljspeech32"), ("ae-english", "synth/en-hts")
OBJECTIVES = {"frames alone": ("mmi", (20, 0)), "mmi": ("mmi", (16, 4)), "ctc and hmm": ("ctc-hmm", (16, 4))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--smoke", action="store_true", help="two recordings of each set, one epoch; nothing is written"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "networks.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    missing = [name for name in (*TRAINED, *SCORED) if not (data / name / "manifest.jsonl").is_file()]
    if missing:
        console.print(f"skipped: no {', '.join(missing)} in SEMIHMM_DATA or ../shared/data")
        return
    few = slice(2 if arguments.smoke else None)
    training = corpus([item for name in TRAINED for item in manifest(data, name)[few]])
    scored = {name: manifest(data, name)[few] for name in SCORED}
    results: dict[str, tuple[float, dict[str, Figures]]] = {}
    for teacher, make in {"Sphinx": load_acoustic_model, "flat start": partial(from_flat_start, training)}.items():
        model, seconds = timed(make)
        runs: dict[str, tuple[AcousticModel, float]] = {f"{teacher}, Gaussians": (model, seconds)}
        for name, (objective, epochs) in list(OBJECTIVES.items())[1 if arguments.smoke else 0 :]:
            learn = partial(
                train_network,
                model,
                training,
                objective=objective,
                epochs=(1, 1) if arguments.smoke else epochs,
            )
            runs[f"{teacher}, network, {name}"] = timed(learn)
        for name, (made, seconds) in runs.items():
            results[name] = seconds, {where: onsets(made, items) for where, items in scored.items()}
    console.print(table(results))
    if not arguments.smoke:
        report = {
            name: {"seconds": round(seconds, 1)} | {where: summary(of) for where, of in found.items()}
            for name, (seconds, found) in results.items()
        }
        arguments.out.write_text(json.dumps({"machine": machine(), **report}, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def from_flat_start(utterances: Sequence[Utterance]) -> AcousticModel:
    phones = [phone for phone in load_acoustic_model().phones if not is_silence(phone)]
    return train(utterances, phones=phones, name="flat start")


def onsets(model: AcousticModel, items: Sequence[dict]) -> Figures:
    aligner = Aligner(model)

    def align(wave: torch.Tensor, rate: int, text: str) -> Tiers:
        alignment = aligner(wave, rate, text)
        return Tiers(words=alignment.words, phones=alignment.phones)

    return measure(items, Path(), align)


def manifest(data: Path, name: str) -> list[dict]:
    lines = (data / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**item, "audio": str(data / name / item["audio"])} for item in map(json.loads, lines)]


def timed(make: Callable[[], AcousticModel]) -> tuple[AcousticModel, float]:
    """What it makes, and the processor time of that."""
    begin = time.process_time()
    return make(), time.process_time() - begin


def table(found: dict[str, tuple[float, dict[str, Figures]]]) -> Table:
    made = Table(title="Onsets of phones: median ms, ≤ 20 ms %, ≤ 50 ms %")
    for column in ("model", "seconds", *SCORED):
        made.add_column(column, justify="left" if column == "model" else "right")
    for name, (seconds, sets) in found.items():
        cells = (
            f"{1000 * of.phones.median:.1f}  {100 * of.phones.within(0.02):.1f}  {100 * of.phones.within(0.05):.1f}"
            for of in sets.values()
        )
        made.add_row(name, f"{seconds:.0f}", *cells)
    return made


if __name__ == "__main__":
    main()
