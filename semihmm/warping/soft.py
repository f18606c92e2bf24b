"""Soft-DTW: all warpings at once, each as likely as it is cheap; a loss for series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from semihmm.errors import StructureError
from semihmm.inference import total
from semihmm.semirings import SmoothMax
from semihmm.structures import StepPattern
from semihmm.warping.alignment import check_reached, structure_of
from semihmm.warping.series import Metric, check_metric, finite_number

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.inference.options import Options


def soft_dtw(
    x: Any,
    y: Any = None,
    gamma: float = 1.0,
    *,
    metric: Metric = "squared",
    step_pattern: StepPattern | str = "symmetric1",
    window: int | str | Tensor | None = None,
    open_begin: bool = False,
    open_end: bool = False,
    **options: Unpack[Options],
) -> Tensor:
    """Soft-DTW (Cuturi & Blondel 2017): a soft minimum of what all paths cost, ``(...)``.

    The minimum is ``-gamma log(sum(exp(-cost / gamma)))``: below the cost of the best path, and the lower the more
    paths are nearly as good. Differentiable any number of times, with any step pattern: the gradient is an
    expectation over paths.

    Args:
        gamma: temperature, in the units of the cost; towards 0, the cost of the best path.
        x, y, metric, step_pattern, window, open_begin, open_end, options: as of `dtw`.
    Raises:
        StructureError: ``gamma`` is not above 0; no path stays inside the window.

    Example:
        >>> x = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
        >>> value = soft_dtw(x, torch.tensor([0.0, 2.0]), gamma=0.1)
        >>> round(value.item(), 2)
        0.93
        >>> value.backward()
    """
    check_gamma("soft_dtw", gamma, "dtw")
    structure, _ = structure_of("soft_dtw", x, y, metric, step_pattern, window, open_begin, open_end)
    value = -total(structure, SmoothMax(gamma), **options)
    check_reached("soft_dtw", value.detach().isfinite(), structure)
    return value


def check_gamma(owner: str, gamma: Any, limit: str) -> None:
    """Refuse what is no temperature."""
    number = finite_number(gamma)
    if number is None or number <= 0:
        raise StructureError(
            f"{owner}: gamma must be a finite number above 0, got {gamma!r}. The best path alone? Ask {limit}."
        )


def soft_dtw_divergence(x: Any, y: Any, gamma: float = 1.0, **given: Any) -> Tensor:
    """Soft-DTW, less the mean of that of each series with itself (Blondel et al. 2021): ``(...)``.

    0 where both are equal; there its gradient is 0, too, if metric and step pattern are the same both ways. Elsewhere
    it is above 0 as a rule; with squared costs and a small ``gamma``, series that differ little may have less than 0.

    Args:
        given: as of `soft_dtw`.

    Example:
        >>> float(soft_dtw_divergence([0.0, 1.0], [0.0, 1.0]))
        0.0
    """
    between = soft_dtw(x, y, gamma, **given)
    return between - (soft_dtw(x, x, gamma, **given) + soft_dtw(y, y, gamma, **given)) / 2


class SoftDTWLoss(nn.Module):
    """Soft-DTW, or its divergence, as a loss.

    Args:
        gamma, metric, step_pattern, window: as of `soft_dtw`.
        divergence: take `soft_dtw_divergence`, which is 0, with a gradient of 0, where both series are equal.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> loss = SoftDTWLoss(gamma=0.1, divergence=True)
        >>> prediction = torch.zeros(2, 5, 1, requires_grad=True)
        >>> loss(prediction, torch.ones(2, 7, 1)).backward()
        >>> prediction.grad.shape
        torch.Size([2, 5, 1])
    """

    def __init__(
        self,
        gamma: float = 1.0,
        *,
        metric: Metric = "squared",
        step_pattern: StepPattern | str = "symmetric1",
        window: int | str | Tensor | None = None,
        divergence: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if not isinstance(divergence, bool | np.bool_):
            raise StructureError(f"SoftDTWLoss: divergence must be True or False, got {divergence!r}.")
        if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
            raise StructureError(f"SoftDTWLoss: reduction must be mean, sum or none, got {reduction!r}.")
        check_gamma("SoftDTWLoss", gamma, "dtw")
        check_metric("SoftDTWLoss", metric)
        self.gamma, self.divergence, self.reduction = gamma, divergence, reduction
        self.metric, self.step_pattern, self.window = metric, step_pattern, window

    def forward(self, x: Any, y: Any) -> Tensor:
        """Of one pair, of batches ``(B, N, F)`` and ``(B, M, F)``, or of two lists of series."""
        function = soft_dtw_divergence if self.divergence else soft_dtw
        given: dict[str, Any] = {"metric": self.metric, "step_pattern": self.step_pattern, "window": self.window}
        value = function(x, y, self.gamma, **given)
        return value.mean() if self.reduction == "mean" else value.sum() if self.reduction == "sum" else value

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}, metric={self.metric!r}, step_pattern={self.step_pattern!r}, window={self.window!r}"
