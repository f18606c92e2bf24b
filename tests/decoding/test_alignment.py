"""align: each target's frames on the best path, by enumeration of the paths; and what may be anything, or left out."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import CTC
from semihmm.decoding import Alignment, align
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.testing.paths import ctc_paths


def enumerated(ctc: CTC) -> list[tuple[float, list[int]]]:
    """Scores and, at each frame, the index in the targets, best first."""
    paths = [(sum(weights), [place for _, place in event]) for event, weights in ctc_paths(ctc)]
    return sorted(paths, key=lambda path: -path[0])


def check(found: Alignment, ctc: CTC, best: list[int], paths: list[tuple[float, list[int]]]) -> None:
    """Every field of one sequence's alignment, given its path and all others."""
    weight = torch.tensor([score for score, _ in paths], dtype=torch.float64).softmax(0).tolist()
    for u in range(ctc.targets.shape[-1]):
        frames = [t for t, place in enumerate(best) if place == u]
        if not frames:
            assert (int(found.start[u]), int(found.end[u]), int(found.frames[u])) == (-1, -1, 0)
            continue
        assert (int(found.start[u]), int(found.end[u]), int(found.frames[u])) == (
            frames[0],
            frames[-1] + 1,
            len(frames),
        )
        share = sum(w for w, (_, path) in zip(weight, paths, strict=True) for t in frames if path[t] == u) / len(frames)
        assert math.isclose(float(found.confidence[u]), share, rel_tol=1e-9)
        said = ctc.emission[frames, int(ctc.targets[u])].mean()
        torch.testing.assert_close(found.log_prob[u], said)


CASES = [
    ([1, 2, 1], None, 6, 3),
    ([1, 1], None, 5, 2),
    ([2, 2, 1], None, 5, 2),
    ([1, 3, 2], [False, True, False], 5, 3),
    ([3, 1, 3], [True, False, True], 4, 3),
    ([], None, 3, 0),
]


@pytest.mark.parametrize("backend", [None, "torch"])
@pytest.mark.parametrize(("targets", "optional", "frames", "used"), CASES, ids=[str(c[0]) for c in CASES])
def test_spans_and_confidences_are_those_of_the_paths(
    targets: list[int], optional: list[bool] | None, frames: int, used: int, backend: str | None
) -> None:
    torch.manual_seed(frames)
    emission = torch.randn(frames, 4, dtype=torch.float64).log_softmax(-1)
    may = None if optional is None else torch.tensor(optional)
    ctc = CTC(emission, torch.tensor(targets).long(), None, torch.tensor(used), 0, may)
    paths = enumerated(ctc)
    found = align(emission, ctc.targets, None, ctc.target_lengths, optional=may, backend=backend)
    assert found.path.tolist() == paths[0][1]
    torch.testing.assert_close(float(found.score), paths[0][0])
    check(found, ctc, paths[0][1], paths)
    several = align(emission, ctc.targets, None, ctc.target_lengths, optional=may, nbest=3, backend=backend)
    for one, (score, path) in zip(several, paths, strict=False):
        assert one.path.tolist() == path
        torch.testing.assert_close(float(one.score), score)
        check(one, ctc, path, paths)
    share = torch.tensor([score for score, _ in paths], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(semihmm.entropy(found.structure), torch.special.entr(share).sum())


def test_a_batch_is_its_sequences() -> None:
    log_probs = torch.randn(3, 8, 5).log_softmax(-1)
    targets, frames, counts = torch.tensor([[1, 2, 2], [4, 99, -3], [3, 1, 0]]), [8, 5, 6], [3, 1, 2]
    log_probs[1, 5:] = math.nan
    whole = align(log_probs, targets, torch.tensor(frames), torch.tensor(counts))
    for i, (t, u) in enumerate(zip(frames, counts, strict=True)):
        alone = align(log_probs[i, :t], targets[i, :u])
        for name in ("start", "end", "frames", "confidence", "log_prob"):
            torch.testing.assert_close(getattr(whole, name)[i, :u], getattr(alone, name))
        assert whole[i].path.tolist() == alone.path.tolist() + [-1] * (8 - t)
        assert bool((whole.start[i, u:] == -1).all())


@pytest.mark.parametrize("checkpoint", [None, True])
def test_a_target_that_is_said_twice_has_two_confidences(checkpoint: bool | None) -> None:
    """The first may be in frame 0 or 1, the second in frame 4 or 5: the token's marginals would mix them."""
    said = torch.tensor([5.0, 5, 0, 0, 5, 6])
    log_probs = torch.stack([5.5 - said, said], -1).log_softmax(-1)
    targets = torch.tensor([1, 1])
    ctc = CTC(log_probs.double(), targets)
    paths = enumerated(ctc)
    found = align(log_probs.double(), targets, checkpoint=checkpoint)
    check(found, ctc, paths[0][1], paths)
    assert float(found.confidence[0]) != float(found.confidence[1])


def recording(wanted: list[int], sounding: float = 6.0, seed: int = 0) -> Tensor:
    """Log-probabilities of a recording in which each frame's token is clear, ``(T, 5)``."""
    torch.manual_seed(seed)
    return (torch.randn(len(wanted), 5) + sounding * torch.eye(5)[wanted]).log_softmax(-1)


def test_a_wildcard_stands_for_words_that_the_text_lacks() -> None:
    log_probs = recording([1, 1, 0, 3, 4, 4, 3, 0, 2, 2, 0])
    for star in (-1, 5, 77):
        found = align(log_probs, torch.tensor([1, star, 2]), wildcard=star)
        first, star_span, last = found.spans()
        assert (first.start, first.end) == (0, 2) and (last.start, last.end) == (8, 10)
        assert star_span.start <= 3 and star_span.end >= 7
    without = align(log_probs, torch.tensor([1, 2]))
    assert float(found.score) > float(without.score) + 10


def test_free_ends_leave_out_what_is_said_around_the_text() -> None:
    log_probs = recording([3, 4, 4, 0, 1, 1, 2, 2, 3, 3, 4])
    found = align(log_probs, torch.tensor([1, 2]), free_start=True, free_end=True)
    assert [(s.start, s.end) for s in found.spans()] == [(4, 6), (6, 8)]
    bound = align(log_probs, torch.tensor([1, 2]))
    assert float(found.score) > float(bound.score) + 10
    both = align(log_probs.expand(2, -1, -1), torch.tensor([[1, 2], [3, 0]]), None, torch.tensor([2, 1]), free_end=True)
    assert both[1].spans()[0][:3] == (3, 0, 1)


def test_what_is_anything_costs_the_penalty_where_it_is_no_blank() -> None:
    log_probs = recording([3, 4, 0, 1, 0])
    found = align(log_probs, torch.tensor([1]), free_start=True, penalty=2.0)
    p = log_probs[:3].exp()
    anything = (p[:, 0] + (1 - p[:, 0]) * math.exp(-2)).log().sum()
    torch.testing.assert_close(found.score, anything + log_probs[3, 1] + log_probs[4, 0], rtol=1e-5, atol=1e-5)


def test_silence_between_words_may_be_there_or_not() -> None:
    optional = torch.tensor([False, True, False])
    with_pause = align(recording([1, 1, 4, 4, 2]), torch.tensor([1, 4, 2]), optional=optional)
    assert with_pause.start.tolist() == [0, 2, 4]
    without = align(recording([1, 1, 1, 2, 2]), torch.tensor([1, 4, 2]), optional=optional)
    assert without.start.tolist() == [0, -1, 3] and [s.label for s in without.spans()] == [1, 2]


def test_words_and_segments_are_made_of_tokens() -> None:
    found = align(recording([1, 0, 2, 2, 0, 3, 4, 0]), torch.tensor([1, 2, 3, 4]))
    words = found.merge(torch.tensor([0, 0, 1, 1]))
    assert [s[:3] for s in words.spans(["ab", "cd"], frame_shift=0.5)] == [("ab", 0.0, 2.0), ("cd", 2.5, 3.5)]
    mean = (found.confidence[0] + 2 * found.confidence[1]) / 3
    torch.testing.assert_close(words.confidence[0], mean)
    segment = words.merge(torch.tensor([0, 0]))
    assert segment.spans()[0][:3] == (0, 0, 7)
    torch.testing.assert_close(segment.log_prob[0], (found.log_prob * found.frames).sum() / 5)
    assert found.merge(torch.tensor([-1, 0, 0, -1])).path.tolist() == [-1, -1, 0, 0, -1, 0, -1, -1]


def test_long_recordings_do_not_drift_and_checkpoint_changes_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    tokens, frames = 400, 6000
    targets = torch.randint(1, 5, (tokens,), generator=g)
    starts = 2 * torch.randperm(frames // 2 - 2, generator=g)[:tokens].sort().values + 1  # a blank between equal ones
    said = torch.zeros(frames, dtype=torch.int64).scatter(0, starts, targets)
    log_probs = recording(said.tolist(), sounding=9.0)
    whole = align(log_probs, targets)
    assert torch.equal(whole.start, starts) and torch.equal(whole.end, starts + 1)
    kept = align(log_probs, targets, checkpoint=True)
    assert torch.equal(kept.path, whole.path)
    torch.testing.assert_close(kept.confidence, whole.confidence, rtol=1e-4, atol=1e-4)


def test_sequences_that_cannot_be_aligned_are_named_or_flagged() -> None:
    log_probs, targets = torch.zeros(2, 3, 4), torch.tensor([[1, 2], [1, 1]])
    frames = torch.tensor([3, 2])
    with pytest.raises(DataError, match=r"sequence 1 \(1 of 2.*need 3 frames.*it has 2.*validate=False"):
        align(log_probs, targets, frames)
    for given in ({}, {"nbest": 2}):
        found = align(log_probs, targets, frames, validate=False, **given)
        assert found.valid[..., 1].tolist() in (False, [False, False])
        row = found[0][1] if given else found[1]
        assert row.start.tolist() == [-1, -1] and row.spans() == [] and float(row.score) == -math.inf
        assert not row.confidence.any()
    with pytest.raises(DataError, match="forbid all ways"):
        align(torch.full((3, 4), -math.inf), torch.tensor([1]))
    with pytest.raises(DataError, match="it has 0"):
        align(torch.zeros(3, 4), torch.tensor([1]), torch.tensor(0))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"targets": torch.tensor([1, 0])}, StructureError, "no target the blank"),
        ({"targets": torch.tensor([1, 4])}, StructureError, "a target of 4"),
        ({"blank": 9, "free_end": True}, StructureError, "blank must be among"),
        ({"optional": torch.tensor([True, True])}, StructureError, "side by side"),
        ({"target_lengths": torch.tensor(3)}, ShapeError, "between 0 and 2"),
    ],
)
def test_an_error_says_what_is_wrong(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        align(**{"log_probs": torch.zeros(5, 4), "targets": torch.tensor([1, 2]), **given})


def test_groups_are_one_for_each_target() -> None:
    with pytest.raises(ShapeError, match="groups must be integers for each of 2 targets"):
        align(torch.zeros(5, 4), torch.tensor([1, 2])).merge(torch.tensor([0, 0, 1]))


def spoken(seed: int, noise: float, apart: bool) -> tuple[Tensor, Tensor]:
    """A network's log-probabilities of a text that it hears well: tokens of some frames, and blanks around them."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(1, 6, (8,), generator=generator)
    targets = torch.unique_consecutive(targets) if apart else targets
    plan = [0, 0]
    for token in targets.tolist():
        held, pause = torch.randint(0, 3, (2,), generator=generator).tolist()
        plan += [0] * (plan[-1] == token) + [token] * (1 + held) + [0] * pause
    scores = 6 * torch.eye(6)[[*plan, 0]] + noise * torch.randn(len(plan) + 1, 6, generator=generator)
    return scores.log_softmax(-1), targets


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_tokens_begin_where_ctc_segmentation_says_if_its_best_path_is_one_of_ctc(noise: float) -> None:
    # There each frame behind an onset is the token or a blank, in any order, so its best path costs no more. Two blanks
    # come before the text and one behind it; and equal neighbours may have none between them, so there are none here.
    peer = pytest.importorskip("ctc_segmentation")
    settings = peer.CtcSegmentationParameters(char_list=list("-abcde"), index_duration=1.0)
    settings.preamble_transition_cost_zero, settings.backtrack_from_max_t = False, True  # all of the recording counts
    same = 0
    for seed in range(16):
        log_probs, targets = spoken(seed, noise, apart=True)
        log_probs[[0, 1, -1]] = torch.tensor([20.0, 0, 0, 0, 0, 0]).log_softmax(-1)
        places, _ = peer.prepare_token_list(settings, [targets.numpy()])
        onsets, weights, _ = peer.ctc_segmentation(settings, log_probs.numpy(), places)
        found = align(log_probs, targets)
        theirs = weights.sum() + float(log_probs[0, 0])  # which leaves the first frame out
        assert theirs > float(found.score) - 1e-4
        if theirs < float(found.score) + 1e-4:
            assert found.start.tolist() == onsets[2 : 2 + len(targets)].tolist()  # behind the start and a blank
            same += 1
    assert same >= (16 if noise == 1.0 else 8)


@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_spans_are_those_of_torchaudio(noise: float) -> None:
    peer = pytest.importorskip("torchaudio.functional")
    for seed in range(16):
        log_probs, targets = spoken(seed, noise, apart=False)
        tokens, scores = peer.forced_align(log_probs[None], targets[None], blank=0)
        found = align(log_probs, targets)
        spans = peer.merge_tokens(tokens[0], scores[0].exp())
        assert [(span.start, span.end) for span in spans] == list(
            zip(found.start.tolist(), found.end.tolist(), strict=True)
        )
        path = torch.where(found.path < 0, 0, targets[found.path.clamp(min=0)])
        assert torch.equal(path, tokens[0].long())
        torch.testing.assert_close(found.score, scores.sum())
