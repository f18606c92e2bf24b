"""What can be asked of a model beside its likelihood, against enumeration, simulation and formulas."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, FullGaussian, Gaussian, HigherOrderHMM, durations, emissions, pad, transitions


def random(model: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(generator=generator)
    return model


def hmm(seed: int = 0) -> HMM:
    made: HMM = random(HMM(3, emissions.Categorical(3, 4)), seed)
    return made


def hsmm(censored: Any = "right", seed: int = 0) -> HSMM:
    law = durations.Categorical(3, 4)
    made: HSMM = random(HSMM(3, emissions.Categorical(3, 4), law, censored=censored), seed)
    return made


X, LENGTHS = torch.tensor([[0, 3, 1, 1, 2], [2, 0, 0, 3, 3], [1, 0, 0, 0, 0]]), torch.tensor([5, 3, 1])


def by_hand(model: HMM, x: Tensor, steps: int) -> Tensor:
    """The probability of each state after the last step, by the forward recursion."""
    start, matrix = model.initial().detach().exp(), model.transition().detach().exp()
    alpha = start * model.emission(x[:1]).detach().exp()[0]
    for t in range(1, len(x)):
        alpha = alpha @ matrix * model.emission(x[t : t + 1]).detach().exp()[0]
    alpha = alpha / alpha.sum()
    return torch.stack([alpha @ torch.linalg.matrix_power(matrix, k + 1) for k in range(steps)])


def test_filtering_is_the_posterior_of_what_was_seen_so_far() -> None:
    for model in (hmm(), hsmm()):
        filtered = model.filter(X, LENGTHS)
        for row, n in enumerate(LENGTHS.tolist()):
            for t in range(n):
                assert_close(filtered[row, t], model.predict_proba(X[row, : t + 1])[-1])
            assert bool((filtered[row, n:] == 0).all())
        assert_close(model.smooth(X, LENGTHS), model.predict_proba(X, LENGTHS))


def test_a_forecast_is_the_chain_without_observations() -> None:
    model = hmm()
    found = model.forecast(X, 4, LENGTHS)
    assert found.mean is None
    for row, n in enumerate(LENGTHS.tolist()):
        assert_close(found.states[row], by_hand(model, X[row, :n], 4))
    assert_close(model.forecast([one[:n] for one, n in zip(X, LENGTHS, strict=True)], 4).states, found.states)
    assert_close(model.forecast(X[0], 4).states, found.states[0])


@pytest.mark.parametrize("censored", ["none", "right"])
def test_a_forecast_of_segments_adds_up_over_what_may_be_seen(censored: Any) -> None:
    """P(s[T+k] | x) is the mean of P(s[T+k] | x, y) over continuations y, where sequences just stop."""
    model, open_ended = hsmm(censored), hsmm("right")
    found = model.forecast(X, 2, LENGTHS).states
    for row, n in enumerate(LENGTHS.tolist()):
        seen = X[row, :n]
        every = torch.tensor(list(itertools.product(range(4), repeat=2)))
        longer = torch.cat([seen.expand(16, -1), every], -1)
        chance = (open_ended.log_prob(longer) - open_ended.log_prob(seen)).exp().detach()
        assert_close(chance.sum(), torch.tensor(1.0).double())
        expected = torch.einsum("n,nts->ts", chance, open_ended.predict_proba(longer)[:, -2:])
        assert_close(found[row], expected)


def test_a_forecast_knows_that_a_sequence_has_not_ended() -> None:
    model = random(HMM(3, emissions.Categorical(3, 4), final=[0, 2]))
    found = model.forecast(X[0], 1).states[0]
    on = model.transition().detach().exp() * model.final().detach().exp()[:, 1:]
    alpha = by_hand_with_ends(model, X[0], on)
    expected = alpha @ on
    assert_close(found, expected / expected.sum())


def by_hand_with_ends(model: HMM, x: Tensor, on: Tensor) -> Tensor:
    alpha = model.initial().detach().exp() * model.emission(x[:1]).detach().exp()[0]
    for t in range(1, len(x)):
        alpha = alpha @ on * model.emission(x[t : t + 1]).detach().exp()[0]
    return alpha


def test_an_expected_observation_is_that_of_the_states() -> None:
    model = HMM(2, Gaussian(2, 3)).double()
    x = torch.randn(2, 6, 3).double()
    found = model.forecast(x, 5)
    assert found.mean is not None
    assert_close(found.mean, found.states @ model.emission.mean.detach())  # type: ignore[operator]


def test_simulated_continuations_have_the_forecast() -> None:
    generator = torch.Generator().manual_seed(0)
    for model in (hmm(), hsmm("none")):
        drawn = model.simulate(X, 3, (20_000,), LENGTHS, generator)
        assert drawn.x.shape == drawn.states.shape == (20_000, 3, 3)
        share = torch.nn.functional.one_hot(drawn.states, 3).double().mean(0)
        assert_close(share, model.forecast(X, 3, LENGTHS).states, atol=0.02, rtol=0.0)  # 5 standard deviations
        symbols = torch.nn.functional.one_hot(drawn.x, 4).double().mean(0)
        chance = model.forecast(X, 3, LENGTHS).states @ model.emission.table().detach().exp()  # type: ignore[operator]
        assert_close(symbols, chance, atol=0.02, rtol=0.0)


def test_a_forecast_takes_the_inputs_of_the_steps_ahead() -> None:
    law = random(transitions.Logit(3, 1))
    model = random(HMM(3, emissions.Categorical(3, 4), transition=law))
    u = torch.randn(7, 1).double()
    found = model.forecast(X[0], 2, inputs=u).states
    start = model.filter(X[0], inputs=u[:5])[-1]
    steps = law(u).detach().exp()
    assert_close(found, torch.stack([start @ steps[4], start @ steps[4] @ steps[5]]))


def test_the_kth_best_path_is_asked_of_decode() -> None:
    model = hmm()
    found = model.decode(X, LENGTHS, k=3)
    assert found.score.shape == (3, 3)
    assert_close(found.score, semihmm.topk(model(X, LENGTHS), 3).score)
    assert_close(model.predict(X, LENGTHS), found.states[0])


def test_posterior_states_are_the_likeliest_of_each_step() -> None:
    model = hmm()
    found = model.predict(X, LENGTHS, "posterior")
    assert_close(found[0], model.predict_proba(X)[0].argmax(-1))
    assert found[2].tolist()[1:] == [-1] * 4
    with pytest.raises(ShapeError, match="method must be 'viterbi' or 'posterior'"):
        model.predict(X, LENGTHS, "map")  # type: ignore[arg-type]


def test_entropy_is_that_of_the_paths() -> None:
    for model in (hmm(), hsmm()):
        assert_close(model.entropy(X, LENGTHS), semihmm.entropy(model(X, LENGTHS)))


def test_criteria_are_their_definitions() -> None:
    model = HMM(3, Gaussian(3, 2), allowed=torch.ones(3, 3).triu().bool(), start=[0]).double()
    x = [torch.randn(n, 2).double() for n in (9, 4)]
    k = 0 + (2 + 1 + 0) + 12
    assert model.free_parameters == k
    assert model.aic(x) == pytest.approx(2 * k - 2 * model.score(x))
    assert model.bic(x) == pytest.approx(k * math.log(13) - 2 * model.score(x))
    assert model.icl(x) == pytest.approx(k * math.log(13) - 2 * float(model.decode(x).score.sum()))
    counted: dict[int, Any] = {
        6: transitions.Categorical(3),
        18: transitions.Logit(3, 2),
        24: transitions.Periodic(3, 4),
        4: transitions.ContinuousTime(3, allowed=[[True, True, True], [True, True, False], [False, True, True]]),
        5: durations.Categorical(1, 7, min_duration=2),
    }
    for number, law in counted.items():
        assert law.free_parameters == number, law
    sized = HSMM(2, FullGaussian(2, 2), durations.NegativeBinomial(2, 9), final=[0])
    assert sized.free_parameters == 1 + 0 + 2 * 2 + 1 + 2 * (2 + 3)


def test_the_long_run_is_where_the_chain_goes() -> None:
    model = hmm()
    found = model.stationary_distribution()
    matrix = model.transition().detach().exp()
    assert_close(found @ matrix, found)
    assert_close(found, torch.linalg.matrix_power(matrix, 1000)[0])
    with pytest.raises(StructureError, match="several never lead out"):
        HMM(2, Gaussian(2, 1), allowed=torch.eye(2).bool()).stationary_distribution()
    with pytest.raises(StructureError, match="differ from step to step"):
        HMM(2, Gaussian(2, 1), transition=transitions.Logit(2, 1)).stationary_distribution()


def test_the_long_run_of_segments_counts_their_steps() -> None:
    model = hsmm()
    drawn = model.sample(4000, (20,), torch.Generator().manual_seed(0)).states[:, 500:]
    share = drawn.flatten().bincount(minlength=3).double() / drawn.numel()
    assert_close(model.stationary_distribution(), share, atol=0.02, rtol=0.0)


def test_visits_last_as_long_as_the_law_says() -> None:
    model = hmm()
    stay = model.transition().detach().exp().diagonal()
    visit = model.sojourn(200)
    assert_close(visit.sum(-1), torch.ones(3).double())
    assert_close(visit @ torch.arange(1.0, 201).double(), model.expected_durations())
    assert_close(visit[:, 2], stay**2 * (1 - stay))
    lasting = hsmm()
    assert_close(lasting.sojourn(6)[:, :4], lasting.duration().detach().exp())
    assert_close(lasting.expected_durations(), lasting.sojourn(6) @ torch.arange(1.0, 7).double())


def test_states_can_be_numbered_anew() -> None:
    order = [2, 0, 1]
    for make in (
        hmm,
        hsmm,
        lambda: random(
            HMM(3, emissions.Categorical(3, 4), start=[0, 1], final=[2], allowed=torch.ones(3, 3).triu().bool())
        ),
        lambda: random(HMM(3, emissions.Categorical(3, 4), transition=transitions.Categorical(3, sticky=2.0))),
    ):
        model, again = make(), make()
        again.permute(order)
        assert_close(again.log_prob(X, LENGTHS), model.log_prob(X, LENGTHS))
        assert_close(again.predict_proba(X, LENGTHS), model.predict_proba(X, LENGTHS)[..., order])
        assert_close(again.log_prior(), model.log_prior())
        rebuilt = type(again)(**again.config, **again.parts).double()
        rebuilt.load_state_dict(again.state_dict())
        assert_close(rebuilt.log_prob(X, LENGTHS), model.log_prob(X, LENGTHS))
    with pytest.raises(ShapeError, match="each of the states 0 to 2 once"):
        hmm().permute([0, 0, 1])
    with pytest.raises(StructureError, match="along arcs or of a few distances"):
        HMM(3, Gaussian(3, 1), offsets=(0, 1)).permute(order)


@pytest.mark.parametrize("kind", ["logit", "periodic", "continuous"])
def test_states_of_laws_that_inputs_change_can_be_numbered_anew(kind: str) -> None:
    laws: dict[str, Any] = {
        "logit": lambda: transitions.Logit(3, 1),
        "periodic": lambda: transitions.Periodic(3, 2),
        "continuous": lambda: transitions.ContinuousTime(3),
    }
    models = [random(HMM(3, emissions.Categorical(3, 4), transition=laws[kind]())) for _ in range(2)]
    models[1].permute([1, 2, 0])
    u = torch.tensor([[0.0], [1.0], [0.0], [1.0], [1.0]]).double()
    probabilities = [model.predict_proba(X, inputs=u) for model in models]
    assert_close(probabilities[1], probabilities[0][..., [1, 2, 0]])


def test_states_take_the_numbers_of_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    state = torch.randint(3, (200,), generator=generator)
    x = (state.unsqueeze(-1) * 10.0 + torch.randn(200, 1, generator=generator)).double()
    model = HMM(3, Gaussian(3, 1)).double()
    with torch.no_grad():
        model.emission.mean.copy_(torch.tensor([[20.0], [0.0], [10.0]]))  # type: ignore[union-attr,operator]
    table = model.confusion(x, state)
    assert table.sum() == 200 and table[0, 1] == (state == 0).sum()
    order = model.align(x, state)
    assert order == [1, 2, 0]
    assert_close(model.predict(x), state)
    assert model.confusion([x[:50]], [state[:50]]).trace() == 50
    with pytest.raises(DataError, match="4 labels, and 3 states"):
        model.align(x, state + 1)
    with pytest.raises(ShapeError, match="labels must be integers, one for each step"):
        model.confusion(x, state[:5])


def test_missing_values_are_filled_in_with_what_is_expected() -> None:
    model = random(HMM(2, FullGaussian(2, 2)))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 2, generator=generator).double()
    x[0, 2, 1] = x[1, 0, 0] = x[1, 5] = torch.nan
    lengths = torch.tensor([6, 6, 4])
    filled = model.impute(x, lengths)
    seen = ~x.isnan()
    seen[2, 4:] = False
    assert_close(filled[seen], x[seen])
    assert bool(filled.isfinite().all())
    drawn = model.impute(x.expand(3000, 3, 6, 2), lengths.expand(3000, 3), "sample", generator)
    assert_close(drawn[:, seen], x[seen].expand(3000, -1))
    unseen = x.isnan()
    assert_close(drawn.mean(0)[unseen], filled[unseen], atol=0.25, rtol=0.0)
    with pytest.raises(ShapeError, match="method must be 'mean' or 'sample'"):
        model.impute(x, lengths, "median")  # type: ignore[arg-type]


def test_a_summary_is_a_table_that_says_what_each_state_is_like() -> None:
    pytest.importorskip("rich")
    model = HMM(2, Gaussian(2, 1)).double()
    with torch.no_grad():
        model.emission.mean.copy_(torch.tensor([[1.5], [-3.0]]))  # type: ignore[union-attr,operator]
    text = model.summary(torch.tensor([[1.5], [1.5], [-3.0]]).double())
    assert "HMM, 2 states, 7 free parameters, log-likelihood" in text
    assert "occupancy" in text and "mean duration" in text and "1.5" in text and "-3" in text
    assert "mean duration" in hsmm().summary()


def test_what_is_asked_of_one_batch_refuses_several() -> None:
    batches = iter([{"x": X}, {"x": X}])
    with pytest.raises(ShapeError, match="asked of a tensor or a list, got 2 batches"):
        hmm().decode(batches)
    with pytest.raises(ShapeError, match="steps must be at least 1"):
        hmm().forecast(X, 0)
    padded = pad([X[0], X[1, :3]])
    assert_close(hmm().forecast(*(padded[0], 2, padded[1])).states, hmm().forecast([X[0], X[1, :3]], 2).states)


def test_what_is_expected_ahead_follows_the_inputs() -> None:
    model = HMM(2, emissions.LinearRegression(2, 1, 1)).double()
    with torch.no_grad():
        model.emission.coefficients.copy_(torch.tensor([[[5.0, 1.0]], [[5.0, 1.0]]]))  # type: ignore[union-attr,operator]
    u = torch.tensor([[0.0], [0.3], [1.0], [2.0]]).double()
    found = model.forecast(torch.zeros(2, 1).double(), 2, inputs=u)
    assert found.mean is not None
    assert_close(found.mean.flatten().detach(), torch.tensor([6.0, 11.0]).double())


def test_what_is_ahead_depends_on_what_was_last() -> None:
    model = HMM(2, emissions.Autoregressive(2, 1, order=2)).double()
    with torch.no_grad():
        model.emission.coefficients.copy_(torch.tensor([[[0.5, 0.25, 0.0]]]).expand(2, -1, -1))  # type: ignore[union-attr,operator]
        model.emission.log_variance.fill_(-20.0)  # type: ignore[union-attr,operator]
    x = torch.tensor([[[1.0], [2.0], [4.0]], [[8.0], [4.0], [0.0]]]).double()
    lengths = torch.tensor([3, 2])
    expected = torch.tensor([[2.5, 2.25], [4.0, 3.0]]).double()
    mean = model.forecast(x, 2, lengths).mean
    assert mean is not None
    assert_close(mean.squeeze(-1).detach(), expected)
    drawn = model.simulate(x, 2, (3,), lengths, torch.Generator().manual_seed(0))
    assert drawn.x.shape == (3, 2, 2, 1)
    assert_close(drawn.x.squeeze(-1).detach(), expected.expand(3, 2, 2), atol=1e-3, rtol=0.0)


def test_a_forecast_bridges_what_is_missing_at_the_end() -> None:
    model = HMM(1, emissions.Autoregressive(1, 1, order=1)).double()
    with torch.no_grad():
        model.emission.coefficients.copy_(torch.tensor([[[0.9, 0.0]]]))  # type: ignore[union-attr,operator]
    mean = model.forecast(torch.tensor([[1.0], [2.0], [torch.nan]]).double(), 3).mean
    assert mean is not None
    assert_close(mean.flatten().detach(), torch.tensor([2 * 0.9**2, 2 * 0.9**3, 2 * 0.9**4]).double())


INPUTS = torch.rand(3, 7, 1, generator=torch.Generator().manual_seed(5)).double()
SWITCHING: dict[str, Any] = {
    "HMM": lambda: HMM(2, emissions.Autoregressive(2, 2, order=1)),
    "order 2": lambda: HMM(2, emissions.Autoregressive(2, 1, order=2)),
    "full": lambda: HMM(2, emissions.Autoregressive(2, 2, order=1, covariance="full")),
    "arcs": lambda: HMM(3, emissions.Autoregressive(3, 1, order=1), arcs=([0, 0, 1, 2], [0, 1, 2, 0])),
    "offsets": lambda: HMM(2, emissions.Autoregressive(2, 1, order=1), offsets=(0, 1)),
    "final": lambda: HMM(2, emissions.Autoregressive(2, 1, order=1), final=[1]),
    "higher order": lambda: HigherOrderHMM(2, emissions.Autoregressive(2, 1, order=1), order=2),
    "mixed": lambda: HMM(2, emissions.Mixed([emissions.Autoregressive(1, 1, order=1) for _ in range(2)])),
    "logit": lambda: HMM(2, emissions.Autoregressive(2, 1, order=1), transition=transitions.Logit(2, 1)),
    "inputs": lambda: HMM(2, emissions.Autoregressive(2, 1, order=1, inputs=1)),
    **{
        f"HSMM {censored}": lambda censored=censored: HSMM(
            2, emissions.Autoregressive(2, 1, order=1), durations.Categorical(2, 3), censored=censored
        )
        for censored in ("none", "right", "left", "both")
    },
    "HSMM long": lambda: HSMM(2, emissions.Autoregressive(2, 1, order=1), durations.Poisson(2, 6)),
    "HSMM final": lambda: HSMM(2, emissions.Autoregressive(2, 1, order=1), durations.Categorical(2, 3), final=[0]),
    "HSMM inputs": lambda: HSMM(2, emissions.Autoregressive(2, 1, order=1), durations.PoissonRegression(2, 1, 3)),
    "HSMM logit": lambda: HSMM(
        2,
        emissions.Autoregressive(2, 1, order=1),
        durations.Poisson(2, 3),
        transition=transitions.Logit(2, 1, allowed=~torch.eye(2).bool()),
    ),
}


@pytest.mark.parametrize("gap", [False, True], ids=["whole", "gap"])
@pytest.mark.parametrize("ragged", [False, True], ids=["padded", "ragged"])
@pytest.mark.parametrize("kind", SWITCHING)
def test_the_mean_of_an_autoregression_is_that_over_all_paths(kind: str, ragged: bool, gap: bool) -> None:
    """Given a path, the mean is linear in what was before; paths are listed, each with its share."""
    model, steps = random(SWITCHING[kind]()), 3
    x = torch.randn(3, 4, *model.emission.event_shape, generator=torch.Generator().manual_seed(1)).double()
    lengths = torch.tensor([4, 3, 4]) if ragged else None
    if gap:
        x[0, -1], x[2, 2:, 0] = torch.nan, torch.nan
    driven = {"inputs": INPUTS} if model.emission.inputs or kind.endswith(("logit", "inputs")) else {}
    mean = model.forecast(x, steps, lengths, **driven).mean
    for row in range(3):
        seen = x[row, : None if lengths is None else int(lengths[row])]
        longer = torch.cat([seen, seen.new_full((steps, *seen.shape[1:]), torch.nan)])
        own = {name: u[row, : len(longer)] for name, u in driven.items()}
        (batch,) = model.batches(longer, **own)
        structure = model.endless(model.explained(batch))
        paths = semihmm.topk(structure, round(float(semihmm.log_count(structure).exp())))
        share = (paths.score - semihmm.log_partition(structure)).exp().detach()
        assert float(share.sum()) == pytest.approx(1.0)
        states = torch.nn.functional.one_hot(model.named(paths.states), model.states).double()
        each = model.emission.fill(batch.x.expand(len(states), *batch.x.shape), states)
        expected = torch.einsum("k,k...->...", share, each[:, -steps:, : x.shape[-1]])
        assert_close(mean[row], expected)


def test_parts_of_a_mixture_of_autoregressions_see_what_others_drew() -> None:
    whole = random(emissions.Autoregressive(2, 1, order=1, inputs=1))
    with torch.no_grad():
        whole.log_variance.fill_(-50.0)  # so that draws are means
    parts = [emissions.Autoregressive(1, 1, order=1, inputs=1).double() for _ in range(2)]
    mixed = emissions.Mixed(parts)
    for state, part in enumerate(parts):
        part.load_state_dict(
            {
                n: p[state : state + 1] if n in dict(part.named_parameters()) else p
                for n, p in whole.state_dict().items()
            }
        )
    states, u = torch.tensor([[0, 0, 1, 1, 0, 1]]), INPUTS[:1, :6]
    assert_close(mixed.sample(states, inputs=u), whole.sample(states, inputs=u))
    x = torch.tensor([[[1.0], [torch.nan], [torch.nan], [3.0], [torch.nan], [torch.nan]]]).double()
    assert_close(mixed.complete(mixed.observed(x, u), states), whole.complete(whole.observed(x, u), states))
    posterior = torch.rand(1, 6, 2, generator=torch.Generator().manual_seed(2)).double().softmax(-1)
    assert_close(mixed.fill(mixed.observed(x, u), posterior), whole.fill(whole.observed(x, u), posterior))
