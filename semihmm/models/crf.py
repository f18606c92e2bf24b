"""Conditional random fields: structures whose log-weights a network gives, trained on labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from semihmm import inference, structures
from semihmm.engine.tracing import plain
from semihmm.errors import DataError, SemihmmError, ShapeError
from semihmm.inference import Paths
from semihmm.models import saving
from semihmm.models.arguments import checks_methods
from semihmm.models.topology import Allowed, dense, first_states
from semihmm.structures.authoring import one_hot, tensor_of, until

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S", structures.HMM, structures.HSMM)
Reduction = Literal["mean", "sum", "none"]


class Known(NamedTuple):
    """What labels say of a path.

    Attributes:
        states: which states each step may be in, bool ``(..., T, S)``.
        begins: whether a segment begins with each step, int64 ``(..., T)``: 1, 0, or -1 for unknown; None for a
            structure without segments, and where nothing is known of them.
        event: the one path that agrees, where all is known.
    """

    states: Tensor
    begins: Tensor | None = None
    event: Tensor | None = None


class CRF(nn.Module, ABC, Generic[S]):
    """Scores of labels, given at each step by any network, and trained scores of what follows what.

    `LinearChainCRF` and `SemiMarkovCRF` are ones. ``crf(scores, lengths)`` is a structure, of which every question can
    be asked, and differentiated. Any optimiser of PyTorch trains it, together with the network, by one of its losses.
    What `forward` takes besides, all methods take as ``features``.

    Args:
        states: how many labels there are, S.
        allowed: which label may follow which, bool ``(S, S)``, ``[from, to]``; None for all.
        start: the labels that a sequence may begin with; None for all.
        end: the labels that it may end with; None for all.

    `constraints` makes these masks from a tagging scheme. What they forbid has a log-weight of ``-inf``, whatever the
    training does. Trained scores start at 0.
    """

    allowed: Tensor
    start: Tensor
    end: Tensor

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        checks_methods(cls)

    def __init__(
        self,
        states: int,
        allowed: Allowed | None = None,
        start: Sequence[int] | None = None,
        end: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.states = states
        masks = {
            "allowed": dense(states, allowed)[2],
            "start": first_states(states, start),
            "end": first_states(states, end, "end"),
        }
        for name, mask in masks.items():
            mask = torch.ones(states, dtype=torch.bool) if mask is None else mask.clone()
            self.register_buffer(name, mask, persistent=False)  # whoever loads a model makes them again
        self.initial = nn.Parameter(torch.zeros(states))
        self.transition = nn.Parameter(torch.zeros(states, states))
        self.final = nn.Parameter(torch.zeros(states))

    @property
    @abstractmethod
    def config(self) -> Mapping[str, object]:
        """The arguments that make another CRF like this one."""

    @abstractmethod
    def _read(self, structure: S, labels: Any) -> Known:
        """What labels say of a structure's path, once they are checked."""

    @abstractmethod
    def _agreeing(self, structure: S, known: Known) -> S:
        """The paths that agree with what is known."""

    def decode(
        self, scores: Tensor | None, lengths: Tensor | None = None, k: int | None = None, **features: Tensor
    ) -> Paths:
        """The best path of each sequence (Viterbi); its ``.states``, ``.event`` and ``.score``.

        Args:
            k: instead, the k best paths, ``(k, ...)``, best first.
        """
        with torch.no_grad():
            structure = self(scores, lengths, **features)
            return inference.viterbi(structure) if k is None else inference.topk(structure, k)

    def predict(self, scores: Tensor | None, lengths: Tensor | None = None, **features: Tensor) -> Tensor:
        """The label of each step on the best path, int64 ``(..., T)``; -1 after the end."""
        with torch.no_grad():
            return inference.viterbi(self(scores, lengths, **features)).states

    def predict_proba(self, scores: Tensor | None, lengths: Tensor | None = None, **features: Tensor) -> Tensor:
        """The posterior probability of each label at each step, ``(..., T, S)``; 0 after the end."""
        with torch.no_grad():
            return inference.expected_counts(self(scores, lengths, **features), ("emission",))[1]["emission"]

    def log_prob(self, scores: Tensor | None, labels: Any, lengths: Tensor | None = None, **features: Tensor) -> Tensor:
        """The log-probability that the labels are so, in nats ``(...)``; ``-inf`` where no path agrees with them."""
        structure: S = self(scores, lengths, **features)
        return self._log_prob(structure, self._read(structure, labels))

    def nll(
        self,
        scores: Tensor | None,
        labels: Any,
        lengths: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
        **features: Tensor,
    ) -> Tensor:
        """The negative log-likelihood of the labels, in nats.

        Args:
            labels: the label of each step, integers ``(..., T)``, -1 where it is not known; or which ones it may be,
                bool ``(..., T, S)``: then the probabilities of all paths that agree are added up.
            reduction: over sequences, ``"mean"``, ``"sum"``, or ``"none"``: one for each.
        Raises:
            DataError: labels that no path agrees with, by their place.
        """
        structure: S = self(scores, lengths, **features)
        known = self._read(structure, labels)
        log_prob = self._log_prob(structure, known)
        self._refuse(structure, known, log_prob)
        return _reduced(-log_prob, reduction)

    def hinge(
        self,
        scores: Tensor | None,
        labels: Any,
        lengths: Tensor | None = None,
        *,
        cost: Tensor | None = None,
        margin: float = 1.0,
        reduction: Reduction = "mean",
        **features: Tensor,
    ) -> Tensor:
        """The structured hinge loss (Taskar et al. 2003; Tsochantaridis et al. 2005).

        How far the best path, its cost added to its score, is ahead of the best one that agrees with the labels: 0
        once that one leads each other path by what it costs, and never negative.

        Args:
            cost: of each label at each step ``(..., T, S)``; None for 1 where it does not agree (Hamming).
            margin: what multiplies the cost.
        Raises:
            DataError: labels that no path agrees with, by their place.
        """
        structure: S = self(scores, lengths, **features)
        known = self._read(structure, labels)
        true = (
            inference.viterbi(self._agreeing(structure, known)).score
            if known.event is None
            else inference.score(structure, known.event)
        )
        self._refuse(structure, known, true)
        emission = structure.emission + margin * self._cost(structure, known, cost)
        found = inference.viterbi(structure.replace(emission=emission)).score
        return _reduced((found - true).clamp(min=0.0), reduction)

    def risk(
        self,
        scores: Tensor | None,
        labels: Any,
        lengths: Tensor | None = None,
        *,
        cost: Tensor | None = None,
        reduction: Reduction = "mean",
        **features: Tensor,
    ) -> Tensor:
        """The posterior mean of a path's cost, such as of its number of wrong labels (Smith & Eisner 2006).

        Args:
            cost: of each label at each step ``(..., T, S)``; None for 1 where it does not agree (Hamming).
        """
        structure: S = self(scores, lengths, **features)
        cost = self._cost(structure, self._read(structure, labels), cost)
        return _reduced(inference.risk(structure, structure.feature(emission=cost)), reduction)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the CRF to a safetensors file, as `Model.save` does."""
        saving.save(path, type(self).__name__, self.config, {}, self.state_dict())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: no such file, or another kind of file or model.
        """
        return saving.load(path, {cls.__name__: cls}, {})

    @property
    def _choices(self) -> dict[str, object]:
        """The arguments that every CRF takes."""
        start, end = (mask.nonzero().flatten().tolist() for mask in (self.start, self.end))
        return {"states": self.states, "allowed": self.allowed.tolist(), "start": start, "end": end}

    def _weights(self, transition: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The trained scores of first labels, of what follows what, with a network's added, and of last labels."""
        own = torch.where(self.allowed, self.transition, -torch.inf)
        if transition is not None and transition.shape[-2:] != own.shape:
            raise ShapeError(
                f"{type(self).__name__}: transition must be (..., T-1, S, S) with S = {self.states}, to be added to "
                f"the trained ones, got {tuple(transition.shape)}."
            )
        return (
            torch.where(self.start, self.initial, -torch.inf),
            own if transition is None else own + transition,
            torch.where(self.end, self.final, -torch.inf),
        )

    def _check_scores(self, scores: Tensor | None, name: str = "scores", axes: str = "T, S") -> None:
        if scores is not None and not isinstance(scores, Tensor):
            raise DataError(f"{type(self).__name__}: {name} must be a tensor, got {type(scores).__name__}.")
        if scores is not None and (scores.ndim < 2 or scores.shape[-1] != self.states):
            raise ShapeError(
                f"{type(self).__name__}: {name} must be (..., {axes}) with S = {self.states}, got "
                f"{tuple(scores.shape)}."
            )

    def _log_prob(self, structure: S, known: Known) -> Tensor:
        if known.event is not None:
            return inference.log_prob(structure, known.event)
        agree, every = inference.log_partition(self._agreeing(structure, known)), inference.log_partition(structure)
        return torch.where(agree == -torch.inf, -torch.inf, agree - every)

    def _cost(self, structure: S, known: Known, cost: Tensor | None) -> Tensor:
        if cost is None:
            return (~known.states).to(structure.emission)
        if cost.shape != structure.emission.shape:
            raise ShapeError(
                f"{type(self).__name__}: cost must be (..., T, S) = {tuple(structure.emission.shape)}, got "
                f"{tuple(cost.shape)}."
            )
        return cost

    @torch.no_grad()
    def _refuse(self, structure: S, known: Known, log_weight: Tensor) -> None:
        """Refuse labels that no path agrees with, by the first step whose label is one too many."""
        if not plain((log_weight,)) or not (impossible := log_weight == -torch.inf).any():
            return
        at = tuple(impossible.nonzero()[0].tolist())
        one, states = structure[at], known.states[at]
        begins = None if known.begins is None else known.begins[at]

        def excludes_all(step: int) -> bool:
            """Whether no path agrees with the labels up to this step."""
            later = torch.arange(one.steps, device=states.device) > step
            so_far = Known(states | later.unsqueeze(-1), None if begins is None else torch.where(later, -1, begins))
            return bool(inference.log_partition(self._agreeing(one, so_far)) == -torch.inf)

        step = bisect_left(range(one.steps), True, key=excludes_all)
        before = f" where step {step - 1} has {_said(states[step - 1])}" if step else ""
        raise DataError(
            f"{type(self).__name__}: labels{list(at) if at else ''} are impossible: no path that agrees with them has "
            f"{_said(states[step])} at step {step}{before}. Correct them, or what forbids it: one of "
            f"{', '.join(name for name in self.config if name != 'states')}, or a score of -inf.",
            see="no-path",
        )


checks_methods(CRF)


class LinearChainCRF(CRF[structures.HMM]):
    """A linear-chain conditional random field (Lafferty et al. 2001): one label per step.

    ``crf(scores, lengths)`` is a `semihmm.HMM`. Its arguments are those of every `CRF`.

    Example:
        >>> crf = LinearChainCRF(3, allowed=[[True, True, False], [False, True, True], [True, False, True]])
        >>> network = torch.nn.Linear(8, 3)
        >>> x, labels, lengths = torch.randn(2, 5, 8), torch.tensor([[0, 1, -1, 2, 0], [2, 2, 0, 0, 0]]), [5, 3]
        >>> loss = crf.nll(network(x), labels, torch.tensor(lengths))  # the third label of the first is not known
        >>> loss.backward()
        >>> crf.predict(network(x), torch.tensor(lengths)).shape
        torch.Size([2, 5])
    """

    @property
    def config(self) -> dict[str, object]:
        return self._choices

    def forward(
        self, scores: Tensor, lengths: Tensor | None = None, *, transition: Tensor | None = None
    ) -> structures.HMM:
        """The structure.

        Args:
            scores: of each label at each step ``(..., T, S)``, in nats.
            lengths: ``(...)``; None for T.
            transition: scores of what follows what ``(..., T-1, S, S)``, to be added to the trained ones.
        """
        self._check_scores(scores)
        initial, moves, final = self._weights(transition)
        return structures.HMM(initial, moves, scores, final, lengths)

    def _read(self, structure: structures.HMM, labels: Any) -> Known:
        """Labels of steps, or those that each may have."""
        labels = tensor_of(type(self).__name__, "labels", labels, structure.emission.device)
        states = allowed_states(type(self).__name__, structure, labels)
        whole = labels.dtype != torch.bool and plain((labels,)) and bool(((labels >= 0) | ~inside(structure)).all())
        return Known(states, event=labels.long() if whole else None)

    def _agreeing(self, structure: structures.HMM, known: Known) -> structures.HMM:
        """Steps in the states that they may be in."""
        return inference.condition(structure, known.states)


def allowed_states(owner: str, structure: structures.HMM | structures.HSMM, labels: Tensor) -> Tensor:
    """What labels of steps say, bool ``(..., T, S)``: integers with -1 for any, or just that."""
    shape, states = structure.emission.shape, structure.states
    if labels.dtype == torch.bool and labels.shape == shape:
        return labels
    if labels.shape != shape[:-1] or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ShapeError(
            f"{owner}: labels must be integers (..., T) = {tuple(shape[:-1])}, -1 where not known, or bool "
            f"(..., T, S) = {tuple(shape)}, True for what is allowed, got {tuple(labels.shape)} of {labels.dtype}."
        )
    if plain((labels,)):
        wrong = ((labels < -1) | (labels >= states)) & inside(structure)
        if wrong.any():
            at = wrong.nonzero()[0].tolist()
            raise DataError(
                f"{owner}: labels{at} is {int(labels[tuple(at)])}, but labels are 0 to {states - 1}, or -1 where "
                "they are not known.",
                see="labels",
            )
    return one_hot(labels, states) | (labels == -1).unsqueeze(-1)


def inside(structure: structures.HMM | structures.HSMM) -> Tensor:
    """Which steps come before the end, bool ``(..., T)``, or ``(T,)`` where all do."""
    used = until(structure.lengths, structure.steps)
    return torch.ones(structure.steps, dtype=torch.bool, device=structure.emission.device) if used is None else used


def _said(states: Tensor) -> str:
    """Labels that a step may have, in words."""
    if states.all():
        return "any label"
    numbers = states.nonzero().flatten().tolist()
    return f"label {' or '.join(map(str, numbers))}" if numbers else "no label"


def _reduced(loss: Tensor, reduction: Reduction) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise SemihmmError(f"CRF: reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()
