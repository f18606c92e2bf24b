"""Any distribution of PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, biject_to, constraints

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError
from semihmm.models.emissions.base import Emission, whole_steps


class FromTorch(Emission):
    """Each state has a distribution out of `torch.distributions`. It trains by gradient.

    Args:
        kind: a class of distributions, or any function from tensors to a distribution.
        parameters: where each argument of ``kind`` starts, with S as its first axis. They stay within the constraints
            that the class names (of a function's arguments, none).

    A distribution's batch shape is ``(S, *rest)``, and an observation has the axes ``(*rest, *event)``: what lies in
    ``rest`` is independent given the state.

    Example:
        >>> start = torch.tensor([1.0, 2.0])
        >>> emission = FromTorch(torch.distributions.Weibull, scale=start, concentration=start)
        >>> emission(torch.tensor([0.5, 1.5, 2.5])).shape
        torch.Size([3, 2])
    """

    trains_by_em = False
    apart = True

    def __init__(self, kind: Callable[..., Distribution], **parameters: Tensor) -> None:
        super().__init__()
        self.kind = kind
        known = getattr(kind, "arg_constraints", {})
        self.ways = {name: biject_to(known.get(name, constraints.real)) for name in parameters}
        self.free = nn.ParameterDict({n: nn.Parameter(self.ways[n].inv(x.detach())) for n, x in parameters.items()})
        law = self.law()
        if not law.batch_shape:
            raise ShapeError("FromTorch: the parameters need an axis for the states, got none.")
        self.states: int = law.batch_shape[0]
        rest = law.batch_shape[1:]
        self.rest = len(rest)
        self.event_shape = (*rest, *law.event_shape)
        with torch.random.fork_rng(devices=[]):
            self.filler: Tensor = law.sample()[0]

    def law(self, states: Tensor | None = None) -> Distribution:
        """The distribution of all states, or of the given ones."""
        found = {name: self.ways[name](x) for name, x in self.free.items()}
        return self.kind(**{name: x if states is None else x[states] for name, x in found.items()})

    def forward(self, x: Tensor) -> Tensor:
        law = self.law()
        x, hidden = whole_steps(self, x, f"{type(law).__name__} has no marginals here", len(law.event_shape))
        hidden = None if hidden is None else hidden.unsqueeze(-1 - self.rest)
        x = x.unsqueeze(-1 - len(self.event_shape))
        if not traced() and law.support is not None and not bool(law.support.check(x).all()):
            raise DataError(f"FromTorch: observations must be in the support of all states, {law.support}.")
        log_prob: Tensor = law.log_prob(x)
        log_prob = log_prob if hidden is None else torch.where(hidden, 0.0, log_prob)
        log_prob = log_prob.flatten(log_prob.ndim - self.rest).sum(-1) if self.rest else log_prob
        return log_prob.to(self.dtype)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """It starts from the parameters that it has."""

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        devices = [states.device] if states.is_cuda else []
        with torch.random.fork_rng(devices, enabled=generator is not None):  # distributions take no generator
            if generator is not None:
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
            return self.law(states).sample()

    def expected(self) -> Tensor:
        found: Tensor = self.law().mean
        return found

    def describe(self) -> dict[str, Tensor]:
        """Its arguments."""
        return {name: self.ways[name](x).detach() for name, x in self.free.items()}
