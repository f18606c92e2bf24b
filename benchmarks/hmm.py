"""Hidden Markov models against the libraries that people would pick instead.

    python benchmarks/hmm.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

Log-likelihood and posteriors of a Gaussian HMM, from observations; log-partition with its gradient, and a product with
its Hessian; the best path. Observations have 8 features; transitions are dense. Everybody gets the same numbers in its
own kind of array, and what can be prepared once is not timed. References are the scaled forward-backward recursion and
a Viterbi recursion in float64, of this file; the Hessian product's is a central difference of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from _compare import Case, Contestant, Floor, Results, fits, main
from _jax import Remote
from torch import Tensor

import semihmm
from semihmm import models

FEATURES = 8
FASTEST = 20.0  # seconds that the fastest peers are given
STATES, STEPS, BATCHES = (8, 64, 256), (200, 2000, 20_000), (1, 32)

Call = Callable[[], Results]


def sizes(smoke: bool) -> list[tuple[int, int, int]]:
    """S, T, B; the least arithmetic first."""
    if smoke:
        return [(3, 7, 1), (5, 12, 2)]
    return sorted(product(STATES, STEPS, BATCHES), key=lambda size: size[0] ** 2 * size[1] * size[2])


@dataclass
class Problem:
    """One size: a model, its observations, and what is known about them in float64."""

    states: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states * self.steps + self.batch)
        s, f = self.states, FEATURES
        self.mean, self.variance = torch.randn(s, f, generator=g), (0.3 * torch.randn(s, f, generator=g)).exp()
        self.log_initial = torch.randn(s, generator=g).log_softmax(-1)
        self.log_transition = torch.randn(s, s, generator=g).log_softmax(-1)
        drawn = torch.randint(s, (self.batch, self.steps), generator=g)
        noise = torch.randn(self.batch, self.steps, f, generator=g)
        self.x = self.mean[drawn] + noise * self.variance[drawn].sqrt()
        self.direction = [torch.randn(s, s, generator=g), torch.randn(self.batch, self.steps, s, generator=g)]
        for name in ("mean", "variance", "log_initial", "log_transition", "x"):
            setattr(self, name, getattr(self, name).to(self.device))
        self.direction = [x.to(self.device) for x in self.direction]

    @property
    def arcs(self) -> int:
        """Arcs of all trellises together."""
        return self.batch * self.steps * self.states**2

    @property
    def loop_cost(self) -> float:
        """The same for a loop over steps in Python: each step costs as much as some 30,000 arcs, besides its own."""
        return float(self.arcs + 30_000 * self.steps)

    @cached_property
    def emission(self) -> Tensor:
        """Log-likelihoods ``(B, T, S)``, float32: what those get that start from them."""
        return log_density(self.x.double(), self.mean.double(), self.variance.double()).float()

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """Log-likelihood, posteriors and expected transition counts."""
        return forward_backward(self.log_initial.double(), self.log_transition.double(), self.emission.double())

    @cached_property
    def curvature(self) -> dict[str, Tensor]:
        """The Hessian times the direction: central differences of the gradient."""
        step, sides = 1e-4, []
        for sign in (1, -1):
            moved = [
                given.double() + sign * step * along.double()
                for given, along in zip((self.log_transition, self.emission), self.direction, strict=True)
            ]
            sides.append(forward_backward(self.log_initial.double(), *moved))
        return {
            "transition": (sides[0]["counts"] - sides[1]["counts"]) / (2 * step),
            "emission": (sides[0]["posterior"] - sides[1]["posterior"]) / (2 * step),
        }


def log_density(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Diagonal Gaussians, the square multiplied out: two matrix products."""
    constant = (mean.square() / variance + variance.log()).sum(-1) + mean.shape[-1] * math.log(2 * math.pi)
    return x @ (mean / variance).T - (x.square() @ (1 / variance).T + constant) / 2


def forward_backward(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> dict[str, Tensor]:
    """The scaled recursions (Rabiner 1989), in the dtype given; weights need not be normalised."""
    steps = emission.shape[1]
    peak = emission.amax(-1, keepdim=True)
    likely = (emission - peak).exp().transpose(0, 1).contiguous()
    transition = log_transition.exp()
    forward, backward = torch.empty_like(likely), torch.ones_like(likely)
    scale = torch.empty_like(likely[..., :1])
    one = log_initial.exp() * likely[0]
    for t in range(steps):
        if t:
            one = torch.mm(forward[t - 1], transition, out=forward[t]).mul_(likely[t])
        torch.sum(one, -1, keepdim=True, out=scale[t])
        forward[t] = one / scale[t]
    back = transition.T.contiguous()
    for t in range(steps - 1, 0, -1):
        torch.mm(likely[t] * backward[t] / scale[t], back, out=backward[t - 1])
    arrive = (likely[1:] * backward[1:] / scale[1:]).flatten(0, 1)
    counts = forward[:-1].flatten(0, 1).T @ arrive * transition
    total = scale.log().sum(0).squeeze(-1) + peak.sum(1).squeeze(-1)
    return {"log_likelihood": total.sum(), "posterior": (forward * backward).transpose(0, 1), "counts": counts}


def best_scores(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """The score of the best path of each sequence, without the path."""
    score = log_initial + emission[:, 0]
    for t in range(1, emission.shape[1]):
        score = (score.unsqueeze(-1) + log_transition).amax(-2) + emission[:, t]
    return score.amax(-1)


def score_of(path: Tensor, log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """The score of one path of each sequence."""
    along = emission.gather(-1, path.unsqueeze(-1)).squeeze(-1).sum(-1)
    return log_initial[path[:, 0]] + log_transition[path[:, :-1], path[:, 1:]].sum(-1) + along


# Gaussian HMM: log-likelihood and posteriors


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


ON_GPU = ("pomegranate", "torch-struct", "torch loop", "pytorch-crf")


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


def torch_struct_edges(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """Its potentials ``(B, T - 1, to, from)``."""
    edges = log_transition.T + emission[:, 1:, :, None]
    first = (log_initial + emission[:, 0])[:, None, None, :]
    return torch.cat([edges[:, :1] + first, edges[:, 1:]], 1)


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


# Log-partition with its gradient, and a product with its Hessian


LogPartition = Callable[[Tensor, Tensor, Tensor], Tensor]  # from initial (S), transition (S, S) and emission (B, T, S)


def gradient(p: Problem) -> Case:
    """With respect to transitions (expected counts) and emissions (posteriors)."""
    b, t, s = p.batch, p.steps, p.states
    return Case(
        work="log-partition and gradient",
        contestants=differentiable(p, gradient_of, saved=4.0 * p.arcs),
        tolerance={"log_partition": 1e-5, "transition": 1e-3, "emission": 1e-3},
        floor=Floor(
            flops=6.0 * p.arcs, bytes=8.0 * b * t * s, what="6 S² flops a step; emissions read, their gradient written"
        ),
        reference=lambda: {
            "log_partition": p.truth["log_likelihood"],
            "transition": p.truth["counts"],
            "emission": p.truth["posterior"],
        },
        **common(p),
    )


def hessian(p: Problem) -> Case:
    """All of it: the log-partition, its gradient, and the Hessian times a direction."""
    b, t, s = p.batch, p.steps, p.states
    return Case(
        work="log-partition, gradient and Hessian-vector product",
        contestants=differentiable(p, hessian_of, saved=12.0 * p.arcs),
        tolerance={"transition": 1e-3, "emission": 1e-3},
        floor=Floor(
            flops=18.0 * p.arcs,
            bytes=16.0 * b * t * s,
            what="18 S² flops a step (6 for the gradient, 12 for its derivative along the direction); emissions and "
            "direction read, gradient and product written",
        ),
        reference=lambda: p.curvature,
        **common(p),
    )


def common(p: Problem) -> dict[str, Any]:
    """What both have."""
    sizes = {"S": p.states, "T": p.steps, "B": p.batch}
    return {"sizes": sizes, "target": 10, "cost": float(p.arcs), "device": p.device}


def differentiable(p: Problem, work: Callable[..., Call], saved: float) -> dict[str, Contestant]:
    """Everybody who has a log-partition that autograd goes through; it saves so many float32 bytes for loops."""

    def torch_struct(size: int) -> LogPartition:
        fits(size * p.arcs)
        from torch_struct import LinearChain

        return lambda *given: LinearChain().sum(torch_struct_edges(*given)).sum()

    def crf() -> LogPartition:
        fits(saved, 6e9, "saved for the gradient")
        from torchcrf import CRF

        model = CRF(p.states).to(p.device)
        del model.start_transitions, model.transitions  # parameters: what is given takes their place
        model.end_transitions.data = torch.zeros_like(p.log_initial)
        mask = torch.ones(p.steps, p.batch, dtype=torch.bool, device=p.device)

        def log_partition(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
            model.start_transitions, model.transitions = initial, transition
            return model._compute_normalizer(emission.transpose(0, 1), mask).sum()

        return log_partition

    def loop(bytes_saved: float) -> LogPartition:
        fits(bytes_saved, 6e9, "saved for the gradient")
        return loop_log_partition

    def contestant(build: Callable[[], LogPartition], dtype: str = "float32", **extra: Any) -> Contestant:
        return Contestant(lambda: work(p, build(), getattr(torch, dtype)), dtype=dtype, **extra)

    loose = dict.fromkeys(("transition", "emission"), 0.1)
    drift = "adds up log-weights in float32 without normalising, so its gradients drift: a tenth of error is let pass"
    names = ("torch loop", "torch loop float64", "pytorch-crf", "torch-struct", "torch-struct float64")
    peers = (
        contestant(lambda: loop(saved), tolerance=loose, note=drift, cost=p.loop_cost),
        contestant(lambda: loop(2 * saved), "float64", cost=p.loop_cost),
        contestant(crf, cost=p.loop_cost, tolerance=loose, note=f"its `_compute_normalizer`; {drift}"),
        contestant(
            lambda: torch_struct(4),
            cost=float(p.arcs * p.states),
            tolerance=dict.fromkeys(loose, 1e-2),
            note="a hundredth of error is let pass",
        ),
        contestant(lambda: torch_struct(8), "float64", cost=float(p.arcs * p.states)),
    )
    return {
        "semihmm": contestant(lambda: our_log_partition, ours=True),
        "semihmm float64": contestant(lambda: our_log_partition, "float64", ours=True),
        **dict(zip(names, peers, strict=True)),
    }


def our_log_partition(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
    """`semihmm.log_partition`, of all sequences together."""
    return semihmm.log_partition(semihmm.HMM(initial, transition, emission)).sum()


def loop_log_partition(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
    """What one writes by hand."""
    first, *rest = emission.unbind(1)
    alpha = initial + first
    for now in rest:
        alpha = torch.logsumexp(alpha.unsqueeze(-1) + transition, -2) + now
    return alpha.logsumexp(-1).sum()


def gradient_of(p: Problem, log_partition: LogPartition, dtype: torch.dtype) -> Call:
    """The log-partition and its gradient by autograd."""
    initial, *given = (x.to(dtype) for x in (p.log_initial, p.log_transition, p.emission))

    def call() -> Results:
        inputs = [x.detach().requires_grad_() for x in given]
        total = log_partition(initial, *inputs)
        transition, emission = torch.autograd.grad(total, inputs)
        return {"log_partition": total, "transition": transition, "emission": emission}

    return call


def hessian_of(p: Problem, log_partition: LogPartition, dtype: torch.dtype) -> Call:
    """The derivative of the gradient's product with the direction, by autograd again."""
    initial, *given = (x.to(dtype) for x in (p.log_initial, p.log_transition, p.emission))
    direction = [x.to(dtype) for x in p.direction]

    def call() -> Results:
        inputs = [x.detach().requires_grad_() for x in given]
        slopes = torch.autograd.grad(log_partition(initial, *inputs), inputs, create_graph=True)
        transition, emission = torch.autograd.grad(slopes, inputs, direction)
        return {"transition": transition, "emission": emission}

    return call


# Viterbi


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


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """All works at one size, then the next: they share data and references."""
    for size in sizes(smoke):
        problem = Problem(*size, device)
        for work in (gaussian, gradient, hessian, viterbi):
            yield work(problem)


if __name__ == "__main__":
    main(__doc__, "hmm", cases)
