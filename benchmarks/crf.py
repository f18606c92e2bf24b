"""The log-partition of linear chains with its gradient, and products with its Hessian, against PyTorch's libraries.

    python benchmarks/crf.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

Transitions are dense and shared over time, emissions are given. Everybody gets the same numbers, and what can be
prepared once is not timed. References are the scaled forward-backward recursion in float64, and for the Hessian product
a central difference of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results, fits
from _compare import main
from _trellis import Problem, at_all_sizes, torch_struct_edges
from torch import Tensor

import semihmm

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
            wide_flops=12.0 * p.arcs,
            bytes=16.0 * b * t * s,
            what="18 S² flops a step (6 for the gradient; 12 for its derivative along the direction, in float64 for "
            "the sake of long chains); emissions and direction read, gradient and product written",
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


if __name__ == "__main__":
    main(__doc__, "crf", at_all_sizes(gradient, hessian))
