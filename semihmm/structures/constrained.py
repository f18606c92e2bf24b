"""Product with an automaton: the paths of a structure whose labels it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.automata import Automaton, Language
from semihmm.engine import Chain, Compose, Dense, Diagonal, Form, Map, Path, Segmental, Sparse
from semihmm.engine.maps.form import check_shared, pick, unchecked
from semihmm.engine.maps.sparse import array_of, incoming
from semihmm.engine.tracing import numbers
from semihmm.errors import StructureError
from semihmm.structures.authoring import Labels, only, whole_numbers
from semihmm.structures.base import Structure
from semihmm.structures.derived import Derived, check_base
from semihmm.structures.hsmm import either
from semihmm.structures.joint import Joint, is_joint, moves
from semihmm.structures.product import Table, gathered, product
from semihmm.structures.transitions import is_dense


def constrain(structure: Structure, language: Language | Automaton, labels: Any = None) -> Constrained:
    """The paths of a structure whose labels a language allows; all else stays as it is.

    Each step of an HMM says its state, each segment of an HSMM its state, each frame of a CTC its token and of a
    MonotonicAlignment its token's index, each arc of a Lattice its number.

    Args:
        language: what may be said, from `semihmm.automata`.
        labels: what to read instead, integers ``(n,)``, one for each state, token or arc: a tag that several states
            share, the word on an arc. What has -1 is passed over.

    Returns:
        A structure that answers every question, with the potentials of the other one: gradients and marginals have
        their shapes.

    Cost: a path is in pairs of a slot and a state of the automaton. Work per step is the arcs between pairs that a path
    can get to and end from: those of the structure times the automaton's states, at most. With all transitions
    between S states, it is S * Q * (S + Q) products for Q states of the automaton, where that takes less time.

    Example:
        >>> import torch, semihmm
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(4, 2))
        >>> twice = constrain(hmm, semihmm.automata.exactly(2, 1))  # 2 of the 4 steps in state 1
        >>> round(float(semihmm.log_partition(twice).exp())), semihmm.marginals(twice).emission.sum(0).tolist()
        (6, [2.0, 2.0])

    Raises:
        StructureError: a structure that says nothing at each step (DTW, RNNT, EditDistance); a label that there is not.
    """
    if not isinstance(language, Language | Automaton):
        raise StructureError(
            f"constrain: a language is one of semihmm.automata, such as automata.exactly(2, 1), got {language!r}."
        )
    if not isinstance(structure, Structure):
        raise StructureError(
            f"constrain: takes a structure, such as HMM or CTC, got {type(structure).__name__}. A model? Give "
            "model(x, lengths).",
            see="not-a-structure",
        )
    if isinstance(structure, Constrained):
        inner = constrain(structure.base, language, labels).automaton
        return replace(structure, automaton=structure.automaton & inner)
    count = structure.labels().alphabet
    read = None if labels is None else whole_numbers("constrain", "labels", labels)
    if read is not None and (len(read) != count or min(read) < -1):
        raise StructureError(
            f"constrain: this {type(structure).__name__} says {count} labels, so what to read instead must be {count} "
            f"integers, from -1 (nothing is said) on, got {len(read)} from {min(read, default=0)}."
        )
    found = language
    if isinstance(found, Language):
        found = found.automaton(count if read is None else max(read) + 1)
    if read is not None:
        found = found.relabelled(read)
    return Constrained(structure, found)


@dataclass(frozen=True, repr=False)
class Constrained(Derived):
    """The paths of another structure that an automaton accepts: what `constrain` makes.

    Args:
        base: the structure.
        automaton: reads what its paths say.
        by_axes: whether pairs may move one axis after the other (`semihmm.engine.Axes`), where that takes less time;
            else they have a matrix or arcs of their own.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(4, 2))
        >>> semihmm.constrain(hmm, semihmm.automata.exactly(2, 1))
        Constrained(base HMM(initial (2,), transition (2, 2), emission (4, 2); float32), automaton Automaton(3 states,
        2 labels); float32)
    """

    automaton: Automaton
    by_axes: bool = True

    def __post_init__(self) -> None:
        check_base(self)
        if not isinstance(self.automaton, Automaton) or not isinstance(self.by_axes, bool):
            raise StructureError(
                "Constrained: automaton must be an Automaton, as semihmm.constrain makes it of a language, and by_axes "
                f"True or False; got {type(self.automaton).__name__} and {self.by_axes!r}."
            )
        if self.automaton.labels != (count := self.base.labels().alphabet):
            raise StructureError(
                f"Constrained: this {type(self.base).__name__} says {count} labels, but the automaton reads "
                f"{self.automaton.labels}."
            )

    def chain(self) -> Chain:
        """The other structure's, between pairs of its slots and the automaton's states."""
        chain = self.base.chain()
        pairs, like = self._pairs(chain), chain.start[0]
        return Chain(
            start=(*map(pairs.of_slots, chain.start), only(pairs.begin(), like)),
            steps=pairs.moved(chain.steps),
            end=(*map(pairs.of_slots, chain.end), only(pairs.accepting, like)),
            lengths=chain.lengths,
            length=chain.length,
        )

    def event(self, path: Path) -> Tensor:
        return self.base.event(self._pairs(self.base.chain()).without_states(path))

    def path(self, event: Tensor) -> Path:
        return self._pairs(self.base.chain()).with_states(self.base.path(event))

    def filtered(self, vectors: Tensor) -> Tensor:
        """Over all states of the automaton that it may still accept from, however long that takes."""
        return self.base.filtered(self._pairs(self.base.chain()).summed(vectors))

    def along_arcs(self) -> Constrained:
        """Without axes."""
        return replace(self, by_axes=False) if self.by_axes else self

    def _pairs(self, chain: Chain) -> _Pairs | Joint:
        labels, base = self.base.labels(), _moving(chain.steps)
        if self.by_axes and isinstance(base, Dense) and labels.of.ndim == 1 and labels.first:
            found = moves(_table(labels.of), self.automaton)
            if is_joint(base.slots, found, base.weight.shape[-3] > 1):
                return Joint(labels, found, self.automaton)
        return _Pairs(base, labels, self.automaton, ENTRIES if not self.by_axes else 0)


ENTRIES = 1 << 22  # of a matrix whose parts are kept: to take those is faster than to find the arcs that are left


class _Pairs:
    """Pairs of a slot and a state of the automaton: what a chain's tensors and paths are among them.

    Between segments, arcs are between states of the HSMM; its slots are these twice, for what ended and what begins.

    Args:
        entries: a matrix of all pairs that has no more is made, however few arcs there are.
    """

    def __init__(self, base: Dense | Sparse | Segmental, labels: Labels, automaton: Automaton, entries: int) -> None:
        self.labels, self.base, self.entries = labels, base, entries
        ended = self.base.states if isinstance(self.base, Segmental) else 0
        self.said = labels.of[..., ended:]
        self.own = self.said.ndim > 1 and not labels.of_arcs  # whether each sequence has labels of its own
        known = _table(self.said if labels.of_arcs else self.said.reshape(-1, self.said.shape[-1]))
        between = self.base.transition if isinstance(self.base, Segmental) else self.base
        arcs = _table(between.source.flatten(0, -3)) if isinstance(between, Sparse) else between.slots
        found = product(arcs, known, labels.of_arcs, labels.first, automaton)
        device = labels.of.device
        self.slot, self.state, self.source, self.arc, used = (torch.from_numpy(x).to(device) for x in found[:5])
        self.used, self.arcs = used.reshape(*self.said.shape[:-1], -1) if self.own else used[0], found.arcs
        self.slots = torch.cat([self.slot, self.slot + ended]) if ended else self.slot
        self.states = self.state.repeat(2) if ended else self.state
        self.moves = torch.from_numpy(automaton.moves).to(device)
        self.accepting = torch.tensor(automaton.accepting, device=device)[self.states]

    def of_slots(self, x: Tensor) -> Tensor:
        """Entries of slots ``(..., N)``, for pairs."""
        return x.index_select(-1, self.slots)

    def begin(self) -> Tensor:
        """Whether a path may begin in each pair, ``(..., P)``."""
        read = self.said.index_select(-1, self.slot) if self.labels.first else torch.full_like(self.slot, -1)
        begins = (self.moves[0, read] == self.state) & self.used
        return torch.cat([begins, begins], -1) if isinstance(self.base, Segmental) else begins

    def moved(self, form: Form) -> Map:
        """A form of the chain, between pairs."""
        if isinstance(form, Compose):
            return Compose(self.moved(form.first), self.moved(form.then))
        if isinstance(form, Diagonal):
            index = self.slots[None] if form.index is None else self.of_slots(form.index)
            return unchecked(Diagonal, weight=form.weight, index=index)
        if isinstance(form, Segmental):
            segment = None if form.segment is None else form.segment.index_select(-1, self.slot)
            duration, emission = (x.index_select(-1, self.slot) for x in (form.duration, form.emission))
            return Segmental(self._between(form.transition), duration, emission, segment)
        assert isinstance(form, Dense | Sparse)
        return self._between(form)

    def _between(self, arcs: Dense | Sparse) -> Dense | Sparse:
        """Arcs between slots, between pairs: of a matrix, one again where that takes less time."""
        dense = isinstance(arcs, Dense)
        weight = gathered(arcs.weight.mT if dense else arcs.weight, self.arc)
        if self.own:  # an arc is there for those whose labels lead along it
            before = self.state[self.source.clamp(min=0) % len(self.slot)]
            read = self.said.index_select(-1, self.slot)[..., None, :, None]
            there = (self.moves[before, read] == self.state.unsqueeze(-1)) & self.used[..., None, :, None]
            weight = torch.where(there, weight, -torch.inf)
        if (
            dense
            and weight.shape[-3] == 1
            and (len(self.slot) ** 2 <= self.entries or is_dense(len(self.slot), self.arcs))
        ):
            return Dense(_filled(weight, self.source))
        return unchecked(Sparse, weight=weight, source=self.source, memory=arcs.memory, arcs=self.arcs)

    def without_states(self, path: Path) -> Path:
        """A path through pairs, through their slots."""
        slots = torch.where(path.slots < 0, -1, self.slots[path.slots.clamp(min=0)])
        if not isinstance(self.base, Sparse):
            return Path(slots, path.choices)
        arc = self._rows(self.arc, path.slots[..., 1:]).gather(-1, path.choices.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return Path(slots, torch.where(path.choices < 0, -1, arc % self.base.source.shape[-1]))

    def with_states(self, path: Path) -> Path:
        """A path through slots, through pairs; where the automaton refuses it, through a pair that is not there."""
        slots, none = path.slots, len(self.slots)
        inside, said = slots.clamp(0, self.base.slots - 1), self._said(path)
        states = [torch.zeros_like(said[..., 0])]
        for label in said.unbind(-1):
            states.append(self.moves[states[-1], label])
        state = torch.stack(states[1:], -1)
        pair = torch.full((self.base.slots, len(self.moves)), none, device=slots.device)  # the last column: refused
        pair[self.slots, self.states] = torch.arange(none, device=slots.device)
        pairs = torch.where(slots == -1, -1, torch.where(slots == inside, pair[inside, state], none))
        if not isinstance(self.base, Sparse):
            return Path.through(pairs)
        after = pairs[..., 1:].clamp(0, none - 1)
        chosen = inside[..., 1:] * self.base.source.shape[-1] + path.choices
        before = self.state[self._rows(self.source, after).clamp(min=0) % none]
        found = (self._rows(self.arc, after) == chosen.unsqueeze(-1)) & (before == state[..., :-1].unsqueeze(-1))
        lost = pad((path.choices >= 0) & ~found.any(-1), (1, 0))  # an arc that leads there from elsewhere
        return Path(torch.where(lost, none, pairs), torch.where(path.choices < 0, -1, found.int().argmax(-1)))

    def _said(self, path: Path) -> Tensor:
        """The label at each time of a path, ``(..., T + 1)``; -1 for nothing."""
        slots, of = path.slots, self.labels.of
        if not self.labels.of_arcs:
            said = torch.where(slots < 0, -1, pick(of, slots.clamp(0, of.shape[-1] - 1)))
            return said if self.labels.first else torch.cat([torch.full_like(said[..., :1], -1), said[..., 1:]], -1)
        number = path.choices.clamp(0, of.shape[-1] - 1).unsqueeze(-1)
        said = self._rows(of, slots[..., 1:].clamp(max=of.shape[-2] - 1)).gather(-1, number).squeeze(-1)
        return pad(torch.where(path.choices < 0, -1, said), (1, 0), value=-1)

    @staticmethod
    def _rows(table: Tensor, slots: Tensor) -> Tensor:
        """Of a table ``(T or 1, N, K)`` the row of each slot ``(..., T)``: ``(..., T, K)``."""
        step = torch.arange(slots.shape[-1], device=slots.device) if len(table) > 1 else 0
        return table[step, slots.clamp(min=0)]

    def summed(self, vectors: Tensor) -> Tensor:
        """State vectors over slots ``(..., N)``, from those over pairs."""
        members = incoming(self.slots[None], self.base.slots)[0]
        each = vectors.index_select(-1, members.clamp(min=0).flatten()).unflatten(-1, members.shape)
        parts: tuple[Tensor, ...] = each.masked_fill(members < 0, -torch.inf).unbind(-1)
        return reduce(either, parts)


def _moving(steps: Form) -> Dense | Sparse | Segmental:
    """The one map of a step that leads from slot to slot."""
    if isinstance(steps, Compose) and isinstance(steps.then, Diagonal):
        return _moving(steps.first)
    if isinstance(steps, Compose) and isinstance(steps.first, Diagonal):
        return _moving(steps.then)
    if not isinstance(steps, Dense | Sparse | Segmental):
        raise StructureError(
            "constrain: a step must lead from slot to slot by one map, Dense, Sparse or Segmental, beside those that "
            f"weigh slots (Diagonal), got {type(steps).__name__}."
        )
    return steps


def _table(x: Tensor) -> Table:
    """Numbers that say which paths there are."""
    check_shared("constrain", "labels", x)
    if numbers(x) is None:
        raise StructureError(
            "constrain: which paths there are depends on numbers that cannot be looked at while a program is traced. "
            "Leave it out of torch.compile."
        )
    return Table(array_of(x))


def _filled(weight: Tensor, source: Tensor) -> Tensor:
    """The matrix ``(..., 1, P, P)`` of arcs, [from, to]; ``-inf`` where there is none."""
    pairs = weight.shape[-2]
    rows = weight.new_full((*weight.shape[:-1], pairs + 1), -torch.inf)  # the last column: no arc
    at = torch.where(source < 0, pairs, source).expand(weight.shape)
    return rows.scatter(-1, at, weight).narrow(-1, 0, pairs).mT
