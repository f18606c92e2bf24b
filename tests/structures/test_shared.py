"""Potentials that sequences share: without batch axes, or with axes of 1; and how many axes say what varies in time."""

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import HMM, HSMM
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError
from semihmm.testing import check_structure
from semihmm.testing.examples import KINDS, small

z = torch.zeros
BACKENDS = ["torch", *(["native"] if native() is not None else [])]
SEVERAL = [kind for kind in KINDS if len(small(kind).potentials) > 1]


def first(x, axes, kept=()):
    """The first of each batch axis but some, with axes of 1."""
    for axis in range(axes):
        x = x if axis in kept else x.narrow(axis, 0, 1)
    return x


def shared(kind, batch, kept=(), names=None, **options):
    """A structure whose potentials, all but the observed one, have batch axes of 1."""
    structure = small(kind, batch, **options).expanded()
    names = [n for n in structure.potentials if n != structure.observed] if names is None else names
    return structure.replace(**{n: first(structure.potentials[n], len(batch), kept).clone() for n in names})


@pytest.mark.parametrize("kind", SEVERAL)
def test_every_answer_about_shared_potentials_is_that_of_the_paths(kind):
    check_structure(shared(kind, (3,), steps=3, ragged=True, forbidden=0.1, seed=1), samples=500)


@pytest.mark.parametrize("kind", SEVERAL)
def test_so_it_is_where_one_of_two_axes_is_shared(kind):
    check_structure(shared(kind, (2, 2), (1,), steps=2, ragged=True, seed=2), samples=500)


def answers(structure, backend):
    found = {n: getattr(semihmm, n)(structure, backend=backend) for n in ("log_partition", "entropy", "log_count")}
    found |= {n: semihmm.marginals(structure, backend=backend).potentials[n] for n in structure.potentials}
    best = semihmm.viterbi(structure, backend=backend)
    generator = torch.Generator().manual_seed(0)
    drawn = semihmm.sample(structure, (3,), generator, backend=backend)
    found |= {"event": best.event, "score": best.score, "drawn": drawn.event, "draws": drawn.score}
    return found | {"scored": semihmm.score(structure, best.event)}


@pytest.mark.parametrize(
    ("kind", "backend", "ragged"),  # one backend ragged, the other one not, in turn
    [(kind, backend, (i + j) % 2 == 0) for i, kind in enumerate(SEVERAL) for j, backend in enumerate(BACKENDS)],
)
def test_an_axis_of_one_is_the_same_as_repeating(kind, backend, ragged):
    for batch, kept in (((3,), ()), ((2, 3), ()), ((2, 3), (0,)), ((2, 3), (1,))):
        structure = shared(kind, batch, kept, steps=4, ragged=ragged, seed=3)
        assert_close(answers(structure, backend), answers(structure.expanded(), backend))
        for name in structure.potentials:
            if name != structure.observed:
                one = shared(kind, batch, kept, [name], steps=4, ragged=ragged, seed=3)
                assert_close(answers(one, backend), answers(one.expanded(), backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", SEVERAL)
def test_gradients_and_expected_counts_have_the_potentials_own_shape(kind, backend):
    for batch, kept in (((3,), ()), ((2, 3), (1,))):
        structure = shared(kind, batch, kept, steps=4, ragged=True, seed=4)
        given = {n: x.clone().requires_grad_() for n, x in structure.potentials.items()}
        total = semihmm.log_partition(structure.replace(**given), backend=backend).sum()
        grads = dict(zip(given, torch.autograd.grad(total, list(given.values())), strict=True))
        whole = semihmm.marginals(structure, backend=backend).potentials
        counts = semihmm.expected_counts(structure, backend=backend)[1]
        for name, x in structure.potentials.items():
            assert whole[name].shape == (*batch, *x.shape[len(batch) :])
            assert_close(counts[name], whole[name].sum_to_size(x.shape))
            assert_close(grads[name], structure.sign * counts[name])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_number_of_axes_says_what_varies_in_time(backend):
    random = torch.Generator().manual_seed(0)
    varying, emission = (torch.randn(s, generator=random, dtype=torch.float64) for s in ((3, 2, 2), (3, 4, 2)))

    def ask(transition):
        return semihmm.log_partition(HMM(z(2), transition, emission), backend=backend)

    whole = torch.stack([ask(x)[i] for i, x in enumerate(varying)])
    assert_close(ask(varying), whole)  # one matrix for each of 3 sequences, though there are 3 transitions in time, too
    each = [semihmm.log_partition(HMM(z(2), varying, x), backend=backend) for x in emission]
    assert_close(ask(varying.unsqueeze(0)), torch.stack(each))
    assert_close(ask(varying.expand(3, 3, 2, 2)), torch.stack(each))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HMM(z(2), z(3, 2, 2), z(5, 4, 2)), r"(?m)Pass transition.unsqueeze\(0\)\.$"),
        (lambda: HMM(z(2), z(3, 2, 2), z(5, 6, 4, 2)), r"(?m)Pass transition.unsqueeze\(0\).unsqueeze\(0\)\.$"),
        (lambda: HMM(z(2), z(3, 3), z(5, 4, 2), arcs=(torch.arange(2).repeat(2)[:3], torch.tensor([0, 1, 1]))), "Pass"),
        (lambda: HSMM(z(2), z(3, 2, 2), z(2, 3), z(5, 4, 2)), r"transition must be .* Pass transition.unsqueeze\(0\)"),
        (lambda: HSMM(z(2), z(2, 2), z(4, 2, 3), z(5, 4, 2)), r"duration must be .* Pass duration.unsqueeze\(0\)"),
        (
            lambda: HMM(z(2), z(2, 2, 2), z(5, 4, 2)),
            r"\(5, 2, 2\) or .*, \(2, 2\) for all .* got \(2, 2, 2\)",
        ),
    ],
)
def test_what_varies_in_time_without_batch_axes_is_refused_with_the_way_out(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


@pytest.mark.parametrize(("kind", "least"), [("HMM varying", 2), ("HSMM varying", 2), ("RNNT", 1), ("EditDistance", 1)])
def test_what_lies_behind_the_end_of_all_who_share_it_may_be_anything(kind, least):
    structure = shared(kind, (2,), steps=4, seed=5)
    lengths = {n: torch.tensor([1, least]) for n in vars(structure) if n.endswith("lengths")}
    structure = structure.replace(**lengths)
    expected = semihmm.log_partition(structure)
    for name in structure.potentials:
        used = structure.counted(name)
        if used is not None and name != structure.observed:
            x = structure.potentials[name]
            broken = torch.where(used, x, torch.nan)
            assert broken.isnan().any()
            assert_close(semihmm.log_partition(structure.replace(**{name: broken})), expected)
            with pytest.raises(DataError, match=rf"{name}\[0"):
                semihmm.log_partition(structure.replace(**{name: torch.full_like(x, torch.nan)}))
