"""Three recordings of tones, aligned: what `semihmm align` would have written of them."""

import math
from pathlib import Path

import pytest
import soundfile
import torch

from semihmm.speech import Aligner, find_recordings
from semihmm.speech.corpora.batch import align_recordings

RATE = 16000
TONES = {"SIL": 0.0, "AA": 400.0, "IY": 900.0, "S": 2500.0}
SAID = {
    "good": (("SIL", 0.3), ("AA", 0.4), ("SIL", 0.2), ("S", 0.3), ("IY", 0.4), ("SIL", 0.4)),
    "deep/wrong": (("SIL", 0.2), ("S", 0.5), ("IY", 0.4), ("SIL", 0.5)),
    "alone": (("SIL", 0.3), ("IY", 0.3), ("S", 0.3), ("AA", 0.5), ("SIL", 0.3)),
}
TEXTS = {"good": "Ah, see!", "deep/wrong": "ahee </script><script>hacked = 1</script>", "alone": "eesah"}


def sound(pieces):
    generator = torch.Generator().manual_seed(1)
    waves, now = [], 0
    for phone, seconds in pieces:
        time = torch.arange(now, now := now + round(seconds * RATE), dtype=torch.float64) / RATE
        waves.append(torch.sin(2 * math.pi * TONES[phone] * time) / 3)
    wave = torch.cat(waves)
    return wave + torch.randn(wave.shape, generator=generator, dtype=torch.float64) / 2000


@pytest.fixture(scope="session")
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, pieces in SAID.items():
        path = folder / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound(pieces).numpy(), RATE)
        path.with_suffix(".txt").write_text(TEXTS[name])
    return folder


@pytest.fixture(scope="session")
def results(corpus, aligner, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    outcomes = list(align_recordings(aligner, find_recordings(corpus), folder, nbest=2))
    assert [outcome.failure for outcome in outcomes] == [None] * 3
    return folder
