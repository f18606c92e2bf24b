"""Parts with given parameters, in float64. Their floors lie so low that `project` leaves those as they are."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from semihmm.models import emissions
from semihmm.models.emissions import Emission, Gaussian, GaussianMixture
from semihmm.models.emissions.covariance import Kind
from semihmm.models.emissions.gaussian import Gaussians
from semihmm.models.hmm import HMM
from semihmm.models.markov import named
from semihmm.models.part import Part

P = TypeVar("P", bound=Part)


def numbers(x: Any) -> Tensor:
    """A float64 tensor of its own, from lists or any array (NumPy's, JAX's, PyTorch's)."""
    x = x.detach().cpu() if isinstance(x, Tensor) else x.__array__() if hasattr(x, "__array__") else x
    return torch.as_tensor(x, dtype=torch.float64).clone()


def family(thing: object, known: tuple[str, ...]) -> str | None:
    """Which of the known classes of another library it is of, by name; subclasses are."""
    names = {one.__name__ for one in type(thing).__mro__}
    return next((name for name in known if name in names), None)


def filled(part: P, **values: Tensor) -> P:
    """The part in float64 with these parameters and buffers, by their names: ``table.logits`` is ``table__logits``."""
    part = part.double()
    held = part.state_dict()  # shares their memory
    for name, value in values.items():
        held[name.replace("__", ".")].copy_(value)
    return part


def hmm(
    initial: Tensor,
    transition: Tensor,
    emission: Emission,
    *,
    arcs: Tensor | None = None,
    final: Tensor | None = None,
) -> HMM:
    """From probabilities; those that are 0 stay so, whatever the training does.

    Args:
        transition: ``(S, S)``, or ``(A,)`` with ``arcs (2, A)``.
        final: of each state, to be the last one; moves have their probabilities where it is not.
    """
    model = HMM(
        len(initial),
        emission,
        allowed=transition > 0 if arcs is None else None,
        arcs=arcs if arcs is None else arcs.tolist(),
        start=named(initial > 0),
        final=final if final is None else named(final > 0),
    )
    values = {"initial": initial.log(), "transition": transition.log()}
    if final is not None:
        values["final"] = torch.stack([final.log(), (-final).log1p()], -1)
    return filled(model, **{f"{law}__logits": value for law, value in values.items()})


def gaussian(mean: Tensor, spread: Tensor, kind: Kind) -> Gaussian:
    """Variances ``(S, F)``, of spherical ones ``(S, 1)``; matrices ``(S, F, F)``, of tied ones ``(1, F, F)``."""
    states, features = mean.shape
    return _gaussians(Gaussian(states, features, covariance=kind), mean, spread)


def mixture(weights: Tensor, mean: Tensor, spread: Tensor, kind: Kind) -> GaussianMixture:
    """The same with two axes in front, ``(S, C)``, which are those of the weights; of tied matrices, ``(S, 1)``."""
    states, components, features = mean.shape
    part = GaussianMixture(states, features, components, covariance=kind)
    return _gaussians(part, mean, spread, weights__logits=weights.log())


G = TypeVar("G", bound=Gaussians)


def _gaussians(part: G, mean: Tensor, spread: Tensor, **values: Tensor) -> G:
    if part.kind in ("full", "tied"):
        root, least = torch.linalg.cholesky(spread), torch.linalg.eigvalsh(spread).min()
        values["factor"] = root.tril(-1) + root.diagonal(dim1=-2, dim2=-1).log().diag_embed()
    else:
        values["log_variance"], least = spread.log(), spread.flatten(0, -2).amin(0)
    centre = mean.flatten(0, -2).mean(0)
    return filled(part, mean=mean, centre=centre, floor=part.variance_floor * least, **values)


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
    values = {"log_scale": scale.log(), "log_freedom": freedom.log(), "floor": part.scale_floor * scale.amin(0)}
    return filled(part, location=location, centre=location.mean(0), **values)
