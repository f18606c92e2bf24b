"""tests/inference/test_fuzz.py: the fuzzer of answers finds none that is off, and would."""

import runpy
from pathlib import Path

import torch

FUZZER = runpy.run_path(str(Path(__file__).with_name("fuzz_answers.py")))
main, off = FUZZER["main"], FUZZER["off"]


def test_random_structures_that_are_hard_on_arithmetic_have_the_answers_of_their_paths(capsys):
    assert main(["--count", "40", "--seed", "7"]) == 0
    assert "40 structures" in capsys.readouterr().out


def test_what_is_off_is_seen():
    one, nan = torch.tensor([1.0]), torch.tensor([torch.nan])
    assert off(one, one + 1e-3, 1e-4) and off(one, nan, 1.0) and off(nan, one, 1.0) and off(-one / 0, one, 1.0)
    assert not off(one, one + 1e-5, 1e-4) and not off(nan, nan, 0.0) and not off(-one / 0, -one / 0, 0.0)
    assert off(one, torch.ones(2), 1.0)
