"""A chain of order k, against the sum over all state sequences."""

import itertools
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from semihmm.errors import ShapeError
from semihmm.models import HMM, Gaussian, HigherOrderHMM, emissions


def random(states: int, order: int, seed: int = 0) -> HigherOrderHMM:
    model = HigherOrderHMM(states, emissions.Categorical(states, 3), order).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


def joint(model: HigherOrderHMM, x: list[int], path: tuple[int, ...]) -> float:
    value = float(model.initial().detach()[path[0]])
    for t in range(1, len(path)):
        context = path[max(0, t - model.order) : t]
        value += float(model.transition_after(context).detach()[path[t]])
    seen = model.emission(torch.tensor(x)).detach()
    return value + sum(float(seen[t, state]) for t, state in enumerate(path))


@pytest.mark.parametrize(("states", "order"), [(2, 1), (2, 2), (3, 2), (2, 3), (1, 2)])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_every_path_weighs_what_its_contexts_say(states: int, order: int, length: int) -> None:
    model = random(states, order)
    x = [(2 * t) % 3 for t in range(length)]
    paths = list(itertools.product(range(states), repeat=length))
    weights = torch.tensor([joint(model, x, path) for path in paths], dtype=torch.float64)
    assert_close(model.log_prob(torch.tensor(x)).detach(), weights.logsumexp(0))
    best = model.predict(torch.tensor(x))
    assert joint(model, x, tuple(best.tolist())) == pytest.approx(float(weights.max()))
    share = (weights - weights.logsumexp(0)).exp()
    posterior = torch.zeros(length, states).double()
    for path, one in zip(paths, share, strict=True):
        posterior[torch.arange(length), torch.tensor(path)] += one
    assert_close(model.predict_proba(torch.tensor(x)), posterior)


def test_order_one_is_an_hmm() -> None:
    model = random(3, 1)
    plain = HMM(3, model.emission).double()
    plain.load_state_dict({**model.state_dict(), "transition.logits": model.transition.logits.reshape(3, 3)})
    x = torch.randint(3, (4, 7), generator=torch.Generator().manual_seed(1))
    assert_close(model.log_prob(x), plain.log_prob(x))


def test_em_climbs_and_finds_the_order() -> None:
    truth = random(2, 2, seed=3)
    with torch.no_grad():
        truth.emission.table.logits.copy_(torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]))  # type: ignore[union-attr]
        truth.transition.logits.mul_(3.0)
    generator = torch.Generator().manual_seed(0)
    x = truth.sample(100, (40,), generator).x
    fits = {}
    for order in (1, 2):
        model = HigherOrderHMM(2, emissions.Categorical(2, 3), order).double()
        fit = model.fit(x, restarts=4, iterations=300, tolerance=1e-6, generator=torch.Generator().manual_seed(1))
        assert all(b >= a - 1e-9 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
        fits[order] = fit.objective
    assert fits[2] > fits[1] + 20
    assert fits[2] > truth.score(x)  # the greatest likelihood is greater than that of the truth


def test_it_is_saved_and_takes_lists(tmp_path: Any) -> None:
    model = HigherOrderHMM(2, Gaussian(2, 1), order=3, start=[1])
    x = [torch.randn(n, 1) for n in (5, 2, 1, 9)]
    model.fit(x, iterations=3, generator=torch.Generator().manual_seed(0))
    model.save(tmp_path / "model.safetensors")
    loaded = HigherOrderHMM.load(tmp_path / "model.safetensors")
    assert_close(loaded.log_prob(x), model.log_prob(x))
    found = loaded.predict(x)
    assert bool((found[:, 0] == 1).all()) and found[1, 2:].tolist() == [-1] * 7


def test_an_order_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ShapeError, match="order must be at least 1"):
        HigherOrderHMM(2, Gaussian(2, 1), order=0)
    with pytest.raises(ShapeError, match="a context is 1 to 2"):
        random(2, 2).transition_after([0, 1, 1])
