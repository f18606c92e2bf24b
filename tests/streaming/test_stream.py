"""Streams: whatever the chunks are, the answers are those of all frames at once."""

import itertools
import json
import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import models
from semihmm.engine.backends import native
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.streaming import Stream

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
STATES, LONGEST, TARGETS = 3, 4, 5


def drawn(generator, *shape, whole=False, dtype=torch.float64):
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return ((x * 2).round() / 2 if whole else x).to(dtype)  # half numbers: ties, and sums without rounding


def hmm(g, steps, **k):
    return semihmm.HMM(drawn(g, STATES, **k), drawn(g, STATES, STATES, **k), drawn(g, steps, STATES, **k), drawn(g, 3, **k))


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


KINDS = {f.__name__: f for f in (hmm, hmm_varying, hmm_arcs, hmm_banded, hmm_tied, hsmm, hsmm_arcs, hsmm_segment, ctc, monotonic)}


@st.composite
def chunkings(draw, longest=200):
    """Numbers of frames, one or more of them not 0."""
    steps = draw(st.integers(1, longest))
    cuts = draw(st.one_of(st.lists(st.integers(0, steps), max_size=8), st.just(list(range(steps)))))
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


def until(structure, steps):
    """Of the first frames alone, with no say in how it ends."""
    fields = {structure.observed: structure.potentials[structure.observed][:steps]}
    if structure.ranks.get("transition", 2) == 3 and isinstance(structure, semihmm.HMM) and structure.arcs is None:
        fields["transition"] = structure.transition[: steps - 1]
    return replace(structure, **fields, **({"final": None} if "final" in structure.ranks else {}))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(sizes=chunkings(), seed=st.integers(0, 999), whole=st.booleans())
def test_chunks_do_not_matter(kind, dtype, backend, sizes, seed, whole):
    g = torch.Generator().manual_seed(seed)
    structure = KINDS[kind](g, sum(sizes), whole=whole, dtype=dtype)
    updates, end = run(Stream(structure), structure, sizes)
    best = semihmm.viterbi(structure, backend=backend)
    assert torch.equal(committed(updates, end), best.states)
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


@pytest.mark.parametrize("kind", ["hmm", "hmm_arcs", "hmm_tied", "hsmm", "ctc", "monotonic"])
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
        assert_close(last[frame].exp(), posterior(structure, frame, seen, frame + lookahead >= steps), rtol=1e-5, atol=1e-8)


def posterior(structure, frame, seen, whole):
    """Of the state at a frame given so many, and that they are all if ``whole``."""
    if isinstance(structure, semihmm.HSMM):
        part = structure if whole else replace(until(structure, seen), censored="right")
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
    options = {"lookahead": 2, "max_delay": 5, "best": 2}
    side = Stream(each[0] if kind != "ctc" else whole, streams=2, **options)
    waiting, running, ended = list(range(4)), {}, {}
    told = {i: [] for i in range(4)}
    while len(ended) < 4:
        while waiting and len(running) < 2 and chance.random() < 0.5:
            running[side.join()] = [waiting.pop(0), 0]
        steps = chance.randint(1, 4)
        counts = [0, 0]
        frames = {n: torch.zeros(2, steps, *x.shape[1:], dtype=x.dtype) for n, x in chunks(whole, [12], side)[0].items()}
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
