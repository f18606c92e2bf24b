"""The posterior over the paths of any structure, as torch.distributions would have it."""

from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl
from torch.distributions.constraints import Constraint

from semihmm import inference
from semihmm.errors import ShapeError, StructureError
from semihmm.inference import Paths
from semihmm.inference.options import check_structures
from semihmm.structures import Structure
from semihmm.structures.authoring import tensor_of

S = TypeVar("S", bound=Structure)


class PathConstraint(Constraint):
    """Events that the structure has a path for."""

    is_discrete = True

    def __init__(self, structure: Structure, event_dim: int) -> None:
        self.structure, self.event_dim = structure, event_dim
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Bool ``(...)``: whether the event's score is above ``-inf``."""
        return self.structure.score(value) > -torch.inf


class StructureDistribution(Distribution, Generic[S]):
    """The distribution over a structure's paths that its log-weights define: ``exp(score(event) - log_partition)``.

    Args:
        structure: any structure; batch axes and events are its own.
        validate_args: whether `log_prob` refuses events that the structure has no path for, and the structure's
            log-weights are looked through for NaN. None for what torch.distributions does by default.

    Every answer is the function of the same name in `semihmm`, and costs what that costs.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> d = StructureDistribution(hmm)
        >>> d.batch_shape, d.event_shape, round(float(d.entropy().exp()), 6)
        (torch.Size([]), torch.Size([3]), 8.0)
        >>> float(d.log_prob(d.sample()).exp())
        0.125
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012  # as the base class declares it
    has_rsample = False

    def __init__(self, structure: S, validate_args: bool | None = None) -> None:
        check_structures(structure)
        self.structure = structure
        super().__init__(structure.batch_shape, validate_args=validate_args)

    @cached_property
    def log_partition(self) -> Tensor:
        """The log of the normaliser, in nats ``(...)``."""
        return inference.log_partition(self.structure, validate=self._validate_args)

    @cached_property
    def best(self) -> Paths:
        """The most probable path, with its score."""
        return inference.viterbi(self.structure)

    @property
    def event_shape(self) -> torch.Size:
        """The axes of an event; found by decoding once."""
        return self.best.event.shape[len(self.batch_shape) :]

    @property
    def support(self) -> Constraint:
        """The events that there is a path for."""
        return PathConstraint(self.structure, len(self.event_shape))

    @property
    def mode(self) -> Tensor:
        """The event of the most probable path, ``(..., *event)``."""
        return self.best.event

    @property
    def marginals(self) -> S:
        """How often each potential is used, in expectation: a structure of the same class."""
        return inference.marginals(self.structure)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of events ``(*sample, ..., *event)``, in nats; differentiable.

        Raises:
            ShapeError, StructureError: events of another shape, or that there is no path for (``validate_args``).
            DataError: events with -1 before their end: partial labels are for `semihmm.condition`.
        """
        value = tensor_of("StructureDistribution", "events", value)
        if self._validate_args:
            self._refuse_others(value)
        return self.structure.score(value) - self.log_partition

    def sample(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None
    ) -> Tensor:
        """Exact, independent draws ``(*sample_shape, ..., *event)``."""
        with torch.no_grad():
            return inference.sample(self.structure, sample_shape, generator=generator).event

    def entropy(self) -> Tensor:
        """In nats, ``(...)``."""
        return inference.entropy(self.structure)

    def _refuse_others(self, value: Tensor) -> None:
        """As `Distribution._validate_sample`, which needs the event's shape before anything was asked."""
        shape = self.batch_shape + self.event_shape
        if value.shape[-len(shape) :] != shape:
            raise ShapeError(f"{self}: an event is (*sample, {', '.join(map(str, shape))}), got {tuple(value.shape)}.")
        known = inference.score(self.structure, value) > -torch.inf
        if not known.all():
            raise StructureError(
                f"{self}: there is no path for {int((~known).sum())} of {known.numel()} events. With "
                "validate_args=False their log-probability is -inf.",
                see="no-path",
            )

    def __repr__(self) -> str:
        return f"StructureDistribution({type(self.structure).__name__}, batch_shape={tuple(self.batch_shape)})"


@register_kl(StructureDistribution, StructureDistribution)  # type: ignore[untyped-decorator]
def _kl(p: StructureDistribution[S], q: StructureDistribution[S]) -> Tensor:
    return inference.kl_divergence(p.structure, q.structure)
