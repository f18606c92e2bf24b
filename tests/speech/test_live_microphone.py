"""A microphone that is none: PulseAudio's pipe source, which plays what is written to a pipe, through PortAudio.

Skipped where ``pulseaudio``, ALSA's plugin for it, or ``sounddevice`` with PortAudio is not installed; on Debian:
``apt-get install pulseaudio libasound2-plugins libportaudio2`` and ``pip install 'semihmm[live]'``.
"""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import threading
import time

import pytest

LISTEN = """
import json, sys, time
from semihmm.speech.live import MicrophoneSource, WallClock, reconnecting

clock, said = WallClock(), []
connect = lambda: MicrophoneSource(clock=clock, patience=1.0)
heard = lost = 0.0
rates, level, begun, back = set(), 0.0, time.monotonic(), None
for block in reconnecting(connect, said.append, clock=clock, first_wait=0.2, longest_wait=0.5):
    rates.add(block.sample_rate)
    if block.lost:
        lost += block.duration
    else:
        heard += block.duration
        level = max(level, float(block.samples.abs().max()))
    if heard and len(rates) == 1 and not lost:
        print("listening", flush=True)
    if any("is back" in text for text in said):
        back = back or time.monotonic()
    if (back and time.monotonic() - back > 0.5) or time.monotonic() - begun > 30:
        break
print(json.dumps({"heard": heard, "lost": lost, "level": level, "rates": sorted(rates), "said": said}), flush=True)
"""


@pytest.fixture
def pulse(tmp_path):
    """The environment in which a pipe is the microphone, and the pipe."""
    if shutil.which("pulseaudio") is None:
        pytest.skip("pulseaudio is not installed")
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("sounddevice, or PortAudio, is not installed")
    socket, pipe = tmp_path / "socket", tmp_path / "microphone"
    (tmp_path / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
    home = {name: str(tmp_path) for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")}
    environment = os.environ | home | {"PULSE_SERVER": f"unix:{socket}"}
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
    command += ["-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
    command += ["-L", f"module-pipe-source source_name=pipe file={pipe} format=s16le rate=48000 channels=1"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if socket.exists() and pipe.exists():
            break
        time.sleep(0.1)
    else:
        server.kill()
        pytest.skip("pulseaudio does not start here")
    yield environment, pipe
    server.terminate()
    server.wait(10)


def play(pipe, seconds):
    """A tone at half of full scale, as fast as it would be said."""
    block = b"".join(struct.pack("<h", round(16384 * math.sin(2 * math.pi * n / 48))) for n in range(480))
    with pipe.open("wb", buffering=0) as file:
        begun = time.monotonic()
        for number in range(round(100 * seconds)):
            file.write(block)
            time.sleep(max(begun + number / 100 - time.monotonic(), 0))


def test_a_microphone_is_heard_lost_and_heard_again(pulse):
    environment, pipe = pulse
    stop, heard = threading.Event(), threading.Event()

    def speak():
        """Until it is heard; then nothing comes for two seconds; then until the end."""
        while not heard.is_set():
            play(pipe, 0.5)
        stop.wait(2.0)
        while not stop.is_set():
            play(pipe, 0.5)

    speaker = threading.Thread(target=speak, daemon=True)
    command = [sys.executable, "-c", LISTEN]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as listener:
        speaker.start()
        for line in listener.stdout:
            heard.set()
            if line.startswith("{"):
                break
        stop.set()
    speaker.join(10)
    result = json.loads(line)
    assert result["rates"] == [16000] and result["level"] == pytest.approx(0.5, abs=0.05)
    assert "the microphone has delivered nothing for 1 s. Trying again in 0.2 s." in result["said"]
    assert any("is back" in text for text in result["said"])
    assert result["lost"] > 0.5 and result["heard"] > 0.5
