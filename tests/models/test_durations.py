"""Duration laws against scipy and against any other parameters."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson  # type: ignore[import-untyped]
from torch.testing import assert_close

from semihmm.models import durations


def test_poisson_is_shifted_truncated_and_normalised() -> None:
    law = durations.Poisson(3, 6).double()
    rate = law.log_rate.exp().detach().numpy()
    chance = poisson.pmf(range(6), rate[:, None])
    assert_close(law().exp().detach().numpy(), chance / chance.sum(-1, keepdims=True))


@given(st.lists(st.floats(0, 10), min_size=5, max_size=5).filter(lambda counts: sum(counts) > 0.1))
def test_no_other_rate_is_better_than_the_em_step(counts: list[float]) -> None:
    law = durations.Poisson(1, 5).double()
    observed = torch.tensor([counts], dtype=torch.float64)
    law.update(observed)
    best = (observed * law()).sum()
    assert law.log_rate.isfinite().all()
    for log_rate in torch.linspace(-12, 12, 97):
        with torch.no_grad():
            law.log_rate.fill_(log_rate)
        assert (observed * law()).sum() <= best + 1e-9


@pytest.mark.parametrize("law", [durations.Poisson(2, 5), durations.Categorical(2, 5)])
def test_a_state_that_never_came_stays_as_it_is(law: durations.Duration) -> None:
    law.initialise(torch.Generator().manual_seed(0))
    before = law().clone()
    law.update(torch.tensor([[0.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert_close(law()[1], before[1])
    assert law().exp()[0, 1] > before.exp()[0, 1]


def test_a_categorical_law_is_what_was_counted() -> None:
    law = durations.Categorical(1, 3, pseudo_count=1.0)
    law.update(torch.tensor([[3.0, 1.0, 0.0]]))
    assert_close(law().exp(), torch.tensor([[4.0, 2.0, 1.0]]) / 7)
    assert_close(law.log_prior(), law().sum())


def test_one_step_is_the_only_length_there_is() -> None:
    law = durations.Poisson(2, 1)
    law.update(torch.ones(2, 1))
    assert law().tolist() == [[0.0], [0.0]]
