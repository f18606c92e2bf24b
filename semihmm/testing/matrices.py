"""HMMs whose log-weights spread far, on which scaled probabilities underflow; and forward-backward in float64."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Chain, Compose, Dense, Diagonal, Map
from semihmm.testing.evaluate import in_float64

FORMS = ("random", "left to right", "almost left to right", "staggered")


@dataclass(frozen=True)
class MatrixChain:
    """A chain whose steps are matrices and emissions, in float32.

    Args:
        start: log-weights ``(B, S)``.
        factors: of each step, in their order: matrices ``(B or 1, T or 1, S, R)`` and emissions ``(B or 1, T, S)``.
        end: log-weights ``(B, S)``.
        lengths: steps that each sequence takes; None for all.
    Example:
        >>> hmm = MatrixChain(torch.zeros(1, 2), (torch.zeros(1, 1, 2, 2), torch.zeros(1, 3, 2)), torch.zeros(1, 2))
        >>> round(float(total_of(hmm.chain, semihmm.semirings.Log()).exp()))  # 4 states in a row
        16
    """

    start: Tensor
    factors: tuple[Tensor, ...]
    end: Tensor
    lengths: Tensor | None = None

    @property
    def chain(self) -> Chain:
        """As the engine takes it."""
        maps: list[Map] = [Dense(x) if x.ndim == 4 else Diagonal(x) for x in self.factors]
        product = maps[0]
        for then in maps[1:]:
            product = Compose(product, then)
        length = max(x.shape[1] for x in self.factors)
        return Chain((self.start,), product, (self.end,), self.lengths, length)


def stationary(
    batch: int,
    steps: int,
    states: int,
    spread: float,
    generator: torch.Generator,
    shared: bool = True,
    *,
    forbidden: float = 0.0,
    form: str = "random",
) -> MatrixChain:
    """An HMM with one transition matrix for all steps, whose log-weights spread over so many nats.

    Args:
        spread: the standard deviation of its log-weights.
        shared: whether all sequences share the matrix.
        forbidden: how likely a log-weight is ``-inf``.
        form: ``"left to right"``: to the same state or the next; ``"almost left to right"``: -1e4 nats the other way;
            ``"staggered"``: by distance, so that forward and backward vectors disagree about where a path is.
    Example:
        >>> hmm = stationary(3, 5, 2, spread=100.0, generator=torch.Generator().manual_seed(0))
        >>> [tuple(x.shape) for x in hmm.factors]
        [(1, 1, 2, 2), (3, 5, 2)]
    """

    def drawn(*shape: int) -> Tensor:
        x = spread * torch.randn(shape, generator=generator)
        return torch.where(torch.rand(shape, generator=generator) < forbidden, -math.inf, x)

    transition = drawn(1 if shared else batch, 1, states, states)
    back = torch.arange(states).unsqueeze(-1) - torch.arange(states)  # how many states to the left
    if form == "left to right":
        transition = transition.masked_fill((back > 0) | (back < -1), -math.inf)
    if form == "almost left to right":
        transition = transition.masked_fill(back > 0, -1e4)
    if form == "staggered":
        transition = -spread * back.abs().float().expand_as(transition)
    emission, end = drawn(batch, steps, states), drawn(batch, states)
    if form == "left to right":
        end = end.masked_fill(back[0] > -1, 0.0)
    allowed = ~torch.isinf(drawn(batch, states))
    start = torch.where(allowed, spread * torch.randn(batch, states, generator=generator), 0.0)
    return MatrixChain(start, (transition, emission), end)


def ragged_stationary(
    batch: int, steps: int, states: int, spread: float, seed: int, form: str = "random"
) -> MatrixChain:
    """A `stationary` HMM of sequences of all lengths; of several, the last one has no path.

    Example:
        >>> hmm = ragged_stationary(3, 9, 2, spread=1.0, seed=0)
        >>> total_of(hmm.chain, semihmm.semirings.Log()).isfinite()
        tensor([ True,  True, False])
    """
    g = torch.Generator().manual_seed(seed)
    hmm = stationary(batch, steps, states, spread, g, form=form)
    lengths = torch.randint(0, steps + 1, (batch,), generator=g)
    lengths[0] = lengths[-1] = steps
    transition, emission = hmm.factors[0], hmm.factors[1].clone()
    if batch > 1:
        emission[-1, steps // 2] = -math.inf
    return replace(hmm, factors=(transition, emission), lengths=lengths)


class ForwardBackward(NamedTuple):
    """What `forward_backward` finds, in float64.

    Attributes:
        total: log-partitions ``(B,)``.
        marginals: of the start, the end and each factor, in their shapes.
        depth: ``(B,)``, how many nats below the best state one that matters ever is, forwards or backwards.
    """

    total: Tensor
    marginals: list[Tensor]
    depth: Tensor


def forward_backward(hmm: MatrixChain) -> ForwardBackward:
    """Log-partitions and marginals by sums in log space, in float64, one step at a time.

    Factor by factor, ``alpha[t + 1] = logsumexp(alpha[t] + w[t])`` over the state before and
    ``beta[t] = logsumexp(w[t] + beta[t + 1])`` over the state after; an arc's marginal is
    ``exp(alpha + w + beta - log_partition)`` (Rabiner 1989).

    Example:
        >>> hmm = stationary(2, 5, 3, spread=1.0, generator=torch.Generator().manual_seed(0))
        >>> total, (start, *_), depth = forward_backward(hmm)
        >>> [round(float(x), 9) for x in start.sum(-1)]
        [1.0, 1.0]
    """
    chain = in_float64(hmm.chain)
    count, length = len(hmm.start), chain.length
    factors = [x.double().expand(count, length, *x.shape[2:]) for x in hmm.factors]
    lengths = torch.full((count,), length) if hmm.lengths is None else hmm.lengths
    start, end = hmm.start.double(), hmm.end.double()
    forward, last = _forward(start, factors, lengths)
    total = (last + end).logsumexp(-1)
    shift = torch.where(total > -math.inf, total, 0.0).unsqueeze(-1)

    def depth_of(one: Tensor, other: Tensor) -> Tensor:
        """How far below its best entry either vector has one whose posterior is above 1e-3."""
        matters = (one + other - shift).exp() > 1e-3
        below = [torch.where(matters, x.amax(-1, keepdim=True) - x, 0.0).amax(-1) for x in (one, other)]
        return torch.maximum(*below)

    shares = [torch.zeros_like(x) for x in factors]
    beta, depth = end, depth_of(last, end)
    for t in reversed(range(length)):
        here, active = beta, t < lengths
        for x, share, alpha in reversed(list(zip(factors, shares, forward[t][:-1], strict=True))):
            if x.ndim == 4:
                arcs = x[:, t] + here.unsqueeze(-2)
                weight = (alpha - shift).unsqueeze(-1) + arcs
                here = arcs.logsumexp(-1)
            else:
                here = x[:, t] + here
                weight = alpha - shift + here
            share[active, t] = weight.exp()[active]
            depth = torch.where(active, torch.maximum(depth, depth_of(alpha, here)), depth)
        beta = torch.where(active.unsqueeze(-1), here, beta)
    borders = [(start + beta - shift).exp(), (last + end - shift).exp()]
    summed = [s.sum_to_size(x.shape) for s, x in zip(shares, hmm.factors, strict=True)]
    return ForwardBackward(total, [*borders, *summed], depth)


def _forward(start: Tensor, factors: list[Tensor], lengths: Tensor) -> tuple[list[list[Tensor]], Tensor]:
    """The vectors before and after each factor of each step; those at each sequence's end."""
    vectors, last = [], start
    for t in range(factors[0].shape[1]):
        here = [last]
        for x in factors:
            here.append((here[-1].unsqueeze(-1) + x[:, t]).logsumexp(-2) if x.ndim == 4 else here[-1] + x[:, t])
        vectors.append(here)
        last = torch.where((t < lengths).unsqueeze(-1), here[-1], last)
    return vectors, last
