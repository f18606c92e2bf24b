"""What is no tensor: NumPy arrays and lists become tensors where they enter, anything else is refused by name."""

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import CTC, DTW, HMM, HSMM, EditDistance, Lattice
from semihmm.distributions import StructureDistribution
from semihmm.engine import Chain, Dense, Diagonal, Path
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.structures.authoring import settle
from semihmm.structures.leaves import views
from semihmm.testing import check_structure
from semihmm.testing.examples import KINDS, small

z = torch.zeros
each_kind = pytest.mark.parametrize("kind", KINDS)


def owner_of(structure, name):
    """Itself, or the structure that it is made of and that has the field."""
    return structure if name in {f.name for f in fields(structure)} else structure.base


def tensors(structure):
    return {f.name: x for f in fields(structure) if isinstance(x := getattr(structure, f.name), torch.Tensor)}


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arrays_and_lists_are_tensors(kind, dtype):
    structure = small(kind, (2,), 3, ragged=True, dtype=dtype)
    expected = semihmm.log_partition(structure)
    every = {n: x.numpy() for n, x in tensors(structure).items()}
    assert_close(semihmm.log_partition(structure.replace(**every)), expected, rtol=0, atol=0)
    for name, x in tensors(structure).items():
        for given in (x.numpy(), x.tolist(), tuple(x.tolist())):
            found = structure.replace(**{name: given})
            alone = (
                name in structure.potentials and len(structure.potentials) == 1 and not isinstance(given, np.ndarray)
            )
            assert getattr(found, name).dtype == (torch.get_default_dtype() if alone else x.dtype)
            assert_close(semihmm.log_partition(found), expected, check_dtype=False)


def test_tables_of_arcs_offsets_and_windows_may_be_arrays_and_lists():
    hmm = small("HMM arcs", (), 3)
    for arcs in (np.stack([x.numpy() for x in hmm.arcs]), [x.tolist() for x in hmm.arcs], torch.stack(hmm.arcs)):
        assert torch.equal(semihmm.viterbi(hmm.replace(arcs=arcs)).event, semihmm.viterbi(hmm).event)
    banded = small("HMM banded", (), 3)
    for offsets in ([0, 1], np.array([0, 1]), torch.tensor([0, 1])):
        assert banded.replace(offsets=offsets).offsets == (0, 1)
    dtw = DTW(torch.rand(3, 3), window=1)
    band = [[abs(i - j) <= 1 for j in range(3)] for i in range(3)]
    for window in (np.int64(1), band, np.array(band)):
        assert_close(semihmm.log_partition(DTW(dtw.cost, window=window)), semihmm.log_partition(dtw))
    lattice = Lattice([0, 0, 1], np.array([1, 2, 2]), [1.0, 2.0, 3.0], start=np.array([0]), end=torch.tensor([2]))
    assert semihmm.viterbi(lattice).event.tolist() == [0, 2]
    assert float(semihmm.viterbi(EditDistance.between([1, 2], np.array([1]))).score) == -1.0
    assert semihmm.squared_distances(np.ones((2, 1)), [[0.0]]).tolist() == [[1.0], [1.0]]
    ctc = CTC(np.zeros((3, 4)), [1, 2], optional=[False, True], blank=np.int64(0))
    assert semihmm.viterbi(ctc).valid


def test_a_lists_numbers_take_the_dtype_of_the_others():
    hmm = HMM([0.1, 0.2], z(2, 2, dtype=torch.float64), z(3, 2))
    assert hmm.initial.tolist() == [0.1, 0.2]  # not rounded to float32 in between
    assert hmm.emission.dtype == torch.float64
    assert HMM([0, 0], [[0, 0], [0, 0]], [[0, 1]]).emission.dtype == torch.get_default_dtype()


def test_arrays_that_torch_does_not_like_are_copied():
    emission = np.arange(6.0).reshape(3, 2)
    expected = HMM(z(2), z(2, 2), torch.tensor(emission[::-1].copy()))
    emission.flags.writeable = False
    assert_close(HMM(z(2), z(2, 2), emission[::-1]).emission, expected.emission)


RUBBISH = ["abc", {}, object(), [[1.0], [2.0, 3.0]], 7j, np.array(["a"])]


@each_kind
@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda x: type(x).__name__)
def test_anything_else_is_refused_by_name(kind, rubbish):
    structure = small(kind, (2,), 3, ragged=True)
    for name in [*structure.potentials, *tensors(structure)]:
        with pytest.raises(SemihmmError, match=rf"{type(owner_of(structure, name)).__name__}: {name} must"):
            structure.replace(**{name: rubbish})
    for name in structure.potentials:
        if type(owner_of(structure, name)).__dataclass_fields__[name].default is not None:
            with pytest.raises(DataError, match=rf"{name} must be a tensor, .* got NoneType"):
                structure.replace(**{name: None})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HMM(z(2), z(2, 2), z(3, 2), offsets=(0.5, 1)), ShapeError, "HMM: offsets must be integers"),
        (lambda: HMM(z(2), z(2, 2), z(3, 2), offsets=2), ShapeError, "HMM: offsets must be integers, got 2"),
        (lambda: HMM(z(2), z(2), z(3, 2), arcs=3), ShapeError, "HMM: arcs must be a pair"),
        (lambda: HMM(z(2), z(2), z(3, 2), arcs=torch.zeros(3, 2)), ShapeError, "HMM: arcs must be a pair"),
        (lambda: HMM(z(2), z(2), z(3, 2), arcs=("a", "b")), SemihmmError, "HMM: arcs must"),
        (lambda: HSMM(z(2), z(2, 2), 2.5, z(3, 2)), ShapeError, "duration"),
        (lambda: CTC(z(3, 4), torch.tensor([1]), blank=0.0), ShapeError, "CTC: blank must be integers, got"),
        (lambda: CTC(z(3, 4), torch.tensor([1.0])), ShapeError, "CTC: targets must be integers"),
        (lambda: CTC(z(3, 4), torch.tensor([1]), optional=[1]), ShapeError, "CTC: optional must be bool"),
        (lambda: DTW(z(3, 3), window=2.5), StructureError, "DTW: .*window must be"),
        (lambda: Lattice([0, 1], [1, 2.5], z(2)), ShapeError, "Lattice: target must be integers"),
        (lambda: Lattice([0, 1], [1, 2], z(2), start=[0.0]), ShapeError, "Lattice: start must be integers"),
        (lambda: Lattice([0, 1], [1, 2], z(2), end=2), ShapeError, "Lattice: end must be integers, got 2"),
        (lambda: EditDistance.between("ab", "b"), DataError, "EditDistance: source must be a tensor"),
    ],
)
def test_a_mistake_is_named_where_it_enters(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("shape", [10, "ab", (2.5,), (3, 0), (-1, -2)])
def test_a_shape_of_draws_is_whole_numbers(shape):
    with pytest.raises(SemihmmError, match="sample: shape"):
        semihmm.sample(small("HMM"), shape)
    with pytest.raises(SemihmmError, match="sample: shape"):
        StructureDistribution(small("HMM")).sample(shape)
    with pytest.raises(SemihmmError, match="topk: k must be integers"):
        semihmm.topk(small("HMM"), 2.5)


@each_kind
def test_a_mask_of_another_shape_or_dtype_is_refused_by_name(kind):
    structure = small(kind, (2,), 3)
    for name, x in structure.potentials.items():
        if not x.numel():
            continue
        expected = semihmm.log_partition(structure)
        every = torch.ones(x.shape, dtype=torch.bool)
        for mask in (every, every.numpy(), every.tolist(), every[:1]):
            assert_close(semihmm.log_partition(semihmm.condition(structure, **{name: mask})), expected)
        for mask in (every.long(), every.double(), torch.ones(x.shape[-1] + 1, dtype=torch.bool), "abc"):
            with pytest.raises(SemihmmError, match=f"condition: .*{name}"):
                semihmm.condition(structure, **{name: mask})
    seen = structure.potentials[structure.observed]
    with pytest.raises(ShapeError, match=f"condition: {structure.observed} .* got \\(5, 2"):
        semihmm.condition(structure, torch.ones(5, *seen.shape, dtype=torch.bool))


def test_a_mask_may_be_of_each_sequence_where_the_potential_is_shared():
    hmm = small("HMM", (3,), 4)
    mask = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(0)) < 0.7
    expected = hmm.replace(transition=torch.where(mask, hmm.transition, -torch.inf))
    for given in (hmm, hmm.replace(transition=hmm.transition[None])):
        found = semihmm.condition(given, transition=mask)
        assert_close(semihmm.log_partition(found), semihmm.log_partition(expected))


def test_the_strategy_auto_is_the_planners_choice():
    hmm = small("HMM", (2,), 4)
    assert semihmm.explain(hmm, strategy="auto") == semihmm.explain(hmm)
    for backend in ("torch", None):
        found = semihmm.log_partition(hmm, strategy="auto", backend=backend)
        assert_close(found, semihmm.log_partition(hmm, backend=backend), rtol=0, atol=0)
    assert torch.equal(semihmm.viterbi(hmm, strategy="auto").event, semihmm.viterbi(hmm).event)
    with pytest.raises(SemihmmError, match="None or 'auto'"):
        semihmm.log_partition(hmm, strategy="best")


@pytest.mark.parametrize("error", [TypeError, KeyError, AttributeError, ZeroDivisionError])
@pytest.mark.parametrize("method", ["chain", "event", "path"])
def test_check_structure_shows_the_error_of_a_structure_that_raises(method, error):
    def broken(*_):
        raise error("of my own")

    kind = type("Mine", (HMM,), {method: broken})
    with pytest.raises(error, match="of my own"):
        check_structure(kind(z(2), z(2, 2), z(2, 3, 2)))


class Unsettled(semihmm.Structure):
    """One that counts on tensors. Is no dataclass yet: each test says more."""

    observed = "emission"

    @property
    def ranks(self):
        return {"initial": 1, "transition": self.transition.ndim, "emission": 2}

    def chain(self):
        steps = Dense(self.transition.unsqueeze(-3)) @ Diagonal(self.emission[..., 1:, :])
        return Chain((self.initial, self.emission[..., 0, :]), steps)

    def event(self, path):
        return path.slots

    def path(self, event):
        return Path.through(event)


def unsettled(**more):
    fields = {"initial": torch.Tensor, "transition": torch.Tensor, "emission": torch.Tensor}
    body = {"__annotations__": {**fields, "lengths": object}, "lengths": None, **more}
    return dataclass(frozen=True, repr=False)(type("Mine", (Unsettled,), body))


OTHERS = {"list": [[0.0, 0.0], [0.0, 0.0]], "array": np.zeros((2, 2)), "None": None, "number": 0.5}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("name", ["transition", "emission"])
@pytest.mark.parametrize("more", [{}, {"__post_init__": lambda self: None}], ids=["without", "with"])
def test_a_structure_that_does_not_settle_refuses_what_is_no_tensor_by_name(name, other, more):
    given = {"initial": z(2), "transition": z(2, 2), "emission": z(3, 2)}
    kind = unsettled(**more)
    assert float(semihmm.log_partition(kind(**given)).exp()) == pytest.approx(8.0)
    with pytest.raises(StructureError, match=rf"Mine: {name} must be a tensor, got a .* call settle\(self, ...\)"):
        kind(**{**given, name: other})


def test_a_structure_that_settles_converts():
    def convert(self):
        settle(self, "initial", "transition", "emission")

    kind = unsettled(__post_init__=convert)
    assert kind.__post_init__ is convert  # and nobody looks again
    mine = kind([0.0, 0.0], np.zeros((2, 2)), [[0.0, 0.0]] * 3)
    assert float(semihmm.log_partition(mine).exp()) == pytest.approx(8.0)


class OnlyPlain(HMM):
    """One whose chain minds who asks."""

    def chain(self):
        if type(self.emission) is not torch.Tensor:
            raise TypeError("of my own")
        return super().chain()


def test_so_it_is_where_log_weights_are_traced_to_potentials():
    mine = OnlyPlain(z(2), z(2, 2), z(2, 3, 2))
    for ask in (check_structure, semihmm.marginals, semihmm.max_marginals, views):
        with pytest.raises(TypeError, match="of my own"):
            ask(mine)


def test_a_distribution_of_arrays():
    d = StructureDistribution(HMM(np.zeros(2), np.zeros((2, 2)), np.zeros((3, 2))))
    assert float(d.log_partition.exp()) == pytest.approx(8.0)
    with pytest.raises(StructureError, match="no colour"):
        semihmm.condition(d.structure, colour=torch.ones(2, dtype=torch.bool))


@dataclass(frozen=True)
class Bare(semihmm.Structure):
    """A structure that says no more than it must."""

    move: torch.Tensor
    emission: torch.Tensor
    lengths: torch.Tensor | None = None
    observed = "emission"
    ranks = {"move": 2, "emission": 2}  # noqa: RUF012

    def chain(self):
        steps = Dense(self.move.unsqueeze(-3)) @ Diagonal(self.emission[..., 1:, :])
        return Chain((self.emission[..., 0, :],), steps, length=self.emission.shape[-2] - 1)

    def event(self, path):
        return path.slots

    def path(self, event):
        return Path.through(event)


@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (lambda s: s.over_time("move"), "varying"),
        (lambda s: semihmm.viterbi(s).states, "state_sequence"),
        (lambda s: semihmm.minimum_bayes_risk(s), "state_sequence"),
        (lambda s: semihmm.filtering(s), "filtered"),
        (lambda s: semihmm.constrain(s, semihmm.automata.exactly(1, 0)), "labels"),
    ],
)
def test_what_a_structure_cannot_answer_names_the_method_that_would(ask, method):
    with pytest.raises(StructureError, match=rf"[iI]n a structure of your own.*, say it by {method}") as error:
        ask(Bare(z(2, 2), z(3, 2)))
    assert error.value.see == "faq#own-structures"


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (
            {"ranks": {"mov": 2, "emission": 2}},
            "ranks names 'mov', which is no field. There are move, emission, lengths",
        ),
        (
            {"observed": "emision"},
            r"observed must name one of the potentials in ranks \(move, emission\), got 'emision'",
        ),
        ({"observed": "lengths"}, "observed must name one of the potentials"),
        ({"observed": ""}, "observed must name one of the potentials"),
    ],
)
@pytest.mark.parametrize("ask", [semihmm.log_partition, semihmm.marginals, semihmm.viterbi, semihmm.entropy])
def test_a_misspelt_potential_is_named(says, message, ask):
    structure = type("Misspelt", (Bare,), says)(z(2, 2), z(3, 2))
    with pytest.raises(StructureError, match=f"Misspelt: {message}"):
        ask(structure)
