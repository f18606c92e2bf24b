"""Hidden Markov models against the libraries that people would pick instead.

    python benchmarks/hmm.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

Log-likelihood and posteriors of a Gaussian HMM, from observations; the best path, from log-likelihoods. Observations
have 8 features; transitions are dense. Everybody gets the same numbers in its own kind of array, and what can be
prepared once is not timed. References are the scaled forward-backward recursion and a Viterbi recursion in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from _case import Call, Case, Contestant, Floor, Results, fits
from _compare import main
from _jax import Remote
from _trellis import FEATURES, ON_GPU, Problem, at_all_sizes, best_scores, log_density, score_of, torch_struct_edges
from torch import Tensor

import semihmm
from semihmm import models

FASTEST = 20.0  # seconds that the fastest peers are given


def gaussian(p: Problem) -> Case:
    """From observations to the log-likelihood of all of them and the posterior of each state at each step."""
    b, t, s = p.batch, p.steps, p.states
    drift = "adds up log-weights in float32 without normalising, so its posteriors drift: a tenth of error is let pass"
    peers = {
        "hmmlearn log": Contestant(lambda: hmmlearn_posteriors(p, "log"), dtype="float64"),
        "hmmlearn scaling": Contestant(lambda: hmmlearn_posteriors(p, "scaling"), dtype="float64", patience=FASTEST),
        "pomegranate": Contestant(
            lambda: pomegranate_posteriors(p), tolerance={"posterior": 0.1}, note=drift, cost=p.loop_cost
        ),
        "dynamax": Contestant(lambda: dynamax_posteriors(p, parallel=False), patience=FASTEST),
        "dynamax parallel": Contestant(lambda: dynamax_posteriors(p, parallel=True), cost=float(p.arcs * s)),
        "torch-struct": Contestant(
            lambda: torch_struct_posteriors(p),
            cost=float(p.arcs * s),
            tolerance={"posterior": 1e-2},
            note="a hundredth of error is let pass",
        ),
        "torch loop": Contestant(
            lambda: loop_posteriors(p), tolerance={"posterior": 0.1}, note=drift, cost=p.loop_cost
        ),
    }
    return Case(
        work="Gaussian HMM: log-likelihood and posteriors",
        sizes={"S": s, "T": t, "B": b},
        contestants={
            "semihmm": Contestant(lambda: our_posteriors(p, torch.float32), ours=True),
            "semihmm, from log-likelihoods": Contestant(
                lambda: our_posteriors(p, torch.float32, given=True), ours=True
            ),
            "semihmm float64": Contestant(lambda: our_posteriors(p, torch.float64), dtype="float64", ours=True),
            **({k: v for k, v in peers.items() if k in ON_GPU} if p.device == "cuda" else peers),
        },
        tolerance={"log_likelihood": 1e-5, "posterior": 1e-3},
        target=3,
        targets={"torch-struct": 100},
        floor_target=2,
        floor=Floor(
            flops=b * t * (4 * s**2 + 4 * FEATURES * s + 3 * s),
            bytes=4.0 * b * t * (FEATURES + s),
            what="4 S² (forward, backward) + 4 S F (densities) + 3 S flops a step, no exponentials; observations read, "
            "posteriors written",
        ),
        reference=lambda: p.truth,
        cost=float(p.arcs),
        device=p.device,
    )


def our_posteriors(p: Problem, dtype: torch.dtype, given: bool = False) -> Call:
    """By the model from observations; by the engine from log-likelihoods, where those are given."""
    emission = models.Gaussian(p.states, FEATURES)
    emission.mean.data, emission.log_variance.data = p.mean.clone(), p.variance.log()
    model = models.HMM(p.states, emission)
    model.initial.logits.data, model.transition.logits.data = p.log_initial.clone(), p.log_transition.clone()
    model = model.to(p.device, dtype)
    x = p.x.to(dtype)
    with torch.no_grad():
        structure = model(x)

    def from_observations() -> Results:
        total, posterior = model.score_samples(x)
        return {"log_likelihood": total.sum(), "posterior": posterior}

    def from_log_likelihoods() -> Results:
        total, counts = semihmm.expected_counts(structure, ("emission",))
        return {"log_likelihood": total.sum(), "posterior": counts["emission"]}

    return from_log_likelihoods if given else from_observations


def hmmlearn_posteriors(p: Problem, implementation: str) -> Call:
    """`score_samples` of all sequences at once."""
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(p.states, covariance_type="diag", implementation=implementation, init_params="")
    model.startprob_, model.transmat_ = probabilities(p.log_initial), probabilities(p.log_transition)
    model.means_, model.covars_ = p.mean.double().numpy(), p.variance.double().numpy()
    x, lengths = p.x.double().flatten(0, 1).numpy(), [p.steps] * p.batch

    def call() -> Results:
        total, posterior = model.score_samples(x, lengths)
        return {"log_likelihood": total, "posterior": posterior.reshape(p.batch, p.steps, p.states)}

    return call


def probabilities(log_weights: Tensor) -> np.ndarray:
    """In float64, where they sum to 1 as hmmlearn wants it."""
    return log_weights.double().softmax(-1).cpu().numpy()


def pomegranate_posteriors(p: Problem) -> Call:
    """`forward_backward`, which also has the posteriors of transitions."""
    fits(4.0 * p.arcs, what="for the posteriors of its transitions")
    model = pomegranate_model(p)

    def call() -> Results:
        with torch.no_grad():
            _, log_posterior, _, _, total = model.forward_backward(p.x)
            return {"log_likelihood": total.sum(), "posterior": log_posterior.exp()}

    return call


def pomegranate_model(p: Problem) -> Any:
    """The same model, float32."""
    from pomegranate.distributions import Normal
    from pomegranate.hmm import DenseHMM

    states = [Normal(m, v, covariance_type="diag") for m, v in zip(p.mean, p.variance, strict=True)]
    initial, transition = (x.double().softmax(-1).float() for x in (p.log_initial, p.log_transition))
    return DenseHMM(states, edges=transition, starts=initial, ends=torch.ones(p.states)).to(p.device)


def dynamax_posteriors(p: Problem, parallel: bool) -> Call:
    """Scans compiled by jax, in its own process."""
    if parallel:
        fits(4.0 * p.arcs)
    arrays = {"x": p.x, "mean": p.mean, "variance": p.variance}
    laws = {"initial": p.log_initial.exp(), "transition": p.log_transition.exp()}
    return Remote("_jax_hmm:posteriors", {**arrays, **laws}, parallel=parallel)


def torch_struct_posteriors(p: Problem) -> Call:
    """The log-partition of its linear chain, and the gradient."""
    fits(4.0 * p.arcs)
    from torch_struct import LinearChain

    def call() -> Results:
        with torch.no_grad():
            emission = log_density(p.x, p.mean, p.variance)
        emission.requires_grad_()
        total = LinearChain().sum(torch_struct_edges(p.log_initial, p.log_transition, emission)).sum()
        (posterior,) = torch.autograd.grad(total, emission)
        return {"log_likelihood": total, "posterior": posterior}

    return call


def loop_posteriors(p: Problem) -> Call:
    """What one writes by hand: log-alphas and log-betas, a `torch.logsumexp` each step."""

    @torch.no_grad()
    def call() -> Results:
        emission = log_density(p.x, p.mean, p.variance).unbind(1)
        alphas = [p.log_initial + emission[0]]
        for now in emission[1:]:
            alphas.append(torch.logsumexp(alphas[-1].unsqueeze(-1) + p.log_transition, -2) + now)
        betas = [torch.zeros_like(emission[0])]
        for after in reversed(emission[1:]):
            betas.append(torch.logsumexp(p.log_transition + (after + betas[-1]).unsqueeze(-2), -1))
        total = alphas[-1].logsumexp(-1)
        both = torch.stack(alphas, 1) + torch.stack(betas[::-1], 1)
        return {"log_likelihood": total.sum(), "posterior": (both - total[:, None, None]).exp()}

    return call


def viterbi(p: Problem) -> Case:
    """From log-likelihoods to the best path, as integers. Paths are compared by their scores in float64.

    Of the largest batches, the first and the last sequence are: the reference takes minutes for all.
    """
    b, t, s = p.batch, p.steps, p.states
    some = [0, b - 1] if p.arcs > 5e8 and b > 2 else list(range(b))
    potentials = [p.log_initial.double(), p.log_transition.double(), p.emission[some].double()]

    def scored(results: Results) -> Results:
        if "score" in results:
            return results
        path = torch.as_tensor(np.asarray(results["path"]) if p.device == "cpu" else results["path"])
        if path.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"paths must be integers, got {path.dtype}")
        return {"score": score_of(path[some].long(), *potentials)}

    peers = {
        "hmmlearn": Contestant(lambda: hmmlearn_viterbi(p), dtype="float64", patience=FASTEST),
        "dynamax": Contestant(lambda: dynamax_viterbi(p), patience=FASTEST),
        "pomegranate": Contestant(lambda: pomegranate_viterbi(p), cost=p.loop_cost),
        "pytorch-crf": Contestant(lambda: crf_viterbi(p), cost=p.loop_cost),
    }
    return Case(
        work="Viterbi with integer path",
        sizes={"S": s, "T": t, "B": b},
        contestants={
            "semihmm": Contestant(lambda: our_viterbi(p, torch.float32), ours=True),
            "semihmm float64": Contestant(lambda: our_viterbi(p, torch.float64), dtype="float64", ours=True),
            **({k: v for k, v in peers.items() if k in ON_GPU} if p.device == "cuda" else peers),
        },
        tolerance={"score": 1e-5},
        target=3,
        floor=Floor(
            flops=4.0 * p.arcs,
            bytes=b * t * (4.0 * s + 8),
            what="an addition and a maximum for each arc, each as dear as a fused multiply-add; log-likelihoods read, "
            "paths written",
        ),
        reference=lambda: {"score": best_scores(*potentials)},
        view=scored,
        cost=float(p.arcs),
        device=p.device,
    )


def our_viterbi(p: Problem, dtype: torch.dtype) -> Call:
    """`semihmm.viterbi`."""
    hmm = semihmm.HMM(*(x.to(dtype) for x in (p.log_initial, p.log_transition, p.emission)))
    return lambda: {"path": semihmm.viterbi(hmm).event}


def hmmlearn_viterbi(p: Problem) -> Call:
    """`decode`, with an emission that hands on what it is given."""
    from hmmlearn.base import BaseHMM

    class Given(BaseHMM):
        def _compute_log_likelihood(self, log_likelihoods: np.ndarray) -> np.ndarray:
            return log_likelihoods

    model = Given(p.states, init_params="")
    model.startprob_, model.transmat_ = probabilities(p.log_initial), probabilities(p.log_transition)
    x, lengths = p.emission.double().flatten(0, 1).numpy(), [p.steps] * p.batch
    return lambda: {"path": model.decode(x, lengths)[1].reshape(p.batch, p.steps)}


def dynamax_viterbi(p: Problem) -> Call:
    """`hmm_posterior_mode`, compiled, in its own process."""
    laws = {"initial": p.log_initial.exp(), "transition": p.log_transition.exp()}
    return Remote("_jax_hmm:viterbi", {"emission": p.emission, **laws})


def pomegranate_viterbi(p: Problem) -> Call:
    """`viterbi`, from log-likelihoods."""
    model = pomegranate_model(p)
    return torch.no_grad()(lambda: {"path": model.viterbi(emissions=p.emission)})


def crf_viterbi(p: Problem) -> Call:
    """`decode`; it returns lists."""
    from torchcrf import CRF

    model = CRF(p.states, batch_first=True).to(p.device)
    model.transitions.data, model.start_transitions.data = p.log_transition, p.log_initial
    model.end_transitions.data = torch.zeros_like(p.log_initial)
    mask = torch.ones(p.batch, p.steps, dtype=torch.bool, device=p.device)
    return torch.no_grad()(lambda: {"path": model.decode(p.emission, mask)})


if __name__ == "__main__":
    main(__doc__, "hmm", at_all_sizes(gaussian, viterbi))
