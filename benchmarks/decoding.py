"""CTC decoding: prefix beam search without a language model, against flashlight (C++) and fast-ctc-decode (Rust).

    python benchmarks/decoding.py [--smoke] [--only TEXT] [--threads 2]

All get the same log-probabilities and find the best label sequence. Peers take one recording a call, on one thread.
flashlight keeps sequences that end in a blank, and those that end in a label, apart, so the same beam holds fewer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from _case import Call, Case, Contestant, Results, Unavailable
from _compare import main
from torch import Tensor

from semihmm.decoding import beam_search

BLANK = 0


def recordings(batch: int, steps: int, vocabulary: int, noise: float) -> Tensor:
    """Log-probabilities ``(B, T, V)`` of a label in every fourth frame, about, and a blank in others."""
    generator = torch.Generator().manual_seed(0)
    said = torch.randint(1, vocabulary, (batch, steps), generator=generator)
    said = said.where(torch.rand(batch, steps, generator=generator) < 0.25, BLANK)
    scores = noise * torch.randn(batch, steps, vocabulary, generator=generator)
    return scores.scatter_add(-1, said.unsqueeze(-1), torch.full((batch, steps, 1), 6.0)).log_softmax(-1)


def ours(log_probs: Tensor, beam: int) -> Call:
    """By semihmm."""

    def call() -> Results:
        return {"labels": padded([item[0] for item in beam_search(log_probs, beam=beam).tolist()], log_probs)}

    return call


def fast_ctc_decode(log_probs: Tensor, beam: int) -> Call:
    """In Rust; multiplies probabilities, not logs."""
    from fast_ctc_decode import beam_search

    if log_probs.is_cuda:
        raise Unavailable("compared on the CPU")
    alphabet = [chr(0x100 + i) for i in range(log_probs.shape[-1])]
    arrays = [x.exp().numpy() for x in log_probs]

    def call() -> Results:
        found = [beam_search(x, alphabet, beam_size=beam, beam_cut_threshold=0.0)[0] for x in arrays]
        return {"labels": padded([[ord(c) - 0x100 for c in text] for text in found], log_probs)}

    return call


def flashlight(log_probs: Tensor, beam: int) -> Call:
    """In C++: what torchaudio's `ctc_decoder` calls."""
    from flashlight.lib.text.decoder import CriterionType, LexiconFreeDecoder, LexiconFreeDecoderOptions, ZeroLM

    if log_probs.is_cuda:
        raise Unavailable("compared on the CPU")
    steps, vocabulary = log_probs.shape[1:]
    options = LexiconFreeDecoderOptions(
        beam_size=beam,
        beam_size_token=vocabulary,
        beam_threshold=1e9,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    decoder = LexiconFreeDecoder(options, ZeroLM(), BLANK, BLANK, [])

    def call() -> Results:
        paths = [decoder.decode(x.data_ptr(), steps, vocabulary)[0].tokens for x in log_probs]
        said = [[token for token, _ in itertools.groupby(path) if token != BLANK] for path in paths]
        return {"labels": padded(said, log_probs)}

    return call


def padded(labels: list[list[int]], log_probs: Tensor) -> np.ndarray:
    """As an array, zeros behind the end."""
    found = np.zeros(log_probs.shape[:2])
    for row, said in zip(found, labels, strict=True):
        row[: len(said)] = said
    return found


def search(log_probs: Tensor, beam: int, device: str, sure: bool) -> Case:
    """One size of the search."""
    batch, steps, vocabulary = log_probs.shape
    return Case(
        work=f"CTC prefix beam search, {'a sure' if sure else 'an unsure'} network",
        sizes={"T": steps, "B": batch, "V": vocabulary, "beam": beam},
        contestants={
            "semihmm": Contestant(lambda: ours(log_probs, beam), ours=True),
            "flashlight": Contestant(
                lambda: flashlight(log_probs, beam),
                tolerance={} if sure else {"labels": float("inf")},
                note="`LexiconFreeDecoder`, `log_add`" + ("" if sure else "; its beam holds fewer, and ends elsewhere"),
                patience=60.0,
            ),
            "fast-ctc-decode": Contestant(lambda: fast_ctc_decode(log_probs, beam), patience=60.0),
        },
        tolerance={"labels": 0.0},
        target=0.5,
        cost=float(log_probs.numel() * beam),
        device=device,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """The same recordings for all: of a network that is sure of itself, and of one that is not."""
    batch, steps, vocabulary, beam = (2, 30, 8, 5) if smoke else (8, 1000, 64, 50)
    for sure, noise in ((True, 1.0), (False, 2.5)):
        log_probs = recordings(batch, steps, vocabulary, noise).to(device)
        yield search(log_probs[:1], beam, device, sure)
        yield search(log_probs, beam, device, sure)


if __name__ == "__main__":
    main(__doc__, "decoding", cases)
