"""Blocked Gibbs sampling: paths given parameters, by the library's own `sample`; parameters given paths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm import inference, structures
from semihmm.errors import ShapeError, StructureError
from semihmm.models.bayes.conjugate import Belief
from semihmm.models.bayes.sticky import StickyHDP
from semihmm.models.bayes.variational import start
from semihmm.models.emissions.base import missing
from semihmm.models.sequences import Batch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from semihmm.models.base import Model
    from semihmm.models.sequences import Data, Known


@dataclass(frozen=True)
class Draws:
    """Draws from the posterior of parameters and paths.

    Attributes:
        states: of each draw, int64 ``(draws, ..., T)``; -1 after the end.
        log_prob: the log-likelihood of all data under the parameters of each draw, ``(draws,)``.
        parameters: of each draw, by their names in the model's state dict, ``(draws, ...)``.
        model: which they are of; it has the parameters of the last draw.

    Example:
        >>> from semihmm.models import HMM, emissions
        >>> model = HMM(2, emissions.Categorical(2, 3))
        >>> found = gibbs(model, torch.tensor([0, 0, 1, 2, 1, 0]), draws=4, burn_in=2)
        >>> found.states.shape, found.parameters["transition.logits"].shape
        (torch.Size([4, 6]), torch.Size([4, 2, 2]))
    """

    states: Tensor
    log_prob: Tensor
    parameters: dict[str, Tensor]
    model: Model[Any]

    def models(self) -> Iterator[Model[Any]]:
        """The model with the parameters of each draw in turn."""
        for i in range(len(self.log_prob)):
            self.model.load_state_dict({name: value[i] for name, value in self.parameters.items()})
            yield self.model


def gibbs(
    model: Model[Any],
    x: Data,
    lengths: Tensor | None = None,
    *,
    draws: int = 200,
    burn_in: int = 100,
    thin: int = 1,
    concentration: float | dict[str, Any] = 1.0,
    priors: dict[str, Belief] | None = None,
    hdp: StickyHDP | None = None,
    initialise: bool = True,
    generator: torch.Generator | None = None,
    **known: Unpack[Known],
) -> Draws:
    """Draw paths of whole sequences given parameters and parameters given paths, in turn (Scott 2002; Johnson 2014).

    Args:
        model: an HMM or HSMM whose parts have conjugate priors: see `belief`.
        draws: how many are kept.
        burn_in: how many sweeps are not kept, at first.
        thin: one draw in so many sweeps is kept.
        concentration: of the Dirichlet priors: one number, or by the name of the part.
        priors: beliefs to begin with, by the name of the part.
        hdp: instead of the Dirichlet prior of transitions, a sticky hierarchical Dirichlet process; the model's states
            are then the most that there can be.
        initialise: start from parameters drawn with the data in sight; otherwise from those the model has.
        generator: for all draws.
    Cost: one forward pass and one draw for each sweep.
    Raises:
        StructureError: a part without a conjugate prior; hdp for transitions that are not all allowed.
    """
    if draws < 1 or burn_in < 0 or thin < 1:
        raise ShapeError(f"gibbs: draws and thin must be at least 1, burn_in 0, got {draws}, {thin} and {burn_in}.")
    beliefs = start(model, x, lengths, concentration, priors, initialise, generator, **known)
    (batch,) = model.batches(x, lengths, **known)
    if batch.weights is not None:
        raise StructureError("gibbs: a path is drawn for each sequence, so weights have no meaning.")
    if hdp is not None:
        hdp.begin(beliefs["transition"])
    states, values = [], []
    kept: dict[str, list[Tensor]] = {name: [] for name in model.state_dict()}
    with torch.no_grad():
        for sweep in range(burn_in + draws * thin):
            structure = model.explained(batch)
            value = inference.log_partition(structure, validate=not sweep)
            path = inference.sample(structure, (1,), generator=generator)
            if sweep >= burn_in and (sweep - burn_in + 1) % thin == 0:
                states.append(model.named(path.states).squeeze(0))
                values.append(value.double().sum())
                for name, parameter in model.state_dict().items():
                    kept[name].append(parameter.clone())
            counts = _counted(model, structure, path.event.squeeze(0), batch, generator)
            seen = batch.flat(path.states.squeeze(0))
            for name in model.laws:
                beliefs[name].observe({"counts": counts[name]})
            which = torch.nn.functional.one_hot(seen, model.states).double()
            x = batch.observations
            x = model.emission.complete(x, seen, generator) if bool(missing(x).any()) else x
            beliefs["emission"].observe(model.emission.statistics(x, which))
            if hdp is not None:
                hdp.update(beliefs["transition"], counts["transition"], generator)
            for one in beliefs.values():
                one.draw(generator)
    return Draws(torch.stack(states), torch.stack(values), {n: torch.stack(each) for n, each in kept.items()}, model)


def _counted(
    model: Model[Any], structure: Any, event: Tensor, batch: Batch, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """How often each entry of the laws is used by the paths: the gradient of their score."""
    names = ("emission", *model.laws)
    with torch.enable_grad():
        potentials = {n: structure.potentials[n].detach().requires_grad_() for n in names}
        value = inference.score(structure.replace(**potentials), event)
        found = torch.autograd.grad(value.sum(), list(potentials.values()), materialize_grads=True)
    counts = model.counts(dict(zip(names, found, strict=True)), {}, batch.lengths)
    if isinstance(structure, structures.HSMM):
        counts["duration"] = _durations(structure, event, generator)
    return counts


def _durations(structure: structures.HSMM, event: Tensor, generator: torch.Generator | None) -> Tensor:
    """How many segments of each state and duration there are ``(S, D)``; of those cut short, the whole is drawn."""
    state, _, length = event.flatten(0, -3).unbind(-1) if event.ndim > 2 else event.unsqueeze(0).unbind(-1)
    real = state >= 0
    number = real.sum(-1, keepdim=True)
    index = torch.arange(state.shape[-1])
    first = real & (index == 0) & (structure.censored in ("left", "both"))
    last = real & (index == number - 1) & (structure.censored in ("right", "both"))
    chance = structure.duration.detach().double().exp()
    longest = chance.shape[-1]
    ways = torch.arange(1, longest + 1)
    counts = chance.new_zeros(structure.states * longest)
    for cut in (real & ~first & ~last, (first ^ last) & real, first & last):
        where = cut.nonzero(as_tuple=True)
        if not len(where[0]):
            continue
        own, lasted = state[where], length[where].unsqueeze(-1)
        weight = chance[own] * (ways >= lasted)
        if bool((first & last)[where].all()):
            weight = weight * (ways - lasted + 1)
        elif not bool((first | last)[where].any()):
            weight = (ways == lasted).double()
        drawn = torch.multinomial(weight, 1, generator=generator).squeeze(-1)
        counts += torch.bincount(own * longest + drawn, minlength=len(counts)).double()
    return counts.reshape(structure.states, longest)
