"""Which code does the work: compiled code wherever it can and PyTorch is not named."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import warping
from semihmm.errors import SemihmmError
from semihmm.semirings import Boolean, Count, Log, Max, Min, SecondOrderExpectation, TopK
from semihmm.testing.examples import small

pytestmark = pytest.mark.usefixtures("needs_native")
QUESTIONS = {
    "log_partition": (semihmm.log_partition, ["total"]),
    "marginals": (semihmm.marginals, ["gradient"]),
    "viterbi": (semihmm.viterbi, ["paths"]),
    "topk": (lambda hmm: semihmm.topk(hmm, 3), ["paths"]),
    "sample": (lambda hmm: semihmm.sample(hmm, (5,)), ["paths"]),
    "expectation": (lambda hmm: semihmm.expectation(hmm, hmm), ["total"]),
}


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "DTW"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_compiled_code_is_what_answers(question, kind, native_calls):
    ask, expected = QUESTIONS[question]
    structure = small(kind, (2,), 4)
    ask(structure)
    assert native_calls == expected
    assert "backend native" in semihmm.explain(structure)


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC"])
def test_the_compiled_code_filters(kind, native_calls):
    semihmm.filtering(small(kind, (2,), 4))
    assert native_calls == ["vectors"]


def test_the_compiled_code_finds_where_an_open_end_is_best(native_calls):
    warping.dtw(torch.rand(5, 7), step_pattern="symmetric2", open_end=True)
    assert native_calls == ["vectors", "paths"]


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "DTW"])
@pytest.mark.parametrize("semiring", [Max(), Min(), TopK(3)], ids=repr)
def test_the_compiled_code_differentiates_best_totals(semiring, kind, native_calls):
    structure = small(kind, (2,), 4)
    x = structure.potentials[structure.observed].clone().requires_grad_()
    value = semihmm.total(structure.replace(**{structure.observed: x}), semiring)
    torch.autograd.grad(value.where(value.isfinite(), 0.0).sum(), x)
    assert native_calls == ["paths", "gradient_of_paths"]


def test_the_compiled_code_has_its_share_in_an_entropy(native_calls):
    semihmm.entropy(small("HMM", (2,), 4))
    assert "total" in native_calls


def test_a_call_that_names_pytorch_gets_it(native_calls):
    hmm = small("HMM", (2,), 4)
    semihmm.marginals(hmm, backend="torch")
    semihmm.viterbi(hmm, backend="torch")
    semihmm.log_partition(hmm, strategy="associative")
    assert native_calls == []
    assert "backend torch" in semihmm.explain(hmm, backend="torch")


def test_what_has_no_kernel_is_refused_by_name():
    hmm = small("HMM", (2,), 4)

    def refused(message, structure=hmm, semiring=None, **options):
        with pytest.raises(SemihmmError, match=f"^backend='native' cannot do this: {message}. Pass backend=None for"):
            semihmm.total(structure, semiring or Log(), backend="native", **options)

    refused(r"no kernel for Count\(\)", semiring=Count())
    refused(r"no kernel for SecondOrderExpectation\(\)", semiring=SecondOrderExpectation(), features=[hmm, hmm])
    refused("no kernel for torch.bfloat16", hmm.to(torch.bfloat16))
    refused("no kernel for torch.float16", hmm.to(torch.float16))
    refused("strategy='associative' is the torch backend's", strategy="associative")
    with pytest.raises(SemihmmError, match=r"^backend must be one of torch, native"):
        semihmm.log_partition(hmm, backend="cuda")


def test_what_has_no_kernel_is_done_by_pytorch_unless_a_backend_is_named(native_calls):
    hmm = small("HMM", (2,), 4)
    assert semihmm.total(hmm, Boolean()).tolist() == [True, True]
    found = semihmm.log_partition(hmm.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert_close(found.double(), semihmm.log_partition(hmm, backend="torch"), rtol=0.05, atol=0.05)
    assert native_calls == []


def test_without_the_module_the_numbers_are_the_same():
    code = (
        "import torch, semihmm; from semihmm.testing.examples import small\n"
        "for kind in ('HMM', 'HSMM', 'CTC', 'DTW'):\n"
        "    s = small(kind, (2,), 4); print(semihmm.explain(s).count('backend torch'))\n"
        "    print(semihmm.log_partition(s).tolist(), semihmm.viterbi(s).event.tolist(), sep='\\n')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"SEMIHMM_BACKEND": "torch"}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    lines = iter(found.stdout.splitlines())
    for kind in ("HMM", "HSMM", "CTC", "DTW"):
        structure = small(kind, (2,), 4)
        assert next(lines) == "1"
        expected = torch.tensor(json.loads(next(lines).replace("-inf", "-Infinity")), dtype=torch.float64)
        assert_close(semihmm.log_partition(structure), expected)
        assert semihmm.viterbi(structure).event.tolist() == json.loads(next(lines))
