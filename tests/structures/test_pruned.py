"""What pruning leaves: just the paths that keep to what is kept, whatever is asked of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import semihmm
from semihmm import engine
from semihmm.engine import Arcs, Chain, Dense, Form
from semihmm.errors import ShapeError, StructureError
from semihmm.structures import Pruned
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import small
from semihmm.testing.strategies_structures import structures
from semihmm.testing.walk import chain_paths

STATES = (
    "HMM",
    "HMM varying",
    "HMM arcs",
    "HMM banded",
    "HMM tied",
    "CTC",
    "CTC optional",
    "MonotonicAlignment",
    "Lattice",
)
OTHERS = ("HSMM", "DTW", "RNNT", "EditDistance")
BACKENDS = ("torch", None)  # None: the fastest
inf = torch.inf


def some_kept(structure: semihmm.Structure, share: float, seed: int, alike: bool = False) -> Tensor:
    """A random choice of slots, at each time one of the other sequences' or the same for all."""
    chain = structure.chain()
    size = (*(() if alike else structure.batch_shape), chain.length + 1, chain.steps.slots)
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share


def left(item: Pruned) -> Iterator[tuple[Any, Any]]:
    """The other structure's paths, one by one, without those that leave what is kept."""
    shape = semihmm.viterbi(item.base).event.shape
    for event, weights in oracle.KNOWN.get(type(item.base), chain_paths)(item.base):
        plain = oracle.plain_event(event)
        whole = torch.full(shape, -1)
        if plain:
            whole[: len(plain)] = torch.tensor(plain)
        slots = item.base.path(whole).slots
        length = item.chain().lengths
        times = range(len(slots) if length is None else int(length) + 1)
        if all(bool((item.active[t] == slots[t]).any()) for t in times):
            yield event, weights


@given(structures(STATES), st.sampled_from([0.3, 0.6, 0.9]), st.booleans(), st.sampled_from(BACKENDS))
def test_its_paths_are_those_that_keep_to_what_is_kept(
    structure: semihmm.Structure, share: float, alike: bool, backend: str | None
) -> None:
    pruned = Pruned.keeping(structure, some_kept(structure, share, 0, alike))
    close(semihmm.log_partition(pruned, backend=backend), oracle.log_partition(pruned, left))
    close(semihmm.topk(pruned, 4, backend=backend).score, oracle.topk(pruned, 4, left))
    expected = oracle.marginals(pruned, left)
    for name, found in semihmm.marginals(pruned, backend=backend).potentials.items():
        close(found, expected[name])


@pytest.mark.parametrize("kind", STATES)
def test_every_answer_is_that_of_its_paths(kind: str) -> None:
    structure = small(kind, (3,), steps=3, ragged=kind != "Lattice", forbidden=0.1, seed=4)
    check_structure(Pruned.keeping(structure, some_kept(structure, 0.8, 1)), paths=left, samples=300)


@given(structures(STATES), st.integers(0, 9))
def test_a_batch_is_its_items_side_by_side(structure: semihmm.Structure, seed: int) -> None:
    kept = some_kept(structure, 0.6, seed)
    together = semihmm.log_partition(Pruned.keeping(structure, kept)).flatten()
    chains = structure.unbatch(), kept.reshape(-1, *kept.shape[-2:])
    for i, (item, own) in enumerate(zip(*chains, strict=True)):
        close(together[i], semihmm.log_partition(Pruned.keeping(item, own)))
    for whole, item in zip(together, Pruned.keeping(structure, kept).unbatch(), strict=True):
        close(whole, semihmm.log_partition(item))


@pytest.mark.parametrize("kind", STATES)
def test_what_is_pruned_again_keeps_what_both_keep(kind: str) -> None:
    structure = small(kind, (2,), steps=4, seed=2)
    one, other = some_kept(structure, 0.8, 0), some_kept(structure, 0.8, 1)
    once = Pruned.keeping(structure, one)
    there = once.active >= 0
    again = Pruned.keeping(once, there & other.gather(-1, once.active.clamp(min=0)))
    close(semihmm.log_partition(again), semihmm.log_partition(Pruned.keeping(structure, one & other)))


@pytest.mark.parametrize("kind", STATES)
def test_gradients_are_those_of_potentials_with_all_else_forbidden(kind: str) -> None:
    structure = small(kind, (2,), steps=4, seed=3)
    pruned = Pruned.keeping(structure, some_kept(structure, 0.7, 2))
    names = list(structure.potentials)

    def value(*given: Tensor) -> Tensor:
        total = semihmm.log_partition(pruned.replace(**dict(zip(names, given, strict=True))))
        return total[total > -inf]  # of what is impossible there are no differences

    leaves = [x.clone().requires_grad_() for x in structure.potentials.values()]
    assert torch.autograd.gradcheck(value, leaves)
    assert torch.autograd.gradgradcheck(value, leaves)


def test_work_is_that_of_what_is_kept() -> None:
    hmm = semihmm.HMM(torch.zeros(40), torch.zeros(40, 40), torch.zeros(2, 9, 40))
    steps = Pruned.keeping(hmm, torch.arange(40) < torch.full((2, 9, 1), 4)).chain().steps
    assert (steps.slots, steps.work) == (4, 4 * 4 + 4)
    band = semihmm.HMM(torch.zeros(40), torch.zeros(40, 2), torch.zeros(2, 9, 40), offsets=(0, 1))
    kept = torch.arange(40) // 4 == torch.tensor([0, 1]).reshape(2, 1, 1).expand(2, 9, 1)
    assert Pruned.keeping(band, kept).chain().steps.slots == 8  # where arcs are few, what any sequence keeps
    assert Pruned.keeping(band[0], kept[0]).chain().steps.slots == 4


@dataclass(frozen=True, repr=False)
class TwoMoves(semihmm.Structure):
    """From S states to M and back in each step, along all arcs or some."""

    there: Tensor
    back: Tensor
    start: Tensor
    steps: int
    sparse: bool
    observed: ClassVar[str] = "start"
    ranks: ClassVar[dict[str, int]] = {"there": 2, "back": 2, "start": 1}
    lengths: ClassVar[None] = None  # type: ignore[misc]

    def chain(self) -> Chain:
        first: Form = Dense(self.there.unsqueeze(0))
        if self.sparse:
            source, target = torch.cartesian_prod(torch.arange(3), torch.arange(3)).unbind(-1)
            first = Arcs(source, target, self.there.flatten().unsqueeze(0), 3)
        return Chain((self.start,), first @ Dense(self.back.unsqueeze(0)), length=self.steps)  # type: ignore[operator]

    def event(self, path: engine.Path) -> Tensor:
        return path.slots

    def path(self, event: Tensor) -> engine.Path:
        return engine.Path.through(event)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_between_two_maps_that_both_move_a_path_may_be_anywhere(sparse: bool, backend: str | None) -> None:
    middle = 3 if sparse else 5
    there, back, start = torch.randn(3, middle).double(), torch.randn(middle, 3).double(), torch.randn(3).double()
    kept = torch.tensor([[True, False, True], [False, True, False], [True, True, False]])
    vector = torch.where(kept[0], start.exp(), 0)
    for now in kept[1:]:
        vector = torch.where(now, vector @ there.exp() @ back.exp(), 0)
    pruned = Pruned.keeping(TwoMoves(there, back, start, 2, sparse), kept)
    close(semihmm.log_partition(pruned, backend=backend), vector.sum().log())
    assert torch.autograd.gradcheck(
        lambda x: semihmm.log_partition(pruned.replace(there=x), backend=backend), there.clone().requires_grad_()
    )


def test_a_structure_of_yours_is_pruned_as_ours_are(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("trigram", repository / "examples" / "trigram.py")
    assert spec is not None and spec.loader is not None
    trigram = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "trigram", trigram)  # where dataclasses look for annotations
    spec.loader.exec_module(trigram)
    shapes = ((2,), (3, 2, 2), (2, 4, 2))
    whole = trigram.Trigram(*(torch.randn(s, dtype=torch.float64) for s in shapes), lengths=torch.tensor([4, 2]))
    check_structure(Pruned.keeping(whole, some_kept(whole, 0.8, 3)), samples=300)
    close(semihmm.prune(whole, top=6).bound, torch.full((2,), -inf, dtype=torch.float64))
    small = semihmm.prune(whole, within=1.0)
    assert torch.equal(semihmm.argmax(small), semihmm.argmax(whole))


def test_numbers_behind_the_end_of_a_sequence_do_not_count() -> None:
    hmm = small("HMM", (3,), steps=4, ragged=True, seed=1)
    kept = some_kept(hmm, 0.6, 0)
    assert hmm.lengths is not None
    behind = torch.arange(4) >= hmm.lengths.unsqueeze(-1)
    close(
        semihmm.log_partition(Pruned.keeping(hmm, kept)),
        semihmm.log_partition(Pruned.keeping(hmm, kept & ~behind.unsqueeze(-1))),
    )


def test_it_is_stacked_and_moved_as_structures_are() -> None:
    hmms = [small("HMM", (), steps=t, seed=t) for t in (4, 2)]
    both = [Pruned.keeping(hmm, torch.tensor([True, False]).expand(hmm.chain().length + 1, 2)) for hmm in hmms]
    batch = semihmm.stack(both)
    close(semihmm.log_partition(batch), torch.stack([semihmm.log_partition(x) for x in both]))
    assert both[0].to(torch.float32).emission.dtype == torch.float32
    assert both[0].to(torch.float32).active.dtype == torch.int64


def test_a_weight_that_is_none_is_found_where_it_is_kept_and_only_there() -> None:
    hmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.tensor([[0.0, 0.0, torch.nan]] * 2))
    assert float(semihmm.log_partition(Pruned(hmm, torch.tensor([[0, 1], [0, 1]]))).exp().round()) == 4
    with pytest.raises(semihmm.errors.DataError, match=r"HMM: emission\[0, 2\] is nan"):
        semihmm.log_partition(Pruned(hmm, torch.tensor([[0, 1], [0, 2]])))


@pytest.mark.parametrize("kind", OTHERS)
def test_what_has_no_state_at_each_time_is_refused_by_name(kind: str) -> None:
    structure = small(kind, (), steps=3)
    with pytest.raises(StructureError, match=f"prune: {kind} has paths that pass over steps"):
        Pruned.keeping(structure, torch.ones(2, 2, dtype=torch.bool))


def test_what_moves_along_several_axes_is_refused_by_name() -> None:
    structure = small("FactorialHMM", (), steps=3)
    with pytest.raises(StructureError, match="prune: FactorialHMM moves by Axes, of which no single arcs can be kept"):
        Pruned.keeping(structure, torch.ones(3, 4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("active", "message"),
    [
        (torch.zeros(2, 2, 1).long(), r"active must be the states kept at each time, \(3, 2, 'n'\)"),
        (torch.zeros(3, 4, 1).long(), "active must be the states kept at each time"),
        (torch.zeros(3, 2, 1), "active must be integers"),
        (torch.full((3, 2, 1), 2), "active must lie between -1 and 1"),
    ],
    ids=["batch", "times", "kind", "range"],
)
def test_what_are_no_states_is_refused(active: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Pruned(small("HMM", (3,), steps=2), active)


def test_few_arcs_need_the_same_states_in_the_same_places() -> None:
    hmm = small("HMM banded", (3,), steps=2)
    with pytest.raises(StructureError, match=r"Use Pruned\.keeping"):
        Pruned(hmm, torch.tensor([0, 1, 2]).reshape(3, 1, 1).expand(3, 2, 1))


def close(found: Tensor | None, expected: Tensor) -> None:
    """The same numbers, up to rounding."""
    assert found is not None
    torch.testing.assert_close(found, expected, check_dtype=False, equal_nan=False)
