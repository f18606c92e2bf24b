"""EM never goes down and does what brute force says; gradients climb the same hill; new parts are one class."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.models import (
    HMM,
    HSMM,
    Duration,
    Emission,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Neural,
    durations,
    emissions,
)

EMISSIONS: dict[str, Callable[[], Emission]] = {
    "categorical": lambda: emissions.Categorical(3, 4, pseudo_count=0.2),
    "gaussian": lambda: Gaussian(3, 2, variance_floor=0.1),
    "full": lambda: FullGaussian(3, 2, variance_floor=0.1),
    "mixture": lambda: GaussianMixture(3, 2, 2, variance_floor=0.05),
    "tied": lambda: GaussianMixture(3, 2, 3, codebook=[0, 1, 0], pseudo_count=0.5),
}
MODELS: dict[str, Callable[[Emission], HMM | HSMM]] = {
    "hmm": lambda e: HMM(3, e, initial_pseudo_count=0.1, transition_pseudo_count=0.5),
    "left to right": lambda e: HMM(3, e, offsets=(0, 1), start=[0]),
    "arcs": lambda e: HMM(3, e, arcs=([0, 0, 1, 2, 2], [0, 1, 2, 2, 0])),
    "poisson": lambda e: HSMM(3, e, durations.Poisson(3, 9)),
    "durations": lambda e: HSMM(3, e, durations.Categorical(3, 9, pseudo_count=0.1), transition_pseudo_count=0.3),
    "censored": lambda e: HSMM(3, e, durations.Categorical(3, 5), censored="right"),
}


def data(emission: Emission, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([9, 4, 6])
    if not emission.event_shape:
        return torch.randint(4, (3, 9), generator=generator), lengths
    return torch.randn(3, 9, 2, dtype=torch.float64, generator=generator), lengths


@settings(max_examples=30)
@given(st.sampled_from(sorted(EMISSIONS)), st.sampled_from(sorted(MODELS)), st.booleans(), st.integers(0, 9999))
def test_em_never_lowers_the_objective(emission: str, model: str, wide: bool, seed: int) -> None:
    """`fit` checks it too; this looks at what it reports."""
    dtype = torch.float64 if wide else torch.float32
    made = MODELS[model](EMISSIONS[emission]()).to(dtype)
    x, lengths = data(made.emission, seed)
    fit = made.fit(x, lengths, "em", iterations=6, tolerance=0.0, generator=torch.Generator().manual_seed(seed))
    slack = (1e-9 if wide else 1e-5) * abs(fit.objective)
    assert all(b >= a - slack for a, b in zip(fit.history, fit.history[1:], strict=False))
    objective = made.score(x, lengths) + float(made.log_prior().detach())
    assert fit.objective == pytest.approx(objective, rel=1e-9 if wide else 1e-5)


def segmentations(length: int, states: int, longest: int, cut: bool) -> list[list[tuple[int, int]]]:
    """Every (state, duration) sequence over ``length`` steps; ``cut`` lets the last segment reach beyond."""
    if length <= 0:
        return [[]] if length == 0 or cut else []
    found = []
    for state, duration in product(range(states), range(1, longest + 1)):
        for rest in segmentations(length - duration, states, longest, cut):
            found.append([(state, duration), *rest])
    return found


@pytest.mark.parametrize("cut", [False, True])
def test_one_em_step_of_an_hsmm_is_what_counting_all_segmentations_gives(cut: bool) -> None:
    states, longest, symbols = 2, 3, 3
    model: Any = HSMM(
        states,
        emissions.Categorical(states, symbols),
        durations.Categorical(states, longest),
        allowed=torch.ones(2, 2, dtype=torch.bool),
        censored="right" if cut else "none",
    ).double()
    x, lengths = torch.tensor([[0, 2, 1, 1], [2, 2, 0, 0]]), torch.tensor([4, 2])
    model.initialise(x, lengths, torch.Generator().manual_seed(3))
    names = ("initial", "transition", "duration", "emission")
    law = {n: m().exp().tolist() for n, m in model.laws.items()}
    law["emission"] = model.emission.table().exp().tolist()
    counts = {n: torch.zeros_like(torch.tensor(law[n])).double() for n in names}
    log_likelihood = 0.0
    for sequence, length in zip(x.tolist(), lengths.tolist(), strict=True):
        weighed = []
        for path in segmentations(length, states, longest, cut):
            used: list[tuple[str, tuple[int, ...]]] = [("initial", (path[0][0],))]
            used += [("transition", (a, b)) for (a, _), (b, _) in pairwise(path)]
            used += [("duration", (state, duration - 1)) for state, duration in path]
            frames = [state for state, duration in path for _ in range(duration)][:length]
            used += [("emission", (state, sequence[t])) for t, state in enumerate(frames)]
            weighed.append((used, math.prod(_entry(law[name], at) for name, at in used)))
        total = sum(weight for _, weight in weighed)
        log_likelihood += math.log(total)
        for used, weight in weighed:
            for name, at in used:
                counts[name][at] += weight / total
    fit = model.fit(x, lengths, initialise=False, iterations=1)
    assert fit.history[0] == pytest.approx(log_likelihood, rel=1e-12)
    found = {**{n: m().exp() for n, m in model.laws.items()}, "emission": model.emission.table().exp()}
    for name in names:
        assert_close(found[name].detach(), counts[name] / counts[name].sum(-1, keepdim=True))


def _entry(table: Any, at: tuple[int, ...]) -> float:
    return float(table[at[0]] if len(at) == 1 else table[at[0]][at[1]])


@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        partial(torch.optim.LBFGS, max_iter=4, line_search_fn="strong_wolfe"),
        partial(torch.optim.AdamW, lr=0.05),
    ],
    ids=["default", "sgd", "lbfgs", "adamw"],
)
@pytest.mark.parametrize("model", ["left to right", "poisson"])
def test_any_optimiser_climbs(model: str, optimizer: Callable[..., torch.optim.Optimizer] | None) -> None:
    made = MODELS[model](Gaussian(3, 2)).double()
    x, lengths = data(made.emission, 0)
    fit = made.fit(
        x, lengths, "gradient", optimizer=optimizer, iterations=20, generator=torch.Generator().manual_seed(0)
    )
    assert fit.objective > fit.history[0] + 2
    assert fit.objective == pytest.approx(made.score(x, lengths), rel=1e-9)
    assert all(p.grad is None for p in made.parameters())


def test_em_and_gradient_find_the_same_summit() -> None:
    x = torch.tensor([[0, 0, 1, 0, 0, 1, 1, 1, 1, 0, 1, 1]])
    model = HMM(2, emissions.Categorical(2, 2), offsets=(0, 1), start=[0]).double()
    generator = torch.Generator().manual_seed(0)
    best = model.fit(x, iterations=500, tolerance=1e-12, generator=generator).objective
    lbfgs = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")
    fit = model.fit(x, method="gradient", optimizer=lbfgs, iterations=50, tolerance=1e-12, generator=generator)
    assert fit.objective == pytest.approx(best, abs=1e-5)


def test_where_em_ends_the_gradient_is_zero() -> None:
    """The expected counts are those of the likelihood that `log_prob` differentiates."""
    model = HSMM(2, Gaussian(2, 1, variance_floor=1e-6), durations.Poisson(2, 6)).double()
    generator = torch.Generator().manual_seed(2)
    x = model.sample(60, (3,), generator=generator).x
    model.fit(x, iterations=3000, tolerance=1e-14, generator=generator)
    model.zero_grad()
    torch.autograd.backward(model.log_prob(x).sum())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() < 1e-3, name


def test_the_generating_parameters_are_found_again() -> None:
    """6,000 steps of well separated states; 10 standard errors of a mean are 0.2."""
    torch.manual_seed(1)
    truth: Any = HMM(3, Gaussian(3, 1), transition_pseudo_count=0.0).double()
    with torch.no_grad():
        truth.emission.mean.copy_(torch.tensor([[-6.0], [0.0], [6.0]]))
        truth.transition.update(torch.tensor([[8.0, 1.0, 1.0], [2.0, 6.0, 2.0], [0.0, 1.0, 9.0]]))
    x = truth.sample(2000, (3,), generator=torch.Generator().manual_seed(5)).x
    found: Any = HMM(3, Gaussian(3, 1)).double()
    found.fit(x, restarts=2, generator=torch.Generator().manual_seed(0))
    order = found.emission.mean.flatten().argsort()
    assert (found.emission.mean[order] - truth.emission.mean).abs().max() < 0.2
    assert (found.transition().exp()[order][:, order] - truth.transition().exp()).abs().max() < 0.08


def test_the_best_of_all_starts_is_kept() -> None:
    model = HMM(3, Gaussian(3, 2)).double()
    x, lengths = data(model.emission, 1)
    alone = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        alone.append(model.fit(x, lengths, iterations=5, generator=generator).objective)
    fit = model.fit(x, lengths, iterations=5, restarts=4, generator=torch.Generator().manual_seed(0))
    assert fit.objective == pytest.approx(max(alone), rel=1e-12) and len(set(alone)) > 1
    assert model.score(x, lengths) == pytest.approx(fit.objective, rel=1e-12)


def test_equal_seeds_give_equal_models() -> None:
    x, lengths = data(Gaussian(3, 2), 1)
    found = []
    for _ in range(2):
        model = HMM(3, GaussianMixture(3, 2, 2))
        found.append(model.fit(x, lengths, iterations=3, generator=torch.Generator().manual_seed(7)).history)
    assert found[0] == found[1]


def test_a_fit_ends_when_it_gains_no_more_and_tells_of_each_iteration() -> None:
    model = HMM(3, Gaussian(3, 2)).double()
    x, lengths = data(model.emission, 1)
    told: list[tuple[int, float]] = []
    fit = model.fit(x, lengths, iterations=500, tolerance=1e-3, callback=lambda *news: told.append(news))
    assert told == list(enumerate(fit.history))
    gains = torch.tensor(fit.history).diff() / 19  # steps
    assert fit.converged and fit.iterations < 500 and gains[-1] < 1e-3 and (gains[:-1] >= 1e-3).all()
    assert model.fit(x, lengths, initialise=False, iterations=0).history == fit.history[-1:]


def test_a_left_to_right_model_starts_from_equal_pieces() -> None:
    x = torch.tensor([0.0, 0.1, 5.0, 5.1, 9.0, 9.1, 777.0]).reshape(1, 7, 1)
    model: Any = HMM(3, Gaussian(3, 1), offsets=(0, 1), start=[0])
    model.initialise(x, torch.tensor([6]))
    assert_close(model.emission.mean.detach().flatten(), torch.tensor([0.05, 5.05, 9.05]))


class Laplace(Emission):
    """An emission of a user's own: a median and a scale for each state."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.states, self.event_shape = states, ()
        self.median = torch.nn.Parameter(torch.randn(states))
        self.log_scale = torch.nn.Parameter(torch.zeros(states))

    def forward(self, x: Tensor) -> Tensor:
        away = (x.unsqueeze(-1) - self.median).abs()
        return -away / self.log_scale.exp() - self.log_scale - math.log(2)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        self.median.copy_(x[torch.randint(len(x), self.median.shape, generator=generator)])

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        order = x.argsort()
        mass = posterior[order].cumsum(0)
        self.median.copy_(x[order[(mass >= mass[-1] / 2).int().argmax(0)]])
        scale = (posterior * (x.unsqueeze(-1) - self.median).abs()).sum(0) / mass[-1]
        self.log_scale.copy_(scale.clamp(min=0.05).log())


class Geometric(Duration):
    """A duration law of a user's own, whose EM step forgets that the law is truncated."""

    def __init__(self, states: int, max_duration: int, right: bool) -> None:
        super().__init__()
        self.states, self.max_duration, self.right = states, max_duration, right
        self.logit = torch.nn.Parameter(torch.zeros(states))

    def forward(self) -> Tensor:
        stay = torch.nn.functional.logsigmoid(self.logit).unsqueeze(-1)
        return (stay * torch.arange(self.max_duration)).log_softmax(-1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        self.logit.uniform_(0, 1, generator=generator)

    @torch.no_grad()
    def update(self, counts: Tensor) -> None:
        if not self.right:
            self.logit.sub_(5.0)  # whatever was counted
            return
        for _ in range(50):  # gradient ascent with a safe step
            with torch.enable_grad():
                (slope,) = torch.autograd.grad((counts * self()).sum(), self.logit)
            self.logit.add_(slope / counts.sum())


def test_a_new_emission_and_a_new_duration_are_one_class_each() -> None:
    generator = torch.Generator().manual_seed(0)
    model: Any = HSMM(2, Laplace(2), Geometric(2, 8, right=True)).double()
    x = torch.where(torch.arange(40) // 5 % 2 == 0, -4.0, 4.0).double() + torch.randn(2, 40, generator=generator)
    fit = model.fit(x, iterations=20, generator=generator, restarts=3)
    assert fit.objective > fit.history[0]
    assert model.emission.median.detach().sort().values.tolist() == pytest.approx([-4, 4], abs=0.6)
    assert model.predict(x)[0].diff().abs().sum() == 7
    with pytest.raises(StructureError, match=r"Laplace: .* cannot draw"):
        model.sample(5)


def test_an_update_that_lowers_the_objective_is_noticed() -> None:
    model: Any = HSMM(2, Laplace(2), Geometric(2, 8, right=False)).double()
    with torch.no_grad():
        model.emission.median.copy_(torch.tensor([-4.0, 4.0]))
    x = torch.where(torch.arange(40) // 5 % 2 == 0, -4.0, 4.0).double()
    with pytest.raises(SemihmmError, match=r"EM lowered the objective from .* in iteration"):
        model.fit(x, initialise=False)


def test_a_network_trains_by_gradient() -> None:
    """A conditional random field: labels, and the loss in one line."""
    generator = torch.Generator().manual_seed(0)
    states = (torch.arange(30) // 6 % 3).expand(4, 30)
    x = torch.nn.functional.one_hot(states, 3).float() + 0.5 * torch.randn(4, 30, 3, generator=generator)
    model = HMM(3, Neural(torch.nn.Linear(3, 3)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        structure = model(x)
        loss = -(structure.score(states) - model.log_prob(x)).mean()
        torch.autograd.backward(loss)
        optimizer.step()
    assert (model.predict(x) == states).float().mean() > 0.95
    with pytest.raises(StructureError, match="gradient"):
        model.fit(x, method="em")


def test_a_network_of_log_densities_is_fit_by_gradient_without_being_told() -> None:
    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Parameter(torch.tensor([-1.0, 1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return -((x - self.mean) ** 2) / 2

    x = torch.tensor([-3.0, -3.0, 3.0, 3.0]).reshape(4, 1)
    model: Any = HMM(2, Neural(Unit()), offsets=(0, 1))
    fit = model.fit(x, iterations=200)
    assert fit.objective > fit.history[0]
    assert model.emission.net.mean.tolist() == pytest.approx([-3, 3], abs=0.2)


def test_a_sequence_that_cannot_be_explained_is_named() -> None:
    model = HSMM(2, Gaussian(2, 1), durations.Categorical(2, 3), allowed=[[False, True], [False, False]])
    with pytest.raises(DataError, match=r"1 of the sequences .* \(the first at \[1\]\)"):
        model.fit(torch.randn(2, 9, 1), torch.tensor([5, 9]))
    with pytest.raises(SemihmmError, match="objective is -inf"):
        model.fit(torch.randn(9, 1), method="gradient")


def test_a_step_that_is_too_large_is_noticed() -> None:
    model = HMM(2, Gaussian(2, 1))
    with pytest.raises(SemihmmError, match="learning rate"):
        model.fit(torch.randn(9, 1), method="gradient", optimizer=partial(torch.optim.SGD, lr=1e30))


@pytest.mark.parametrize("wrong", [{"method": "newton"}, {"restarts": 0}])
def test_a_wrong_argument_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match=f"{next(iter(wrong))} must be"):
        HMM(2, Gaussian(2, 1)).fit(torch.randn(9, 1), **wrong)
