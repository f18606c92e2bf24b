"""The two steps of expectation-maximisation, for any model: what is expected, and the parameters that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semihmm.errors import DataError, StructureError
from semihmm.inference import expected_counts, total
from semihmm.models.part import Driven, trained
from semihmm.models.sequences import Batch
from semihmm.models.transitions import Transition
from semihmm.semirings import Max
from semihmm.structures import Structure

if TYPE_CHECKING:
    from semihmm.models.base import Model


_NOTHING = 1e-3  # steps; a state that is expected to explain fewer is empty
_LOOKED_AT = 1 << 10  # observations, which mostly show that no state is empty
_SHARE = 0.01  # of all transitions, those that lead to and from states that are drawn anew


@dataclass(frozen=True)
class Expected:
    """What is expected of a batch.

    Attributes:
        value: the log-likelihood of all its sequences, or the log-probability of their best paths, in nats.
        counts: how often each entry of each law was used.
        posterior: of each state at each observation, ``(N, S)``.
        batch: whose.
    """

    value: float
    counts: dict[str, Tensor]
    posterior: Tensor
    batch: Batch


@torch.no_grad()
def expectation(
    model: Model[Any],
    batch: Batch,
    best: bool = False,
    validate: bool = True,
    laws: Mapping[str, Tensor] | None = None,
    emission: Tensor | None = None,
) -> Expected:
    """EM's first step.

    Args:
        best: whether to count the best path alone.
        validate: whether to look for NaN first.
        laws, emission: log-weights in place of what the model's parts say.
    Raises:
        DataError: a sequence that no path explains.
    """
    laws = model.potentials(batch.inputs) if laws is None else laws
    weights = batch.weights
    if weights is not None:  # each sequence is counted by itself
        laws = {n: x if driven(model, n) else x.expand(*weights.shape, *x.shape) for n, x in laws.items()}
    structure = model.explained(batch, laws, emission)
    names = ("emission", *laws)
    value, found = _best(structure, names, validate) if best else expected_counts(structure, names, validate=validate)
    explained(value)
    counts = model.counts(found, laws, batch.lengths)
    if weights is not None:
        value = value * weights
        counts = {n: weighed(x, weights, n == "emission" or driven(model, n)) for n, x in counts.items()}
    posterior = batch.flat(counts.pop("emission"))
    return Expected(float(value.double().sum()), counts, posterior, batch)


@torch.no_grad()
def maximisation(model: Model[Any], expected: Expected) -> None:
    """EM's second step, from all data at once."""
    model.learn(expected.counts, expected.batch.inputs)
    if trained(model.emission):
        model.emission.update(expected.batch.observations, expected.posterior)


@torch.no_grad()
def revive(
    model: Model[Any],
    found: Mapping[str, Tensor],
    first: Callable[[], Batch],
    before: set[int],
    generator: torch.Generator | None,
) -> list[int]:
    """Draw states that explain nothing anew, each once: those that were, now.

    Their emission is that of a fresh start, and they are entered and left again as if they had a share of the steps.

    Args:
        found: what `tally` says of all data.
        first: gives observations to start from.
        before: states that were drawn anew already; these are added.
    """
    seen = found["seen"]
    lost = seen < _NOTHING * seen.sum() / found["observations"]  # whatever sequences weigh
    new = [int(i) for i in lost.nonzero() if int(i) not in before]
    if not new or not model.emission.own or not trained(model.emission):
        return []
    before.update(new)
    again = torch.zeros_like(lost).index_fill(0, torch.tensor(new, device=lost.device), True)
    batch = first()
    model.emission.reseed(again, batch.x[batch.inside], generator)
    counts = _under("laws.", found)
    for name, law in model.laws.items():
        if isinstance(law, Transition) and name in counts:
            near = (again[law.source] | again[law.target]) & law.allowed
            share = near / near.sum().clamp(min=1)
        elif name == "initial" and counts[name].shape == again.shape:
            share = again / len(again)
        else:
            continue
        counts[name] = counts[name] + share * (_SHARE * counts[name].sum())
    model.learn(counts)
    return new


def may_be_empty(expected: Expected) -> bool:
    """Whether some of the observations leave it open that a state explains nothing."""
    posterior = expected.posterior
    some = posterior[:: max(1, len(posterior) // _LOOKED_AT)]
    return not bool((some.sum(0) >= _NOTHING * expected.batch.steps / len(posterior)).all())


def tally(model: Model[Any], expected: Expected) -> dict[str, Tensor]:
    """How much each state explains of a batch, of how many observations, and the counts of laws without inputs."""
    counts = {
        f"laws.{name}": expected.counts[name].double()
        for name, law in model.laws.items()
        if not isinstance(law, Driven)
    }
    seen = expected.posterior.double().sum(0)
    return {**counts, "seen": seen, "observations": seen.new_tensor(len(expected.posterior))}


def sums(model: Model[Any], expected: Expected) -> dict[str, Tensor]:
    """What is to be known of a batch for `from_sums`: those of two batches are added.

    Raises:
        StructureError: a part that needs all data at once.
    """
    for name, law in model.laws.items():
        if isinstance(law, Driven) and trained(law):
            raise StructureError(
                f"fit: {name} takes inputs, and its EM step all data at once. Give one tensor or a list instead of "
                "batches, or take method='gradient'.",
                see="no-em-step",
            )
    found = tally(model, expected)
    if trained(model.emission):
        own = model.emission.statistics(expected.batch.observations, expected.posterior)
        found |= {f"emission.{name}": x for name, x in own.items()}
    return found


@torch.no_grad()
def from_sums(model: Model[Any], found: Mapping[str, Tensor]) -> None:
    """EM's second step, from `sums`."""
    model.learn(_under("laws.", found))
    if trained(model.emission):
        model.emission.maximise(_under("emission.", found))


def _under(start: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): x for name, x in found.items() if name.startswith(start)}


def driven(model: Model[Any], name: str) -> bool:
    """Whether a potential is of a law that inputs change."""
    return isinstance(model.laws.get(name), Driven)


def explained(value: Tensor) -> None:
    """Refuse sequences that no path explains."""
    if bool((value == -torch.inf).any()):
        where = (value == -torch.inf).nonzero().tolist()
        raise DataError(
            f"fit: the model cannot explain {len(where)} of the sequences at all (the first at {where[0]}): every "
            "path has probability 0. Are they too short or too long for its transitions and durations, do labels or "
            "starts say what cannot be, or do they hold what was never seen? A pseudo-count helps.",
            see="no-path",
        )


def weighed(counts: Tensor, weights: Tensor, each: bool, axis: int = 0) -> Tensor:
    """Counts of each sequence, as often as it counts; summed over sequences unless they stay apart.

    Args:
        axis: the first axis of sequences.
    """
    found = counts * weights.reshape(*weights.shape, *(1,) * (counts.ndim - axis - weights.ndim))
    return found if each or not weights.ndim else found.flatten(axis, axis + weights.ndim - 1).sum(axis)


def _best(structure: Structure, names: Sequence[str], validate: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """The score of the best path, and how often it uses each potential."""
    with torch.enable_grad():
        potentials = {n: structure.potentials[n].detach().requires_grad_() for n in names}
        value = total(structure.replace(**potentials), Max(), validate=validate)
        found = torch.autograd.grad(value.sum(), list(potentials.values()), materialize_grads=True)
    return value.detach(), dict(zip(potentials, found, strict=True))
