"""Checks exercise 10: counts from a list of all paths, each as often as it is probable, and the likelihood of EM."""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

import semihmm
from checkers.tools import Case, Wrong, generator, judge, tensor

STATES, SYMBOLS = 2, 3
Parameters = tuple[Tensor, Tensor, Tensor]


def structure(parameters: Parameters, observed: Tensor, lengths: Tensor) -> semihmm.HMM:
    """What the E-step asks: an HMM whose emissions are the log-probabilities of what was seen."""
    initial, transition, emission = (x.log() for x in parameters)
    return semihmm.HMM(initial, transition, emission.mT[observed], lengths=lengths)


def posteriors(parameters: Parameters, observed: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The E-step."""
    posterior = semihmm.marginals(structure(parameters, observed, lengths))
    return posterior.emission, posterior.transition


def counted(parameters: Parameters, observed: Tensor, lengths: Tensor) -> list[Tensor]:
    """Expected counts by listing all paths: of first states, transitions, and symbols in each state."""
    first, moves, seen = (torch.zeros(n, dtype=torch.float64) for n in ((STATES,), (STATES,) * 2, (STATES, SYMBOLS)))
    whole = structure(parameters, observed, lengths)
    for emission, symbols, length in zip(whole.emission, observed, lengths.tolist(), strict=True):
        item = semihmm.HMM(whole.initial, whole.transition, emission[:length])
        paths = torch.tensor(list(itertools.product(range(STATES), repeat=length)))
        for path, weight in zip(paths.tolist(), semihmm.log_prob(item, paths).exp().tolist(), strict=True):
            first[path[0]] += weight
            for a, b in itertools.pairwise(path):
                moves[a, b] += weight
            for state, symbol in zip(path, symbols.tolist(), strict=False):
                seen[state, symbol] += weight
    return [first, moves, seen]


def drawn(seed: int) -> tuple[Parameters, Tensor, Tensor]:
    """Random parameters and sequences."""
    g = generator(seed)
    shapes = ((STATES,), (STATES, STATES), (STATES, SYMBOLS))
    initial, transition, emission = (torch.rand(n, generator=g, dtype=torch.float64) + 0.1 for n in shapes)
    parameters = (initial / initial.sum(), transition / transition.sum(-1, True), emission / emission.sum(-1, True))
    return parameters, torch.randint(SYMBOLS, (4, 5), generator=g), torch.tensor([5, 3, 4, 2])


def check(answer: Any) -> None:
    names = ("initial", "transition", "emission")
    cases: dict[str, list[Case]] = {name: [] for name in names}
    for seed in range(3):
        parameters, observed, lengths = drawn(seed)
        states, moves = posteriors(parameters, observed, lengths)
        found = _ask(answer, observed, states, moves)
        counts = counted(parameters, observed, lengths)
        rows = [x / x.sum(-1, keepdim=True) for x in counts]
        spent = states.sum((0, 1))
        hard = torch.einsum("bts,btv->sv", _argmax(states), one_hot(observed, SYMBOLS).to(states))
        mistakes: dict[str, dict[str, Tensor]] = {
            "initial": {
                "these are counts: divide by the number of sequences": counts[0],
                "all steps count; only the first of each sequence should": spent / spent.sum(),
            },
            "transition": {
                "these are counts: divide each row by its sum": counts[1],
                "columns sum to 1; each row [from, :] should": counts[1] / counts[1].sum(0),
                "all entries together sum to 1; each row [from, :] should": counts[1] / counts[1].sum(),
                "rows are divided by all steps in a state; the last step of a sequence has no transition": (
                    counts[1] / spent.unsqueeze(-1)
                ),
                "this is [to, from]": rows[1].mT,
                "the counts are [to, from] before they are divided": counts[1].mT / counts[1].sum(0).unsqueeze(-1),
            },
            "emission": {
                "these are counts: divide each row by its sum": counts[2],
                "columns sum to 1; the symbols of each state should": counts[2] / counts[2].sum(0),
                "each step counts for its most probable state alone; it counts for each as far as it is probable": (
                    hard / hard.sum(-1, keepdim=True)
                ),
                "all states have the same row: counts are weighed by the posterior of the state": (
                    counts[2].sum(0) / counts[2].sum()
                ).expand(STATES, SYMBOLS),
                "rows are divided by the number of steps, not by those in the state": counts[2] / lengths.sum(),
            },
        }
        for name, got, right in zip(names, found, rows, strict=True):
            cases[name].append(Case("2 states, 3 symbols, 4 sequences", got, right, mistakes[name]))
    for name in names:
        judge(f"m_step: {name}", cases[name])
    _climbs(answer)
    _unseen(answer)


def _argmax(states: Tensor) -> Tensor:
    return (one_hot(states.argmax(-1), STATES) * (states.sum(-1, keepdim=True) > 0.5)).to(states)


def _ask(answer: Any, observed: Tensor, states: Tensor, moves: Tensor) -> tuple[Any, ...]:
    found = answer.m_step(observed.clone(), SYMBOLS, states.clone(), moves.clone())
    if not isinstance(found, tuple | list) or len(found) != 3:
        raise Wrong("m_step: return three tensors: `return initial, transition, emission`.")
    return found


def _climbs(answer: Any) -> None:
    """The likelihood after each of several steps."""
    parameters, observed, lengths = drawn(5)
    before = -torch.inf
    for step in range(8):
        now = float(semihmm.log_partition(structure(parameters, observed, lengths)).sum())
        if now < before - 1e-9:
            raise Wrong(f"m_step: the log-likelihood of the data fell from {before:.6f} to {now:.6f} at step {step}.")
        before = now
        found = _ask(answer, observed, *posteriors(parameters, observed, lengths))
        initial, transition, emission = (tensor("m_step", x) for x in found)
        parameters = (initial, transition, emission)


def _unseen(answer: Any) -> None:
    """A state that nobody was in."""
    observed = torch.tensor([[0, 1, 1]])
    states = torch.tensor([[[1.0, 0.0]] * 3], dtype=torch.float64)
    moves = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    found = _ask(answer, observed, states, moves)
    right = (torch.full((2,), 1 / 2), torch.full((3,), 1 / 3))
    why = "A state without counts keeps uniform rows; 0 / 0 is NaN."
    for name, got, row in zip(("transition", "emission"), found[1:], right, strict=True):
        judge(f"m_step: {name}", [Case("a state that nobody was in", got[1], row.double(), otherwise=why)])
