"""What a model answers, against enumeration and against the structure it stands for; and what it refuses."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.errors import DataError, ShapeError
from semihmm.models import HMM, HSMM, FullGaussian, Gaussian, GaussianMixture, durations, emissions

M = TypeVar("M", bound=HMM | HSMM)


def random(model: M, seed: int = 0) -> M:
    """The same model with parameters drawn at random, in float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(generator=generator)
    return model


ALLOWED = torch.tensor([[True, True, False], [False, True, True], [True, False, True]])
TOPOLOGIES: dict[str, Callable[[], HMM]] = {
    "allowed": lambda: HMM(3, Gaussian(3, 2), allowed=ALLOWED),
    "offsets": lambda: HMM(3, Gaussian(3, 2), offsets=(0, 1, -2)),
    "arcs": lambda: HMM(3, Gaussian(3, 2), arcs=([2, 0, 0, 1, 1, 2], [2, 0, 1, 1, 2, 0])),
}


def test_a_topology_can_be_said_in_three_ways() -> None:
    x = torch.randn(2, 5, 2, dtype=torch.float64)
    models = [random(make()) for make in TOPOLOGIES.values()]
    chance = {(0, 0): 0.9, (0, 1): 0.1, (1, 1): 0.8, (1, 2): 0.2, (2, 0): 0.3, (2, 2): 0.7}
    for model in models:
        model.load_state_dict({**models[0].state_dict(), "transition.logits": model.transition.logits})
        weights = [chance.get(arc, 1.0) for arc in arcs_of(model)]
        model.transition.update(torch.tensor(weights).reshape(model.transition.group.shape))
    answers = [model.log_prob(x) for model in models]
    assert_close(answers[0], answers[1])
    assert_close(answers[0], answers[2])
    assert not any(model.forward_only for model in models)


def arcs_of(model: HMM) -> list[tuple[int, int]]:
    return list(zip(model.transition.group.flatten().tolist(), model.transition.target.flatten().tolist(), strict=True))


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_likelihoods_of_all_sequences_of_symbols_sum_to_one(topology: str) -> None:
    model = TOPOLOGIES[topology]()
    model.emission = emissions.Categorical(3, 2)
    random(model)
    every = torch.tensor(list(product(range(2), repeat=4)))
    assert_close(model.log_prob(every).exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_the_likelihoods_under_a_semi_markov_model_that_just_stops_sum_to_one() -> None:
    model = random(HSMM(3, emissions.Categorical(3, 2), durations.Poisson(3, 3), censored="right"))
    every = torch.tensor(list(product(range(2), repeat=5)))
    assert_close(model.log_prob(every).exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_a_model_is_the_structure_that_it_returns() -> None:
    model = random(HMM(3, Gaussian(3, 2), start=[0, 2]))
    x, lengths = torch.randn(2, 6, 2, dtype=torch.float64), torch.tensor([6, 3])
    structure = model(x, lengths)
    assert isinstance(structure, semihmm.HMM)
    assert structure.initial[1] == -math.inf
    assert_close(structure.initial.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert_close(structure.transition.exp().sum(-1), torch.ones(3, dtype=torch.float64))
    assert_close(structure.emission[0], model.emission(x[0]))
    assert_close(model.log_prob(x, lengths), semihmm.log_partition(structure))
    assert model.score(x, lengths) == pytest.approx(float(model.log_prob(x, lengths).detach().sum()))
    assert torch.equal(model.predict(x, lengths), semihmm.viterbi(structure).states)
    assert_close(model.predict_proba(x, lengths), semihmm.marginals(structure).emission.detach())


@pytest.mark.parametrize("model", [HMM(3, Gaussian(3, 2)), HSMM(3, Gaussian(3, 2), durations.Poisson(3, 4))])
def test_what_lies_behind_the_end_does_not_matter(model: HMM | HSMM) -> None:
    x, lengths = torch.randn(2, 6, 2, dtype=torch.float64), torch.tensor([6, 4])
    spoilt = x.clone()
    spoilt[1, 4:] = torch.tensor([math.nan, math.inf])
    random(model)
    alone = torch.stack([model.log_prob(x[0]), model.log_prob(x[1, :4])])
    assert_close(model.log_prob(spoilt, lengths), alone)
    torch.autograd.backward(model.log_prob(spoilt, lengths).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    history = model.fit(spoilt, lengths, iterations=2, generator=torch.Generator().manual_seed(0)).history
    assert history == model.fit(x, lengths, iterations=2, generator=torch.Generator().manual_seed(0)).history
    assert spoilt.isnan().any()  # the caller's own


def test_padding_of_symbols_may_be_any_number() -> None:
    model = random(HMM(2, emissions.Categorical(2, 3)))
    x = torch.tensor([[0, 1, 2], [2, -1, 99]])
    assert_close(model.log_prob(x, torch.tensor([3, 1]))[1], model.log_prob(torch.tensor([2])))


@pytest.mark.parametrize("emission", [Gaussian(2, 1), FullGaussian(2, 1), GaussianMixture(2, 1, 2)])
def test_the_likelihood_is_differentiable(emission: Gaussian) -> None:
    model = random(HSMM(2, emission, durations.Poisson(2, 3)))
    x = torch.randn(2, 4, 1, dtype=torch.float64)
    names = [name for name, _ in model.named_parameters()]

    class LogProb(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model.log_prob(x, torch.tensor([4, 3]))

    def log_prob(*parameters: Tensor) -> Tensor:
        given = {f"model.{name}": value for name, value in zip(names, parameters, strict=True)}
        value: Tensor = torch.func.functional_call(LogProb(), given, (x,))
        return value

    assert torch.autograd.gradcheck(log_prob, tuple(model.parameters()))


def test_draws_are_distributed_as_the_model_says() -> None:
    """8 sequences of symbols, 20,000 draws: chi-squared below its 1 - 1e-6 quantile at 7 degrees of freedom."""
    model = random(HMM(2, emissions.Categorical(2, 2)), seed=3)
    every = torch.tensor(list(product(range(2), repeat=3)))
    expected = 20_000 * model.log_prob(every).exp().detach()
    drawn = model.sample(3, (20_000,), torch.Generator().manual_seed(0))
    assert drawn.x.shape == drawn.states.shape == (20_000, 3)
    counts = (drawn.x * torch.tensor([4, 2, 1])).sum(-1).bincount(minlength=8)
    assert float(((counts - expected) ** 2 / expected).sum()) < 40.5
    again = model.sample(3, (20_000,), torch.Generator().manual_seed(0))
    assert torch.equal(drawn.x, again.x)


def test_a_draw_from_a_semi_markov_model_keeps_to_its_durations() -> None:
    model = HSMM(2, Gaussian(2, 3), durations.Categorical(2, 4), censored="none")
    model.duration.update(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]))
    drawn = model.sample(18, generator=torch.Generator().manual_seed(0))
    assert drawn.x.shape == (18, 3) and drawn.x.dtype == torch.float32
    runs = torch.unique_consecutive(drawn.states, return_counts=True)
    assert all(count == (2, 4)[state] for state, count in zip(*(part.tolist() for part in runs), strict=True))
    with pytest.raises(DataError, match="no path of the model has 17 steps"):
        model.sample(17)


def test_more_batch_axes_and_none() -> None:
    model = random(HMM(3, Gaussian(3, 2)))
    x = torch.randn(2, 3, 5, 2, dtype=torch.float64)
    assert_close(model.log_prob(x)[1, 2], model.log_prob(x[1, 2]))
    assert model.predict(x).shape == (2, 3, 5)
    assert model.fit(x, iterations=2).iterations == 2


@pytest.mark.parametrize("emission", [Gaussian(2, 1), FullGaussian(2, 1), GaussianMixture(2, 1, 2)])
def test_whole_numbers_are_observations_too(emission: Gaussian) -> None:
    model = HMM(2, emission)
    x = torch.tensor([[1], [2], [8], [9]])
    model.fit(x, iterations=2, generator=torch.Generator().manual_seed(0))
    assert_close(model.log_prob(x), model.log_prob(x.float()))


def test_observations_are_taken_in_the_precision_of_the_model() -> None:
    model = HMM(3, Gaussian(3, 2))
    x = torch.randn(5, 2, dtype=torch.float64)
    assert model.log_prob(x).dtype == torch.float32
    assert model.double().log_prob(x.float()).dtype == torch.float64


@pytest.mark.parametrize(
    ("x", "lengths", "says"),
    [
        (torch.zeros(5, 3), None, r"Gaussian takes observations \(\.\.\., T, 2\)"),
        (torch.zeros(2), None, "at least one step"),
        (torch.zeros(0, 2), None, "at least one step"),
        (torch.zeros(4, 5, 2), torch.tensor([5, 5]), "lengths"),
        (torch.zeros(1, 5, 2), torch.tensor([6]), "lengths"),
        (torch.zeros(1, 5, 2), torch.tensor([0]), "lengths"),
    ],
)
def test_observations_of_another_shape_are_refused(x: Tensor, lengths: Tensor | None, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        HMM(3, Gaussian(3, 2))(x, lengths)


def test_an_infinite_value_is_refused_by_position() -> None:
    x = torch.zeros(2, 5, 2)
    x[1, 3, 0] = math.inf
    with pytest.raises(DataError, match=r"HMM: observation \[1, 3, 0\] is inf"):
        HMM(3, Gaussian(3, 2)).fit(x)
    with pytest.raises(DataError, match="inf"):
        HMM(3, Gaussian(3, 2)).log_prob(x, torch.tensor([5, 4]))
    assert HMM(3, Gaussian(3, 2)).log_prob(x, torch.tensor([5, 3])).isfinite().all()


@pytest.mark.parametrize(
    ("topology", "says"),
    [
        ({"offsets": (0, 1), "arcs": ([0], [1])}, "one of allowed, offsets, arcs"),
        ({"allowed": torch.ones(2, 2, dtype=torch.bool)}, "allowed must be bool"),
        ({"allowed": torch.ones(3, 3)}, "allowed must be bool"),
        ({"arcs": ([0, 1], [3, 1])}, "arcs must be"),
        ({"arcs": ([0, 1], [1])}, "arcs must be"),
        ({"start": [3]}, "start must name"),
        ({"start": []}, "start must name"),
    ],
)
def test_a_topology_that_makes_no_sense_is_refused(topology: dict[str, Any], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        HMM(3, Gaussian(3, 2), **topology)


def test_a_duration_law_for_other_states_is_refused() -> None:
    with pytest.raises(ShapeError, match="law for as many, got 2"):
        HSMM(3, Gaussian(3, 2), durations.Poisson(2, 5))


def test_an_emission_for_other_states_is_refused() -> None:
    with pytest.raises(ShapeError, match="emission must have as many, got 2"):
        HMM(3, Gaussian(2, 2))


@pytest.mark.parametrize("start", [3, [0.5], torch.tensor([0.5]), [None]])
@pytest.mark.parametrize("kind", [HMM, HSMM])
def test_first_states_are_integers(kind: Any, start: Any) -> None:
    parts = {"duration": durations.Poisson(2, max_duration=3)} if kind is HSMM else {}
    with pytest.raises(ShapeError, match=f"{kind.__name__}: start must be integers, got "):
        kind(2, Gaussian(2, features=1), start=start, **parts)
