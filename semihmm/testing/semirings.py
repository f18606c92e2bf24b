"""Whether a semiring keeps the laws that every total rests on."""

import math
from itertools import product

import torch
from torch import Tensor

from semihmm.errors import LawError
from semihmm.semirings import Semiring

# Log-weights are multiples of 1/8: their sums are exact, so ties are real and a broken law is no rounding error.
_GRID = 8
_EDGES = (-math.inf, -1e4, -300.0, 0.0, 16.0, 300.0, 1e4)
_NO_SCALE = torch.zeros(())
_TOLERANCE = 64  # units in the last place of the largest number involved


def check_semiring(semiring: Semiring, *, samples: int = 64, seed: int = 0) -> None:
    """Tests the semiring laws, and everything that the semiring says of itself, on random and edge values.

    It is evidence, not a mathematical proof: each law is tried on ``samples`` random triples of values and on all
    triples of edge values (`zero`, `one`, lifted log-weights of 0, 16, +-300, +-1e4 where these are in range), in
    float32 and float64, up to rounding (64 units in the last place of the largest number involved). Values are lifted
    log-weights, and their products and sums. Two tensors are one value if `sum` over each alone gives the same.

    - `lift` takes ``-inf`` to `zero`; `plus` commutes, with `zero` as its identity, and associates unless
      ``associative`` is False; `times` associates, with `one` as its identity, distributes over `plus` from both
      sides, and is annihilated by `zero`.
    - `sum` is the fold of `plus` in any order, along any axis; of nothing it is `zero`.
    - the flags: additive; idempotent; scalable (`scale`, `magnitude`); temperature; selective: `choose` returns the sum
      and points at the lowest argument that has it or, where it is not idempotent, at one that is not `zero`.
    - `vecmat` and `matmul` equal the bodies they replace.
    - gradients of a sum of products, first and second, are finite, and 0 at log-weights of ``-inf``; where `plus` is
      idempotent and values have no components, a tie's gradient goes to one.
    - dtype and device are kept, arguments are left as they were.

    Args:
        samples: random triples per law; at least 1. The whole costs some milliseconds to tenths of a second.
        seed: of the random values; a failure repeats.
    Raises:
        LawError: names the law, and the values that break it.
    Example:
        >>> from semihmm.semirings import Log
        >>> check_semiring(Log())
    """
    for dtype in (torch.float32, torch.float64):
        laws = _Laws(semiring, dtype, samples, seed)
        laws.conversions()
        laws.axioms()
        laws.sums()
        laws.flags()
        if semiring.selective:
            laws.choices()
        laws.products()
        laws.arguments_are_left_alone()
        laws.gradients()


class _Laws:
    """The laws, on one set of samples. The samples lie along the last axis: ``(components, N)``."""

    def __init__(self, semiring: Semiring, dtype: torch.dtype, samples: int, seed: int) -> None:
        self.semiring, self.dtype = semiring, dtype
        self.generator = torch.Generator().manual_seed(seed)
        like = torch.zeros((), dtype=dtype)
        like = semiring.lift(like, *[like] * (semiring.inputs - 1))
        self.zero = semiring.full(semiring.zero, (1,), like)
        self.one = semiring.full(semiring.one, (1,), like)
        self.edges = self._edges()
        weights = self.draw(6, samples)
        features = [self.draw_features(6, samples) for _ in range(semiring.inputs - 1)]
        self.weights, self.features = weights, features
        self.lifted = [self.lift(w, *f) for w, *f in zip(weights, *features, strict=True)]
        self.a, self.b, self.c = self._triples()
        self.before = [value.clone() for value in self._arguments()]

    def _edges(self) -> Tensor:
        """The edge log-weights; large ones only where products of six stay in range."""
        edges = torch.tensor(_EDGES, dtype=self.dtype)
        lifted = self.lift(edges * 6, *[torch.zeros_like(edges)] * (self.semiring.inputs - 1))
        fits = ~(lifted.isinf() | lifted.isnan()).reshape(-1, len(edges)).any(0)
        return edges[fits | (edges == -math.inf)]

    def _triples(self) -> tuple[Tensor, Tensor, Tensor]:
        s = self.semiring
        first, second, third, fourth, fifth, sixth = (s.whole(value) for value in self.lifted)
        mixed = s.plus(s.times(first, second), third)
        pool = torch.cat([first, s.times(second, fourth), s.plus(fifth, sixth), mixed], -1)
        zeros = [torch.zeros_like(self.edges)] * (s.inputs - 1)
        edges = torch.cat([self.zero, self.one, s.whole(self.lift(self.edges, *zeros))], -1)
        every = torch.tensor(list(product(range(edges.shape[-1]), repeat=3)))
        count = first.shape[-1]
        drawn = [torch.randint(pool.shape[-1], (count,), generator=self.generator) for _ in range(3)]
        a, b, c = (torch.cat([pool[..., drawn[i]], edges[..., every[:, i]]], -1) for i in range(3))
        return a, b, c

    def _arguments(self) -> list[Tensor]:
        return [self.weights, *self.features, *self.lifted, self.a, self.b, self.c, self.zero, self.one]

    def draw(self, *shape: int) -> Tensor:
        """Log-weights: small ones with many ties, one in six an edge."""
        grid = torch.randint(-3 * _GRID, 3 * _GRID + 1, shape, generator=self.generator).to(self.dtype) / _GRID
        edge = self.edges[torch.randint(len(self.edges), shape, generator=self.generator)]
        return torch.where(torch.rand(shape, generator=self.generator) < 1 / 6, edge, grid)

    def draw_features(self, *shape: int) -> Tensor:
        """Small numbers of either sign."""
        return torch.randint(-2 * _GRID, 2 * _GRID + 1, shape, generator=self.generator).to(self.dtype) / _GRID

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """A lifted value; its dtype, device and shape are checked here, wherever values come from."""
        value = self.semiring.lift(log_weight, *features)
        self.kept("lift keeps dtype and device", value)
        if value.shape[self.semiring.components :] != log_weight.shape:
            self.fail("lift keeps the shape, components before it", a=log_weight, value=value)
        return value

    def normal(self, value: Tensor) -> Tensor:
        """`sum` over the value alone."""
        return self.semiring.sum(value.unsqueeze(-1), -1)

    def conversions(self) -> None:
        """`lift` and `lower`."""
        s = self.semiring
        nothing = torch.full((1,), -math.inf, dtype=self.dtype)
        self.equal("lift(-inf) is zero", self.lift(nothing, *[torch.ones_like(nothing)] * (s.inputs - 1)), self.zero)
        lowered = s.lower(self.a)
        if lowered.shape[-1:] != self.a.shape[-1:]:
            self.fail("lower keeps the shape, components apart", a=self.a, value=lowered)

    def axioms(self) -> None:
        """Those of every semiring (Golan 1999)."""
        s, a, b, c = self.semiring, self.a, self.b, self.c
        ab = s.plus(a, b)
        self.kept("plus keeps dtype and device", ab)
        self.kept("times keeps dtype and device", s.times(a, b))
        self.equal("plus commutes: a + b == b + a", ab, s.plus(b, a), a=a, b=b)
        if s.associative:
            law = "plus is associative: (a + b) + c == a + (b + c)"
            self.equal(law, s.plus(ab, c), s.plus(a, s.plus(b, c)), a=a, b=b, c=c)
        self.equal("zero is the identity of plus: a + zero == a", s.plus(a, self.zero), a, a=a)
        law = "times is associative: (a * b) * c == a * (b * c)"
        self.equal(law, s.times(s.times(a, b), c), s.times(a, s.times(b, c)), a=a, b=b, c=c)
        self.equal("one is the identity of times: a * one == a", s.times(a, self.one), a, a=a)
        self.equal("one is the identity of times: one * a == a", s.times(self.one, a), a, a=a)
        self.equal("zero annihilates: a * zero == zero", s.times(a, self.zero), self.zero.expand_as(a), a=a)
        self.equal("zero annihilates: zero * a == zero", s.times(self.zero, a), self.zero.expand_as(a), a=a)
        law = "times distributes over plus from the left: c * (a + b) == c * a + c * b"
        self.equal(law, s.times(c, ab), s.plus(s.times(c, a), s.times(c, b)), a=a, b=b, c=c)
        law = "times distributes over plus from the right: (a + b) * c == a * c + b * c"
        self.equal(law, s.times(ab, c), s.plus(s.times(a, c), s.times(b, c)), a=a, b=b, c=c)

    def sums(self) -> None:
        """`sum` against `plus`."""
        s, a, b, c = self.semiring, self.a, self.b, self.c
        three = torch.stack([a, b, c], -1)
        summed = s.sum(three, -1)
        self.kept("sum keeps dtype and device", summed)
        self.equal("sum of nothing is zero", s.sum(three[..., :0], -1), self.zero.expand_as(a), a=a)
        self.equal("sum of one argument is that argument", s.sum(three[..., :1], -1), a, a=a)
        self.equal("sum of two is plus", s.sum(three[..., :2], -1), s.plus(a, b), a=a, b=b)
        if s.associative:
            self.equal("sum is the fold of plus", summed, s.plus(s.plus(a, b), c), a=a, b=b, c=c)
        self.equal("sum does not depend on the order", summed, s.sum(three.flip(-1), -1), a=a, b=b, c=c)
        self.equal("sum works along any axis", s.sum(three.transpose(-1, -2), -2), summed, a=a, b=b, c=c)

    def flags(self) -> None:
        """What the semiring says of itself."""
        s, a = self.semiring, self.a
        v, w = self.weights[0], self.weights[1]
        if s.additive:
            both = self.lift(v + w, *(f[0] + f[1] for f in self.features))
            law = "additive: lift(a + b) == lift(a) * lift(b)"
            given = {"a": (v, *(f[0] for f in self.features)), "b": (w, *(f[1] for f in self.features))}
            inputs = {name: torch.stack(x) if s.inputs > 1 else x[0] for name, x in given.items()}  # with features
            self.equal(law, both, s.times(self.lifted[0], self.lifted[1]), **inputs)
        if s.idempotent:
            self.equal("idempotent: a + a == a", s.plus(a, a), a, a=a)
        if s.scalable:
            factor = torch.full_like(a[0] if s.components else a, 2.5)
            scaled = s.scale(a, factor)
            by_times = s.times(a, self.lift(factor, *[torch.zeros_like(factor)] * (s.inputs - 1)))
            self.equal("scalable: scale(a, f) == a * lift(f)", scaled, by_times, a=a)
            law = "scalable: magnitude(scale(a, f)) == magnitude(a) + f"
            self.close(law, s.magnitude(scaled), s.magnitude(a) + factor, a=a)
        if s.temperature is not None:
            t, mixed = s.temperature, s.lower(s.plus(self.lifted[0], self.lifted[1]))
            expected = torch.maximum(v, w) if t == 0 else t * torch.logaddexp(v / t, w / t)
            self.close("temperature t: lift(a) + lift(b) is t log(exp(a/t) + exp(b/t))", mixed, expected, a=v, b=w)

    def choices(self) -> None:
        """`choose`, where the semiring is selective."""
        s = self.semiring
        x = torch.stack([self.zero.expand_as(self.a), self.a, self.b, self.a, self.c], -1)
        inputs = {"a": self.a, "b": self.b, "c": self.c}
        value, index = s.choose(x, -1, self.generator)
        self.equal("selective: choose(x)[0] == sum(x)", value, s.sum(x, -1), **inputs)
        if index.dtype != torch.int64 or index.shape != (s.rows, *x.shape[s.components : -1]):
            self.fail("selective: choose(x)[1] is int64 of shape (rows, ...)", index=index)
        inside = (index >= 0) & (index < x.shape[-1] * s.rows)
        self.holds("selective: choose points at one of its arguments", inside.all(0), index=index, **inputs)
        real = ~self._is_zero(value)  # zero comes from nowhere
        argument = index // s.rows
        if not s.idempotent:
            # Rows of a value with components may be empty, all but the first.
            argument = argument[:1] if s.components else argument
            points = self._is_zero(x).expand(len(argument), *x.shape[s.components :]).gather(-1, argument.unsqueeze(-1))
            self.holds("selective: choose never points at zero", ~points.any(-1).any(0) | ~real, index=index, **inputs)
            return
        same = x == value.unsqueeze(-1)
        same = same.all(0) if s.components else same
        first = same.byte().argmax(-1)
        law = "selective: choose points at an argument that has the value"
        self.holds(law, same.gather(-1, argument[0].unsqueeze(-1)).squeeze(-1) | ~real, index=index, **inputs)
        law = "selective: ties go to the lowest argument"
        self.holds(law, (argument[0] == first) | ~real, index=index, **inputs)

    def _is_zero(self, value: Tensor) -> Tensor:
        zero = self.zero.reshape(self.zero.shape[:-1] + (1,) * (value.dim() - self.semiring.components))
        same = value == zero
        return same.all(0) if self.semiring.components else same

    def products(self) -> None:
        """`vecmat` and `matmul` against the bodies they may replace."""
        s = self.semiring

        def matrix(*shape: int) -> Tensor:
            return s.whole(self.lift(self.draw(*shape), *(self.draw_features(*shape) for _ in range(s.inputs - 1))))

        vector, left, right = matrix(5, 3), matrix(5, 2, 3), matrix(5, 3, 4)
        by_definition = Semiring.vecmat(s, vector, right)
        largest = [_size(part.double()).max() for part in (vector, left, right)]
        scale = torch.stack(largest).max()
        self.close("vecmat equals its definition", s.vecmat(vector, right), by_definition, scale=scale)
        by_definition = torch.stack([Semiring.vecmat(s, row, right) for row in left.unbind(-2)], -2)
        self.close("matmul equals its definition", s.matmul(left, right), by_definition, scale=scale)

    def gradients(self) -> None:
        """Of the sum of three products, with respect to six log-weights: first and second derivatives."""
        s = self.semiring
        weights = self.weights.clone()
        weights[:, 0] = -math.inf  # nothing but -inf
        weights.requires_grad_()
        lifted = [self.lift(w, *f) for w, *f in zip(weights, *self.features, strict=True)]
        total = s.lower(s.sum(torch.stack([s.times(lifted[i], lifted[i + 3]) for i in range(3)], -1), -1))
        if not total.requires_grad:
            return
        (first,) = torch.autograd.grad(total, weights, torch.ones_like(total), create_graph=True)
        inputs = {"log_weights": weights.detach(), "gradient": first.detach()}
        self.holds("gradients are finite", first.isfinite().all(0), **inputs)
        forbidden = weights == -math.inf
        self.holds("gradients are 0 at -inf", ((first == 0) | ~forbidden).all(0), **inputs)
        if first.requires_grad:
            direction = self.draw_features(*first.shape)
            (second,) = torch.autograd.grad(first, weights, direction, allow_unused=True, materialize_grads=True)
            self.holds("second derivatives are finite", second.isfinite().all(0), log_weights=weights.detach())
        if s.idempotent and not s.components:
            tied = weights[0].detach().expand(3, -1).clone().requires_grad_()
            best = s.lower(s.sum(self.lift(tied, *(f[0].expand(3, -1) for f in self.features)), -2))
            (first,) = torch.autograd.grad(best, tied, torch.ones_like(best))
            self.holds("a tie has one winner", (first != 0).sum(0) <= 1, log_weights=tied.detach(), gradient=first)

    def arguments_are_left_alone(self) -> None:
        """No operation writes to what it was given."""
        for before, after in zip(self.before, self._arguments(), strict=True):
            if not torch.equal(before, after):
                self.fail("arguments are left as they were", before=before, after=after)

    def equal(self, law: str, left: Tensor, right: Tensor, **inputs: Tensor) -> None:
        """Both are the same value, up to rounding."""
        self.close(law, self.normal(left), self.normal(right), **inputs)

    def close(self, law: str, left: Tensor, right: Tensor, scale: Tensor = _NO_SCALE, **inputs: Tensor) -> None:
        """Both are the same numbers, up to rounding; rounding errors grow with ``scale`` and with the inputs."""
        if left.shape != right.shape:
            self.fail(f"{law} (shapes {tuple(left.shape)} and {tuple(right.shape)})", left=left, right=right)
        close = left == right
        if left.is_floating_point():
            largest = _size(right) + _size(scale)
            for value in inputs.values():
                largest = largest + (_size(value).amax(0) if value.dim() > 1 else _size(value))
            tolerance = _TOLERANCE * torch.finfo(left.dtype).eps * (1 + largest)
            close = close | ((left - right).abs() <= tolerance)
        self.holds(law, close, left=left, right=right, **inputs)

    def holds(self, law: str, holds: Tensor, **values: Tensor) -> None:
        """``holds`` is True at every sample (its last axis); else the values at the first that breaks the law."""
        broken = ~holds.reshape(-1, holds.shape[-1]).all(0)
        if broken.any():
            at = int(broken.byte().argmax())
            self.fail(law, **{name: value[..., at] for name, value in values.items()})

    def kept(self, law: str, value: Tensor) -> None:
        """The dtype is the log-weights', or the semiring's own; the device is the CPU, where the samples are."""
        dtype = self.semiring.value_dtype or self.dtype
        if value.dtype != dtype or value.device.type != "cpu":
            self.fail(f"{law}: expected {dtype} on the CPU, got {value.dtype} on {value.device}")

    def fail(self, law: str, **values: Tensor) -> None:
        """Says which law, and on which values."""
        shown = "; ".join(f"{name} = {value.tolist()}" for name, value in values.items())
        raise LawError(
            f"{self.semiring} breaks a law in {self.dtype}: {law}. Values: {shown or 'any'}. "
            "A total would depend on how it is computed; mend the operation, or the flag that claims the law."
        )


def _size(value: Tensor) -> Tensor:
    return value.nan_to_num(posinf=0.0, neginf=0.0).abs()
