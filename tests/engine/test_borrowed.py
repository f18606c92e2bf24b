"""What the engine reads of a caller's tensors: every layout is the same numbers, and each is looked at once."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.engine import tensors
from semihmm.engine.backends import native
from semihmm.engine.tensors import usable

LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.T.contiguous().T if x.ndim == 2 else x,
    "every other": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "narrowed": lambda x: torch.cat([x, torch.full_like(x, torch.nan)], -1)[..., : x.shape[-1]],
    "a leaf that wants a gradient": lambda x: x.clone().requires_grad_(),
    "a parameter": torch.nn.Parameter,
    "negated": lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
}


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_weights_are_usable_up_to_what_forbids(layout, dtype):
    if dtype == torch.float16 and layout == "negated":
        pytest.skip("no complex numbers of that kind on the CPU")
    for at in (0, 1, 4098, -1):  # vectors, their remainders, and pieces
        x = drawn(3, 1733, dtype=dtype)
        for sign, bad, good in ((1.0, torch.inf, -torch.inf), (-1.0, -torch.inf, torch.inf)):
            for value, expected in ((bad, False), (torch.nan, False), (good, True)):
                x.view(-1)[at] = value
                found = usable([drawn(2), LAYOUTS[layout](x)], sign)
                assert found <= expected
                # False may mean: not known. Of floats and doubles as they lie, it does not.
                assert found == expected or dtype == torch.float16 or layout == "negated"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_neither_infinite_nor_nan_is_finite(layout, dtype):
    for at in (0, 4098, -1):
        x = drawn(3, 1733, dtype=dtype)
        assert usable([LAYOUTS[layout](x)], 0.0)
        for bad in (torch.inf, -torch.inf, torch.nan):
            x.view(-1)[at] = bad
            assert not usable([drawn(2), LAYOUTS[layout](x)], 0.0)


@pytest.fixture
def two_threads(monkeypatch):
    """Even for small tensors."""
    before = torch.get_num_threads()
    monkeypatch.setattr(tensors, "THREADS_FROM", 0)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("shape", [(), (1,), (15,), (16,), (3, 1733), (2, 40_000)])
def test_threads_together_see_all_there_is(shape):
    for x in (drawn(*shape), drawn(*shape, 2)[..., 0]):
        assert usable([x])
        for at in (0, x.numel() // 2, x.numel() - 1):
            bad = x.clone() if x.is_contiguous() else x.unsqueeze(-1).repeat_interleave(2, -1)[..., 0]
            bad[tuple(int(i) for i in torch.unravel_index(torch.tensor(at), shape)) if shape else ()] = torch.nan
            assert not usable([bad])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("states", "steps", "batch"), [(3, 50, 37), (20, 50, 37), (64, 9000, 17)])
def test_what_a_thread_keeps_changes_no_bit(states, steps, batch):
    hmm = semihmm.HMM(drawn(states), drawn(states, states), drawn(batch, steps, states))  # the last: more than is held
    value, counts = semihmm.expected_counts(hmm)
    torch.set_num_threads(1)
    again, alone = semihmm.expected_counts(hmm)
    assert torch.equal(value, again)
    assert all(torch.equal(alone[name], x) for name, x in counts.items())
    last = hmm.unbatch()[-1]
    assert_close(semihmm.expected_counts(last, ("emission",))[1]["emission"], counts["emission"][-1])


def test_gradients_lie_in_memory_that_the_system_cleared(monkeypatch):
    lengths = torch.tensor([9, 1, 40, 23])
    for states, dtype in ((3, torch.float32), (20, torch.float64)):
        hmm = semihmm.HMM(
            *(drawn(*shape, dtype=dtype) for shape in ((states,), (states, states), (4, 40, states))), lengths=lengths
        )
        monkeypatch.setattr(tensors, "FRESH", math.inf)
        value, counts = semihmm.expected_counts(hmm)
        monkeypatch.setattr(tensors, "FRESH", 1)
        again, fresh = semihmm.expected_counts(hmm)
        assert torch.equal(value, again)
        for name, x in counts.items():
            assert torch.equal(fresh[name], x), name
        assert not fresh["emission"][1, 1:].any()
        fresh["emission"].add_(1).requires_grad_().sum().backward()  # a tensor like any other


LINUX = Path("/proc/self/smaps_rollup").is_file()
MEMORY = """
from pathlib import Path

import torch

from semihmm.engine import tensors

def resident():  # counted page by page: `statm` may lag behind
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))

def use(count):
    for _ in range(count):
        x = tensors.zeros((tensors.FRESH // 4,), torch.zeros(()))
        assert x.data_ptr() % (1 << 21) == 0
        assert not x[::1000].any()
        x.fill_(1)
    return resident()

once = use(1)
assert use(10) < once + tensors.FRESH // 2
kept = tensors.zeros((tensors.FRESH // 4,), torch.zeros(())).fill_(1)[5:7]
before = resident()
del kept
assert resident() < before - tensors.FRESH // 2
"""


@pytest.mark.skipif(native() is None or not LINUX, reason="no kernels, or not Linux")
def test_memory_that_the_system_cleared_goes_back_to_it():
    # In a process of its own: other libraries may tell malloc to keep what is freed.
    assert subprocess.run([sys.executable, "-c", MEMORY], check=False).returncode == 0


def test_what_is_shared_or_empty_is_usable():
    assert usable([torch.zeros(1).expand(10**4, 10**4), torch.zeros(3, 0), torch.zeros(())])
    assert not usable([torch.tensor(torch.nan).expand(10**4, 10**4)])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_a_layout_changes_nothing(batch, layout):
    given = drawn(4), drawn(4, 4, seed=1), drawn(*batch, 6, 4, seed=2)
    plain, other = semihmm.HMM(*given), semihmm.HMM(*(LAYOUTS[layout](x) for x in given))
    assert_close(semihmm.log_partition(other).detach(), semihmm.log_partition(plain), rtol=0, atol=0)
    assert_close(semihmm.marginals(other).emission.detach(), semihmm.marginals(plain).emission, rtol=0, atol=0)
    assert torch.equal(semihmm.viterbi(other).event, semihmm.viterbi(plain).event)


def test_padding_may_hold_anything():
    emission = drawn(2, 5, 3)
    emission[0, 3:] = torch.nan
    emission[1, 4:] = torch.inf
    hmm = semihmm.HMM(drawn(3), drawn(3, 3), emission, lengths=torch.tensor([3, 4]))
    cut = semihmm.HMM(hmm.initial, hmm.transition, emission.nan_to_num(0.0, 0.0), lengths=hmm.lengths)
    assert_close(semihmm.log_partition(hmm), semihmm.log_partition(cut))
    emission[0, 2, 1] = torch.nan
    with pytest.raises(semihmm.errors.DataError, match=r"emission\[0, 2, 1\] is nan; 1 of 30"):
        semihmm.log_partition(hmm)


@pytest.mark.parametrize("alone", ["initial", "transition", "emission", "final"])
def test_one_gradient_alone_is_that_of_all(alone):
    given = {"initial": drawn(4), "transition": drawn(4, 4), "emission": drawn(2, 6, 4), "final": drawn(4)}
    lengths = torch.tensor([6, 4])
    whole = {n: x.clone().requires_grad_() for n, x in given.items()}
    semihmm.log_partition(semihmm.HMM(**whole, lengths=lengths)).sum().backward()
    one = {n: x.clone().requires_grad_(n == alone) for n, x in given.items()}
    value = semihmm.log_partition(semihmm.HMM(**one, lengths=lengths)).sum()
    (found,) = torch.autograd.grad(value, [one[alone]], create_graph=True)
    assert_close(found, whole[alone].grad)
    (again,) = torch.autograd.grad(found.square().sum(), [one[alone]])
    assert again.isfinite().all() and again.abs().sum() > 0


def test_a_score_is_that_of_the_event_whether_or_not_it_is_differentiated():
    hmm = semihmm.HMM(drawn(4), drawn(4, 4), drawn(2, 6, 4))
    wanted = semihmm.HMM(hmm.initial, hmm.transition, hmm.emission.clone().requires_grad_())
    for ask in (semihmm.viterbi, lambda h: semihmm.topk(h, 3)):
        assert_close(ask(hmm).score, hmm.score(ask(hmm).event))
        assert_close(ask(wanted).score.detach(), ask(hmm).score)
        assert ask(wanted).score.requires_grad


@pytest.mark.parametrize("backend", [None, "torch"])
@pytest.mark.parametrize("third", [False, True])
def test_forward_mode_goes_over_itself(backend, third):
    hmm = semihmm.HMM(drawn(3), drawn(3, 3), drawn(5, 3, dtype=torch.float64).float()).to(torch.float64)
    along = drawn(5, 3, seed=1, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)

    def value(step):
        return semihmm.log_partition(hmm.replace(emission=hmm.emission + step * along), backend=backend)

    def slope(function):
        return lambda x: torch.func.jvp(function, (x,), (one,))[1]

    found = slope(slope(torch.func.grad(value) if third else value))(one)
    x = one.clone().requires_grad_()
    expected = value(x)
    for _ in range(3 if third else 2):
        (expected,) = torch.autograd.grad(expected, [x], create_graph=True)
    assert abs(float(expected.detach())) > 1e-6
    assert_close(found, expected.detach())
