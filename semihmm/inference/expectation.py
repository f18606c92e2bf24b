"""Expectations and variances of additive features; entropy and what else is an expectation with a lift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from semihmm import engine
from semihmm.errors import SemihmmError
from semihmm.inference.options import Options, check_structures
from semihmm.inference.total import feature_of, like, log_partition, prepare, total
from semihmm.semirings import Expectation, SecondOrderExpectation, SmoothMax
from semihmm.structures import Structure

if TYPE_CHECKING:
    from typing_extensions import Unpack

S = TypeVar("S", bound=Structure)


def expectation(structure: Structure, features: Structure, **options: Unpack[Options]) -> Tensor:
    """The posterior mean of an additive feature, ``(...)``; 0 where there is no path.

    Args:
        features: a structure of the same form that holds the feature's value where the other holds log-weights, as
            ``structure.feature`` makes it; it is summed along the path. The structure itself gives the mean score.
    Raises:
        StructureError: it holds some of the structure's own log-weights, which would be added up as well.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> in_state_1 = hmm.feature(emission=torch.tensor([0., 1.]).expand(3, 2))
        >>> float(expectation(hmm, in_state_1))
        1.5
    """
    check_structures(structure)
    if not structure.linear:
        return _slope(structure, features, lambda s: log_partition(s, **options))
    return total(structure, Expectation(1), [features], **options)[1]


def covariance(structure: Structure, first: Structure, second: Structure, **options: Unpack[Options]) -> Tensor:
    """The posterior covariance of two additive features, ``(...)`` (Li & Eisner 2009).

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> first = hmm.feature(emission=torch.tensor([[1., 0.], [0., 0.], [0., 0.]]))  # starts in state 0
        >>> stay = hmm.feature(emission=torch.tensor([[1., 0.], [1., 0.], [0., 0.]]))  # how often in state 0 by step 2
        >>> float(covariance(hmm, first, stay))
        0.25
    """
    check_structures(structure)
    if not structure.linear:
        feature_of(structure, second)
        return _slope(structure, first, lambda s: expectation(s, second, **options))
    return total(structure, SecondOrderExpectation(), [first, second], **options)[3]


def variance(structure: Structure, features: Structure, **options: Unpack[Options]) -> Tensor:
    """The posterior variance of an additive feature, ``(...)``; never negative.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> in_state_1 = hmm.feature(emission=torch.tensor([0., 1.]).expand(3, 2))
        >>> float(variance(hmm, in_state_1))
        0.75
    """
    return not_negative(structure, covariance(structure, features, features, **options))


def entropy(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """The entropy of the posterior over paths, in nats ``(...)``; NaN where there is no path.

    The log-partition less the mean score, computed in float64, as both may be large; never negative.

    Example:
        >>> import torch, semihmm
        >>> round(float(entropy(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))).exp()), 6)
        8.0
    """
    check_structures(structure)
    wide = structure.to(torch.float64)
    chain, plan = prepare(wide, Expectation(1), options)
    # The chain's log-weights as features, not the potentials': one that is made of several is not additive in them.
    weights = chain.unrolled()
    feature = weights.rebuild(_finite(x) if x.is_floating_point() else x for x in weights.leaves)
    mass, mean = engine.total(plan, Expectation(1), chain, [feature])
    return not_negative(structure, torch.where(mass == -torch.inf, torch.nan, mass - mean))


def cross_entropy(p: Structure, q: Structure, **options: Unpack[Options]) -> Tensor:
    """The mean of ``-log_prob`` under ``q`` of paths drawn from ``p``, in nats; inf where ``q`` forbids one.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> only = semihmm.condition(hmm, torch.tensor([True, False]))
        >>> float(cross_entropy(only, hmm).exp().round(decimals=4)), float(cross_entropy(hmm, only))
        (8.0, inf)
    """
    return _surprise(p, q, False, options)


def kl_divergence(p: Structure, q: Structure, **options: Unpack[Options]) -> Tensor:
    """The Kullback-Leibler divergence of ``q`` from ``p``, in nats ``(...)``; inf where ``q`` forbids a path of ``p``.

    NaN where ``p`` has no path. Never negative, and 0 of a structure from itself: what is added up along a path is the
    difference of log-weights, of which nothing cancels.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.randn(2), torch.randn(2, 2), torch.randn(3, 2))
        >>> float(kl_divergence(hmm, hmm))
        0.0
    """
    return _surprise(p, q, True, options)


def _surprise(p: Structure, q: Structure, less_own: bool, options: Options) -> Tensor:
    """The mean of ``-log_prob`` under ``q`` of paths drawn from ``p``; less that under ``p`` itself."""
    check_structures(p, q)
    wide_p, wide_q = p.to(torch.float64), like(p, q).to(torch.float64)
    semiring, mass_q = Expectation(2), log_partition(wide_q, **options)
    chain, plan = prepare(wide_p, semiring, options)
    ours, theirs = chain.unrolled(), wide_q.chain().unrolled()
    kept, gone = [], []
    for x, y in zip(ours.leaves, theirs.leaves, strict=True):
        real = y.is_floating_point()
        kept.append(_finite(y) - _finite(x) if real and less_own else _finite(y) if real else y)
        gone.append(y.isinf().to(y.dtype) if real else y)
    mass, mean, escapes = engine.total(plan, semiring, chain, [theirs.rebuild(kept), theirs.rebuild(gone)])
    # By the same kernel, so that it is 0 of a structure from itself.
    log_ratio = mass_q - log_partition(wide_p, **options) if less_own else mass_q
    value = torch.where(escapes > 0, torch.inf, log_ratio - mean)
    return not_negative(p, torch.where(mass == -torch.inf, torch.nan, value))


def _finite(weight: Tensor) -> Tensor:
    """Log-weights with 0 for those that are not finite."""
    return weight.nan_to_num(math.nan, 0.0, 0.0)


def not_negative(structure: Structure, value: Tensor) -> Tensor:
    """An answer that rounding may have brought below 0, in the structure's dtype, with its gradient (`clamp` has none).

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> not_negative(hmm, torch.tensor([-1e-9, 2.0])).tolist()
        [0.0, 2.0]
    """
    value = torch.where(value < 0, value - value.detach(), value)
    return value.to(structure.potentials[structure.observed].dtype)


def renyi_entropy(structure: Structure, order: float, **options: Unpack[Options]) -> Tensor:
    """The Renyi entropy of an order other than 1, in nats ``(...)``: two totals, one of them at another temperature.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> round(float(renyi_entropy(hmm, 2.0).exp()), 4)
        8.0
    """
    check_structures(structure)
    try:
        order = float(order)
    except (TypeError, ValueError, RuntimeError):
        order = math.nan
    if not 0 < order < math.inf or order == 1:
        raise SemihmmError(
            f"renyi_entropy: order must be a positive number and not 1 (the limit: ask entropy), got {order}."
        )
    wide = structure.to(torch.float64)
    # log sum_path exp(order * score) is order times the total at the temperature 1 / order.
    more = total(wide, SmoothMax(1 / order), **options) - log_partition(wide, **options)
    return not_negative(structure, order * more / (1 - order))


def _slope(structure: S, feature: S, value: Callable[[S], Tensor]) -> Tensor:
    """How fast a value moves as the feature is added to the log-weights.

    Where a weight sums up ways that the path does not tell apart (a censored duration), the log-partition still
    generates the cumulants of a feature of those ways: its slope is the mean, and the slope of that the covariance.
    """
    along = feature_of(structure, feature).potentials

    def moved(step: Tensor) -> Tensor:
        return value(structure.replace(**{n: x + step * along[n] for n, x in structure.potentials.items()}))

    zero = structure.potentials[structure.observed].new_zeros(())
    slope: Tensor = torch.func.jvp(moved, (zero,), (torch.ones_like(zero),))[1]
    return slope


def risk(structure: Structure, loss: Structure, **options: Unpack[Options]) -> Tensor:
    """The posterior mean of an additive loss, ``(...)``: minimum-risk training descends it (Smith & Eisner 2006).

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> wrong = hmm.feature(emission=torch.tensor([0., 1.]).expand(3, 2))  # a point lost for each step in state 1
        >>> float(risk(hmm, wrong))
        1.5
    """
    return expectation(structure, loss, **options)
