"""Hidden semi-Markov models against the libraries that people would pick instead.

    python benchmarks/hsmm.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

Durations of 1 to 50 steps with weights of their own, no state follows itself, segments tile the sequence. Everybody
starts from the same log-likelihoods of each step under each state. The log-partition alone, and with the posterior of
the state at each step. The ring buffer in plain PyTorch is of this file, and is what one would write by hand.
References are in float64, by that ring buffer.

Then a segment counter: a state beside the number of segments so far, each of which goes on to two others. Its few arcs,
beside the dense matrix of the same model; references are the latter's in float64, by the torch backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from _case import Call, Case, Contestant, Floor, Results, Unavailable, fits
from _compare import main
from torch import Tensor

import semihmm


@dataclass
class Problem:
    """One size: log-weights, and what is known about them in float64."""

    states: int
    batch: int
    steps: int
    longest: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states + self.batch)
        s = self.states
        forbidden = torch.eye(s).bool()
        self.initial = torch.randn(s, generator=g).log_softmax(-1)
        self.transition = torch.randn(s, s, generator=g).masked_fill(forbidden, -torch.inf).log_softmax(-1)
        self.duration = torch.randn(s, self.longest, generator=g).log_softmax(-1)
        self.emission = torch.randn(self.batch, self.steps, s, generator=g)
        for name in ("initial", "transition", "duration", "emission"):
            setattr(self, name, getattr(self, name).to(self.device))

    @property
    def work(self) -> int:
        """Durations and transitions of all steps together."""
        return self.batch * self.steps * self.states * (self.states + self.longest)

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """Log-partitions and posteriors."""
        return ring_buffer(self, torch.float64, posteriors=True)()  # type: ignore[return-value]

    def arrays(self) -> dict[str, np.ndarray]:
        """The log-weights in float64, for NumPy."""
        names = ("initial", "transition", "duration", "emission")
        return {name: getattr(self, name).double().cpu().numpy() for name in names}


def differentiated(total: Callable[[Tensor], Tensor], emission: Tensor, posteriors: bool) -> Call:
    """The log-partitions, and the posteriors as their gradient."""

    def call() -> Results:
        if not posteriors:
            with torch.no_grad():
                return {"log_partition": total(emission)}
        x = emission.detach().requires_grad_()
        value = total(x)
        value.sum().backward()
        return {"log_partition": value, "posterior": x.grad}

    return call


def ours(p: Problem, dtype: torch.dtype, posteriors: bool) -> Call:
    """By semihmm."""
    initial, transition, duration = (x.to(dtype) for x in (p.initial, p.transition, p.duration))

    def total(emission: Tensor) -> Tensor:
        return semihmm.log_partition(semihmm.HSMM(initial, transition, duration, emission))

    return differentiated(total, p.emission.to(dtype), posteriors)


def ring_buffer(p: Problem, dtype: torch.dtype, posteriors: bool) -> Call:
    """Segments under way by how long they have lasted: shifted, weighed and summed up at each step."""
    initial, transition, lasting = (x.to(dtype) for x in (p.initial, p.transition, p.duration.T.contiguous()))

    def total(emission: Tensor) -> Tensor:
        begun = initial.expand(emission.shape[0], -1)
        going = torch.full((emission.shape[0], p.longest, p.states), -torch.inf, dtype=dtype, device=p.device)
        ended = begun
        for seen in emission.unbind(1):
            going = torch.cat([begun.unsqueeze(1), going[:, :-1]], 1) + seen.unsqueeze(1)
            ended = (going + lasting).logsumexp(1)
            begun = (ended.unsqueeze(-1) + transition).logsumexp(1)
        return ended.logsumexp(-1)

    return differentiated(total, p.emission.to(dtype), posteriors)


def torch_struct(p: Problem, posteriors: bool) -> Call:
    """Its semi-Markov model takes (B, N, K, S, S) log-weights; it multiplies (K S) x (K S) matrices in a tree."""
    from torch_struct import SemiMarkovCRF

    rungs = 1 << (p.steps - 1).bit_length()
    fits(4.0 * p.batch * rungs / 2 * (p.longest * p.states) ** 3)  # the first rung of the tree, before it is summed
    # Edges are [step, steps taken, to, from]. Nothing takes no steps; before the first one the state is 0, and the
    # first edge holds the initial weights instead of transitions.
    nothing = torch.full((p.batch, p.steps, 1, p.states, p.states), -torch.inf)
    move = p.transition.T.repeat(p.steps, 1, 1)  # (T, to, from)
    move[0] = -torch.inf
    move[0, :, 0] = p.initial
    ends = torch.arange(p.steps).unsqueeze(-1) + torch.arange(1, p.longest + 1)  # (T, D), some of them past the end
    lasting = p.duration.T.masked_fill((ends > p.steps).unsqueeze(-1), -torch.inf)  # (T, D, S)

    def total(emission: Tensor) -> Tensor:
        summed = torch.nn.functional.pad(emission.cumsum(1), (0, 0, 1, 0))
        seen = summed[:, ends.clamp(max=p.steps)] - summed[:, :-1].unsqueeze(2)
        edges = (seen + lasting).unsqueeze(-1) + move.unsqueeze(1)
        edges = torch.cat([nothing, edges], 2)
        return SemiMarkovCRF(edges).partition

    return differentiated(total, p.emission, posteriors)


def chadhmm(p: Problem) -> Call:
    """Its forward pass, on log-likelihoods that are given; column 0 of its scores is where nothing remains to last."""
    from chadhmm.hsmm import GaussianHSMM
    from chadhmm.utilities.utils import Observations

    model: Any = GaussianHSMM(p.states, 1, p.longest)
    for name, x in (("pi", p.initial), ("A", p.transition), ("D", p.duration)):
        model._params[name].logits = x.double()
    seen = [x.double() for x in p.emission]
    given = Observations(seen, seen, [p.steps] * p.batch)
    return lambda: {"log_partition": model._compute_log_likelihood(given)[:, 0]}


def gaussian_hsmm(p: Problem, posteriors: bool) -> Call:
    """Its passes, on log-likelihoods that are given."""
    from gaussian_hsmm import GaussianHSMM

    arrays = p.arrays()
    model: Any = GaussianHSMM(n_components=p.states, max_duration=p.longest)
    model.startprob_, model.transmat_ = np.exp(arrays["initial"]), np.exp(arrays["transition"])
    model._log_duration_probs_ = np.concatenate([np.full((p.states, 1), -np.inf), arrays["duration"]], 1)

    def one(emission: np.ndarray) -> tuple[float, Any]:
        forward, log_likelihood, summed = model._forward(emission)
        if not posteriors:
            return log_likelihood, None
        backward = model._backward(emission, summed)
        found = model._posterior_statistics(emission, summed, forward, backward, log_likelihood)
        return log_likelihood, found[0]

    def call() -> Results:
        values, shares = zip(*map(one, arrays["emission"]), strict=True)
        return {"log_partition": np.array(values), **({"posterior": np.stack(shares)} if posteriors else {})}

    return call


def pyhsmm(p: Problem, posteriors: bool) -> Call:
    """Its messages: backwards in C++, forwards and posteriors in NumPy."""
    from _pyhsmm import messages

    return messages(**p.arrays(), posteriors=posteriors)


def no_posteriors() -> Call:
    """In place of chadhmm: at the last step they are right, before it they are not."""
    raise Unavailable("its posteriors are not those of its own model: it normalises transitions step by step")


def case(p: Problem, posteriors: bool) -> Case:
    """One size, with or without posteriors."""
    peers: dict[str, Contestant] = {
        "plain torch": Contestant(lambda: ring_buffer(p, torch.float32, posteriors)),
    }
    if p.device == "cpu":
        peers |= {
            "torch-struct": Contestant(lambda: torch_struct(p, posteriors)),
            "pyhsmm": Contestant(lambda: pyhsmm(p, posteriors), dtype="float64"),
            "chadhmm": Contestant(no_posteriors if posteriors else lambda: chadhmm(p), dtype="float64"),
            "gaussian-hsmm": Contestant(lambda: gaussian_hsmm(p, posteriors), dtype="float64"),
        }
    sums, moved = 2 * p.work, p.emission.numel()
    return Case(
        work="HSMM log-partition + posteriors" if posteriors else "HSMM log-partition",
        sizes={"S": p.states, "T": p.steps, "D": p.longest, "B": p.batch},
        contestants={
            "semihmm": Contestant(lambda: ours(p, torch.float32, posteriors), ours=True),
            "semihmm float64": Contestant(lambda: ours(p, torch.float64, posteriors), ours=True, dtype="float64"),
            **peers,
        },
        tolerance={"log_partition": 1e-4, "posterior": 1e-3} if posteriors else {"log_partition": 1e-4},
        target=10,
        floor=Floor(
            flops=sums * (2 if posteriors else 1),
            bytes=4.0 * moved * (2 if posteriors else 1),
            what="a multiply-add for each state and duration, and for each transition, at each step, each way; "
            "no exponentials",
        ),
        reference=lambda: p.truth,
        cost=float(p.work),
        device=p.device,
    )


@dataclass
class Counter:
    """States beside how many segments there were, up to ``most``; each goes on to the next two states."""

    states: int
    most: int
    steps: int
    longest: int
    device: str

    def __post_init__(self) -> None:
        g, pairs = torch.Generator().manual_seed(self.states), self.states * self.most
        state, count = torch.arange(pairs) % self.states, torch.arange(pairs) // self.states
        then = (count + 1).clamp(max=self.most - 1) * self.states
        targets = [then + (state + on) % self.states for on in (1, 2)]
        self.arcs = torch.arange(pairs).repeat(2).to(self.device), torch.cat(targets).to(self.device)
        initial = torch.where(count == 0, torch.randn(pairs, generator=g), -torch.inf)
        shapes = (2 * pairs,), (pairs, self.longest), (1, self.steps, pairs)
        given = (initial, *(torch.randn(shape, generator=g) for shape in shapes))
        self.initial, self.transition, self.duration, self.emission = (x.to(self.device) for x in given)

    def hsmm(self, dense: bool, dtype: torch.dtype = torch.float32) -> semihmm.HSMM:
        """By its arcs, or as a matrix."""
        initial, transition, *seen = (
            x.to(dtype) for x in (self.initial, self.transition, self.duration, self.emission)
        )
        if not dense:
            return semihmm.HSMM(initial, transition, *seen, arcs=self.arcs)
        matrix = torch.full((len(initial), len(initial)), -torch.inf, dtype=dtype, device=self.device)
        matrix[self.arcs] = transition
        return semihmm.HSMM(initial, matrix, *seen)


def counted(p: Counter, question: str) -> Case:
    """One question about a segment counter."""
    exact = p.hsmm(True, torch.float64)

    def asked(hsmm: semihmm.HSMM, **options: Any) -> Results:
        if question == "Viterbi":
            return {"score": semihmm.score(exact, semihmm.viterbi(hsmm, **options).event)}
        found = {"log_partition": semihmm.log_partition(hsmm, **options)}
        return found if question == "log-partition" else {"posterior": semihmm.marginals(hsmm, **options).emission}

    def contestant(dense: bool) -> Contestant:
        hsmm = p.hsmm(dense)
        return Contestant(lambda: lambda: asked(hsmm), ours=not dense)

    pairs = p.states * p.most
    products = p.steps * (len(p.transition) + pairs * p.longest)
    tolerance = {"log-partition": {"log_partition": 1e-4}, "marginals": {"posterior": 1e-3}, "Viterbi": {"score": 1e-5}}
    return Case(
        work=f"HSMM of few arcs: {question}",
        sizes={"S": pairs, "arcs": len(p.transition), "T": p.steps, "D": p.longest},
        contestants={"semihmm": contestant(False), "the dense matrix": contestant(True)},
        tolerance=tolerance[question],
        floor=Floor(
            flops=2.0 * products * (2 if question == "marginals" else 1),
            bytes=4.0 * p.emission.numel() * (2 if question == "marginals" else 1),
            what="a multiply-add for each state and duration, and for each arc, at each step, each way",
        ),
        reference=lambda: asked(exact, backend="torch"),
        cost=float(products),
        device=p.device,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Small ones first; then segment counters."""
    sizes = (
        [(3, 1, 9, 4), (2, 2, 12, 5)] if smoke else [(s, b, 1000, 50) for s, b in ((8, 1), (32, 1), (8, 8), (32, 8))]
    )
    for states, batch, steps, longest in sizes:
        problem = Problem(states, batch, steps, longest, device)
        for posteriors in (False, True):
            yield case(problem, posteriors)
    counter = Counter(3, 4, 12, 5, device) if smoke else Counter(20, 20, 500, 20, device)
    for question in ("log-partition", "marginals", "Viterbi"):
        yield counted(counter, question)


if __name__ == "__main__":
    main(__doc__, "hsmm", cases)
