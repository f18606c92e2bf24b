"""Structures made of another one: those that keep every path answer as the other one does."""

import copy
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm import HMM
from semihmm.engine import Chain, Path
from semihmm.errors import DataError, StructureError
from semihmm.structures.derived import Derived
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.walk import chain_paths


@dataclass(frozen=True, repr=False)
class Same(Derived):
    """All of another structure's paths."""

    def chain(self) -> Chain:
        return self.base.chain()

    def event(self, path: Path) -> Tensor:
        return self.base.event(path)

    def path(self, event: Tensor) -> Path:
        return self.base.path(event)

    def filtered(self, vectors: Tensor) -> Tensor:
        return self.base.filtered(vectors)


@dataclass(frozen=True, repr=False)
class Begun(Same):
    """Those that begin in slots which each sequence allows."""

    allowed: Tensor = None  # type: ignore[assignment]
    own_indices: ClassVar[dict[str, int]] = {"allowed": 1}

    def chain(self) -> Chain:
        chain = self.base.chain()
        first = torch.where(self.allowed, chain.start[0], -torch.inf)
        return Chain((first, *chain.start[1:]), chain.steps, chain.end, chain.lengths, chain.length)


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_that_of_the_other_ones_paths(kind: str) -> None:
    structure = small(kind, (2,), steps=3, ragged=True, forbidden=0.1, seed=1)
    paths = oracle.KNOWN.get(type(structure), chain_paths)
    check_structure(Same(structure), paths=lambda item: paths(item.base), samples=200)


@pytest.mark.parametrize("kind", KINDS)
def test_what_describes_it_is_the_other_ones(kind: str) -> None:
    structure = small(kind, (3,), steps=4, ragged=True, seed=2)
    same = Same(structure)
    for name in ("observed", "indices", "ragged", "sign", "ranks", "linear", "varying", "event_shape", "batch_shape"):
        assert getattr(same, name) == getattr(structure, name)
    for name, x in structure.potentials.items():
        assert getattr(same, name) is x and same.potentials[name] is x
        assert_close(same.in_use(name), structure.in_use(name))
    events = semihmm.sample(structure, (4,), torch.Generator().manual_seed(0)).event
    assert torch.equal(semihmm.score(same, events), semihmm.score(structure, events))
    assert torch.equal(same.unknown(events), structure.unknown(events))


@pytest.mark.parametrize("kind", ["HMM", "HSMM varying", "CTC optional", "DTW", "Lattice"])
def test_indexing_stacking_and_moving_go_through(kind: str) -> None:
    structure = small(kind, (3,), steps=4, ragged=True, seed=3)
    same, expected = Same(structure), semihmm.log_partition(structure)
    assert_close(torch.stack([semihmm.log_partition(x) for x in same]), expected)
    assert_close(semihmm.log_partition(same[torch.tensor([2, 0])]), expected[[2, 0]])
    assert_close(semihmm.log_partition(semihmm.stack(list(same))), expected)
    assert len(same) == 3 and isinstance(same[1:], Same)
    narrow = same.to(torch.float32)
    assert isinstance(narrow, Same) and {x.dtype for x in narrow.potentials.values()} == {torch.float32}
    assert_close(semihmm.log_partition(narrow), expected.float(), rtol=1e-4, atol=1e-4)


def test_features_masks_and_other_potentials_go_to_the_other_one() -> None:
    hmm = small("HMM", (2,), steps=3, seed=4)
    same = Same(hmm)
    visits = {"emission": torch.tensor([0.0, 1.0]).expand(3, 2)}
    assert_close(semihmm.expectation(same, same.feature(**visits)), semihmm.expectation(hmm, hmm.feature(**visits)))
    mask = torch.tensor([True, False])
    assert_close(
        semihmm.log_partition(semihmm.condition(same, mask)),
        torch.stack([semihmm.score(hmm, torch.zeros(2, 3, dtype=torch.int64))[i] for i in range(2)]),
    )
    over_time = semihmm.marginals(same.over_time("transition")).transition
    assert_close(over_time, semihmm.marginals(hmm.over_time("transition")).transition)
    assert_close(semihmm.minimum_bayes_risk(same), semihmm.minimum_bayes_risk(hmm))


def test_fields_of_its_own_are_indexed_and_stacked_with_the_sequences() -> None:
    hmm = small("HMM", (2,), steps=3, seed=5)
    begun = Begun(hmm, torch.tensor([[True, False], [True, True]]))
    first = semihmm.marginals(begun).initial
    assert first[0].tolist() == pytest.approx([1.0, 0.0]) and float(first[1].min()) > 0
    for i, item in enumerate(begun):
        assert_close(semihmm.log_partition(item), semihmm.log_partition(begun)[i])
        assert item.allowed.shape == (2,)
    assert_close(semihmm.log_partition(semihmm.stack(list(begun))), semihmm.log_partition(begun))
    other = begun.replace(allowed=torch.ones(2, 2, dtype=torch.bool), emission=torch.zeros_like(hmm.emission))
    assert_close(semihmm.log_partition(other), semihmm.log_partition(hmm.replace(emission=other.emission)))
    assert torch.equal(begun.to(torch.float32).allowed, begun.allowed)


def test_gradients_land_in_the_potentials_that_were_given() -> None:
    potentials = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((2,), (2, 2), (3, 4, 2))]
    assert torch.autograd.gradcheck(lambda *x: semihmm.log_partition(Same(HMM(*x))), potentials)
    hmm = HMM(*potentials)
    ours, theirs = (torch.autograd.grad(semihmm.log_partition(s).sum(), potentials) for s in (Same(hmm), hmm))
    assert_close(ours, theirs)


def test_in_inference_mode_it_answers_too() -> None:
    with torch.inference_mode():
        hmm = small("HMM", (2,), steps=3, seed=6)
        begun = Begun(hmm, torch.ones(2, 2, dtype=torch.bool))
        assert_close(semihmm.marginals(begun).potentials, semihmm.marginals(hmm).potentials)


def test_it_is_copied_and_pickled_and_shown() -> None:
    same = Same(small("HMM", steps=3, seed=7))
    for other in (copy.copy(same), copy.deepcopy(same), pickle.loads(pickle.dumps(same))):
        assert_close(semihmm.log_partition(other), semihmm.log_partition(same))
    assert repr(same).startswith("Same(base HMM(initial (2,), ")
    with pytest.raises(AttributeError, match="nothing"):
        _ = same.nothing


def test_a_log_weight_that_is_none_is_refused() -> None:
    hmm = small("HMM", steps=3, seed=8)
    same = Same(hmm).replace(emission=torch.full_like(hmm.emission, torch.nan))
    with pytest.raises(DataError, match="emission"):
        semihmm.log_partition(same)
    with pytest.raises(StructureError, match="there is no base"):
        semihmm.condition(same, base=torch.tensor(True))
