"""Streams: whatever the chunks are, the answers are those of all frames at once."""

import itertools
import math
import random
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import models
from semihmm.engine import Chain, Path, Sparse
from semihmm.engine.backends import native
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.streaming import Stream

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
STATES, LONGEST, TARGETS = 3, 4, 5


def drawn(generator, *shape, whole=False, dtype=torch.float64):
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return ((x * 2).round() / 2 if whole else x).to(dtype)  # half numbers: ties, and sums without rounding


def hmm(g, steps, **k):
    return semihmm.HMM(
        drawn(g, STATES, **k), drawn(g, STATES, STATES, **k), drawn(g, steps, STATES, **k), drawn(g, 3, **k)
    )


def hmm_varying(g, steps, **k):
    return semihmm.HMM(drawn(g, 3, **k), drawn(g, steps - 1, 3, 3, **k), drawn(g, steps, 3, **k))


def hmm_arcs(g, steps, **k):
    arcs = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([1, 2, 1, 0, 2])
    return semihmm.HMM(drawn(g, 3, **k), drawn(g, 5, **k), drawn(g, steps, 3, **k), arcs=arcs)


def hmm_banded(g, steps, **k):
    return semihmm.HMM(drawn(g, 4, **k), drawn(g, 4, 2, **k), drawn(g, steps, 4, **k), offsets=(0, -1))


def hmm_tied(g, steps, **k):
    return semihmm.HMM(drawn(g, 3, **k), drawn(g, 3, 3, **k), drawn(g, steps, 2, **k), emission_index=[1, 0, 1])


def hsmm(g, steps, **k):
    given = drawn(g, 3, **k), drawn(g, 3, 3, **k), drawn(g, 3, LONGEST, **k), drawn(g, steps, 3, **k)
    return semihmm.HSMM(*given, final=drawn(g, 3, **k))


def hsmm_right(g, steps, **k):
    return replace(hsmm(g, steps, **k), censored="right")


def hsmm_both(g, steps, **k):
    return replace(hsmm(g, steps, **k), censored="both")


def hsmm_arcs(g, steps, **k):
    arcs = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 1, 0])
    return semihmm.HSMM(drawn(g, 3, **k), drawn(g, 4, **k), drawn(g, 3, 2, **k), drawn(g, steps, 3, **k), arcs=arcs)


def hsmm_segment(g, steps, **k):
    given = drawn(g, 2, **k), drawn(g, 2, 2, **k), drawn(g, steps, 2, 3, **k), drawn(g, steps, 2, **k)
    return semihmm.HSMM(*given, segment=drawn(g, steps, 3, 2, **k))


def ctc(g, steps, **k):
    return semihmm.CTC(drawn(g, steps, 4, **k), torch.tensor([1, 1, 3, 2, 3][: (steps + 1) // 2]))


def monotonic(g, steps, **k):
    return semihmm.MonotonicAlignment(drawn(g, steps, min(TARGETS, steps), **k))


KINDS = {
    f.__name__: f
    for f in (
        hmm,
        hmm_varying,
        hmm_arcs,
        hmm_banded,
        hmm_tied,
        hsmm,
        hsmm_right,
        hsmm_both,
        hsmm_arcs,
        hsmm_segment,
        ctc,
        monotonic,
    )
}


@st.composite
def chunkings(draw, longest=200):
    """Numbers of frames, one or more of them not 0."""
    steps = draw(st.integers(1, longest))
    some = st.lists(st.integers(0, steps), max_size=8)
    cuts = draw(some if steps > 50 else st.one_of(some, st.just(list(range(steps)))))  # or frame by frame
    bounds = [0, *sorted(cuts), steps]
    return [b - a for a, b in itertools.pairwise(bounds)]


def chunks(structure, sizes, stream):
    """What to push: a chunk of each potential that arrives."""
    fields = {}
    for name in stream.source.arriving:
        x = structure.potentials[name]
        fields[name] = (torch.cat([x.new_zeros(1, *x.shape[1:]), x]) if name in stream.source.late else x).split(sizes)
    return [dict(zip(fields, each, strict=True)) for each in zip(*fields.values(), strict=True)]


def run(stream, structure, sizes):
    updates = [stream.push(**chunk) for chunk in chunks(structure, sizes, stream)]
    return updates, stream.finish()


def joined(parts):
    return torch.cat([x for x in parts if x is not None])


def committed(updates, end):
    return joined([u.committed.states for u in updates] + [end.committed.states])


def best_through(structure, states):
    """The score of the best path that is in these states, each at its time."""
    mask = torch.nn.functional.one_hot(states, structure.initial.shape[-1]).bool()
    return semihmm.viterbi(semihmm.condition(structure, mask), backend="torch", strategy="sequential").score


def until(structure, steps):
    """Of the first frames alone, with no say in how it ends."""
    fields = {structure.observed: structure.potentials[structure.observed][:steps]}
    if structure.ranks.get("transition", 2) == 3 and isinstance(structure, semihmm.HMM) and structure.arcs is None:
        fields["transition"] = structure.transition[: steps - 1]
    return replace(structure, **fields, **({"final": None} if "final" in structure.ranks else {}))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(sizes=chunkings(), seed=st.integers(0, 999), whole=st.booleans())
@example(sizes=[0, 1, 1], seed=437, whole=True)
def test_chunks_do_not_matter(kind, dtype, backend, sizes, seed, whole):
    g = torch.Generator().manual_seed(seed)
    structure = KINDS[kind](g, sum(sizes), whole=whole, dtype=dtype)
    updates, end = run(Stream(structure), structure, sizes)
    # Where paths tie, or weigh logarithms of sums, another order of adding up takes another path.
    in_order = kind in ("hmm_tied", "hsmm_right", "hsmm_both")
    way = {"backend": "torch", "strategy": "sequential"} if in_order else {"backend": backend}
    best = semihmm.viterbi(structure, **way)
    path = committed(updates, end)
    if kind in ("hsmm_right", "hsmm_both"):  # two paths may tie but for rounding: it is a best one
        rounding = 8 * torch.finfo(dtype).eps
        assert_close(best_through(structure, path), best.score, rtol=rounding, atol=rounding * len(path))
    else:
        assert torch.equal(path, best.states)
    assert_close(end.score, best.score.double(), rtol=1e-5, atol=1e-4)
    assert_close(end.log_likelihood, semihmm.log_partition(structure, backend=backend).double(), rtol=1e-5, atol=1e-4)
    if kind != "hsmm_segment":
        assert_close(joined([u.filtered for u in updates]), semihmm.filtering(structure), rtol=1e-4, atol=2e-4)
    else:
        assert all(u.filtered is None and u.log_likelihood is None for u in updates)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(sizes=chunkings(30), seed=st.integers(0, 999))
def test_what_is_committed_does_not_depend_on_later_chunks(kind, sizes, seed):
    """And it is all that the paths which are in the running have in common."""
    structure = KINDS[kind](torch.Generator().manual_seed(seed), sum(sizes))
    by_chunk = run(Stream(structure), structure, sizes)[0]
    by_frame = run(Stream(structure), structure, [1] * sum(sizes))[0]
    told = torch.tensor([len(u.committed.states) for u in by_frame]).cumsum(0)
    for update, end in zip(by_chunk, torch.tensor(sizes).cumsum(0).tolist(), strict=True):
        if end:
            assert int(update.committed.first) + len(update.committed.states) == int(told[end - 1])
    assert not any(bool(u.committed.forced.any()) for u in by_chunk)


@pytest.mark.parametrize("kind", ["hmm", "hmm_arcs", "hmm_tied", "hsmm", "hsmm_right", "ctc", "monotonic"])
@settings(max_examples=8, deadline=None)
@given(sizes=chunkings(20), seed=st.integers(0, 999), lookahead=st.integers(1, 5))
def test_smoothed_is_given_a_lookahead(kind, sizes, seed, lookahead):
    structure, steps = KINDS[kind](torch.Generator().manual_seed(seed), sum(sizes)), sum(sizes)
    updates, end = run(Stream(structure, lookahead=lookahead), structure, sizes)
    smoothed = joined([u.smoothed for u in updates])
    assert bool(smoothed[:lookahead].isnan().all())
    last = joined([smoothed[lookahead:], end.smoothed])
    assert len(last) == steps
    for frame in range(steps):
        seen = min(frame + lookahead + 1, steps)
        assert_close(
            last[frame].exp(), posterior(structure, frame, seen, frame + lookahead >= steps), rtol=1e-5, atol=1e-8
        )


def posterior(structure, frame, seen, whole):
    """Of the state at a frame given so many, and that they are all if ``whole``."""
    if isinstance(structure, semihmm.HSMM):
        part = structure if whole else replace(until(structure, seen), censored="right")  # which may go on
        return semihmm.smoothing(part)[frame].exp()
    if isinstance(structure, semihmm.HMM):
        return semihmm.smoothing(structure if whole else until(structure, seen))[frame].exp()
    chain = structure.chain()
    lead = structure.potentials[structure.observed].shape[0] - chain.length
    end = chain.end if whole else ()
    length = seen - lead
    leaf = torch.zeros(chain.length + 1, chain.steps.slots, dtype=torch.float64, requires_grad=True)
    marked = replace(
        chain,
        start=(*chain.start, leaf[0]),
        steps=chain.steps @ semihmm.engine.Diagonal(leaf[1:]),
        end=end,
        lengths=torch.tensor(length),
    )
    log = semihmm.semirings.Log()
    value = semihmm.engine.total(semihmm.engine.plan(marked, log, backend="torch"), log, marked)
    (gradient,) = torch.autograd.grad(value, leaf)
    return gradient[frame + 1 - lead]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_streams_side_by_side_are_streams_alone(kind, seed):
    """They join and leave when they like."""
    g, chance = torch.Generator().manual_seed(seed), random.Random(seed)
    lengths = [chance.randint(1, 12) for _ in range(4)]
    whole = KINDS[kind](g, 12)
    each = [cut(whole, n, seed=i) for i, n in enumerate(lengths)]
    options = {"lookahead": 0 if kind == "hsmm_both" else 2, "max_delay": 5, "best": 2}
    side = Stream(each[0] if kind != "ctc" else whole, streams=2, **options)
    waiting, running, ended = list(range(4)), {}, {}
    told = {i: [] for i in range(4)}
    while len(ended) < 4:
        while waiting and len(running) < 2 and chance.random() < 0.5:
            running[side.join()] = [waiting.pop(0), 0]
        steps = chance.randint(1, 4)
        counts = [0, 0]
        frames = {
            n: torch.zeros(2, steps, *x.shape[1:], dtype=x.dtype) for n, x in chunks(whole, [12], side)[0].items()
        }
        for slot, (who, at) in running.items():
            counts[slot] = chance.randint(0, min(steps, lengths[who] - at))
            pushed = chunks(each[who], [lengths[who]], side)[0]
            for name, x in pushed.items():
                frames[name][slot, : counts[slot]] = x[at : at + counts[slot]]
                frames[name][slot, counts[slot] :] = math.nan  # which nobody reads
        update = side.push(**frames, lengths=counts)
        for slot in list(running):
            who, at = running[slot]
            told[who].append((counts[slot], update, slot))
            running[slot][1] += counts[slot]
            if running[slot][1] == lengths[who]:
                ended[who] = side.finish(slot)
                del running[slot]
    for who in range(4):
        alone = Stream(each[who], **options)
        at, pushed = 0, chunks(each[who], [lengths[who]], alone)[0]
        for count, update, slot in told[who]:
            other = alone.push(**{n: x[at : at + count] for n, x in pushed.items()})
            at += count
            for name in ("filtered", "smoothed", "log_likelihood"):
                x = getattr(update, name)
                if x is not None and count:
                    assert_close(x[slot, :count], getattr(other, name), rtol=1e-9, atol=1e-9, equal_nan=True)
            states = update.committed.states[slot]
            assert torch.equal(states[: len(other.committed.states)], other.committed.states)
            assert bool((states[len(other.committed.states) :] == -1).all())
            assert int(update.committed.first[slot]) == int(other.committed.first)
        end = alone.finish()
        assert torch.equal(end.committed.states, ended[who].committed.states)
        assert_close(end.score, ended[who].score)
        assert_close(end.log_likelihood, ended[who].log_likelihood)


def cut(structure, steps, seed):
    """Another sequence of the same law."""
    g, fields = torch.Generator().manual_seed(seed), {}
    stream = Stream(structure)
    for name in stream.source.arriving:
        x = structure.potentials[name]
        fields[name] = drawn(g, steps - (name in stream.source.late), *x.shape[1:])
    return replace(structure, **fields)


def sticky(states=3, apart=4.0):
    far = torch.full((states, states), -apart).fill_diagonal_(0.0)
    return semihmm.HMM(torch.zeros(states), far, torch.zeros(1, states))


def test_a_delay_that_is_too_long_forces_the_best_path_so_far():
    frozen = semihmm.HMM(torch.zeros(2), torch.full((2, 2), -math.inf).fill_diagonal_(0.0), torch.zeros(1, 2))
    stream = Stream(frozen, max_delay=3)
    waits = stream.push(torch.tensor([[0.0, 1.0]] * 3)).committed
    assert waits.states.tolist() == []
    forced = stream.push(torch.tensor([[0.0, 1.0]])).committed
    assert forced.states[0] == 1 and bool(forced.forced[0])
    update = stream.push(torch.tensor([[9.0, 0.0]]))  # what is forced stays: the path of state 0 is out of the running
    end = stream.finish()
    assert joined([forced.states, update.committed.states, end.committed.states]).tolist() == [1] * 5
    assert float(end.score) == 4.0  # and not 9
    assert_close(end.log_likelihood, torch.tensor([4.0, 9.0], dtype=torch.float64).logsumexp(0))  # which counts all


@pytest.mark.parametrize("kind", ["hmm", "hmm_arcs", "hsmm", "ctc", "monotonic"])
@settings(max_examples=10, deadline=None)
@given(sizes=chunkings(60), seed=st.integers(0, 99), delay=st.integers(4, 8))
def test_forced_states_are_one_path_whose_score_is_told(kind, sizes, seed, delay):
    structure = KINDS[kind](torch.Generator().manual_seed(seed), sum(sizes))
    stream = Stream(structure, max_delay=delay)
    updates, seen, told = [], 0, 0
    for size, chunk in zip(sizes, chunks(structure, sizes, stream), strict=True):
        updates.append(stream.push(**chunk))
        seen, told = seen + size, told + len(updates[-1].committed.states)
        assert seen - told <= delay
    end = stream.finish()
    states = committed(updates, end)
    assert len(states) == sum(sizes)
    best = semihmm.viterbi(structure)
    assert float(end.score) <= float(best.score) + 1e-9
    if not any(bool(u.committed.forced.any()) for u in updates):
        assert torch.equal(states, best.states)
    if kind in ("hmm", "monotonic") and bool(end.score.isfinite()):
        assert_close(semihmm.score(structure, states), end.score)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 7, 30])
def test_the_best_paths_so_far_are_those_of_the_frames_so_far(kind, steps):
    structure = KINDS[kind](torch.Generator().manual_seed(steps), steps)
    part = structure if kind in ("ctc", "monotonic") else until(structure, steps)
    stream = Stream(part, best=4)
    for chunk in chunks(part, [1] * steps, stream):
        stream.push(**chunk)
    found, end = stream.best_paths(), stream.finish()
    if kind in ("ctc", "monotonic"):  # they may end anywhere so far
        assert bool((found.score[:-1] >= found.score[1:]).all()) and float(found.score[0]) >= float(end.score)
        return
    if isinstance(part, semihmm.HSMM):  # those whose last segment ends with the last frame
        part = replace(part, censored="left" if part.censored == "both" else "none")
    best = semihmm.topk(part, 4)
    assert_close(found.score, best.score)
    assert torch.equal(found.states[best.valid], best.states[best.valid][:, found.first :])
    assert bool((found.states[~best.valid] == -1).all())


def test_a_target_may_grow():
    g = torch.Generator().manual_seed(0)
    emission, targets = drawn(g, 12, 4), torch.tensor([1, 1, 3])
    stream = Stream(semihmm.CTC(emission, targets[:1]), best=2)
    stream.push(emission[:3])
    stream.extend(semihmm.CTC(emission, targets[:2]))
    stream.push(emission[3:5])
    stream.extend(semihmm.CTC(emission, targets))
    stream.push(emission[5:])
    end = stream.finish()
    own = torch.cat(
        [emission[:, :1], emission[:, targets]], -1
    )  # a column for each target, so that it can be forbidden
    own[:3, 2:], own[:5, 3:] = -math.inf, -math.inf
    score = brute(own, targets)
    assert_close(end.score, score[0])
    assert_close(end.log_likelihood, score[1])


def brute(own, targets):
    """Best score and log-sum of all ways through blanks and targets, frame by frame over places."""
    places = 2 * len(targets) + 1
    columns = [0 if p % 2 == 0 else p // 2 + 1 for p in range(places)]
    best = torch.full((places,), -math.inf, dtype=torch.float64)
    mass, best[0] = best.clone(), 0.0
    mass[0] = 0.0
    for frame in own:
        new_best, new_mass = [], []
        for p in range(places):
            skip = p % 2 == 1 and p > 1 and targets[p // 2] != targets[p // 2 - 1]
            before = [p] + [p - 1] * (p > 0) + [p - 2] * skip
            new_best.append(best[before].max() + frame[columns[p]])
            new_mass.append(mass[before].logsumexp(0) + frame[columns[p]])
        best, mass = torch.stack(new_best), torch.stack(new_mass)
    return best[-2:].max(), mass[-2:].logsumexp(0)


def test_an_alignment_may_grow():
    g = torch.Generator().manual_seed(1)
    emission = drawn(g, 10, 4)
    stream = Stream(semihmm.MonotonicAlignment(emission[:, :2]))
    updates = [stream.push(emission[:4, :2])]
    stream.extend(semihmm.MonotonicAlignment(emission))
    updates += [stream.push(emission[4:6]), stream.push(emission[6:])]
    end = stream.finish()
    late = emission.clone()
    late[:4, 2:] = -math.inf
    whole = semihmm.MonotonicAlignment(late)
    assert torch.equal(committed(updates, end), semihmm.viterbi(whole).states)
    assert_close(end.log_likelihood, semihmm.log_partition(whole))


def made(kind):
    torch.manual_seed(0)
    emission = models.Gaussian(3, features=2)
    if kind == "HMM":
        return models.HMM(states=3, emission=emission).double()
    return models.HSMM(states=3, emission=emission, duration=models.durations.Poisson(3, max_duration=5)).double()


@pytest.mark.parametrize("kind", ["HMM", "HSMM"])
@settings(max_examples=6, deadline=None)
@given(sizes=chunkings(25))
def test_models_stream_their_observations(kind, sizes):
    model = made(kind)
    x = drawn(torch.Generator().manual_seed(1), sum(sizes), 2)
    stream = Stream(model, lookahead=2, best=2)
    updates = [stream.push(part) for part in x.split(sizes)]
    stream.best_paths()
    end, whole = stream.finish(), model(x)
    assert torch.equal(committed(updates, end), semihmm.viterbi(whole).states)
    assert_close(joined([u.filtered for u in updates]), semihmm.filtering(whole))
    assert_close(end.log_likelihood, model.log_prob(x))


@dataclass(frozen=True, repr=False)
class Leaps(semihmm.Structure):
    """States that go round, by one step in one frame or by two in two: what somebody may write."""

    level: torch.Tensor  # (..., T, S)
    observed = "level"
    ranks = {"level": 2}  # noqa: RUF012
    ragged = {"lengths": {"level": -2}}  # noqa: RUF012
    lengths: torch.Tensor | None = None

    def chain(self):
        states = self.level.shape[-1]
        at = torch.arange(states)
        source = torch.stack([(at - 1) % states, states + (at - 2) % states], -1).unsqueeze(0)
        weight = self.level.unsqueeze(-1).expand(*self.level.shape, 2)
        steps = Sparse(weight, source, memory=2)
        return Chain((self.level.new_zeros(states),), steps, lengths=self.lengths, length=self.level.shape[-2])

    def event(self, path):
        return path.slots[..., 1:]

    def path(self, event):
        return Path.through(event)


@settings(max_examples=10, deadline=None)
@given(sizes=chunkings(40), seed=st.integers(0, 99))
def test_a_structure_of_ones_own_is_streamed(sizes, seed):
    """It looks two steps back, and has no states but its slots."""
    structure = Leaps(drawn(torch.Generator().manual_seed(seed), sum(sizes), 5))
    updates, end = run(Stream(structure, best=2), structure, sizes)
    assert torch.equal(committed(updates, end), semihmm.viterbi(structure).event)
    assert_close(end.log_likelihood, semihmm.log_partition(structure))
    assert all(u.filtered is None for u in updates)  # between two frames it is in no state


def test_inputs_drive_a_model_as_they_come():
    torch.manual_seed(0)
    law = models.transitions.Logit(3, inputs=2)
    model = models.HMM(states=3, emission=models.Gaussian(3, features=1), transition=law).double()
    g = torch.Generator().manual_seed(0)
    x, inputs = drawn(g, 20, 1), drawn(g, 20, 2)
    stream = Stream(model)
    updates = [stream.push(a, inputs=b) for a, b in zip(x.split([7, 1, 12]), inputs.split([7, 1, 12]), strict=True)]
    end, whole = stream.finish(), model(x, inputs=inputs)
    assert torch.equal(committed(updates, end), semihmm.viterbi(whole).states)
    assert_close(joined([u.filtered for u in updates]), semihmm.filtering(whole))


@pytest.mark.parametrize("kind", ["hmm", "hmm_varying", "hsmm", "ctc", "monotonic"])
@pytest.mark.parametrize("streams", [None, 2], ids=["alone", "two"])
def test_a_saved_stream_goes_on_to_the_bit(kind, streams, tmp_path):
    structure = KINDS[kind](torch.Generator().manual_seed(3), 20)
    options = {"lookahead": 3, "max_delay": 6, "best": 2, "streams": streams}
    stream = Stream(structure, **options)
    each = chunks(structure, [9, 1, 10], stream)
    if streams:
        stream.join(), stream.join()
        each = [{n: torch.stack([x, x.flip(-1)]) for n, x in chunk.items()} for chunk in each]
    stream.push(**each[0])
    stream.save(tmp_path / "stream.safetensors")
    other = Stream.load(tmp_path / "stream.safetensors", structure)
    for chunk in each[1:]:
        assert same(stream.push(**chunk), other.push(**chunk))
    index = 1 if streams else None
    assert same(stream.best_paths(index), other.best_paths(index))
    assert same(stream.finish(index), other.finish(index))


def same(a, b):
    """The same bits."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))
    return a == b if not hasattr(a, "__dict__") else all(same(x, b.__dict__[n]) for n, x in a.__dict__.items())


def test_another_process_goes_on_to_the_bit(tmp_path):
    structure = hsmm(torch.Generator().manual_seed(3), 40)
    torch.save(dict(structure.potentials), tmp_path / "potentials.pt")
    stream = Stream(structure, lookahead=2, best=2)
    stream.push(structure.emission[:25])
    stream.save(tmp_path / "stream.safetensors")
    script = """
import sys, torch, semihmm
from semihmm.streaming import Stream
structure = semihmm.HSMM(**torch.load(sys.argv[1] + "/potentials.pt"))
stream = Stream.load(sys.argv[1] + "/stream.safetensors", structure)
update, paths, end = stream.push(structure.emission[25:]), stream.best_paths(), stream.finish()
torch.save([update.filtered, update.smoothed, update.committed.states, paths.score, end.score, end.log_likelihood],
           sys.argv[1] + "/found.pt")
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
    update, paths, end = stream.push(structure.emission[25:]), stream.best_paths(), stream.finish()
    here = [update.filtered, update.smoothed, update.committed.states, paths.score, end.score, end.log_likelihood]
    assert all(same(a, b) for a, b in zip(here, torch.load(tmp_path / "found.pt"), strict=True))


def test_a_file_belongs_to_its_structure(tmp_path):
    stream = Stream(sticky())
    stream.push(torch.zeros(2, 3))
    stream.save(tmp_path / "a.safetensors")
    with pytest.raises(
        DataError, match="belongs to a HMM, and the HMM that was given is not the same: transition differ"
    ):
        Stream.load(tmp_path / "a.safetensors", sticky(apart=5.0))
    with pytest.raises(DataError, match="belongs to a HMM, and the HSMM"):
        Stream.load(tmp_path / "a.safetensors", hsmm(torch.Generator(), 3))
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        Stream.load(tmp_path / "b.safetensors", sticky())
    model = made("HMM")
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="holds no stream"):
        Stream.load(tmp_path / "model.safetensors", sticky())


@pytest.mark.parametrize(
    ("chunk", "error", "message"),
    [
        (torch.zeros(2, 4), ShapeError, r"emission of a chunk must be \(frames, 3\), as the HMM has it, got \(2, 4\)"),
        (torch.zeros(3), ShapeError, r"must be \(frames, 3\)"),
        (torch.tensor([[0.0, math.nan, 0.0]]), DataError, r"emission\[0, 1\] of the chunk is nan; 1 of 3"),
        (torch.tensor([[0.0, 0.0, math.inf]]), DataError, r"emission\[0, 2\] of the chunk is inf"),
        ("words", DataError, "emission must be a tensor"),
    ],
    ids=["width", "axes", "nan", "inf", "words"],
)
def test_a_chunk_that_is_refused_changes_nothing(chunk, error, message):
    one, other = Stream(sticky(), lookahead=1, best=2), Stream(sticky(), lookahead=1, best=2)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for stream in (one, other):
        stream.push(x[:2])
    with pytest.raises(error, match=message):
        one.push(chunk)
    assert same(one.push(x[2:]), other.push(x[2:]))
    assert same(one.best_paths(), other.best_paths())
    assert same(one.finish(), other.finish())


def test_mistakes_are_named():
    frames = torch.zeros(2, 3)
    with pytest.raises(StructureError, match=r"a DTW has .* steps for .* frames"):
        Stream(semihmm.DTW(torch.zeros(3, 4))).push(torch.zeros(3, 4))
    with pytest.raises(StructureError, match="transition of a HSMM leads out of each frame"):
        varying = semihmm.HSMM(torch.zeros(2), torch.zeros(4, 2, 2), torch.zeros(2, 3), torch.zeros(5, 2))
        Stream(varying).push(torch.zeros(2, 2), transition=torch.zeros(2, 2, 2))
    with pytest.raises(StructureError, match="needs lookahead=0"):
        Stream(semihmm.HSMM(*map(torch.zeros, [2, (2, 2), (2, 3), (5, 2)]), censored="left"), lookahead=1).push(
            frames[:, :2]
        )
    with pytest.raises(SemihmmError, match="states last up to 4 frames, so max_delay must be at least as many"):
        Stream(hsmm(torch.Generator(), 5), max_delay=3).push(torch.zeros(2, 3))
    with pytest.raises(SemihmmError, match="max_delay must be a number of at least 1"):
        Stream(sticky(), max_delay=0)
    with pytest.raises(SemihmmError, match="nothing to finish"):
        Stream(sticky()).finish()
    with pytest.raises(SemihmmError, match="keeps no best paths"):
        Stream(sticky()).best_paths()
    with pytest.raises(ShapeError, match="hold emission and transition, got emission"):
        Stream(hmm_varying(torch.Generator(), 4)).push(frames)
    side = Stream(sticky(), streams=2)
    with pytest.raises(DataError, match="stream 1, which has not joined"):
        side.push(torch.zeros(2, 2, 3), lengths=[0, 2])
    with pytest.raises(SemihmmError, match="stream 0 has not joined"):
        side.finish(0)
    side.join(), side.join()
    with pytest.raises(SemihmmError, match="all 2 streams are in use"):
        side.join()
    with pytest.raises(ShapeError, match=r"emission of a chunk must be \(2, frames, 3\)"):
        side.push(frames)
    with pytest.raises(ShapeError, match="lengths are for streams side by side"):
        side.push(torch.zeros(2, 2, 3), lengths=[3, 0])
    with pytest.raises(StructureError, match="extend takes the structure"):
        Stream(sticky()).extend(sticky(states=2))
    with pytest.raises(DataError, match="transition"):
        Stream(sticky(apart=math.nan)).push(frames)


def test_a_million_frames_take_no_more_memory_than_a_thousand():
    streams, steps = 40, 500
    stream = Stream(sticky(2), max_delay=50, streams=streams)
    for _ in range(streams):
        stream.join()
    x = torch.randn(streams, steps, 2, generator=torch.Generator().manual_seed(0))
    sizes, told = set(), 0
    for _ in range(1_000_000 // (streams * steps)):
        update = stream.push(x)
        told += int((update.committed.states >= 0).sum())
        parts = stream._committing.tensors(), stream._filtering.tensors(), stream._frames
        sizes |= {0} if told < 100_000 else {sum(t.numel() for part in parts for t in part.values())}
    assert len(sizes) == 2  # after as long as it takes for the longest wait of the first ones
    assert 1_000_000 - 50 * streams <= told <= 1_000_000
    whole = replace(sticky(2), emission=x.repeat(1, 50, 1)).to(torch.float64)
    assert_close(update.log_likelihood[:, -1], semihmm.log_partition(whole), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize(
    ("longer", "field"),
    [
        (lambda: semihmm.CTC(torch.zeros(1, 4), torch.tensor([3, 2])), "targets"),
        (lambda: semihmm.CTC(torch.zeros(1, 5), torch.tensor([1, 2])), "emission"),
        (lambda: semihmm.CTC(torch.zeros(1, 3), torch.tensor([1, 2])), "emission"),
        (lambda: semihmm.CTC(torch.zeros(1, 4).double(), torch.tensor([1, 2])), "emission"),
        (lambda: semihmm.CTC(torch.zeros(1, 4), torch.tensor([1, 2]), blank=3), "blank"),
        (lambda: semihmm.CTC(torch.zeros(1, 4), torch.tensor([1]), target_lengths=torch.tensor(0)), "target_lengths"),
        (
            lambda: semihmm.CTC(torch.zeros(1, 4), torch.tensor([1, 2]), optional=torch.tensor([True, False])),
            "optional",
        ),
    ],
    ids=["text", "more tokens", "fewer tokens", "dtype", "blank", "length", "optional"],
)
def test_what_was_there_stays_when_a_target_grows(longer, field):
    stream = Stream(semihmm.CTC(torch.zeros(1, 4), torch.tensor([1])))
    stream.push(torch.zeros(2, 4))
    with pytest.raises(StructureError, match=rf"{field}.* differ"):
        stream.extend(longer())
    optional = torch.tensor([False, True])
    stream.extend(semihmm.CTC(torch.zeros(1, 4), torch.tensor([1, 2]), optional=optional))


def test_states_that_were_there_stay():
    stream = Stream(sticky(2))
    stream.push(torch.zeros(2, 2))
    stream.extend(sticky(3))
    with pytest.raises(StructureError, match=r"transition.* differ"):
        stream.extend(sticky(4, apart=5.0))


@pytest.mark.parametrize("wrong", [5, None, "x", torch.zeros(3)], ids=["number", "none", "text", "tensor"])
def test_a_stream_is_of_a_structure_or_a_model(wrong):
    with pytest.raises(StructureError, match="takes a structure, a model"):
        Stream(wrong)
    with pytest.raises(StructureError, match="extend takes the structure"):
        Stream(sticky()).extend(wrong)
    with pytest.raises(StructureError, match=f"must make a structure of frames.* got {type(wrong).__name__}"):
        Stream(lambda x: wrong).push(torch.zeros(2, 3))


@pytest.mark.parametrize("wrong", [True, 1.5, -1, "a", 10**9, 2**70], ids=str)
def test_counts_are_numbers_of_a_size(wrong):
    for name in ("lookahead", "best", "streams"):
        with pytest.raises(SemihmmError, match=f"{name} must be"):
            Stream(sticky(), **{name: wrong})
    with pytest.raises(SemihmmError, match="lookahead may be 0 to 2"):
        Stream(sticky(), lookahead=2).lookahead = wrong


def test_what_full_windows_share_is_known_before_they_are_full():
    stream = Stream(semihmm.HSMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 9), torch.zeros(1, 2)))
    for _ in range(4):
        stream.push(torch.randn(1, 2))
    assert [form for form, kept in stream.source.kept.items() if kept] == [(9, 1)]


def test_what_need_not_be_given_is_none():
    for name in ("lookahead", "best"):
        with pytest.raises(SemihmmError, match=f"{name} must be a number"):
            Stream(sticky(), **{name: None})
    with pytest.raises(SemihmmError, match="lookahead may be 0 to 2"):
        Stream(sticky(), lookahead=2).lookahead = None


@pytest.mark.parametrize("lengths", ["a", [None, 1], [2**70, 1], [1.0, 1.0], [True, True], [1], 3], ids=str)
def test_lengths_are_integers(lengths):
    streams = Stream(sticky(), streams=2)
    streams.join(), streams.join()
    with pytest.raises(ShapeError, match="lengths are for streams side by side"):
        streams.push(torch.zeros(2, 4, 3), lengths)


@pytest.mark.parametrize("source", [sticky, lambda: lambda x: semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), x)])
@pytest.mark.parametrize("make", [lambda x: x.to("meta"), lambda x: x.to_sparse()], ids=["meta", "sparse"])
def test_chunks_have_numbers_in_them(source, make):
    stream = Stream(source())
    with pytest.raises(DataError, match="a dense tensor with numbers"):
        stream.push(make(torch.zeros(2, 3)))


def test_a_chunk_is_given_once():
    with pytest.raises(ShapeError, match="emission of a chunk was given twice"):
        Stream(sticky()).push(torch.zeros(2, 3), emission=torch.zeros(2, 3))


@pytest.mark.parametrize("wrong", ["a", True, 1.5, 2, -1], ids=str)
def test_streams_have_numbers(wrong):
    streams = Stream(sticky(), streams=2)
    streams.join()
    with pytest.raises(SemihmmError, match="a number below 2"):
        streams.finish(wrong)


def test_nothing_is_told_of_no_frames():
    stream = Stream(sticky())
    assert stream.push(torch.zeros(0, 3)).filtered is None
    stream.push(torch.zeros(1, 3))
    assert stream.push(torch.zeros(0, 3)).filtered.shape == (0, 3)
