"""From hmmlearn (0.3), and back."""

from typing import Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import StructureError
from semihmm.models import emissions
from semihmm.models.base import Model
from semihmm.models.emissions import Emission, Gaussian, GaussianMixture
from semihmm.models.emissions.gaussian import Gaussians
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import family, numbers

_KINDS = ("GaussianHMM", "GMMHMM", "CategoricalHMM", "MultinomialHMM", "PoissonHMM")


def from_hmmlearn(estimator: Any) -> HMM:
    """A model with the parameters of a fitted estimator of hmmlearn.

    Args:
        estimator: a ``GaussianHMM``, ``GMMHMM``, ``CategoricalHMM``, ``MultinomialHMM`` or ``PoissonHMM``. What has
            probability 0 stays impossible.
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
    found = family(estimator, _KINDS)
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
    mean, spread, kind = numbers(estimator.means_), numbers(estimator.covars_), estimator.covariance_type
    if found == "GMMHMM":
        spread = {"spherical": spread.unsqueeze(-1), "tied": spread.unsqueeze(1)}.get(kind, spread)
        return building.mixture(numbers(estimator.weights_), mean, spread, kind)
    variances = spread.diagonal(dim1=-2, dim2=-1)  # these `covars_` are matrices of each state, whatever the type
    spread = {"diag": variances, "spherical": variances[:, :1], "tied": spread[:1]}.get(kind, spread)
    return building.gaussian(mean, spread, kind)


def to_hmmlearn(model: Model[Any]) -> Any:
    """An estimator of hmmlearn with the parameters of a model.

    Args:
        model: an `HMM` with a `Gaussian`, `GaussianMixture` (without a codebook), `Categorical`, `Multinomial` or
            `Poisson` emission, and plain transition probabilities, which become a dense matrix.
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
    if not isinstance(model, HMM) or model.final is not None:
        got = f"a {type(model).__name__}" + (" with final=" if isinstance(model, HMM) else "")
        raise StructureError(f"to_hmmlearn: hmmlearn has HMMs alone, whose sequences just stop; got {got}.")
    name, options, values = _described(model.emission)
    hmm = require("hmmlearn.hmm", extra="moving", purpose="to_hmmlearn")
    with torch.no_grad():
        estimator = getattr(hmm, name)(model.states, init_params="", **options)
        estimator.n_features = next(iter(values.values())).shape[-1]
        for attribute, value in {
            "startprob_": model.initial().exp(),
            "transmat_": model.transition.matrix(),
            **values,
        }.items():
            setattr(estimator, attribute, value.detach().double().cpu().numpy())
    return estimator


def _described(emission: Emission) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The estimator's class, the arguments that make one, and its attributes."""
    match emission:
        case Gaussian():
            values = {"means_": emission.mean, "covars_": _spread(emission)}
            return "GaussianHMM", {"covariance_type": emission.kind}, values
        case GaussianMixture() if len(emission.groups) == 1:
            values = {"means_": emission.mean, "covars_": _spread(emission)}
            values = {name: value[emission.codebook] for name, value in values.items()}
            values["weights_"] = emission.weights().exp()
            return "GMMHMM", {"n_mix": emission.mean.shape[1], "covariance_type": emission.kind}, values
        case emissions.Categorical():
            return "CategoricalHMM", {}, {"emissionprob_": emission.table().exp()}
        case emissions.Multinomial():
            return "MultinomialHMM", {"n_trials": emission.trials}, {"emissionprob_": emission.table().exp()}
        case emissions.Poisson():
            return "PoissonHMM", {}, {"lambdas_": emission.log_rate.exp()}
    raise StructureError(
        "to_hmmlearn: hmmlearn has Gaussian, GaussianMixture (each state with Gaussians of its own), Categorical, "
        f"Multinomial and Poisson emissions, got {type(emission).__name__}."
    )


def _spread(emission: Gaussians) -> Tensor:
    """In the shape that hmmlearn's estimators are given."""
    matrices = emission.covariance()
    variances = matrices.diagonal(dim1=-2, dim2=-1)
    single = matrices[0] if matrices.ndim == 3 else matrices[:, 0]  # a tied one
    return {"diag": variances, "spherical": variances[..., 0], "tied": single, "full": matrices}[emission.kind]
