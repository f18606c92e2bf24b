"""tests/engine/test_boundary.py: nothing that the compiled module is sent ends the process.

What may be a crash runs in a process of its own.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import semihmm
from semihmm.engine.backends import backends, native

if native() is None:
    pytest.skip(f"the native backend is {backends()['native'].split('.')[0]}", allow_module_level=True)
from semihmm.engine.backends import kernels

HERE = Path(__file__).parent
LOG, MAX, TOPK, EXPECTATION = kernels.LOG, kernels.MAX, kernels.TOPK, kernels.EXPECTATION
NAMES = (
    "semiring",
    "components",
    "beta",
    "wide",
    "spec",
    "batched",
    "weights",
    "features",
    "lengths",
    "batch",
    "length",
)


def in_a_process(code, *arguments, timeout=600.0):
    found = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *arguments], capture_output=True, text=True, timeout=timeout
    )
    assert found.returncode == 0, f"exit status {found.returncode}\n{found.stdout[-2000:]}\n{found.stderr[-6000:]}"
    return found.stdout


def drawn(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def hmm(**changed):
    """A total of 2 sequences, 3 steps between 4 states, with some arguments changed."""
    weights = [drawn(1, 4), drawn(1, 1, 4, 4), drawn(2, 3, 4)]
    spec = (1, 0, kernels.DENSE, kernels.DIAGONAL)
    given = {"spec": spec, "weights": weights, "batch": 2, "length": 3, "values": torch.empty(2, dtype=torch.float64)}
    return request(**(given | changed))


def request(spec, weights, batch, length, **changed):
    given = {"semiring": LOG, "components": 1, "beta": 1.0, "wide": False, "spec": spec, "batched": True}
    given |= {"weights": weights, "features": [], "lengths": None, "batch": batch, "length": length, "threads": 1}
    given |= {"vectors": torch.empty(0), "offsets": torch.empty(0, dtype=torch.float64), "rows": 0, "segment": 0}
    given |= {"values": torch.empty(batch, dtype=torch.float64)} | changed
    native().total(*given.values())
    return given["values"]


def kept(vectors, offsets, rows=4, segment=3):  # behind the 4 offsets of a sequence, whether its one block is scaled
    numbers = {"vectors": torch.empty(vectors), "offsets": torch.empty(offsets, dtype=torch.float64)}
    return numbers | {"rows": rows, "segment": segment}


START, ARCS, SEEN = drawn(1, 4), drawn(1, 1, 4, 4), drawn(2, 3, 4)
STRIDE = kernels.stride_of((1, 0, kernels.DENSE), 4, 4, 1)
INT64 = {"dtype": torch.int64}
WRONG = {
    "no such semiring": ({"semiring": 4}, IndexError, r"semiring must be from 0 to 3, got 4"),
    "components that Log has not": ({"components": 2}, IndexError, r"components must be from 1 to 1, got 2"),
    "no sequences": ({"batch": 0}, IndexError, r"batch must be from 1"),
    "a negative length": ({"length": -1}, IndexError, r"length must be from 0"),
    "no threads": ({"threads": 0}, IndexError, r"threads must be from 1"),
    "no map": ({"spec": (1, 0)}, ValueError, r"at least one map"),
    "a negative number of factors": ({"spec": (-1, 0, 0)}, IndexError, r"start factors must be from 0 to 3, got -1"),
    "an unknown map": ({"spec": (1, 0, 17)}, IndexError, r"kind of a map must be from 0 to 6, got 17"),
    "a spec that ends too soon": ({"spec": (1, 0, 0, 1, 2)}, ValueError, r"spec ends before the memory of a Sparse"),
    "more weights than the spec reads": ({"spec": (1, 0, 0)}, ValueError, r"spec reads 2 weights, got 3"),
    "fewer weights": (
        {"weights": [START, ARCS]},
        ValueError,
        r"weights end before the weight of Diagonal: there are 2",
    ),
    "another type": ({"wide": True}, TypeError, r"weights\[0\], the factor of the start, must be float64, got float32"),
    "integers": ({"weights": [START, ARCS.long(), SEEN]}, TypeError, r"must be float32, got int64"),
    "None": ({"weights": [START, None, SEEN]}, TypeError, r"must be float32, got None"),
    "too few axes": ({"weights": [START, ARCS[0], SEEN]}, ValueError, r"must have 4 axes"),
    "a batch of another size": ({"weights": [START, ARCS, drawn(3, 3, 4)]}, ValueError, r"must be of 1 sequence or 2"),
    "too few steps": ({"weights": [START, ARCS, SEEN[:, :2]]}, ValueError, r"must be of 1 step or 3, got \(2, 2, 4\)"),
    "a start of other slots": ({"weights": [drawn(1, 5), ARCS, SEEN]}, ValueError, r"start factor must be of 4 slots"),
    "maps that do not fit": ({"weights": [START, ARCS, drawn(2, 3, 2)]}, ValueError, r"Diagonal acts on 2 slots, but"),
    "a step that leads elsewhere": (
        {"weights": [START, drawn(1, 1, 4, 2), drawn(2, 3, 2)]},
        ValueError,
        r"4 slots to 2",
    ),
    "features": ({"features": [START]}, ValueError, r"must be 0 features, got 1"),
    "lengths of another type": (
        {"lengths": torch.tensor([3, 3], dtype=torch.int32)},
        TypeError,
        r"lengths must be int64",
    ),
    "too few lengths": ({"lengths": torch.tensor([3])}, ValueError, r"lengths must be 2 numbers"),
    "a length beyond the last step": ({"lengths": torch.tensor([3, 4])}, IndexError, r"from 0 to 3, got 4"),
    "a negative one": ({"lengths": torch.tensor([-1, 3])}, IndexError, r"from 0 to 3, got -1"),
    "values of another type": ({"values": torch.empty(2)}, TypeError, r"values must be float64"),
    "too few values": ({"values": torch.empty(1, dtype=torch.float64)}, ValueError, r"values must be 2 numbers"),
    "values with gaps": ({"values": torch.empty(4, dtype=torch.float64)[::2]}, ValueError, r"in one piece"),
    "too small vectors": (kept((2, 4, STRIDE - 1), (2, 5)), ValueError, r"vectors must be in one piece"),
    "too few offsets": (kept((2, 4, STRIDE), (2, 4)), ValueError, r"offsets must be in one piece"),
    "too few rows": (kept((2, 4, STRIDE), (2, 5), rows=3), IndexError, r"must be from 4 to 4, got 3"),
    "a negative segment": (kept((2, 4, STRIDE), (2, 5), segment=-1), IndexError, r"segment must be from 1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_before_it_is_read(what):
    changed, error, message = WRONG[what]
    with pytest.raises(error, match=message):
        hmm(**changed)
    assert hmm().isfinite().all()
    assert hmm(**kept((2, 4, STRIDE), (2, 5))).isfinite().all()


def sparse(source, memory=1, weight=None):
    weight = drawn(1, 1, 3, 2) if weight is None else weight
    return request((1, 0, kernels.SPARSE, memory), [drawn(1, 3), weight, source], len(source), 4)


def test_all_sequences_share_the_sources_of_a_sparse():
    source = torch.tensor([[0, 1], [1, 2], [2, -1]]).expand(2, 1, 3, 2)
    assert sparse(source).isfinite().all()
    with pytest.raises(ValueError, match=r"source of Sparse, must be the same for all sequences, got \(2, 1, 3, 2\)"):
        sparse(source.contiguous())


def segmental(inner, transition, *, whole=0, states=3, duration=None):
    """A total of 2 sequences, 4 steps, segments of 1 or 2 of them; ``inner``: the words of the transition."""
    duration = drawn(1, 1, 2, states) if duration is None else duration
    lasting = [duration, drawn(2, 5, states), *([drawn(2, 4, 2, states)] if whole else [])]
    spec = (1, 0, kernels.SEGMENTAL, whole, *inner)
    return request(spec, [drawn(1, 2 * states), *transition, *lasting], 2, 4)


def test_the_transition_of_a_segmental_is_looked_at():
    dense, weight = (kernels.DENSE,), drawn(1, 1, 3, 2)
    source = torch.tensor([[0, 1], [1, 2], [2, -1]])[None, None]
    for whole in (0, 1):
        assert segmental(dense, [drawn(1, 1, 3, 3)], whole=whole).isfinite().all()
        assert segmental((kernels.SPARSE, 1), [weight, source], whole=whole).isfinite().all()
        over_time = source.expand(1, 4, 3, 2).contiguous()
        assert segmental((kernels.SPARSE, 1), [drawn(2, 4, 3, 2), over_time], whole=whole).isfinite().all()
    for inner, transition, error, message in (
        ((), [drawn(1, 1, 3, 3)], ValueError, r"spec ends before the transition of a Segmental"),
        ((kernels.SPARSE,), [weight, source], ValueError, r"spec ends before the memory of a Sparse"),
        ((kernels.SPARSE, 0), [weight, source], IndexError, r"memory must be from 1"),
        ((kernels.SPARSE, 2), [weight, source], ValueError, r"its transition must lead from 3 states to as many, with"),
        ((kernels.DIAGONAL,), [drawn(1, 1, 3)], ValueError, r"must be a Dense or a Sparse, got a map of kind 1"),
        ((kernels.SEGMENTAL, 0, *dense), [drawn(1, 1, 3, 3)], ValueError, r"must be a Dense or a Sparse"),
        ((17,), [drawn(1, 1, 3, 3)], ValueError, r"must be a Dense or a Sparse, got a map of kind 17"),
        (dense, [drawn(1, 1, 2, 3)], ValueError, r"its transition must lead from 3 states to as many"),
        (dense, [drawn(1, 1, 4, 4)], ValueError, r"duration and emission must be of 4 states"),
        (dense, [drawn(1, 3, 3, 3)], ValueError, r"must be of 1 step or 4"),
        ((kernels.SPARSE, 1), [weight, source + 1], IndexError, r"source of Sparse, must be from -1 to 2, got 3"),
        ((kernels.SPARSE, 1), [weight, source[..., :1]], ValueError, r"must have the event axes of the weights"),
        ((kernels.SPARSE, 1), [weight, source.int()], TypeError, r"must be int64"),
        ((kernels.SPARSE, 1), [weight, source.repeat(2, 1, 1, 1)], ValueError, r"the same for all sequences"),
        ((kernels.SPARSE, 1), [weight], TypeError, r"source of Sparse, must be int64"),
    ):
        with pytest.raises(error, match=message):
            segmental(inner, transition)


def test_arc_indices_of_a_segment_are_looked_at():
    source = torch.tensor([[0, 1], [1, 2], [2, -1]])[None, None]
    weights = [drawn(1, 6), drawn(1, 1, 3, 2), source, drawn(1, 1, 2, 3), drawn(1, 3, 3)]
    out = [None, torch.zeros(1, 1, 3, 2), None, torch.zeros(1, 1, 2, 3), None]
    head = MAX, 1, 1.0, False, (1, 0, kernels.SEGMENTAL, 0, kernels.SPARSE, 1), True, weights, [], None, 1, 2, 1
    slots, marks = torch.tensor([3, 4, 1]), torch.tensor([1, 0, -1, 1])
    share = torch.ones(1, dtype=torch.float64)
    native().gradient_of_paths(*head, 1, slots, marks, share, out)
    assert out[1].flatten().nonzero().flatten().tolist() == [1]
    assert out[3].flatten().nonzero().flatten().tolist() == [0, 1]
    for wrong, message in (
        ([6, 0, -1, 1], r"from -1 to 5, got 6"),
        ([-2, 0, -1, 1], r"from -1 to 5, got -2"),
        ([1, 6, -1, 1], r"from 0 to 5, got 6"),
        ([1, -1, -1, 1], r"from 0 to 5, got -1"),
    ):
        with pytest.raises(IndexError, match=message):
            native().gradient_of_paths(*head, 1, slots, torch.tensor(wrong), share, out)


def grid(first=1, **changed):
    """A grid of 2 rows and 3 columns, with paths down and to the right."""
    tables = {"row": torch.arange(2), "source": torch.tensor([[0, -1], [1, 0]]), "plane": torch.zeros(2, 2, **INT64)}
    tables |= {"factor": torch.ones(2, 2, dtype=torch.float64), "low": torch.tensor([[1, 1], [1, 0]])}
    tables |= {"high": torch.full((2, 2), 3)} | changed
    return request(
        (1, 1, kernels.GRID, 1, first), [drawn(1, 2), drawn(1, 2), drawn(1, 1, 2, 3), *tables.values()], 1, 3
    )


def test_indices_point_at_something():
    sources = torch.tensor([[0, -1], [0, 1], [1, 2]])[None, None]
    assert sparse(sources).isfinite().all() and sparse(sources + 3 * (sources >= 0), 2).isfinite().any()
    for bad in (3, -2, 2**62):
        wrong = sources.clone()
        wrong[0, 0, 1, 1] = bad
        with pytest.raises(IndexError, match=rf"source of Sparse, must be from -1 to 2, got {bad}"):
            sparse(wrong)
    with pytest.raises(IndexError, match=r"from -1 to 5, got 6"):
        sparse(sources + 6 * (sources == 0), 2)
    with pytest.raises(TypeError, match=r"must be int64"):
        sparse(sources.int())
    with pytest.raises(ValueError, match=r"must have the event axes of the weights"):
        sparse(sources[..., :1])
    tied = [drawn(1, 3), drawn(1, 4, 2), torch.tensor([[[0, 1, 1]]])]
    assert request((1, 0, kernels.TIED), tied, 1, 4).isfinite().all()
    with pytest.raises(IndexError, match=r"index of Diagonal, must be from 0 to 1, got 2"):
        request((1, 0, kernels.TIED), [*tied[:2], torch.tensor([[[0, 1, 2]]])], 1, 4)
    behind = [drawn(2, 3), drawn(1, 1, 3, 3), drawn(2, 4, 2), torch.tensor([[[0, 1, 1]], [[1, 0, 0]]])]
    spec = (1, 0, kernels.DENSE, kernels.TIED)
    assert request(spec, behind, 2, 4).isfinite().all()
    for bad in (2, -1, 2**62):
        behind[-1][1, 0, 2] = bad
        with pytest.raises(IndexError, match=rf"index of Diagonal, must be from 0 to 1, got {bad}"):
            request(spec, behind, 2, 4)


def test_the_tables_of_a_grid_stay_in_its_planes():
    assert grid().isfinite().all()
    one = torch.tensor([[0, 0], [0, 1]])
    for changed, error, message in (
        ({"row": torch.tensor([0, 2])}, IndexError, r"a row must be from 0 to 1, got 2"),
        ({"row": torch.arange(2).int()}, TypeError, r"the row of Grid, must be int64"),
        ({"source": torch.tensor([[2, -1], [1, 0]])}, IndexError, r"a source must be from -1 to 1, got 2"),
        ({"plane": one}, IndexError, r"a plane must be from -1 to 0, got 1"),
        ({"high": torch.full((2, 2), 4)}, ValueError, r"in columns 1 to 4, but planes have 3"),
        ({"low": -one}, ValueError, r"in columns -1 to 3, but planes have 3"),
        ({"low": one.T.contiguous().T}, ValueError, r"in one piece"),
        ({"high": torch.full((2, 2), 2**62)}, IndexError, r"behind the last must be from"),
        ({"factor": torch.ones(2, 2)}, TypeError, r"must be float64"),
        ({"plane": torch.zeros(1, 2, **INT64)}, ValueError, r"must be \(2, 2\) in one piece"),
    ):
        with pytest.raises(error, match=message):
            grid(**changed)
    for first in (-(2**63), 2**62):
        with pytest.raises(IndexError, match=r"first anti-diagonal must be from"):
            grid(first=first)
    # Far more steps than the grid has anti-diagonals: what lies behind its last row is not read.
    tables = (
        torch.arange(2),
        torch.tensor([[0], [0]]),
        torch.zeros(2, 1, **INT64),
        torch.ones(2, 1, dtype=torch.float64),
    )
    columns = torch.zeros(2, 1, **INT64), torch.full((2, 1), 3)
    request((1, 0, kernels.GRID, 1, 0), [drawn(1, 2), drawn(1, 1, 2, 3), *tables, *columns], 1, 300)


def test_arc_indices_and_slots_of_paths_are_looked_at():
    weights, out = [START, ARCS], [None, torch.zeros(1, 1, 4, 4)]
    head = MAX, 1, 1.0, False, (1, 0, kernels.DENSE), True, weights, [], None, 1, 2, 1
    slots, marks, share = torch.tensor([0, 1, 2]), torch.tensor([1, 6]), torch.ones(1, dtype=torch.float64)
    native().gradient_of_paths(*head, 1, slots, marks, share, out)
    assert out[1].flatten().nonzero().flatten().tolist() == [1, 6]
    for which, wrong, message in (
        (slots, [4, 1, 2], r"begins or ends must be from 0 to 3, got 4"),
        (slots, [0, 1, -1], r"begins or ends must be from 0 to 3, got -1"),
        (marks, [1, 16], r"an arc index of a path must be from 0 to 15, got 16"),
        (marks, [-1, 6], r"an arc index of a path must be from 0 to 15, got -1"),
    ):
        given = (torch.tensor(wrong), marks) if which is slots else (slots, torch.tensor(wrong))
        with pytest.raises(IndexError, match=message):
            native().gradient_of_paths(*head, 1, *given, share, out)
    for bad in (torch.zeros(1, 1, 4, 3), torch.zeros(1, 1, 4, 4).mT.contiguous().mT[..., :3], torch.zeros(4, 4)):
        with pytest.raises(ValueError, match=r"out\[1\] must"):
            native().gradient_of_paths(*head, 1, slots, marks, share, [None, bad])
    with pytest.raises(ValueError, match=r"event axes in one piece"):
        native().gradient_of_paths(*head, 1, slots, marks, share, [None, torch.zeros(1, 1, 4, 4).mT])


def test_what_works_on_tensors_alone_looks_at_them():
    x, out = drawn(2, 5, 3), torch.empty(2, 5, 5)
    for args, error, message in (
        ((x, x[..., :2].contiguous(), None, False, out, 1), ValueError, r"y must be \(2, 5, 3\) in one piece"),
        ((x, drawn(3, 5, 3), None, False, out, 1), ValueError, r"y must be of 1 sequence or 2"),
        ((x.mT.contiguous().mT, x, None, False, out, 1), ValueError, r"x must be \(2, 5, 3\) in one piece"),
        ((x, x, x[:1], False, out, 1), ValueError, r"log_variance must be \(2, 5, 3\)"),
        ((x, x, None, True, out, 1), TypeError, r"x must be float64"),
        ((x, x, None, False, out[:1], 1), ValueError, r"out must be 50 numbers"),
        ((x, x, None, False, out, 0), ValueError, r"threads must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            native().squared_distances(*args)
    x, mean, factor, out = drawn(7, 3), drawn(2, 3), drawn(2, 3, 3), torch.empty(7, 2)
    for args, error, message in (
        ((x[0], mean, factor, False, out, 1), ValueError, r"x and mean must be \(items, features\)"),
        ((x, mean[:, :2].contiguous(), factor, False, out, 1), ValueError, r"mean must be \(2, 3\)"),
        ((x.T.contiguous().T, mean, factor, False, out, 1), ValueError, r"x must be \(7, 3\) in one piece"),
        ((x, mean, factor[0], False, out, 1), ValueError, r"factor must be \(2, 3, 3\)"),
        ((x, mean, factor, True, out, 1), TypeError, r"x must be float64"),
        ((x, mean, factor, False, out[:6], 1), ValueError, r"out must be \(7, 2\)"),
        ((x, mean, factor, False, out.double(), 1), TypeError, r"out must be float32"),
        ((x, mean, factor, False, out, 0), ValueError, r"threads must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            native().gaussian_densities(*args)
    share, centre, sums = drawn(7, 2), torch.zeros(3).double(), torch.empty(2, 13).double()
    for args, error, message in (
        ((x, share[0], centre, True, False, sums, 1), ValueError, r"share \(items, groups\)"),
        ((x, share[:6], centre, True, False, sums, 1), ValueError, r"share must be \(7, 2\)"),
        ((x, share.double(), centre, True, False, sums, 1), TypeError, r"share must be float32"),
        ((x, share, centre[:2], True, False, sums, 1), ValueError, r"centre must be \(3\)"),
        ((x, share, centre.float(), True, False, sums, 1), TypeError, r"centre must be float64"),
        ((x, share, centre, False, False, sums, 1), ValueError, r"out must be \(2, 7\)"),
        ((x, share, centre, True, False, sums.float(), 1), TypeError, r"out must be float64"),
        ((x, share, centre, True, False, sums, 0), ValueError, r"threads must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            native().weighted_moments(*args)
    for args, error, message in (
        (
            (factor[0].double(), 0.0, factor[0].double()),
            ValueError,
            r"matrices must be \(matrices, features, features\)",
        ),
        ((factor[:, :2].double(), 0.0, factor.double()), ValueError, r"matrices must be \(2, 2, 2\)"),
        ((factor, 0.0, factor), TypeError, r"matrices must be float64"),
        ((factor.double(), 0.0, factor[:1].double()), ValueError, r"out must be \(2, 3, 3\)"),
    ):
        with pytest.raises(error, match=message):
            native().cholesky_factors(*args)
    x = drawn(2, 5, 3)
    at, parts = torch.zeros(4, 2, dtype=torch.int64), torch.empty(4, 2, 2)
    for args, error, message in (
        ((x[0], at, at, parts, False, False, 1), ValueError, r"three axes"),
        ((drawn(3, 5, 3), at, at, parts, False, False, 1), ValueError, r"as many for each of 3 matrices, got 4"),
        ((x.mT, at, at, parts, False, False, 1), ValueError, r"whole must be \(2, 3, 5\) in one piece"),
        ((x, at[:3], at, parts, False, False, 1), ValueError, r"rows must be \(4, 2\)"),
        ((x, at, at.int(), parts, False, False, 1), TypeError, r"columns must be int64"),
        ((x, at, at, parts, True, False, 1), TypeError, r"whole must be float64"),
        ((x, at + 5, at, parts, False, False, 1), ValueError, r"rows and columns must be those of whole"),
        ((x, at, at - 1, parts, False, True, 1), ValueError, r"rows and columns must be those of whole"),
        ((x, at, at, parts, False, False, 0), ValueError, r"threads must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            native().submatrices(*args)
    sizes, pairs, cost = torch.tensor([5, 2]), torch.zeros(4, 2, dtype=torch.int64), torch.empty(4, dtype=torch.float64)
    whole = {"x": x, "x_length": sizes, "y": x, "y_length": sizes, "metric": 0, "factors": [1.0] * 3}
    whole |= {"ranks": [0, 1, 2], "open_begin": False, "window": None, "itakura": False, "wide": False, "threads": 1}
    for wrong, error, message in (
        ({"x": x[0]}, ValueError, r"three axes"),
        ({"y": x.mT}, ValueError, r"one piece"),
        ({"y": drawn(2, 5, 4)}, ValueError, r"must be \(2, 5, 3\)"),
        ({"wide": True}, TypeError, r"float64"),
        ({"x_length": sizes[:1]}, ValueError, r"lengths must be \(2\)"),
        ({"y_length": sizes + 1}, ValueError, r"from 1 to the number of items"),
        ({"x_length": sizes - 2}, ValueError, r"from 1 to the number of items"),
        ({"metric": 3}, ValueError, r"no such metric"),
        ({"factors": [1.0, 0.0, 1.0]}, ValueError, r"three numbers above 0"),
        ({"factors": [1.0] * 2}, ValueError, r"three numbers above 0"),
        ({"ranks": [0, 1, 1]}, ValueError, r"ranks must be 0, 1 and 2"),
        ({"ranks": [0, 1]}, ValueError, r"ranks must be 0, 1 and 2"),
        ({"window": torch.zeros(4, 2).long()}, ValueError, r"window must be \(5, 2\)"),
        ({"window": torch.full((5, 2), -1)}, ValueError, r"window must hold columns"),
        ({"threads": 0}, ValueError, r"threads must be at least 1"),
        ({"pairs": pairs + 2}, ValueError, r"pairs must be numbers of series"),
        ({"pairs": pairs - 1}, ValueError, r"pairs must be numbers of series"),
        ({"pairs": pairs[:, :1]}, ValueError, r"pairs must be \(4, 2\)"),
        ({"most": cost[:3]}, ValueError, r"most must"),
        ({"out": cost.float()}, TypeError, r"out must be float64"),
        ({"ends": torch.empty(4, 4).double()}, ValueError, r"ends must"),
    ):
        with pytest.raises(error, match=message):
            native().warp(**whole | {"pairs": pairs, "most": None, "out": cost, "ends": None} | wrong)
    order, index = torch.zeros(2, 2, dtype=torch.int64), torch.empty(2, 1, dtype=torch.int64)
    given = {"order": order, "least": cost.reshape(2, 2), "index": index, "cost": cost[:2]}
    for wrong, error, message in (
        ({"order": order + 2}, ValueError, r"order must be numbers of series"),
        ({"order": order[:1]}, ValueError, r"order must"),
        ({"least": cost[:3]}, ValueError, r"least must"),
        ({"index": index[:, :0]}, ValueError, r"index must be \(count, k\)"),
        ({"cost": cost[:1]}, ValueError, r"cost must"),
    ):
        with pytest.raises(error, match=message):
            native().nearest(**whole | given | wrong)
    one = {"y": x[:1], "y_length": sizes[:1], "weight": cost[:2], "cost": cost[:2], "sum": torch.empty(5, 3).double()}
    one |= {"mass": torch.empty(5).double()}
    for wrong, error, message in (
        ({"y": x, "y_length": sizes}, ValueError, r"y one of full length"),
        ({"y_length": sizes[1:]}, ValueError, r"y one of full length"),
        ({"x": x[:0], "x_length": sizes[:0]}, ValueError, r"x must hold series"),
        ({"weight": cost[:1]}, ValueError, r"weight must"),
        ({"cost": cost[:2].float()}, TypeError, r"cost must be float64"),
        ({"sum": torch.empty(5, 2).double()}, ValueError, r"sum must"),
        ({"mass": torch.empty(4).double()}, ValueError, r"mass must"),
    ):
        with pytest.raises(error, match=message):
            native().gather_on(**whole | one | wrong)
    with pytest.raises(ValueError, match=r"one piece"):
        native().in_huge_pages(x.mT)
    for shape in ([2**40, 2**40], [2**63], [2] * 9):
        with pytest.raises((ValueError, MemoryError)):
            native().fresh_zeros(shape, False)
    with pytest.raises(ValueError, match=r"threads"):
        native().usable([x], 1.0, 0)


def test_a_few_thousand_wrong_requests_are_answered_or_refused():
    out = in_a_process((HERE / "fuzz_native.py").read_text(), "--count", "3000", "--seed", "1")
    assert "requests: " in out


ODD = """
import sys
import torch
import semihmm
from semihmm.testing.examples import KINDS, small

ask = [
    lambda s: semihmm.viterbi(s, validate=False),
    lambda s: semihmm.topk(s, 3, validate=False),
    lambda s: semihmm.sample(s, (2,), validate=False),
    lambda s: semihmm.marginals(s, validate=False),
    lambda s: semihmm.expected_counts(s, validate=False),
    lambda s: semihmm.log_partition(s, validate=False).sum().backward(),
    lambda s: semihmm.viterbi(s, validate=False).score.sum().backward(),
]
odd = torch.tensor([torch.nan, torch.inf, -torch.inf])
g = torch.Generator().manual_seed(int(sys.argv[1]))
asked = answered = 0
for seed in range(int(sys.argv[2])):
    for kind in KINDS:
        for dtype in (torch.float32, torch.float64):
            for question in ask:
                s = small(kind, (2,), (4, 9, 40)[seed % 3], ragged=seed % 2 == 0, dtype=dtype, seed=seed)
                for x in s.potentials.values():
                    bad = torch.rand(x.shape, generator=g) < 0.3
                    x[bad] = odd[torch.randint(3, (int(bad.sum()),), generator=g)].to(dtype)
                    x.requires_grad_()
                asked += 1
                try:
                    question(s)
                    answered += 1
                except (semihmm.errors.SemihmmError, RuntimeError):  # such as: does not require grad
                    pass
assert answered > asked / 2, (answered, asked)
"""


def test_numbers_that_are_no_log_weights_cost_the_answer_and_not_the_process():
    in_a_process(ODD, "0", "6")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_nan_keeps_a_path_in_its_grid(dtype):
    for seed in range(20):
        g = torch.Generator().manual_seed(seed)
        cost = torch.rand(2, 9, 40, generator=g).to(dtype)
        cost[torch.rand(cost.shape, generator=g) < 0.2] = torch.nan
        for begin in (False, True):
            dtw = semihmm.DTW(cost, "symmetric1", open_begin=begin, open_end=True)
            path = semihmm.viterbi(dtw, validate=False)
            assert path.event.max() < 40


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_that_overflows_is_an_error(dtype):
    for steps in ("symmetric1", "symmetric2"):
        dtw = semihmm.DTW(torch.full((40, 40), 0.9 * -torch.finfo(dtype).max, dtype=dtype), steps)
        forbidden = dtw.cost.clone()
        forbidden[1::7, 1::3] = torch.inf  # not where all paths begin
        for structure in (dtw, semihmm.DTW(forbidden, steps)):
            for question in (semihmm.log_partition, semihmm.viterbi, semihmm.marginals):
                with pytest.raises(semihmm.errors.DataError, match="are finite, but not their sum"):
                    question(structure)


def test_draws_along_many_maps_have_numbers_enough():
    dense = semihmm.engine.Dense(torch.zeros(1, 3, 3))
    for maps in (dense @ dense @ dense, dense @ dense @ dense @ dense):
        chain = semihmm.engine.Chain((torch.zeros(3),), maps, length=20)
        log = semihmm.semirings.Sample(50)
        plan = semihmm.engine.plan(chain, log)
        path = semihmm.engine.decode(plan, log, chain, torch.Generator().manual_seed(0))
        assert path.valid.all() and path.slots.min() >= 0
        assert len(path.slots.flatten().unique()) == 3


FORK = """
import multiprocessing
import torch
import semihmm
from semihmm.engine import tensors
from semihmm.engine.backends import kernels, native
from semihmm.inference import program

kernels.THREADS_FROM = tensors.THREADS_FROM = program.THREADS_FROM = 0
torch.set_num_threads(2)

def total(_):
    # PyTorch's own operations too, of a size for which it uses all its threads.
    return [float(semihmm.log_partition(hmm).sum() + torch.zeros(100_000).exp().sum()) for _ in range(5)]

g = torch.Generator().manual_seed(0)
hmm = semihmm.HMM(*(torch.randn(s, generator=g) for s in ((4,), (4, 4), (8, 30, 4))))
here = total(0)
assert native().have_helped()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(total, range(4)).get(timeout=120) == [here] * 4
assert total(0) == here
"""


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no process is forked here")
def test_a_forked_child_works_after_its_parent_used_two_threads():
    in_a_process(FORK, timeout=300)


LONG = """
import signal
import sys
import torch
import semihmm
from semihmm.engine import Arcs, Chain, Dense
from semihmm.engine.backends import compiled, kernels
from semihmm.semirings import Log

g = torch.Generator().manual_seed(0)

def dense(states, *batch):
    arcs = torch.randn((*(1,) * len(batch), 1, states, states), generator=g)
    return Chain((torch.randn((*batch, states), generator=g),), Dense(arcs), length=1 << 34)  # hours

def sparse(states):
    steps = Arcs(*torch.randint(states, (2, 400), generator=g), torch.randn(1, 400, generator=g), states)
    return Chain((torch.zeros(states),), steps, length=1 << 34)

chain = {"few states": dense(4), "many states": dense(300), "a batch": dense(40, 32), "arcs": sparse(50)}[sys.argv[1]]
torch.set_num_threads(int(sys.argv[2]))
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever is started in the background ignores it
small = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(5, 3))
semihmm.log_partition(small)
print("ready", flush=True)
try:
    kernels.total(compiled.tensors_of(chain), [], None, compiled.call_for(Log(), chain), 0)
except KeyboardInterrupt:
    print("stopped", flush=True)
assert abs(float(semihmm.log_partition(small)) - 5 * float(torch.tensor(3.0).log())) < 1e-5
print("usable", flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["few states", "many states", "a batch", "arcs"])
def test_ctrl_c_ends_a_long_call(what, threads):
    with subprocess.Popen([sys.executable, "-c", LONG, what, str(threads)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        end = threading.Timer(120, child.kill)
        end.start()
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert child.stdout.readline() == "stopped\n"
        assert time.monotonic() - sent < 2.0  # 0.2 where no other process wants the cores
        assert child.stdout.read() == "usable\n"
        assert child.wait(60) == 0
        end.cancel()


@pytest.mark.parametrize("threads", [1, 2, 3, 9])
@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_each_part_is_done_once_by_one_of_the_workers(threads, count):
    for _ in range(20):
        times, workers = native().parts(500, count, threads, -1)
        assert (times == 1).all()
        assert workers.min() >= 0 and workers.max() < threads


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_what_a_part_throws_reaches_the_caller(threads):
    for bad in range(20):
        with pytest.raises(ValueError, match="this one is bad"):
            native().parts(500, 20, threads, bad)
        assert (native().parts(500, 20, threads, 20)[0] == 1).all()


def test_several_calls_share_the_helpers():
    def call(_):
        return all((native().parts(500, 40, 3, -1)[0] == 1).all() for _ in range(200))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(16)))
