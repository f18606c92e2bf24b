"""Under every transform of torch.func, each question about each structure has the answer that a loop would give.

Each structure and backend has a process of its own (`transforms.py`), so that a crash is a failed test. What is not
supported says so in one sentence, and the table in docs/guides/strategies.md says the same.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

import semihmm
from semihmm.engine import Chain, Dense, Grid, Sparse
from semihmm.engine.backends import native
from semihmm.errors import SemihmmError, ShapeError

HERE = Path(__file__).parent
BACKENDS = ["torch", *(["native"] if native() is not None else [])]
KINDS = [
    "HMM",
    "HSMM",
    "CTC",
    "DTW",
    "RNNT",
    "EditDistance",
    "Lattice",
    "MonotonicAlignment",
]  # with the widest `ranks`
WARNINGS = ["-W", "error", "-W", "ignore:`torch.jit.script` is deprecated:DeprecationWarning"]  # PyTorch's own jvp
COLUMNS = {
    "vmap": (
        "vmap",
        "vmap of one",
        "nested vmap",
        "vmap over all batch axes",
        *(f"vmap in axis {i}" for i in range(1, 5)),
    ),
    "grad": ("grad", "vmap of grad"),
    "jvp": ("jvp",),
    "jacrev": ("jacrev",),
    "hessian": ("hessian",),
}


@cache
def table() -> dict[str, dict[str, str]]:
    """What the documentation says: for each question and transform, ``yes`` or ``no`` (and what goes with it)."""
    lines = (HERE.parent / "docs" / "guides" / "strategies.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    head = next(i for i, row in enumerate(rows) if row[0] == "question")
    names = rows[head][1:]
    assert names == [*COLUMNS]
    body = rows[head + 2 :]
    length = next((i for i, row in enumerate(body) if len(row) != len(names) + 1), len(body))
    return {row[0]: dict(zip(names, row[1:], strict=True)) for row in body[:length]}


def tried(kind: str, backend: str) -> dict[tuple[str, str], str]:
    """What came of each case; of the one in which the process died, that."""
    result = subprocess.run(
        [sys.executable, *WARNINGS, HERE / "transforms.py", kind, backend],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outcomes: dict[tuple[str, str], str] = {}
    for line in result.stdout.splitlines():
        question, transform, *outcome = json.loads(line)
        outcomes[question, transform] = outcome[0] if outcome else f"died with {result.returncode}: {result.stderr}"
    assert outcomes, result.stderr
    if result.returncode:
        outcomes.setdefault(("", ""), f"died with {result.returncode}: {result.stderr}")
    return outcomes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_transform_gives_what_a_loop_gives(kind: str, backend: str) -> None:
    outcomes, says = tried(kind, backend), table()
    columns = {transform: column for column, transforms in COLUMNS.items() for transform in transforms}
    wrong = {}
    for (question, transform), outcome in outcomes.items():
        supported = says[question][columns[transform]].startswith("yes") if question else True
        if not (outcome == "same" if supported else outcome.startswith("refused: ")):
            wrong[question, transform] = outcome
    assert not wrong
    without = {"filtering"} if kind in ("DTW", "RNNT", "EditDistance", "Lattice") else set()
    assert {question for question, _ in outcomes} == says.keys() - without
    assert {columns[transform] for _, transform in outcomes} == COLUMNS.keys()


def test_draws_under_vmap_say_how_they_are_drawn() -> None:
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(40, 2))

    def event(emission):
        return semihmm.sample(hmm.replace(emission=emission), (3,)).event

    several = torch.zeros(2, 40, 2)
    with pytest.raises(
        SemihmmError, match=r"sample: inside torch\.func\.vmap, .* pass randomness='same' or 'different'"
    ):
        torch.func.vmap(event)(several)
    one, two = torch.func.vmap(event, randomness="same")(several)
    assert torch.equal(one, two)
    one, two = torch.func.vmap(event, randomness="different")(several)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("backend", BACKENDS)
def test_vmap_goes_over_lengths_targets_and_shared_potentials(backend: str) -> None:
    g = torch.Generator().manual_seed(0)
    cost, emission = torch.rand(2, 4, 5, generator=g), torch.randn(2, 6, 2, generator=g)
    lengths, targets = torch.tensor([[4, 2], [1, 3]]), torch.tensor([[1, 2], [1, 1]])
    transition = torch.randn(3, 2, 2, generator=g)

    def of_lengths(n):
        return semihmm.log_partition(semihmm.DTW(cost, query_lengths=n), backend=backend)

    def of_targets(t):
        return semihmm.log_partition(semihmm.CTC(emission[0].repeat(1, 2), t), backend=backend)

    def of_transition(w):
        return semihmm.log_partition(semihmm.HMM(torch.zeros(2), w, emission), backend=backend)

    for function, given in ((of_lengths, lengths), (of_targets, targets), (of_transition, transition)):
        torch.testing.assert_close(torch.func.vmap(function)(given), torch.stack([function(x) for x in given]))


def test_vmap_does_not_go_over_which_paths_there_are() -> None:
    both = torch.tensor([[0, 0, 1], [0, 1, 0]])
    grid = Grid.of(((1, 0), (0, 1)), torch.zeros(2, 3, 3))

    def arcs(source):
        return semihmm.HMM(
            torch.zeros(2), torch.zeros(3), torch.zeros(4, 2), arcs=(source, torch.tensor([0, 1, 1]))
        ).arcs

    def lattice(source):
        return semihmm.Lattice(source, torch.tensor([1, 2, 2]), torch.zeros(3)).source

    def sparse(source):
        return Chain((torch.zeros(3),), Sparse(torch.zeros(1, 3, 1), source.reshape(1, 3, 1)), length=2).start

    def tables(row):
        steps = Grid(grid.weight, row, grid.source, grid.plane, grid.factor, grid.low, grid.high, grid.memory)
        return Chain((torch.zeros(3),), steps).start

    for function in (arcs, lattice, sparse, tables):
        with pytest.raises(ShapeError, match="so vmap cannot map over it"):
            torch.func.vmap(function)(both)


def test_a_square_matrix_is_needed_under_vmap_too() -> None:
    with pytest.raises(ShapeError, match="as many slots before as after"):
        torch.func.vmap(lambda x: Chain((torch.zeros(2),), Dense(x), length=1).start)(torch.zeros(3, 1, 3, 2))
