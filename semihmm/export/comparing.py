"""What was exported beside the model that it was exported from, on the same observations."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from ctypes import CDLL, byref, c_char_p, c_int64, c_void_p
from ctypes.util import find_library
from dataclasses import dataclass
from os import PathLike, fsencode
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm import inference
from semihmm._optional import require
from semihmm.errors import DataError, DependencyError
from semihmm.export.contents import contents
from semihmm.export.module import Make
from semihmm.models import HMM, HSMM

_TIMES, _MOST = 5, 2.0  # that each side is asked, for a median, and seconds after which it is not asked again


class Found(NamedTuple):
    """What one side says of sequences: log-likelihoods ``(B,)``, posteriors ``(B, T, S)``, states ``(B, T)``."""

    log_prob: Tensor
    posteriors: Tensor
    states: Tensor


Side = Callable[[Tensor, Tensor], Found]


@dataclass(frozen=True)
class Comparison:
    """How far two sides are apart.

    Attributes:
        sequences, frames: how many there were.
        path_agreement: the share of frames at which the best paths have the same state.
        posterior_l1: the sum over states of how far posteriors are apart, at most 2; the mean over frames.
        log_likelihood: by how many nats a frame log-likelihoods are apart, in the sequence where they are furthest.
        model_seconds, exported_seconds: that all answers take, on all sequences at once; the median of a few times.
    """

    sequences: int
    frames: int
    path_agreement: float
    posterior_l1: float
    log_likelihood: float
    model_seconds: float
    exported_seconds: float


def compare(model: Side, exported: Side, x: Tensor, lengths: Tensor) -> Comparison:
    """Ask both sides.

    Args:
        x: observations ``(B, T, ...)``, of which ``lengths (B,)`` count.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> side = in_python(HMM(3, Gaussian(3, features=2)))
        >>> compare(side, side, torch.zeros(2, 9, 2), torch.tensor([9, 5])).path_agreement
        1.0
    """
    (ours, ours_took), (theirs, theirs_took) = (_timed(side, x, lengths) for side in (model, exported))
    inside = torch.arange(x.shape[1]) < lengths.unsqueeze(-1)
    frames = int(inside.sum())
    apart = (ours.posteriors - theirs.posteriors).abs().sum(-1)[inside]
    nats = (ours.log_prob.double() - theirs.log_prob.double()).abs() / lengths
    return Comparison(
        len(lengths),
        frames,
        float((ours.states == theirs.states)[inside].double().mean()),
        float(apart.double().mean()),
        float(nats.max()),
        ours_took,
        theirs_took,
    )


def in_python(model: HMM | HSMM | Make) -> Side:
    """The model itself, by the backend that semihmm chooses."""

    @torch.no_grad()
    def side(x: Tensor, lengths: Tensor) -> Found:
        structure = model(x, lengths)
        log_prob, counts = inference.expected_counts(structure, (structure.observed,))
        states = inference.viterbi(structure).states
        if isinstance(model, HMM | HSMM):
            states = model.named(states)
        return Found(log_prob, counts[structure.observed], states)

    return side


def in_onnx(path: str | PathLike[str]) -> Side:
    """An ONNX file, by ONNX Runtime."""
    onnxruntime = require("onnxruntime", extra="export", purpose="Running ONNX files")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = Found._fields

    def side(x: Tensor, lengths: Tensor) -> Found:
        found = session.run(names, {"x": x.numpy(), "lengths": lengths.numpy()})
        return Found(*(torch.from_numpy(part) for part in found))

    return side


def in_program(program: Callable[[Tensor, Tensor], Any]) -> Side:
    """A program of PyTorch with all answers. It takes two sequences of two frames, or more."""

    @torch.no_grad()
    def side(x: Tensor, lengths: Tensor) -> Found:
        count, steps = x.shape[:2]
        if steps == 1:
            x = torch.cat([x, x], 1)
        if count == 1:
            x, lengths = torch.cat([x, x]), torch.cat([lengths, lengths])
        log_prob, posteriors, states, _ = program(x, lengths)
        return Found(log_prob[:count], posteriors[:count, :steps], states[:count, :steps])

    return side


def in_runtime(path: str | PathLike[str]) -> Side:
    """A model file of the C++ runtime, by its shared library, one sequence after the other.

    Raises:
        DataError: what the library says of a file.
        DependencyError: the library is not where the system looks for libraries.
    """
    found = find_library("semihmm")
    try:
        library = CDLL(found or "libsemihmm.so")
    except OSError as error:
        raise DependencyError(
            "export: a comparison with a file of the C++ runtime needs libsemihmm, which is not where this system "
            "looks for libraries. Build and install csrc/runtime (docs/deployment/runtime.md), or export without a "
            "comparison."
        ) from error
    library.semihmm_last_error.restype = c_char_p

    def call(function: str, *arguments: object) -> None:
        if getattr(library, f"semihmm_{function}")(*arguments):
            raise DataError(library.semihmm_last_error().decode())

    model, columns = c_void_p(), int(contents(path)["states"])
    call("model_open", fsencode(path), byref(model))

    def side(x: Tensor, lengths: Tensor) -> Found:
        count, steps = x.shape[:2]
        log_prob = torch.zeros(count, dtype=torch.float64)
        posteriors, states = torch.zeros(count, steps, columns), torch.full((count, steps), -1)
        for row in range(count):
            frames, length = x[row].float().contiguous(), c_int64(int(lengths[row]))
            given = (model, c_void_p(frames.data_ptr()), length)
            outputs = (c_void_p(part[row].data_ptr()) for part in (posteriors, log_prob))
            call("posteriors", *given, *outputs)
            call("viterbi", *given, c_void_p(states[row].data_ptr()), None, None)
        return Found(log_prob, posteriors, states)

    return side


def _timed(side: Side, x: Tensor, lengths: Tensor) -> tuple[Found, float]:
    """What a side says, and the seconds that it takes: the first time counts only where there is time for no other."""
    took: list[float] = []
    while not took or (len(took) <= _TIMES and sum(took) < _MOST):
        begun = time.perf_counter()
        found = side(x, lengths)
        took.append(time.perf_counter() - begun)
    return found, statistics.median(took[1:] or took)
