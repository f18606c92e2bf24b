"""From pomegranate (1.x)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.emissions import Emission, Mixed, Product
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import kind, numbers
from semihmm.models.moving.weighted import WeightedHMM


def from_pomegranate(model: Any, ends: bool = True) -> HMM | WeightedHMM:
    """A model with the parameters of a ``DenseHMM`` or ``SparseHMM``.

    Args:
        model: its distributions may be Normal (full, diagonal or spherical), StudentT, Categorical, Poisson,
            Exponential, Gamma, Bernoulli, a GeneralMixtureModel of as many diagonal Normals in each state, or
            IndependentComponents of these; one family for all states or several.
        ends: whether to keep the weights of the last state. pomegranate's rows of ``edges`` sum to 1 only together with
            ``ends``, and the likelihood counts both: those weights are a `WeightedHMM`'s. Without, rows are normalised,
            for an `HMM` that EM trains whole.
    Raises:
        StructureError: another kind of model or distribution, or one that was not fitted yet.

    Observations are theirs; of a single Categorical column, the symbols ``(B, T)``.

    Example:
        >>> from types import SimpleNamespace as Model  # in place of pomegranate.hmm.DenseHMM
        >>> class Poisson:
        ...     def __init__(self, lambdas): self.lambdas = torch.tensor(lambdas)
        >>> class DenseHMM(Model): pass
        >>> half = torch.full((2, 2), 0.5).log()
        >>> theirs = DenseHMM(edges=half, starts=half[0], ends=half[0], distributions=[Poisson([1.0]), Poisson([9.0])])
        >>> from_pomegranate(theirs).predict(torch.tensor([[0], [8]]))
        tensor([0, 1])
    """
    found = kind(model, ("DenseHMM", "SparseHMM"))
    if found is None or model.starts is None or model.ends is None or model.edges is None:
        fault = "one that was fitted, or given all its parameters" if found else f"a {type(model).__name__}"
        raise StructureError(f"from_pomegranate: expected a DenseHMM or SparseHMM with edges and ends, got {fault}.")
    emission = _emission(list(model.distributions))
    initial, edges, final = (numbers(x) for x in (model.starts, model.edges, model.ends))
    sparse = found == "SparseHMM"
    arcs = torch.stack([model._edge_idx_starts, model._edge_idx_ends]).tolist() if sparse else None
    if ends:
        weighted = WeightedHMM(len(initial), emission, arcs=arcs)
        weights = {"initial": initial, "transition": edges, "final": final}
        return building.filled(weighted, **{f"{name}__log_weight": x for name, x in weights.items()})
    if arcs is not None:
        dense = torch.full((len(initial), len(initial)), -torch.inf, dtype=edges.dtype)
        dense[arcs[0], arcs[1]] = edges
        edges = dense
    return building.hmm(initial.exp(), edges.exp(), emission)


def _emission(states: Sequence[Any]) -> Emission:
    """Of one distribution for each state."""
    kinds = [kind(one, tuple(_FAMILIES)) for one in states]
    if None in kinds:
        raise StructureError(
            f"from_pomegranate: no emission here is a {type(states[kinds.index(None)]).__name__}. Known are "
            f"{', '.join(_FAMILIES)}; `emissions.FromTorch` takes any distribution of torch.distributions."
        )
    if len(set(kinds)) > 1:
        return Mixed([_emission([one]) for one in states])
    build = _FAMILIES[str(kinds[0])]
    return build(states)


def _each(states: Sequence[Any], name: str) -> Tensor:
    """A parameter of each state's distribution."""
    values = [getattr(one, name) for one in states]
    if any(value is None for value in values):
        raise StructureError(f"from_pomegranate: a {type(states[0]).__name__} has no {name}. Fit the model first.")
    return torch.stack([numbers(value) for value in values])


def _normal(states: Sequence[Any]) -> Emission:
    shapes = {one.covariance_type for one in states}
    if len(shapes) > 1:
        return Mixed([_normal([one]) for one in states])
    mean, covariance = _each(states, "means"), _each(states, "covs")
    if shapes == {"full"}:
        return building.full_gaussian(mean, covariance)
    return building.gaussian(mean, covariance.reshape(len(states), -1))


def _student(states: Sequence[Any]) -> Emission:
    location, scale = _each(states, "means"), _each(states, "covs").sqrt()
    freedom = _each(states, "dofs").reshape(len(states), -1)
    return building.student(location, scale.expand_as(location), freedom.expand_as(location))


def _mixture(states: Sequence[Any]) -> Emission:
    parts = [list(one.distributions) for one in states]
    flat = [part for one in parts for part in one]
    plain = all(kind(part, ("Normal",)) and part.covariance_type == "diag" for part in flat)
    if not plain or len({len(one) for one in parts}) > 1:
        raise StructureError(
            "from_pomegranate: a GeneralMixtureModel must be of Normal(covariance_type='diag') and have as many in "
            "each state, since GaussianMixture has independent features."
        )
    mean, variance = (_each(flat, name).unflatten(0, (len(states), -1)) for name in ("means", "covs"))
    return building.mixture(_each(states, "priors"), mean, variance)


def _components(states: Sequence[Any]) -> Emission:
    columns = zip(*(one.distributions for one in states), strict=True)
    return Product([_emission(column) for column in columns])


_FAMILIES: dict[str, Callable[[Sequence[Any]], Emission]] = {
    "StudentT": _student,
    "Normal": _normal,
    "Categorical": lambda states: building.categorical(_each(states, "probs")),
    "Poisson": lambda states: building.poisson(_each(states, "lambdas")),
    "Exponential": lambda states: building.exponential(_each(states, "scales")),
    "Gamma": lambda states: building.gamma(_each(states, "shapes"), _each(states, "rates")),
    "Bernoulli": lambda states: building.bernoulli(_each(states, "probs")),
    "GeneralMixtureModel": _mixture,
    "IndependentComponents": _components,
}
