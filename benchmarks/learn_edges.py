"""Learns ``semihmm/speech/acoustics/edges.npz``: how far an aligned phone's onset is from where a synthesiser put it.

    python benchmarks/learn_edges.py [--texts TEXTS] [--model FOLDER] [--smoke]
        [--out semihmm/speech/acoustics/edges.npz]

TEXTS is a file with a sentence a line. Those beside this script, which what ships was learnt on, are 320 stretches of
nine words from transcripts of LJ Speech and LibriVox (public domain) and from this project's documentation. Festival
with the voices kal, ked and slt (Debian: festvox-kallpc16k, festvox-kdlpc16k, festvox-us-slt-hts; free licences) and
flite with awb and rms (Debian: flite) speak them, and say when each phone begins; where either is not installed, there
is nothing to do. Nothing that ``benchmarks/alignment.py`` scores is among the sentences; two of its sets are other
sentences of kal and slt.

Of each voice, the median difference is taken off first, and printed: it is the voice's convention. Then each voice in
turn is left out, and corrected by what the others say; last, all five are learnt. Voices disagree about edges of some
kinds, most about those of R and L, and a new voice will, too: so a correction is a part (``SHARE``) of what the
networks say, and the part was chosen for voices left out.
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from semihmm.audio import read_audio, resample
from semihmm.speech import Aligner, BoundaryErrors, Interval, Tiers, compare
from semihmm.speech.acoustics.edges import KINDS, UNIT, EdgeCorrection, around_edges
from semihmm.speech.acoustics.loading import load_acoustic_model

HERE = Path(__file__).parent
NETWORKS, UNITS, EPOCHS, BATCH, RATE, DECAY, DROPOUT = 4, 48, 30, 512, 4e-3, 3e-2, 0.2
FARTHEST = 0.05  # seconds of difference that are learnt from, at most
SHARE = 0.8


@dataclass(frozen=True)
class Edges:
    """What is seen of the edges of one voice ``(E, D)``, and how many seconds too late each is."""

    seen: torch.Tensor
    late: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=Path, default=HERE / "learn_edges.txt")
    parser.add_argument("--smoke", action="store_true", help="learn from random numbers, and write nothing")
    parser.add_argument("--model", type=Path, help="another English model, for an --out of its own")
    acoustics = HERE.parent / "semihmm" / "speech" / "acoustics"
    parser.add_argument("--out", type=Path, default=acoustics / "edges.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    missing = [name for name in ("festival", "flite") if shutil.which(name) is None]
    if arguments.smoke:
        voices = {name: Edges(torch.randn(40, 233), torch.randn(40).double() / 100) for name in VOICES}
    elif missing:
        print(f"skipped: no {' and no '.join(missing)} to synthesise with")
        return
    else:
        texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
        aligner = Aligner(replace(load_acoustic_model(arguments.model), edges=None))
        voices = {name: edges_of(name, texts, aligner) for name in VOICES}
    for name, edges in voices.items():
        correction = learn([other for other in voices if other != name], voices)
        shift = edges.late.median()
        left = edges.late - correction.of(edges.seen)
        print(f"{name}: convention {1000 * shift:+.1f} ms; {report(edges.late - shift)}")
        print(f"  corrected by the other voices: {report(left - left.median())}", flush=True)
    correction = learn(list(voices), voices)
    for name, edges in voices.items():
        print(f"{name}: convention after correction {1000 * (edges.late - correction.of(edges.seen)).median():+.1f} ms")
    if arguments.smoke:
        return
    parts = {field.name: getattr(correction, field.name).half().numpy() for field in fields(correction)}
    np.savez_compressed(arguments.out, **parts)


def with_festival(voice: str, texts: Sequence[str], folder: Path) -> Iterator[tuple[Path, list[Interval]]]:
    """Recordings, and their phones without pauses."""
    lines = [f"({voice})"]
    for number, text in enumerate(texts):
        lines.append(f'(set! u (utt.synth (Utterance Text "{text}")))')
        lines.append(f'(utt.save.wave u "{folder / str(number)}.wav" \'riff)')
        lines.append(f'(utt.save.segs u "{folder / str(number)}.seg")')
    (folder / "say.scm").write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(["festival", "-b", str(folder / "say.scm")], check=True)
    for number in range(len(texts)):
        lines = (folder / f"{number}.seg").read_text(encoding="utf-8").splitlines()
        rows = [line.split() for line in lines if len(line.split()) == 3]  # after a line that says "#"
        yield folder / f"{number}.wav", spoken((float(end), phone) for end, _, phone in rows)


def with_flite(voice: str, texts: Sequence[str], folder: Path) -> Iterator[tuple[Path, list[Interval]]]:
    for text in texts:
        wave = folder / "said.wav"
        said = ["flite", "-voice", voice, "-psdur", "-t", text, str(wave)]
        phones = subprocess.run(said, check=True, capture_output=True, text=True).stdout.split()
        yield wave, spoken((float(end), phone) for phone, _, end in (item.partition(":") for item in phones))


def spoken(ends: Iterator[tuple[float, str]]) -> list[Interval]:
    found, begin = [], 0.0
    for end, phone in ends:
        if phone != "pau":
            found.append(Interval(begin, end, phone))
        begin = end
    return found


Speak = Callable[[str, Sequence[str], Path], Iterator[tuple[Path, list[Interval]]]]
VOICES: dict[str, tuple[Speak, str]] = {
    "kal": (with_festival, "voice_kal_diphone"),
    "ked": (with_festival, "voice_ked_diphone"),
    "slt": (with_festival, "voice_cmu_us_slt_arctic_hts"),
    "awb": (with_flite, "awb"),
    "rms": (with_flite, "rms"),
}


def edges_of(voice: str, texts: Sequence[str], aligner: Aligner) -> Edges:
    """Synthesise, align, and take the onsets of phones that both sides have, as the one before it."""
    seen, late = [], []
    speak, name = VOICES[voice]
    with tempfile.TemporaryDirectory() as folder:
        for text, (path, reference) in zip(texts, speak(name, texts, Path(folder)), strict=True):
            wave, rate = read_audio(path)
            heard = resample(wave, source=rate, target=aligner.model.front_end.sample_rate)
            phones = aligner(wave, rate, text).phones
            before = {b: "SIL" if b.start > a.end else a.label for a, b in pairwise(phones)}
            matches = compare(Tiers(phones=tuple(reference)), Tiers(phones=phones)).phone_matches
            assert matches is not None, "both sides have phones"
            paired = [(pair.reference, pair.other) for pair in matches.pairs]
            edges = [
                (theirs, ours)
                for last, (theirs, ours) in pairwise([paired[0], *paired])
                if None not in last and theirs is not None and ours is not None
            ]
            if not edges:
                continue
            kinds = [
                torch.tensor([KINDS.get(phone, KINDS["L"]) for phone in side])
                for side in ([before.get(ours, "SIL") for _, ours in edges], [ours.label for _, ours in edges])
            ]
            times = torch.tensor([ours.start for _, ours in edges], dtype=torch.float64)
            seen.append(around_edges(aligner.model.front_end, heard, times, *kinds))
            late.append(times - torch.tensor([theirs.start for theirs, _ in edges], dtype=torch.float64))
    return Edges(torch.cat(seen), torch.cat(late))


def learn(names: Sequence[str], voices: dict[str, Edges]) -> EdgeCorrection:
    """What a few networks, trained side by side, say of voices together."""
    seen = torch.cat([voices[name].seen for name in names])
    late = torch.cat([voices[name].late - voices[name].late.median() for name in names])
    target = (late.clamp(-FARTHEST, FARTHEST) / UNIT).float()
    random = torch.Generator().manual_seed(0)

    def weights(*shape: int, inputs: int) -> torch.Tensor:
        return ((2 * torch.rand(shape, generator=random) - 1) / inputs**0.5).requires_grad_()

    size = seen.shape[1]
    parameters = [
        weights(NETWORKS, UNITS, size, inputs=size),
        weights(NETWORKS, UNITS, inputs=size),
        weights(NETWORKS, UNITS, inputs=UNITS),
        weights(NETWORKS, inputs=UNITS),
    ]
    hidden, hidden_bias, output, output_bias = parameters
    batch = min(BATCH, len(seen))
    steps = EPOCHS * (len(seen) // batch)
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1, pct_start=0.1)
    for _ in range(EPOCHS):
        orders = torch.stack([torch.randperm(len(seen), generator=random) for _ in range(NETWORKS)])
        for rows in orders[:, : len(seen) // batch * batch].split(batch, dim=1):
            units = torch.baddbmm(hidden_bias[:, None], seen[rows], hidden.mT).tanh()
            kept = torch.rand(units.shape, generator=random) > DROPOUT
            said = torch.einsum("kbh,kh->kb", units * kept / (1 - DROPOUT), output) + output_bias[:, None]
            loss = torch.nn.functional.smooth_l1_loss(said, target[rows], beta=0.5, reduction="sum") / batch
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    hidden, hidden_bias, output, output_bias = (part.detach() for part in parameters)
    return EdgeCorrection(hidden, hidden_bias, SHARE * output, SHARE * output_bias)


def report(differences: torch.Tensor) -> str:
    errors = BoundaryErrors(tuple(differences.tolist()))
    within = ", ".join(
        f"{100 * errors.within(limit):.1f} % within {1000 * limit:.0f}" for limit in (0.010, 0.020, 0.050)
    )
    return f"n {errors.n}, mean {1000 * errors.mean:.2f}, median {1000 * errors.median:.2f} ms, {within} ms"


if __name__ == "__main__":
    main()
