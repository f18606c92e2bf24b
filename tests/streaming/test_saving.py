"""Files of streams: nothing in them is trusted, and what no stream can have is named at once."""

import json

import pytest
import torch

import semihmm
from semihmm import models
from semihmm.errors import DataError
from semihmm.streaming import Stream

safetensors = pytest.importorskip("safetensors.torch")
KEY = "semihmm.stream"


def hmm(states=3):
    g = torch.Generator().manual_seed(0)
    return semihmm.HMM(
        torch.randn(states, generator=g), torch.randn(states, states, generator=g), torch.zeros(1, states)
    )


def hsmm():
    g = torch.Generator().manual_seed(0)
    shapes = (3,), (3, 3), (3, 4), (1, 3)
    return semihmm.HSMM(*(torch.randn(shape, generator=g) for shape in shapes))


def ctc():
    return semihmm.CTC(torch.zeros(1, 3), torch.tensor([1, 2, 1]))


def model():
    torch.manual_seed(0)
    return models.HMM(2, models.Gaussian(2, features=1))


SOURCES = {f.__name__: (f, event) for f, event in ((hmm, 3), (hsmm, 3), (ctc, 3), (model, 1))}


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def altered(path, field=None, value=None, **options):
    """A file with another tensor (None: without it), or other options."""
    with safetensors.safe_open(path, framework="pt") as file:
        note = json.loads(file.metadata()[KEY])
    tensors = safetensors.load_file(path)
    note["options"] |= options
    if field is not None:
        tensors[field] = value(tensors[field].clone()) if callable(value) else value
    other = path.with_name("other.safetensors")
    held = {n: x.contiguous().clone() for n, x in tensors.items() if x is not None}
    safetensors.save_file(held, other, metadata={KEY: json.dumps(note)})
    return other


def saved(tmp_path, kind="hmm", frames=9, **options):
    source, event = SOURCES[kind]
    stream, path = Stream(source(), **options), tmp_path / "stream.safetensors"
    stream.push(drawn(frames, event))
    stream.save(path)
    return stream, path


def put(index, number):
    def change(x):
        x.view(-1)[index] = number
        return x

    return change


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("options", [{}, {"lookahead": 3, "best": 2}, {"max_delay": 5}], ids=str)
def test_every_field_of_a_file_is_checked(kind, options, tmp_path):
    stream, path = saved(tmp_path, kind, **options)
    source = SOURCES[kind][0]()
    fields = sorted(safetensors.load_file(path))
    changes = [
        None,
        lambda x: x.new_zeros(()),
        lambda x: x.new_zeros((*x.shape, 2)),
        lambda x: torch.cat([x, x], -1),
        lambda x: x.int() if x.is_floating_point() else x.double(),
    ]
    for field in fields:
        for change in changes:
            part = field.partition(".")[0]
            if (change is None and field == "filtering.form 2") or (change is changes[-1] and field == "frames.x"):
                continue  # a stream need not have looked ahead, and a model takes what it takes
            with pytest.raises(DataError, match=f"{field}|{part}"):
                Stream.load(altered(path, field, change), source)
    assert torch.equal(Stream.load(altered(path), source).finish().score, stream.finish().score)


@pytest.mark.parametrize("number", [-2, 10**12], ids=["below", "far"])
@pytest.mark.parametrize("kind", SOURCES)
def test_numbers_are_in_range(kind, number, tmp_path):
    _, path = saved(tmp_path, kind, best=2, lookahead=2)
    for field, x in safetensors.load_file(path).items():
        if not x.is_floating_point() and x.dtype != torch.bool:
            index, number = -1, min(number, torch.iinfo(x.dtype).max)
            with pytest.raises(DataError, match=field):
                Stream.load(altered(path, field, put(index, number)), SOURCES[kind][0]())


@pytest.mark.parametrize("number", [torch.nan, torch.inf], ids=["nan", "inf"])
@pytest.mark.parametrize("kind", SOURCES)
def test_weights_are_numbers(kind, number, tmp_path):
    _, path = saved(tmp_path, kind, best=2, lookahead=2)
    for field, x in safetensors.load_file(path).items():
        if x.is_floating_point() and "form" not in field and field != "frames.x":  # a model may know NaN
            with pytest.raises(DataError, match=field.partition(".")[0]):
                Stream.load(altered(path, field, put(-1, number)), SOURCES[kind][0]())


def test_every_path_leads_to_the_root(tmp_path):
    stream = Stream(semihmm.HMM(torch.zeros(2), torch.full((2, 2), -torch.inf).fill_diagonal_(0.0), torch.zeros(1, 2)))
    stream.push(torch.zeros(9, 2))
    stream.save(tmp_path / "stream.safetensors")
    with pytest.raises(DataError, match="tree codes must lead from all"):
        Stream.load(
            altered(tmp_path / "stream.safetensors", "committing.tree codes", put(2 * 5, -1)), stream.source.whole[0]
        )


@pytest.mark.parametrize(
    "options",
    [
        {"reach": 0},
        {"reach": 10**12},
        {"reach": True},
        {"reach": "a"},
        {"best": 3},
        {"best": 10**7},
        {"best": None},
        {"lookahead": 10**9},
        {"lookahead": 1},
        {"lookahead": True},
        {"streams": 10**12},
        {"streams": 2},
        {"streams": "a"},
        {"max_delay": 0},
        {"other": 1},
    ],
    ids=str,
)
def test_options_go_with_what_is_held(options, tmp_path):
    _, path = saved(tmp_path, best=2, lookahead=2)
    with pytest.raises(DataError, match=r"Stream\.load"):
        Stream.load(altered(path, **options), hmm())


def test_what_is_no_stream_is_refused(tmp_path):
    stream, path = saved(tmp_path)
    tensors = safetensors.load_file(path)
    safetensors.save_file(tensors, path, metadata={KEY: "[" * 100_000})
    for wrong in (path, tmp_path, 5, None):
        with pytest.raises(DataError, match=r"Stream\.load"):
            Stream.load(wrong, hmm())
    for wrong in (tmp_path, 5):
        with pytest.raises(DataError, match=r"Stream\.save"):
            stream.save(wrong)


@pytest.mark.parametrize("kind", SOURCES)
def test_streams_of_every_age_go_on(kind, tmp_path):
    source, event = SOURCES[kind]
    stream = Stream(source(), streams=4, lookahead=2, best=2, max_delay=6)
    for _ in range(4):
        stream.join()
    for seed in range(6):
        stream.push(drawn(4, 7, event, seed=seed), [7, seed % 3, 1, 0])
        if seed == 3:
            stream.finish(1)
            stream.join()
        stream.save(tmp_path / "stream.safetensors")
        stream = Stream.load(tmp_path / "stream.safetensors", source())
    other = Stream.load(tmp_path / "stream.safetensors", source())
    ends = [(s.push(drawn(4, 3, event), [3, 0, 3, 3]), s.best_paths(2), s.finish(0)) for s in (stream, other)]
    assert str(ends[0]) == str(ends[1])


def test_streams_without_a_path_or_with_a_longer_target_go_on(tmp_path):
    stream = Stream(ctc(), best=2)
    stream.push(torch.full((3, 3), -torch.inf))
    stream.save(tmp_path / "stream.safetensors")
    assert Stream.load(tmp_path / "stream.safetensors", ctc()).finish().score == -torch.inf
    stream, longer = Stream(ctc()), semihmm.CTC(torch.zeros(1, 3), torch.tensor([1, 2, 1, 2]))
    stream.push(drawn(5, 3))
    stream.extend(longer)
    stream.push(drawn(5, 3))
    stream.save(tmp_path / "stream.safetensors")
    assert Stream.load(tmp_path / "stream.safetensors", longer).finish().score == stream.finish().score


def test_streams_before_their_first_frame_are_saved(tmp_path):
    stream = Stream(hmm(), streams=2)
    stream.join()
    stream.save(tmp_path / "stream.safetensors")
    other = Stream.load(tmp_path / "stream.safetensors", hmm())
    assert other.join() == 1
    other.push(drawn(2, 4, 3))
    other.restart(0)
    other.restart(1)
    other.save(tmp_path / "stream.safetensors")
    assert Stream.load(tmp_path / "stream.safetensors", hmm()).join() == 0
