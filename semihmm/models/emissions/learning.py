"""What starts and EM steps of emissions share: places far apart, means of what is there, setting parameters."""

import torch
from torch import Tensor, nn

LEAST_SHARE = 1e-12  # of all weight: a state that has seen less stays as it is
_OWN = 0.7  # of a first posterior, the share that an observation gives to the state nearest to it
_SEARCHED = 20_000  # observations among which places far apart are looked for


def learn(parameter: nn.Parameter, value: Tensor, weight: Tensor | None = None) -> Tensor:
    """Set a parameter, and say what it is now, in float64.

    It stays as it is where it is frozen (it requires no gradient) and in states that have seen nothing.

    Args:
        weight: what each state has seen, its axis first, in a shape that broadcasts; None for enough.
    """
    kept = parameter.detach().double()
    if not parameter.requires_grad:
        return kept
    if weight is not None:
        value = torch.where(met(weight), value, kept)
    with torch.no_grad():
        parameter.copy_(value)
    return value.expand_as(kept)


def met(weight: Tensor) -> Tensor:
    """Which states ``(S, ...)`` have seen anything, by their share in all weight; sums may be scaled."""
    return weight > LEAST_SHARE * weight.sum(0, keepdim=True)


def confine(parameter: nn.Parameter, low: Tensor | float | None = None, high: Tensor | float | None = None) -> None:
    """Move a parameter back between its bounds, unless it is frozen."""
    ends = [None if end is None else torch.as_tensor(end).to(parameter) for end in (low, high)]
    learn(parameter, parameter.detach().clamp(*ends))


def mean_of(total: Tensor, weight: Tensor) -> Tensor:
    """A mean from a sum and the weight in it; 0 where there is none."""
    return total / torch.where(weight > 0, weight, 1.0)


def mean_there(x: Tensor) -> Tensor:
    """The mean of what is there of each feature, ``(F,)`` in float64; 0 where there is nothing."""
    return x.double().nanmean(0).nan_to_num(0.0)


def mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of what is there of each feature, ``(F,)`` in float64; 0 where there is nothing."""
    x = x.double()
    mean = mean_there(x)
    return mean, (x - mean).square().nanmean(0).nan_to_num(0.0)


def floor_of(x: Tensor, share: float) -> Tensor:
    """The smallest variance of each feature, ``(F,)``: a share of that of all observations ``(N, F)``."""
    variance = mean_and_variance(x)[1]
    return share * torch.where(variance > 0, variance, 1.0)


def share_of_mean(x: Tensor, share: float) -> Tensor:
    """A share of the mean of each feature, ``(F,)``; of 1 where that is 0."""
    mean = mean_and_variance(x)[0]
    return share * torch.where(mean > 0, mean, 1.0)


def spread_out(x: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Observations far from one another, ``(count, F)``, out of ``(N, F)`` (k-means++: Arthur & Vassilvitskii 2007).

    What is missing of one is taken to be the mean of the feature.
    """
    mean, variance = mean_and_variance(x)
    x = x[~x.isnan().all(-1)]
    x = x[torch.randint(len(x), (_SEARCHED,), generator=generator, device=x.device)] if len(x) > _SEARCHED else x
    x = torch.where(x.isnan(), mean, x.double()) if len(x) else mean.unsqueeze(0)
    scaled = x / torch.where(variance > 0, variance, 1.0).sqrt()
    chosen = [int(torch.randint(len(x), (), generator=generator, device=x.device))]
    nearest = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    for _ in range(count - 1):
        nearest = nearest.minimum((scaled - scaled[chosen[-1]]).square().sum(-1))
        chance = nearest if bool(nearest.sum() > 0) else torch.ones_like(nearest)  # more Gaussians than observations
        chosen.append(int(torch.multinomial(chance, 1, generator=generator)))
    return x[torch.tensor(chosen, device=x.device)]


def first_posterior(chart: Tensor, states: int, generator: torch.Generator | None) -> Tensor:
    """Of each state at each place ``(N, F)``, ``(N, S)``: high near one of S places that lie far from one another."""
    mean, variance = mean_and_variance(chart)
    scale = torch.where(variance > 0, variance, 1.0).sqrt()
    away = (torch.where(chart.isnan(), mean, chart.double()) - mean) / scale  # so that distances keep their digits
    nearest = torch.cdist(away, (spread_out(chart, states, generator) - mean) / scale).argmin(-1)
    return _OWN * nn.functional.one_hot(nearest, states).double() + (1 - _OWN) / states
