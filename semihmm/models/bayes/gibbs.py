"""Blocked Gibbs sampling: paths given parameters, by the library's own `sample`; parameters given paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from semihmm import inference, structures
from semihmm.errors import ShapeError, StructureError
from semihmm.models.arguments import checks_arguments
from semihmm.models.base import Model
from semihmm.models.bayes.conjugate import Belief
from semihmm.models.bayes.hdp import HDP
from semihmm.models.bayes.variational import start
from semihmm.models.emissions.base import missing
from semihmm.models.expectation import explained

if TYPE_CHECKING:
    from typing_extensions import Unpack

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


@checks_arguments
def gibbs(
    model: Model[Any],
    x: Data,
    lengths: Tensor | None = None,
    *,
    draws: int = 200,
    burn_in: int = 100,
    thin: int = 1,
    concentration: float | dict[str, Any] = 1.0,
    priors: Mapping[str, Belief] | None = None,
    hdp: HDP | None = None,
    initialise: bool | Literal["spread", "random"] = True,
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
        hdp: instead of the Dirichlet prior of transitions, a hierarchical Dirichlet process, `StickyHDP` for an HMM or
            `SemiMarkovHDP` for an HSMM; the model's states are then the most that there can be.
        initialise: where it starts, as in `HMM.fit`.
        generator: for all draws.

    Cost: one forward pass and one draw for each sweep.

    Raises:
        StructureError: a part without a conjugate prior; hdp for other transitions than it is a prior of.

    Example:
        >>> from semihmm.models import HMM, emissions
        >>> g = torch.Generator().manual_seed(0)
        >>> found = gibbs(HMM(2, emissions.Categorical(2, 2)), torch.tensor([0, 0, 1, 1]), draws=5, generator=g)
        >>> found.states.shape
        torch.Size([5, 4])
    """
    if draws < 1 or burn_in < 0 or thin < 1:
        raise ShapeError(f"gibbs: draws and thin must be at least 1, burn_in 0, got {draws}, {thin} and {burn_in}.")
    batch, beliefs = start(model, x, lengths, concentration, priors, initialise, generator, **known)
    if batch.weights is not None:
        raise StructureError("gibbs: a path is drawn for each sequence, so weights have no meaning.")
    if hdp is not None:
        hdp.begin(beliefs["transition"])
    states, values = [], []
    kept: dict[str, list[Tensor]] = {name: [] for name in model.state_dict()}
    inside = batch.inside
    seen_x = batch.x[inside]
    gaps = bool(missing(seen_x).any())
    with torch.no_grad():
        for sweep in range(burn_in + draws * thin):
            structure = model.explained(batch)
            path = inference.sample(structure, (1,), generator=generator, validate=not sweep)
            explained(path.score.squeeze(0))
            event, seen = path.event.squeeze(0), model.named(path.states.squeeze(0))
            if sweep >= burn_in and (sweep - burn_in + 1) % thin == 0:
                states.append(seen)
                values.append(inference.log_partition(structure, validate=False).double().sum())
                for name, parameter in model.state_dict().items():
                    kept[name].append(parameter.clone())
            counts = _counted(model, structure, event, batch.lengths)
            if isinstance(structure, structures.HSMM):
                counts["duration"] = _durations(structure, event, generator)
            for name in model.laws:
                beliefs[name].observe({"counts": counts[name]})
            seen = seen[inside]
            whole = model.emission.complete(seen_x, seen, generator) if gaps else seen_x
            which = torch.nn.functional.one_hot(seen, model.states).double()
            beliefs["emission"].observe(model.emission.statistics(whole, which))
            if hdp is not None:
                hdp.update(beliefs["transition"], counts["transition"], generator)
            for one in beliefs.values():
                one.draw(generator)
    return Draws(torch.stack(states), torch.stack(values), {n: torch.stack(each) for n, each in kept.items()}, model)


def _counted(model: Model[Any], structure: Any, event: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """How often the paths use each entry of the laws, those of durations left out."""
    segments = isinstance(structure, structures.HSMM)
    visited, size = event[..., 0] if segments else event, structure.states
    visited = visited.reshape(-1, visited.shape[-1])  # states, or those of segments
    before, after = visited[:, :-1], visited[:, 1:]
    real = after >= 0
    ends = _ends(structure)
    number, order = ends.flatten().sort()
    used = order[torch.searchsorted(number, before[real] * size + after[real])]
    last = visited.gather(-1, real.sum(-1, keepdim=True)).squeeze(-1)
    found = {
        "initial": visited[:, 0].bincount(minlength=size),
        "transition": used.bincount(minlength=ends.numel()).reshape(ends.shape),
        "final": last.bincount(minlength=size),
    }
    return model.counts({name: x.double() for name, x in found.items()}, {}, lengths)


def _ends(structure: Any) -> Tensor:
    """``source * S + target`` of each entry of the transitions."""
    size = structure.states
    target = torch.arange(size, device=structure.emission.device).unsqueeze(-1)
    if structure.arcs is not None:
        source, target = structure.arcs
    elif structure.offsets is not None:
        source = target - torch.tensor(structure.offsets, device=target.device)
    else:
        source, target = target, target.mT
    ends: Tensor = source * size + target
    return ends


def _durations(structure: structures.HSMM, event: Tensor, generator: torch.Generator | None) -> Tensor:
    """How many segments of each state and duration there are ``(S, D)``; of those cut short, the whole is drawn."""
    state, _, length = event.reshape(-1, *event.shape[-2:]).unbind(-1)
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
