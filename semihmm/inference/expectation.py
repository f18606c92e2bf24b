"""Expectations and variances of additive features; entropy and what else is an expectation with a lift."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from semihmm import engine
from semihmm.errors import SemihmmError
from semihmm.inference.options import Options
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
    if not structure.linear:
        feature_of(structure, second)
        return _slope(structure, first, lambda s: expectation(s, second, **options))
    return total(structure, SecondOrderExpectation(), [first, second], **options)[3]


def variance(structure: Structure, features: Structure, **options: Unpack[Options]) -> Tensor:
    """The posterior variance of an additive feature, ``(...)``.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> in_state_1 = hmm.feature(emission=torch.tensor([0., 1.]).expand(3, 2))
        >>> float(variance(hmm, in_state_1))
        0.75
    """
    return covariance(structure, features, features, **options)


def entropy(structure: Structure, **options: Unpack[Options]) -> Tensor:
    """The entropy of the posterior over paths, in nats ``(...)``; NaN where there is no path.

    The log-partition less the mean score, computed in float64: both may be large.

    Example:
        >>> import torch, semihmm
        >>> round(float(entropy(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))).exp()), 6)
        8.0
    """
    return cross_entropy(structure, structure, **options)


def cross_entropy(p: Structure, q: Structure, **options: Unpack[Options]) -> Tensor:
    """The mean of ``-log_prob`` under ``q`` of paths drawn from ``p``, in nats; inf where ``q`` forbids one.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> only = semihmm.condition(hmm, torch.tensor([True, False]))
        >>> float(cross_entropy(only, hmm).exp().round(decimals=4)), float(cross_entropy(hmm, only))
        (8.0, inf)
    """
    same = p is q  # an entropy: no path of p is forbidden, and one scan tells it all
    wide_p = p.to(torch.float64)
    wide_q = wide_p if same else q.to(torch.float64)
    wide_q = like(wide_p, wide_q)
    semiring = Expectation(1 if same else 2)
    chain, plan = prepare(wide_p, semiring, options)
    # The chain's log-weights as features, not the potentials': one that is made of several is not additive in them.
    weights = (chain if same else wide_q.chain()).unrolled()
    features = [weights.rebuild(_finite(x) if x.is_floating_point() else x for x in weights.leaves)]
    if not same:
        features.append(weights.rebuild(x.isinf().to(x.dtype) if x.is_floating_point() else x for x in weights.leaves))
    mass, mean, *escapes = engine.total(plan, semiring, chain, features)
    value = mass - mean if same else torch.where(escapes[0] > 0, torch.inf, log_partition(wide_q, **options) - mean)
    value = torch.where(mass == -torch.inf, torch.nan, value)
    return value.to(p.potentials[p.observed].dtype)


def _finite(weight: Tensor) -> Tensor:
    """Log-weights with 0 for those that are not finite."""
    return weight.nan_to_num(math.nan, 0.0, 0.0)


def kl_divergence(p: Structure, q: Structure, **options: Unpack[Options]) -> Tensor:
    """The Kullback-Leibler divergence of ``q`` from ``p``, in nats ``(...)``; inf where ``q`` forbids a path of ``p``.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> float(kl_divergence(hmm, hmm))
        0.0
    """
    wide = p.to(torch.float64)
    value = cross_entropy(wide, q.to(torch.float64), **options) - entropy(wide, **options)
    return value.to(p.potentials[p.observed].dtype)


def renyi_entropy(structure: Structure, order: float, **options: Unpack[Options]) -> Tensor:
    """The Renyi entropy of an order other than 1, in nats ``(...)``: two totals, one of them at another temperature.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> round(float(renyi_entropy(hmm, 2.0).exp()), 4)
        8.0
    """
    if order <= 0 or order == 1:
        raise SemihmmError(
            f"renyi_entropy: order must be positive and not 1 (1 is the limit: ask entropy), got {order}."
        )
    wide = structure.to(torch.float64)
    # log sum_path exp(order * score) is order times the total at the temperature 1 / order.
    value = order * (total(wide, SmoothMax(1 / order), **options) - log_partition(wide, **options)) / (1 - order)
    return value.to(structure.potentials[structure.observed].dtype)


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
