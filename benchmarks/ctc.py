"""CTC loss with its gradient, CTC alignment and spans, against the libraries that people would pick instead.

    python benchmarks/ctc.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

The loss is taken from scores that are not normalised, and so is its gradient: PyTorch's `ctc_loss` takes
log-probabilities but returns the gradient that these scores want, so with the softmax in front everybody answers the
same question. The alignment is taken from log-probabilities. PyTorch's peers get time first, as they want it.
torchaudio aligns one recording a call, so it is called once for each; so is ctc-segmentation, whose model is not quite
CTC's (only tokens have places of their own, at which blanks may be waited out): of its answer only the onsets of tokens
are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from _case import Case, Contestant, Floor, Results, Unavailable
from _compare import main
from _jax import Remote
from torch import Tensor

import semihmm
from semihmm.decoding import align

Call = Callable[[], Results]
BLANK = 0


def recordings(batch: int, steps: int, tokens: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Scores ``(B, T, V)`` of recordings in which a token sounds now and then, and the tokens ``(B, U)``."""
    g = torch.Generator().manual_seed(steps)
    targets = torch.randint(1, vocabulary, (batch, tokens), generator=g)
    places = [torch.randperm(steps // 2 - 1, generator=g)[:tokens].sort().values for _ in range(batch)]
    starts = 2 * torch.stack(places) + 2  # ctc-segmentation needs a blank first
    said = torch.full((batch, steps), BLANK).scatter(1, starts, targets)
    scores = torch.randn(batch, steps, vocabulary, generator=g)
    return scores.scatter_add(2, said.unsqueeze(-1), torch.full_like(scores[..., :1], 8.0)), targets


# Loss and gradient


def loss_of(scores: Tensor, losses: Callable[[Tensor], Tensor], batch_axis: int = 0) -> Call:
    """Every recording's loss and the gradient of their sum, by autograd."""

    def call() -> Results:
        x = scores.detach().requires_grad_()
        loss = losses(x.log_softmax(-1))
        loss.sum().backward()
        assert x.grad is not None
        return {"loss": loss, "gradient": x.grad.movedim(batch_axis, 0)}

    return call


def ours(scores: Tensor, targets: Tensor, lengths: tuple[Tensor, Tensor]) -> Call:
    """By semihmm."""
    return loss_of(scores, lambda log_probs: -semihmm.log_partition(semihmm.CTC(log_probs, targets, *lengths)))


def torch_loss(scores: Tensor, targets: Tensor, lengths: tuple[Tensor, Tensor]) -> Call:
    """By PyTorch."""

    def losses(log_probs: Tensor) -> Tensor:
        return torch.nn.functional.ctc_loss(log_probs, targets, *lengths, blank=BLANK, reduction="none")

    return loss_of(scores.transpose(0, 1).contiguous(), losses, batch_axis=1)


def loss(scores: Tensor, targets: Tensor, device: str) -> Case:
    """One size of the loss."""
    batch, steps, vocabulary = scores.shape
    places = 2 * targets.shape[-1] + 1
    lengths = torch.full((batch,), steps, device=device), torch.full((batch,), targets.shape[-1], device=device)
    arrays = {"scores": scores.cpu(), "targets": targets.cpu()}
    cells = batch * steps * places
    return Case(
        work="CTC loss + gradient",
        sizes={"T": steps, "B": batch, "U": targets.shape[-1], "V": vocabulary},
        contestants={
            "semihmm": Contestant(lambda: ours(scores, targets, lengths), ours=True),
            "torch ctc_loss": Contestant(lambda: torch_loss(scores, targets, lengths)),
            "optax": Contestant(lambda: Remote("_jax_ctc:loss", arrays, blank=BLANK)),
        },
        tolerance={"loss": 1e-4, "gradient": 1e-3},
        target=3,
        floor=Floor(
            flops=2 * cells * (3 + 1) + 5 * scores.numel(),
            bytes=4.0 * (2 * scores.numel() + 2 * cells),
            what="three sums and a product for each place, each way, and the softmax; scores and gradient moved once, "
            "every place kept and read once",
        ),
        cost=float(cells),
        device=device,
    )


# Alignment


def our_alignment(log_probs: Tensor, targets: Tensor) -> Call:
    """By semihmm."""

    def call() -> Results:
        return {"tokens": semihmm.viterbi(semihmm.CTC(log_probs, targets)).event[..., 0]}

    return call


def torchaudio(log_probs: Tensor, targets: Tensor) -> Call:
    """Takes one recording a call."""
    from _torchaudio import forced_align

    if log_probs.is_cuda:
        raise Unavailable("compared on the CPU")
    align = forced_align()
    pairs = list(zip(log_probs.split(1), targets.split(1), strict=True))
    return lambda: {"tokens": torch.cat([align(*pair, blank=BLANK)[0] for pair in pairs])}


def segmentation(log_probs: Tensor, targets: Tensor) -> Call:
    """The package ctc-segmentation, in Cython; frames are its unit of time."""
    from ctc_segmentation import CtcSegmentationParameters, ctc_segmentation, prepare_token_list

    vocabulary = [str(token) for token in range(log_probs.shape[-1])]
    config = CtcSegmentationParameters(char_list=vocabulary, index_duration=1.0, blank=BLANK)
    # By default a recording may begin and end anywhere within what is said; here, as in CTC, all of it counts.
    config.preamble_transition_cost_zero, config.backtrack_from_max_t = False, True
    pairs = [(x.cpu().numpy(), [y.cpu().numpy()]) for x, y in zip(log_probs, targets, strict=True)]

    def call() -> Results:
        onsets = []
        for x, tokens in pairs:
            places, _ = prepare_token_list(config, tokens)
            timings, _, _ = ctc_segmentation(config, x, places)
            onsets.append(timings[2 : 2 + len(tokens[0])])  # behind the start mark and the first blank
        return {"onsets": np.stack(onsets)}

    return call


def our_spans(log_probs: Tensor, targets: Tensor) -> Call:
    """By semihmm, with the confidence of each, from the posteriors of all alignments."""

    def call() -> Results:
        found = align(log_probs, targets)
        return {"spans": torch.stack([found.start, found.end])}

    return call


def torchaudio_spans(log_probs: Tensor, targets: Tensor) -> Call:
    """Takes one recording a call; its scores are the mean probabilities of the tokens."""
    from _torchaudio import forced_align

    force = forced_align()
    from torchaudio.functional import merge_tokens

    pairs = list(zip(log_probs.split(1), targets.split(1), strict=True))

    def call() -> Results:
        rows = [merge_tokens(tokens[0], scores[0]) for tokens, scores in (force(*pair, blank=BLANK) for pair in pairs)]
        edges = [[[span.start, span.end] for span in row] for row in rows]
        return {"spans": torch.tensor(edges).movedim(-1, 0)}

    return call


def spans(scores: Tensor, targets: Tensor, device: str) -> Case:
    """One size of spans."""
    log_probs = scores.log_softmax(-1)
    batch, steps, vocabulary = scores.shape
    return Case(
        work="CTC spans with confidences",
        sizes={"T": steps, "B": batch, "U": targets.shape[-1], "V": vocabulary},
        contestants={
            "semihmm": Contestant(lambda: our_spans(log_probs, targets), ours=True),
            "torchaudio": Contestant(
                lambda: torchaudio_spans(log_probs, targets),
                note="`forced_align` and `merge_tokens`, one recording a call; without posteriors of other alignments",
            ),
        },
        tolerance={"spans": 0},
        cost=float(batch * steps * (2 * targets.shape[-1] + 1)),
        device=device,
    )


def judged(log_probs: Tensor, targets: Tensor) -> Callable[[Results], Results]:
    """A path's log-probability, and where tokens begin as shares of the recording."""
    log_probs, targets = log_probs.double().cpu(), targets.cpu()
    batch, steps = log_probs.shape[:2]

    def view(results: Results) -> Results:
        if "onsets" in results:
            return {"score": np.zeros(batch), "onsets": results["onsets"] / steps}
        tokens: Tensor = results["tokens"].cpu().long()
        score = log_probs.gather(-1, tokens.unsqueeze(-1)).sum((-2, -1))
        begins = tokens != torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=BLANK)
        onsets: list[Any] = []
        for row, wanted, marks in zip(tokens, targets, begins & (tokens != BLANK), strict=True):
            found = marks.nonzero().squeeze(-1)
            fits = torch.equal(row[found], wanted)
            onsets.append(found / steps if fits else torch.full((len(wanted),), torch.nan))
        return {"score": score, "onsets": torch.stack(onsets)}

    return view


def alignment(scores: Tensor, targets: Tensor, device: str) -> Case:
    """One size of the alignment."""
    log_probs = scores.log_softmax(-1)
    batch, steps, vocabulary = scores.shape
    cells = batch * steps * (2 * targets.shape[-1] + 1)
    return Case(
        work="CTC alignment",
        sizes={"T": steps, "B": batch, "U": targets.shape[-1], "V": vocabulary},
        contestants={
            "semihmm": Contestant(lambda: our_alignment(log_probs, targets), ours=True),
            "torchaudio": Contestant(
                lambda: torchaudio(log_probs, targets), note="`forced_align`, one recording a call"
            ),
            "ctc-segmentation": Contestant(
                lambda: segmentation(log_probs, targets),
                tolerance={"score": float("inf"), "onsets": 0.01},
                note="a model of its own: only its onsets are compared, to a hundredth of the recording",
            ),
        },
        tolerance={"score": 1e-4, "onsets": 1e-6},
        target=3,
        floor=Floor(
            flops=cells * (2 + 1),
            bytes=4.0 * scores.numel() + 2 * cells,
            what="two maxima and a sum for each place; a byte of pointers written and read",
        ),
        view=judged(log_probs, targets),
        cost=float(cells),
        device=device,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """The same recordings for both."""
    scores, targets = recordings(*((2, 20, 4, 6) if smoke else (16, 500, 60, 64)))
    scores, targets = scores.to(device), targets.to(device)
    yield loss(scores, targets, device)
    yield alignment(scores, targets, device)
    if device == "cpu":
        yield spans(scores, targets, device)


if __name__ == "__main__":
    main(__doc__, "ctc", cases)
