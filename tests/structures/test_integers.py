"""Indices are integers of any width; potentials have one floating dtype, the widest that was given."""

import pytest
import torch
from torch.nn.functional import ctc_loss
from torch.testing import assert_close

import semihmm
from semihmm import CTC, DTW, HMM, HSMM, RNNT, EditDistance, Lattice, MonotonicAlignment
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError
from semihmm.testing.examples import KINDS, small

z = torch.zeros
BACKENDS = ["torch", *(["native"] if native() is not None else [])]
WIDTHS = [torch.uint8, torch.int8, torch.int16, torch.int32]
INDICES = ("lengths", "source", "target", "targets")


def index_fields(structure):
    found = vars(structure) | ({"lengths": structure.lengths} if hasattr(structure, "base") else {})
    return {n: x for n, x in found.items() if isinstance(x, torch.Tensor) and n.endswith(INDICES)}


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_targets_and_arcs_may_be_integers_of_any_width(kind, dtype):
    structure = small(kind, (2,), 4, ragged=True)
    fields = {n: x.to(dtype) for n, x in index_fields(structure).items()}
    if kind == "HMM arcs":
        fields["arcs"] = tuple(x.to(dtype) for x in structure.arcs)
    assert fields
    narrow = structure.replace(**fields)
    assert all(x.dtype == torch.int64 for x in index_fields(narrow).values())
    for backend in BACKENDS:
        for ask in (semihmm.log_partition, lambda s, **options: semihmm.viterbi(s, **options).event):
            assert torch.equal(ask(narrow, backend=backend), ask(structure, backend=backend))


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_is_no_integer_is_refused_by_name(kind):
    structure = small(kind, (2,), 4, ragged=True)
    owner = type(getattr(structure, "base", structure)).__name__
    for name, x in index_fields(structure).items():
        for wrong in (x.float(), x.bool()):
            with pytest.raises(ShapeError, match=rf"{owner}: {name} must be integers.*{wrong.dtype}"):
                structure.replace(**{name: wrong})
    if kind == "HMM arcs":
        with pytest.raises(ShapeError, match=r"HMM: arcs must be integers, got torch\.float32"):
            structure.replace(arcs=tuple(x.float() for x in structure.arcs))


def test_states_that_are_not_there_are_refused():
    for arcs in ([[0, -1], [0, 1]], [[0, 1], [0, -2]], [[0, 2], [0, 1]]):
        with pytest.raises(ShapeError, match="HMM: arcs must lie between 0 and 1, the 2 states"):
            HMM(z(2), z(2), z(3, 2), arcs=tuple(torch.tensor(arcs)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctc_takes_what_ctc_loss_takes(backend):
    torch.manual_seed(0)
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    targets, frames, tokens = torch.tensor([[1, 2], [3, 0]]), torch.tensor([6, 5]), torch.tensor([2, 1])
    for to in (torch.int64, torch.int32):
        given = [x.to(to) for x in (targets, frames, tokens)]
        expected = ctc_loss(log_probs.transpose(0, 1), *given, reduction="none")
        assert_close(-semihmm.log_partition(CTC(log_probs, *given), backend=backend), expected)


def arcs():
    return torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2])


OF = {
    "HMM": lambda x: HMM(x(2), x(2, 2), x(3, 2), x(2)),
    "HSMM": lambda x: HSMM(x(2), x(2, 2), x(2, 2), x(3, 2), x(3, 2, 2), x(2)),
    "CTC": lambda x: CTC(x(3, 3), torch.tensor([1, 2])),
    "DTW": lambda x: DTW(x(3, 4)),
    "RNNT": lambda x: RNNT(x(3, 3), x(3, 2)),
    "EditDistance": lambda x: EditDistance(x(3, 4), x(3), x(4)),
    "Lattice": lambda x: Lattice(*arcs(), x(3)),
    "MonotonicAlignment": lambda x: MonotonicAlignment(x(3, 2)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", OF)
def test_integer_potentials_are_numbers(kind, backend):
    drawn = [torch.arange(5), torch.arange(5).float()]
    whole, real = (OF[kind](lambda *shape, x=x: x[torch.arange(z(shape).numel()) % 5].reshape(shape)) for x in drawn)
    assert all(x.dtype == torch.get_default_dtype() for x in whole.potentials.values())
    assert_close(semihmm.log_partition(whole, backend=backend), semihmm.log_partition(real, backend=backend))
    counts = semihmm.marginals(whole, backend=backend).potentials, semihmm.marginals(real, backend=backend).potentials
    assert_close(*counts)


@pytest.mark.parametrize("kind", [k for k in OF if len(OF[k](z).potentials) > 1])
def test_potentials_get_the_widest_dtype_among_them(kind):
    structure = OF[kind](z)
    for name in structure.potentials:
        mixed = structure.replace(**{name: structure.potentials[name].double()})
        assert {x.dtype for x in mixed.potentials.values()} == {torch.float64}
        assert semihmm.log_partition(mixed).dtype == torch.float64
        whole = structure.replace(**{name: structure.potentials[name].to(torch.int32)})
        assert {x.dtype for x in whole.potentials.values()} == {torch.float32}


def test_a_gradient_has_the_dtype_of_its_own_potential():
    emission, initial = z(3, 2, requires_grad=True), z(2, dtype=torch.float64, requires_grad=True)
    semihmm.log_partition(HMM(initial, z(2, 2), emission)).backward()
    assert (emission.grad.dtype, initial.grad.dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize("kind", OF)
@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_potentials_that_are_no_numbers_are_refused_by_name(kind, dtype):
    structure = OF[kind](z)
    for name, x in structure.potentials.items():
        with pytest.raises(DataError, match=rf"{kind}: {name} must hold real log-weights \(or costs\), got {dtype}"):
            structure.replace(**{name: x.to(dtype)})


def loss(emission, source, target):
    hmm = HMM(z(2), z(3), emission, arcs=(source, target))
    return semihmm.log_partition(hmm).sum()


def test_an_hmm_with_arcs_compiles_as_one_graph():
    source, target = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    emission = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for function in (loss, lambda emission, *_: loss(emission, source, target)):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        found, expected = compiled(emission, source, target), function(emission, source, target)
        assert_close(found, expected)
        assert_close(*(torch.autograd.grad(x, emission)[0] for x in (found, expected)))


def test_arcs_that_are_given_to_a_compiled_program_may_change():
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    emission = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    for source, target in (([0, 0, 1], [0, 1, 1]), ([0, 1, 1], [1, 0, 1]), ([1, 0, 1], [1, 0, 0])):
        given = torch.tensor(source), torch.tensor(target)
        assert_close(compiled(emission, *given), loss(emission, *given))
