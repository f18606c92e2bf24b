"""Programs: what is remembered of a form changes no answer, and goes when something is asked that it does not know."""

import sys
import threading

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.engine.backends import native
from semihmm.inference import program
from semihmm.inference.program import best_path_of, posteriors_of, total_of
from semihmm.semirings import Log, Max, SmoothMax

pytestmark = pytest.mark.skipif(native() is None, reason="programs are the native backend's")


def hmm(batch=(), steps=6, states=3, dtype=torch.float64, seed=0, **more):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, *shape, generator=g, dtype=dtype)  # noqa: E731
    return semihmm.HMM(draw(states), draw(states, states), draw(steps, states), **more)


def dtw(batch=(), dtype=torch.float64, **more):
    g = torch.Generator().manual_seed(1)
    return semihmm.DTW(torch.rand(*batch, 4, 5, generator=g, dtype=dtype), **more)


def hsmm(batch=(), **more):
    g = torch.Generator().manual_seed(2)
    draw = lambda *shape: torch.randn(*batch, *shape, generator=g, dtype=torch.float64)  # noqa: E731
    return semihmm.HSMM(draw(2), draw(2, 2), draw(2, 3), draw(6, 2), final=draw(2), **more)


def factorial(batch=(), **more):
    g = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*batch, *shape, generator=g, dtype=torch.float64)  # noqa: E731
    return semihmm.FactorialHMM(draw(2, 2), draw(2, 2, 2), draw(5, 2, 2), draw(2, 2), **more)


FORMS = {
    "one sequence": lambda: hmm(),
    "float": lambda: hmm(dtype=torch.float32),
    "batch": lambda: hmm((4,)),
    "shared": lambda: hmm(seed=3).replace(emission=torch.randn(4, 6, 3, dtype=torch.float64)),
    "one step": lambda: hmm(steps=1),
    "length": lambda: hmm(lengths=torch.tensor(4)),
    "lengths": lambda: hmm((4,), lengths=torch.tensor([6, 1, 3, 5], dtype=torch.int32)),
    "lengths, varying": lambda: hmm((4,), lengths=torch.tensor([6, 1, 3, 5])).replace(
        transition=torch.randn(4, 5, 3, 3, dtype=torch.float64)
    ),
    "expanded": lambda: hmm(seed=3).replace(emission=torch.randn(4, 6, 3, dtype=torch.float64)).expanded(),
    "expanded over time": lambda: semihmm.HMM(
        torch.zeros(3),
        torch.randn(5, 3, 3).expand(4, 5, 3, 3),
        torch.randn(4, 6, 3),
        lengths=torch.tensor([6, 1, 3, 5]),
    ),
    "rows alike": lambda: hmm().replace(transition=torch.randn(3, dtype=torch.float64).expand(3, 3)),
    "steps alike": lambda: hmm((6,)).replace(emission=torch.randn(3, dtype=torch.float64).expand(6, 6, 3)),
    "final": lambda: hmm(final=torch.randn(3, dtype=torch.float64)),
    "varying": lambda: hmm().replace(transition=torch.randn(5, 3, 3, dtype=torch.float64)),
    "banded": lambda: semihmm.HMM(torch.zeros(3), torch.randn(3, 2), torch.randn(5, 3), offsets=(0, 1)),
    "many states": lambda: hmm(states=70, steps=40, dtype=torch.float32),
    "HSMM": lambda: hsmm(),
    "HSMM batch": lambda: hsmm((3,)),
    "HSMM shared": lambda: hsmm().replace(emission=torch.randn(4, 6, 2, dtype=torch.float64)),
    "HSMM varying": lambda: hsmm((3,)).over_time("transition", "duration", "segment"),
    "FactorialHMM": lambda: factorial(),
    "FactorialHMM batch": lambda: factorial((4,), lengths=torch.tensor([5, 1, 3, 4])),
    "FactorialHMM shared": lambda: factorial().replace(emission=torch.randn(4, 5, 2, 2, dtype=torch.float64)),
    "RNNT": lambda: semihmm.RNNT(torch.randn(2, 3, 3), torch.randn(2, 3, 2)),
    "EditDistance": lambda: semihmm.EditDistance(torch.rand(2, 4, 3), torch.rand(4), torch.rand(2, 3)),
    "MonotonicAlignment": lambda: semihmm.MonotonicAlignment(torch.randn(2, 5, 3)),
    "Lattice": lambda: semihmm.Lattice([0, 0, 1, 1], [1, 2, 2, 2], torch.randn(3, 4)),
    "DTW": lambda: dtw(),
    "DTW open": lambda: dtw((2,), step_pattern="symmetric1", open_begin=True, open_end=True),
}


def generally(question, *args, **options):
    """The answer without programs."""
    found = program._made
    program._made = lambda *_: None
    program._PROGRAMS.clear()
    try:
        return question(*args, **options)
    finally:
        program._made = found
        program._PROGRAMS.clear()


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_the_same_bits(form):
    structure = FORMS[form]()
    best, expected = semihmm.viterbi(structure), generally(semihmm.viterbi, structure)
    assert torch.equal(best.event, expected.event) and torch.equal(best.score, expected.score)
    assert torch.equal(best.valid, expected.valid) and best.score.dtype == expected.score.dtype
    for semiring in (Log(), Max(), SmoothMax(0.5)):
        assert torch.equal(semihmm.total(structure, semiring), generally(semihmm.total, structure, semiring))
    assert_close(semihmm.expected_counts(structure), generally(semihmm.expected_counts, structure), rtol=0, atol=0)
    found, marginals = semihmm.marginals(structure), generally(semihmm.marginals, structure)
    assert_close(found.potentials, marginals.potentials, rtol=0, atol=0)


@pytest.mark.parametrize(
    "form",
    [
        *("one sequence", "batch", "length", "lengths", "expanded", "varying", "DTW", "DTW open"),
        *("HSMM", "HSMM shared", "FactorialHMM", "FactorialHMM batch", "RNNT", "EditDistance", "MonotonicAlignment"),
    ],
)
def test_these_forms_have_programs(form):
    structure = FORMS[form]()
    assert total_of(structure, Log(), {}) is not None and best_path_of(structure, {}) is not None
    assert posteriors_of(structure, (structure.observed,), {}) is not None


def test_a_program_looks_at_the_tensors_of_each_call():
    one, other = hmm(seed=1), hmm(seed=2)
    assert not torch.equal(semihmm.log_partition(one), semihmm.log_partition(other))
    again = one.replace(emission=one.emission.clone())
    again.emission[0, 0] += 1
    assert_close(semihmm.log_partition(again), generally(semihmm.log_partition, again))


@pytest.mark.parametrize(
    "unknown",
    [
        lambda: hmm().replace(emission=torch.randn(3, 6, dtype=torch.float64).mT),
        lambda: hmm((2, 2)),
        lambda: hmm((0,)),
        lambda: semihmm.CTC(torch.randn(5, 4), torch.tensor([1, 2])),
        lambda: semihmm.RNNT(torch.randn(3, 3), torch.randn(3, 2), input_lengths=torch.tensor(2)),
        lambda: hsmm(lengths=torch.tensor(4)),
        lambda: hsmm(censored="right"),
        lambda: semihmm.HSMM(
            torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 3), torch.randn(9000, 2)
        ),  # too many to lay out
        lambda: dtw(query_lengths=torch.tensor(3)),
        lambda: semihmm.MonotonicAlignment(torch.randn(5, 3), input_lengths=torch.tensor(4)),
        lambda: dtw(window=torch.ones(4, 5, dtype=torch.bool)),
        lambda: hmm(dtype=torch.float16),
    ],
)
def test_what_a_form_does_not_decide_goes_the_general_way(unknown):
    structure = unknown()
    assert total_of(structure, Log(), {}) is None and best_path_of(structure, {}) is None
    semihmm.viterbi(structure), semihmm.marginals(structure)


def test_a_program_looks_at_the_lengths_of_each_call():
    for lengths in ([6, 2], [3, 6], [1, 1]):
        structure = hmm((2,), lengths=torch.tensor(lengths))
        assert_close(semihmm.log_partition(structure), generally(semihmm.log_partition, structure), rtol=0, atol=0)
    semihmm.log_partition(structure)
    structure.lengths[0] = 9  # who changes them afterwards is told so
    with pytest.raises((ValueError, IndexError), match="length"):
        semihmm.log_partition(structure)


def test_what_lies_behind_the_end_may_be_anything():
    structure = hmm((2,), lengths=torch.tensor([6, 2]))
    emission = structure.emission.clone()
    emission[1, 2:] = torch.nan
    padded = structure.replace(emission=emission)
    assert_close(semihmm.log_partition(padded), semihmm.log_partition(structure))
    assert torch.equal(semihmm.viterbi(padded).event, semihmm.viterbi(structure).event)
    assert_close(semihmm.marginals(padded).emission, semihmm.marginals(structure).emission)


def test_options_have_programs_of_their_own():
    structure = hmm()
    assert total_of(structure, Log(), {"backend": "torch"}) is None
    assert total_of(structure, Log(), {"checkpoint": True}) is None
    assert total_of(structure, Log(), {"backend": "native"}) is not None


def test_derivatives_go_the_general_way():
    structure = hmm()
    emission = structure.emission.clone().requires_grad_()
    asked = structure.replace(emission=emission)
    assert total_of(asked, Log(), {}) is None
    (slope,) = torch.autograd.grad(semihmm.log_partition(asked), emission)
    assert_close(slope, semihmm.marginals(structure).emission)
    with torch.no_grad():
        assert total_of(asked, Log(), {}) is not None


def test_bad_log_weights_are_refused_as_ever():
    structure = hmm()
    bad = structure.emission.clone()
    bad[2, 1] = torch.nan
    for question in (semihmm.log_partition, semihmm.viterbi, semihmm.marginals):
        question(structure)
        with pytest.raises(semihmm.errors.DataError, match=r"emission\[2, 1\] is nan"):
            question(structure.replace(emission=bad))
        question(structure.replace(emission=bad), validate=False)
    cost = torch.full((40, 40), -3e38)
    with pytest.raises(semihmm.errors.DataError, match="are finite, but not their sum"):
        semihmm.viterbi(semihmm.DTW(cost))


def test_no_path_is_no_path():
    structure = hmm().replace(initial=torch.full((3,), -torch.inf, dtype=torch.float64))
    best = semihmm.viterbi(structure)
    assert not best.valid and best.score == -torch.inf and (best.event == -1).all()
    assert semihmm.log_partition(structure) == -torch.inf
    assert not semihmm.marginals(structure).emission.any()


def test_programs_are_bounded():
    for steps in range(1, 2 * program.MOST):
        semihmm.log_partition(hmm(steps=steps, states=1))
    assert len(program._PROGRAMS) <= program.MOST


def test_a_large_form_has_a_program_when_it_comes_twice():
    """What never comes again, such as the recordings of a corpus, would pay for a program and not use it."""
    program._PROGRAMS.clear()
    program._SEEN.clear()
    structure = hmm(steps=program.LARGE // 64 + 1, states=64)
    answers = [posteriors_of(structure, ("emission",), {}) for _ in range(2)]
    assert answers[0] is None and answers[1] is not None
    generally = semihmm.marginals(structure.replace(emission=structure.emission.clone().requires_grad_()))
    assert_close(answers[1][1]["emission"], generally.emission.detach())
    for steps in range(2 * program.MOST):
        total_of(hmm(steps=program.LARGE + steps + 1, states=1), Log(), {})
    assert len(program._SEEN) == program.MOST


def test_what_programs_lay_out_is_bounded():
    """Few programs may be much memory: each says of every log-weight where it is from."""
    program._PROGRAMS.clear()
    for steps in range(1000, 1060):
        structure = semihmm.HSMM(torch.zeros(8), torch.zeros(8, 8), torch.zeros(8, 6), torch.zeros(steps, 8))
        semihmm.log_partition(structure)
    laid_out = [kept.laid_out for kept in program._PROGRAMS.values()]
    assert program.LAID_OUT - max(laid_out) < sum(laid_out) <= program.LAID_OUT


def test_more_threads_than_a_program_was_made_with():
    structure, before = hmm((8,), steps=9000, dtype=torch.float32), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = semihmm.viterbi(structure)
        torch.set_num_threads(2)
        assert torch.equal(semihmm.viterbi(structure).event, expected.event)
    finally:
        torch.set_num_threads(before)


def test_threads_may_share_programs():
    structures = [hmm(steps=s, seed=s) for s in range(1, 9)]
    expected = [semihmm.log_partition(s) for s in structures]
    program._PROGRAMS.clear()
    wrong = []

    def ask():
        for _ in range(20):
            for structure, value in zip(structures, expected, strict=True):
                if not torch.equal(semihmm.log_partition(structure), value):
                    wrong.append(structure)

    workers = [threading.Thread(target=ask) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_threads_may_make_programs():
    """More than are kept, so that some are made while others are dropped."""
    failed = []

    def ask(first):
        try:
            for steps in range(first, first + program.MOST):
                semihmm.log_partition(semihmm.HMM(torch.zeros(1), torch.zeros(1, 1), torch.zeros(steps, 1)))
        except Exception as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(1 + i * program.MOST,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failed == [] and len(program._PROGRAMS) <= program.MOST


@pytest.mark.parametrize(
    "places, message",
    [
        ([(3, 0, [3], [1])], "must name a potential"),
        ([(0, 0, [4], [1])], "must lie within its potential"),
        ([(0, -1, [3], [1])], "must lie within its potential"),
        ([(0, 0, [3], [1, 1])], "as many strides as sizes"),
        ([(0, 0, [-1], [1])], "sizes and strides from 0 on"),
        ([(torch.tensor([0, 3]), torch.ones(2).double(), torch.zeros(2).double())], "entries of the potentials"),
        ([(torch.tensor([0, 1]), torch.ones(2), torch.zeros(2).double())], "alike and in one piece"),
        ([(torch.tensor([0, 1]), torch.ones(3).double(), torch.zeros(2).double())], "alike and in one piece"),
    ],
)
def test_a_compiled_program_refuses_places_outside(places, message):
    with pytest.raises(ValueError, match=message):
        native().Program(0, 1.0, False, [1, 0, 0], False, 1, 2, 1.0, [torch.zeros(3)], places)


def test_a_compiled_program_refuses_tensors_of_another_form():
    made = native().Program(
        0, 1.0, False, [1, 0, 0], False, 1, 2, 1.0, [torch.zeros(3)], [(0, 0, [3], [1]), torch.zeros(1, 3)]
    )
    for bad in ([torch.zeros(2)], [torch.zeros(3).double()], [torch.zeros(6)[::2]], [], [torch.zeros(3)] * 2, [None]):
        with pytest.raises((ValueError, TypeError)):
            made.total(bad, None, True, 1)
    with pytest.raises(ValueError):  # a spec that does not fit its tensors is refused when it is used
        made.total([torch.zeros(3)], None, True, 1)
