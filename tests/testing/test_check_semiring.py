"""A semiring that breaks a law is rejected, by the name of that law and with the values; one that keeps them is not."""

import math
from dataclasses import dataclass

import pytest
import torch

from semihmm.errors import LawError, SemiringError
from semihmm.semirings import (
    Bottleneck,
    Count,
    Expectation,
    Lexicographic,
    Log,
    Max,
    Real,
    Sample,
    Semiring,
    SmoothMax,
    SparseMax,
    TopK,
)
from semihmm.testing import check_semiring


class Flow(Real):
    """``(+, min)``: both are fine alone, but ``min(c, a + b)`` is not ``min(c, a) + min(c, b)``."""

    one = math.inf
    additive = False
    times = staticmethod(torch.minimum)
    vecmat, matmul = Semiring.vecmat, Semiring.matmul


class FlowFromTheLeft(Real):
    """Distributes from one side only: the right argument is rounded to a whole number of nats."""

    additive = False
    vecmat, matmul = Semiring.vecmat, Semiring.matmul

    def times(self, a, b):
        return a * torch.where(a == 1, b, b.log().round().exp())


def widest_then_best():
    """Gurney & Griffin's counterexample, past the guard of `Lexicographic`."""
    pair = Lexicographic(Max(), Max(), own_weights=True)
    object.__setattr__(pair, "first", Bottleneck())
    return pair


class SparseInATree(SparseMax):
    associative = True


class FiniteZero(Log):
    zero = -1e5


class FiniteZeroThroughout(Log):
    zero = -1e5

    def lift(self, log_weight, *features):
        return log_weight.clamp(min=-1e5)


class AlmostForbidden(Max):
    """One arc of -1e5 beats 2,000 honest steps of -60 nats."""

    def lift(self, log_weight, *features):
        return log_weight.clamp(min=-1e5)


class WrongOne(Log):
    one = 0.5


class NaNGradient(Log):
    def sum(self, x, dim):
        return torch.logsumexp(x, dim)


class SharedTies(Max):
    def sum(self, x, dim):
        return x.amax(dim) if x.shape[dim] else self.empty(x, dim)


class LeakyGradient(Max):
    """Where nothing is possible, the gradient says there was a path."""

    def sum(self, x, dim):
        return x.max(dim).values if x.shape[dim] else self.empty(x, dim)


class First(Max):
    def sum(self, x, dim):
        return x.select(dim, 0) if x.shape[dim] else self.empty(x, dim)


class EmptyIsOne(Real):
    def sum(self, x, dim):
        return x.sum(dim) if x.shape[dim] else x.sum(dim) + 1


class ForgetsTheThird(Max):
    def sum(self, x, dim):
        return super().sum(x.narrow(dim, 0, min(2, x.shape[dim])), dim)


class LastAxisOnly(Max):
    def sum(self, x, dim):
        return super().sum(x, dim) if dim == -1 else super().sum(x, dim) * 1.5


class Subtracts(Real):
    vecmat, matmul = Semiring.vecmat, Semiring.matmul

    def times(self, a, b):
        return a / torch.where(b == 0, math.inf, b)


class Widens(Log):
    def sum(self, x, dim):
        return super().sum(x.double(), dim)


class Narrows(Log):
    def lift(self, log_weight, *features):
        return log_weight.half()


class DropsAnAxis(Log):
    def lower(self, value):
        return value.logsumexp(-1)


class LiftsToAScalar(Log):
    def lift(self, log_weight, *features):
        return log_weight.max()


class SaysIdempotent(Log):
    idempotent = True


class SaysAdditive(Bottleneck):
    additive = True


class ScalesTwice(Log):
    def scale(self, value, log_factor):
        return value + 2 * log_factor


class MeasuresBackwards(Log):
    def magnitude(self, value):
        return -value


class WrongTemperature(SmoothMax):
    temperature = 0.75


class WrongVecmat(Log):
    def vecmat(self, vector, matrix):
        return torch.logsumexp(vector.unsqueeze(-1) + matrix, -2) + 0.01


class VecmatOfAnotherShape(Log):
    def vecmat(self, vector, matrix):
        return super().vecmat(vector, matrix).unsqueeze(0)


class WrongMatmul(Real):
    def matmul(self, a, b):
        return a @ b * 1.01


class WritesToItsArgument(Max):
    def times(self, a, b):
        total = a + b
        a.mul_(1 + 1e-6)
        return total


class ChoosesAnotherValue(Max):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x, dim)
        return value + 1, index


class ChoosesTheLast(Max):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x.flip(dim), dim)
        return value, x.shape[dim] - 1 - index


class ChoosesTheFirst(Max):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x, dim)
        return value, index * 0


class ChoosesOutside(Max):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x, dim)
        return value, index + x.shape[dim]


class ChoosesWithoutRows(Max):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x, dim)
        return value, index[0]


class DrawsTheImpossible(Sample):
    def choose(self, x, dim, generator=None):
        value, index = super().choose(x, dim, generator)
        return value, index % self.n


class CountsInFloats(Count):
    value_dtype = None


class CountsWhole(Expectation):
    """Features that are no whole numbers are lost, so that sums of them are not."""

    def lift(self, log_weight, *features):
        return super().lift(log_weight, *(x.floor() for x in features))


BROKEN = [
    (CountsWhole(), r"additive: .* a = \[.*, .*\]; b = \[.*, .*\]"),
    (Flow(), "times distributes over plus from the left"),
    (FlowFromTheLeft(), "times is associative|times distributes over plus"),
    (widest_then_best(), "times distributes over plus from the left"),
    (SparseInATree(), "plus is associative"),
    (FiniteZero(), "zero annihilates"),
    (AlmostForbidden(), "lift\\(-inf\\) is zero"),
    (FiniteZeroThroughout(), "zero annihilates"),
    (WrongOne(), "one is the identity of times"),
    (NaNGradient(), "gradients are finite"),
    (SharedTies(), "gradients are 0 at -inf"),
    (LeakyGradient(), "gradients are 0 at -inf"),
    (First(), "plus commutes"),
    (EmptyIsOne(), "sum of nothing is zero"),
    (ForgetsTheThird(), "sum is the fold of plus"),
    (LastAxisOnly(), "sum works along any axis"),
    (Subtracts(), "times is associative"),
    (Widens(), "keeps dtype and device: expected torch.float32"),
    (Narrows(), "lift keeps dtype and device: expected torch.float32"),
    (CountsInFloats(), "lift keeps dtype and device: expected torch.float32 on the CPU, got torch.int64"),
    (DropsAnAxis(), "lower keeps the shape"),
    (LiftsToAScalar(), "lift keeps the shape"),
    (SaysIdempotent(), "idempotent: a \\+ a == a"),
    (SaysAdditive(), "additive: lift\\(a \\+ b\\) == lift\\(a\\) \\* lift\\(b\\)"),
    (ScalesTwice(), "scalable: scale\\(a, f\\) == a \\* lift\\(f\\)"),
    (MeasuresBackwards(), "scalable: magnitude"),
    (WrongTemperature(), "temperature t"),
    (WrongVecmat(), "vecmat equals its definition"),
    (VecmatOfAnotherShape(), r"vecmat equals its definition \(shapes \(1, 5, 4\) and \(5, 4\)\)"),
    (WrongMatmul(), "matmul equals its definition"),
    (WritesToItsArgument(), "arguments are left as they were"),
    (ChoosesAnotherValue(), "choose\\(x\\)\\[0\\] == sum\\(x\\)"),
    (ChoosesTheLast(), "ties go to the lowest argument"),
    (ChoosesTheFirst(), "choose points at an argument that has the value"),
    (ChoosesOutside(), "choose points at one of its arguments"),
    (ChoosesWithoutRows(), "int64 of shape"),
    (DrawsTheImpossible(3), "choose never points at zero"),
]


@pytest.mark.parametrize(("semiring", "law"), BROKEN, ids=lambda part: type(part).__name__)
def test_a_broken_semiring_is_rejected_by_the_law_it_breaks(semiring, law):
    with pytest.raises(LawError, match=law):
        check_semiring(semiring)


def test_the_values_that_break_the_law_break_it():
    with pytest.raises(SemiringError) as caught:
        check_semiring(SparseInATree())
    message = str(caught.value)
    assert message.startswith("SparseInATree(gamma=1.0) breaks a law in torch.float32: plus is associative")
    found = {name: float(number) for name, number in (part.split(" = ") for part in numbers(message).split("; "))}
    a, b, c = (torch.tensor(found[name]) for name in "abc")
    s = SparseMax()
    assert s.plus(s.plus(a, b), c).item() == pytest.approx(found["left"], abs=1e-4)
    assert s.plus(a, s.plus(b, c)).item() == pytest.approx(found["right"], abs=1e-4)
    assert abs(found["left"] - found["right"]) > 1e-4


def numbers(message):
    return message.split("Values: ")[1].split(". A total")[0]


def test_the_check_repeats():
    messages = []
    for _ in range(2):
        with pytest.raises(LawError) as caught:
            check_semiring(Flow(), seed=3)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_an_honest_semiring_passes_though_it_claims_less():
    @dataclass(frozen=True)
    class Modest(Max):
        idempotent = False
        selective = False
        additive = False
        scalable = False
        temperature = None

    check_semiring(Modest())
    check_semiring(SparseMax())


@pytest.mark.parametrize("semiring", [Log(), TopK(3), Expectation(2), Sample(2)])
def test_the_global_random_state_is_left_alone(semiring):
    before = torch.random.get_rng_state()
    check_semiring(semiring)
    assert torch.equal(before, torch.random.get_rng_state())
