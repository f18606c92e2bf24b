"""How a model learns: expectation-maximisation in its forms, and gradient ascent on the same objective."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.inference import total
from semihmm.models.expectation import expectation, from_sums, maximisation, may_be_empty, revive, sums, tally
from semihmm.models.part import Driven, trained
from semihmm.models.progress import Progress, Snapshot
from semihmm.models.restarts import SideBySide
from semihmm.models.sequences import Batch
from semihmm.semirings import Log, Max

if TYPE_CHECKING:
    from semihmm.models.base import Model
    from semihmm.models.sequences import Data

    M = TypeVar("M", bound=Model[Any])

Method: TypeAlias = Literal["em", "viterbi", "stochastic", "gradient"]
_TOGETHER = 1 << 20  # posteriors beyond which fits side by side leave the cache, and gain nothing on a CPU
_LITTLE = 1e-3  # of all gains since the first iteration
_PLATEAU = 1e-2  # of the tolerance: with less, an iteration is the last one on a plateau too
_METHODS = ("em", "viterbi", "stochastic", "gradient")


@dataclass(frozen=True)
class Plan:
    """How to fit: the arguments of `Model.fit` by their names there."""

    method: Method
    iterations: int = 100
    tolerance: float = 1e-5
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None
    step_size: Callable[[int], float] | None = None
    validation: Any = None
    patience: int = 5
    time_limit: float | None = None
    end: float = math.inf  # the time by `time.monotonic` at which that has gone by
    progress: bool | None = None
    callback: Callable[[int, float], None] | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise ShapeError(f"fit: method must be one of {', '.join(map(repr, _METHODS))}, got {self.method!r}.")


@dataclass(frozen=True)
class Fit:
    """How a fit went.

    Attributes:
        history: the objective before the first iteration and after each, in nats: the log-likelihood of all data, plus
            the log-density of the parameters under their prior.
        converged: whether it ended because an iteration gained less than the tolerance.
        ended: why it ended: ``"converged"``, ``"iterations"``, ``"validation"`` (held-out data became no more
            probable), ``"time"`` or ``"interrupted"``.
        validation: the log-likelihood of held-out data at the same times; empty without.
        restarts: the objective that each start led to.
        kept: which place in the history has the parameters that the model was left with.

    Example:
        >>> Fit(history=(-12.0, -10.5), converged=False).objective
        -10.5
    """

    history: tuple[float, ...]
    converged: bool
    ended: str = "iterations"
    validation: tuple[float, ...] = ()
    restarts: tuple[float, ...] = ()
    kept: int = -1

    @property
    def objective(self) -> float:
        """Of the parameters that the model was left with, in nats."""
        return self.history[self.kept]

    @property
    def iterations(self) -> int:
        """How many there were."""
        return len(self.history) - 1


class Batches:
    """The data of a fit, as often as they are asked for; checked once where they lie in memory."""

    def __init__(self, model: Model[Any], x: Data, lengths: Tensor | None, **known: Any) -> None:
        memory = isinstance(x, Tensor | np.ndarray | list | tuple)
        self.once = iter(x) if isinstance(x, Iterator) else None
        self.read: Callable[[], Iterator[Batch]] = lambda: model.batches(x, lengths, **known)
        if self.once is not None:
            given = self.once
            self.read = lambda: model.batches(given, lengths, **known)
        self.held = list(self.read()) if memory else None
        self.front: list[Batch] = []

    @property
    def single(self) -> bool:
        """Whether there is one batch, in memory."""
        return self.held is not None and len(self.held) == 1

    def first(self) -> Batch:
        """The first batch. One of an iterator, which can be read once, is not lost."""
        if self.held is not None:
            return self.held[0]
        if not self.front:
            reading = self.read()
            self.front = [next(reading)]
            if self.once is not None:
                self.read = lambda: chain(self.front, reading)
        return self.front[0]

    def __iter__(self) -> Iterator[Batch]:
        if self.held is not None:
            return iter(self.held)
        found = self.read()
        if self.once is not None:
            self.read = self._gone
        return found

    @staticmethod
    def _gone() -> Iterator[Batch]:
        raise DataError(
            "fit: an iterator can be read once. Pass a DataLoader or a list of batches, or fit with "
            "method='stochastic' and iterations=1.",
            see="read-once",
        )


def fit(model: M, data: Batches, plan: Plan, begin: Callable[[M], None], restarts: int) -> Fit:
    """Fit from so many starts, and leave the best parameters in the model.

    Args:
        begin: sets a model's parameters to those it starts from.
    """
    plan = replace(plan, end=math.inf if plan.time_limit is None else time.monotonic() + plan.time_limit)
    if restarts == 1:
        begin(model)
        return _METHOD[plan.method](model, data, plan)
    starts = []
    for _ in range(restarts):
        begin(model)
        starts.append(Snapshot(model))
    alike = plan.method == "em" and data.single and plan.validation is None
    found = (em_side_by_side(model, starts, data, plan) if alike else None) or []
    while len(found) < restarts and not (found and found[-1][0].ended == "interrupted"):
        starts[len(found)].restore()
        found.append((_METHOD[plan.method](model, data, plan), Snapshot(model)))
    best, parameters = max(found, key=lambda one: _reached(one[0]))
    parameters.restore()
    return replace(best, restarts=tuple(fit.objective for fit, _ in found))


def _reached(fit: Fit) -> float:
    return max(fit.validation) if fit.validation else fit.objective


def progress(model: Model[Any] | None, plan: Plan, rising: bool) -> Progress:
    """What watches over a fit."""
    held_out = None
    if plan.validation is not None and model is not None:
        given = plan.validation
        unseen = list(
            model.batches(**given)
            if isinstance(given, Mapping)
            else model.batches(*given if isinstance(given, tuple) else (given,))
        )

        def held_out() -> float:
            with torch.no_grad():
                return sum(float(likelihood(model, batch)) for batch in unseen)

    return Progress(
        model,
        iterations=plan.iterations,
        rising=rising,
        validation=held_out,
        patience=plan.patience,
        end=plan.end,
        bar=plan.progress,
        callback=plan.callback,
    )


def finished(watch: Progress) -> Fit:
    """The fit that was watched over."""
    return Fit(
        tuple(watch.history), watch.ended == "converged", watch.ended, tuple(watch.validation), kept=watch.best_at
    )


def likelihood(model: Model[Any], batch: Batch, validate: bool = False, best: bool = False) -> Tensor:
    """The log-likelihood of all sequences of a batch, each as often as it counts; differentiable.

    Args:
        best: whether the best path counts alone.
    """
    each = total(model.explained(batch), Max() if best else Log(), validate=validate).double()
    return (each if batch.weights is None else each * batch.weights).sum()


def searched(model: Model[Any], data: Batches, watch: Progress, best: bool = False) -> bool:
    """Whether a law of a fit that has converged finds parameters that neither EM nor gradients lead to."""
    laws = [law for law in model.laws.values() if law.searches and trained(law)]
    if watch.ended != "converged" or watch.done or not laws:
        return False

    def objective() -> float:
        with torch.no_grad():
            return sum(float(likelihood(model, batch, best=best)) for batch in data) + float(model.log_prior())

    watch.ended = ""  # if it is interrupted now, it goes back
    found = [law.search(objective, watch.least_gain) for law in laws]
    watch.ended = "" if any(found) else "converged"
    return any(found)


def em(model: Model[Any], data: Batches, plan: Plan) -> Fit:
    """Expectation-maximisation (Dempster, Laird & Rubin 1977; Baum et al. 1970).

    Raises:
        SemihmmError: the objective fell by more than rounding explains.
    """
    rounding, revived, fell = _rounding(model), set[int](), False
    best, prior = plan.method == "viterbi", _prior(model)
    with progress(model, plan, rising=True) as watch:
        while True:
            value, steps, found, expected = 0.0, 0.0, dict[str, Tensor](), None
            last = 0 < plan.iterations == len(watch.history)  # nothing is learnt from that look
            for batch in data:
                if last:
                    with torch.no_grad():
                        value, steps = value + float(likelihood(model, batch, best=best)), steps + batch.steps
                    continue
                expected = expectation(model, batch, best, validate=not watch.history)
                value, steps = value + expected.value, steps + batch.steps
                if not data.single:
                    found = _added(found, sums(model, expected))
            objective = value + prior(None)
            _check_rise(watch.history[:0] if fell else watch.history, objective, rounding, steps)
            watch.least_gain = 0.0 if fell else _least_gain(plan.tolerance * steps, watch.history, objective)
            if not watch.goes_on(objective):
                if searched(model, data, watch, best):
                    continue
                break
            if data.single:
                assert expected is not None
                maximisation(model, expected)
                found = tally(model, expected) if may_be_empty(expected) else {}
            else:
                from_sums(model, found)
            again = revive(model, found, data.first, revived, plan.generator) if found else []
            fell = bool(again)
            watch.rising = watch.rising and not again  # what it comes back to may be less than what it was
            if again:
                warnings.warn(
                    f"fit: {len(again)} of the states ({again}) explained nothing after {len(watch.history) - 1} "
                    "iterations and were drawn anew. Fewer states, or restarts, may do better.",
                    stacklevel=5,
                )
    return finished(watch)


def em_side_by_side(
    model: Model[Any], starts: Sequence[Snapshot], data: Batches, plan: Plan
) -> list[tuple[Fit, Snapshot]] | None:
    """`em` from several starts at once, those that have ended left out; None where that is not worth it.

    Nor is it for laws that `Law.search` when a fit has converged, each in its own time.
    """
    batch, rounding, prior = data.first(), _rounding(model), _prior(model)
    numbers = batch.shape.numel() * len(starts) * model.states
    if any(isinstance(law, Driven) for law in model.laws.values()):
        numbers *= model.states  # at each step
    searching = any(law.searches for law in model.laws.values())
    if searching or (numbers > _TOGETHER and batch.x.device.type == "cpu"):
        return None
    together = SideBySide.room(model, len(starts))
    for row, start in enumerate(starts):
        start.restore()
        together.put(row)
    watches = [progress(None, replace(plan, progress=False, callback=None), rising=True) for _ in starts]
    found: dict[int, Snapshot] = {}
    going = list(range(len(starts)))
    with progress(None, plan, rising=True) as shown:
        best = Snapshot(together.parts)
        try:
            while going:
                values, counts, posterior = together.expectation(batch, validate=not watches[going[0]].history)
                left = []
                for row, (i, value) in enumerate(zip(going, values.tolist(), strict=True)):
                    objective = value + prior(partial(together.load, row))
                    _check_rise(watches[i].history, objective, rounding, batch.steps)
                    watches[i].least_gain = _least_gain(plan.tolerance * batch.steps, watches[i].history, objective)
                    if watches[i].goes_on(objective):
                        left.append(row)
                    else:
                        together.load(row)
                        found[i] = Snapshot(model)
                best.take()
                shown.show(max(watch.history[-1] for watch in watches), len(watches[going[0]].history) - 1)
                if left and len(left) < len(going):
                    rows = torch.tensor(left)
                    counts = {n: x[rows] for n, x in counts.items()}
                    posterior = posterior.unflatten(-1, (len(going), -1))[:, rows].flatten(1)
                    together = together.only(left)
                    best = Snapshot(together.parts)
                going = [going[row] for row in left]
                if going:
                    together.maximisation(batch, counts, posterior)
        except KeyboardInterrupt:
            if not all(watch.interrupt() for watch in watches):
                raise
            best.restore()
            for row, i in enumerate(going):
                together.load(row)
                found[i] = Snapshot(model)
    return [(finished(watch), found[i]) for i, watch in enumerate(watches)]


def _prior(model: Model[Any]) -> Callable[[Callable[[], None] | None], float]:
    """The log-density of a model's parameters under their prior, which is not asked for where there is none.

    The function takes what gives the model the parameters that are meant; None for those that it has.
    """
    parts = [part for part in (*model.laws.values(), model.emission) if part.has_prior]

    def prior(load: Callable[[], None] | None) -> float:
        if parts and load is not None:
            load()
        return sum(float(part.log_prior().detach()) for part in parts)

    return prior


def _rounding(model: nn.Module) -> float:
    """The share of an objective, or nats for each step, that rounding explains."""
    return 1e-9 if next(model.parameters()).dtype == torch.float64 else 1e-5


def _least_gain(tolerance: float, history: Sequence[float], objective: float) -> float:
    """What an iteration of EM must gain: less than the tolerance on a plateau.

    Where states are almost alike, EM leaves a saddle by steps that grow from next to nothing. There, next to nothing
    has been gained since the first iteration, too.
    """
    gained = objective - history[1] if len(history) > 1 else 0.0
    return min(tolerance, max(_PLATEAU * tolerance, _LITTLE * gained))


def _check_rise(history: Sequence[float], objective: float, rounding: float, steps: float) -> None:
    """Refuse an objective that EM lowered."""
    before = history[-1] if history else objective
    if objective < before - rounding * max(1.0, abs(before), steps):
        raise SemihmmError(
            f"fit: EM lowered the objective from {before} to {objective} in iteration {len(history)}. A part's update "
            "must not make sum(counts * forward()) + log_prior() smaller: look at those of your own.",
            see="objective",
        )


def stochastic(model: Model[Any], data: Batches, plan: Plan) -> Fit:
    """Stochastic EM: an update after each batch, from sums that forget slowly (Cappé & Moulines 2009, eq. 9)."""
    step_size = plan.step_size or (lambda k: (k + 1) ** -0.6)
    running: dict[str, Tensor] = {}
    k, known = 0, 0.0
    plan = replace(plan, iterations=plan.iterations - 1)  # there is no objective from before the first pass
    with progress(model, plan, rising=True) as watch:
        while True:
            value, steps = 0.0, 0.0
            for batch in data:
                k += 1
                expected = expectation(model, batch, validate=not watch.history)
                value, steps = value + expected.value, steps + batch.steps
                known = max(known, steps)
                share = step_size(k) if running else 1.0
                if not 0 < share <= 1:
                    raise ShapeError(f"fit: step_size({k}) must be above 0 and at most 1, got {share}.")
                fresh = {n: x * (share / batch.steps) for n, x in sums(model, expected).items()}
                running = _added({n: x * (1 - share) for n, x in running.items()}, fresh)
                from_sums(model, {n: x * known for n, x in running.items()})
            watch.least_gain = plan.tolerance * steps
            if not watch.goes_on(value + float(model.log_prior().detach())):
                break
    return finished(watch)


def gradient(model: Model[Any], data: Batches, plan: Plan) -> Fit:
    """Climb the objective per step with an optimiser, a step for each batch; bounds are kept by projection."""
    make = plan.optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=0.05))
    free = [p for p in model.parameters() if p.requires_grad]
    if not free:
        raise StructureError("fit: every parameter is frozen, so there is nothing to climb with.")
    climber = make(free)

    def objective() -> tuple[float, float]:
        with torch.no_grad():
            found = [(float(likelihood(model, b, not watch.history)), b.steps) for b in data]
            return sum(v for v, _ in found) + float(model.log_prior()), sum(n for _, n in found)

    with progress(model, plan, rising=False) as watch:
        value, steps = objective()
        watch.least_gain = plan.tolerance * steps
        going = watch.goes_on(value)
        while going:
            for batch in data:

                def loss(batch: Batch = batch) -> float:  # an optimiser such as LBFGS asks several times a step
                    climber.zero_grad()
                    found = -(likelihood(model, batch) / batch.steps + model.log_prior() / steps)
                    found.backward(inputs=free)  # not into the data's
                    return float(found.detach())

                with torch.enable_grad():
                    climber.step(loss)
                model.project()
            going = watch.goes_on(objective()[0]) or searched(model, data, watch)
        climber.zero_grad()
    return finished(watch)


_METHOD: dict[str, Callable[[Any, Batches, Plan], Fit]] = {
    "em": em,
    "viterbi": em,
    "stochastic": stochastic,
    "gradient": gradient,
}


def _added(sums: dict[str, Tensor], more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: sums[name] + x for name, x in more.items()} if sums else more


@contextmanager
def frozen(model: nn.Module, names: Iterable[str] | str) -> Iterator[None]:
    """Parts and parameters that stay as they are, by name."""
    held = []
    for name in [names] if isinstance(names, str) else names:
        mine = [p for n, p in model.named_parameters() if n == name or n.startswith(f"{name}.")]
        if not mine:
            known = ", ".join(n for n, _ in model.named_parameters())
            raise StructureError(f"fit: there is no parameter {name!r} to freeze. There are {known}.")
        held += [p for p in mine if p.requires_grad]
    try:
        for parameter in held:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Parameters that do not train keep their values, whatever is drawn."""
    held = [(p, p.detach().clone()) for p in model.parameters() if not p.requires_grad]
    yield
    with torch.no_grad():
        for parameter, value in held:
            parameter.copy_(value)


@torch.no_grad()
def assign(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set parameters by their names in the state dict."""
    state = model.state_dict()
    for name, value in values.items():
        if name not in state or state[name].shape != torch.as_tensor(value).shape:
            known = ", ".join(f"{n} {tuple(x.shape)}" for n, x in state.items())
            raise StructureError(
                f"fit: init sets {name!r} to something {tuple(torch.as_tensor(value).shape)}; there are {known}."
            )
        state[name].copy_(torch.as_tensor(value))
