"""CTCLoss: PyTorch's, with its own gradient, and with what is added to it by its definition."""

import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import chain, groupby, product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import semihmm
from semihmm.errors import SemihmmError, ShapeError, StructureError
from semihmm.losses import CTCLoss, LabelPrior

FRAMES, TOKENS = 9, 5


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, time first; targets; lengths. The second sequence cannot be aligned."""
    torch.manual_seed(0)
    log_probs = torch.randn(FRAMES, 4, TOKENS, dtype=dtype).log_softmax(-1)
    targets = torch.tensor([[1, 2, 3], [2, 2, 2], [4, 4, 0], [1, 0, 0]])
    return log_probs, targets, torch.tensor([9, 4, 5, 7]), torch.tensor([3, 3, 2, 0])


def texts(emission: Tensor) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """Every string of tokens, one for each frame, and what it collapses to."""
    for string in product(range(emission.shape[-1]), repeat=len(emission)):
        yield [token for token, _ in groupby(string) if token], string


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_it_is_the_module_of_pytorch(reduction: Any, zero_infinity: bool) -> None:
    log_probs, targets, *lengths = batch()
    ours, theirs = (loss(0, reduction, zero_infinity) for loss in (CTCLoss, torch.nn.CTCLoss))
    expected = theirs(log_probs, targets, *lengths)
    torch.testing.assert_close(ours(log_probs, targets, *lengths), expected)
    torch.testing.assert_close(ours(log_probs, targets, *(tuple(x.tolist()) for x in lengths)), expected)
    in_one = torch.tensor([1, 2, 3, 2, 2, 2, 4, 4])
    torch.testing.assert_close(ours(log_probs, in_one, *lengths), expected)
    first = CTCLoss(0, reduction, zero_infinity, batch_first=True)
    torch.testing.assert_close(first(log_probs.transpose(0, 1), targets, *lengths), expected)
    one = (log_probs[:, 0], targets[0], lengths[0][0], lengths[1][0])
    torch.testing.assert_close(ours(*one), theirs(*one))


def test_its_defaults_are_those_of_pytorch() -> None:
    ours, theirs = CTCLoss(), torch.nn.CTCLoss()
    names = ("blank", "reduction", "zero_infinity")
    assert [getattr(ours, n) for n in names] == [getattr(theirs, n) for n in names]


def test_behind_a_log_softmax_its_gradient_is_that_of_pytorch() -> None:
    log_probs, targets, *lengths = batch()
    found = []
    for loss in (CTCLoss, torch.nn.CTCLoss):
        x = log_probs.clone().requires_grad_()
        loss(zero_infinity=True)(x.log_softmax(-1), targets, *lengths).backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)


def test_derivatives_are_true_where_frames_are_not_normalised() -> None:
    _, targets, *lengths = batch()
    scores = torch.randn(FRAMES, 4, TOKENS, dtype=torch.float64, requires_grad=True)
    prior = LabelPrior(TOKENS).double().eval()
    prior.log_prior.copy_(torch.randn(TOKENS).log_softmax(-1))
    for options in ({}, {"label_smoothing": 0.2, "path_entropy": 0.3}, {"prior": prior}):
        loss = CTCLoss(zero_infinity=True, **options)
        assert torch.autograd.gradcheck(lambda x, f=loss: f(x, targets, *lengths), scores)
        assert torch.autograd.gradgradcheck(lambda x, f=loss: f(x, targets, *lengths), scores)


@pytest.mark.parametrize("targets", [[1, 1], [1, 2], [3, 2, 1], []], ids=str)
@pytest.mark.parametrize("sure", [4, 8, 12, 20, 40])
def test_a_loss_next_to_0_has_its_own_digits(targets: list[int], sure: int) -> None:
    torch.manual_seed(sure)
    said = next(string for text, string in texts(torch.zeros(5, 4)) if text == targets)
    log_probs = torch.randn(5, 4).index_put((torch.arange(5), torch.tensor(said)), torch.tensor(float(sure)))
    log_probs = log_probs.log_softmax(-1)
    with localcontext(prec=60):
        weights = [[Decimal(x).exp() for x in row] for row in log_probs.double().tolist()]
        wrong = Decimal(0)
        for text, string in texts(log_probs):
            if text != targets:
                wrong += math.prod((weights[t][v] for t, v in enumerate(string)), start=Decimal(1))
        exact = float(-(1 - wrong).ln())
    loss = CTCLoss(reduction="none")(log_probs, torch.tensor(targets).long(), None, None)
    assert exact > 0
    torch.testing.assert_close(float(loss), exact, rtol=2e-5, atol=0)


def test_a_sure_loss_of_two_tokens_is_what_it_is() -> None:
    log_probs = torch.tensor([[0.0, 17.0], [0.0, 17.0]]).log_softmax(-1)
    loss = CTCLoss(reduction="none")(log_probs, torch.tensor([1]))
    torch.testing.assert_close(float(loss), -math.log1p(-math.exp(-34)), rtol=1e-6, atol=0)


@given(
    seed=st.integers(0, 2**32 - 1),
    sure=st.floats(0, 60),
    frames=st.integers(1, 60),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_loss_of_normalised_frames_is_never_negative(
    seed: int, sure: float, frames: int, dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(seed)
    said = torch.randint(0, 4, (3, frames), generator=g)
    log_probs = torch.randn(3, frames, 6, generator=g, dtype=dtype)
    log_probs = log_probs.scatter_add(2, said.unsqueeze(-1), torch.full((3, frames, 1), sure, dtype=dtype))
    log_probs = log_probs.log_softmax(-1)
    lengths = torch.randint(1, frames + 1, (3,), generator=g)
    wanted = [[t for t, _ in groupby(row[:n]) if t] for row, n in zip(said.tolist(), lengths.tolist(), strict=True)]
    targets, counts = torch.tensor(list(chain.from_iterable(wanted))).long(), [len(x) for x in wanted]
    loss = CTCLoss(reduction="none", batch_first=True)
    found = loss(log_probs, targets, lengths, counts)
    assert bool((found >= 0).all())
    together = torch.stack(
        [loss(x[:n], torch.tensor(y).long()) for x, n, y in zip(log_probs, lengths, wanted, strict=True)]
    )
    torch.testing.assert_close(found, together, rtol=1e-3, atol=1e-30)


def test_where_the_value_is_mended_derivatives_are_the_loss_s() -> None:
    log_probs = torch.tensor([[0.0, 17.0], [0.0, 17.0]]).log_softmax(-1).requires_grad_()
    targets = torch.tensor([1])
    loss = CTCLoss()(log_probs, targets)
    (gradient,) = torch.autograd.grad(loss, log_probs)
    torch.testing.assert_close(gradient, -semihmm.marginals(semihmm.CTC(log_probs.detach(), targets)).emission)


def test_scores_that_are_not_normalised_keep_a_negative_loss() -> None:
    scores = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    loss = CTCLoss(reduction="none")(scores, torch.tensor([1]))
    torch.testing.assert_close(loss, -torch.tensor([5.0, 3.0, 1.0]).logsumexp(0))


EVERYTHING = {"label_smoothing": 0.1, "path_entropy": 0.1, "focal": 0.5}


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"prior": LabelPrior(TOKENS)}], ids=["plain", "all", "prior"])
def test_what_cannot_be_aligned_is_inf_and_nothing_is_ever_nan(options: dict[str, Any]) -> None:
    log_probs, targets, *lengths = batch(torch.float32)
    log_probs[5:, 2] = math.nan
    log_probs[0, 0, 4] = -math.inf
    log_probs.requires_grad_()
    loss = CTCLoss(reduction="none", **options)
    found = loss(log_probs, targets, *lengths)
    assert loss.feasible(targets, *lengths).tolist() == found.isfinite().tolist() == [True, False, True, True]
    (gradient,) = torch.autograd.grad(found[found.isfinite()].sum(), log_probs, retain_graph=True)
    assert gradient.isfinite().all() and not gradient[:, 1].any() and not gradient[5:, 2].any()
    (all_rows,) = torch.autograd.grad(found.sum(), log_probs)
    assert torch.equal(all_rows, gradient)


def test_focal_of_what_is_learnt_has_no_gradient() -> None:
    log_probs = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]], requires_grad=True)
    loss = CTCLoss(focal=0.5)(log_probs, torch.tensor([1]))
    assert loss == 0 and torch.equal(torch.autograd.grad(loss, log_probs)[0], torch.zeros(2, 2))


def test_label_smoothing_path_entropy_and_focal_are_their_definitions() -> None:
    emission, targets = torch.randn(4, 3, dtype=torch.float64).log_softmax(-1), [1, 2]
    scores = torch.stack([emission[range(4), list(s)].sum() for text, s in texts(emission) if text == targets])
    loss, share = -scores.logsumexp(0), scores.softmax(0)
    divergence = (emission.exp() * (emission + math.log(3))).sum()
    expected = {
        "label_smoothing": 0.7 * loss + 0.3 * divergence,
        "path_entropy": loss + 0.3 * (share * share.log()).sum(),
        "focal": (1 - (-loss).exp()) ** 0.3 * loss,
    }
    for name, value in expected.items():
        found = CTCLoss(reduction="none", **{name: 0.3})(emission, torch.tensor(targets))
        torch.testing.assert_close(found, value, msg=name)


def test_a_prior_is_the_mean_posterior_of_frames_seen_in_training() -> None:
    log_probs, targets, *lengths = batch()
    prior = LabelPrior(TOKENS, scale=0.4, floor=0.0)
    loss = CTCLoss(reduction="none", prior=prior)
    expected = CTCLoss(reduction="none")(log_probs + 0.4 * math.log(TOKENS), targets, *lengths)
    torch.testing.assert_close(loss(log_probs, targets, *lengths), expected)
    loss.eval()(log_probs, targets, *lengths)
    prior.update()
    seen = torch.cat([log_probs[:n, i] for i, n in enumerate(lengths[0].tolist())]).exp().mean(0)
    torch.testing.assert_close(prior.log_prior.exp().double(), seen, rtol=1e-5, atol=0)
    scores = log_probs - 0.4 * prior.log_prior
    torch.testing.assert_close(
        loss(log_probs, targets, *lengths), -semihmm.log_partition(loss.structure(scores, targets, *lengths)[0])
    )
    before = prior.log_prior.clone()
    prior.update()
    assert torch.equal(prior.log_prior, before)
    again = LabelPrior(TOKENS)
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again.log_prior, before)


def test_nothing_said_in_no_time_is_certain() -> None:
    loss = CTCLoss(reduction="none", batch_first=True)
    assert loss(torch.zeros(1, 0, 3), torch.zeros(1, 0).long()).tolist() == [0.0]
    found = loss(torch.zeros(2, 3, 1), torch.zeros(2, 2).long(), [0, 3], [0, 0])
    assert found.tolist() == [0.0, 0.0]


def test_it_compiles() -> None:
    log_probs, targets, *lengths = batch()
    loss = CTCLoss(zero_infinity=True)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(log_probs, targets, *lengths), loss(log_probs, targets, *lengths))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"log_probs": torch.zeros(3)}, ShapeError, r"log_probs must be \(T, B, V\)"),
        ({"targets": torch.tensor([1, 2, 3])}, ShapeError, "add up to 4"),
        ({"targets": torch.tensor([1, 2, 3]), "target_lengths": None}, ShapeError, "no target_lengths"),
        ({"targets": torch.tensor([[1, 0], [1, 2]])}, StructureError, "no target the blank"),
        ({"input_lengths": [3, 3, 3]}, ShapeError, "one for each of 2 sequences.*batch_first"),
        ({"input_lengths": [3, 9]}, ShapeError, "input_lengths must lie between"),
        ({"target_lengths": [2, 3]}, ShapeError, "target_lengths must lie between"),
    ],
)
def test_an_error_says_what_is_wrong(given: dict[str, Any], error: type[Exception], message: str) -> None:
    right = {
        "log_probs": torch.zeros(4, 2, 3),
        "targets": torch.tensor([[1, 2], [1, 2]]),
        "input_lengths": [4, 4],
        "target_lengths": [2, 2],
    }
    with pytest.raises(error, match=message):
        CTCLoss()(**{**right, **given})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "average"}, "reduction must be"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie"),
        ({"focal": -1.0}, "0 or more"),
        ({"focal": 1.0, "prior": LabelPrior(3)}, "Give one of them"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SemihmmError, match=message):
        CTCLoss(**options)


def test_a_prior_of_other_tokens_is_refused() -> None:
    with pytest.raises(ShapeError, match="it holds 3 tokens"):
        CTCLoss(prior=LabelPrior(3))(torch.zeros(4, 1, 5), torch.tensor([[1]]))
