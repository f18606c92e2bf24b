"""Learns ``semihmm/speech/acoustics/edges.npz``: how far an aligned phone's onset is from where a synthesiser put it.

    python benchmarks/learn_edges.py --texts TEXTS [--festival festival] [--model FOLDER] [--smoke]
        [--out semihmm/speech/acoustics/edges.npz]

TEXTS is a file with a sentence a line, and without it there is nothing to do; what ships was learnt on 60 stretches of
nine words from the transcripts of LJ Speech and LibriVox (public domain). Festival with the voices kal, ked and slt
(Debian: festvox-kallpc16k, festvox-kdlpc16k, festvox-us-slt-hts; free licences) speaks them and says when each phone
begins. Nothing that ``benchmarks/alignment.py`` scores is among them; two of its sets are other sentences of kal and
slt. Of each voice, the median difference is taken off first, and printed: it is the voice's convention. Then each voice
in turn is left out, and corrected by what the others say; last, all three are learnt.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from semihmm.audio import read_audio, resample
from semihmm.speech import Aligner, BoundaryErrors
from semihmm.speech.acoustics.edges import KINDS, UNIT, EdgeCorrection, around_edges
from semihmm.speech.acoustics.loading import load_acoustic_model

VOICES = {"kal": "voice_kal_diphone", "ked": "voice_ked_diphone", "slt": "voice_cmu_us_slt_arctic_hts"}
NETWORKS, UNITS, EPOCHS, BATCH = 4, 48, 40, 128
FARTHEST = 0.05  # seconds of difference that are learnt from, at most


@dataclass(frozen=True)
class Edges:
    """What is seen of the edges of one voice ``(E, D)``, and how many seconds too late each is."""

    seen: torch.Tensor
    late: torch.Tensor


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--smoke", action="store_true", help="learn from random numbers, and write nothing")
    parser.add_argument("--festival", default="festival")
    parser.add_argument("--model", type=Path, help="another English model, for an --out of its own")
    acoustics = Path(__file__).parents[1] / "semihmm" / "speech" / "acoustics"
    parser.add_argument("--out", type=Path, default=acoustics / "edges.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.smoke:
        voices = {name: Edges(torch.randn(40, 233), torch.randn(40).double() / 100) for name in VOICES}
    elif arguments.texts is None:
        print("skipped: no --texts to synthesise and learn from")
        return
    else:
        texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
        aligner = Aligner(replace(load_acoustic_model(arguments.model), edges=None))
        voices = {name: edges_of(name, texts, arguments.festival, aligner) for name in VOICES}
    for name, edges in voices.items():
        correction = learn([other for other in voices if other != name], voices)
        shift = edges.late.median()
        left = edges.late - correction.of(edges.seen)
        print(f"{name}: convention {1000 * shift:+.1f} ms; {report(edges.late - shift)}")
        print(f"  corrected by the other voices: {report(left - left.median())}")
    correction = learn(list(voices), voices)
    for name, edges in voices.items():
        print(f"{name}: convention after correction {1000 * (edges.late - correction.of(edges.seen)).median():+.1f} ms")
    if arguments.smoke:
        return
    parts = {field.name: getattr(correction, field.name).half().numpy() for field in fields(correction)}
    np.savez_compressed(arguments.out, **parts)


def edges_of(voice: str, texts: Sequence[str], festival: str, aligner: Aligner) -> Edges:
    """Synthesise, align, and pair phones one by one where both sides have as many."""
    seen, late = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [f"({VOICES[voice]})"]
        for number, text in enumerate(texts):
            lines.append(f'(set! u (utt.synth (Utterance Text "{text}")))')
            lines.append(f'(utt.save.wave u "{folder / str(number)}.wav" \'riff)')
            lines.append(f'(utt.save.segs u "{folder / str(number)}.seg")')
        (folder / "say.scm").write_text("\n".join(lines), encoding="utf-8")
        subprocess.run([festival, "-b", str(folder / "say.scm")], check=True)
        for number, text in enumerate(texts):
            wave, rate = read_audio(folder / f"{number}.wav")
            heard = resample(wave, source=rate, target=aligner.model.front_end.sample_rate)
            begins = onsets(folder / f"{number}.seg")
            phones = aligner(wave, rate, text).phones
            if len(phones) != len(begins):
                continue  # another pronunciation
            before = ["SIL" if b.start > a.end else a.label for a, b in pairwise(phones)]
            kinds = [
                torch.tensor([KINDS.get(p, KINDS["L"]) for p in side])
                for side in (["SIL", *before], [phone.label for phone in phones])
            ]
            times = torch.tensor([phone.start for phone in phones], dtype=torch.float64)
            seen.append(around_edges(aligner.model.front_end, heard, times, *kinds))
            late.append(times - torch.tensor(begins, dtype=torch.float64))
    return Edges(torch.cat(seen), torch.cat(late))


def onsets(path: Path) -> list[float]:
    """Where the phones of a festival segment file begin, pauses left out."""
    found, begin = [], 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.split():
            case [end, _, phone]:
                if phone != "pau":
                    found.append(begin)
                begin = float(end)
    return found


def learn(names: Sequence[str], voices: dict[str, Edges]) -> EdgeCorrection:
    seen = torch.cat([voices[name].seen for name in names])
    late = torch.cat([voices[name].late - voices[name].late.median() for name in names])
    target = (late.clamp(-FARTHEST, FARTHEST) / UNIT).float()
    networks = [train(seen, target, seed) for seed in range(NETWORKS)]
    stacked = [torch.stack(parts).detach() for parts in zip(*(net.parameters() for net in networks), strict=True)]
    return EdgeCorrection(stacked[0], stacked[1], stacked[2][:, 0], stacked[3][:, 0])


def train(seen: torch.Tensor, target: torch.Tensor, seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    hidden, output = torch.nn.Linear(seen.shape[1], UNITS), torch.nn.Linear(UNITS, 1)
    net = torch.nn.Sequential(hidden, torch.nn.Tanh(), torch.nn.Dropout(0.3), output)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=3e-2)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(seen)).split(BATCH):
            loss = torch.nn.functional.smooth_l1_loss(net(seen[rows])[:, 0], target[rows], beta=0.5)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net


def report(differences: torch.Tensor) -> str:
    errors = BoundaryErrors(tuple(differences.tolist()))
    return f"n {errors.n}, median {1000 * errors.median:.1f} ms, {100 * errors.within(0.020):.1f} % within 20 ms"


if __name__ == "__main__":
    main()
