"""Every question about one structure under every transform of torch.func, by one backend: what comes of each, as JSON.

``python tests/transforms.py KIND BACKEND`` prints a line for each case before it is tried, so that whoever reads them
knows in which one the process died, and a line with what came of it: ``same`` as without the transform, ``refused``
(a `SemihmmError`), or what went wrong.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

import semihmm
from semihmm.errors import SemihmmError, StructureError
from semihmm.semirings import Max, SmoothMax
from semihmm.testing.examples import small

Function = Callable[[Tensor], Tensor]


def _sampled(structure, **options):
    torch.manual_seed(0)
    return semihmm.sample(structure, (2,), **options).score


QUESTIONS = {
    "log_partition": semihmm.log_partition,
    "total in SmoothMax": lambda s, **options: semihmm.total(s, SmoothMax(0.5), **options),
    "total in Max": lambda s, **options: semihmm.total(s, Max(), **options),
    "entropy": semihmm.entropy,
    "filtering": semihmm.filtering,
    "smoothing": semihmm.smoothing,
    "marginals": lambda s, **options: getattr(semihmm.marginals(s, **options), s.observed),
    "expected_counts": lambda s, **options: semihmm.inference.expected_counts(s, (s.observed,), **options)[1][
        s.observed
    ],
    "max_marginals": lambda s, **options: getattr(semihmm.max_marginals(s, **options), s.observed),
    "viterbi score": lambda s, **options: semihmm.viterbi(s, **options).score,
    "topk score": lambda s, **options: semihmm.topk(s, 2, **options).score,
    "sample score": _sampled,
}


def weighed(function: Function) -> Function:
    """One number from all finite ones that a function gives."""

    def number(x: Tensor) -> Tensor:
        found = function(x)
        weight = torch.arange(1.0, found.numel() + 1, dtype=found.dtype).cos().reshape(found.shape)
        return torch.where(found.isfinite(), found * weight, 0.0).sum()

    return number


def vmap(function: Function) -> Callable[..., Tensor]:
    return partial(torch.func.vmap, randomness="same")(function)


def looped(function: Function, x: Tensor, axes: int = 1) -> Tensor:
    return function(x) if not axes else torch.stack([looped(function, item, axes - 1) for item in x])


def several(x: Tensor, *shape: int) -> Tensor:
    """Some variations of a tensor."""
    noise = torch.randn(*shape, *x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    return x + noise / 4


def gradient(function: Function, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    value = function(x)
    return torch.autograd.grad(value, x, materialize_grads=True)[0] if value.requires_grad else torch.zeros_like(x)


def transforms(of: Function, alone: Function, x: Tensor, item: Tensor) -> Iterator[tuple[str, Callable[[], tuple]]]:
    """Each transform and what it should be equal to, of a function of a batch and of one of a single sequence."""
    one, three, four = several(x, 1), several(x, 3), several(x, 2, 2)
    yield "vmap", lambda: (vmap(of)(three), looped(of, three))
    yield "vmap of one", lambda: (vmap(of)(one), looped(of, one))
    yield "nested vmap", lambda: (vmap(vmap(of))(four), looped(of, four, 2))
    items = several(item, 2, 3)
    yield "vmap over all batch axes", lambda: (vmap(vmap(alone))(items), looped(alone, items, 2))
    for axis in range(1, x.ndim + 1):
        moved = three.movedim(0, axis)
        by_axis = torch.func.vmap(of, in_dims=axis, randomness="same")
        yield f"vmap in axis {axis}", lambda by_axis=by_axis, moved=moved: (by_axis(moved), looped(of, three))
    number, number_alone = weighed(of), weighed(alone)
    direction = several(torch.zeros_like(x))
    yield "grad", lambda: (torch.func.grad(number)(x), gradient(number, x))
    yield "vmap of grad", lambda: (vmap(torch.func.grad(number))(three), looped(partial(gradient, number), three))
    yield "jvp", lambda: (torch.func.jvp(number, (x,), (direction,))[1], (gradient(number, x) * direction).sum())
    yield "jacrev", lambda: (torch.func.jacrev(of)(x), torch.autograd.functional.jacobian(of, x))
    yield "hessian", lambda: (torch.func.hessian(number_alone)(item), curvature(number_alone, item))


def curvature(function: Function, x: Tensor) -> Tensor:
    """The Hessian, by central differences of the gradient."""
    step = 1e-5
    ways = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape) * step
    rows = [(gradient(function, x + way) - gradient(function, x - way)) / (2 * step) for way in ways]
    return torch.stack(rows).reshape(*x.shape, *x.shape)


def answered(function: Function, x: Tensor) -> bool:
    """Whether the structure can be asked at all: no DTW can be filtered, in a transform or not."""
    try:
        function(x)
    except StructureError:
        return False
    return True


def outcome(case: Callable[[], tuple]) -> str:
    try:
        found, expected = case()
    except SemihmmError as error:
        return f"refused: {error}"
    except Exception as error:  # whatever PyTorch says
        return f"{type(error).__name__}: {error}"
    if found.shape != expected.shape:
        return f"another shape: {tuple(found.shape)}, not {tuple(expected.shape)}"
    close = torch.allclose(found, expected, rtol=1e-4, atol=1e-6, equal_nan=False)
    return "same" if close else f"other numbers: {float((found - expected).abs().nan_to_num(0.0).max())} off"


def main(kind: str, backend: str, only: str = "") -> None:
    torch.set_num_threads(1)
    structure, single = small(kind, (2,), 3, seed=3), small(kind, (), 3, seed=4)
    if kind in ("HSMM",):  # what all sequences share cannot vary with one of them
        structure, single = structure.expanded(), single.expanded()
    for name, question in QUESTIONS.items():

        def of(x, question=question):
            return question(structure.replace(**{structure.observed: x}), backend=backend)

        def alone(x, question=question):
            return question(single.replace(**{structure.observed: x}), backend=backend)

        x, item = (several(s.potentials[s.observed]) for s in (structure, single))  # no ties
        if kind in ("DTW", "EditDistance"):
            x, item = x + 3, item + 3
        if not answered(of, x):
            continue
        for transform, case in transforms(of, alone, x, item):
            if only and only not in f"{name} | {transform}":
                continue
            print(json.dumps([name, transform]), flush=True)
            print(json.dumps([name, transform, outcome(case)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
