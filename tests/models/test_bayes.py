"""Bayesian fits against sums over all paths, whose parameters are integrated out exactly."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions
from semihmm.models.bayes import (
    FullGaussianBelief,
    GaussianBelief,
    PoissonBelief,
    SemiMarkovHDP,
    StickyHDP,
    TableBelief,
    belief,
    gibbs,
    variational,
)
from semihmm.models.table import Table
from semihmm.models.transitions import Categorical as Transitions


def dirichlet_evidence(counts: Tensor, concentration: float) -> float:
    """Of rows of counts, each under a symmetric Dirichlet prior."""
    prior = torch.full_like(counts, concentration)
    each = torch.lgamma(prior.sum(-1)) - torch.lgamma((prior + counts).sum(-1))
    return float((each + (torch.lgamma(prior + counts) - torch.lgamma(prior)).sum(-1)).sum())


def path_evidence(x: list[int], path: tuple[int, ...], states: int, symbols: int, concentration: float) -> float:
    """``log p(x, path)``, the parameters of an HMM integrated out."""
    first, pairs, seen = (torch.zeros(*shape).double() for shape in ((1, states), (states, states), (states, symbols)))
    first[0, path[0]] = 1
    for a, b in itertools.pairwise(path):
        pairs[a, b] += 1
    for state, symbol in zip(path, x, strict=True):
        seen[state, symbol] += 1
    return sum(dirichlet_evidence(counts, concentration) for counts in (first, pairs, seen))


X = [0, 0, 2, 2, 0, 2, 2]


def exact(states: int, symbols: int, concentration: float) -> tuple[list[tuple[int, ...]], Tensor]:
    paths = list(itertools.product(range(states), repeat=len(X)))
    return paths, torch.tensor([path_evidence(X, path, states, symbols, concentration) for path in paths]).double()


@pytest.mark.parametrize("concentration", [0.5, 1.0, 3.0])
def test_the_bound_rises_and_stays_below_the_evidence(concentration: float) -> None:
    _, joint = exact(2, 3, concentration)
    evidence = float(joint.logsumexp(0))
    for seed in range(3):
        model = HMM(2, emissions.Categorical(2, 3)).double()
        found = variational(
            model, torch.tensor(X), concentration=concentration, generator=torch.Generator().manual_seed(seed)
        )
        assert all(b >= a - 1e-9 for a, b in itertools.pairwise(found.bound))
        assert found.converged and found.evidence < evidence
        assert found.evidence > evidence - 4.0


def test_one_state_has_the_exact_evidence() -> None:
    """There, the posterior is the one that variational Bayes looks for."""
    model = HMM(1, emissions.Categorical(1, 3)).double()
    found = variational(model, torch.tensor(X))
    counts = torch.tensor([[3.0, 0.0, 4.0]]).double()
    assert found.evidence == pytest.approx(dirichlet_evidence(counts, 1.0))


def test_the_evidence_of_gaussians_is_a_student_t() -> None:
    x = torch.randn(6, 1, generator=torch.Generator().manual_seed(0)).double() + 3
    model = HMM(1, Gaussian(1, 1)).double()
    model.initialise(x)
    mean, variance = torch.tensor([2.0]).double(), torch.tensor([1.5]).double()
    prior = GaussianBelief(model.emission, mean, variance, weight=0.5, freedom=3.0)  # type: ignore[arg-type]
    found = variational(model, x, priors={"emission": prior}, initialise=False)
    k, n, a, b = 0.5, len(x), 1.5, 1.5 * 1.5
    k_n, a_n = k + n, a + n / 2
    average = float(x.mean())
    b_n = b + float((x - average).square().sum()) / 2 + k * n * (average - 2.0) ** 2 / (2 * k_n)
    exact = math.lgamma(a_n) - math.lgamma(a) + a * math.log(b) - a_n * math.log(b_n)
    exact += (math.log(k) - math.log(k_n)) / 2 - n / 2 * math.log(2 * math.pi)
    assert found.evidence == pytest.approx(exact)
    full = HMM(1, Gaussian(1, 1, covariance="full")).double()
    full.initialise(x)
    wishart = FullGaussianBelief(full.emission, mean, variance, weight=0.5, freedom=3.0)  # type: ignore[arg-type]
    same = variational(full, x, priors={"emission": wishart}, initialise=False)
    assert same.evidence == pytest.approx(exact)


def test_the_evidence_of_a_matrix_is_murphys_formula() -> None:
    x = (
        torch.randn(8, 2, generator=torch.Generator().manual_seed(1)).double()
        @ torch.tensor([[1.0, 0.5], [0.0, 1.0]]).double()
    )
    model = HMM(1, Gaussian(1, 2, covariance="full")).double()
    model.initialise(x)
    mean, variance = torch.zeros(2).double(), torch.ones(2).double() * 2
    prior = FullGaussianBelief(model.emission, mean, variance, weight=0.3, freedom=2.5)  # type: ignore[arg-type]
    found = variational(model, x, priors={"emission": prior}, initialise=False)
    n, size, k, v = len(x), 2, 0.3, 3.5
    scale = torch.eye(2).double() * 2 * v
    average = x.mean(0)
    away = (x - average).T @ (x - average)
    after = scale + away + k * n / (k + n) * torch.outer(average, average)
    exact = -n * size / 2 * math.log(math.pi) + size / 2 * (math.log(k) - math.log(k + n))
    exact += float(v / 2 * scale.logdet() - (v + n) / 2 * after.logdet())
    exact += float(
        torch.mvlgamma(torch.tensor((v + n) / 2).double(), 2) - torch.mvlgamma(torch.tensor(v / 2).double(), 2)
    )
    assert found.evidence == pytest.approx(exact)


def test_the_evidence_of_counts_is_negative_binomial() -> None:
    x = torch.tensor([[3.0], [0.0], [5.0], [2.0]]).double()
    model = HMM(1, emissions.Poisson(1, 1)).double()
    model.initialise(x)
    prior = PoissonBelief(model.emission, count=2.0, steps=0.7)  # type: ignore[arg-type]
    found = variational(model, x, priors={"emission": prior}, initialise=False)
    total, n = 10.0, 4
    exact = math.lgamma(2 + total) - math.lgamma(2) + 2 * math.log(0.7) - (2 + total) * math.log(0.7 + n)
    exact -= sum(math.lgamma(float(v) + 1) for v in x.flatten())
    assert found.evidence == pytest.approx(exact)


EMISSIONS: dict[str, Any] = {
    "categorical": lambda: (emissions.Categorical(3, 4), torch.randint(4, (2, 30), generator=G())),
    "poisson": lambda: (emissions.Poisson(3, 2), torch.poisson(torch.full((2, 30, 2), 4.0).double(), generator=G())),
    "diag": lambda: (Gaussian(3, 2), torch.randn(2, 30, 2, generator=G()).double()),
    **{
        kind: lambda kind=kind: (Gaussian(3, 2, covariance=kind), torch.randn(2, 30, 2, generator=G()).double())
        for kind in ("spherical", "full", "tied")
    },
}


def G() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", EMISSIONS)
@pytest.mark.parametrize("segments", [False, True])
def test_the_bound_never_falls(kind: str, segments: bool) -> None:
    emission, x = EMISSIONS[kind]()
    if x.is_floating_point():
        x[0, 3] = torch.nan
    model: Any = HMM(3, emission, final=[0, 1, 2])
    if segments:
        model = HSMM(3, emission, durations.Categorical(3, 6), censored="right")
    weights = torch.tensor([1.0, 2.0])
    lengths = torch.tensor([30, 21])
    found = variational(model.double(), x, lengths, iterations=15, tolerance=0.0, generator=G())
    assert all(b >= a - 1e-8 * abs(a) for a, b in itertools.pairwise(found.bound))
    assert found.bound[-1] > found.bound[0]
    (batch,) = model.batches(x, lengths, weights=weights)
    assert math.isfinite(model.score(x, lengths)) and batch.weights is not None


@pytest.mark.parametrize("kind", EMISSIONS)
def test_a_divergence_is_the_mean_log_ratio_of_densities(kind: str) -> None:
    """By the derivative: of a prior from itself it is 0, and adding data never makes it negative."""
    emission, x = EMISSIONS[kind]()
    emission = emission.double()
    flat = x.reshape(60, *x.shape[2:])
    emission.initialise(flat, G())
    one: Any = belief(emission, flat)
    assert float(one.divergence()) == pytest.approx(0.0, abs=1e-9)
    share = torch.rand(60, 3, generator=G()).double()
    one.observe(emission.statistics(flat, share))
    assert float(one.divergence()) > 0.1


@pytest.mark.parametrize("kind", EMISSIONS)
def test_what_is_expected_is_the_mean_over_draws(kind: str) -> None:
    emission, x = EMISSIONS[kind]()
    emission = emission.double()
    flat = x.reshape(60, *x.shape[2:])
    emission.initialise(flat, G())
    one: Any = belief(emission, flat)
    one.observe(emission.statistics(flat, torch.ones(60, 3).double() / 3))
    expected = one.expected_log(flat[:5])
    generator, draws = G(), []
    for _ in range(4000):
        one.draw(generator)
        draws.append(emission(flat[:5]).detach())
    stacked = torch.stack(draws)
    error = stacked.std(0) / math.sqrt(len(stacked))
    assert bool(((stacked.mean(0) - expected).abs() < 5 * error + 1e-9).all())


@pytest.mark.parametrize("concentration", [1.0, 2.0])
@pytest.mark.no_cover  # which draws long, and would twice as long
def test_gibbs_draws_paths_as_often_as_they_are_probable(concentration: float) -> None:
    """In total variation, of the 64 kinds of paths that differ by more than the names of the states.

    Independent draws have 0.055 +- 0.005 (mean and standard deviation over draws); with another concentration by a
    factor of 2 it is 0.16.
    """
    paths, joint = exact(2, 3, concentration)
    share = (joint - joint.logsumexp(0)).exp()
    model = HMM(2, emissions.Categorical(2, 3)).double()
    found = gibbs(model, torch.tensor(X), draws=3000, burn_in=50, concentration=concentration, generator=G())
    number = (found.states * 2 ** torch.arange(len(X) - 1, -1, -1)).sum(-1)
    away = number.bincount(minlength=len(paths)).double() / len(number) - share
    assert float((away + away.flip(0)).abs().sum()) / 4 < 0.08
    same = share.new_zeros(len(X))
    for path, weight in zip(paths, share, strict=True):
        same += weight * torch.tensor([float(a == path[0]) for a in path]).double()
    met = (found.states == found.states[:, :1]).double().mean(0)
    assert_close(met, same, atol=0.04, rtol=0.0)


def segment_evidence(tiling: list[tuple[int, int]], x: list[int]) -> float:
    first, pairs, lasting, seen = (torch.zeros(*s).double() for s in ((1, 2), (2, 2), (2, 3), (2, 3)))
    first[0, tiling[0][0]] = 1
    at = 0
    for (a, _), (b, _) in itertools.pairwise(tiling):
        pairs[a, b] += 1
    for state, length in tiling:
        lasting[state, length - 1] += 1
        for t in range(at, min(at + length, len(x))):
            seen[state, x[t]] += 1
        at += length
    return sum(dirichlet_evidence(c, 1.0) for c in (first, pairs, lasting, seen))


@pytest.mark.parametrize("censored", ["none", "right"])
@pytest.mark.no_cover  # which draws long, and would twice as long
def test_gibbs_of_segments_has_the_exact_posterior(censored: Any) -> None:
    x = [0, 0, 2, 1]

    def tilings(left: int) -> list[list[tuple[int, int]]]:
        if left <= 0:
            return [[]]
        each = [(s, d) for s in range(2) for d in range(1, 4) if d <= left or censored == "right"]
        return [[(s, d), *rest] for s, d in each for rest in tilings(left - d)]

    every = tilings(len(x))
    joint = torch.tensor([segment_evidence(one, x) for one in every]).double()
    share = (joint - joint.logsumexp(0)).exp()
    expected = torch.zeros(2**4).double()
    for tiling, weight in zip(every, share, strict=True):
        states = [s for s, d in tiling for _ in range(d)][:4]
        expected[int("".join(map(str, states)), 2)] += weight
    model = HSMM(
        2, emissions.Categorical(2, 3), durations.Categorical(2, 3), allowed=torch.ones(2, 2).bool(), censored=censored
    ).double()
    found = gibbs(model, torch.tensor(x), draws=2000, burn_in=50, generator=G())
    number = (found.states * 2 ** torch.arange(3, -1, -1)).sum(-1)
    away = number.bincount(minlength=16).double() / len(number) - expected
    assert float((away + away.flip(0)).abs().sum()) / 4 < 0.055  # of independent draws: 0.022 +- 0.008


def test_a_process_finds_out_how_many_states_there_are() -> None:
    generator = G()
    state = torch.arange(300) // 25 % 3
    x = (state.unsqueeze(-1) * 6.0 + torch.randn(300, 1, generator=generator)).double()
    hdp = StickyHDP(concentration=2.0, stickiness=20.0, spread=1.0)
    model = HMM(10, Gaussian(10, 1)).double()
    found = gibbs(model, x, draws=100, burn_in=200, hdp=hdp, generator=generator)
    sizes = torch.stack([(one.bincount(minlength=10) > 5).sum() for one in found.states])
    assert sizes.double().mean() < 4.0 and sizes.mode().values == 3
    assert_close(hdp.shares.sum(), torch.tensor(1.0).double())
    best = found.states[-1]
    pure = sum(int(best[state == k].bincount().max()) for k in range(3)) / 300
    assert pure > 0.97
    each = [model.score(x) for model in found.models()]
    assert each == pytest.approx(found.log_prob.tolist())


def simplex(cells: int) -> tuple[Tensor, Tensor]:
    """The shares of three states on a grid ``(N, 3)``, and the logarithm of the area each stands for."""
    at = (torch.arange(cells).double() + 0.5) / cells
    first, rest = torch.cartesian_prod(at, at).unbind(-1)
    return torch.stack([first, (1 - first) * rest, (1 - first) * (1 - rest)], -1), (1 - first).log()


def others_evidence(counts: Tensor, concentration: float, shares: Tensor) -> Tensor:
    """Of the transitions ``(3, 3)`` of an HDP-HSMM, none of a state to itself, for shares ``(N, 3)``."""
    found = torch.zeros(len(shares)).double()
    for j in range(3):
        rest = [k for k in range(3) if k != j]
        prior, n = concentration * shares[:, rest], counts[j, rest]
        found += torch.lgamma(prior.sum(-1)) - torch.lgamma(prior.sum(-1) + n.sum())
        found += (torch.lgamma(prior + n) - torch.lgamma(prior)).sum(-1)
    return found


def test_shares_of_states_that_do_not_follow_themselves_have_the_exact_posterior() -> None:
    """Without the tables of the transitions that are left out, the mean of the second one is 0.44, not 0.478."""
    counts = torch.tensor([[0.0, 5.0, 0.0], [4.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).double()
    shares, area = simplex(200)
    posterior = (others_evidence(counts, 3.0, shares) + area + shares.log().sum(-1)).softmax(0)  # of Dirichlet(2, 2, 2)
    hdp, rows = SemiMarkovHDP(concentration=3.0, spread=6.0), TableBelief(Transitions(3, allowed=~torch.eye(3).bool()))
    hdp.begin(rows)
    generator, drawn = G(), []
    for _ in range(4000):
        hdp.update(rows, counts, generator)
        drawn.append(hdp.shares)
    found = torch.stack(drawn)
    mean = posterior @ shares
    assert_close(found.mean(0), mean, atol=0.015, rtol=0.0)  # standard errors: 0.002 to 0.0045
    assert_close(found.std(0), (posterior @ (shares - mean).square()).sqrt(), atol=0.01, rtol=0.0)


@pytest.mark.no_cover  # which draws long, and would twice as long
def test_gibbs_of_an_hdp_hsmm_has_the_exact_posterior() -> None:
    """In total variation. Independent draws have 0.032 +- 0.005, four times the concentration 0.053."""
    x, longest = [0, 0, 1, 1, 0], 2

    def tilings(left: int, before: int) -> list[list[tuple[int, int]]]:
        if left == 0:
            return [[]]
        each = [(s, d) for s in range(3) for d in range(1, longest + 1) if d <= left and s != before]
        return [[(s, d), *rest] for s, d in each for rest in tilings(left - d, s)]

    shares, area = simplex(60)
    prior = (area + shares.log().sum(-1)).log_softmax(0)  # Dirichlet(2, 2, 2)
    every, joint = tilings(len(x), -1), []
    for tiling in every:
        first, pairs, lasting, seen = (torch.zeros(*s).double() for s in ((1, 3), (3, 3), (3, longest), (3, 2)))
        first[0, tiling[0][0]] = 1
        at = 0
        for (a, _), (b, _) in itertools.pairwise(tiling):
            pairs[a, b] += 1
        for state, length in tiling:
            lasting[state, length - 1] += 1
            for symbol in x[at : at + length]:
                seen[state, symbol] += 1
            at += length
        own = sum(dirichlet_evidence(c, 1.0) for c in (first, lasting, seen))
        joint.append(own + float((prior + others_evidence(pairs, 1.0, shares)).logsumexp(0)))
    share = torch.tensor(joint).double().softmax(0)

    def kind(states: list[int]) -> int:
        """The number of a path, its states named in the order in which they are met."""
        names: dict[int, int] = {}
        return sum(names.setdefault(s, len(names)) * 3**t for t, s in enumerate(states))

    expected, found = torch.zeros(3**5).double(), torch.zeros(3**5).double()
    for tiling, weight in zip(every, share, strict=True):
        expected[kind([s for s, d in tiling for _ in range(d)])] += weight
    model = HSMM(3, emissions.Categorical(3, 2), durations.Categorical(3, longest), censored="none").double()
    chains, draws = 4, 3000
    for seed in range(chains):
        hdp, generator = SemiMarkovHDP(concentration=1.0, spread=6.0), torch.Generator().manual_seed(seed)
        for states in gibbs(model, torch.tensor(x), draws=draws, burn_in=50, hdp=hdp, generator=generator).states:
            found[kind(states.tolist())] += 1 / (chains * draws)
    assert float((found - expected).abs().sum()) / 2 < 0.032


def test_the_greatest_bound_leaves_states_empty_that_are_not_needed() -> None:
    state = torch.arange(400) // 40 % 2
    x = (state.unsqueeze(-1) * 6.0 + torch.randn(400, 1, generator=G())).double()
    model, generator, found = HMM(4, Gaussian(4, 1)).double(), G(), []
    for _ in range(4):
        one = variational(model, x, concentration=0.2, initialise="random", iterations=200, generator=generator)
        found.append((one.evidence, len(model.predict(x).unique())))
    assert max(found)[1] == 2 < max(used for _, used in found)


def test_labels_are_kept() -> None:
    labels = torch.tensor([1, -1, -1, 0, -1, -1, 1])
    model = HMM(2, emissions.Categorical(2, 3)).double()
    found = gibbs(model, torch.tensor(X), draws=30, burn_in=5, generator=G(), labels=labels)
    assert bool((found.states[:, [0, 3, 6]] == torch.tensor([1, 0, 1])).all())
    assert variational(model, torch.tensor(X), labels=labels, generator=G()).evidence < 0


def test_what_has_no_conjugate_prior_says_so() -> None:
    with pytest.raises(StructureError, match="Laplace is an emission without a conjugate prior"):
        variational(HMM(2, emissions.Laplace(2, 1)), torch.randn(9, 1))
    with pytest.raises(StructureError, match="Poisson is a law without a conjugate prior"):
        gibbs(HSMM(2, Gaussian(2, 1), durations.Poisson(2, 4), censored="right"), torch.randn(9, 1))
    with pytest.raises(StructureError, match="every state must be allowed"):
        gibbs(HMM(2, Gaussian(2, 1), offsets=(0, 1)), torch.randn(9, 1), hdp=StickyHDP())
    for transitions in ({"allowed": torch.ones(3, 3).bool()}, {"offsets": (1, 2)}):
        model = HSMM(3, Gaussian(3, 1), durations.Categorical(3, 4), **transitions)
        with pytest.raises(StructureError, match="SemiMarkovHDP: every state must be allowed to follow every other"):
            gibbs(model, torch.randn(9, 1), hdp=SemiMarkovHDP())
    with pytest.raises(ShapeError, match="must be above 0"):
        StickyHDP(spread=0.0)
    with pytest.raises(ShapeError, match="StickyHDP: stickiness must be at least 0"):
        StickyHDP(stickiness=-1.0)
    with pytest.raises(ShapeError, match="draws and thin must be at least 1"):
        gibbs(HMM(2, Gaussian(2, 1)), torch.randn(9, 1), draws=0)
    x = torch.randn(9, 2)
    x[2, 0] = torch.nan
    with pytest.raises(StructureError, match="missing in part"):
        variational(HMM(2, Gaussian(2, 2, covariance="full")), x)


def test_draws_of_small_concentrations_are_probabilities() -> None:
    one = TableBelief(Table.rows(3, 4).double(), concentration=1e-3)
    for _ in range(20):
        one.draw(G())
        chance = one.table().exp()
        assert_close(chance.sum(-1), torch.ones(3).double())
