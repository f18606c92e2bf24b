"""PyTorch's tracers and transforms (compile, export, make_fx, vmap, grad) take each operator whole."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import semihmm
from semihmm.semirings import Log, Max, Min, TopK
from semihmm.testing import ChainCase, random_chain, total_of
from semihmm.testing.examples import small

pytestmark = pytest.mark.usefixtures("needs_native")
BEST = (Max(), Min(), TopK(3))


def operators_in(graph):
    """Which of our operators a traced graph holds."""
    targets = [n.target for n in graph.nodes if n.op == "call_function"]
    return {t._schema.name.split("::")[1] for t in targets if getattr(t, "namespace", "") == "semihmm"}


TRACED = {
    "HMM": {"ragged": True},
    "HMM banded": {},
    "HMM tied": {"ragged": True},
    "HSMM": {"ragged": True},
    "CTC": {"ragged": True},
    "DTW": {},
}


def observer(kind, **options):
    """A structure's potential that scores what was seen, and the log-partition as a function of that."""
    structure = small(kind, (3,), 4, seed=1, **options)
    if kind == "CTC":  # each has a path
        structure = replace(structure, input_lengths=torch.tensor([4, 3, 4]), target_lengths=torch.tensor([1, 0, 2]))

    def value(x):
        return semihmm.log_partition(structure.replace(**{structure.observed: x}))

    return structure.potentials[structure.observed].clone().requires_grad_(), value


@pytest.mark.parametrize("kind", TRACED)
def test_torch_compile_takes_the_operators_whole(kind):
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    x, value = observer(kind, **TRACED[kind])
    traced = torch.compile(value, fullgraph=True, backend=aot_autograd(fw_compiler=remember, bw_compiler=remember))(x)
    expected = value(x)
    assert torch.equal(traced, expected)
    weight = torch.randn_like(expected)
    found = torch.autograd.grad(traced, x, weight)
    assert seen == [{"total"}, {"gradient"}]
    assert torch.equal(found[0], torch.autograd.grad(expected, x, weight)[0])
    aot = torch.compile(value, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(torch.autograd.grad(aot, x, weight)[0], found[0])


@pytest.mark.parametrize("kind", TRACED)
@pytest.mark.parametrize("semiring", BEST, ids=repr)
def test_torch_compile_takes_the_operators_of_best_totals_whole(kind, semiring):
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    structure = small(kind, (3,), 4, seed=1)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()

    def value(x):
        return semihmm.total(structure.replace(**{name: x}), semiring)

    whole = aot_autograd(fw_compiler=remember, bw_compiler=remember)
    traced, expected = torch.compile(value, fullgraph=True, backend=whole)(x), value(x)
    assert torch.equal(traced, expected)
    weight = torch.where(expected.isfinite(), torch.randn_like(expected), 0.0).requires_grad_()
    assert torch.equal(*(torch.autograd.grad(y, x, weight.detach())[0] for y in (traced, expected)))
    assert seen == [{"paths"}, {"gradient_of_paths"}]
    along = torch.randn_like(x)
    by_weight = []
    for function in (torch.compile(value, fullgraph=True, backend="eager"), value):
        (slope,) = torch.autograd.grad(function(x), x, weight, create_graph=True)
        by_weight += torch.autograd.grad(slope, weight, along)
    assert_close(*by_weight)


def test_torch_compile_takes_the_operator_of_a_filter_whole():
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    hmm = small("HMM", (3,), 4, seed=1, ragged=True)
    filtered = torch.compile(
        lambda x: semihmm.filtering(hmm.replace(emission=x)), backend=aot_autograd(fw_compiler=remember)
    )
    assert_close(filtered(hmm.emission), semihmm.filtering(hmm))
    assert seen == [{"vectors"}]


class LogPartition(torch.nn.Module):
    """A model whose emissions are given."""

    def __init__(self, structure):
        super().__init__()
        self.transition = torch.nn.Parameter(structure.transition)
        self.initial = torch.nn.Parameter(structure.initial)

    def forward(self, emission):
        return semihmm.log_partition(semihmm.HMM(self.initial, self.transition, emission))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torch_export_takes_the_operator_whole():
    structure = small("HMM", (3,), 4)
    module = LogPartition(structure)
    program = torch.export.export(module, (structure.emission,))
    assert operators_in(program.graph) == {"total"}
    emission = torch.randn(3, 4, 2, dtype=torch.float64)
    assert torch.equal(program.module()(emission), module(emission))


class Question(torch.nn.Module):
    """A question as a module, so that it can be exported."""

    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def forward(self, *given):
        return self.ask(*given)


TABLES = {
    name: torch.randn(4, n, generator=torch.Generator().manual_seed(n)) for name, n in (("arcs", 4), ("lasts", 5))
}


ASKED = {
    "HMM": lambda x, _: semihmm.log_partition(semihmm.HMM(x[0, 0], TABLES["arcs"], x)),
    "HMM of own lengths": lambda x, n: semihmm.log_partition(semihmm.HMM(x[0, 0], TABLES["arcs"], x, lengths=n)),
    "HSMM": lambda x, _: semihmm.log_partition(semihmm.HSMM(x[0, 0], TABLES["arcs"], TABLES["lasts"], x)),
    "CTC": lambda x, n: semihmm.log_partition(semihmm.CTC(x, n.clamp(max=3).unsqueeze(-1))),
    "DTW": lambda x, _: semihmm.log_partition(semihmm.DTW(x[..., :4, :])),
    "marginals": lambda x, _: semihmm.marginals(semihmm.HMM(x[0, 0], TABLES["arcs"], x)).emission,
    "best path": lambda x, _: semihmm.viterbi(semihmm.HMM(x[0, 0], TABLES["arcs"], x)).event,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("asked", ASKED)
def test_torch_export_takes_sizes_that_are_not_known(asked):
    question = Question(ASKED[asked])

    def given(batch, steps):
        return torch.randn(batch, steps, 4), torch.randint(1, steps + 1, (batch,))

    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(question, given(3, 9), dynamic_shapes=(({0: free, 1: free}, {0: free}),))
    assert operators_in(program.graph) & {"total", "paths"}
    for batch, steps in ((3, 9), (5, 12), (2, 40)):
        x, lengths = given(batch, steps)
        assert torch.equal(program.module()(x, lengths), question(x, lengths))


def test_make_fx_takes_the_operators_whole():
    x, value = observer("HMM", ragged=True)
    slope = torch.func.grad(lambda y: value(y).sum())
    graph = make_fx(slope)(x.detach())
    assert operators_in(graph.graph) == {"total", "gradient"}
    other = torch.randn_like(x)
    assert torch.equal(graph(other), slope(other))


@pytest.mark.parametrize("kind", TRACED)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_tracers_take_a_product_with_the_hessian_whole(kind, batch):
    structure = small(kind, batch, 4, seed=1)
    name = structure.observed
    x, along, other = structure.potentials[name], *torch.randn((2, *structure.potentials[name].shape)).double()

    def value(x, **options):
        return semihmm.log_partition(structure.replace(**{name: x}), **options).sum()

    def product(value, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(value(x), x, create_graph=True)
        return torch.autograd.grad(slope, x, along)[0]

    expected = product(partial(value, backend="torch"), other)
    graph = make_fx(partial(product, value))(x)
    assert operators_in(graph.graph) == {"total", "gradient"}
    assert_close(graph(other), expected)
    torch.compiler.reset()
    assert_close(product(torch.compile(value, fullgraph=True, backend="eager"), other), expected)


class Called(TorchDispatchMode):
    """Remembers which of our operators came by."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "semihmm":
            self.names.add(func._schema.name.split("::")[1])
        return func(*args, **(kwargs or {}))


def slope_of(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


@pytest.mark.parametrize("kind", TRACED)
def test_torch_func_goes_through_the_operators(kind):
    x, value = observer(kind)
    expected = value(x)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    x = x.detach()
    one, alone = x[1], small(kind, (), 4, seed=1)

    def single(x):
        return semihmm.log_partition(alone.replace(**{alone.observed: x}), validate=False)

    values = torch.stack([single(y) for y in x])
    slopes = torch.stack([slope_of(single, y) for y in x])
    with Called() as called:
        assert_close(torch.func.grad(lambda y: value(y).sum())(x), slope)
    assert called.names == {"total", "gradient"}
    with Called() as called:
        assert_close(torch.func.vmap(single)(x), values)
    assert called.names == {"total"}
    with Called() as called:
        assert_close(torch.func.vmap(torch.func.grad(single))(x), slopes)
        assert_close(
            torch.func.vmap(torch.func.grad(single), in_dims=-1, out_dims=-1)(x.movedim(0, -1)), slopes.movedim(0, -1)
        )
        assert_close(torch.func.grad(lambda y: torch.func.vmap(single)(y).sum())(x), slopes)
    assert called.names == {"total", "gradient"}
    y = one.clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(single, y)
    assert_close(torch.func.hessian(single)(one), hessian)
    assert_close(torch.func.jacrev(torch.func.jacrev(single))(one), hessian)


@pytest.mark.parametrize("semiring", BEST, ids=repr)
def test_transforms_of_best_totals_have_the_same_derivatives(semiring):
    hmm, other = (small("HMM", (3,), 4, seed=seed) for seed in (1, 2))
    x = hmm.emission.clone().requires_grad_()

    def value(x, initial=hmm.initial):
        return semihmm.total(hmm.replace(emission=x, initial=initial), semiring)

    (slope,) = torch.autograd.grad(value(x).sum(), x)
    whole = torch.autograd.functional.jacobian(value, x)
    x = x.detach()
    assert_close(torch.func.grad(lambda y: value(y).sum())(x), slope)
    assert_close(torch.func.jacrev(value)(x), whole)
    assert_close(torch.func.jvp(value, (x,), (other.emission,))[1], (whole * other.emission).sum((-3, -2, -1)))
    assert_close(torch.func.vmap(value, -1, -1)(torch.stack([x, x + 1], -1)), torch.stack([value(x), value(x + 1)], -1))
    slopes = torch.func.vmap(torch.func.grad(lambda y: value(y).sum()))(torch.stack([x, other.emission]))
    assert_close(slopes, torch.stack([slope, torch.func.grad(lambda y: value(y).sum())(other.emission)]))
    torch.compiler.reset()
    y = x.clone().requires_grad_()
    assert_close(torch.autograd.grad(torch.compile(value, backend="aot_eager")(y).sum(), y)[0], slope)
    traced = make_fx(torch.func.grad(lambda y: value(y).sum()))(x)
    assert_close(traced(other.emission), slopes[1])


def test_vmap_over_shared_lengths_and_own_ones():
    chain = random_chain("dense @ diagonal", ChainCase(seed=1, batch=(4, 3), steps=5, ragged=True, forbidden=0.0))
    leaves = [x.expand(4, *x.shape[1:]).clone() for x in chain.leaves]
    given, lengths = leaves[:-1], leaves[-1]

    def value(lengths, *leaves):
        return total_of(chain.rebuild((*leaves, lengths)), Log(), backend="native")

    wanted = [x.clone().requires_grad_() for x in given]
    expected = value(lengths, *wanted)
    for dims in (
        (0, *(0 for _ in given)),
        (None, *(0 for _ in given)),
        (0, *(None if i else 0 for i in range(len(given)))),
    ):
        args = [x if d == 0 else x[0] for x, d in zip((lengths, *given), dims, strict=True)]
        one_by_one = [value(*(x[i] if d == 0 else x for x, d in zip(args, dims, strict=True))) for i in range(4)]
        assert_close(torch.func.vmap(value, dims)(*args), torch.stack(one_by_one))
    assert_close(torch.func.vmap(value)(lengths, *given), expected)
    slopes = torch.func.vmap(
        torch.func.grad(lambda n, *xs: value(n, *xs).sum(), argnums=tuple(range(1, 1 + len(given))))
    )
    assert_close(slopes(lengths, *given), torch.autograd.grad(expected.sum(), wanted))
