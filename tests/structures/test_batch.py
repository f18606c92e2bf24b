"""tests/structures/test_batch.py: a batch is indexed, counted and walked as a tensor of its axes is; and is stacked."""

from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.engine import Chain, Diagonal
from semihmm.testing import check_structure
from semihmm.testing.examples import KINDS, small

INDICES = (0, -1, slice(1, None), slice(0, 0), [2, 0], torch.tensor([2, 0]), torch.tensor([True, False, True]), ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_batch_has_its_part_of_every_answer(kind):
    structure = small(kind, (3,), 4, ragged=True)
    whole = semihmm.log_partition(structure)
    assert len(structure) == 3 and len(list(structure)) == 3
    for index in INDICES:
        part = structure[index]
        assert part.batch_shape == whole[index].shape and type(part) is type(structure)
        assert_close(semihmm.log_partition(part), whole[index])


def test_two_batch_axes():
    structure = small("HMM", (2, 3), 4, ragged=True)
    whole = semihmm.log_partition(structure)
    for index in (1, (1, 2), (slice(None), 2), (0, [2, 1]), torch.tensor([[True, False, True], [False, True, False]])):
        assert_close(semihmm.log_partition(structure[index]), whole[index])
    with pytest.raises(IndexError, match=r"batch axes are \(2, 3\), so at most 2"):
        structure[0, 0, 0]
    for wrong in (None, ...):
        with pytest.raises(IndexError, match="batch axes are"):
            structure[wrong]


def test_what_all_share_stays_shared():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 5, 2))
    assert hmm[0].transition is hmm.transition and hmm[1:].initial is hmm.initial
    weights = torch.zeros(3, 5, 2, requires_grad=True)
    semihmm.log_partition(hmm.replace(emission=weights)[1]).backward()
    assert weights.grad.sum((1, 2)).tolist() == [0.0, 5.0, 0.0]


def test_one_sequence_has_no_length():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(5, 2))
    with pytest.raises(TypeError, match="HMM: one sequence, without a batch axis"):
        len(hmm)
    with pytest.raises(IndexError, match="at most 0"):
        hmm[0]
    with pytest.raises(TypeError):
        iter(hmm)


@pytest.mark.parametrize("kind", KINDS)
def test_a_structure_moves_as_a_tensor_does(kind):
    structure = small(kind, (2,), 4, ragged=True)
    for moved in (structure.to(torch.float32), structure.to("cpu", torch.float32), structure.to(torch.zeros(1))):
        assert {x.dtype for x in moved.potentials.values()} == {torch.float32}
        assert_close(semihmm.log_partition(moved), semihmm.log_partition(structure).float())
    away = structure.to("meta")
    held = [x for x in (*away.__dict__.values(), *away.potentials.values()) if isinstance(x, torch.Tensor)]
    assert {x.device.type for x in held} == {"meta"} and ", meta)" in repr(away)
    with pytest.raises(semihmm.errors.DataError, match=r"so no torch\.int64"):
        structure.to(torch.int64)


def test_a_structure_is_shown_by_its_shapes():
    ctc = semihmm.CTC(torch.zeros(2, 5, 4), torch.tensor([[1, 2], [3, 1]]), blank=0)
    assert repr(ctc) == "CTC(emission (2, 5, 4), targets (2, 2); float32)"
    assert repr(small("HMM banded", (), 3)).count("offsets (0, 1)") == 1
    assert "step_pattern 'symmetric1'" in repr(semihmm.DTW(torch.zeros(2, 2), "symmetric1"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_has_the_answers_of_its_structures(kind):
    """Structures of different lengths, each cut to its own: what `unbatch` gives, and with some steps less."""
    ragged = kind != "Lattice"
    several = [small(kind, (), steps, seed=3) for steps in ((5, 3, 4) if ragged else (4, 4))]
    if not ragged:  # one graph
        several[1] = several[0].replace(log_weight=several[0].log_weight.flip(0))
    batch = semihmm.stack(several)
    assert batch.batch_shape == (len(several),)
    assert_close(semihmm.log_partition(batch), torch.stack([semihmm.log_partition(s) for s in several]))
    assert_close(semihmm.viterbi(batch).score, torch.stack([semihmm.viterbi(s).score for s in several]))
    seen = batch.observed
    for i, one in enumerate(several):
        found, alone = semihmm.marginals(batch).potentials[seen][i], semihmm.marginals(one).potentials[seen]
        inside = tuple(slice(n) for n in alone.shape)
        assert_close(found[inside], alone)
        assert found.abs().sum() == alone.abs().sum() or torch.isclose(found.abs().sum(), alone.abs().sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_of_a_batchs_own_sequences_is_the_batch(kind):
    batch = small(kind, (3,), 4, ragged=True)
    again = semihmm.stack(list(batch))
    for name, x in batch.__dict__.items():
        own = again.__dict__[name]
        if isinstance(x, torch.Tensor):
            assert_close(own, x.expand(own.shape) if name in batch.axes else x)
    twice = semihmm.stack([batch, batch])
    assert twice.batch_shape == (2, 3)
    assert_close(semihmm.log_partition(twice), semihmm.log_partition(batch).expand(2, 3))


def test_what_all_hold_is_shared_in_a_stack():
    initial, transition = torch.zeros(2), torch.zeros(2, 2)
    batch = semihmm.stack([semihmm.HMM(initial, transition, torch.zeros(t, 2)) for t in (4, 2)])
    assert batch.transition is transition and batch.lengths.tolist() == [4, 2]
    alike = semihmm.stack([semihmm.HMM(initial, transition, torch.zeros(3, 2)) for _ in range(2)])
    assert alike.lengths is None and alike.emission.shape == (2, 3, 2)


def test_gradients_of_a_stack_go_to_its_structures():
    parts = [torch.zeros(t, 2, requires_grad=True) for t in (4, 2)]
    semihmm.log_partition(
        semihmm.stack([semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), x) for x in parts])
    ).sum().backward()
    assert [x.grad.tolist() for x in parts] == [[[0.5, 0.5]] * 4, [[0.5, 0.5]] * 2]


def test_what_does_not_go_together_is_named():
    def hmm(states=2, **more):
        return semihmm.HMM(torch.zeros(states), torch.zeros(states, states), torch.zeros(3, states), **more)

    with pytest.raises(semihmm.errors.StructureError, match="at least one"):
        semihmm.stack([])
    with pytest.raises(semihmm.errors.StructureError, match="of one class"):
        semihmm.stack([hmm(), semihmm.DTW(torch.zeros(2, 2))])
    with pytest.raises(semihmm.errors.ShapeError, match=r"HMM\.initial must be of one size"):
        semihmm.stack([hmm(2), hmm(3)])
    with pytest.raises(semihmm.errors.StructureError, match="final"):
        semihmm.stack([hmm(final=torch.zeros(2)), hmm()])
    with pytest.raises(semihmm.errors.StructureError, match="same step_pattern"):
        semihmm.stack([semihmm.DTW(torch.zeros(2, 2), p) for p in ("symmetric1", "symmetric2")])


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("kind", ["HMM", "HMM arcs", "HMM banded", "HMM tied", "HSMM", "HSMM varying"])
def test_potentials_over_time_have_posteriors_at_each_step(kind, batch):
    structure = small(kind, batch, 4, ragged=True, seed=5)
    whole, counts = structure.over_time(*structure.varying), semihmm.marginals(structure)
    assert_close(semihmm.log_partition(whole), semihmm.log_partition(structure))
    found = semihmm.marginals(whole)
    for name, shape in structure.varying.items():
        each = found.potentials[name]
        assert each.shape == (*batch, *shape)
        if name in counts.potentials:
            own = counts.potentials[name]
            assert_close(each if own.shape == each.shape else each.sum(-len(shape)), own)
    with pytest.raises(semihmm.errors.StructureError, match="initial cannot differ"):
        structure.over_time("initial")


@dataclass(frozen=True, repr=False)
class Biased(semihmm.HMM):
    """An HMM each of whose steps weighs the same more: a potential without axes of its own."""

    bias: torch.Tensor | None = None

    @property
    def ranks(self):
        return {**super().ranks, "bias": 0}

    def chain(self):
        chain = super().chain()
        bias = Diagonal(self.bias[..., None, None].expand(*self.bias.shape, 1, self.states))
        start = (*chain.start, self.bias.unsqueeze(-1).expand(*self.bias.shape, self.states))
        return Chain(start, chain.steps @ bias, chain.end, chain.lengths, chain.length)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_potential_may_have_no_axes(batch):
    biased = Biased(torch.zeros(2), torch.randn(2, 2), torch.randn(*batch, 3, 2), bias=torch.tensor(0.5))
    check_structure(biased)
    alone = biased.unbatch()
    assert_close(semihmm.log_partition(semihmm.stack(alone)).reshape(batch), semihmm.log_partition(biased))
    assert semihmm.marginals(alone[0]).bias.item() == pytest.approx(3)


def test_pruned_sequences_are_stacked():
    pruned = semihmm.prune(small("HMM", (2,), 4, ragged=True), top=2)
    assert_close(semihmm.log_partition(semihmm.stack(list(pruned))), semihmm.log_partition(pruned))
