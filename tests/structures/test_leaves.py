"""Where the log-weights of a chain come from is data: potentials by entry, constants, and what is neither."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.testing import assert_close

import semihmm
from semihmm.engine import Chain, Compose, Dense, Diagonal, Path
from semihmm.structures.leaves import Made, View, chain_of, numbered, views
from semihmm.testing.examples import KINDS, small

WAYS = (
    [{"backend": "native"}, {"backend": "torch"}] if semihmm.engine.backends()["native"].startswith("loaded") else [{}]
)


@pytest.mark.parametrize("unrolled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_each_log_weight_is_the_entry_that_its_number_says_times_a_constant(kind, unrolled):
    structure = small(kind, (2,), ragged=True)
    every = torch.cat([x.flatten() for x in structure.potentials.values()])
    chain = structure.chain()
    for leaf, source in zip(
        (chain.unrolled() if unrolled else chain).leaves, numbered(structure, unrolled), strict=True
    ):
        assert (source is None) == (not leaf.is_floating_point())
        if source is None:
            continue
        ours = source.number >= 0
        entries = every[source.number[ours]]
        factors = leaf[ours] / torch.where(entries == 0, 1.0, entries)
        assert ((factors.round() - factors).abs() < 1e-12).all()  # DTW's step patterns count by whole numbers here
        assert ((leaf[~ours] == 0) | leaf[~ours].isinf()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_views_lie_where_they_say(kind):
    structure = small(kind, (2,), ragged=True)
    for leaf, place in zip(structure.chain().leaves, views(structure), strict=True):
        if isinstance(place, View):
            whole = structure.potentials[place.potential].contiguous()
            assert_close(whole.as_strided(place.shape, place.stride, place.first), leaf, rtol=0, atol=0)


def test_a_form_is_looked_at_once():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    assert views(hmm) is views(hmm.replace(emission=torch.ones(3, 2)))
    assert views(hmm) != views(hmm.replace(final=torch.zeros(2)))


@dataclass(frozen=True)
class WithConstants(semihmm.Structure):
    """Two states in which any step may be; to go on costs the same everywhere."""

    emission: Tensor
    cost: float = 0.75
    lengths: None = None
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"emission": 2}

    def chain(self):
        first, rest = self.emission.split((1, self.emission.shape[-2] - 1), -2)
        arcs = torch.full((1, 2, 2), -self.cost, dtype=self.emission.dtype)
        # Constants stand beside potentials in one log-weight, too: state 2 is never there.
        seen = pad(rest, (0, 1), value=-2.0)[..., :2] if self.cost else rest
        return Chain((first.squeeze(-2),), Compose(Dense(arcs), Diagonal(seen)))

    def event(self, path):
        return path.slots

    def path(self, event):
        return Path.through(event)


@pytest.mark.parametrize("way", WAYS)
def test_constants_of_a_chain_are_no_features(way):
    structure = WithConstants(torch.zeros(3, 2))
    visits = WithConstants(torch.tensor([0.0, 1.0]).expand(3, 2))
    assert_close(semihmm.expectation(structure, visits, **way), torch.tensor(1.5))
    assert_close(semihmm.variance(structure, visits), torch.tensor(0.75))
    assert_close(semihmm.log_partition(structure, **way), 3 * torch.tensor(2.0).log() - 1.5)
    for order in (0.5, 2.0):
        assert_close(semihmm.renyi_entropy(structure, order, **way), 3 * torch.tensor(2.0).log())
    assert_close(semihmm.entropy(structure, **way), 3 * torch.tensor(2.0).log())
    assert_close(semihmm.max_marginals(structure, **way).emission, torch.full((3, 2), -1.5))


def test_what_is_beside_a_constant_is_still_a_feature():
    structure = WithConstants(torch.zeros(3, 2))
    chain = chain_of(structure, WithConstants(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])))
    assert [x.tolist() for x in chain.leaves] == [[1.0, 2.0], [[[0.0, 0.0]] * 2], [[3.0, 4.0], [5.0, 6.0]]]


def test_expectations_are_the_same_when_compiled():
    structure, visits = WithConstants(torch.zeros(3, 2)), WithConstants(torch.tensor([0.0, 1.0]).expand(3, 2))

    def mean(emission, feature):
        return semihmm.expectation(WithConstants(emission), WithConstants(feature))

    found = torch.compile(mean, fullgraph=True, backend="eager")(structure.emission, visits.emission)
    assert_close(found, torch.tensor(1.5))


@dataclass(frozen=True)
class Mixed(semihmm.Structure):
    """A chain that adds up potentials before the engine sees them."""

    emission: Tensor
    bias: Tensor
    lengths: None = None
    observed: ClassVar[str] = "emission"
    ranks: ClassVar[dict[str, int]] = {"emission": 2, "bias": 1}

    def chain(self):
        first, rest = (self.emission + self.bias).split((1, self.emission.shape[-2] - 1), -2)
        return Chain((first.squeeze(-2),), Dense(self.emission.new_zeros(1, 2, 2)) @ Diagonal(rest))

    def event(self, path):
        return path.slots

    def path(self, event):
        return Path.through(event)


def test_log_weights_that_mix_potentials_are_refused_by_name():
    structure = Mixed(torch.zeros(3, 2), torch.zeros(2))
    for question in (semihmm.max_marginals, lambda s: semihmm.expectation(s, s)):
        with pytest.raises(
            semihmm.errors.StructureError,
            match=r"Mixed: log-weight 0 of its chain mixes several potentials.*bias, emission",
        ):
            question(structure)


def test_log_weights_that_mix_potentials_have_totals_and_marginals():
    structure = Mixed(torch.zeros(3, 2), torch.zeros(2))
    assert_close(semihmm.log_partition(structure), 3 * torch.tensor(2.0).log())
    assert_close(semihmm.marginals(structure).bias, torch.full((2,), 1.5))


@pytest.mark.parametrize(
    "hide",
    [
        lambda x: torch.tensor(x.tolist()),
        lambda x: torch.zeros(3, 2).copy_(x),
        lambda x: x.clone().add_(1.0),
        lambda x: torch.from_numpy(x.numpy()),
    ],
)
def test_a_chain_that_takes_numbers_out_of_sight_is_refused(hide):
    class Hidden(Mixed):
        def chain(self):
            return Chain((hide(self.emission)[0],), Diagonal(self.emission[1:]))

    with pytest.raises(semihmm.errors.StructureError, match="nobody can tell whose they are"):
        semihmm.max_marginals(Hidden(torch.zeros(3, 2), torch.zeros(2)))


def test_what_a_log_weight_is_made_of():
    hsmm = small("HSMM", (2,), ragged=True)
    places = views(hsmm)
    assert places[0] == Made(frozenset({"initial"}))  # with what has not ended in front
    assert places[1] == Made(frozenset())
    assert isinstance(places[2], View) and places[2].potential == "transition"
    assert places[-1] is None  # lengths
