"""The runtime's front end and its networks: what PyTorch makes of the same sound and the same frames."""

import json
import math
import os
import struct
import subprocess
import wave

import numpy as np
import pytest
import torch
from torch import nn

import semihmm
from semihmm import export
from semihmm.audio.reading import read_audio
from semihmm.errors import StructureError
from semihmm.models import HMM, Gaussian, Neural
from semihmm.speech import FrontEnd
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.live import LiveFrontEnd

BAD_FILE, BAD_DATA = 3, 5  # of semihmm.h

SPHINX = FrontEnd(lower_edge=130, upper_edge=6800, filters=25, transform="dct", lifter=22, noise_removal=True)
HTK = FrontEnd(
    window=0.025, lower_edge=0, upper_edge=8000, filters=24, cepstra=13, transform="htk", lifter=22, padded=False,
    emphasis_within=True, exponent=1.0, corners="mel", offset=0.0, floor=1.0,
    differences=((-0.2, -0.1, 0.0, 0.1, 0.2),), columns=(*range(1, 13), *range(14, 26), 13),
)  # fmt: skip
PRIOR = torch.linspace(50, -3, 13)  # the start of a stream's running mean
FRONT_ENDS = {
    "defaults": FrontEnd(),
    "sphinx": SPHINX,
    "htk": HTK,
    "telephone": FrontEnd(
        sample_rate=8000, window=0.02, lower_edge=200, upper_edge=3500, filters=15, cepstra=7, differences=()
    ),
}


def through(library, path, x, block, **how):
    """What a model's front makes of inputs, so many at a time."""
    front = library.open(path).front(**how)
    found = [front.push(part) for part in x.split(block)]
    return torch.from_numpy(np.concatenate([*found, front.finish()]))


def chirps(samples, rate=16000):
    time = torch.arange(samples) / rate
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    found = 0.3 * torch.sin(6.28 * (200 + 300 * time) * time) * torch.sin(7 * time) + 0.01 * noise
    found[samples // 2 : samples // 2 + samples // 5] = 0.0
    return found


def listener(path, front_end, **stream):
    """A model file of an HMM that hears the front end's features."""
    size = len(front_end.columns) if front_end.columns else front_end.cepstra * (1 + len(front_end.differences))
    model = HMM(3, Gaussian(3, features=size))
    export.runtime(model, path, features=export.front_end(front_end, **stream))
    return path


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [900, 16000, 16170], ids=str)
def test_a_whole_recording_has_the_features_that_python_finds(library, tmp_path, name, samples):
    sound, front_end = chirps(samples), FRONT_ENDS[name]
    path = listener(tmp_path / "m", front_end)
    expected = front_end(sound.double())
    found = through(library, path, sound, 700, samples=True, whole=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(found, front_end(sound), atol=1e-3, rtol=1e-5)  # float32 loses that much by itself


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("block", [1, 160, 100000], ids=str)
def test_a_stream_has_the_features_of_python_s_stream(library, tmp_path, name, block):
    sound, front_end = chirps(5000) + 0.1, FRONT_ENDS[name]
    prior = PRIOR[: front_end.cepstra]
    path = listener(tmp_path / "m", front_end, offset=None, prior=prior)
    live = LiveFrontEnd(front_end, prior=prior.double())
    expected = torch.cat([*(live.push(part) for part in sound.double().split(1000)), live.finish()])
    found = through(library, path, sound, block, samples=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-6)


def test_a_stream_whose_means_are_known_is_the_whole_recording(library, tmp_path):
    sound = chirps(5000)
    mean = SPHINX.cepstrum(sound.double()).mean(0)
    path = listener(tmp_path / "m", SPHINX, mean=mean)
    expected = SPHINX.with_differences(SPHINX.cepstrum(sound.double()) - mean)
    found = through(library, path, sound, 333, samples=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-6)


def test_less_than_a_window_has_no_features(library, tmp_path):
    path = listener(tmp_path / "m", SPHINX)
    for whole in (False, True):
        assert through(library, path, chirps(409), 100, samples=True, whole=whole).shape == (0, 39)


class Channels(nn.Sequential):
    """Layers that have time behind features."""

    def forward(self, x):
        return super().forward(x.mT).mT


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(5, 5, 3, padding=2, dilation=2)
        self.b = nn.Conv1d(5, 5, 5, padding=2)
        self.c = nn.Conv1d(5, 70, 4, stride=3, padding=6)

    def forward(self, x):
        h = x.mT
        h = h + self.b((2 * self.a(h) + h).tanh())
        return self.c(h / 3 + 1).mT


class Changed(nn.Module):
    """A view is changed in place, and what it is a view of."""

    def forward(self, x):
        h = 2 * x
        return h.mT.relu_().mT + h


class Counting(nn.Module):
    def forward(self, x):
        return x / x.shape[1]


def standing(size):
    """Batch normalisation as it is after training."""
    norm = nn.BatchNorm1d(size)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    return norm


NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Linear(5, 33), nn.ReLU(), nn.Dropout(), nn.Linear(33, 4), nn.LogSoftmax(-1)),
    "activations": lambda: nn.Sequential(
        nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 6), nn.GELU("tanh"), nn.SiLU(), nn.Linear(6, 6, bias=False), nn.Tanh(),
        nn.LeakyReLU(0.2), nn.Sigmoid(), nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False),
    ),
    "strides": lambda: Channels(
        nn.Conv1d(5, 20, 5, 2, padding=2, bias=False), standing(20), nn.ReLU(inplace=True),
        nn.Conv1d(20, 9, 3, dilation=3, padding=3), standing(9), nn.Conv1d(9, 4, 1),
    ),
    "groups": lambda: Channels(
        standing(5), nn.Conv1d(5, 10, 3, padding="same", groups=5),
        nn.Conv1d(10, 4, 4, padding=2, padding_mode="replicate"), nn.LogSoftmax(1),
    ),
    "sums": Sums,
    "time delay": lambda: TimeDelayNetwork(5, 12, width=16),
}  # fmt: skip


def outputs_of(net, x):
    with torch.no_grad():
        return net(x) if isinstance(net, TimeDelayNetwork) else net(x[None])[0]


def network_file(path, net, dtype=torch.float32):
    states = outputs_of(net, torch.zeros(50, 5)).shape[1]
    form = semihmm.HMM(torch.zeros(states), torch.zeros(states, states), torch.zeros(1, states))
    export.runtime(form, path, network=net, dtype=dtype)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_streams_what_pytorch_computes_at_once(library, tmp_path, name):
    torch.manual_seed(0)
    net = NETWORKS[name]().eval()
    path = network_file(tmp_path / "m", net)
    for steps in (1, 2, 7, 100):
        x = torch.randn(steps, 5)
        expected = outputs_of(net, x)
        found = through(library, path, x, 3, samples=False)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_half_the_bytes_are_the_same_network_with_rounded_weights(library, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 200), nn.ReLU(), nn.Linear(200, 100)).eval()
    full, half = network_file(tmp_path / "full", net), network_file(tmp_path / "half", net, torch.float16)
    x = torch.randn(20, 5)
    expected = outputs_of(net.half().float(), x)
    torch.testing.assert_close(through(library, half, x, 3, samples=False), expected, atol=1e-5, rtol=1e-5)
    layers = 4 * sum(p.numel() for p in net.parameters())
    assert full.stat().st_size - half.stat().st_size == pytest.approx(layers / 2, rel=0.01)


def test_sound_goes_through_features_and_network(library, tmp_path):
    torch.manual_seed(0)
    net = Channels(nn.Conv1d(39, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 3, 1), nn.LogSoftmax(-2)).eval()
    path, sound = tmp_path / "m", chirps(8000)
    export.runtime(HMM(3, Neural(net)), path, features=export.front_end(SPHINX))
    expected = outputs_of(net, SPHINX(sound.double()).float())
    torch.testing.assert_close(
        through(library, path, sound, 500, samples=True, whole=True), expected, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.LSTM(3, 4, batch_first=True)), "layer '1' \\(LSTM\\) has lstm"),
        (nn.Sequential(nn.Linear(5, 6), nn.AvgPool1d(2)), "layer '1' \\(AvgPool1d\\) has avg_pool1d"),
        (Channels(nn.Conv1d(5, 3, 3, padding=1, padding_mode="circular")), "layer '0' \\(Conv1d\\) pads"),
        (Changed(), "network itself has relu_, which changes what is used again"),
        (Counting(), "Counting computes with the number of rows"),
        (nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1)), "layer '1' .* has a LogSoftmax over other axes"),
    ],
    ids=["recurrent", "pooling", "circular padding", "changes in place", "length", "time and features mixed up"],
)
def test_a_layer_that_the_runtime_lacks_is_named(net, words):
    with pytest.raises(StructureError, match=words):
        export.network(net, 5)


def test_other_front_ends_are_refused_by_name():
    with pytest.raises(StructureError, match=r"one front end.*got Linear"):
        export.front_end(nn.Linear(2, 3))


def rewritten(path, change):
    """A model file whose JSON is changed; its tensors stay."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    note = json.loads(header["__metadata__"]["semihmm.runtime"])
    change(note)
    header["__metadata__"]["semihmm.runtime"] = json.dumps(note)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    return path


@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (("features", "filters"), 5000, "filters should be from 1 to 1000"),
        (("features", "filters"), 600, "filters lie closer together"),
        (("features", "window"), 1e300, "window"),
        (("features", "sample_rate"), -1, "sample_rate should be from 100"),
        (("features", "differences"), [[1, 2]], "odd number of weights"),
        (("features", "differences"), 3, "a list of lists of numbers"),
        (("features", "columns"), [39], "a column should be from 0 to 38"),
        (("features", "transform"), "dft", '"dct", "htk", "legacy"'),
        (("features", "stream"), {"mean": [1.0]}, "one number for each of the cepstra"),
        (("features", "columns"), [0], "of 39 numbers a frame"),
        (("emission", "inputs"), 40, "takes 39 numbers, and gets 40"),
        (("emission", "inputs"), 0, "a whole number from 1"),
        (("emission", "layers"), [], "must have 3 outputs"),
        (("emission", "layers", 0, "dilation"), 1 << 24, "too large|too many rows"),
        (("emission", "layers", 0, "stride"), 0, "a whole number from 1"),
        (("emission", "layers", 0, "padding"), "circular", '"zeros", "replicate"'),
        (("emission", "layers", 0, "weight"), "nothing", "tensor emission.nothing is missing"),
        (("emission", "layers", 1, "kind"), "lstm", "kind must be"),
        (("emission", "layers", 1), {"kind": "residual", "layers": [{"kind": "relu", "x": 1}]}, "nothing that this"),
    ],
    ids=lambda x: "-".join(map(str, x)) if isinstance(x, tuple) else "",
)
def test_what_contradicts_itself_in_a_file_is_named(library, tmp_path, where, value, words):
    net = Channels(nn.Conv1d(39, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 3, 1))
    path = tmp_path / "m"
    export.runtime(HMM(3, Neural(net)), path, features=export.front_end(SPHINX))

    def change(note):
        *above, last = where
        for key in above:
            note = note[key]
        note[last] = value

    with pytest.raises(library.Failure, match=words) as failure:
        library.open(rewritten(path, change))
    assert failure.value.status == BAD_FILE


def recording(path, sound, rate=16000):
    """A WAV file of two channels, the second one quieter; what it holds, as one channel."""
    left = (sound * 32768).round()
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, rate, 0, "NONE", ""))
        file.writeframes(torch.stack([left, left / 4], 1).short().numpy().tobytes())
    return read_audio(path)[0]


@pytest.fixture(scope="module")
def infer(request):
    """The JSON lines that semihmm-infer prints, or that of another machine in an emulator."""
    program = os.environ.get("SEMIHMM_INFER", "").split() or [request.getfixturevalue("built") / "semihmm-infer"]

    def run(*words, given=None):
        done = subprocess.run([*program, *map(str, words)], input=given, capture_output=True, check=False)
        if done.returncode:
            assert done.returncode == 1
            raise ValueError(done.stderr.decode())
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """A model of sound whose log-likelihoods a network makes, and its file."""
    torch.manual_seed(0)
    net = Channels(nn.Conv1d(39, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 3, 1), nn.LogSoftmax(-2)).eval()
    model, path = HMM(3, Neural(net)), tmp_path_factory.mktemp("talker") / "model.safetensors"
    export.runtime(model, path, features=export.front_end(SPHINX, prior=PRIOR), names=["a", "b", "c"])
    return model, path


@torch.no_grad()
def test_a_wav_goes_in_and_states_come_out(infer, talker, tmp_path):
    model, path = talker
    sound = recording(tmp_path / "a.wav", chirps(16000))
    structure = model(SPHINX(sound.double()).float())
    (answer,) = infer(path, tmp_path / "a.wav")
    best = semihmm.viterbi(structure)
    assert answer["states"] == best.states.tolist()
    assert answer["names"] == ["abc"[state] for state in answer["states"]]
    assert answer["frames"] == 99
    assert answer["log_likelihood"] == pytest.approx(float(semihmm.log_partition(structure)), rel=1e-6)
    assert answer["score"] == pytest.approx(float(best.score), rel=1e-6)


@torch.no_grad()
def test_states_are_told_while_the_wav_plays(infer, talker, tmp_path):
    model, path = talker
    sound = recording(tmp_path / "a.wav", chirps(16000))
    live = LiveFrontEnd(SPHINX, offset=0.0, prior=PRIOR.double())
    structure = model(torch.cat([live.push(sound.double()), live.finish()]).float())
    *lines, end = infer(path, tmp_path / "a.wav", "--stream")
    assert len(lines) >= 9
    assert [line["frames"] for line in lines] == sorted(line["frames"] for line in lines)
    told = [state for line in [*lines, end] for state in line["states"]]
    assert told == semihmm.viterbi(structure).states.tolist()
    assert end["log_likelihood"] == pytest.approx(float(semihmm.log_partition(structure)), rel=1e-6)
    piped = infer(path, "-", "--wav", "--stream", given=(tmp_path / "a.wav").read_bytes())
    assert piped == [*lines, end]


def test_recordings_that_cannot_be_heard_say_why(infer, talker, tmp_path):
    _, path = talker
    recording(tmp_path / "slow.wav", chirps(4000), rate=8000)
    with pytest.raises(ValueError, match="has 8000 samples a second, and the model hears 16000"):
        infer(path, tmp_path / "slow.wav")
    recording(tmp_path / "a.wav", chirps(4000))
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:9000])
    with pytest.raises(ValueError, match=r"cut.wav: wav: the file was cut short: .* promises 4000 .* holds 2239"):
        infer(path, tmp_path / "cut.wav")
    with pytest.raises(ValueError, match="no RIFF file"):
        infer(path, "-", "--wav", given=b"nothing of that kind")
    plain = tmp_path / "plain.safetensors"
    export.runtime(HMM(3, Gaussian(3, features=2)), plain)
    with pytest.raises(ValueError, match="has no features"):
        infer(plain, tmp_path / "a.wav")


def test_samples_that_are_no_numbers_are_refused_and_the_stream_goes_on(library, talker):
    front = library.open(talker[1]).front(samples=True)
    sound = chirps(3000)
    found = [front.push(sound[:1000])]
    with pytest.raises(library.Failure, match="number 1 of what comes in is NaN or infinite") as failure:
        front.push([0.0, math.nan, 0.0])
    assert failure.value.status == BAD_DATA
    found += [front.push(sound[1000:]), front.finish()]
    whole = through(library, talker[1], sound, 3000, samples=True)
    torch.testing.assert_close(torch.from_numpy(np.concatenate(found)), whole, atol=0, rtol=0)
