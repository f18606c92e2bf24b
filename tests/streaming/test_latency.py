"""The controller of latency: in time where that is possible, and as much lookahead as there is time for."""

import pytest
import torch

import semihmm
from semihmm.errors import DataError, SemihmmError
from semihmm.streaming import AdaptiveLatencyController, Stream


class Clock:
    """Time passes when somebody works."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def settled(cost, **options):
    """What a controller comes to where a push of so many frames, that far ahead, takes ``cost`` milliseconds."""
    clock = Clock()
    controller = AdaptiveLatencyController(100.0, frame_ms=10.0, clock=clock, **options)
    for _ in range(200):
        with controller.measured():
            clock.now += cost(controller.chunk, controller.lookahead) / 1e3
    return controller


@pytest.mark.parametrize(
    ("cost", "lookahead", "chunk"),
    [
        (lambda _, __: 2.0, 8, 1),  # 10 + 80 + 2 ms: one more frame would be too late
        (lambda _, ahead: 2.0 * ahead, 6, 2),  # 7 frames ahead would take longer than a frame
        (lambda n, _: 14.0 + 0.5 * n, 6, 2),  # one frame at a time would fall behind
    ],
    ids=["cheap", "by lookahead", "by push"],
)
def test_time_that_is_left_is_spent_on_lookahead(cost, lookahead, chunk):
    found = settled(cost)
    assert (found.lookahead, found.chunk) == (lookahead, chunk)
    assert found.latency_ms <= 100.0


def test_work_that_takes_too_long_is_done_in_larger_chunks():
    found = settled(lambda n, _: 150.0 + n)
    assert found.lookahead == 0
    assert found.processing_ms <= found.chunk * found.frame_ms + found.frame_ms  # it keeps up, if not in time


def test_most_is_the_most():
    assert settled(lambda _, __: 0.0, max_lookahead=3).lookahead == 3
    assert settled(lambda n, _: 20.0 * n, max_chunk=5).chunk == 5


def test_a_stream_looks_ahead_as_it_is_told():
    stream = Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2)), lookahead=3)
    emission = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    stream.push(emission[:4])
    stream.lookahead = 1
    update = stream.push(emission[4:])
    part = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), emission[:6])
    torch.testing.assert_close(update.smoothed[1], semihmm.smoothing(part)[4])  # of frame 4, when frame 5 has come
    with pytest.raises(SemihmmError, match="lookahead may be 0 to 3"):
        stream.lookahead = 4


def test_wrong_targets_are_refused():
    with pytest.raises(SemihmmError, match="target_ms and frame_ms must be over 0"):
        AdaptiveLatencyController(0.0)


@pytest.mark.parametrize("wrong", ["a", None, float("nan"), -1.0], ids=str)
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(SemihmmError, match="target_ms and frame_ms must be over 0"):
        AdaptiveLatencyController(wrong)
    with pytest.raises(SemihmmError, match="max_lookahead"):
        AdaptiveLatencyController(10.0, max_lookahead=wrong)
    controller = AdaptiveLatencyController(100.0)
    controller.observe(2.0)
    with pytest.raises(DataError, match="a finite number of at least 0"):
        controller.observe(wrong)
    assert controller.processing_ms == 2.0
