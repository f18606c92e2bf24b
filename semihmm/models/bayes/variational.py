"""Variational Bayes: a posterior of the parameters, and a bound of the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from semihmm.errors import SemihmmError, ShapeError
from semihmm.models.arguments import checks_arguments
from semihmm.models.base import Model
from semihmm.models.bayes.conjugate import Belief, EmissionBelief, TableBelief, belief
from semihmm.models.expectation import expectation
from semihmm.models.sequences import Batch
from semihmm.structures.authoring import check_generator

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.models.sequences import Data, Known


@dataclass(frozen=True)
class Variational:
    """What variational Bayes found.

    Attributes:
        bound: the lower bound of the log-evidence, in nats, before the first iteration and after each; it never falls.
        converged: whether it ended because an iteration gained less than the tolerance.
        beliefs: the distribution of the parameters of each part, by name; `draw` of each sets the model's.

    Example:
        >>> from semihmm.models import HMM, emissions
        >>> model = HMM(2, emissions.Categorical(2, 3))
        >>> found = variational(model, torch.tensor([0, 0, 1, 2, 1, 0]), iterations=5)
        >>> found.bound[-1] >= found.bound[0], sorted(found.beliefs)
        (True, ['emission', 'initial', 'transition'])
    """

    bound: tuple[float, ...]
    converged: bool
    beliefs: dict[str, Belief]

    @property
    def evidence(self) -> float:
        """The bound where it ended: at most the log-probability of the data under the model and its prior."""
        return self.bound[-1]

    def draw(self, generator: torch.Generator | None = None) -> None:
        """Set the model's parameters to a draw from what is believed."""
        check_generator("Variational.draw", generator)
        for one in self.beliefs.values():
            one.draw(generator)


@checks_arguments
def variational(
    model: Model[Any],
    x: Data,
    lengths: Tensor | None = None,
    *,
    concentration: float | dict[str, Any] = 1.0,
    priors: Mapping[str, Belief] | None = None,
    iterations: int = 100,
    tolerance: float = 1e-5,
    initialise: bool | Literal["spread", "random"] = True,
    generator: torch.Generator | None = None,
    **known: Unpack[Known],
) -> Variational:
    """Fit a posterior of states times one of parameters to the data (Beal 2003, chapter 3; MacKay 1997).

    States that the data do not need keep their prior: take a small concentration for ``initial`` and ``transition``.
    The bound has local maxima, of which those with fewer states are often the higher ones, so begin several times and
    keep the fit whose bound is greatest. Afterwards the model has the means.

    Args:
        model: an HMM or HSMM whose parts have conjugate priors: see `belief`.
        concentration: of the Dirichlet priors: one number, or by the name of the part; 1 is uniform.
        priors: beliefs to begin with, by the name of the part, in place of those that `belief` makes.
        iterations: at most so many.
        tolerance: end after an iteration that gains less than this, in nats per step.
        initialise: where it starts, as in `HMM.fit`.
        generator: for the start.
    Raises:
        StructureError: a part without a conjugate prior.
        SemihmmError: the bound fell by more than rounding explains.

    Example:
        >>> from semihmm.models import HMM, emissions
        >>> g = torch.Generator().manual_seed(0)
        >>> found = variational(HMM(2, emissions.Categorical(2, 2)), torch.tensor([0, 0, 1, 1]), generator=g)
        >>> found.evidence < 0
        True
    """
    batch, beliefs = start(model, x, lengths, concentration, priors, initialise, generator, **known)
    history: list[float] = []
    dtype = next(iter(model.laws.values())).dtype
    with torch.no_grad():
        expected, converged = expectation(model, batch), False
        while True:
            for name in model.laws:
                beliefs[name].observe({"counts": expected.counts[name]})
            beliefs["emission"].observe(model.emission.statistics(batch.observations, expected.posterior))
            laws = {n: one.expected_log().to(dtype) for n, one in beliefs.items() if isinstance(one, TableBelief)}
            seen = beliefs["emission"]
            assert isinstance(seen, EmissionBelief)
            expected = expectation(model, batch, laws=laws, emission=seen.expected_log(batch.x))
            bound = expected.value - float(sum(one.divergence() for one in beliefs.values()))
            if history and bound < history[-1] - 1e-5 * max(1.0, abs(bound)):
                raise SemihmmError(f"variational: the bound fell from {history[-1]} to {bound}. Take model.double().")
            history.append(bound)
            converged = len(history) > 1 and history[-1] - history[-2] < tolerance * batch.steps
            if converged or len(history) > iterations:
                break
        for one in beliefs.values():
            one.settle()
    return Variational(tuple(history), converged, beliefs)


def start(
    model: Model[Any],
    x: Data,
    lengths: Tensor | None,
    concentration: float | dict[str, Any],
    priors: Mapping[str, Belief] | None,
    initialise: bool | Literal["spread", "random"],
    generator: torch.Generator | None,
    **known: Unpack[Known],
) -> tuple[Batch, dict[str, Belief]]:
    """The data, the model at its start, and what is believed before the data.

    Raises:
        ShapeError: several batches.
    """
    given = list(model.batches(x, lengths, **known))
    if len(given) > 1:
        raise ShapeError(f"bayes: give a tensor or a list of sequences, got {len(given)} batches.")
    (batch,) = given
    if initialise:
        model.begin(batch, generator, at_random=initialise == "random")
    x = batch.x[batch.inside]
    found = {}
    for name, part in {**model.laws, "emission": model.emission}.items():
        own = concentration.get(name, 1.0) if isinstance(concentration, dict) else concentration
        prior = (priors or {}).get(name)
        found[name] = belief(part, x, own) if prior is None else prior
    return batch, found
