"""tests/engine/test_arcs.py: chains of irregular arcs, compiled, against PyTorch in float64 and log space."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.engine import Arcs, Chain, Compose, Diagonal
from semihmm.engine.backends import native
from semihmm.semirings import Expectation, Log, Max, Min, SmoothMax, TopK

pytestmark = pytest.mark.skipif(native() is None, reason="the native backend is not loaded")

FEW = settings(max_examples=max(settings.default.max_examples // 2, 3))
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)  # up to two vectors of any machine and one
BATCHES = (1, 2, 3, 5, 8, 9, 17)  # sequences go 8 at a time
DTYPES = (torch.float32, torch.float64)
FEATURED = (Log(), SmoothMax(0.5), Expectation(1), Max(), Min(), TopK(3))


def irregular(states, g, each=3.0):
    """Random arcs; some slots have none, some have many, and two may go the same way."""
    count = max(2, int(each * states))
    source = torch.randint(states, (count,), generator=g)
    target = (torch.rand(count, generator=g) ** 2 * states).long()
    return source, target


def arcs_chain(
    states,
    batch,
    steps,
    g,
    *,
    dtype=torch.float64,
    spread=1.0,
    forbidden=0.0,
    ragged=False,
    weights="shared",
    emission=True,
    arcs=None,
):
    """A chain of arcs and emissions whose log-weights spread so many nats."""

    def drawn(*shape):
        x = spread * torch.randn(shape, generator=g, dtype=torch.float64)
        return torch.where(torch.rand(shape, generator=g) < forbidden, -math.inf, x).to(dtype)

    source, target = irregular(states, g) if arcs is None else arcs
    shape = {"shared": (1, 1), "own": (batch, 1), "repeated": (1, 1), "over time": (1, steps)}[weights]
    weight = drawn(*shape, len(source))
    if weights == "repeated":
        weight = weight.repeat(batch, 1, 1)
    steps_map = Arcs(source, target, weight, states)
    if emission:
        steps_map = Compose(steps_map, Diagonal(drawn(batch, steps, states)))
    lengths = torch.randint(0, steps + 1, (batch,), generator=g) if ragged else None
    start = spread * torch.randn(batch, states, generator=g, dtype=torch.float64).to(dtype)
    return Chain((start,), steps_map, (drawn(states),), lengths, steps)


def wide(chain):
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in chain.leaves)


def run(chain, semiring, backend, features=(), blocks=None):
    plan = engine.plan(chain, semiring, backend=backend)
    assert plan.backend == backend
    plan = replace(plan, blocks=min(blocks, chain.length)) if blocks and chain.length else plan
    return engine.total(plan, semiring, chain, features)


def gradients(chain, semiring, backend, feature=None, blocks=None):
    """A total and its gradient, each value and sequence weighted differently."""
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in chain.leaves]
    held = [] if feature is None else [x.detach().requires_grad_(x.is_floating_point()) for x in feature.leaves]
    value = run(chain.rebuild(leaves), semiring, backend, [feature.rebuild(held)] if held else [], blocks)
    weight = torch.arange(1.0, value.numel() + 1).reshape(value.shape).to(value)
    weight = torch.where(value.detach() > -math.inf, weight, 0.0)
    free = [x for x in leaves + held if x.requires_grad]
    return value.detach(), torch.autograd.grad(value, free, weight, materialize_grads=True)


def feature_of(chain, g):
    """What slots and arcs hold; in half of the cases, arcs nothing."""
    silent = bool(torch.randint(2, (), generator=g))
    leaves = []
    for i, x in enumerate(chain.leaves):
        if not x.is_floating_point():
            leaves.append(x)
            continue
        drawn = torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype)
        leaves.append(torch.zeros_like(drawn) if silent and i == 2 else drawn)
    return chain.rebuild(leaves)


chains = st.fixed_dictionaries(
    {
        "states": st.sampled_from(SIZES),
        "batch": st.sampled_from(BATCHES),
        "steps": st.sampled_from((0, 1, 2, 3, 31, 32, 33, 65)),
        "seed": st.integers(0, 2**32),
        "ragged": st.booleans(),
        "emission": st.booleans(),
        "forbidden": st.sampled_from([0.0, 0.0, 0.2]),
        "weights": st.sampled_from(["shared", "shared", "own", "repeated", "over time"]),
        "blocks": st.sampled_from([None, None, 3]),
    }
)


@pytest.mark.parametrize("dtype", DTYPES)
@FEW
@given(case=chains)
def test_totals_and_their_gradients_are_those_of_pytorch_in_float64(dtype, case):
    g = torch.Generator().manual_seed(case.pop("seed"))
    blocks = case.pop("blocks")
    chain = arcs_chain(g=g, dtype=dtype, **case)
    feature = feature_of(chain, g)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 2e-4, "atol": 2e-4}
    for semiring in FEATURED:
        held = feature if semiring.inputs == 2 else None
        if isinstance(semiring, TopK):
            found, expected = run(chain, semiring, "native", blocks=blocks), run(wide(chain), semiring, "torch")
            assert_close(found.double(), expected, **tolerance)
            continue
        value, slopes = gradients(chain, semiring, "native", held, blocks)
        expected, its = gradients(wide(chain), semiring, "torch", None if held is None else wide(held))
        assert_close(value.double(), expected, **tolerance)
        if dtype == torch.float32 and isinstance(semiring, (Max, Min)):
            continue  # which of two paths that are all but equal is the best one is not known
        scale = max(case["batch"], 1) * 2 * max(case["steps"], 1)  # a shared weight adds up this many shares at most
        for x, y in zip(slopes, its, strict=True):
            assert x.isfinite().all()
            assert_close(x.double(), y, rtol=tolerance["rtol"], atol=tolerance["atol"] * scale)


@pytest.mark.parametrize("spread", [10.0, 100.0, 1e3, 1e4])
@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("states", [2, 5, 9, 17, 40])
def test_what_underflows_is_done_again_in_log_space(states, batch, spread):
    """In float64, so that the oracle knows as much: numbers from 1e-308 on, which is 708 nats."""
    g = torch.Generator().manual_seed(states)
    for each, forbidden, weights in ((2.0, 0.0, "shared"), (6.0, 0.2, "shared"), (3.0, 0.0, "own")):
        arcs = irregular(states, g, each)
        for ragged in (False, True):
            chain = arcs_chain(
                states, batch, 70, g, spread=spread, forbidden=forbidden, ragged=ragged, weights=weights, arcs=arcs
            )
            feature = feature_of(chain, g)
            for semiring, held in ((Log(), None), (Expectation(1), feature)):
                value, slopes = gradients(chain, semiring, "native", held)
                expected, its = gradients(chain, semiring, "torch", held)
                assert_close(value, expected, rtol=1e-11, atol=1e-8)
                for x, y in zip(slopes, its, strict=True):
                    assert x.isfinite().all()
                    assert_close(x, y, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("surprise", [50.0, 110.0, 500.0])
@pytest.mark.parametrize("at", [0, 1, 31, 32, 68])
def test_one_surprising_step_loses_no_path(at, surprise):
    """A slot that all but all mass has left is suddenly the only one that explains what is seen."""
    g = torch.Generator().manual_seed(at)
    source, target = irregular(20, g, 4.0)
    for batch in (1, 4):
        weight = torch.randn(1, 1, len(source), generator=g)
        weight[..., target == int(target[0])] -= surprise / 2
        seen = torch.randn(batch, 70, 20, generator=g)
        seen[:, at, torch.arange(20) != target[0]] -= surprise
        chain = Chain((torch.zeros(batch, 20),), Compose(Arcs(source, target, weight, 20), Diagonal(seen)), length=70)
        value, slopes = gradients(chain, Log(), "native")
        expected, its = gradients(wide(chain), Log(), "torch")
        assert_close(value.double(), expected, rtol=1e-5, atol=1e-3)
        for x, y in zip(slopes, its, strict=True):
            assert_close(x.double(), y, rtol=1e-3, atol=2e-3 * batch)


def test_where_there_is_no_path_there_is_no_gradient():
    source, target = torch.tensor([0, 1, 1, 4]), torch.tensor([1, 2, 0, 4])  # 3 is never left, and nothing leads there
    for batch in (1, 3):
        start = torch.full((batch, 5), -math.inf)
        start[:, 0], start[-1] = 0.0, torch.tensor([-math.inf, -math.inf, 0.0, 0.0, -math.inf])
        chain = Chain((start,), Arcs(source, target, torch.zeros(1, 1, 4), 5), length=7)
        value, slopes = gradients(chain, Log(), "native")
        assert value[-1] == -math.inf and (batch == 1 or value[0] == 0.0)
        assert all(x.isfinite().all() for x in slopes)
        assert_close(slopes[1], gradients(chain, Log(), "torch")[1][1])


def test_there_may_be_a_single_arc():
    chain = Chain((torch.zeros(3),), Arcs(torch.tensor([0]), torch.tensor([0]), torch.zeros(1, 1), 3), length=2)
    assert float(run(chain, Log(), "native")) == 0.0


def hmm(states, batch, steps, g, dtype=torch.float32, spread=1.0, arcs=None):
    pairs = torch.randperm(states * states, generator=g)[: states * states // 6] if arcs is None else arcs
    weight = spread * torch.randn(len(pairs), generator=g, dtype=dtype)
    emission = spread * torch.randn(batch, steps, states, generator=g, dtype=dtype)
    lengths = torch.randint(1, steps + 1, (batch,), generator=g)
    return semihmm.HMM(
        torch.zeros(states, dtype=dtype), weight, emission, lengths=lengths, arcs=(pairs // states, pairs % states)
    )


@pytest.mark.parametrize("states", [33, 40, 65])  # fewer are a dense matrix
def test_paths_are_those_of_pytorch(states):
    g = torch.Generator().manual_seed(states)
    for batch in (1, 3):
        given = hmm(states, batch, 40, g, torch.float64)
        found, expected = (semihmm.viterbi(given, backend=b) for b in ("native", "torch"))
        assert_close(found.score, expected.score)
        assert torch.equal(found.event[found.score > -math.inf], expected.event[found.score > -math.inf])
        several, its = (semihmm.topk(given, 4, backend=b) for b in ("native", "torch"))
        assert_close(several.score, its.score)
        there = several.score > -math.inf
        assert torch.equal(several.event[there], its.event[there])
        best, most = (semihmm.max_marginals(given, backend=b) for b in ("native", "torch"))
        assert_close(best.transition, most.transition)
        assert_close(best.emission, most.emission)


@pytest.mark.parametrize("states", [33, 40])
def test_draws_are_paths_as_often_as_their_probability_says(states):
    g = torch.Generator().manual_seed(states)
    given = replace(hmm(states, 1, 6, g, torch.float64), lengths=None)
    draws = semihmm.sample(given, (4000,), generator=g).event
    assert (given.score(draws[:, 0].unsqueeze(1)) > -math.inf).all()
    seen = torch.nn.functional.one_hot(draws[:, 0], states).double().mean(0)
    expected = semihmm.marginals(given).emission[0]
    assert (seen - expected).abs().max() < 5 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("states", [3, 8, 9, 40])
def test_a_sequence_has_the_same_bits_in_any_company(states, spread):
    g = torch.Generator().manual_seed(states)
    for dtype in DTYPES:
        whole = arcs_chain(states, 19, 70, g, dtype=dtype, spread=spread)
        value, slopes = gradients(whole, Log(), "native")
        for first, count in ((0, 1), (18, 1), (3, 2), (4, 5), (2, 8), (1, 17)):
            some = slice(first, first + count)
            start, end, weight, source, seen = whole.leaves
            few = whole.rebuild([start[some], end, weight, source, seen[some]])
            alone, its = gradients(few, Log(), "native")
            assert torch.equal(alone, value[some])
            scale = torch.arange(first + 1.0, first + count + 1) / torch.arange(1.0, count + 1)
            if first == 0:
                assert torch.equal(its[-1], slopes[-1][some])
            else:  # weighted differently
                assert_close(its[-1] * scale.to(dtype)[:, None, None], slopes[-1][some])


@pytest.mark.parametrize("batch", [1, 19])
def test_the_number_of_threads_changes_no_bit(batch):
    before = torch.get_num_threads()
    g = torch.Generator().manual_seed(0)
    chain = arcs_chain(40, batch, 400, g, dtype=torch.float32)
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            value, slopes = gradients(chain, Log(), "native")
            found.append([value, *slopes, semihmm.engine.total(engine.plan(chain, Max()), Max(), chain)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for more in found[1:] for x, y in zip(found[0], more, strict=True))


def test_a_topology_that_another_call_had_is_not_taken_for_this_one():
    g = torch.Generator().manual_seed(0)
    source, target = irregular(12, g)
    weight, start = torch.randn(1, len(source), generator=g), torch.randn(12, generator=g)
    for turn in range(4):
        again = torch.roll(source, turn // 2)
        chain = Chain((start,), Arcs(again, target, weight, 12), length=20)
        assert_close(run(chain, Log(), "native").double(), run(wide(chain), Log(), "torch"), rtol=1e-5, atol=1e-4)


def test_an_arc_from_a_slot_that_there_is_not_is_refused():
    weight, source = torch.zeros(1, 3, 2), torch.tensor([[[0, 2], [1, 0], [2, 1]]])
    chain, beyond = Chain((torch.zeros(3),), engine.Sparse(weight, source), length=4), source + (source == 2)
    with pytest.raises(semihmm.errors.ShapeError, match="source must lie between"):
        engine.Sparse(weight, beyond)
    behind = chain.rebuild((*chain.start, weight, beyond))  # whose indices nobody looks at in Python
    with pytest.raises(IndexError, match="must be from -1 to 2"):
        run(behind, Log(), "native")


@pytest.mark.parametrize("states, count", [(5, 6), (33, 300), (33, 40)])
@pytest.mark.parametrize("own", [False, True])
def test_arcs_are_a_matrix_where_that_is_faster(states, count, own):
    """Whichever it is, totals, counts and paths are those of the matrix."""
    g = torch.Generator().manual_seed(count)
    pairs = torch.randperm(states * states, generator=g)[:count]
    arcs = (pairs // states, pairs % states)
    weight = torch.randn(*((2,) if own else ()), count, generator=g, dtype=torch.float64)
    emission = torch.randn(2, 9, states, generator=g, dtype=torch.float64)
    given = semihmm.HMM(torch.zeros(states, dtype=torch.float64), weight, emission, arcs=arcs)
    assert isinstance(given.chain().steps.first, engine.Sparse) == (count == 40)
    matrix = torch.full((*weight.shape[:-1], states, states), -math.inf, dtype=torch.float64)
    matrix[..., arcs[0], arcs[1]] = weight
    dense = semihmm.HMM(given.initial, matrix, emission)
    for backend in ("native", "torch"):
        value, found = semihmm.expected_counts(given, backend=backend)
        its, expected = semihmm.expected_counts(dense, backend=backend)
        assert_close(value, its)
        assert_close(found["transition"], expected["transition"][..., arcs[0], arcs[1]])
        marginals = semihmm.marginals(given, backend=backend).transition
        assert_close(marginals, semihmm.marginals(dense, backend=backend).transition[..., arcs[0], arcs[1]])
        best, same = semihmm.viterbi(given, backend=backend), semihmm.viterbi(dense, backend=backend)
        assert torch.equal(best.event, same.event)
        assert_close(best.score, same.score)


def test_only_the_arcs_that_there_are_count_as_work():
    star = Arcs(torch.arange(40), torch.zeros(40, dtype=torch.int64), torch.zeros(1, 40), 40)
    size = engine.costs.size_of(Chain((torch.zeros(40),), star, length=3), Log())
    assert (size.family, size.work) == ("arcs", 40)
    own = Chain(
        (torch.zeros(3, 40),),
        Arcs(torch.arange(40), torch.zeros(40, dtype=torch.int64), torch.zeros(3, 1, 40), 40),
        length=3,
    )
    assert engine.costs.size_of(own, Log()).work == 3 * 40  # one after the other
    rates = engine.costs.counts("native sequential", engine.costs.Size("arcs", 9, 10, 4, 1, 5))
    assert rates == (1.0, 90.0, 360.0, 100.0)  # two groups of sequences


def test_tables_of_arcs_are_those_of_the_numbers_now():
    source, target, weight = torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([[1.0, 2.0]])
    before = semihmm.engine.Arcs(source, target, weight, slots=2)
    assert torch.equal(semihmm.engine.Arcs(source, target, weight, slots=2).source, before.source)
    assert before.source.flatten().tolist() == [1, 0] and before.weight.flatten().tolist() == [2.0, 1.0]
    source.copy_(torch.tensor([1, 0]))  # of the tensor that is not the key, then of the one that is
    assert semihmm.engine.Arcs(source, target, weight, slots=2).source.flatten().tolist() == [0, 1]
    target.copy_(torch.tensor([0, 1]))
    assert semihmm.engine.Arcs(source, target, weight, slots=2).source.flatten().tolist() == [1, 0]
    assert semihmm.engine.Arcs(source.clone(), target, weight, slots=3).source.flatten().tolist() == [1, 0, -1]


def test_the_gradient_of_one_long_sequence_may_be_asked_for_again():
    hmm = [torch.randn(shape, requires_grad=True) for shape in ((40,), (40, 40), (300, 40))]
    value = semihmm.log_partition(semihmm.HMM(*hmm))
    once = torch.autograd.grad(value, hmm, retain_graph=True)
    for x, mine in zip(once, torch.autograd.grad(value, hmm, 3.0 * torch.ones(()), retain_graph=True), strict=True):
        torch.testing.assert_close(mine, 3.0 * x)
    some = torch.autograd.grad(value, hmm[2], retain_graph=True)[0]
    assert torch.equal(some, once[2])
    torch.testing.assert_close(once[2].sum(-1), torch.ones(300))
