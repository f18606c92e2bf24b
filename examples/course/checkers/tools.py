"""What checkers are written with: random HMMs, comparisons that know common mistakes, messages for students."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import semihmm

INF = float("inf")


class Wrong(Exception):
    """An answer that is not right yet: the message tells the student what is wrong with it."""


@dataclass(frozen=True)
class Case:
    """One question, what the student answered, and what is right.

    Args:
        asked: the question, in words: "T = 3 steps of S = 2 states".
        got: the student's answer.
        right: the right one.
        mistakes: what common mistakes would answer, by what to tell whoever made them.
        otherwise: what to say where the answer is wrong and no mistake explains it.
    """

    asked: str
    got: Any
    right: Any
    mistakes: Mapping[str, Any] = field(default_factory=dict)
    otherwise: str = ""


def tensor(name: str, got: Any) -> Tensor:
    """A student's answer as float64, without its history."""
    if got is None:
        raise Wrong(f"{name} returned None. Is there a `return`?")
    try:
        return torch.as_tensor(got).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"{name} returned {type(got).__name__}, where a tensor or a number was expected.") from None


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two answers are one, up to rounding; infinities count."""
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-6, atol=1e-7)


def judge(name: str, cases: Sequence[Case]) -> None:
    """Compares all answers with the right ones. A mistake is named only where it explains all of the answers.

    Raises:
        Wrong: what is wrong, and the first question that was answered wrongly.
    """
    got = [tensor(name, case.got) for case in cases]
    right = [torch.as_tensor(case.right).to(torch.float64) for case in cases]
    failed = [i for i, (a, b) in enumerate(zip(got, right, strict=True)) if not same(a, b)]
    if not failed:
        return
    first = failed[0]
    case, answer, expected = cases[first], got[first], right[first]
    for message in case.mistakes:
        if all(same(a, numbers(c.mistakes.get(message))) for c, a in zip(cases, got, strict=True)):
            raise Wrong(f"{name}: {message} ({case.asked}: {shown(answer)} instead of {shown(expected)}).")
    if answer.shape != expected.shape:
        raise Wrong(
            f"{name}: the answer has shape {tuple(answer.shape)}, expected {tuple(expected.shape)} ({case.asked})."
        )
    if answer.isnan().any():
        raise Wrong(
            f"{name}: the answer is NaN ({case.asked}). {case.otherwise or 'Where is -inf - -inf, 0 * inf or 0 / 0?'}"
        )
    raise Wrong(f"{name}: {case.asked}: expected {shown(expected)}, got {shown(answer)}. {case.otherwise}".strip())


def numbers(x: Any) -> Tensor:
    """Float64, to compare with; NaN, which no answer is, where there is nothing."""
    return torch.as_tensor(math.nan if x is None else x).detach().to(torch.float64)


def shown(x: Tensor) -> str:
    """Some numbers in a message: all of a few, the first ones of many."""
    if x.ndim == 0:
        return f"{float(x):.6g}"
    digits = [f"{value:.4g}" for value in x.flatten()[:6].tolist()]
    return f"[{', '.join(digits)}{', ...' if x.numel() > 6 else ''}]"


def generator(seed: int) -> torch.Generator:
    """Of draws that are the same each time."""
    return torch.Generator().manual_seed(seed)


def random_hmm(seed: int, states: int = 3, steps: int = 5, forbidden: float = 0.0) -> semihmm.HMM:
    """An HMM in float64; some of its transitions may be forbidden, never those from a state to itself."""
    g = generator(seed)
    initial, transition, emission = (
        torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((states,), (states, states), (steps, states))
    )
    gone = (torch.rand(states, states, generator=g) < forbidden) & ~torch.eye(states, dtype=torch.bool)
    return semihmm.HMM(initial, transition.masked_fill(gone, -INF), emission)


def parts(hmm: semihmm.HMM) -> tuple[Tensor, Tensor, Tensor]:
    """Copies of its log-weights, for a student's function."""
    return hmm.initial.clone(), hmm.transition.clone(), hmm.emission.clone()


def sizes(hmm: semihmm.HMM) -> str:
    """How large it is, in words."""
    steps, states = hmm.emission.shape[-2:]
    return f"T = {steps}, S = {states}"


def silent_at_first(hmm: semihmm.HMM) -> semihmm.HMM:
    """The same HMM without the emission of step 0."""
    return hmm.replace(emission=torch.cat([torch.zeros_like(hmm.emission[:1]), hmm.emission[1:]]))


def transposed(hmm: semihmm.HMM) -> semihmm.HMM:
    """The same HMM whose transitions are read as ``[to, from]``."""
    return hmm.replace(transition=hmm.transition.mT)
