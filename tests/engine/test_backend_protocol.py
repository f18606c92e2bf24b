"""Whatever follows the protocol of backends answers every question: here one of NumPy alone, in float64."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.engine import Compose, Decoded, Dense, Diagonal
from semihmm.engine.backends import register, registered, unregister
from semihmm.engine.backends.protocol import two_passes
from semihmm.errors import SemihmmError
from semihmm.semirings import Count, Log, Max
from semihmm.testing import differentiable, paths_of, random_chain, total_of
from semihmm.testing.examples import small
from semihmm.testing.strategies_chains import cases

FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))


def factors(steps):
    return factors(steps.first) + factors(steps.then) if isinstance(steps, Compose) else [steps]


class Arrays:
    """A chain as arrays: start and end ``(B, S)``, a matrix a step ``(B, T, S, S)``, and which steps are taken."""

    def __init__(self, chain):
        self.chain, self.count, self.steps, size = chain, chain.batch.numel(), chain.length, chain.steps.slots
        self.start, self.end = (sum(self.whole(x, size) for x in xs) for xs in (chain.start, chain.end))
        self.end = self.end + np.zeros_like(self.start)
        self.weight, self.sides = np.zeros((self.count, self.steps, size, size)), {}
        for part in factors(chain.steps):
            if isinstance(part, Dense):
                self.weight += self.whole(part.weight, self.steps, size, size)
                self.sides[id(part.weight)] = ()
            else:  # of the state that a step leaves, if the matrix is still to come
                side = -2 if any(not axes for axes in self.sides.values()) else -1
                self.weight += np.expand_dims(self.whole(part.weight, self.steps, size), side)
                self.sides[id(part.weight)] = (side,)
        if () not in self.sides.values():
            self.weight = np.where(np.eye(size, dtype=bool), self.weight, -np.inf)
        lengths = torch.tensor(self.steps) if chain.lengths is None else chain.lengths
        self.active = np.arange(self.steps)[:, None] < lengths.expand(chain.batch).reshape(1, -1).numpy()

    def whole(self, x, *event):
        return x.detach().double().expand(*self.chain.batch, *event).reshape(self.count, *event).numpy()

    def tensor(self, x):
        return torch.from_numpy(np.ascontiguousarray(x)).reshape((*self.chain.batch, *x.shape[1:]))

    def scan(self, plus):
        """The state vectors at all times, ``(T + 1, B, S)``."""
        found = [self.start]
        for t, active in enumerate(self.active):
            moved = plus(found[-1][:, :, None] + self.weight[:, t], -2)
            found.append(np.where(active[:, None], moved, found[-1]))
        return np.stack(found)


class NumPy:
    """A `Backend` of NumPy: totals and their gradient in Log, best paths in Max, of matrices and diagonals."""

    name, traceable, exact_scores = "numpy", False, True
    kept, workspace_bytes = registered("torch").kept, registered("torch").workspace_bytes
    program = registered("torch").program

    def supports(self, semiring, chain):
        if type(semiring) not in (Log, Max):
            return f"it adds up in Log and Max, not in {semiring}"
        parts = factors(chain.steps)
        plain = all(type(x) is Dense or (type(x) is Diagonal and x.index is None) for x in parts)
        return None if plain and sum(type(x) is Dense for x in parts) < 2 else "it takes one matrix, and diagonals"

    def differentiates(self, semiring):
        return type(semiring) is Log

    def prepared(self, semiring, chains):
        return chains

    def total(self, scan, keep):
        given, plus = Arrays(scan.chain), np.logaddexp.reduce if type(scan.semiring) is Log else np.max
        vectors = given.scan(plus)
        value = plus(vectors[-1] + given.end, -1)
        return given.tensor(value), ((torch.from_numpy(vectors), given.tensor(value.copy())) if keep else ())

    def gradient(self, scan, kept, weight, requested):
        chain, (before, value) = scan.chain, (x.numpy() for x in kept)
        given, after = Arrays(chain), [Arrays(chain).end]
        for t in reversed(range(given.steps)):
            moved = np.logaddexp.reduce(given.weight[:, t] + after[0][:, None], -1)
            after.insert(0, np.where(given.active[t][:, None], moved, after[0]))
        less = np.where(value == -np.inf, np.inf, value).reshape(-1)[:, None]
        scale = weight.detach().double().expand(chain.batch).reshape(-1, 1).numpy()
        share = np.zeros_like(given.weight)
        for t, active in enumerate(given.active):
            arcs = before[t][:, :, None] + given.weight[:, t] + after[t + 1][:, None] - less[..., None]
            share[:, t] = np.where(active[:, None, None], np.exp(arcs) * scale[..., None], 0.0)
        found = [np.exp(given.start + after[0] - less) * scale] * len(chain.start)
        found += [np.exp(before[-1] + given.end - less) * scale] * len(chain.end)
        found += [share.sum(given.sides[id(x)]) if given.sides[id(x)] else share for x in chain.steps.leaves]
        pairs = zip(found, chain.leaves, requested, strict=False)
        each = [given.tensor(g).sum_to_size(x.shape).to(x.dtype) if r else None for g, x, r in pairs]
        return each + [None] * (len(chain.leaves) - len(each))

    def posteriors(self, scan, requested, weight=None, into=()):
        return two_passes(self, scan, requested, weight, into) if type(scan.semiring) is Log else None

    def paths(self, scan, generator=None, arcs=False):
        given = Arrays(scan.chain)
        vectors, items = given.scan(np.max), np.arange(given.count)
        ends = vectors[-1] + given.end
        slot, value = ends.argmax(-1), ends.max(-1)
        slots, choices = np.full((given.count, given.steps + 1), -1), np.full((given.count, given.steps), -1)
        for t in reversed(range(given.steps)):
            came = (vectors[t][:, :, None] + given.weight[:, t])[items, :, slot].argmax(-1)
            slots[:, t + 1] = np.where(given.active[t], slot, -1)
            choices[:, t], slot = np.where(given.active[t], came, -1), np.where(given.active[t], came, slot)
        slots[:, 0] = slot
        valid = value > -np.inf
        every = (np.where(valid[:, None], x, -1) for x in (slots, choices))
        return Decoded(*(given.tensor(x).unsqueeze(0) for x in (*every, value, valid)))

    def path_gradient(self, scan, slots, arcs, weight, requested):
        raise NotImplementedError

    def vectors(self, scan, only):
        return None

    def best_in_slots(self, scan):
        return None


@pytest.fixture(autouse=True, scope="module")
def numpy():
    register(NumPy())
    yield
    unregister("numpy")


def hmms():
    g = torch.Generator().manual_seed(0)
    for dtype, batch in product((torch.float32, torch.float64), ((), (3,), (2, 2))):
        given = [torch.randn(*shape, generator=g, dtype=dtype) for shape in ((4,), (4, 4), (*batch, 6, 4))]
        yield semihmm.HMM(*given, lengths=torch.randint(1, 7, batch, generator=g) if batch else None)


@pytest.mark.parametrize("hmm", list(hmms()), ids=lambda hmm: f"{hmm.emission.dtype} {tuple(hmm.batch_shape)}")
def test_every_question_is_answered_alike(hmm):
    def both(ask):
        return (ask(backend="numpy"), ask(backend="torch"))

    def gradient(second=False, **options):
        x, weight = hmm.emission.clone().requires_grad_(), torch.ones(hmm.batch_shape, dtype=hmm.emission.dtype)
        value = semihmm.log_partition(hmm.replace(emission=x), **options)
        (slope,) = torch.autograd.grad(value, x, weight, create_graph=second)
        return torch.autograd.grad(slope.square().sum(), x)[0] if second else slope

    for question in (semihmm.log_partition, semihmm.filtering, semihmm.smoothing):
        assert_close(*both(lambda question=question, **options: question(hmm, **options)))
    for question in (semihmm.marginals, semihmm.max_marginals):
        mine, its = both(lambda question=question, **options: question(hmm, **options).potentials)
        for name in mine:
            assert_close(mine[name], its[name])
    assert_close(*both(gradient))
    assert_close(*both(lambda **options: gradient(second=True, **options)))
    mine, its = both(lambda **options: semihmm.viterbi(hmm, **options))
    assert torch.equal(mine.event, its.event) and torch.equal(mine.valid, its.valid)
    assert_close(mine.score, its.score)


@pytest.mark.parametrize("kind", ["dense", "diagonal", "dense @ diagonal", "diagonal @ dense"])
@FEW
@given(case=cases())
def test_chains_have_the_same_totals_gradients_and_best_paths(kind, case):
    chain = random_chain(kind, case)
    found = []
    for backend in ("numpy", "torch"):
        given, leaves = differentiable(chain)
        value = total_of(given, Log(), backend=backend)
        slopes = torch.autograd.grad(value, leaves, torch.ones_like(value))
        path = paths_of(chain, Max(), backend=backend)
        along = semihmm.engine.score(chain, path)  # of paths that differ by rounding alone, either may be the best
        found.append([value.detach(), *slopes, total_of(chain, Max(), backend=backend), path.value, along])
    for mine, its in zip(*found, strict=True):
        assert_close(mine, its, **case.tolerance)


def test_what_a_backend_does_not_support_is_refused_by_its_own_sentence():
    hmm, hsmm = small("HMM", (2,), 4), small("HSMM", (2,), 4)
    for structure, semiring, options, why in (
        (hmm, Count(), {}, r"it adds up in Log and Max, not in Count\(\)"),
        (hsmm, Log(), {}, "it takes one matrix, and diagonals"),
        (hmm, Log(), {"strategy": "chunked"}, "strategy='chunked' is the torch backend's"),
    ):
        with pytest.raises(SemihmmError, match=f"^backend='numpy' cannot do this: {why}. Pass backend=None for"):
            semihmm.total(structure, semiring, backend="numpy", **options)


def test_tracers_and_transforms_are_served_by_pytorch():
    hmm = small("HMM", (), 4)

    def value(x, backend="numpy"):
        return semihmm.log_partition(hmm.replace(emission=x), backend=backend)

    x = torch.stack([hmm.emission, hmm.emission + 1])
    expected = torch.stack([value(y, "torch") for y in x])
    assert_close(torch.func.vmap(value)(x), expected)
    assert_close(torch.func.grad(value)(x[0]), torch.func.grad(lambda y: value(y, "torch"))(x[0]))
    with torch.autograd.forward_ad.dual_level():
        dual = value(torch.autograd.forward_ad.make_dual(x[0], x[1]))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    assert_close(tangent, (torch.func.grad(lambda y: value(y, "torch"))(x[0]) * x[1]).sum())
    slope = torch.autograd.functional.jacobian(lambda y: torch.stack([value(z) for z in y]), x, vectorize=True)
    assert_close(slope[0, 0], torch.func.grad(lambda y: value(y, "torch"))(x[0]))
    torch.compiler.reset()
    assert_close(torch.compile(value, backend="eager")(x[0]), expected[0])


def test_a_backend_is_known_by_name_as_long_as_it_is_registered():
    assert semihmm.backends()["numpy"] == "registered by this program"
    assert "backend numpy, strategy sequential" in semihmm.explain(small("HMM", (2,), 4), backend="numpy")
    with pytest.raises(SemihmmError, match="there is a backend 'numpy' already"):
        register(NumPy())
    with pytest.raises(SemihmmError, match="no backend 'torch' to unregister"):
        unregister("torch")
    assert engine.plan(small("HMM", (), 4).chain(), Log()).backend != "numpy"  # only who names it gets it
