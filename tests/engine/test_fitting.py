"""What does not fit together is refused where it enters, by name, and reaches no kernel."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.engine import Arcs, Banded, Chain, Compose, Dense, Diagonal, Grid, Segmental, Sparse
from semihmm.engine.backends import native
from semihmm.errors import ShapeError
from semihmm.semirings import Log

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
z = torch.zeros


def index(*values, dtype=torch.int64):
    return torch.tensor(values, dtype=dtype)


def grid(**changes):
    whole = Grid.of(((1, 0), (0, 1)), z(2, 3, 4))
    return replace(whole, **changes)


WRONG = {
    "a product of other sizes": (
        lambda: Dense(z(1, 64, 64)) @ Diagonal(z(5, 2)),
        "as many slots, got Dense with 64 and",
    ),
    "three maps of other sizes": (lambda: Compose(Dense(z(1, 2, 3)) @ Dense(z(1, 3, 4)), Diagonal(z(5, 3))), "with 4"),
    "a start that is no tuple": (
        lambda: Chain(z(2), Diagonal(z(5, 2))),
        r"Chain: start and end are tuples .* Pass \(x,\)",
    ),
    "an end that is no tuple": (lambda: Chain((z(2),), Diagonal(z(5, 2)), z(2)), "Chain: start and end are tuples"),
    "a matrix without time": (
        lambda: Dense(z(2, 2)),
        r"Dense: weight must be a floating tensor \(..., T or 1, S, R\), .* it is weight.unsqueeze\(-3\)",
    ),
    "a vector without time": (lambda: Diagonal(z(2)), r"\(2,\) of torch.float32. .* it is weight.unsqueeze\(-2\)"),
    "a list of maps": (
        lambda: Chain((z(2),), [Dense(z(1, 2, 2))]),
        r"must be one map, .* got list.*first @ then",
    ),
    "a tensor for a map": (lambda: Dense(z(1, 2, 2)) @ z(5, 2), r"@ joins maps, got Tensor.*Diagonal\(weight\)"),
    "an integer matrix": (lambda: Dense(z(1, 2, 2, dtype=torch.int64)), "of torch.int64"),
    "an integer vector": (lambda: Diagonal(z(1, 2, dtype=torch.int32)), "of torch.int32"),
    "a column too many": (lambda: Diagonal(z(5, 3), index([0, 3])), "index must lie between 0 and 2, the 3 columns"),
    "a negative column": (lambda: Diagonal(z(5, 3), index([0, -1])), "got -1 to 0"),
    "an index over time": (lambda: Diagonal(z(2, 3), index([0, 1], [1, 0])), "the same at all times"),
    "an index without time": (lambda: Diagonal(z(5, 3), index(0, 1)), r"Pass index.unsqueeze\(0\)"),
    "a floating index": (lambda: Diagonal(z(5, 3), z(1, 2)), "Diagonal: index must be integers, got torch.float32"),
    "a source out of range": (lambda: Sparse(z(1, 2, 1), index([[0], [2]])), "source must lie between -1 and 1"),
    "a source far below": (lambda: Sparse(z(1, 2, 1), index([[0], [-2]])), "got -2 to 0"),
    "a delay too long": (lambda: Sparse(z(1, 2, 1), index([[0], [4]]), 2), "source must lie between -1 and 3"),
    "sources of another shape": (lambda: Sparse(z(1, 2, 1), index([[0, 1]])), r"source must be \(T or 1, 2, 1\)"),
    "sources without time": (lambda: Sparse(z(1, 2, 1), index([0], [1])), r"source must be \(T or 1, 2, 1\)"),
    "no memory": (lambda: Sparse(z(1, 2, 1), index([[0], [1]]), 0), "memory 0"),
    "floating sources": (lambda: Sparse(z(1, 2, 1), z(1, 2, 1)), "Sparse: source must be integers"),
    "a band without time": (lambda: Banded((0, 1), z(3, 2)), "Banded: weight must be"),
    "a state that is not there": (lambda: Arcs(index(0, 2), index(0, 1), z(1, 2), 2), "below slots = 2, got 2"),
    "a negative state": (lambda: Arcs(index(0, -1), index(0, 1), z(1, 2), 2), "numbered from 0"),
    "a boolean state": (lambda: Arcs(index(0, 1).bool(), index(0, 1), z(1, 2), 2), "Arcs: source must be integers"),
    "other states": (lambda: Segmental(Dense(z(1, 2, 2)), z(1, 3, 3), z(7, 2)), "must agree on S and D"),
    "states that are not square": (lambda: Segmental(Dense(z(1, 2, 3)), z(1, 3, 2), z(7, 2)), "must agree on S and D"),
    "a transition of another kind": (
        lambda: Segmental.of(Diagonal(z(1, 2)), z(1, 3, 2), z(5, 2)),
        "a Dense or a Sparse map of memory 1, got Diagonal",
    ),
    "a transition that looks further back": (
        lambda: Segmental.of(Sparse(z(1, 2, 1), index([[0], [3]]), memory=2), z(1, 3, 2), z(5, 2)),
        "a Dense or a Sparse map of memory 1, got Sparse",
    ),
    "frames of other states": (lambda: Segmental.of(z(1, 2, 2), z(1, 3, 2), z(5, 3)), "must agree on S and D"),
    "segments of other lengths": (
        lambda: Segmental.of(z(1, 2, 2), z(1, 3, 2), z(5, 2), z(5, 2, 2)),
        "agree on S and D",
    ),
    "frames without padding": (
        lambda: Segmental(Dense(z(1, 2, 2)), z(1, 9, 2), z(5, 2)),
        "Segmental.of does the padding",
    ),
    "no duration": (lambda: Segmental(Dense(z(1, 2, 2)), z(1, 0, 2), z(5, 2)), "must agree on S and D"),
    "a plane out of range": (
        lambda: grid(plane=torch.full((3, 2), 2)),
        "plane must lie between -1 and 1, the 2 planes",
    ),
    "a grid's source out of range": (lambda: grid(source=torch.full((3, 2), 3)), "source must lie between -1 and 2"),
    "a row out of range": (lambda: grid(row=index(0, 1, 3)), "row must lie between 0 and 2, the 3 rows"),
    "a column before the plane": (
        lambda: grid(low=torch.full((3, 2), -1)),
        "0 <= low <= column < high <= 4, got low -1",
    ),
    "a column behind the plane": (lambda: grid(high=torch.full((3, 2), 5)), "got low 1 and high 5"),
    "tables that differ in shape": (lambda: grid(low=torch.zeros(3, 1, dtype=torch.int64)), r"low \(3, 1\)"),
    "factors in float32": (lambda: grid(factor=torch.ones(3, 2)), "factor of torch.float32"),
    "a grid before its first cell": (lambda: grid(first=-1), "first -1"),
    "a grid without planes": (lambda: grid(weight=z(3, 4)), r"Grid: weight must be a floating tensor \(..., P, I, J\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_map_that_does_not_fit_is_refused(case):
    make, says = WRONG[case]
    with pytest.raises(ShapeError, match=says):
        make()


START, FIVE = (z(2),), Dense(z(5, 2, 2))
NO_CHAIN = {
    "lengths beyond the end": (lambda: Chain(START, FIVE, (), index(6)), "lengths must lie between 0 and 5"),
    "negative lengths": (lambda: Chain(START, FIVE, (), index(3, -1)), "got -1 to 3"),
    "many lengths beyond the end": (lambda: Chain(START, FIVE, (), torch.arange(1000)), "got 0 to 999"),
    "floating lengths": (lambda: Chain(START, FIVE, (), torch.tensor([2.0])), "Chain: lengths must be integers"),
    "boolean lengths": (lambda: Chain(START, FIVE, (), torch.tensor([True])), "got torch.bool"),
    "a length that disagrees": (
        lambda: Chain(START, FIVE, length=4),
        "have 5 steps, so length must be 5 or be left out",
    ),
    "a length that was forgotten": (lambda: Chain(START, Dense(z(1, 2, 2))), "how many steps there are. Pass length="),
    "no start": (lambda: Chain((), FIVE), "at least one tensor"),
    "an integer start": (lambda: Chain((index(0, 1),), FIVE), "must hold floating log-weights, got torch.int64"),
    "an integer end": (lambda: Chain(START, FIVE, (index(0, 1),)), "must hold floating log-weights, got torch.int64"),
    "a matrix that is not square": (lambda: Chain((z(3),), Dense(z(1, 2, 3)), length=1), "got 2 and 3"),
}


@pytest.mark.parametrize("case", NO_CHAIN)
def test_a_chain_that_does_not_fit_is_refused(case):
    make, says = NO_CHAIN[case]
    with pytest.raises(ShapeError, match=says):
        make()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_of_any_width_are_indices(dtype, backend):
    def value(steps, slots, **more):
        chain = Chain((torch.linspace(0, 1, slots),), steps, **more)
        return engine.total(engine.plan(chain, Log(), backend=backend), Log(), chain)

    torch.manual_seed(0)
    dense, columns, band, planes = torch.randn(5, 2, 2), torch.randn(5, 3), torch.randn(1, 2, 1), torch.randn(2, 3, 4)

    def narrow(*values):
        return torch.tensor(values).to(dtype)

    def both(make):
        return [make(convert) for convert in (lambda x: x, lambda x: x.to(dtype))]

    assert_close(*both(lambda to: value(Dense(dense), 2, lengths=to(index(1, 5, 3)))))
    assert_close(*both(lambda to: value(Diagonal(columns, to(index([2, 0]))), 2)))
    assert_close(*both(lambda to: value(Sparse(band, to(index([[1], [0]]))), 2, length=4)))
    assert_close(*both(lambda to: value(Arcs(to(index(0, 1)), to(index(1, 0)), band.reshape(1, 2), 2), 2, length=4)))
    whole = Grid.of(((1, 0), (0, 1)), planes)
    if dtype != torch.uint8:  # which has no -1
        tables = ("row", "source", "plane", "low", "high")
        small = replace(whole, **{name: getattr(whole, name).to(dtype) for name in tables})
        assert_close(value(small, 3), value(whole, 3))


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp", "compile"])
@pytest.mark.parametrize("lengths", [(5, 200_000), (5, -3)])
def test_lengths_that_reach_outside_are_found_under_every_transform(transform, lengths):
    def value(emission):
        hmm = semihmm.HMM(z(2), z(2, 2), emission, lengths=index(*lengths))
        return semihmm.log_partition(hmm).sum()

    def raw(emission):
        chain = Chain((z(2, 2),), Dense(z(1, 2, 2)) @ Diagonal(emission), (), index(*lengths) - 1)
        return engine.total(engine.plan(chain, Log()), Log(), chain).sum()

    x = torch.randn(2, 5, 2)
    for function in (value, raw):
        ways = {
            "vmap": lambda function=function: torch.func.vmap(function)(x.unsqueeze(0)),
            "grad": lambda function=function: torch.func.grad(function)(x),
            "jvp": lambda function=function: torch.func.jvp(function, (x,), (x,)),
            "compile": lambda function=function: torch.compile(function, backend="eager", fullgraph=True)(x),
        }
        if transform == "compile" and (native() is None or function is raw):
            continue  # torch reads no further than there is
        # What is compiled is looked at by the compiled code.
        refused = (IndexError, "a length must be from") if transform == "compile" else (ShapeError, "lengths must")
        error, message = refused
        with pytest.raises(error, match=message):
            ways[transform]()


def test_lengths_that_vmap_maps_over_are_looked_at():
    def value(lengths):
        return semihmm.log_partition(semihmm.HMM(z(2), z(2, 2), z(3, 5, 2), lengths=lengths))

    assert_close(torch.func.vmap(value)(index([1, 2, 3], [5, 5, 4])).shape, torch.Size([2, 3]))
    with pytest.raises(ShapeError, match="HMM: lengths must lie between 1 and 5, the steps that there are, got 1 to 6"):
        torch.func.vmap(value)(index([1, 2, 3], [5, 6, 4]))


def test_a_map_rebuilt_from_its_own_leaves_is_the_same():
    maps = [FIVE, Diagonal(z(5, 2)), Diagonal(z(5, 3), index([0, 2])), FIVE @ Diagonal(z(5, 2)), grid()]
    maps += [Sparse(z(1, 2, 1), index([[0], [1]])), Segmental.of(z(1, 2, 2), z(1, 3, 2), z(5, 2))]
    maps += [Segmental.of(z(1, 2, 2), z(1, 3, 2), z(5, 2), z(5, 3, 2))]
    maps += [Segmental.of(Banded((0, 1), z(1, 2, 2)), z(1, 3, 2), z(5, 2))]
    for steps in maps:
        again = steps.rebuild(steps.leaves)
        assert type(again) is type(steps) and vars(again).keys() == vars(steps).keys()
        assert all(x is y for x, y in zip(again.leaves, steps.leaves, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chain_has_the_widest_dtype_among_its_log_weights(backend):
    torch.manual_seed(0)
    start, dense, emission, end = torch.randn(2), torch.randn(1, 2, 2), torch.randn(5, 2), torch.randn(2)
    tied = Diagonal(emission.double(), index([1, 0]))
    wide = Chain((start.double(),), Dense(dense.double()) @ tied, (end.double(),))
    for mixed in (
        Chain((start,), Dense(dense) @ tied, (end,)),
        Chain((start.double(),), Dense(dense) @ Diagonal(emission, index([1, 0])), (end,)),
        Chain((start,), Dense(dense) @ Diagonal(emission, index([1, 0])), (end.double(),)),
    ):
        assert {x.dtype for x in mixed.leaves} == {torch.float64, torch.int64}
        found, expected = (engine.total(engine.plan(c, Log(), backend=backend), Log(), c) for c in (mixed, wide))
        assert_close(found, expected)
