"""Constrained maximum-likelihood linear regression: an affine map of features that brings a speaker to a model.

Features x become ``A x + b``, and their log-density ``log N(A x + b) + log|A|``: one map for all Gaussians, which is
the same as mapping the Gaussians themselves the other way, covariances too. With the responsibilities of Gaussians for
frames held fixed, what is maximised over ``W = [A, b]``, with ``z = [x, 1]``, is

    Q(W) = n log|A| + sum_i (w_i k_i - w_i G_i w_i' / 2),
    G_i = sum_t p_ti z_t z_t',    k_i = sum_t q_ti z_t,

in which ``p_ti`` is the sum over Gaussians m of responsibility / variance, and ``q_ti`` the same times the mean.

References:
    Gales (1998), "Maximum likelihood linear transformations for HMM-based speech recognition", Computer Speech and
    Language 12(2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.speech.acoustics.transform import identity

FRAMES_EACH = 10
"""Frames for each number in a row of a transform, below which none is estimated."""


@dataclass(frozen=True)
class TransformStatistics:
    """What `fmllr` needs to know of a speaker; that of two recordings is their sum.

    Args:
        count: how many frames, n.
        outer: ``(F, F + 1, F + 1)``, the G_i.
        cross: ``(F, F + 1)``, the k_i.

    Example:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> one = TransformStatistics.of(x, torch.ones(2, 1), torch.zeros(2, 1))  # under one standard normal
        >>> (one + one).count, one.outer.tolist()
        (4, [[[4.0, 2.0], [2.0, 2.0]]])
    """

    count: int
    outer: Tensor
    cross: Tensor

    @classmethod
    def of(cls, features: Tensor, precision: Tensor, pull: Tensor) -> "TransformStatistics":
        """Those of frames.

        Args:
            features: ``(T, F)``.
            precision: ``(T, F)``, p: responsibility / variance, summed over Gaussians.
            pull: ``(T, F)``, q: responsibility * mean / variance.
        """
        if features.ndim != 2 or not features.shape == precision.shape == pull.shape:
            raise ShapeError(
                f"TransformStatistics: features, precision and pull must be (T, F), got {tuple(features.shape)}, "
                f"{tuple(precision.shape)} and {tuple(pull.shape)}."
            )
        z = torch.nn.functional.pad(features.double(), (0, 1), value=1.0)
        outer = torch.stack([z.t() @ (each[:, None] * z) for each in precision.double().t()])
        return cls(len(features), outer, pull.double().t() @ z)

    def __add__(self, other: "TransformStatistics") -> "TransformStatistics":
        return TransformStatistics(self.count + other.count, self.outer + other.outer, self.cross + other.cross)

    def gain(self, transform: Tensor) -> Tensor:
        """``Q(W)``, in nats: what `fmllr` maximises."""
        bent = torch.einsum("if,ifg,ig->", transform, self.outer, transform) / 2
        return self.count * transform[:, :-1].det().abs().log() + (transform * self.cross).sum() - bent


def fmllr(statistics: TransformStatistics, *, iterations: int = 20, frames_each: int = FRAMES_EACH) -> Tensor:
    """The transform that makes a speaker's frames most likely, ``(F, F + 1)`` float64.

    Row by row: with c the i-th column of ``A^-1`` and a 0, ``w_i = (a c + k_i) G_i^-1``, in which a is that root of
    ``a^2 c G_i^-1 c' + a c G_i^-1 k_i' = n`` for which Q is larger. Q never falls below that of the identity, where
    it starts.

    Args:
        statistics: of one speaker; responsibilities are those under the identity, as a rule.
        iterations: how often all rows are improved.
        frames_each: with fewer than so many frames for each of the F + 1 numbers in a row, the identity is returned;
            so it is of features of which one does not vary.

    Example:
        >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)) * 2 + 6
        >>> found = fmllr(TransformStatistics.of(x, torch.ones(1000, 1), torch.zeros(1000, 1)))
        >>> new = found[0, 0] * x + found[0, 1]  # a standard normal
        >>> bool(new.mean().abs() < 1e-5), round(float(new.square().mean()), 3)
        (True, 1.0)
    """
    features = len(statistics.cross)
    found = identity(features)
    inverse, singular = torch.linalg.inv_ex(statistics.outer)
    if statistics.count < frames_each * (features + 1) or singular.any():
        return found
    for _ in range(iterations):
        for row in range(features):
            towards = torch.nn.functional.pad(torch.linalg.inv(found[:, :-1])[:, row], (0, 1))
            found[row] = _best_row(inverse[row], statistics.cross[row], towards, statistics.count)
    return found


def _best_row(inverse: Tensor, cross: Tensor, towards: Tensor, count: int) -> Tensor:
    """The best ``w_i``, all other rows as they are."""
    square, mixed = towards @ inverse @ towards, towards @ inverse @ cross
    half = -mixed / (2 * square)
    roots = half + torch.tensor([-1.0, 1.0], dtype=half.dtype) * (half.square() + count / square).sqrt()
    value = count * (roots * square + mixed).abs().log() - roots.square() * square / 2
    row: Tensor = (roots[value.argmax()] * towards + cross) @ inverse
    return row
