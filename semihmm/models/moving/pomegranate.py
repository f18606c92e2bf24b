"""From pomegranate (1.x)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.emissions import Emission, Mixed, Product
from semihmm.models.emissions.covariance import Kind
from semihmm.models.hmm import HMM
from semihmm.models.moving import building
from semihmm.models.moving.building import family, numbers


def from_pomegranate(model: Any, ends: bool = True) -> HMM:
    """A model with the parameters of a ``DenseHMM`` or ``SparseHMM``.

    Args:
        model: its distributions may be Normal, StudentT, Categorical, Poisson, Exponential, Gamma, Bernoulli, a
            GeneralMixtureModel of as many Normals in each state, or IndependentComponents of these; one family for all
            states or several.
        ends: whether to keep what it says of the last state. Each row of a fitted model's ``edges`` sums to 1 together
            with its entry of ``ends``; that is an `HMM` with ``final``. Without, rows are normalised.
    Raises:
        StructureError: another kind of model or distribution; one without parameters; edges and ends that are no
            probabilities.

    Rows that sum to 1 beside ends that are all the same, as they are if none were given, say nothing of the last state,
    and the model has no ``final``: their log-likelihood of a sequence is ours plus ``ends[0]``. Observations are
    theirs; of a single Categorical column, the symbols ``(B, T)``.

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
    found = family(model, ("DenseHMM", "SparseHMM"))
    if found is None or model.starts is None or model.ends is None or model.edges is None:
        fault = "one without parameters. Fit it first" if found else f"a {type(model).__name__}"
        raise StructureError(f"from_pomegranate: expected a DenseHMM or SparseHMM with edges and ends, got {fault}.")
    emission = _emission(list(model.distributions))
    initial, edges, final = (numbers(x).exp() for x in (model.starts, model.edges, model.ends))
    sparse = found == "SparseHMM"
    arcs = torch.stack([model._edge_idx_starts, model._edge_idx_ends]) if sparse else None
    rows = edges.sum(-1) if arcs is None else torch.zeros_like(initial).index_add(0, arcs[0], edges)
    if not ends or (_close(rows, 1) and _close(final, final[0])):
        return building.hmm(initial, edges, emission, arcs=arcs)
    if not _close(rows + final, 1):
        raise StructureError(
            f"from_pomegranate: edges and ends must sum to 1 for each state, got {(rows + final).tolist()}. Pass "
            "ends=False to leave out the ends and normalise the edges."
        )
    return building.hmm(initial, edges, emission, arcs=arcs, final=final)


def _close(values: Tensor, to: Tensor | float) -> bool:
    """As near as float32 is."""
    return bool(((values - to).abs() < 1e-5).all())


def _emission(states: Sequence[Any]) -> Emission:
    """Of one distribution for each state."""
    kinds = [family(one, tuple(_FAMILIES)) for one in states]
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
    if len({one.covariance_type for one in states}) > 1:
        return Mixed([_normal([one]) for one in states])
    kind, spread = _spread(states)
    return building.gaussian(_each(states, "means"), spread, kind)


def _spread(normals: Sequence[Any]) -> tuple[Kind, Tensor]:
    """What the covariances of Normals of one type are here."""
    kind, covariance = normals[0].covariance_type, _each(normals, "covs")
    return ("spherical", covariance.reshape(-1, 1)) if kind == "sphere" else (kind, covariance)


def _student(states: Sequence[Any]) -> Emission:
    location, scale = _each(states, "means"), _each(states, "covs").sqrt()
    freedom = _each(states, "dofs").reshape(len(states), -1)
    return building.student(location, scale.expand_as(location), freedom.expand_as(location))


def _mixture(states: Sequence[Any]) -> Emission:
    parts = [list(one.distributions) for one in states]
    flat = [part for one in parts for part in one]
    kinds = {part.covariance_type if family(part, ("Normal",)) else None for part in flat}
    if len(kinds) > 1 or None in kinds or len({len(one) for one in parts}) > 1:
        raise StructureError(
            "from_pomegranate: a GeneralMixtureModel must be of Normals of one covariance_type, as many in each state."
        )
    kind, spread = _spread(flat)
    mean, spread = (x.unflatten(0, (len(states), -1)) for x in (_each(flat, "means"), spread))
    return building.mixture(_each(states, "priors"), mean, spread, kind)


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
