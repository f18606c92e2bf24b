"""Sums over batches say all that an EM step must know; what is frozen stays; states stand side by side."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import StructureError
from semihmm.models import HMM, Emission, FullGaussian, Gaussian, GaussianMixture, Neural, emissions

S, F = 3, 2

FAMILIES: dict[str, Callable[[int], Emission]] = {
    "diag": lambda s: Gaussian(s, F),
    "spherical": lambda s: Gaussian(s, F, covariance="spherical"),
    "full": lambda s: Gaussian(s, F, covariance="full"),
    "tied": lambda s: FullGaussian(s, F, tied=True),
    "mixture": lambda s: GaussianMixture(s, F, 2),
    "mixture-full": lambda s: GaussianMixture(s, F, 2, covariance="full"),
    "mixture-tied": lambda s: GaussianMixture(s, F, 2, covariance="tied"),
    "codebook": lambda s: GaussianMixture(s, F, 2, codebook=[0] * s),
    "student": lambda s: emissions.StudentT(s, F),
    "laplace": lambda s: emissions.Laplace(s, F),
    "exponential": lambda s: emissions.Exponential(s, F),
    "gamma": lambda s: emissions.Gamma(s, F),
    "beta": lambda s: emissions.Beta(s, F),
    "von-mises": lambda s: emissions.VonMises(s, F),
    "poisson": lambda s: emissions.Poisson(s, F),
    "negative-binomial": lambda s: emissions.NegativeBinomial(s, F),
    "zero-inflated": lambda s: emissions.ZeroInflatedPoisson(s, F),
    "bernoulli": lambda s: emissions.Bernoulli(s, F),
    "multinomial": lambda s: emissions.Multinomial(s, F, trials=4),
    "categorical": lambda s: emissions.Categorical(s, 5),
    "product": lambda s: emissions.Product([Gaussian(s, 1), emissions.Categorical(s, 4)]),
    "mixed": lambda s: emissions.Mixed([Gaussian(s - 1, F), FullGaussian(1, F)]),
}
WITHOUT_SUMS = ("laplace", "negative-binomial")
APART = [kind for kind in FAMILIES if kind not in ("tied", "codebook", "mixed")]
KINDS = pytest.mark.parametrize("kind", FAMILIES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(kind: str, seed: int = 1, states: int = S) -> Any:
    emission = FAMILIES[kind](states).double()
    with torch.no_grad():
        for number, parameter in enumerate(emission.parameters()):
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator(100 * seed + number)))
    emission.project()
    return emission


def drawn(kind: str, steps: int = 60) -> Tensor:
    """Some of it missing, where parts may be."""
    x: Tensor = made(kind, seed=2).sample(torch.arange(steps) % S, generator(2))
    if kind == "categorical":
        return x.masked_fill(torch.arange(steps) % 7 == 0, -1)
    hidden = torch.rand(x.shape if kind != "multinomial" else (*x.shape[:1], 1), generator=generator(3)) < 0.2
    return x.masked_fill(hidden, torch.nan)


def posterior_of(x: Tensor, states: int = S) -> Tensor:
    return torch.randn(len(x), states, dtype=torch.float64, generator=generator(5)).mul(2).softmax(-1)


def assert_same(one: Emission, other: Emission, tolerance: float = 1e-9) -> None:
    """Tables by their probabilities: the logits of a row may all be moved."""
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        both = [p.softmax(-1) if "logits" in name else p for p in (a, b)]
        assert_close(*both, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in WITHOUT_SUMS])
def test_the_sums_of_two_batches_say_what_all_data_say(kind: str) -> None:
    emission, x = made(kind), drawn(kind)
    emission.initialise(x, generator())
    whole, posterior = copy.deepcopy(emission), posterior_of(x)
    one, other = (emission.statistics(x[part], posterior[part]) for part in (slice(25), slice(25, None)))
    for name in one:
        one[name] += other[name]  # in place: each number has memory of its own
    emission.maximise(one)
    whole.maximise(whole.statistics(x, posterior))
    assert_same(emission, whole)
    if kind != "student":  # whose update is three such steps
        again = copy.deepcopy(whole)
        again.load_state_dict(made(kind).state_dict())
        by_sums = copy.deepcopy(again)
        by_sums.update(x, posterior)
        again.maximise(again.statistics(x, posterior))
        assert_same(by_sums, again)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in WITHOUT_SUMS])
@pytest.mark.parametrize("factor", [1e-14, 1e3])
def test_the_scale_of_sums_does_not_matter(kind: str, factor: float) -> None:
    emission, x = made(kind), drawn(kind)
    scaled = copy.deepcopy(emission)
    sums = emission.statistics(x, posterior_of(x))
    emission.maximise(sums)
    scaled.maximise({name: factor * value for name, value in sums.items()})
    assert_same(emission, scaled, 1e-7)


@pytest.mark.parametrize("kind", WITHOUT_SUMS)
def test_what_no_sums_can_say_is_refused_by_name(kind: str) -> None:
    x = drawn(kind)
    with pytest.raises(StructureError, match="takes all observations at once"):
        made(kind).statistics(x, posterior_of(x))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("diag", {"weight": (S, F), "first": (S, F), "second": (S, F)}),
        ("full", {"weight": (S,), "first": (S, F), "second": (S, F, F)}),
        ("categorical", {"counts": (S, 5)}),
        ("poisson", {"weight": (S, F), "total": (S, F)}),
        ("product", {"0.weight": (S, 1), "0.first": (S, 1), "0.second": (S, 1), "1.counts": (S, 4)}),
    ],
)
def test_sums_have_the_names_that_others_know(kind: str, names: dict[str, tuple[int, ...]]) -> None:
    x = drawn(kind)
    sums = made(kind).statistics(x, posterior_of(x))
    assert {name: tuple(value.shape) for name, value in sums.items()} == names
    assert all(value.dtype == torch.float64 for value in sums.values())


@pytest.mark.parametrize("kind", ["diag", "spherical", "full", "tied", "mixture", "mixture-full", "student"])
def test_data_far_from_0_keep_their_digits(kind: str) -> None:
    """Readings near 1.6e9, a unit apart: from sums of two batches, as from the data near 0."""
    x = torch.randn(400, F, dtype=torch.float64, generator=generator()).mul(1024).round() / 1024
    near, far, posterior = made(kind), made(kind), posterior_of(x)
    shift = torch.tensor([1.6e9, -3e8]).double()
    for emission, data in ((near, x), (far, x + shift)):
        emission.initialise(data, generator())
        one, other = (emission.statistics(data[p], posterior[p]) for p in (slice(150), slice(150, None)))
        emission.maximise({name: one[name] + other[name] for name in one})
    for name, value in far.named_parameters():
        moved = value - shift if name in ("mean", "location") else value
        assert_close(moved, dict(near.named_parameters())[name], rtol=1e-6, atol=1e-6)
    bare = made(kind)
    bare.update(x + shift, posterior)  # without a start
    place = bare.location if kind == "student" else bare.mean
    learnt = (place - shift).abs() < 10
    if kind in ("diag", "spherical", "full", "tied"):
        bare_near = made(kind)
        bare_near.update(x, posterior)
        assert_close(bare.covariance(), bare_near.covariance(), rtol=1e-6, atol=1e-6)
    assert learnt.any() if "mixture" in kind else learnt.all()  # a component that explains nothing stays


@pytest.mark.parametrize("floor", [0.5, 2.0, 5.0])
def test_a_scale_at_its_floor_does_not_lower_the_objective(floor: float) -> None:
    emission, x = emissions.StudentT(S, F, scale_floor=floor).double(), drawn("student")
    posterior = posterior_of(x)
    emission.initialise(x, generator())
    value = (posterior * emission(x)).sum()
    for _ in range(20):
        emission.maximise(emission.statistics(x, posterior))
        better = (posterior * emission(x)).sum()
        assert better >= value - 1e-12 * value.abs()
        value = better


def test_a_file_from_before_there_was_a_centre_still_loads(tmp_path: Path) -> None:
    for kind in ("diag", "mixture-full", "student"):
        model = HMM(S, made(kind)).double()
        model.save(tmp_path / "m")
        with safe_open(tmp_path / "m", framework="pt") as file:
            note = file.metadata()
        content = load_file(tmp_path / "m")
        del content["emission.centre"]
        save_file(content, tmp_path / "n", note)
        again: Any = HMM.load(tmp_path / "n")
        x = torch.randn(5, F, dtype=torch.float64)
        assert torch.equal(again.log_prob(x), model.log_prob(x))
        place = again.emission.location if kind == "student" else again.emission.mean
        assert_close(again.emission.centre, place.detach().reshape(-1, F).mean(0))


def frozen_cases() -> list[tuple[str, str]]:
    return [(kind, name) for kind in FAMILIES for name, _ in FAMILIES[kind](S).named_parameters()]


@pytest.mark.parametrize(("kind", "name"), frozen_cases())
def test_what_is_frozen_stays_and_the_rest_is_the_best_given_it(kind: str, name: str) -> None:
    emission, x = made(kind, seed=4), drawn(kind)
    posterior = posterior_of(x)
    parameters = dict(emission.named_parameters())
    parameters[name].requires_grad_(False)
    before = parameters[name].clone()
    emission.initialise(x, generator())
    value = (posterior * emission(x)).sum()
    for _ in range(
        30 if kind in ("student", "mixed") or "mixture" in kind or kind in ("codebook", "full", "tied") else 2
    ):
        emission.update(x, posterior)
        better = (posterior * emission(x)).sum()
        assert better >= value - 1e-9 * value.abs()
        value = better
    emission.project()
    if emission.own:
        emission.reseed(torch.tensor([True, False, True]), x, generator())
    assert torch.equal(parameters[name], before)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k, n in frozen_cases() if k in ("diag", "spherical", "gamma", "beta", "von-mises", "negative-binomial")]
    + [("laplace", "location"), ("zero-inflated", "log_rate"), ("student", "location")],
)
def test_no_other_parameters_are_better_beside_a_frozen_one(kind: str, name: str) -> None:
    emission, x = made(kind, seed=4), drawn(kind)
    posterior = posterior_of(x)
    dict(emission.named_parameters())[name].requires_grad_(False)
    for _ in range(100 if kind == "student" else 1):
        emission.update(x, posterior)
    best = (posterior * emission(x)).sum().detach()
    for seed in range(30):
        other = copy.deepcopy(emission)
        with torch.no_grad():
            for number, parameter in enumerate(other.parameters()):
                if parameter.requires_grad:
                    g = generator(100 * seed + number)
                    parameter.add_(0.01 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
        other.project()
        assert (posterior * other(x)).sum() <= best + 1e-9 * best.abs()


@pytest.mark.parametrize("kind", APART)
def test_the_states_of_several_stand_side_by_side_in_one(kind: str) -> None:
    x = drawn(kind)
    some = [made(kind, seed) for seed in (1, 2)]
    for emission in some:
        emission.initialise(x, generator())
        assert emission.apart and [id(p) for p in emission.own] == [id(p) for p in emission.parameters()]
    both = made(kind, states=2 * S)
    with torch.no_grad():
        for parameter, *each in zip(both.parameters(), *(e.parameters() for e in some), strict=True):
            parameter.copy_(torch.cat(list(each)))
        for buffer, own in zip(both.buffers(), some[0].buffers(), strict=True):
            if buffer.shape == own.shape:  # not those of states, such as codebooks
                buffer.copy_(own)
    assert_close(both(x), torch.cat([emission(x) for emission in some], -1))
    posterior = posterior_of(x, 2 * S)
    both.update(x, posterior)
    for emission, share in zip(some, posterior.split(S, -1), strict=True):
        emission.update(x, share)
    for (name, parameter), *each in zip(both.named_parameters(), *(e.parameters() for e in some), strict=True):
        joined = torch.cat(list(each))
        assert_close(*(p.softmax(-1) if "logits" in name else p for p in (parameter, joined)), rtol=1e-9, atol=1e-9)


@KINDS
def test_some_states_start_anew_and_the_others_stay(kind: str) -> None:
    emission, x = made(kind), drawn(kind)
    before = [p.clone() for p in emission.parameters()]
    own = {id(p) for p in emission.own}
    emission.reseed(torch.tensor([False, True, False]), x, generator())
    for parameter, old in zip(emission.parameters(), before, strict=True):
        if id(parameter) in own:
            assert torch.equal(parameter[[0, 2]], old[[0, 2]]) and not torch.equal(parameter[1], old[1])
        elif kind != "mixed":
            assert torch.equal(parameter, old)
    assert any(not torch.equal(p, old) for p, old in zip(emission.parameters(), before, strict=True))
    assert emission(x).isfinite().any(-1).all()


def test_a_network_cannot_start_some_states_anew() -> None:
    with pytest.raises(StructureError, match="Neural: its states share all parameters"):
        Neural(torch.nn.Linear(2, 3)).reseed(torch.tensor([True, False, False]), torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("kind", "free"),
    [
        ("diag", 2 * S * F),
        ("spherical", S * F + S),
        ("full", S * F + S * 3),
        ("tied", S * F + 3),
        ("mixture", 2 * S * 2 * F + S),
        ("mixture-tied", S * 2 * F + S * 3 + S),
        ("codebook", 2 * 2 * F + S),
        ("student", 3 * S * F),
        ("categorical", S * 4),
        ("bernoulli", S * F),
        ("multinomial", S * (F - 1)),
        ("zero-inflated", 2 * S * F),
        ("product", 2 * S + S * 3),
        ("mixed", 2 * 2 * F + F + 3),
    ],
)
def test_free_parameters_are_counted(kind: str, free: int) -> None:
    emission = made(kind)
    assert emission.free_parameters == free
    for parameter in emission.parameters():
        parameter.requires_grad_(False)
    assert emission.free_parameters == 0


def test_fixed_degrees_of_freedom_are_not_counted() -> None:
    assert emissions.StudentT(S, F, freedom=3.0).free_parameters == 2 * S * F


@KINDS
def test_a_reader_is_told_of_each_state(kind: str) -> None:
    emission = made(kind)
    told = emission.describe()
    assert told and all(len(value) == S and not value.requires_grad for value in told.values())


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in ("categorical", "product", "von-mises")])
def test_the_expected_observation_is_the_mean_of_draws(kind: str) -> None:
    """40,000 draws: 6 standard errors."""
    emission = made(kind)
    if kind == "student":
        emission.log_freedom.data.fill_(2.0)
    expected = emission.expected()
    assert expected.shape == (S, F)
    for state in range(S):
        x = emission.sample(torch.full((40_000,), state), generator(1))
        assert ((x.mean(0) - expected[state]).abs() < 6 * x.std(0) / 200).all()


def test_symbols_have_no_expectation() -> None:
    with pytest.raises(StructureError, match="Categorical: has no expected observation"):
        made("categorical").expected()


@pytest.mark.parametrize("covariance", ["diag", "spherical", "full", "tied"])
def test_every_covariance_can_be_asked_for_and_comes_back_from_a_file(covariance: Any, tmp_path: Path) -> None:
    x = torch.randn(200, 3, dtype=torch.float64, generator=generator()) @ torch.randn(3, 3).double().tril()
    for emission in (Gaussian(2, 3, covariance=covariance), GaussianMixture(2, 3, 2, covariance=covariance)):
        model = HMM(2, emission).double()
        fit = model.fit(x, iterations=5, generator=generator())
        assert fit.history[-1] > fit.history[0]
        climbed = model.fit(x, method="gradient", iterations=3, initialise=False)
        assert climbed.history[-1] > climbed.history[0]
        model.save(tmp_path / "m")
        again: Any = HMM.load(tmp_path / "m")
        assert again.emission.config == emission.config
        assert torch.equal(again.log_prob(x), model.log_prob(x))
        matrices = again.emission.covariance()
        assert matrices.shape == (*emission.mean.shape, 3)
        shared = {"tied": matrices - matrices.select(-3, 0).unsqueeze(-3)}.get(covariance)
        assert shared is None or (shared == 0).all()
        assert (matrices.tril(-1) != 0).any() == (covariance in ("full", "tied"))


def test_a_mixture_of_one_gaussian_is_that_gaussian() -> None:
    x, posterior = drawn("full"), posterior_of(drawn("full"))
    one, other = Gaussian(S, F, covariance="full").double(), GaussianMixture(S, F, 1, covariance="full").double()
    with torch.no_grad():
        other.mean.copy_(one.mean.unsqueeze(1))
    for _ in range(3):
        one.update(x, posterior)
        other.update(x, posterior)
    assert_close(one.mean, other.mean.squeeze(1))
    assert_close(one.covariance(), other.covariance().squeeze(1))
    assert_close(one(x), other(x))
