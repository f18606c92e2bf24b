"""Parts with given parameters, in float64. Their floors lie so low that `project` leaves those as they are."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from semihmm.models import emissions
from semihmm.models.emissions import Emission, FullGaussian, Gaussian, GaussianMixture
from semihmm.models.hmm import HMM
from semihmm.models.part import Part

P = TypeVar("P", bound=Part)


def numbers(x: Any) -> Tensor:
    """A float64 tensor of its own, from lists or any array (NumPy's, JAX's, PyTorch's)."""
    x = x.detach().cpu() if isinstance(x, Tensor) else x.__array__() if hasattr(x, "__array__") else x
    return torch.as_tensor(x, dtype=torch.float64).clone()


def kind(made: object, known: tuple[str, ...]) -> str | None:
    """Which of the known classes of another library made it, subclasses included."""
    names = {made.__name__ for made in type(made).__mro__}
    return next((name for name in known if name in names), None)


def filled(part: P, **values: Tensor) -> P:
    """The part in float64 with these parameters and buffers, by their names: ``table.logits`` is ``table__logits``."""
    part = part.double()
    held = part.state_dict()  # shares their memory
    for name, value in values.items():
        held[name.replace("__", ".")].copy_(value)
    return part


def hmm(initial: Tensor, transition: Tensor, emission: Emission) -> HMM:
    """From probabilities; those that are 0 stay so, whatever the training does."""
    start = initial.nonzero().flatten().tolist()
    model = HMM(len(initial), emission, allowed=transition > 0, start=start)
    return filled(model, initial__logits=initial.log(), transition__logits=transition.log())


def gaussian(mean: Tensor, variance: Tensor) -> Gaussian:
    """Variances ``(S, F)``, or ``(S, 1)`` where the features of a state share theirs."""
    states, features = mean.shape
    shared = variance.shape[-1] < features
    part = Gaussian(states, features, covariance="spherical" if shared else "diag")
    return filled(part, mean=mean, log_variance=variance.log(), floor=part.variance_floor * variance.amin(0))


def full_gaussian(mean: Tensor, covariance: Tensor) -> FullGaussian:
    """Covariances ``(S, F, F)``, or ``(1, F, F)`` where all states share one."""
    states, features = mean.shape
    part = FullGaussian(states, features, tied=len(covariance) < states)
    root = torch.linalg.cholesky(covariance)
    factor = root.tril(-1) + root.diagonal(dim1=-2, dim2=-1).log().diag_embed()
    return filled(part, mean=mean, factor=factor, floor=part.variance_floor * torch.linalg.eigvalsh(covariance).min())


def mixture(weights: Tensor, mean: Tensor, variance: Tensor) -> GaussianMixture:
    """Weights ``(S, C)``; means and variances ``(S, C, F)``."""
    states, components, features = mean.shape
    part = GaussianMixture(states, features, components)
    floor = part.variance_floor * variance.amin((0, 1))
    return filled(part, weights__logits=weights.log(), mean=mean, log_variance=variance.log(), floor=floor)


def categorical(probability: Tensor) -> Emission:
    """``(S, V)``, or ``(S, F, V)`` of F symbols a step: of one, observations have no axis of features."""
    if probability.ndim == 2:
        return filled(emissions.Categorical(*probability.shape), table__logits=probability.log())
    columns = [categorical(column) for column in probability.unbind(1)]
    return columns[0] if len(columns) == 1 else emissions.Product(columns)


def multinomial(probability: Tensor, trials: int = 1) -> emissions.Multinomial:
    """``(S, V)``."""
    states, symbols = probability.shape
    return filled(emissions.Multinomial(states, symbols, trials), table__logits=probability.log())


def bernoulli(probability: Tensor) -> emissions.Bernoulli:
    """``(S, F)``, of a 1."""
    logits = torch.stack([(-probability).log1p(), probability.log()], -1)
    return filled(emissions.Bernoulli(*probability.shape), table__logits=logits)


def poisson(rate: Tensor) -> emissions.Poisson:
    """``(S, F)``."""
    part = emissions.Poisson(*rate.shape)
    return filled(part, log_rate=rate.log(), floor=part.rate_floor * rate.amin(0))


def exponential(mean: Tensor) -> emissions.Exponential:
    """``(S, F)``."""
    part = emissions.Exponential(*mean.shape)
    return filled(part, log_mean=mean.log(), floor=part.mean_floor * mean.amin(0))


def gamma(shape: Tensor, rate: Tensor) -> emissions.Gamma:
    """``(S, F)``."""
    states, features = shape.shape
    part = emissions.Gamma(states, features, max_shape=max(1e4, float(shape.max())))
    return filled(part, log_shape=shape.log(), log_mean=(shape / rate).log())


def student(location: Tensor, scale: Tensor, freedom: Tensor) -> emissions.StudentT:
    """``(S, F)``."""
    part = emissions.StudentT(*location.shape)
    floor = part.scale_floor * scale.amin(0)
    return filled(part, location=location, log_scale=scale.log(), log_freedom=freedom.log(), floor=floor)
