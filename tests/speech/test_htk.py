"""Reader of HTK models, on files that the tests write, and its features, against some lines of NumPy."""

import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from semihmm.audio import read_audio
from semihmm.cli.main import app
from semihmm.errors import DataError
from semihmm.speech import Aligner, Lexicon, load_acoustic_model, load_dictionary
from semihmm.speech.acoustics.htk import front_end_of, phone_names, read_configuration, read_definitions
from semihmm.speech.files.results import Alignment

from .conftest import RATE, TONES, spoken, tone

MODELS = Path(os.environ.get("SEMIHMM_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hmm-models"
CONFIG = {"SOURCERATE": "625", "TARGETRATE": "100000.0", "WINDOWSIZE": "250000.0", "TARGETKIND": "MFCC_0_D_N_Z"}
CONFIG |= {"USEHAMMING": "T", "PREEMCOEF": "0.97", "NUMCHANS": "26", "CEPLIFTER": "22", "SAVEWITHCRC": "T"}


def config(**changes):
    lines = [f"{name} = {value}" for name, value in (CONFIG | changes).items() if value is not None]
    return "\n".join(["# features", *lines, ""])


def numbers(values):
    return " ".join(f"{value:.6e}" for value in values)


def gaussian(mean, variance):
    constant = len(variance) * math.log(2 * math.pi) + sum(map(math.log, variance))
    return (
        f"<Mean> {len(mean)}\n {numbers(mean)}\n<Variance> {len(variance)}\n {numbers(variance)}\n"
        f"<GConst> {constant:.6e}\n"
    )


def matrix(*rows):
    return f"<TransP> {len(rows)}\n" + "".join(f" {numbers(row)}\n" for row in rows)


CHAIN = matrix([0, 1, 0, 0, 0], [0, 0.6, 0.4, 0, 0], [0, 0, 0.7, 0.3, 0], [0, 0, 0, 0.8, 0.2], [0] * 5)
SMALL = (
    """~o <STREAMINFO> 1 3
<VECSIZE> 3<NULLD><mfcc_0_D_N><DIAGC>
~u "zero" <Mean> 3 0 0 0
~v "wide" <Variance> 3 4 4 4
~m "one" ~u "zero" ~v "wide"
~s "silst"
"""
    + gaussian([1, 2, 3], [1, 2, 4])
    + f'~t "chain"\n{CHAIN}~h "a\\"b" <BeginHMM> <NumStates> 5\n<State> 2 <NumMixes> 3\n<Mixture> 1 0.25\n'
    + gaussian([5, 6, 7], [1, 1, 1])
    + '<Mixture> 3 0.75 ~m "one"\n<State> 3 ~s "silst"\n<State> 4 ~u "zero" ~v "wide"\n~t "chain"\n<EndHMM>\n'
    + "~h sp <BeginHMM> <NumStates> 3 <State> 2 ~s silst "
    + matrix([0, 0.2, 0.8], [0, 0.5, 0.5], [0, 0, 0])
    + "<EndHMM>\n"
)


def test_definitions_share_means_variances_components_states_and_transitions(tmp_path):
    (tmp_path / "hmmdefs").write_text(SMALL)
    found = read_definitions(tmp_path / "hmmdefs")
    assert (found.kind, found.size, list(found.models)) == ("MFCC_0_D_N", 3, ['a"b', "sp"])
    first, second, third = found.models['a"b'].states
    assert first.weights.tolist() == [0.25, 0.75]
    assert first.means.tolist() == [[5, 6, 7], [0, 0, 0]]
    assert first.variances.tolist() == [[1, 1, 1], [4, 4, 4]]
    assert second is found.models["sp"].states[0]
    assert second.variances.tolist() == [[1, 2, 4]]
    assert third.means.tolist() == [[0, 0, 0]]
    assert found.models['a"b'].transitions[2].tolist() == pytest.approx([0, 0, 0.7, 0.3, 0])
    assert found.models["sp"].transitions[0].tolist() == pytest.approx([0, 0.2, 0.8])


def test_macros_may_lie_in_a_file_before(tmp_path):
    head, mark, rest = SMALL.partition('~h "a')
    (tmp_path / "macros").write_text(head)
    (tmp_path / "hmmdefs").write_text(mark + rest)
    assert list(read_definitions(tmp_path / "macros", tmp_path / "hmmdefs").models) == ['a"b', "sp"]
    with pytest.raises(DataError, match=r'hmmdefs, line 9: ~m should name what was defined before, got "one"'):
        read_definitions(tmp_path / "hmmdefs")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("<GConst> 7.59", "<GConst> 8.59", "the variances before it make <GConst> 7.59"),
        ("<Variance> 3 4 4 4", "<Variance> 3 4 0 4", "variances should be positive, got 0"),
        ("<Mean> 3 0 0 0", "<Mean> 3 0 nan 0", "3 finite numbers were expected"),
        ("<Mean> 3 0 0 0", "<Mean> 3 0 x 0", "3 numbers were expected"),
        ("<Mean> 3 0 0 0", "<Mean> 4 0 0 0 0", "should hear the same features, 3, got 4"),
        ("<Mixture> 3 0.75", "<Mixture> 3 0.5", "weights of a mixture should sum to 1"),
        ("<Mixture> 3", "<Mixture> 4", "mixture components 2 to 3 were expected, got 4"),
        ("7.000000e-01", "6.000000e-01", "probabilities that sum to 1"),
        ("<State> 3 ~s", "<State> 4 ~s", "3 was expected, got 4"),
        ("<NumStates> 5", "<NumStates> five", "a whole number was expected, got five"),
        ("<NumStates> 5", "<NumStates> 6", "<STATE> was expected, got ~t"),
        ('~h "a', '~q "a', "a macro ~o, ~u, ~v, ~m, ~s, ~t, ~h was expected, got ~q"),
        ("<DIAGC>", "<FULLC>", "should hear the same features, MFCC_0_D_N, got FULLC"),
        ("<DIAGC>", "<InvDiagC 2>", "should hear|were expected"),
        ("~h sp", '~h "a\\"b"', "each macro should be defined once"),
        (SMALL[-40:], "", "the file should go on, got its end|numbers were expected|was expected"),
        ("<STREAMINFO> 1 3", "<STREAMINFO> 3 1 1 1", "1 was expected, got 3"),
    ],
)
def test_what_is_damaged_or_of_another_kind_is_refused_with_its_line(tmp_path, before, after, reason):
    path = tmp_path / "hmmdefs"
    assert SMALL.count(before) >= 1
    path.write_text(SMALL.replace(before, after, 1))
    with pytest.raises(DataError, match=reason) as caught:
        read_definitions(path)
    assert f"{path}, line " in str(caught.value)


def slow_features(wave, floor=1.0):
    """MFCC_0_D_N_Z of HTK's defaults, a frame at a time, as the HTK Book has it."""
    mel = lambda f: 1127 * np.log(1 + f / 700)  # noqa: E731
    centres = np.arange(28) / 27 * mel(8000.0)
    rows = []
    for start in range(0, len(wave) - 399, 160):
        frame = 32768 * wave[start : start + 400]
        frame = np.concatenate([[frame[0] * (1 - 0.97)], frame[1:] - 0.97 * frame[:-1]])
        magnitude = np.abs(np.fft.rfft(frame * (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)), 512))
        bank = np.zeros(26)
        for k in range(1, 256):
            m = mel(k * 31.25)
            channel = int(np.searchsorted(centres, m)) - 1  # centres[channel] < m <= centres[channel + 1]
            share = (centres[channel + 1] - m) / (centres[channel + 1] - centres[channel])
            if channel > 0:
                bank[channel - 1] += share * magnitude[k]
            if channel < 26:
                bank[channel] += (1 - share) * magnitude[k]
        log = np.log(np.maximum(bank, floor))
        cepstra = [
            math.sqrt(2 / 26) * sum(log[j] * math.cos(math.pi * n / 26 * (j + 0.5)) for j in range(26))
            for n in range(13)
        ]
        rows.append([c * (1 + 11 * math.sin(math.pi * n / 22)) for n, c in enumerate(cepstra)])
    cepstra = np.array(rows)
    at = lambda t: cepstra[min(max(t, 0), len(cepstra) - 1)]  # noqa: E731
    slopes = np.array([sum(n * (at(t + n) - at(t - n)) for n in (1, 2)) / 10 for t in range(len(cepstra))])
    return np.hstack([cepstra[:, 1:] - cepstra[:, 1:].mean(0), slopes[:, 1:], slopes[:, :1]])


@pytest.mark.parametrize("samples", [400, 559, 560, 16000])
def test_features_are_those_of_the_htk_book(tmp_path, samples):
    (tmp_path / "config").write_text(config())
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 10
    wave[2000:6000] = 0.0  # digital silence: the floor of 1
    front_end = front_end_of(read_configuration(tmp_path / "config"))
    found = front_end(wave)
    torch.testing.assert_close(found, torch.from_numpy(slow_features(wave.numpy())), atol=1e-9, rtol=1e-9)
    assert found.shape == (front_end.frames(samples), 25)


def test_blocks_of_frames_leave_no_seams(monkeypatch):
    front_end, wave = front_end_of(CONFIG), torch.randn(8000, generator=torch.Generator().manual_seed(2))
    whole = front_end(wave)
    monkeypatch.setattr("semihmm.speech.acoustics.mfcc._FRAMES", 7)
    torch.testing.assert_close(front_end(wave), whole)


def test_kinds_of_features_are_columns_of_one_front_end():
    wave = torch.randn(8000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plain = front_end_of(CONFIG | {"TARGETKIND": "MFCC"})(wave)
    with_c0 = front_end_of(CONFIG | {"TARGETKIND": "MFCC_0"})(wave)
    full = front_end_of(CONFIG | {"TARGETKIND": "MFCC_0_D_A"})(wave)
    assert (plain.shape[1], with_c0.shape[1], full.shape[1]) == (12, 13, 39)
    torch.testing.assert_close(with_c0[:, :12], plain)
    torch.testing.assert_close(full[:, :13], with_c0)
    inner = slice(4, -4)
    slopes = sum(n * (full.roll(-n, 0) - full.roll(n, 0)) for n in (1, 2)) / 10
    torch.testing.assert_close(full[inner, 13:], slopes[inner, :26])
    powers = front_end_of(CONFIG | {"TARGETKIND": "MFCC_0", "USEPOWER": "T"})(wave)
    assert bool((powers[:, 12] > 1.5 * with_c0[:, 12]).all())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TARGETKIND": "MFCC_E_D"}, "TARGETKIND = MFCC_E_D, but only MFCC with the qualifiers"),
        ({"TARGETKIND": "PLP_0"}, "TARGETKIND = PLP_0"),
        ({"TARGETKIND": "MFCC_D_N"}, "0 and D belong to it"),
        ({"USEHAMMING": "F"}, "USEHAMMING = F, but only T"),
        ({"ZMEANSOURCE": "TRUE"}, "ZMEANSOURCE = TRUE, but only F"),
        ({"WARPFREQ": "1.2"}, "WARPFREQ = 1.2, but what it changes is not known"),
        ({"NUMCHANS": "many"}, "NUMCHANS = many, but a number from 2 to 200"),
        ({"NUMCHANS": "26.5"}, "NUMCHANS = 26.5"),
        ({"NUMCHANS": "10"}, "NUMCEPS = 12, but it should be less than NUMCHANS, 10"),
        ({"SOURCERATE": None}, "SOURCERATE = nothing, but a number from 50 to 2500"),
        ({"HIFREQ": "9000"}, "HIFREQ = 9000, but it should lie between LOFREQ and 8000"),
    ],
)
def test_features_that_cannot_be_computed_are_refused(changes, reason):
    with pytest.raises(DataError, match=reason):
        front_end_of({name: value for name, value in (CONFIG | changes).items() if value is not None})


def test_a_line_that_is_no_setting_is_refused(tmp_path):
    (tmp_path / "config").write_text("HPARM: NUMCHANS = 26 # channels\nSOURCERATE 625\n")
    with pytest.raises(DataError, match="config, line 2 should be NAME = VALUE, got 'SOURCERATE 625'"):
        read_configuration(tmp_path / "config")


def test_phones_are_called_as_dictionaries_call_them():
    assert phone_names(["sil", "aa", "dh"], {"aa": "A", "dh": "D"}) == {"sil": "SIL", "aa": "AA", "dh": "DH"}
    other = {"sil": "#", "dx": "4", "tS_h": "ts_h", "ts_h": "ts_h", "ii": "I"}
    assert phone_names(["sil", "dx", "tS_h", "ts_h", "ii"], other) == {
        "sil": "sil", "dx": "4", "tS_h": "tS_h", "ts_h": "ts_h", "ii": "I",
    }  # fmt: skip


@pytest.fixture(scope="session")
def tone_folder(tmp_path_factory):
    """A model of tones, as HTK writes them: a phone of two states among others of three, and a short pause."""
    folder = tmp_path_factory.mktemp("tones")
    (folder / "config").write_text(config(TARGETKIND="MFCC_0_D"))
    front_end = front_end_of(read_configuration(folder / "config"))
    lines = ["~o <StreamInfo> 1 26 <VecSize> 26 <mfcc_D_0><diagc>", f'~t "chain" {CHAIN}']
    for phone, frequency in TONES.items():
        mean = [*front_end(tone(frequency, 0.5))[5:-5, :13].mean(0).tolist(), *[0.0] * 13]
        pdf = gaussian(mean, [4.0] * 13 + [40.0] * 13)
        states, transitions = ((2, 3, 4), '~t "chain"\n') if phone != "S" else (
            (2, 3), matrix([0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5], [0] * 4)
        )  # fmt: skip
        body = "".join(f"<State> {number}\n{pdf}" for number in states)
        lines.append(f'~h "{phone.lower()}"\n<BeginHMM>\n<NumStates> {len(states) + 2}\n{body}{transitions}<EndHMM>')
    lines.append(f'~h "sp" <BeginHMM> <NumStates> 3 <State> 2 {pdf}')
    lines.append(matrix([0, 0.5, 0.5], [0, 0.5, 0.5], [0] * 3) + "<EndHMM>")
    (folder / "hmmdefs").write_text("\n".join(lines))
    (folder / "monophones.repl").write_text("sil #\naa A\niy i:\ns s\nsp +\n")
    return folder


def test_a_model_is_its_files_put_together(tone_folder):
    model = load_acoustic_model(tone_folder)
    assert (model.phones, model.silence, model.states) == (("SIL", "AA", "IY", "S"), "SIL", 3)
    stay = torch.tensor([[0.6, 0.4, 0, 0], [0, 0.7, 0.3, 0], [0, 0, 0.8, 0.2]])
    torch.testing.assert_close(model.transitions[1].exp().float(), stay)
    short = torch.tensor([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5]])
    torch.testing.assert_close(model.transitions[3].exp().float(), short)
    features = model.front_end(tone(400.0, 0.3))
    found = model.log_likelihood(features)
    assert found.shape == (len(features), 12)
    assert found[10].argmax() in range(3, 6)


def test_mixtures_of_different_sizes_are_side_by_side(tmp_path):
    """Against densities written out one by one."""
    text = SMALL.replace('"a\\"b"', "sil")
    text = text.replace(SMALL[SMALL.index("~h sp") :], "")
    (tmp_path / "hmmdefs").write_text(text)
    (tmp_path / "config").write_text(config(TARGETKIND="MFCC_0_D_N", NUMCEPS="1"))
    model = load_acoustic_model(tmp_path)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(3))

    def density(mean, variance):
        normal = torch.distributions.Normal(torch.tensor(mean), torch.tensor(variance).sqrt())
        return normal.log_prob(x).sum(1)

    wide = density([0.0, 0, 0], [4.0, 4, 4])
    first = torch.logaddexp(math.log(0.25) + density([5.0, 6, 7], [1.0, 1, 1]), math.log(0.75) + wide)
    expected = torch.stack([first, density([1.0, 2, 3], [1.0, 2, 4]), wide], 1)
    torch.testing.assert_close(model.log_likelihood(x), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "before", "after", "reason"),
    [
        ("hmmdefs", '~h "sil"', '~h "silence"', "needs a model called sil"),
        ("hmmdefs", "6.000000e-01 4.000000e-01 0.000000e+00 0.000000e+00",
         "6.000000e-01 2.000000e-01 0.000000e+00 2.000000e-01", "'SIL' should have .* left from its last one"),
        ("hmmdefs", "<mfcc_D_0>", "<mfcc_0>", "config describes, MFCC_0_D with 26 numbers, but is of MFCC_0"),
        ("config", "MFCC_0_D", "MFCC_0_D_A", "with 39 numbers, but is of MFCC_D_0 with 26"),
        ("monophones.repl", "aa A", "aa", "line 2 should be a model's name and its name in dictionaries, got 'aa'"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_each_other_are_refused(tone_folder, tmp_path, name, before, after, reason):
    for path in tone_folder.iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text(text.replace(before, after, 1) if path.name == name else text)
    with pytest.raises(DataError, match=reason):
        load_acoustic_model(tmp_path)


def test_a_folder_without_a_model_says_which_were_looked_for(tmp_path):
    with pytest.raises(DataError, match="neither mdef nor hmmdefs"):
        load_acoustic_model(tmp_path)


def test_tones_are_aligned_by_an_htk_model(tone_folder, tmp_path):
    wave, starts = spoken(("SIL", 0.2), ("IY", 0.12), ("S", 0.2), ("AA", 0.15), ("SIL", 0.2), ("S", 0.1), ("IY", 0.2))
    lexicon = Lexicon({"eesah": (("IY", "S", "AA"), ("IY", "AA")), "see": (("S", "IY"),)})
    found = Aligner(load_acoustic_model(tone_folder), lexicon)(wave, RATE, "eesah see")
    due = [start for index, start in enumerate(starts) if index not in (0, 4)]
    assert [phone.start for phone in found.phones] == pytest.approx(due, abs=0.013)
    (tmp_path / "corpus").mkdir()
    soundfile.write(tmp_path / "corpus" / "a.wav", wave.numpy(), RATE, subtype="DOUBLE")
    (tmp_path / "corpus" / "a.txt").write_text("xeesah xsee")
    (tmp_path / "own.dict").write_text("xeesah [] IY S AA\nxsee [xsee] S IY\n")
    arguments = ["align", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), "--model", str(tone_folder)]
    result = CliRunner().invoke(app, [*arguments, "--dictionary", str(tmp_path / "own.dict")])
    assert result.exit_code == 0, result.output
    written = Alignment.load(tmp_path / "out" / "a.json")
    assert [phone.start for phone in written.phones] == pytest.approx([phone.start for phone in found.phones])


@pytest.mark.parametrize("name", ["hmmdefs", "config", "monophones.repl"])
def test_hundreds_of_damaged_files_are_read_or_refused_by_name(tone_folder, tmp_path, name):
    rng = random.Random(f"seed of {name}")
    for path in tone_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if name == "hmmdefs":
        whole = SMALL.replace('"a\\"b"', "sil").encode()
        (tmp_path / "config").write_text(config(TARGETKIND="MFCC_0_D_N", NUMCEPS="1"))
    else:
        whole = (tone_folder / name).read_bytes()
    pieces = [b"\0", b"\xff", b"<", b">", b"~", b'"', b"\\", b"\n", b"999999999", b"1e999", b"nan", b"-1", b"= T", b"#"]
    pieces += [b"<Mixture> 2", b'~s "silst"', b"<TransP> 99999", "٣".encode(), b"x" * 3000, b" ", b""]
    outcomes = set()
    for _ in range(300):
        content = whole
        for _ in range(rng.randint(1, 3)):
            at, size = rng.randrange(len(content) + 1), rng.choice([0, 0, 1, 3, 20])
            content = (
                content[:at] + rng.choice([rng.choice(pieces), content[at : at + size] * 2]) + content[at + size :]
            )
        (tmp_path / name).write_bytes(content)
        try:
            model = load_acoustic_model(tmp_path)
            outcomes.add(len(model.phones))
            model.log_likelihood(model.front_end(torch.ones(16000)))
        except DataError as error:
            outcomes.add(str(error)[:60])
            assert str(tmp_path) in str(error) or "FrontEnd: " in str(error)
    assert len(outcomes) >= 3


@pytest.mark.parametrize(
    ("language", "phones"), [("eng", 46), ("kor", 42), ("cmn", 36), ("fra", 37), ("deu", 52), ("spa", 32)]
)
def test_the_models_of_six_languages_are_what_their_authors_say(language, phones):
    if not MODELS.is_dir():
        pytest.skip("no hmm-models in SEMIHMM_DATA or ../shared/data")
    model = load_acoustic_model(MODELS / language)
    assert (len(model.phones), model.states, model.front_end.filters) == (phones, 3, 26)
    torch.testing.assert_close(model.transitions.exp().sum(-1), torch.ones(phones, 3).double(), atol=1e-4, rtol=0)
    if language in {"eng", "deu", "fra", "spa"}:
        assert model.front_end(torch.randn(16000)).shape == (98, 25)
    if language == "kor":
        entries = load_dictionary(MODELS / "kor" / "kor.dict", model=model)
        assert entries["lul"] == (("4", "u", "l"),)
        assert entries["책"] == (("tS_h", "E", "k"),)


def test_the_english_model_is_read_for_the_cmu_dictionary(repository):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    if not MODELS.is_dir():
        pytest.skip("no hmm-models in SEMIHMM_DATA or ../shared/data")
    wave, rate = read_audio(repository / "examples" / "data" / "austen-0880.wav")
    text = "he was not an ill disposed young man"
    theirs, ours = Aligner(load_acoustic_model(MODELS / "eng")), Aligner()
    far = [
        abs(a.start - b.start)
        for a, b in zip(theirs(wave, rate, text).words, ours(wave, rate, text).words, strict=True)
    ]
    assert max(far) < 0.1
