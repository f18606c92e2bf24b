"""Linear discriminants of spliced frames, and the rotation after them in which diagonal covariances fit best.

Both are matrices that features are multiplied by, learnt from frames whose states are known from an alignment: first
`lda` of `spliced` frames, which keeps the few directions that tell states apart, then `mllt` of what it returns.

References:
    Haeb-Umbach and Ney (1992), "Linear discriminant analysis for improved large vocabulary continuous speech
    recognition", ICASSP.
    Gales (1999), "Semi-tied covariance matrices for hidden Markov models", IEEE TSAP 7(3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError

_FLOOR = 1e-6  # share of the mean covariance that each state's is given besides


@dataclass(frozen=True)
class Moments:
    """How the frames of each of S states lie, in float64.

    Args:
        count: ``(S,)`` how many there are.
        mean: ``(S, F)``; 0 where there are none.
        covariance: ``(S, F, F)`` about it.

    Example:
        >>> moments = Moments.of(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 2]))
        >>> moments.count.tolist(), moments.mean.tolist(), moments.covariance.flatten().tolist()
        ([2.0, 0.0, 1.0], [[2.0], [0.0], [7.0]], [1.0, 0.0, 0.0])
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor, states: Tensor) -> "Moments":
        """Those of frames ``(T, F)``, each of the state that ``states (T,)`` says.

        Raises:
            ShapeError: there is not one state for each frame.
            DataError: there are no frames.
        """
        if features.ndim != 2 or states.shape != features.shape[:1]:
            raise ShapeError(
                f"Moments: features must be (T, F) and states (T,), got {tuple(features.shape)} and "
                f"{tuple(states.shape)}. Pass one state for each frame."
            )
        if not len(features):
            raise DataError("Moments: there are no frames. Pass those of at least one recording.")
        x, size = features.double(), features.shape[1]
        count = torch.bincount(states).double()
        mean, covariance = x.new_zeros(len(count), size), x.new_zeros(len(count), size, size)
        for state in states.unique().tolist():
            own = x[states == state]
            mean[state] = own.mean(0)
            centred = own - mean[state]
            covariance[state] = centred.t() @ centred / len(own)
        return cls(count, mean, covariance)

    @property
    def within(self) -> Tensor:
        """The mean of the covariances, ``(F, F)``: what varies inside states."""
        return torch.einsum("s,sfg->fg", self.count / self.count.sum(), self.covariance)

    @property
    def between(self) -> Tensor:
        """The covariance of the means, ``(F, F)``: what varies from state to state."""
        share = self.count / self.count.sum()
        centred = self.mean - share @ self.mean
        return torch.einsum("s,sf,sg->fg", share, centred, centred)


def lda(features: Tensor, states: Tensor, dimensions: int) -> Tensor:
    """The directions in which states lie far apart for how far each spreads.

    With W the covariance inside states and B that of their means, the rows a maximise ``a B a' / a W a'`` one after
    the other; ``A W A'`` is the identity.

    Args:
        features: ``(T, F)`` frames, spliced as a rule.
        states: ``(T,)`` the state of each.
        dimensions: how many directions to keep, D.

    Returns:
        ``(D, F)`` float64, the best direction first; ``features @ A.t()`` are the new features.

    Raises:
        ShapeError: more directions than there are features, or not one state for each frame.
        DataError: so few frames, or such features, that some direction does not vary inside states.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0], [6.0, 1.0], [8.0, 1.0], [7.0, 0.0]])
        >>> lda(x, torch.tensor([0, 0, 0, 0, 1, 1, 1]), 1).shape
        torch.Size([1, 2])
    """
    if not 1 <= dimensions <= features.shape[-1]:
        raise ShapeError(
            f"lda: of frames of {features.shape[-1]} features, 1 to {features.shape[-1]} directions can be kept, not "
            f"{dimensions}. Splice more frames, or ask for fewer directions."
        )
    moments = Moments.of(features, states)
    root, failed = torch.linalg.cholesky_ex(moments.within)
    if failed:
        raise DataError(
            f"lda: some direction of {features.shape[1]} features does not vary inside states, in {len(features)} "
            f"frames. Give more frames than features, and leave out features that are constant or sums of others."
        )
    half = torch.linalg.solve_triangular(root, moments.between, upper=False)
    ratio = torch.linalg.solve_triangular(root, half.t(), upper=False)
    directions = torch.linalg.eigh((ratio + ratio.t()) / 2).eigenvectors.flip(1)[:, :dimensions]
    found = torch.linalg.solve_triangular(root.t(), directions, upper=True).t()
    return _signed(found)


def mllt(covariance: Tensor, count: Tensor, *, iterations: int = 20) -> Tensor:
    """The matrix after which diagonal covariances lose the least: maximum-likelihood linear transform.

    It maximises the likelihood `mllt_gain`. With variances ``v_s = diag(A C_s A')`` and ``G_i = sum_s n_s C_s / v_si``,
    each row in turn becomes ``c G_i^-1 sqrt(n / (c G_i^-1 c'))``, c being the i-th column of ``A^-1`` (Gales 1999,
    eq. 22): the likelihood never falls.

    Args:
        covariance: ``(S, D, D)`` full covariances of states, or of Gaussians: `Moments` has them.
        count: ``(S,)`` how many frames each is of; those without any, or of none too many, do no harm.
        iterations: how often all rows are improved.

    Returns:
        ``(D, D)`` float64 of determinant 1 or -1: it neither blows features up nor shrinks them.

    Raises:
        ShapeError: there is not one square covariance for each count.
        DataError: some direction does not vary at all.

    Example:
        >>> covariance = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]])
        >>> found = mllt(covariance, torch.tensor([10.0])).float()
        >>> bool((found @ covariance @ found.t())[0, 0, 1].abs() < 1e-5)
        True
    """
    if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2] or count.shape != covariance.shape[:1]:
        raise ShapeError(
            f"mllt: covariance must be (S, D, D) and count (S,), got {tuple(covariance.shape)} and "
            f"{tuple(count.shape)}. Moments.of(features, states) has both."
        )
    covariance, count = covariance.double(), count.double()
    within = torch.einsum("s,sfg->fg", count / count.sum(), covariance)
    if torch.linalg.cholesky_ex(within).info:
        raise DataError("mllt: some direction varies in no state. Give more frames, or fewer features.")
    covariance = covariance + _FLOOR * within  # a state of few frames varies in few directions
    found = torch.eye(covariance.shape[-1], dtype=torch.float64)
    for _ in range(iterations):
        for row in range(len(found)):
            variance = torch.einsum("f,sfg,g->s", found[row], covariance, found[row])
            weighed = torch.einsum("s,sfg->fg", count / variance, covariance)
            towards = torch.linalg.solve(weighed, torch.linalg.inv(found)[:, row])
            found[row] = towards * (count.sum() / (towards @ weighed @ towards)).sqrt()
    found = found / found.det().abs() ** (1 / len(found))
    return _signed(found)


def mllt_gain(transform: Tensor, covariance: Tensor, count: Tensor) -> Tensor:
    """The log-likelihood, less a constant, of frames under diagonal covariances after a transform.

    ``sum_s n_s (log|A| - sum_i log(a_i C_s a_i') / 2)``: what `mllt` maximises.
    """
    variance = torch.einsum("df,sfg,dg->sd", transform, covariance.to(transform), transform)
    return (count.to(transform) * (transform.det().abs().log() - variance.log().sum(1) / 2)).sum()


def _signed(rows: Tensor) -> Tensor:
    """Rows whose largest numbers are positive: a direction has no sign of its own."""
    found: Tensor = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    return found
