"""From dynamax (1.0)."""

from collections.abc import Mapping
from typing import Any

from semihmm.errors import StructureError
from semihmm.models.emissions import Emission
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import numbers


def from_dynamax(params: Any, counts: bool = False) -> HMM:
    """A model with the parameters of one of dynamax's.

    Args:
        params: what its ``initialize`` or ``fit_em`` returned, or a mapping with the same names: ``initial.probs``,
            ``transitions.transition_matrix`` and, in ``emissions``, the names of a Gaussian HMM (full, diagonal,
            spherical, shared or low-rank covariance), a Gaussian mixture, Poisson, gamma, Bernoulli, categorical or
            multinomial one.
        counts: whether categorical ``probs (S, 1, C)`` are a ``MultinomialHMM``'s, which has the same names.
    Raises:
        StructureError: other emissions.

    A gamma model takes ``(..., T, 1)`` here, and a categorical one of one symbol a step ``(..., T)``.

    Example:
        >>> emissions = {"means": [[0.0], [9.0]], "covs": [[[1.0]], [[1.0]]]}
        >>> chances = {"initial": {"probs": [0.5, 0.5]}, "transitions": {"transition_matrix": [[0.9, 0.1], [0.2, 0.8]]}}
        >>> from_dynamax(chances | {"emissions": emissions}).predict(torch.tensor([[0.1], [8.9]]))
        tensor([0, 1])
    """
    initial, transition, emission = (_named(_named(params)[part]) for part in ("initial", "transitions", "emissions"))
    return building.hmm(
        numbers(initial["probs"]), numbers(transition["transition_matrix"]), _emission(emission, counts)
    )


def _named(params: Any) -> Mapping[str, Any]:
    """A named tuple as a mapping."""
    named: Mapping[str, Any] = params._asdict() if hasattr(params, "_asdict") else params
    return named


def _emission(params: Mapping[str, Any], counts: bool) -> Emission:
    value = {name: numbers(x) for name, x in params.items()}
    match sorted(value):
        case ["covs", "means"]:
            return building.gaussian(value["means"], value["covs"], "full")
        case ["means", "scale_diags"]:
            return building.gaussian(value["means"], value["scale_diags"].square(), "diag")
        case ["means", "scales"]:
            return building.gaussian(value["means"], value["scales"].square().unsqueeze(-1), "spherical")
        case ["cov", "means"]:
            return building.gaussian(value["means"], value["cov"].unsqueeze(0), "tied")
        case ["cov_diag_factors", "cov_low_rank_factors", "means"]:
            factor = value["cov_low_rank_factors"]
            return building.gaussian(
                value["means"], value["cov_diag_factors"].diag_embed() + factor @ factor.mT, "full"
            )
        case ["covs", "means", "weights"]:
            return building.mixture(value["weights"], value["means"], value["covs"], "full")
        case ["means", "scale_diags", "weights"]:
            return building.mixture(value["weights"], value["means"], value["scale_diags"].square(), "diag")
        case ["rates"]:
            return building.poisson(value["rates"])
        case ["concentration", "rate"]:
            return building.gamma(value["concentration"].unsqueeze(-1), value["rate"].unsqueeze(-1))
        case ["probs"] if value["probs"].ndim == 2:
            return building.bernoulli(value["probs"])
        case ["probs"] if not counts:
            return building.categorical(value["probs"])
        case ["probs"] if value["probs"].shape[1] == 1:
            return building.multinomial(value["probs"].squeeze(1))
    raise StructureError(
        f"from_dynamax: no emission here has the parameters {', '.join(sorted(value))}. There are Gaussian, "
        "Gaussian mixture, Poisson, gamma, Bernoulli, categorical and (with one draw a step) multinomial ones."
    )
