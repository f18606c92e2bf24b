"""What is wrong with a corpus, found without aligning it."""

import pytest
import soundfile
import torch

from semihmm.speech import Aligner, find_recordings, validate

from .conftest import RATE, spoken

WAVE = spoken(("SIL", 0.1), ("AA", 0.3), ("IY", 0.3))[0].numpy()


@pytest.fixture
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


def made(folder, wave=WAVE, text="ahee", rate=RATE, **options):
    soundfile.write(folder / "a.wav", wave, rate, **options)
    (folder / "a.txt").write_text(text)
    return find_recordings(folder)


def test_nothing_is_said_of_what_is_well(tmp_path, aligner):
    assert list(validate(made(tmp_path), aligner)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "..."}, "holds no words"),
        ({"text": ""}, "says nothing"),
        ({"text": "see " * 60}, "longer than the audio can hold"),
        ({"wave": WAVE * 0}, "digitally silent"),
        ({"wave": WAVE[:0]}, "zero samples"),
    ],
)
def test_what_cannot_be_aligned_is_fatal(tmp_path, aligner, change, reason):
    recordings = made(tmp_path, **change)
    (finding,) = validate(recordings, aligner)
    assert finding.fatal
    assert finding.name == "a"
    assert reason in finding.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"wave": WAVE[::2], "rate": 8000}, "8000 Hz: the acoustic model listens up to 6800 Hz"),
        ({"wave": (9 * WAVE).clip(-1, 1)}, "at full scale"),
        ({"text": "ahee xx"}, "not in the dictionary: xx."),
        ({"text": "ahee " * 9}, "18 phones in 0.7 s: the text is longer"),
        ({"wave": torch.from_numpy(WAVE).repeat(4).numpy()}, "2 phones in 2.8 s: does the text lack"),
    ],
)
def test_what_is_odd_is_said_and_not_fatal(tmp_path, aligner, change, reason):
    (finding,) = validate(made(tmp_path, **change), aligner)
    assert not finding.fatal
    assert reason in finding.reason


def test_the_fault_of_one_utterance_has_its_times(tmp_path, aligner):
    soundfile.write(tmp_path / "a.wav", WAVE, RATE)
    (tmp_path / "a.srt").write_text(
        "1\n00:00:00,000 --> 00:00:00,300\nahee ahee ahee ahee\n\n2\n00:00:00,300 --> 00:00:00,600\nahee\n"
    )
    (finding,) = validate(find_recordings(tmp_path), aligner)
    assert finding.reason.startswith("0.00–0.30 s: 8 phones in 0.3 s")
