"""From statistics to a model."""

from functools import reduce
from itertools import pairwise
from operator import add

import pytest
import torch

from semihmm.speech import AcousticModel, FrontEnd, Pronunciation
from semihmm.speech.training.estimation import ENOUGH, estimate, left_to_right
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.statistics import Draft, Example, Statistics, statistics_of

PHONES = ("AA", "IY", "S", "SIL")


def draft_of(states, components, features):
    generator = torch.Generator().manual_seed(0)
    shape = (len(PHONES) * states, components, features)
    mixtures = Mixtures(
        torch.full(shape[:2], 1 / components, dtype=torch.float64).log(),
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.ones(shape, dtype=torch.float64),
    )
    leave = torch.full((len(PHONES), states), 0.5, dtype=torch.float64)
    model = AcousticModel(PHONES, (mixtures.emission(),), left_to_right(leave), FrontEnd())
    return Draft(model, mixtures, torch.arange(shape[0]))


@pytest.mark.parametrize("components", [1, 2])
def test_no_step_lowers_the_likelihood(components):
    draft, generator = draft_of(2, components, 3), torch.Generator().manual_seed(1)
    words = tuple(Pronunciation(phone, ((phone,),)) for phone in PHONES[:3])
    examples = [Example(torch.randn(120, 3, generator=generator), words) for _ in range(4)]
    found = []
    for _ in range(8):
        sums = reduce(add, (statistics_of(draft, item) for item in examples))
        found.append(sums.log_likelihood / sums.frames)
        draft = estimate(draft, sums, floor=1e-6)
    assert all(after > before - 1e-5 for before, after in pairwise(found))
    assert found[-1] > found[0] + 0.1


def sums_of(count, mean, square, features=1):
    """Statistics of single Gaussians in which each state has so many frames, of this mean and mean square."""
    count = torch.tensor(count, dtype=torch.float64)[:, None]
    first = count[:, :, None] * torch.tensor(mean, dtype=torch.float64)[:, None, None]
    second = count[:, :, None] * torch.tensor(square, dtype=torch.float64)[:, None, None]
    return Statistics(count, first, second, count[:, 0] / 4, frames=int(count.sum()))


def test_a_state_with_frames_enough_has_their_mean_and_variance():
    sums = sums_of([100.0, 50.0, 20.0, 40.0], [1.0, 2.0, 3.0, 0.0], [2.0, 4.5, 9.25, 1.0])
    found = estimate(draft_of(1, 1, 1), sums, floor=0.0).mixtures
    torch.testing.assert_close(found.mean.flatten(), torch.tensor([1.0, 2.0, 3.0, 0.0]).double())
    torch.testing.assert_close(found.variance.flatten(), torch.tensor([1.0, 0.5, 0.25, 1.0]).double())


def test_a_state_without_frames_resembles_its_class():
    sums = sums_of([100.0, 0.0, 20.0, 40.0], [1.0, 0.0, 3.0, 0.0], [2.0, 0.0, 9.25, 1.0])
    found = estimate(draft_of(1, 1, 1), sums, floor=0.0).mixtures
    assert float(found.mean[1]) == pytest.approx(1.0) and float(found.variance[1]) == pytest.approx(1.0)  # IY is AA


def test_a_class_without_frames_resembles_all_speech_but_not_silence():
    sums = sums_of([100.0, 100.0, 0.0, 40.0], [1.0, 3.0, 0.0, 50.0], [2.0, 9.5, 0.0, 2501.0])
    assert float(estimate(draft_of(1, 1, 1), sums, floor=0.0).mixtures.mean[2]) == pytest.approx(2.0)


def test_a_few_frames_are_filled_up():
    sums = sums_of([100.0, 4.0, 20.0, 40.0], [1.0, 6.0, 3.0, 0.0], [2.0, 37.0, 9.25, 1.0])
    vowels = (100 + 4 * 6) / 104
    expected = (4 * 6 + (ENOUGH - 4) * vowels) / ENOUGH
    assert float(estimate(draft_of(1, 1, 1), sums, floor=0.0).mixtures.mean[1]) == pytest.approx(expected)


def test_no_variance_is_below_the_floor():
    sums = sums_of([100.0, 100.0, 100.0, 100.0], [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0])
    assert float(estimate(draft_of(1, 1, 1), sums, floor=0.25).mixtures.variance.min()) == pytest.approx(0.25)


def test_transitions_follow_how_often_a_state_is_left():
    sums = sums_of([100.0, 100.0, 100.0, 100.0], [0.0] * 4, [1.0] * 4)  # a quarter of the frames are the last
    found = estimate(draft_of(1, 1, 1), sums, floor=0.0).model.transitions.exp()
    torch.testing.assert_close(found, torch.tensor([1 - 26 / 103, 26 / 103]).expand(4, 1, 2))
