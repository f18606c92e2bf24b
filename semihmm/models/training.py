"""How a model learns: expectation-maximisation, and gradient ascent on the same objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from semihmm.errors import DataError, SemihmmError
from semihmm.inference import expected_counts, log_partition
from semihmm.models.emissions import Emission
from semihmm.models.part import Law
from semihmm.structures import Structure
from semihmm.structures.authoring import until

Callback = Callable[[int, float], None]


class Trainable(Protocol):
    """What can be fitted: laws and an emission, of which there is a structure for each sequence.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> model: Trainable = HMM(2, Gaussian(2, features=3))
    """

    emission: Emission

    @property
    def laws(self) -> dict[str, Law]:
        """The potentials that no observation changes, by name."""
        ...

    def structure(self, emission: Tensor, lengths: Tensor | None = None) -> Structure:
        """The structure for log-likelihoods ``(..., T, S)``."""
        ...

    def log_prior(self) -> Tensor:
        """The log-density of the parameters under their prior."""
        ...

    def project(self) -> None:
        """Move parameters back into their bounds."""
        ...

    def parameters(self) -> Iterable[nn.Parameter]:
        """What is fitted."""
        ...


@dataclass(frozen=True)
class Fit:
    """How a fit went.

    Attributes:
        history: the objective before the first iteration and after each, in nats: the log-likelihood of all data, plus
            the log-density of the parameters under their prior.
        converged: whether it ended because an iteration gained less than the tolerance.

    Example:
        >>> Fit(history=(-12.0, -10.5), converged=False).objective
        -10.5
    """

    history: tuple[float, ...]
    converged: bool

    @property
    def objective(self) -> float:
        """Where it ended, in nats."""
        return self.history[-1]

    @property
    def iterations(self) -> int:
        """How many there were."""
        return len(self.history) - 1


class _Progress:
    """The history so far, and whether to go on."""

    def __init__(self, iterations: int, least_gain: float, callback: Callback | None) -> None:
        self.iterations, self.least_gain, self.callback = iterations, least_gain, callback
        self.history: list[float] = []

    def goes_on(self, objective: float) -> bool:
        if not math.isfinite(objective):
            raise SemihmmError(
                f"fit: the objective is {objective} after {len(self.history)} iterations. Take a smaller learning "
                "rate, or look at the emission's outputs and at how long the sequences are."
            )
        self.history.append(objective)
        if self.callback is not None:
            self.callback(len(self.history) - 1, objective)
        return len(self.history) <= self.iterations and not self.converged

    @property
    def converged(self) -> bool:
        return len(self.history) > 1 and abs(self.history[-1] - self.history[-2]) < self.least_gain

    def fit(self) -> Fit:
        return Fit(tuple(self.history), self.converged)


def em(
    model: Trainable, x: Tensor, lengths: Tensor | None, iterations: int, tolerance: float, callback: Callback | None
) -> Fit:
    """Expectation-maximisation (Dempster, Laird & Rubin 1977; Baum et al. 1970): two scans and one update an iteration.

    Args:
        x, lengths: checked, as the model's `forward` would.
    Raises:
        SemihmmError: the objective fell by more than rounding explains.
    """
    seen = before_the_end(model, x, lengths)
    progress = _Progress(iterations, tolerance * int(seen.sum()), callback)
    rounding = 1e-9 if next(iter(model.parameters())).dtype == torch.float64 else 1e-5
    while True:
        with torch.no_grad():
            structure = model.structure(model.emission(x), lengths)
            prior = float(model.log_prior())
            value, counts = expected_counts(structure, validate=not progress.history)
        if bool((value == -torch.inf).any()):
            where = (value == -torch.inf).nonzero().tolist()
            raise DataError(
                f"fit: the model cannot explain {len(where)} of the sequences at all (the first at {where[0]}): every "
                "path has probability 0. Are they too short or too long for its transitions and durations, or do they "
                "hold what was never seen? A pseudo-count helps."
            )
        log_likelihood = float(value.double().sum())
        objective = log_likelihood + prior
        before = progress.history[-1] if progress.history else objective
        if objective < before - rounding * max(1.0, abs(before)):
            raise SemihmmError(
                f"fit: EM lowered the objective from {before} to {objective} in iteration {len(progress.history)}. A "
                "part's update must not make sum(counts * forward()) + log_prior() smaller: look at those of your own."
            )
        if not progress.goes_on(objective):
            return progress.fit()
        with torch.no_grad():
            for name, law in model.laws.items():
                law.update(counts[name])
            model.emission.update(x[seen], counts["emission"][seen])


def gradient(
    model: Trainable,
    x: Tensor,
    lengths: Tensor | None,
    iterations: int,
    tolerance: float,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None,
    callback: Callback | None,
) -> Fit:
    """Climb the objective per step with an optimiser, all data at once; bounds are kept by projection."""
    steps = int(before_the_end(model, x, lengths).sum())
    make = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=0.05))
    climber = make([p for p in model.parameters() if p.requires_grad])
    progress = _Progress(iterations, tolerance * steps, callback)

    def objective() -> Tensor:
        structure = model.structure(model.emission(x), lengths)
        return log_partition(structure, validate=not progress.history).double().sum() + model.log_prior()

    def loss() -> float:  # an optimiser such as LBFGS asks several times a step
        climber.zero_grad()
        value = -objective() / steps
        value.backward()
        return float(value.detach())

    with torch.no_grad():
        going = progress.goes_on(float(objective()))
    while going:
        with torch.enable_grad():
            climber.step(loss)
        model.project()
        with torch.no_grad():
            going = progress.goes_on(float(objective()))
    climber.zero_grad()
    return progress.fit()


def before_the_end(model: Trainable, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Which steps lie before the end, bool ``(..., T)``."""
    shape = x.shape[: x.ndim - len(model.emission.event_shape)]
    inside = until(lengths, shape[-1])
    return torch.ones(shape, dtype=torch.bool, device=x.device) if inside is None else inside
