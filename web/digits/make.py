"""Makes the page of digits in a folder: its program, the model as ONNX, tables of the front end, a recording to hear.

Run it: ``make web-digits``. The model is one HMM of ten words and of the pauses between them. It is trained on the Free
Spoken Digit Dataset where ``SEMIHMM_DATA`` or ``../shared/data`` has it (fsdd), and else on a synthetic voice: phones
of two formants, so that nothing needs to be downloaded. The page plays takes that the model was not trained on.
"""

import argparse
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from semihmm import export
from semihmm.models import HMM, Gaussian
from semihmm.speech import FrontEnd

HERE = Path(__file__).parent
WORDS = "zero one two three four five six seven eight nine".split()
SPOKEN = "z ih r ow|w ah n|t uw|th r iy|f ao r|f ay v|s ih k s|s eh v ah n|ey t|n ay n".split("|")
SAID = [3, 1, 4, 1, 5, 9, 2, 6, 0, 8, 7]
STATES = 8  # of each word
PAUSE = STATES * len(WORDS)  # the state of pauses, behind those of words
FLOOR = 0.1  # of a variance: this much of that of all frames
FRONT_END = FrontEnd(
    sample_rate=8000,
    window=0.025,
    lower_edge=100,
    upper_edge=3800,
    filters=24,
    transform="dct",
    mean_normalisation=False,
    padded=False,
)
LAG = 30  # frames until a state on the best path is told
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
RATE = int(FRONT_END.sample_rate)


@dataclass
class Voices:
    """Recordings of single words, by digit: those to learn from, and others."""

    known: list[list[Tensor]]
    new: list[list[Tensor]]


def recorded(folder: Path) -> Voices:
    """Files such as ``7_theo_3.flac``; takes 0 to 4 are the data set's own test."""
    from semihmm.audio import read_audio

    voices = Voices([[] for _ in WORDS], [[] for _ in WORDS])
    for file in sorted(folder.glob("*.flac")):
        digit, _, take = file.stem.split("_")
        wave = read_audio(file)[0].float()
        (voices.new if int(take) < 5 else voices.known)[int(digit)].append(wave / wave.abs().max() / 2)
    return voices


def synthetic(generator: torch.Generator, takes: int = 6) -> Voices:
    """Phones that are two formants each, of three speakers, who say none of them for equally long."""
    phones = sorted({phone for word in SPOKEN for phone in word.split()})
    formants = dict(zip(phones, 300 + 3200 * torch.rand(len(phones), 2, generator=generator), strict=True))

    def said(word: str, scale: float) -> Tensor:
        pieces = []
        for phone in word.split():
            length = int(torch.randint(int(0.07 * RATE), int(0.14 * RATE), (), generator=generator))
            time = torch.arange(length) / RATE
            tones = torch.sin(2 * torch.pi * scale * formants[phone][:, None] * time).sum(0)
            pieces.append(torch.hann_window(length).sqrt() * tones / 8)
        return torch.cat(pieces)

    def all_said(times: int) -> list[list[Tensor]]:
        return [[said(word, (0.95, 1.0, 1.05)[take % 3]) for take in range(times)] for word in SPOKEN]

    return Voices(all_said(takes), all_said(3))


def room(wave: Tensor, generator: torch.Generator) -> Tensor:
    """A wave in a quiet room: what pauses sound like is under all words too."""
    return wave + torch.randn(wave.shape, generator=generator) / 1000


def batch(waves: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Features ``(B, T, F)``, and of how many frames each."""
    rows = [FRONT_END(wave) for wave in waves]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def trained(voices: Voices, generator: torch.Generator) -> HMM:
    """Each word by itself, from left to right between pauses; then all of them in a loop: a word, a pause, a word."""
    edge = torch.zeros(RATE // 8)
    parts, arcs = [], torch.zeros(PAUSE + 1, PAUSE + 1)
    for number, waves in enumerate(voices.known):
        x, lengths = batch([room(torch.cat([edge, wave, edge]), generator) for wave in waves])
        word = HMM(
            STATES + 2, Gaussian(STATES + 2, features=x.shape[-1]), offsets=(0, 1), start=[0], final=[STATES + 1]
        )
        word.fit(x, lengths, iterations=15, generator=generator, progress=False)
        parts.append(word.emission)
        own = slice(number * STATES, (number + 1) * STATES)
        stay = word.transition().exp()[1:-1, 0].detach()
        arcs[own, own] = torch.diag(stay) + torch.diag(1 - stay[:-1], 1)
        arcs[own.stop - 1, PAUSE] = 0.9 * (1 - stay[-1])
        arcs[own.stop - 1, :PAUSE:STATES] = 0.1 * (1 - stay[-1]) / len(WORDS)
        arcs[PAUSE, own.start] = 0.05 / len(WORDS)
    arcs[PAUSE, PAUSE] = 0.95

    quiet = FRONT_END(room(torch.zeros(5 * RATE), generator))
    mean = torch.cat([part.mean.detach()[1:-1] for part in parts] + [quiet.mean(0, keepdim=True)])
    variance = torch.cat([part.log_variance.detach()[1:-1].exp() for part in parts] + [quiet.var(0, keepdim=True)])
    spread = mean.var(0) + variance.mean(0)
    start = [PAUSE, *range(0, PAUSE, STATES)]
    model = HMM(PAUSE + 1, Gaussian(PAUSE + 1, features=len(spread)), allowed=arcs > 0, start=start)
    with torch.no_grad():
        model.emission.mean.copy_(mean)
        model.emission.log_variance.copy_(torch.maximum(variance, FLOOR * spread).log())
        model.transition.logits.copy_(arcs.clamp(min=1e-30).log())
    return model.eval()


def sentence(voices: Voices, digits: list[int], generator: torch.Generator) -> Tensor:
    """Digits with pauses around them, which nobody of those who were learnt from said."""
    pause = torch.zeros(RATE // 4)
    pieces = [pause]
    for place, digit in enumerate(digits):
        pieces += [voices.new[digit][place % len(voices.new[digit])], pause]
    return room(torch.cat(pieces), generator)


def described(front_end: FrontEnd) -> dict[str, object]:
    """The front end as numbers: windows, tables and weights, so that the page computes what Python does."""
    return {
        "sampleRate": front_end.sample_rate,
        "window": front_end._window_samples,
        "shift": front_end._shift_samples,
        "size": front_end._fft_size,
        "emphasis": front_end.pre_emphasis,
        "scale": 32768,
        "offset": front_end.offset,
        "shape": torch.hamming_window(front_end._window_samples, periodic=False, dtype=torch.float64).tolist(),
        "filters": front_end._mel_filters().T.tolist(),
        "cosines": front_end._cosines().T.tolist(),
        "differences": front_end.differences,
    }


def make(out: Path, voices: Voices, source: str, generator: torch.Generator) -> None:
    """Write the page: to be served by any server, and opened by any browser of today."""
    model = trained(voices, generator)
    wave = sentence(voices, SAID, generator)
    out.mkdir(parents=True, exist_ok=True)
    dist = HERE / "node_modules" / "onnxruntime-web" / "dist"
    for file in (*HERE.glob("src/*"), *(dist / name for name in RUNTIME)):
        shutil.copy(file, out)
    soundfile.write(out / "digits.wav", wave.numpy(), RATE, subtype="PCM_16")
    model.save(out / "model.safetensors")
    export.onnx_step(model, out / "model.onnx", ("log_prob", "filtered", "viterbi"), lag=LAG)
    about = {"source": source, "words": WORDS, "states": STATES, "lag": LAG, "frontEnd": described(FRONT_END)}
    (out / "model.json").write_text(json.dumps(about))


def main() -> None:
    """Take recordings where there are some, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the page")
    parser.add_argument("--synthetic", action="store_true", help="a synthetic voice, even if there are recordings")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parents[2] / "shared" / "data")) / "fsdd"
    if data.is_dir() and not arguments.synthetic:
        make(arguments.out, recorded(data), "the Free Spoken Digit Dataset", generator)
    else:
        make(arguments.out, synthetic(generator), "a synthetic voice", generator)


if __name__ == "__main__":
    main()
