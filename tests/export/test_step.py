"""Answers to a stream are those to the whole of it, however its frames are cut into chunks."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import export
from semihmm.errors import SemihmmError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, durations

ARCS = (torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 2, 2]))
STEPS, LAG = 11, 14
Made = dict[str, Tensor]


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


INITIAL, BY_ARC, BY_OFFSET = weights(3), weights(5), weights(3, 2)


def arcs(x: Tensor, lengths: Tensor) -> semihmm.HMM:
    return semihmm.HMM(INITIAL, BY_ARC, x, weights(3), lengths=lengths, arcs=ARCS)


def banded(x: Tensor, lengths: Tensor) -> semihmm.HMM:
    return semihmm.HMM(INITIAL, BY_OFFSET, x, lengths=lengths, offsets=(0, 1))


def ctc(x: Tensor, lengths: Tensor) -> semihmm.CTC:
    return semihmm.CTC(x.log_softmax(-1), torch.tensor([[1, 2, 2]]).expand(x.shape[0], -1), lengths)


def monotonic(x: Tensor, lengths: Tensor) -> semihmm.MonotonicAlignment:
    return semihmm.MonotonicAlignment(x, lengths)


def gaussian_hmm() -> HMM:
    torch.manual_seed(0)
    return HMM(4, Gaussian(4, features=3))


def semi_markov(**known: Any) -> HSMM:
    torch.manual_seed(0)
    return HSMM(3, Gaussian(3, features=3), durations.NegativeBinomial(3, max_duration=5), **known)


MODELS: dict[str, Callable[[], Any]] = {
    "dense": gaussian_hmm,
    "arcs": lambda: arcs,
    "banded": lambda: banded,
    "ctc": lambda: ctc,
    "monotonic": lambda: monotonic,
    "hsmm": semi_markov,
    "hsmm-ends": lambda: semi_markov(censored="none"),
}


def outputs(name: str) -> tuple[export.StepOutput, ...]:
    return export.STEP_OUTPUTS[:2] if name.startswith("hsmm") else export.STEP_OUTPUTS


def streamed(
    step: export.Step, run: Callable[..., Sequence[Tensor]], x: Tensor, chunks: Sequence[Sequence[int]]
) -> Made:
    """What is said of each frame, chunk by chunk; of each of those, how many frames each stream has."""
    carry, said = step.begin(len(x)), [dict[str, list[Tensor]]() for _ in x]
    for counts in chunks:
        lengths = torch.tensor(counts)
        at = carry["seen"].unsqueeze(-1) + torch.arange(int(lengths.max()))
        chunk = x.take_along_dim(at.clamp(max=x.shape[1] - 1).unsqueeze(-1), 1)
        found = dict(zip(step.names, run(chunk, lengths, *carry.values()), strict=True))
        carry = {name: found[f"next_{name}"] for name in carry}
        for name in step.names[: -len(carry)]:
            for known, value, count in zip(said, found[name], counts, strict=True):
                known.setdefault(name, []).append(value if name == "tail" else value[:count])
    return {n: torch.stack([k[n][-1] if n == "tail" else torch.cat(k[n]) for k in said]) for n in said[0]}


def cut(seed: int, streams: int) -> list[list[int]]:
    """Random chunks, which some streams sit out."""
    g = torch.Generator().manual_seed(seed)
    left, chunks = [STEPS] * streams, []
    while any(left):
        counts = [min(n, int(torch.randint(0, 5, (), generator=g))) for n in left]
        left = [n - k for n, k in zip(left, counts, strict=True)]
        if any(counts):
            chunks.append(counts)
    return chunks


def offline(name: str, x: Tensor) -> Made:
    """What the model says of the whole."""
    model, lengths = MODELS[name](), torch.full(x.shape[:1], x.shape[1])
    with torch.no_grad():
        structure = model(x, lengths)
        path = semihmm.viterbi(structure)
    found = {
        "log_prob": semihmm.log_partition(structure).double(),
        "filtered": semihmm.filtering(structure).exp(),
        "score": path.score.double(),
    }
    return found if name == "ctc" else {**found, "tail": structure.state_sequence(path.event)}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", list(MODELS))
@torch.no_grad()
def test_chunks_say_what_the_whole_says(name: str, seed: int) -> None:
    x = weights(2, STEPS, 3)
    step = export.Step(MODELS[name](), outputs(name), LAG, x)
    found, whole, wanted = (
        streamed(step, step, x, cut(seed, 2)),
        streamed(step, step, x, [[STEPS] * 2]),
        offline(name, x),
    )
    for each in found:
        torch.testing.assert_close(found[each], whole[each], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found["log_prob"][:, -1], wanted["log_prob"], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(found["filtered"], wanted["filtered"], atol=1e-5, rtol=0.0)
    if "score" in found and name not in ("arcs", "ctc", "monotonic"):  # whose paths may not end everywhere
        torch.testing.assert_close(found["score"][:, -1], wanted["score"], atol=1e-5, rtol=0.0)
    if "tail" in wanted and "tail" in found:
        assert found["tail"][:, LAG - STEPS :].tolist() == wanted["tail"].tolist()
        assert (found["tail"][:, : LAG - STEPS] == -1).all()


@torch.no_grad()
def test_the_state_of_some_frames_ago_is_that_of_the_best_path_now() -> None:
    x, lag = weights(1, STEPS, 3), 3
    model = gaussian_hmm()
    step = export.Step(model, ("viterbi",), lag)
    found = streamed(step, step, x, [[1]] * STEPS)["states"][0]
    assert found[:lag].tolist() == [-1] * lag
    for frame in range(lag, STEPS):
        assert found[frame] == semihmm.viterbi(model(x[:, : frame + 1])).event[0, frame - lag]


@pytest.mark.parametrize("name", list(MODELS))
def test_a_file_says_what_the_step_says(name: str, tmp_path: Path) -> None:
    if name != "dense" and os.environ.get("SEMIHMM_EVERY_EXPORT") != "1":
        pytest.skip("an export takes seconds; set SEMIHMM_EVERY_EXPORT=1 for all of them")
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    x = weights(2, STEPS, 3)
    step = export.Step(MODELS[name](), outputs(name), LAG, x)
    export.onnx_step(MODELS[name](), tmp_path / "step.onnx", outputs(name), LAG, x)
    session = runtime.InferenceSession(tmp_path / "step.onnx")
    inputs = ["x", "lengths", *step.begin(1)]
    assert [i.name for i in session.get_inputs()] == inputs

    def run(*given: Tensor) -> list[Tensor]:
        fed = {n: v.numpy() for n, v in zip(inputs, given, strict=True)}
        return [torch.from_numpy(v) for v in session.run(list(step.names), fed)]

    with torch.no_grad():
        wanted = streamed(step, step, x, [[STEPS] * 2])
    for chunks in (cut(2, 2), [[1, 1]] * STEPS):
        found = streamed(step, run, x, chunks)
        for each in wanted:
            tolerance = 1e-4 if wanted[each].is_floating_point() else 0.0
            torch.testing.assert_close(found[each], wanted[each], atol=tolerance, rtol=0.0)


def test_what_a_step_cannot_be_asked_says_so() -> None:
    with pytest.raises(StructureError, match=r"step model of an HSMM has log_prob and filtered, but no viterbi"):
        export.Step(semi_markov(), ("viterbi",))
    with pytest.raises(StructureError, match=r"has no censored='left'"):
        export.Step(semi_markov(censored="left"))
    with pytest.raises(SemihmmError, match=r"outputs of a step must be some of .*filtered.* got \('posteriors',\)"):
        export.Step(gaussian_hmm(), ("posteriors",))  # type: ignore[arg-type]
    with pytest.raises(SemihmmError, match="lag is a number of frames, at least 1, got 0"):
        export.Step(gaussian_hmm(), lag=0)


def test_transitions_that_change_have_no_step() -> None:
    def changing(x: Tensor, lengths: Tensor) -> semihmm.HMM:
        return semihmm.HMM(INITIAL, x.new_zeros(len(x), x.shape[1] - 1, 3, 3), x, lengths=lengths)

    with pytest.raises(StructureError, match="transitions of this HMM change from frame to frame"):
        export.Step(changing, x=weights(1, 1, 3))


def test_a_grid_has_no_step() -> None:
    with pytest.raises(StructureError, match="a DTW has no step for each frame"):
        export.Step(lambda x, lengths: semihmm.DTW(x), x=weights(1, 1, 3))
