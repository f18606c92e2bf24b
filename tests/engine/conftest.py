"""The compiled backend, as the tests of this folder see it: here alone its inner functions are named.

The public functions are what most tests call. For the rest there are fixtures: `native_calls`, `native_threads`,
`vector_bytes`, `posteriors`, `operands`, and what compares posteriors with an oracle (`assert_survives` and its parts).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from semihmm.engine.backends import backends, native
from semihmm.inference import program
from semihmm.semirings import Expectation, Log
from semihmm.testing import differentiable, forward_backward, in_float64, plan_of, total_of

if native() is not None:
    from semihmm.engine.backends import compiled, kernels

ROUNDINGS = 8  # of float32, that a state vector may go through at a step
MOMENTS = 1e-10


@pytest.fixture(scope="session")
def needs_native():
    """Skips a test where there is no compiled backend."""
    if native() is None:
        pytest.skip(f"the native backend is {backends()['native'].split('.')[0]}")


@pytest.fixture
def restored_threads():
    """PyTorch's number of threads is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Recorder:
    """A compiled module that writes down which of its functions are called."""

    def __init__(self, module):
        self.module, self.calls = module, []

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if name in ("total", "gradient", "paths", "gradient_of_paths", "vectors"):
            self.calls.append(name)
        return found


@pytest.fixture
def native_calls(monkeypatch):
    """The names of the compiled functions that are called, as they are called."""
    recorder = Recorder(kernels.MODULE)
    monkeypatch.setattr(kernels, "MODULE", recorder)
    monkeypatch.setattr(program, "_PROGRAMS", OrderedDict())
    monkeypatch.setattr(program, "_made", lambda *_: None)  # whose compiled code is called by another way
    return recorder.calls


@pytest.fixture
def native_threads(monkeypatch, restored_threads):
    """The numbers of threads that compiled functions are called with; small calls take all threads, too."""
    seen, head = set(), kernels._head

    def recorded(*args):
        found = head(*args)
        seen.add(found[-1])
        return found

    monkeypatch.setattr(kernels, "THREADS_FROM", 0)
    monkeypatch.setattr(kernels, "_head", recorded)
    return seen


@pytest.fixture(scope="session")
def vector_bytes():
    """How many bytes a SIMD vector of the compiled backend takes."""
    return kernels.LANES


def posteriors_of(chain, semiring, feature=None, weights=None, blocks=None, requested=None):
    """Totals and their gradient by the log-weights, or by those requested, in one call; nothing is kept for another."""
    call, tensors = compiled.call_for(semiring, chain), compiled.tensors_of(chain)
    each = [x.is_floating_point() and (requested is None or requested[i]) for i, x in enumerate(tensors)]
    along = () if feature is None else compiled.tensors_of(feature)
    blocks = plan_of(chain, semiring, backend="native", blocks=blocks).blocks
    value, found = kernels.posteriors(tensors, chain.lengths, call, blocks, each, (), along, weights)
    return value, [x for x in found if x is not None]


@pytest.fixture(scope="session")
def posteriors():
    """The function `posteriors_of`."""
    return posteriors_of


@dataclass(frozen=True)
class Operands:
    """A chain as the operators take it. Each method gives an operator and its arguments: ``operator(*arguments)``."""

    call: kernels.Call
    tensors: list[Tensor]
    features: list[Tensor]
    lengths: Tensor | None

    @classmethod
    def of(cls, semiring, chain, features=()):
        along = [x for feature in features for x in compiled.tensors_of(feature)]
        return cls(compiled.call_for(semiring, chain), compiled.tensors_of(chain), along, chain.lengths)

    def requiring(self, gradients):
        """All floating-point tensors, a grid's factors among them, require gradients; or none does."""
        free = [
            [x.detach().requires_grad_(gradients and x.is_floating_point()) for x in xs]
            for xs in (self.tensors, self.features)
        ]
        return replace(self, tensors=free[0], features=free[1])

    def requested(self):
        """Of tensors, then features: the log-weights of the map with two axes or more, so none of a grid's tables."""
        return [x.is_floating_point() and x.ndim > 2 for xs in (self.tensors, self.features) for x in xs]

    def blocks(self, segment):
        """How many blocks there are of so many steps each; 0 for none that is kept."""
        return max(-(-self.call.length // segment), 1) if segment else 0

    def total(self, segment):
        """The operator of totals; keeps the state vectors in front of each segment."""
        given = (self.tensors, self.features, self.lengths, *self.call, self.blocks(segment))
        return torch.ops.semihmm.total.default, given

    def gradient(self, segment, weight):
        """The operator of a total's gradient; with features, ``weight`` is that of the log-mass and of the mean."""
        total, arguments = self.requiring(False).total(segment)
        kept, other = total(*arguments)[1:], weight if self.features else None
        given = (self.tensors, self.features, self.lengths, *self.call, self.blocks(segment))
        return torch.ops.semihmm.gradient.default, (*given, *kept, weight, other, self.requested())

    def paths(self, segment, rows, uniforms=None):
        """The operator of paths: the best ones, with arc indices for their gradient; or, given uniforms, drawn ones."""
        given = (self.tensors, self.lengths, *self.call, self.blocks(segment), rows)
        return torch.ops.semihmm.paths.default, (*given, uniforms, uniforms is None)

    def gradient_of_paths(self, segment, rows):
        """The operator of the best paths' gradient, with a random weight for each that requires one too."""
        paths, arguments = self.requiring(False).paths(segment, rows)
        values, slots, _, arcs = paths(*arguments)
        weight = torch.randn_like(values).requires_grad_()
        given = (self.tensors, self.lengths, *self.call, slots, arcs)
        return torch.ops.semihmm.gradient_of_paths.default, (*given, weight, self.requested())

    def vectors(self, only):
        """The operator of state vectors, or of one slot of each sequence."""
        slots = self.tensors[0].shape[-1]
        one = torch.arange(max(self.call.batch, default=1)).expand(self.call.batch) % slots if only else None
        return torch.ops.semihmm.vectors.default, (self.tensors, self.lengths, *self.call, slots, one)


@pytest.fixture(scope="session")
def operands():
    """``operands(semiring, chain, features)``: an `Operands`."""
    return Operands.of


# ---- posteriors against forward-backward in float64


def near_forward_backward(hmm, value, found, total, marginals, depth):
    """Log-partitions and marginals are as near to those of `forward_backward` as `survives` says."""
    assert torch.equal(value > -torch.inf, total > -torch.inf)
    used = [x.double()[y > 1e-6] for x, y in zip((hmm.start, hmm.end, *hmm.factors), marginals, strict=True)]
    largest = max((float(x.abs().max()) for x in used if len(x)), default=0.0)
    unknown = 2.0**-24 * ROUNDINGS * (largest + depth)
    possible = total > -torch.inf
    assert ((value.double() - total).abs() <= 1e-5 * total.abs() + unknown)[possible].all()
    for x, y in zip(found, marginals, strict=True):
        assert x.isfinite().all()
        each = unknown if len(y) == len(unknown) else unknown.max()
        scale = y.clamp(min=1).reshape(x.shape)
        allowed = scale * (1e-4 + each).view(-1, *(1,) * (x.ndim - 1))
        assert ((x.double() - y.reshape(x.shape)).abs() <= allowed).all()


def survives(hmm, blocks=None):
    """Log-partitions to 1e-5 of themselves, marginals to 1e-4, expected counts to that much of themselves.

    That much float32 allows up to some 100 nats. A state vector in float32 holds log-weights less the best state's, so
    one d nats below it is known to d / 2^24 after each step; so is a log-weight of d nats less another one.
    """
    chain, leaves = differentiable(hmm.chain)
    value = total_of(chain, Log(), backend="native", blocks=blocks)
    expected = forward_backward(hmm)
    near_forward_backward(hmm, value, torch.autograd.grad(value, leaves, torch.ones_like(value)), *expected)
    near_forward_backward(hmm, *posteriors_of(hmm.chain, Log(), blocks=blocks), *expected)
    moments_survive(hmm, blocks)


def moments_survive(hmm, blocks=None):
    """Log-masses and means of a feature, in float64: as PyTorch has them in log space.

    Weights spread 8 times as far as in float32, whose exponents have 3 bits less: the same sums underflow.
    """
    g = torch.Generator().manual_seed(len(hmm.start))
    plain = in_float64(hmm.chain)
    chain = plain.rebuild(8 * x if x.is_floating_point() else x for x in plain.leaves)
    held = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in chain.leaves]
    if len(hmm.start) % 2:  # arcs whose feature is 0
        held = [torch.zeros_like(x) if x.ndim == 4 else x for x in held]
    feature = chain.rebuild(x if y.is_floating_point() else y for x, y in zip(held, chain.leaves, strict=True))
    moments_agree(chain, feature, blocks)


def moments_agree(chain, feature, blocks=None):
    """Log-masses and means, and the gradient of both by log-weights and features, are those of PyTorch in log space."""
    g, found = torch.Generator().manual_seed(0), []
    weight = torch.randn(2, *chain.batch, generator=g, dtype=torch.float64)
    for backend in ("native", "torch"):
        (mine, leaves), (its, more) = differentiable(chain), differentiable(feature)
        cut = blocks if backend == "native" else None
        value = total_of(mine, Expectation(1), [its], backend=backend, blocks=cut)
        found.append([value.detach(), *torch.autograd.grad(value, leaves + more, weight)])
    value, slopes = posteriors_of(chain, Expectation(1), feature, tuple(weight), blocks)
    for mine in (found[0], [value, *slopes]):
        for x, y in zip(mine, found[1], strict=len(mine) == len(found[0])):
            assert x.isfinite().equal(y.isfinite())
            assert_close(x, y, rtol=MOMENTS, atol=MOMENTS * chain.length)


@pytest.fixture(scope="session")
def assert_survives():
    """The function `survives`."""
    return survives


@pytest.fixture(scope="session")
def assert_near():
    """The function `near_forward_backward`."""
    return near_forward_backward


@pytest.fixture(scope="session")
def assert_moments():
    """The function `moments_agree`."""
    return moments_agree
