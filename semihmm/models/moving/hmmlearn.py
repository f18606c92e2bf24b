"""From hmmlearn (0.3), and back."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import StructureError
from semihmm.models import emissions
from semihmm.models.emissions import Emission, FullGaussian, Gaussian, GaussianMixture
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import kind, numbers

if TYPE_CHECKING:
    from semihmm.models.base import Model

_KINDS = ("GaussianHMM", "GMMHMM", "CategoricalHMM", "MultinomialHMM", "PoissonHMM")


def from_hmmlearn(estimator: Any) -> HMM:
    """A model with the parameters of a fitted estimator of hmmlearn.

    Args:
        estimator: a ``GaussianHMM`` of any ``covariance_type``, a ``GMMHMM`` of ``"diag"`` or ``"spherical"`` ones, a
            ``CategoricalHMM``, ``MultinomialHMM`` or ``PoissonHMM``. Its probabilities of 0 become moves that stay
            impossible.
    Raises:
        StructureError: another kind of estimator, or one that was not fitted.

    Their ``X (N, F)`` and list of ``lengths`` is here a padded ``x (B, T, F)`` and a tensor of lengths, or one sequence
    ``(T, F)``; a categorical model takes symbols ``(B, T)``.

    Example:
        >>> from hmmlearn.hmm import GaussianHMM
        >>> theirs = GaussianHMM(2, covariance_type="full", random_state=0).fit([[0.0], [0.1], [9.0], [9.1]] * 5)
        >>> ours = from_hmmlearn(theirs)
        >>> x = torch.tensor([[0.0], [9.0], [9.1]])
        >>> abs(ours.score(x) - theirs.score(x.numpy())) < 1e-6
        True
    """
    found = kind(estimator, _KINDS)
    if found is None or not hasattr(estimator, "transmat_"):
        got = f"a {type(estimator).__name__}" + (" without parameters. Fit it first" if found else "")
        raise StructureError(f"from_hmmlearn: expected a fitted estimator, one of {', '.join(_KINDS)}; got {got}.")
    return building.hmm(numbers(estimator.startprob_), numbers(estimator.transmat_), _emission(estimator, found))


def _emission(estimator: Any, found: str) -> Emission:
    if found == "PoissonHMM":
        return building.poisson(numbers(estimator.lambdas_))
    if found == "CategoricalHMM":
        return building.categorical(numbers(estimator.emissionprob_))
    if found == "MultinomialHMM":
        trials = 1 if estimator.n_trials is None else int(numbers(estimator.n_trials).max())
        return building.multinomial(numbers(estimator.emissionprob_), trials)
    mean, covariance, shape = numbers(estimator.means_), numbers(estimator.covars_), estimator.covariance_type
    if found == "GMMHMM":
        if shape not in ("diag", "spherical"):
            raise StructureError(
                f"from_hmmlearn: a GMMHMM must have covariance_type 'diag' or 'spherical', since GaussianMixture has "
                f"independent features; got {shape!r}."
            )
        variance = covariance if shape == "diag" else covariance.unsqueeze(-1).expand_as(mean)
        return building.mixture(numbers(estimator.weights_), mean, variance)
    if shape in ("full", "tied"):  # `covars_` are matrices of each state whatever the type
        return building.full_gaussian(mean, covariance[:1] if shape == "tied" else covariance)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    return building.gaussian(mean, variance[:, :1] if shape == "spherical" else variance)


def to_hmmlearn(model: "Model[Any]") -> Any:
    """An estimator of hmmlearn with the parameters of a model.

    Args:
        model: an `HMM` with a `Gaussian`, `FullGaussian`, `GaussianMixture` (without a codebook), `Categorical`,
            `Multinomial` or `Poisson` emission. Transitions become a dense matrix.
    Returns:
        The estimator, which can score, decode and sample at once; its ``fit`` goes on from these parameters.
    Raises:
        StructureError: a model that hmmlearn has no counterpart of.
        DependencyError: hmmlearn is not installed.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> theirs = to_hmmlearn(HMM(3, Gaussian(3, features=2)))
        >>> theirs.predict(torch.zeros(5, 2).numpy()).shape
        (5,)
    """
    if not isinstance(model, HMM):
        raise StructureError(f"to_hmmlearn: hmmlearn has no counterpart of a {type(model).__name__}, only of an HMM.")
    name, options, values = _described(model.emission)
    hmm = require("hmmlearn.hmm", extra="moving", purpose="to_hmmlearn")
    with torch.no_grad():
        estimator = getattr(hmm, name)(model.states, init_params="", **options)
        estimator.n_features = next(iter(values.values())).shape[-1]
        transition, real = model.transition().exp(), model.transition.allowed
        dense = transition.new_zeros(model.states, model.states)
        dense[model.transition.group[real], model.target[real]] = transition[real]
        for attribute, value in {"startprob_": model.initial().exp(), "transmat_": dense, **values}.items():
            setattr(estimator, attribute, value.detach().double().cpu().numpy())
    return estimator


def _described(emission: Emission) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The estimator's class, the arguments that make one, and its attributes."""
    match emission:
        case Gaussian():
            variance = emission.log_variance.exp()
            variance = variance.squeeze(-1) if emission.covariance == "spherical" else variance
            values = {"means_": emission.mean, "covars_": variance}
            return "GaussianHMM", {"covariance_type": emission.covariance}, values
        case FullGaussian():
            covariance = emission.covariance()
            covariance = covariance[0] if emission.tied else covariance
            shape = "tied" if emission.tied else "full"
            return "GaussianHMM", {"covariance_type": shape}, {"means_": emission.mean, "covars_": covariance}
        case GaussianMixture() if emission.turns == 1:
            weights, mean, variance = emission.weights().exp(), emission.mean, emission.log_variance.exp()
            order = emission.codebook
            values = {"means_": mean[order], "covars_": variance[order], "weights_": weights}
            return "GMMHMM", {"n_mix": mean.shape[1], "covariance_type": "diag"}, values
        case emissions.Categorical():
            return "CategoricalHMM", {}, {"emissionprob_": emission.table().exp()}
        case emissions.Multinomial():
            return "MultinomialHMM", {"n_trials": emission.trials}, {"emissionprob_": emission.table().exp()}
        case emissions.Poisson():
            return "PoissonHMM", {}, {"lambdas_": emission.log_rate.exp()}
    raise StructureError(
        "to_hmmlearn: hmmlearn has Gaussian, FullGaussian, GaussianMixture (each state with Gaussians of its own), "
        f"Categorical, Multinomial and Poisson emissions, got {type(emission).__name__}."
    )
