"""Random, mostly wrong requests straight to the compiled module: whatever comes, an exception at the worst.

Run as a script, in a process of its own, since a mistake here is a crash. Valid requests are taken down while small
structures are asked everything; then a few arguments of one of them are changed, and it is sent again.

    python tests/engine/fuzz_native.py --count 100000 --seed 0
"""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch

import semihmm
from semihmm.engine import tensors
from semihmm.engine.backends import kernels, native
from semihmm.semirings import Log, Max, Sample, TopK
from semihmm.testing import ChainCase, differentiable, paths_of, random_chain, total_of
from semihmm.testing.chains import SEVERAL_STEPS
from semihmm.testing.examples import KINDS, small

NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 8, 64, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, 10**30)
DTYPES = (torch.float32, torch.float64, torch.int64, torch.int32, torch.float16, torch.bool, torch.complex64)
ODD = (float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e308, -1e38, 1e-300)
MOST = 0.3  # seconds that a request may take: it may be right, and long

Request = tuple[str, tuple[Any, ...]]


class Recorder:
    """The module, and what it was asked."""

    def __init__(self, module: Any) -> None:
        self.module, self.requests = module, list[Request]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.module, name)
        if not callable(found):
            return found

        def call(*args: Any) -> Any:
            self.requests.append((name, copied(args)))
            return found(*args)

        return call


def copied(x: Any) -> Any:
    """The same arguments in memory of their own, as they lie."""
    if isinstance(x, torch.Tensor):
        x = x.detach()
        if not x.numel():
            return x.clone()
        span = 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))  # also of what is expanded
        return x.as_strided((span,), (1,)).clone().as_strided(x.shape, x.stride(), 0)
    return type(x)(copied(y) for y in x) if isinstance(x, list | tuple) else x


def questions() -> list[Callable[[Any], Any]]:
    """What a structure is asked."""

    def best_gradient(s: Any) -> None:
        for x in s.potentials.values():
            x.requires_grad_()
        semihmm.viterbi(s).score.sum().backward()

    def partition_gradient(s: Any) -> None:
        for x in s.potentials.values():
            x.requires_grad_()
        semihmm.log_partition(s).sum().backward()

    return [
        semihmm.log_partition,
        semihmm.marginals,
        semihmm.max_marginals,
        semihmm.expected_counts,
        semihmm.viterbi,
        lambda s: semihmm.topk(s, 3),
        lambda s: semihmm.sample(s, (2,)),
        semihmm.entropy,
        semihmm.filtering,
        semihmm.smoothing,
        partition_gradient,
        best_gradient,
    ]


def recorded(seed: int) -> list[Request]:
    """Valid requests of every structure, and of every map that looks several steps back."""
    recorder = Recorder(native())
    kernels.MODULE = tensors.MODULE = recorder  # type: ignore[assignment]
    try:
        for i, kind in enumerate(KINDS):
            for dtype in (torch.float32, torch.float64):
                for batch, ragged in (((2,), True), ((), False)):
                    for ask in questions():
                        structure = small(kind, seed=seed + i, batch=batch, steps=4, ragged=ragged, dtype=dtype)
                        before = len(recorder.requests)
                        try:
                            ask(structure)
                        except (semihmm.errors.SemihmmError, RuntimeError, ValueError, TypeError):
                            del recorder.requests[before:]  # this kind is not asked that
        for kind, dtype in itertools.product(SEVERAL_STEPS, (torch.float32, torch.float64)):
            chain, leaves = differentiable(random_chain(kind, ChainCase(seed=seed, dtype=dtype, ragged=True)))
            for semiring in (Log(), Max(), TopK(2)):
                torch.autograd.grad(total_of(chain, semiring, backend="native").sum(), leaves)
            paths_of(chain, Sample(2), backend="native")
    finally:
        kernels.MODULE = tensors.MODULE = recorder.module
    x = torch.randn(2, 5, 3)
    for dtype in (torch.float32, torch.float64):
        for variance in (None, x.to(dtype)):
            wide = dtype == torch.float64
            args = (x.to(dtype), x.to(dtype), variance, wide, torch.empty(2, 5, 5, dtype=dtype), 2)
            recorder.requests += [("squared_distances", args)] * 4
        means, square = x[0, :2].to(dtype), torch.eye(3, dtype=dtype).expand(2, 3, 3).contiguous()
        args = (x[0].to(dtype), means, square, dtype == torch.float64, torch.empty(5, 2, dtype=dtype), 2)
        recorder.requests += [("gaussian_densities", args)] * 4
        for mixed in (False, True):
            sums, centre = torch.empty(2, 13 if mixed else 7).double(), torch.zeros(3).double()
            args = (x[0].to(dtype), x[0, :, :2].to(dtype), centre, mixed, dtype == torch.float64, sums, 2)
            recorder.requests += [("weighted_moments", args)] * 4
        recorder.requests += [("cholesky_factors", (square, 0.5, torch.zeros_like(square)))] * 4
        whole, at = torch.randn(2, 5, 3, dtype=dtype), torch.zeros(4, 2, dtype=torch.int64)
        for back in (False, True):
            args = (whole, at, at, torch.empty(4, 2, 2, dtype=dtype), dtype == torch.float64, back, 2)
            recorder.requests += [("submatrices", args)] * 4
        series, sizes, pairs = (
            torch.randn(2, 40, 1, dtype=dtype),
            torch.tensor([40, 3]),
            torch.zeros(3, 2, dtype=torch.int64),
        )
        bounds, order = torch.zeros(3, dtype=torch.float64), torch.arange(2).repeat(2, 1)
        for metric, window in itertools.product(range(3), (None, torch.tensor([[0, 4]]).repeat(40, 1))):
            head = (series, sizes, series, sizes, metric, [1.0, 1.0, 2.0], [1, 2, 0], False, window)
            head = (*head, window is None, dtype == torch.float64, 2)
            ends, index = torch.empty(3, 40, dtype=torch.float64), torch.empty(2, 1, dtype=torch.int64)
            recorder.requests += [("warp", (*head, pairs, bounds, torch.empty_like(bounds), ends))] * 2
            least, cost = torch.zeros(2, 2, dtype=torch.float64), torch.empty(2, 1, dtype=torch.float64)
            recorder.requests += [("nearest", (*head, order, least, index, cost))] * 2
            sums = torch.empty(40, 1, dtype=torch.float64), torch.empty(40, dtype=torch.float64)
            head = (series, sizes, series[:1], sizes[:1], *head[4:])
            recorder.requests += [("gather_on", (*head, bounds[:2], torch.empty_like(bounds[:2]), *sums))] * 2
        recorder.requests += [("in_huge_pages", (x.to(dtype),)), ("fresh_zeros", ([2, 3], dtype == torch.float64))]
        recorder.requests += [("usable", ([x.to(dtype), x[0].T.to(dtype)], 1.0, 2))] * 2
        a, b = np.zeros((3, 4), str(dtype)[6:]), np.ones((4, 5), str(dtype)[6:])
        recorder.requests += [("multiply", (a, b)), ("multiply_max", (a, b)), ("transpose", (a,)), ("exp", (a[0],))]
        recorder.requests += [("multiply_both", (a[:2], a[:2, :4] @ b, b)), ("add_outer", (a, a @ b, b))]
    return recorder.requests


class Mutator:
    """Changes arguments, each kind of argument in the ways that might hurt."""

    def __init__(self, rng: random.Random, tensors: list[torch.Tensor]) -> None:
        self.rng, self.tensors = rng, tensors

    def arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """With one to three of them changed."""
        changed = list(args)
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            at = self.rng.randrange(len(changed))
            changed[at] = self.of(changed[at])
        return tuple(changed)

    def of(self, x: Any) -> Any:
        """Another argument instead of ``x``."""
        if self.rng.random() < 0.05:
            return self.rng.choice((None, "text", 1, 2.5, [], (), True, object(), self.rng.choice(self.tensors)))
        if isinstance(x, torch.Tensor):
            return self.tensor(x)
        if isinstance(x, np.ndarray):
            kind = self.rng.choice(("float32", "float64", "int64", "complex64"))
            return self.rng.choice((x[::-1], x.T, x[:1], x[..., :2], x[None], x.astype(kind), np.full_like(x, np.nan)))
        if isinstance(x, bool):
            return not x
        if isinstance(x, int):
            return self.rng.choice((*NUMBERS, x - 1, x + 1, 2 * x, -x))
        if isinstance(x, float):
            return self.rng.choice((*ODD, -x, x / 2))
        if isinstance(x, list | tuple):
            return self.sequence(x)
        return self.rng.choice(self.tensors)

    def sequence(self, x: Any) -> Any:
        """A list with an element less, more, elsewhere or changed."""
        items, how = list(x), self.rng.randrange(8)
        if not items or how == 0:
            return type(x)([*items, self.rng.choice((0, None, *self.tensors[:50]))])
        at = self.rng.randrange(len(items))
        if how == 1:
            del items[at]
        elif how == 2:
            items.insert(at, items[at])
        elif how == 3:
            other = self.rng.randrange(len(items))
            items[at], items[other] = items[other], items[at]
        else:
            items[at] = self.of(items[at])
        return type(x)(items)

    def tensor(self, x: torch.Tensor) -> torch.Tensor:
        """Of another type, size or layout, or with other numbers in it."""
        return self.rng.choice(
            (self.retyped, self.narrowed, self.widened, self.turned, self.repeated, self.other, *[self.filled] * 3)
        )(x)

    def retyped(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(self.rng.choice(DTYPES))

    def narrowed(self, x: torch.Tensor) -> torch.Tensor:
        if not x.ndim:
            return x.expand(self.rng.choice((0, 1, 2)))
        axis = self.rng.randrange(x.ndim)
        if self.rng.random() < 0.3:
            return x[(slice(None),) * axis + (slice(None, None, 2),)]
        return x.narrow(axis, 0, self.rng.randrange(x.shape[axis] + 1))

    def widened(self, x: torch.Tensor) -> torch.Tensor:
        how = self.rng.randrange(3)
        if how == 0 or not x.ndim:
            return x[(None,) * self.rng.choice((1, 2, 8))]
        if how == 1:
            return x.flatten() if self.rng.random() < 0.5 else x[..., 0] if x.shape[-1] else x
        return torch.cat([x, x[:1]]) if x.shape[0] else x

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim < 2:
            return x
        axes = self.rng.sample(range(x.ndim), 2)
        return x.transpose(*axes) if self.rng.random() < 0.5 else x.transpose(*axes).contiguous().transpose(*axes)

    def repeated(self, x: torch.Tensor) -> torch.Tensor:
        if not x.ndim or not x.numel():
            return x
        axis = self.rng.randrange(x.ndim)
        sizes = list(x.shape)
        sizes[axis] = self.rng.choice((x.shape[axis], 1, 2, 7))
        return x.narrow(axis, 0, 1).expand(sizes)

    def other(self, x: torch.Tensor) -> torch.Tensor:
        return x.to("meta") if self.rng.random() < 0.1 else self.rng.choice(self.tensors)

    def filled(self, x: torch.Tensor) -> torch.Tensor:
        """With some numbers changed: to odd ones, or to indices out of range."""
        x = x.clone()
        if not x.numel() or not (x.is_floating_point() or x.dtype == torch.int64):
            return x
        flat = x.view(-1) if x.is_contiguous() else x.flatten()
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            at = self.rng.randrange(flat.numel())
            if x.is_floating_point():
                flat[at] = torch.tensor(self.rng.choice(ODD), dtype=torch.float64).to(x.dtype)
            else:
                flat[at] = self.rng.choice((*NUMBERS[:-1], *range(-3, 12)))
        return flat.view(x.shape)


class TooLong(Exception):
    """A request that is right, and long."""


def stop(number: int, frame: FrameType | None) -> None:
    raise TooLong


def run(count: int, seed: int) -> Counter[str]:
    """Sends so many requests; how each of them ended."""
    rng = random.Random(seed)
    requests = recorded(seed)
    kept = list(tensors_in([args for _, args in rng.sample(requests, min(len(requests), 400))]))
    mutator, ended = Mutator(rng, kept), Counter[str]()
    by_name: dict[str, list[Request]] = {}
    for request in requests:
        by_name.setdefault(request[0], []).append(request)
    signal.signal(signal.SIGALRM, stop)
    for _ in range(count):
        name, args = rng.choice(by_name[rng.choice(list(by_name))])
        args = args if rng.random() < 0.02 else mutator.arguments(args)
        try:
            signal.setitimer(signal.ITIMER_REAL, MOST)
            getattr(native(), name)(*args)
            signal.setitimer(signal.ITIMER_REAL, 0)
            ended["answered"] += 1
        except Exception as error:  # whatever it says; a crash says nothing
            ended[type(error).__name__] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return ended


def tensors_in(x: Any) -> Iterator[torch.Tensor]:
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, list | tuple):
        for y in x:
            yield from tensors_in(y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    ended = run(options.count, options.seed)
    print(f"{options.count} requests: " + ", ".join(f"{name} {n}" for name, n in ended.most_common()))
    assert ended["answered"] and ended["ValueError"] and ended["TypeError"] and ended["IndexError"]


if __name__ == "__main__":
    main()
    sys.exit(0)
