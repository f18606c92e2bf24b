"""What every semiring answers (Goodman 1999, "Semiring Parsing"). Nothing here knows what a state is."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from semihmm.errors import SemiringError

Components = float | tuple[float, ...]


class Semiring(ABC):
    """``(plus, times, zero, one)``, and how a log-weight becomes a value and a value an answer.

    A value is a tensor. Where it has components (TopK: k scores; Expectation: a mass and m means) they are
    the *leading* axis, so that every other axis counts from the right in every semiring: a ``dim`` is negative.
    Two tensors may stand for one value (TopK: a list and the same list padded with ``-inf``); `sum` over a single
    argument gives its normal form. Subclasses are frozen dataclasses without state, which set the constants below
    by plain assignment, ``zero = -math.inf``; `semihmm.testing.check_semiring` tests their laws.
    """

    @property
    @abstractmethod
    def zero(self) -> Components:
        """The empty sum, which annihilates `times`; one number per component."""

    @property
    @abstractmethod
    def one(self) -> Components:
        """The empty product; one number per component."""

    @property
    def associative(self) -> bool:
        """False: `plus` groups no way but from the left, so only a left-to-right scan means anything."""
        return True

    @property
    def idempotent(self) -> bool:
        """``plus(a, a) == a``."""
        return False

    @property
    def selective(self) -> bool:
        """`choose` can say which argument a sum came from, the best or a drawn one."""
        return False

    @property
    def additive(self) -> bool:
        """``lift(a + b) == times(lift(a), lift(b))``."""
        return True

    @property
    def scalable(self) -> bool:
        """`magnitude` and `scale` keep a long scan in range."""
        return False

    @property
    def temperature(self) -> float | None:
        """``t`` where ``plus(a, b) = t log(exp(a/t) + exp(b/t))``, 0 for max; None where plus is something else.

        Where it is known, the gradient of a total is the Gibbs distribution ``exp((score - total) / t)`` over paths.
        """
        return None

    @property
    def value_dtype(self) -> torch.dtype | None:
        """The dtype of every value; None where it is the log-weight's."""
        return None

    @property
    def inputs(self) -> int:
        """How many tensors `lift` takes: the log-weight, then features."""
        return 1

    @property
    def rows(self) -> int:
        """How many answers `choose` gives at once (TopK: k, Sample: n)."""
        return 1

    @property
    def components(self) -> int:
        """How many leading axes a value has: 0 or 1."""
        return int(isinstance(self.zero, tuple))

    @abstractmethod
    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """The value of an arc. A log-weight of ``-inf`` is `zero`, whatever the features."""

    @abstractmethod
    def lower(self, value: Tensor) -> Tensor:
        """The answer that a total stands for."""

    @abstractmethod
    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """One after the other."""

    @abstractmethod
    def sum(self, x: Tensor, dim: int) -> Tensor:
        """Either of all along ``dim`` (negative: counted from the right). Empty sums are `zero`."""

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        """Either."""
        a, b = self.align(self.whole(a), self.whole(b))
        return self.sum(torch.stack(torch.broadcast_tensors(a, b), -1), -1)

    def vecmat(self, vector: Tensor, matrix: Tensor) -> Tensor:
        """``(..., S)`` by ``(..., S, R)``. A semiring may override it with something faster."""
        return self.sum(self.times(vector.unsqueeze(-1), matrix), -2)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """``(..., N, S)`` by ``(..., S, R)``, one row at a time. A semiring may override it with something faster."""
        return torch.stack([self.vecmat(row, b) for row in a.unbind(-2)], -2)

    def choose(self, x: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """`sum` of at least one argument, and which of them it came from.

        Returns:
            The sum, and int64 ``argument * rows + row`` of shape ``(rows, ...)``: for each of the `rows` answers,
            the position along ``dim`` and the row of the argument that it continues. Ties go to the lowest.
            An answer of `zero` comes from nowhere; its index is valid and means nothing.
        """
        raise SemiringError(
            f"{self}: a sum here mixes its arguments, so there is no best or drawn one to point at. "
            "Paths come from a selective semiring: Max, TopK, Sample.",
            see="not-selective",
        )

    def magnitude(self, value: Tensor) -> Tensor:
        """How large a value is, in nats, without components. Only where `scalable`."""
        raise SemiringError(f"{self}: values have no magnitude to rescale by (scalable is False).")

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        """``times(value, lift(log_factor))``, features 0. Only where `scalable`."""
        raise SemiringError(f"{self}: values cannot be rescaled (scalable is False).")

    def full(self, fill: Components, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A value of ``shape`` (components not counted) filled with `zero` or `one`, dtype and device as ``like``."""
        parts = fill if isinstance(fill, tuple) else (fill,)
        filled = [torch.full(shape, part, dtype=like.dtype, device=like.device) for part in parts]
        return torch.stack(filled) if isinstance(fill, tuple) else filled[0]

    def empty(self, x: Tensor, dim: int) -> Tensor:
        """`sum` of ``x`` where there is nothing along ``dim``."""
        shape = list(x.shape[self.components :])
        del shape[dim]
        return self.full(self.zero, tuple(shape), like=x)

    def whole(self, value: Tensor) -> Tensor:
        """The value with all its components (TopK lifts to lists of one)."""
        zero = self.zero
        if not isinstance(zero, tuple) or value.shape[0] == len(zero):
            return value
        return self.sum(value.unsqueeze(-1), -1)

    def align(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both with as many axes as the longer, so that they broadcast from the right and by component."""
        missing = a.dim() - b.dim()
        if missing == 0 or not self.components:
            return a, b
        if missing < 0:
            return a.reshape(a.shape[:1] + (1,) * -missing + a.shape[1:]), b
        return a, b.reshape(b.shape[:1] + (1,) * missing + b.shape[1:])
