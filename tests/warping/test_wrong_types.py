"""Whatever is passed that is of no use, the library says so by name: all functions of `semihmm.warping` are tried."""

import inspect
import math
from typing import Any

import pytest
import torch

from semihmm import warping
from semihmm.errors import SemihmmError

NO_SERIES = ["a", 1.5, object(), [["a"]], torch.zeros(2, 3, 4, 5), torch.zeros(2, 0), torch.zeros(2, 3).to_sparse()]
NO_SERIES += [torch.zeros(2, 3, device="meta"), torch.zeros(2, 3, dtype=torch.complex64), [torch.nan, 1.0]]
NO_NUMBER: list[Any] = [None, "a", [], 1j, -1, math.nan, math.inf, True, torch.ones(2), torch.tensor(1j), object()]
NO_COUNT: list[Any] = ["a", [], 1.5, 0, -1, 10**30, True, torch.ones(2), object()]
NO_WINDOW: list[Any] = ["a", 1.5, -1, True, 1j, object(), torch.ones(3, 3), torch.ones(3, 2).bool()]
NO_WINDOW += [torch.ones(3, 3).bool().to_sparse(), torch.ones(3, 3, device="meta").bool()]
WRONG: dict[str, list[Any]] = {
    "x": NO_SERIES,
    "y": [*NO_SERIES],
    "query": NO_SERIES,
    "series": NO_SERIES,
    "init": NO_SERIES,
    "weights": ["a", [1.0], torch.ones(2, device="meta"), [-1.0, 1.0], [math.nan, 1.0], object()],
    "gamma": [*NO_NUMBER, 0],
    "tol": NO_NUMBER,
    "k": [None, *NO_COUNT[:5], *NO_COUNT[6:], 10**30],
    "size": NO_COUNT,
    "max_iter": [None, *NO_COUNT],
    "metric": [None, "a", 1, [], object(), torch.ones(2)],
    "step_pattern": [None, "a", 1, [], object(), lambda: None],
    "window": NO_WINDOW,
    "open_begin": [None, "a", 1.5, []],
    "open_end": [None, "a", 1.5, []],
    "divergence": [None, "a", 1, []],
    "reduction": [None, "a", 1, [], torch.ones(2)],
}
TWO = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 2.0]])
GOOD: dict[str, dict[str, Any]] = {
    "dtw": {"x": TWO[0], "y": TWO[1]},
    "soft_dtw": {"x": TWO[0], "y": TWO[1]},
    "soft_dtw_divergence": {"x": TWO[0], "y": TWO[1]},
    "SoftDTWLoss": {},
    "cdist": {"x": TWO, "y": TWO},
    "nearest": {"x": TWO, "y": TWO},
    "lb_keogh": {"x": TWO, "y": TWO},
    "lb_kim": {"x": TWO, "y": TWO},
    "search": {"query": TWO[0], "series": TWO[1]},
    "barycenter": {"x": TWO},
    "soft_barycenter": {"x": TWO},
}
CASES = [
    pytest.param(name, argument, wrong, id=f"{name}-{argument}-{k}")
    for name in GOOD
    for argument in inspect.signature(getattr(warping, name)).parameters
    if argument in WRONG
    for k, wrong in enumerate(WRONG[argument])
]


def ask(name: str, **given: Any) -> Any:
    found = getattr(warping, name)(**{**GOOD[name], **given})
    return found(TWO, TWO) if name == "SoftDTWLoss" else found


def test_all_that_takes_arguments_of_its_own_is_tried() -> None:
    assert set(GOOD) == {
        name for name in warping.__all__ if name not in ("Barycenter", "Matches", "Neighbors", "Warping")
    }
    for name in GOOD:
        ask(name)
        named = set(inspect.signature(getattr(warping, name)).parameters) - {"given", "options"}
        assert named <= set(WRONG), name


@pytest.mark.parametrize(("name", "argument", "wrong"), CASES)
def test_what_is_of_no_use_is_refused_by_name(name: str, argument: str, wrong: Any) -> None:
    owner = name.removesuffix("_divergence")
    with pytest.raises(
        SemihmmError, match=rf"^({owner}|DTW|a lower bound)\b(?s:.*)\b({argument}|cost|features|metrics)\b"
    ):
        ask(name, **{argument: wrong})


@pytest.mark.parametrize("name", ["dtw", "soft_dtw", "barycenter", "soft_barycenter"])
def test_options_are_those_of_every_question(name: str) -> None:
    for wrong in ({"validate": "a"}, {"strategy": "a"}, {"backend": "a"}, {"checkpoint": "a"}):
        with pytest.raises(SemihmmError, match=next(iter(wrong))):
            ask(name, **wrong)
    with pytest.raises(TypeError, match=r"there is no stratgy\. Did you mean strategy"):
        ask(name, stratgy="chunked")
