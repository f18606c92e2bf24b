"""Finite log-weights whose sums are not: an error, not a NaN."""

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Grid
from semihmm.engine.tensors import finite, usable
from semihmm.engine.tracing import plain
from semihmm.errors import DataError


def check_overflow(chain: Chain, value: Tensor) -> None:
    """Refuse a total that is not finite because sums along a path leave the range of the log-weights' dtype.

    A total of ``-inf``, of no path, is none of those, and neither is what NaN or infinite log-weights lead to. While a
    program is traced, or inside torch.func, nothing is looked at.

    Raises:
        DataError: log-weights so large that one for each step does not fit.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.full((1, 2, 2), 3e38)), length=3)
        >>> check_overflow(chain, torch.tensor(torch.nan))
        Traceback (most recent call last):
            ...
        semihmm.errors.DataError: log-weights of up to 3e+38 are finite, but not their sum over 3 steps in ...
    """
    if not value.is_floating_point() or not plain((value,)) or finite(value):
        return
    kind = chain.start[0].dtype
    limit = torch.finfo(kind).max / (4 * (chain.length + 4))  # a step may count twice, or hold several factors
    costs = isinstance(chain.steps, Grid) and bool((chain.steps.factor < 0).any())
    either = not usable([value])  # NaN or inf; what stands in for -inf may well add up to it
    for x in chain.leaves:
        if not x.is_floating_point() or not x.numel():
            continue
        signed = x.detach().abs() if either else -x.detach() if costs else x.detach()
        peak = float(signed.nan_to_num(0.0, 0.0, 0.0).amax())
        if peak > limit:
            wider = " Pass float64." if kind != torch.float64 else ""
            raise DataError(
                f"log-weights of up to {peak:.3g} are finite, but not their sum over {chain.length} steps in {kind}. "
                f"Divide them by a constant, or forbid with infinities what they stand for.{wider}",
                see="overflow",
            )
