"""What losses refuse by name, and what they do not: whatever lies behind the ends."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import tensor

import semihmm
from semihmm.errors import SemihmmError
from semihmm.losses import CRFLoss, CTCHMMLoss, CTCLoss, LabelPrior, RNNTLoss

JOINER = torch.zeros(1, 3, 3, 4)
LOG_PROBS = torch.zeros(6, 2, 4).log_softmax(-1)
TARGETS = tensor([[1, 2], [3, 1]])
HMM = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 4, 2))
OTHER_TIME, OTHER_BATCH = HMM.replace(emission=torch.zeros(3, 5, 2)), HMM.replace(emission=torch.zeros(1, 4, 2))
TEXTS = semihmm.CTC(torch.zeros(3, 4, 5), torch.ones(3, 2, dtype=torch.int64))

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "RNN-T, a token beyond": (lambda: RNNTLoss()(JOINER, tensor([[1, 9]])), "a target of 9"),
    "RNN-T, a token below": (lambda: RNNTLoss()(JOINER, tensor([[-1, 1]])), "a target of -1"),
    "RNN-T, the blank": (lambda: RNNTLoss()(JOINER, tensor([[1, 3]])), "no target the blank"),
    "RNN-T, float targets": (lambda: RNNTLoss()(JOINER, tensor([[1.0, 2.5]])), "targets must be integers"),
    "RNN-T, a blank beyond": (lambda: RNNTLoss(blank=9)(JOINER, tensor([[1, 2]])), "blank must be an integer from -4"),
    "RNN-T, meta": (lambda: RNNTLoss()(JOINER.to("meta"), tensor([[1, 2]])), "on the meta device"),
    "path_entropy": (lambda: CTCLoss(path_entropy=math.nan), "path_entropy must be a finite number"),
    "focal": (lambda: CTCLoss(focal=math.inf), "focal must be a finite number"),
    "label_smoothing": (lambda: CTCLoss(label_smoothing="a"), "label_smoothing must be a finite number"),  # type: ignore[arg-type]
    "a number as prior": (lambda: CTCLoss(prior=3), "prior must be a LabelPrior, got 3"),  # type: ignore[arg-type]
    "no targets": (lambda: CTCLoss()(LOG_PROBS, None), "targets must be a tensor"),
    "a number as targets": (lambda: CTCLoss()(LOG_PROBS, 5), "got the number 5"),
    "ragged targets": (lambda: CTCLoss()(LOG_PROBS, [[1, 2], [3]]), "targets must be a tensor"),
    "float targets": (lambda: CTCLoss()(LOG_PROBS, TARGETS.float()), "targets must be integers"),
    "letters as lengths": (lambda: CTCLoss()(LOG_PROBS, TARGETS, "a"), "lengths must be a tensor"),
    "float lengths": (lambda: CTCLoss()(LOG_PROBS, TARGETS, [6.0, 6.0]), "lengths must be integers"),
    "letters as lengths, feasible": (lambda: CTCLoss().feasible(TARGETS, "a"), "lengths must be a tensor"),  # type: ignore[arg-type]
    "meta": (lambda: CTCLoss()(LOG_PROBS.to("meta"), TARGETS), "on the meta device"),
    "sparse": (lambda: CTCLoss()(LOG_PROBS.to_sparse(), TARGETS), "log_probs must be dense"),
    "nothing heard": (lambda: CTCLoss()(None, TARGETS), "log_probs must be a tensor"),
    "the mean of no losses": (lambda: CTCLoss()(LOG_PROBS[:, :0], TARGETS[:0]), "no sequences to take a mean of"),
    "a prior's scale": (lambda: LabelPrior(4, scale=math.nan), "scale must be a finite number of 0 or more"),
    "a prior's scale below 0": (lambda: LabelPrior(4, scale=-1), "scale must be a finite number of 0 or more"),
    "a prior of no tokens": (lambda: LabelPrior(0), "tokens must be an integer of 1 or more"),
    "a prior of -1 tokens": (lambda: LabelPrior(-1), "tokens must be an integer of 1 or more"),
    "a prior of letters": (lambda: LabelPrior("a"), "tokens must be an integer of 1 or more"),  # type: ignore[arg-type]
    "a prior that sees NaN": (lambda: LabelPrior(1).observe(tensor([[math.nan]])), "below infinity"),
    "joint, -1 tokens": (lambda: CTCHMMLoss(tokens=-1), "tokens must be an integer of 1 or more"),
    "joint, weight": (lambda: CTCHMMLoss(4, weight="a"), "weight must be a finite number"),  # type: ignore[arg-type]
    "CRF, another structure": (lambda: CRFLoss()(HMM, TEXTS), "its batch and its events"),
    "CRF, another time": (lambda: CRFLoss()(HMM, OTHER_TIME), "its batch and its events"),
    "CRF, another batch": (lambda: CRFLoss()(HMM, OTHER_BATCH), "its batch and its events"),
    "CRF, a state beyond": (lambda: CRFLoss()(HMM, tensor([[0, 5, 1, 0]] * 3)), "from 0 to 1, got 5"),
    "CRF, no structure": (lambda: CRFLoss()(None, HMM), "it takes a structure"),
    "CRF, meta": (lambda: CRFLoss()(HMM, tensor([[0, 1, 1, 0]] * 3).to("meta")), "event are on the meta device"),
    "sparse lengths": (lambda: CTCLoss()(LOG_PROBS, TARGETS, tensor([6, 6]).to_sparse()), "lengths must be dense"),
    "a sparse focal": (lambda: CTCLoss(focal=tensor([1.0]).to_sparse()), "focal must be a finite number"),  # type: ignore[arg-type]
    "no zero_infinity": (lambda: CTCLoss(zero_infinity=None), "zero_infinity must be True or False"),  # type: ignore[arg-type]
    "half a blank": (lambda: CTCLoss(blank=0.5), "blank must be an integer"),  # type: ignore[arg-type]
    "few lengths, feasible": (
        lambda: CTCLoss().feasible(TARGETS, [1, 2, 3]),
        "input_lengths must be one for each of 2",
    ),
    "no lengths, feasible": (
        lambda: CTCLoss().feasible(TARGETS, [6, 6], []),
        "target_lengths must be one for each of 2",
    ),
    "a prior that sees complex numbers": (lambda: LabelPrior(1).observe(tensor([[1j]])), r"must be floats \(..., 1\)"),
    "a prior, many lengths": (lambda: LabelPrior(1).observe(tensor([[0.0]]), tensor([1])), "one for each sequence"),
    "joint, nothing heard": (lambda: CTCHMMLoss(4).hmm(None), "log_probs must be a tensor"),  # type: ignore[arg-type]
    "joint, no CTC": (lambda: CTCHMMLoss(4).aligned(HMM), "it aligns a semihmm.CTC, got HMM"),  # type: ignore[arg-type]
    "joint, meta lengths": (lambda: CTCHMMLoss(4).hmm(LOG_PROBS, tensor([6, 6]).to("meta")), "are on the meta device"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_name(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(SemihmmError, match=message):
        call()


WRONG: dict[str, Any] = {
    **{repr(x): x for x in (None, "ab", 7, -1, 2**70, 1.5, math.nan, math.inf, True, b"ab", dict)},
    **{repr(x): x for x in ([None], [1], [], [[1, 2], [3]], [[["a"]]], {"ab": [1]}, {}, {1, 2})},
    "sparse": LOG_PROBS.to_sparse(),
    "a sparse mask": (LOG_PROBS > 0).to_sparse(),
    "sparse integers": TARGETS[0].to_sparse(),
    "meta": LOG_PROBS.to("meta"),
    "meta integers": TARGETS[0].to("meta"),
    "complex": LOG_PROBS.to(torch.complex64),
    "a tensor of no axes": tensor(3.0),
    "an empty tensor": torch.zeros(0),
    "large integers": tensor([2**62, 1]),
}
LENGTHS = {"input_lengths": None, "target_lengths": None}
ASKED: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "CTCLoss": (
        lambda **given: CTCLoss(**given)(LOG_PROBS, TARGETS),
        {"blank": 0, "reduction": "mean", "zero_infinity": False, "batch_first": False}
        | {"label_smoothing": 0.0, "path_entropy": 0.0, "focal": 0.0, "prior": None},
    ),
    "CTC": (CTCLoss(), {"log_probs": LOG_PROBS, "targets": TARGETS, **LENGTHS}),
    "feasible": (CTCLoss().feasible, {"targets": TARGETS, **LENGTHS}),
    "losses": (CTCLoss().losses, {"ctc": TEXTS}),
    "CTCHMMLoss": (CTCHMMLoss, {"tokens": 4, "weight": 0.5, "blank": 0, "reduction": "mean", "batch_first": False}),
    "joint": (CTCHMMLoss(4), {"log_probs": LOG_PROBS, "targets": TARGETS, **LENGTHS}),
    "joint, hmm": (CTCHMMLoss(4).hmm, {"log_probs": LOG_PROBS, "input_lengths": None}),
    "joint, aligned": (CTCHMMLoss(5).aligned, {"ctc": TEXTS}),
    "RNNTLoss": (
        lambda **given: RNNTLoss(**given)(JOINER, tensor([[1, 2]])),
        {"blank": -1, "reduction": "mean", "fused_log_softmax": True},
    ),
    "RNN-T": (
        RNNTLoss(),
        {"logits": JOINER, "targets": tensor([[1, 2]]), "logit_lengths": None, "target_lengths": None},
    ),
    "CRFLoss": (CRFLoss, {"reduction": "mean"}),
    "CRF": (CRFLoss(), {"structure": HMM, "truth": tensor([[0, 1, 1, 0]] * 3)}),
    "LabelPrior": (LabelPrior, {"tokens": 4, "scale": 0.3, "floor": 1e-5}),
    "prior": (LabelPrior(4), {"log_probs": LOG_PROBS}),
    "observe": (LabelPrior(4).observe, {"log_probs": LOG_PROBS, "lengths": None}),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_wrong_argument_is_taken_or_refused_in_our_own_words(name: str) -> None:
    ask, given = ASKED[name]
    for argument in given:
        for wrong in WRONG.values():
            with contextlib.suppress(SemihmmError):  # anything else fails the test
                ask(**{**given, argument: wrong})


def test_a_transducers_padding_may_be_anything() -> None:
    found = [RNNTLoss()(JOINER, tensor([[1, x]]), target_lengths=tensor([1])) for x in (2, 3, 99, -1)]
    assert found[1:] == found[:-1]


def test_a_state_behind_the_end_may_be_anything() -> None:
    hmm = HMM.replace(lengths=tensor([2, 4, 4]))
    events = tensor([[0, 1, 9, -1], [0, 1, 0, 1], [1, 1, 1, 1]])
    assert CRFLoss("none")(hmm, events).isfinite().all()


def test_targets_may_be_lists() -> None:
    expected = CTCLoss()(LOG_PROBS, TARGETS, [6, 6], [2, 2])
    assert CTCLoss()(LOG_PROBS, TARGETS.tolist(), [6, 6], [2, 2]) == expected
    assert CTCLoss()(LOG_PROBS, [1, 2, 3, 1], [6, 6], [2, 2]) == expected
    assert CTCLoss().feasible([[1, 1, 2]], [3]).tolist() == [False]
    assert CTCLoss()(LOG_PROBS, [[], []]).isfinite()


def test_of_an_empty_batch_the_sum_is_0() -> None:
    empty = LOG_PROBS[:, :0], TARGETS[:0]
    assert CTCLoss(reduction="none")(*empty).shape == (0,)
    assert CTCLoss(reduction="sum")(*empty) == 0


def test_a_batch_that_is_refused_leaves_no_trace_in_the_prior() -> None:
    prior = LabelPrior(4)
    loss = CTCLoss(prior=prior)
    broken = LOG_PROBS.clone()
    broken[1, 0, 1] = math.nan
    with pytest.raises(SemihmmError, match="nan"):
        loss(broken, TARGETS)
    assert prior.seen.tolist() == [0.0] * 4
    loss(LOG_PROBS, TARGETS)
    torch.testing.assert_close(prior.seen, torch.full((4,), 3.0, dtype=torch.float64))


def test_frames_without_mass_do_not_count_in_a_prior() -> None:
    prior = LabelPrior(2)
    prior.observe(tensor([[0.25, 0.75], [0.0, 0.0], [math.nan, 1.0]]).log(), tensor(2))
    torch.testing.assert_close(prior.seen, tensor([0.25, 0.75], dtype=torch.float64), rtol=1e-6, atol=0)
