"""Where live sound comes from, what becomes of it on the way, and how long it takes; no sound card is needed."""

import math
import queue
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from semihmm.errors import DependencyError
from semihmm.speech.live import (
    Block,
    FileSource,
    Latencies,
    LivePicture,
    MicrophoneSource,
    PhoneListener,
    ScriptFollower,
    Session,
    SimulatedClock,
    SourceLost,
    WallClock,
    reconnecting,
)
from semihmm.speech.live.watch import Watch

from .conftest import RATE, spoken


def standing():
    """A clock on which work takes no time."""
    return SimulatedClock(work=lambda: 0.0)


class Devices:
    """What MicrophoneSource uses of the module sounddevice: each stream plays its events when it is started."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *scripts, rates=(16000,), broken=False):
        self.scripts, self.rates, self.broken = list(scripts), rates, broken
        self.opened, self.closed = [], 0

    def _terminate(self):
        pass

    def _initialize(self):
        pass

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return [{"name": "Desk", "max_input_channels": 1}, {"name": "Speaker", "max_input_channels": 0}]
        if self.broken or device == "Nothing":
            raise ValueError("No input device matching 'Nothing'")
        return {"default_samplerate": float(self.rates[-1])}

    def check_input_settings(self, device, channels, dtype, samplerate):
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    def InputStream(self, rate, size, device, channels, dtype, latency, callback):
        self.opened.append(rate)
        events, at = self.scripts.pop(0), 0.0

        def start():
            nonlocal at
            for event in events:
                if event == "overflow":
                    at += 0.5
                    continue
                over = at > 0 and event == "late"
                data = np.full((size, 1), 0.25, np.float32)
                callback(data, size, SimpleNamespace(inputBufferAdcTime=at), SimpleNamespace(input_overflow=over))
                at += size / rate

        def close():
            self.closed += 1

        return SimpleNamespace(start=start, abort=lambda: None, close=close)


@pytest.fixture
def devices(monkeypatch):
    def use(*scripts, **options):
        module = Devices(*scripts, **options)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return use


def heard_until_lost(source):
    blocks = []
    with pytest.raises(SourceLost) as lost:
        for block in source:
            blocks.append(block)
    return blocks, str(lost.value)


def test_a_file_is_delivered_as_if_it_were_said():
    wave, clock = torch.arange(500.0), standing()
    blocks = list(FileSource(wave, RATE, clock=clock))
    assert torch.equal(torch.cat([block.samples for block in blocks]), wave)
    assert [block.delivered for block in blocks] == pytest.approx([0.01, 0.02, 0.03, 0.03125])
    assert clock.now() == blocks[-1].delivered


def test_on_the_wall_a_file_takes_as_long_as_it_is():
    begun = time.perf_counter()
    assert len(list(FileSource(torch.zeros(1600), RATE, clock=WallClock()))) == 10
    assert time.perf_counter() - begun >= 0.1


def test_work_makes_later_blocks_late_on_a_simulated_clock():
    ticks = [0.0]
    clock = SimulatedClock(work=lambda: ticks[0])
    late = []
    for block in FileSource(torch.zeros(800), RATE, clock=clock):
        late.append(round(clock.now() - block.delivered, 6))
        ticks[0] += 0.015  # for each block of 10 ms
    assert late == [0.0, 0.005, 0.010, 0.015, 0.020]


def test_a_microphone_delivers_until_it_is_lost(devices):
    module = devices(["block"] * 3)
    blocks, reason = heard_until_lost(MicrophoneSource(clock=standing(), patience=0.01))
    assert [len(block.samples) for block in blocks] == [160] * 3
    assert all(block.sample_rate == 16000 and not block.lost for block in blocks)
    assert reason == "the microphone has delivered nothing for 0.01 s." and module.closed == 1


def test_a_microphone_without_the_rate_comes_at_its_own(devices):
    devices(["block"], rates=(44100, 48000))
    blocks, _ = heard_until_lost(MicrophoneSource(clock=standing(), patience=0.01))
    assert [(block.sample_rate, len(block.samples)) for block in blocks] == [(48000, 480)]


def test_an_overrun_is_a_gap_as_long_as_what_was_lost(devices):
    devices(["block", "overflow", "late", "block"])
    blocks, _ = heard_until_lost(MicrophoneSource(clock=standing(), patience=0.01))
    assert [block.lost for block in blocks] == ["", "overrun", "", ""]
    assert blocks[1].duration == pytest.approx(0.5) and bool(blocks[1].samples.isnan().all())


def test_what_nobody_takes_in_time_is_a_gap(devices):
    """Ten blocks come at once, and two of them may wait."""
    devices(["block"] * 10)
    blocks, _ = heard_until_lost(MicrophoneSource(clock=standing(), patience=0.01, backlog=0.02))
    assert len(blocks) == 2


def test_a_microphone_that_is_not_there_is_refused_by_name(devices):
    devices()
    with pytest.raises(SourceLost, match=r"the microphone 'Nothing' cannot be opened .*There are Desk\."):
        next(iter(MicrophoneSource("Nothing", clock=standing())))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DependencyError, match=r"pip install 'semihmm\[live\]'"):
        MicrophoneSource()


def test_without_portaudio_the_library_is_named(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DependencyError, match=r"PortAudio \(PortAudio library not found\)[^$]*apt-get install libportaudio2"
    ):
        MicrophoneSource()
    sys.modules.pop("sounddevice", None)


def test_a_lost_microphone_is_waited_for_and_times_stay_right(devices):
    """It is gone for two attempts, and comes back at another rate."""
    devices(["block"] * 2, ["block"] * 2, rates=(16000,))
    clock, said, attempts = standing(), [], [0]

    def connect():
        attempts[0] += 1
        if attempts[0] == 2:
            raise SourceLost("the microphone cannot be opened.")
        return MicrophoneSource(clock=clock, patience=0.01)

    blocks, source = [], reconnecting(connect, said.append, clock=clock, first_wait=0.5)
    for block in source:
        blocks.append(block)
        if attempts[0] == 3 and len(blocks) > 5:
            break
    gaps = [block.duration for block in blocks if block.lost]
    assert sum(gaps) == pytest.approx(0.5 + 1.0, abs=0.03)
    assert said[0].endswith("Trying again in 0.5 s.") and said[1].endswith("Trying again in 1 s.")
    assert said[2] == "the sound is back; 1.5 s are lost."
    assert [block.lost for block in blocks] == ["", "", "device lost", "device lost", "", ""]


def test_waits_grow_to_their_longest():
    clock, said, attempts = standing(), [], [0]

    def connect():
        attempts[0] += 1
        if attempts[0] == 1:
            yield Block(torch.zeros(160), RATE, 0.01)
        if attempts[0] < 8:
            raise SourceLost("gone.")

    list(reconnecting(connect, said.append, clock=clock, first_wait=0.5, longest_wait=4.0))
    waits = [float(text.split()[-2]) for text in said]
    assert waits == [0.5, 1, 2, 4, 4, 4, 4]


def test_a_microphone_that_never_was_there_is_an_error():
    def connect():
        raise SourceLost("the microphone cannot be opened.")

    with pytest.raises(SourceLost):
        next(reconnecting(connect, print, clock=standing()))


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (torch.tensor([0.1, math.inf, 0.0, math.nan]), "2 samples are no numbers"),
        (torch.tensor([0.1, 1e30]), "1 samples are no numbers"),
        (torch.tensor([1.0, -1.0, 1.0, 0.3]), "the sound is clipped: turn the microphone down."),
    ],
    ids=["nan", "huge", "clipped"],
)
def test_what_is_wrong_with_sound_is_said_once(samples, said):
    heard = []
    watch = Watch(heard.append)
    for _ in range(3):
        usable = watch(Block(samples, RATE, 0.0))
    assert len(heard) == 1 and said in heard[0]
    assert torch.equal(usable.isnan(), ~(samples.abs() < 1e6))


def test_digital_silence_is_said_when_it_has_lasted():
    heard = []
    watch = Watch(heard.append)
    for _ in range(190):
        watch(Block(torch.zeros(160), RATE, 0.0))
    assert not heard
    for _ in range(300):
        watch(Block(torch.zeros(160), RATE, 0.0))
    assert heard == ["2.0 s: digital silence for 2 s: is the microphone muted?"]


def test_overruns_are_counted():
    heard = []
    watch = Watch(heard.append)
    watch(Block.gap(0.05, RATE, 0.0, "overrun"))
    watch(Block.gap(2.0, RATE, 0.0, "device lost"))
    assert (watch.overruns, round(watch.lost, 3)) == (1, 2.05)
    assert heard == ["0.0 s: overrun: 50 ms of sound were lost; times stay right."]


def test_a_frame_waits_for_its_neighbours_and_for_no_work(tone_model):
    """Where work takes no time: the rest of its block, and the three frames that differences look ahead."""
    session = Session(tone_model, PhoneListener(tone_model), clock=standing())
    list(session.play(FileSource(torch.cat([spoken(("AA", 0.5))[0]]).float(), RATE, clock=session.clock)))
    assert session.latencies.quantile(0.99) == pytest.approx(0.0301) and session.latencies.longest == pytest.approx(
        0.03
    )
    assert len(session.latencies) == session.frames


def test_work_counts_and_so_does_the_caller(tone_model):
    ticks = [0.0]
    session = Session(tone_model, PhoneListener(tone_model), clock=SimulatedClock(work=lambda: ticks[0]))
    for _ in session.play(FileSource(spoken(("AA", 0.5))[0].float(), RATE, clock=session.clock)):
        ticks[0] += 0.004
    assert 0.0335 < session.latencies.quantile(0.5) < 0.035


def test_latencies_take_no_more_memory_with_more_frames():
    latencies = Latencies()
    size = latencies._counts.nbytes
    for _ in range(1000):
        latencies.add(1e9)
    assert latencies._counts.nbytes == size and len(latencies) == 1000 and latencies.longest == 1e9
    assert Latencies().quantile(0.99) == 0.0


def test_another_rate_is_said_and_words_stay_where_they_are(tone_model, tone_lexicon):
    """From one block to the next, as where a microphone was lost and another one took its place."""
    from semihmm.audio import resample

    wave, starts = spoken(("SIL", 0.2), ("AA", 0.3), ("SIL", 0.2), ("S", 0.2), ("IY", 0.2), ("SIL", 0.2))
    half = round(starts[2] * RATE) + 800
    later = resample(wave[half:], source=RATE, target=48000).float()
    said, clock = [], standing()
    session = Session(tone_model, ScriptFollower(tone_model, tone_lexicon, "ah see"), clock=clock, say=said.append)

    def sound():
        yield from FileSource(wave[:half].float(), RATE, clock=clock)
        yield from FileSource(later, 48000, clock=clock)

    found = [one.item for moment in session.play(sound()) for one in moment.now.found]
    assert [item.start for item in found] == pytest.approx([starts[1], starts[3]], abs=0.02)
    assert said == ["the sound comes at 48000 Hz and is resampled to the model's 16000, which takes 1.1 ms."]


def test_a_picture_is_of_the_last_seconds(tone_model, tmp_path):
    pytest.importorskip("matplotlib", reason="the plots extra is not installed")
    session = Session(tone_model, PhoneListener(tone_model), clock=standing())
    picture = LivePicture(tone_model.phones, seconds=0.5)
    wave, _ = spoken(("AA", 0.4), ("S", 0.4), ("IY", 0.4))
    wave[8000:9000] = math.nan
    picture.add(session.play(FileSource(wave.float(), RATE, clock=session.clock)))
    assert len(picture._rows) < 60
    picture.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_a_window_draws_until_it_is_told_to_stop(tone_model, monkeypatch):
    """Here without a screen, in this process."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="the plots extra is not installed")
    from semihmm.speech.live import picture

    drawn, rows = [], queue.Queue()
    monkeypatch.setattr(picture.LivePicture, "draw", lambda self, figure: drawn.append(len(self._rows)))
    monkeypatch.setattr(pyplot, "show", lambda block: None)
    monkeypatch.setattr(pyplot, "pause", lambda seconds: rows.put(None))
    session = Session(tone_model, PhoneListener(tone_model), clock=standing())
    for moment in session.play(FileSource(spoken(("AA", 0.3))[0].float(), RATE, clock=session.clock)):
        rows.put(picture.Row.of(moment))
    picture._show(rows, tone_model.phones, ())
    pyplot.close("all")
    assert drawn == [session.frames + 1]


def test_ctrl_c_ends_a_session_with_what_there_is(tone_model, tone_lexicon, capsys):
    pytest.importorskip("rich", reason="the speech extra is not installed")
    from semihmm.cli.listening import Screen, listen, summary

    wave, _ = spoken(("SIL", 0.2), ("AA", 0.3), ("SIL", 0.2), ("S", 0.2), ("IY", 0.2), ("SIL", 0.2))
    task = ScriptFollower(tone_model, tone_lexicon, "ah see ah")
    screen, before = Screen(task), signal.getsignal(signal.SIGINT)
    session = Session(tone_model, task, clock=standing(), say=screen.say)

    def sound():
        for number, block in enumerate(FileSource(wave.float(), RATE, clock=session.clock)):
            if number == 100:
                signal.raise_signal(signal.SIGINT)
            yield block

    found = listen(session, sound(), screen, None)
    summary(session, found, screen)
    assert [one.item.label for one in found] == ["ah", "see"]
    assert session.duration == pytest.approx(1.01) and signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out
    assert "1.0 s of sound, 2 words found." in said and "1 words were not reached" in said
