"""tests/structures/test_batch.py: a batch of structures is indexed, counted and walked as a tensor of its axes is."""

import pytest
import torch
from torch.testing import assert_close

import semihmm
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
    held = [x for x in away.__dict__.values() if isinstance(x, torch.Tensor)]
    assert {x.device.type for x in held} == {"meta"} and ", meta)" in repr(away)
    with pytest.raises(semihmm.errors.DataError, match=r"so no torch\.int64"):
        structure.to(torch.int64)


def test_a_structure_is_shown_by_its_shapes():
    ctc = semihmm.CTC(torch.zeros(2, 5, 4), torch.tensor([[1, 2], [3, 1]]), blank=0)
    assert repr(ctc) == "CTC(emission (2, 5, 4), targets (2, 2); float32)"
    assert repr(small("HMM banded", (), 3)).count("offsets (0, 1)") == 1
    assert "step_pattern 'symmetric1'" in repr(semihmm.DTW(torch.zeros(2, 2), "symmetric1"))
