"""What stands beside an observation: the inputs, or earlier observations, that it depends on."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission

_TRIES, _CYCLES, _MANY = 4, 5, 5_000


def beside(emission: Emission, x: Tensor, inputs: Tensor | None) -> Tensor:
    """Observations ``(..., T, F)`` with the inputs ``(..., T, inputs)`` of an emission behind them."""
    expected = (*x.shape[:-1], emission.inputs)
    if inputs is None or inputs.ndim < 2 or inputs.shape[-2:] != expected[-2:]:
        got = "none" if inputs is None else tuple(inputs.shape)
        raise ShapeError(f"{type(emission).__name__}: observations come with inputs {expected}, got {got}.")
    dtype = torch.promote_types(inputs.dtype, emission.dtype if not x.is_floating_point() else x.dtype)
    return torch.cat([x.to(dtype), inputs.to(dtype).expand(expected)], -1)


def inputs_of(emission: Emission, states: Tensor, inputs: Tensor | None) -> Tensor:
    """The inputs ``(..., T, inputs)`` of draws in states ``(..., T)``."""
    expected = (*states.shape, emission.inputs)
    if inputs is None or inputs.shape[-1:] != expected[-1:]:
        got = "none" if inputs is None else tuple(inputs.shape)
        raise ShapeError(f"{type(emission).__name__}: a draw depends on its inputs {expected}, got {got}.")
    return inputs.to(emission.dtype).expand(expected)


def along(emission: Emission, x: Tensor, before: Tensor, known: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Observations ``(..., T, F)`` of an emission that depends on earlier ones, each a function of what was found.

    Args:
        x: what the emission looks at, ``(..., T, F + order * F + inputs)``.
        before: what was before the first step, ``(..., F)``.
        known: the observation at a step, given what the emission looks at there with what was found before it.
    """
    features, order = before.shape[-1], emission.order
    past, found = before.repeat(*(1 for _ in before.shape[:-1]), order), []
    for step, now in enumerate(x.unbind(-2)):
        found.append(known(step, torch.cat([now[..., :features], past, now[..., features * (1 + order) :]], -1)))
        past = torch.cat([found[-1], past], -1)[..., : order * features]
    return torch.stack(found, -2)


def split(x: Tensor, features: int) -> tuple[Tensor, Tensor, Tensor]:
    """Observations ``(..., F)``, what stands behind them, in float64, and which values count, bool ``(..., F)``.

    Those that are there, of steps whose regressors are all there. The others are 0, so that no gradient is NaN.
    """
    there = ~x.isnan()
    x = torch.where(there, x, 0.0).double()
    return x[..., :features], x[..., features:], there[..., :features] & there[..., features:].all(-1, keepdim=True)


def design(regressors: Tensor, intercept: bool) -> Tensor:
    """Regressors ``(..., R)``, with 1 behind them if there is an intercept."""
    return torch.cat([regressors, regressors.new_ones(*regressors.shape[:-1], 1)], -1) if intercept else regressors


def linear(design: Tensor, coefficients: Tensor) -> Tensor:
    """``(..., S, F)``, for a design ``(..., R)`` and coefficients ``(S, F, R)``."""
    found: Tensor = (design @ coefficients.flatten(0, 1).T).unflatten(-1, coefficients.shape[:2])
    return found


def products(design: Tensor) -> Tensor:
    """Of all pairs of columns of ``(N, R)``, ``(N, R R)``: weighted sums of them are one matrix product."""
    return (design.unsqueeze(-1) * design.unsqueeze(-2)).flatten(1)


def patterns(seen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The steps ``(n,)`` that see the same features ``(f,)``, as indices, for each set of features in ``(N, F)``.

    No set is empty: steps that see nothing are left out.
    """
    everything = torch.arange(seen.shape[-1], device=seen.device)
    if traced() or bool(seen.all()):
        yield torch.arange(len(seen), device=seen.device), everything
        return
    kinds, kind = seen.unique(dim=0, return_inverse=True)
    for number, features in enumerate(kinds):
        if bool(features.any()):
            yield (kind == number).nonzero().squeeze(-1), everything[features]


@torch.no_grad()
def begin(emission: Emission, x: Tensor, generator: torch.Generator | None) -> None:
    """Set an emission to the most likely of a few mixtures, each after a few EM steps without regard to time.

    They begin from pieces of successive steps ``(N, ...)``, each just long enough to tell what it is like, that are
    dealt out to the states at random.
    """
    assert emission.states is not None
    size = x.shape[-1] + 2
    pieces = -(-len(x) // size)
    if len(x) > _MANY:
        some = torch.randperm(pieces, generator=generator, device=x.device)[: _MANY // size].sort().values
        x = x.unfold(0, size, size).mT[some[some < len(x) // size]].flatten(0, 1)
        pieces = -(-len(x) // size)
    found = []
    for _ in range(_TRIES if emission.states > 1 else 1):
        dealt = torch.randint(emission.states, (pieces,), generator=generator, device=x.device)
        posterior = torch.nn.functional.one_hot(dealt.repeat_interleave(size)[: len(x)], emission.states).double()
        for _ in range(_CYCLES):
            emission.update(x, posterior)
            likelihood = emission(x).double()
            posterior = likelihood.softmax(-1)
        found.append((float(likelihood.logsumexp(-1).sum()), [p.clone() for p in emission.parameters()]))
    for parameter, value in zip(emission.parameters(), max(found, key=lambda one: one[0])[1], strict=True):
        parameter.copy_(value)
