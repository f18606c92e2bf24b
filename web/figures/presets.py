"""Writes src/trellis/presets.json: weights for the trellis explorer, and every table that semihmm computes of them.

    .venv/bin/python web/figures/presets.py

An entry of a table is a total of a shorter structure: alpha ends in one state after t steps, beta begins in it. Keys
are those of src/trellis/graphs.js. A test compares the file with what this makes, and the figure's program with both.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import semihmm
from semihmm import CTC, DTW, HMM, HSMM
from semihmm.semirings import Count, Log, Max, Semiring, SmoothMax, TopK

FILE = Path(__file__).parent / "src" / "trellis" / "presets.json"
TEMPERATURES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
MOST = 8  # paths that are kept
SEMIRINGS = {"log": Log(), "max": Max(), "count": Count(), "topk": TopK(MOST)}
SEMIRINGS |= {f"smooth {gamma:g}": SmoothMax(gamma) for gamma in TEMPERATURES}
Potentials = dict[str, Any]
INF = math.inf


def tensors(potentials: Potentials) -> dict[str, Tensor]:
    """Lists as float64."""
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in potentials.items()}


def structure(kind: str, potentials: Potentials, targets: list[int] | None = None) -> Any:
    """The structure with these log-weights; those of a DTW are costs."""
    weights = tensors(potentials)
    if kind == "ctc":
        return CTC(weights["emission"], torch.tensor(targets))
    if kind == "dtw":
        return DTW(weights["cost"], step_pattern="symmetric1")
    return {"hmm": HMM, "hsmm": HSMM}[kind](**weights)


def tables(kind: str, made: Any, semiring: Semiring) -> tuple[dict[str, Any], dict[str, Any]]:
    """The alpha and the beta of every node but the start and the end."""
    return {"hmm": hmm_tables, "hsmm": hsmm_tables, "ctc": ctc_tables, "dtw": dtw_tables}[kind](made, semiring)


def _only(states: int) -> Tensor:
    """Row j allows state j alone."""
    return torch.eye(states, dtype=torch.float64).log()


def _totals(made: Any, semiring: Semiring) -> list[Any]:
    """Of a batch; of TopK, a list each."""
    value = semihmm.total(made, semiring)
    return (value.movedim(0, -1) if isinstance(semiring, TopK) else value).tolist()


def _batch(made: Any, count: int, **changed: Tensor) -> Any:
    """`count` copies of a structure without batch axes, but for what is changed."""
    changed |= {"emission": changed.get("emission", made.emission).expand(count, -1, -1)}
    return replace(made, **changed)


def hmm_tables(hmm: HMM, semiring: Semiring) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each step and state."""
    steps, states = hmm.emission.shape
    alpha, beta = {}, {}
    for t in range(1, steps + 1):
        before = _totals(_batch(hmm, states, emission=hmm.emission[:t], final=_only(states)), semiring)
        if t < steps:
            after = _totals(_batch(hmm, states, emission=hmm.emission[t:], initial=hmm.transition), semiring)
        else:
            after = [_one(semiring)] * states
        alpha |= {f"{t},{j + 1}": value for j, value in enumerate(before)}
        beta |= {f"{t},{j + 1}": value for j, value in enumerate(after)}
    return alpha, beta


def hsmm_tables(hsmm: HSMM, semiring: Semiring) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each step at which a segment ends, or the next one begins, and its state."""
    steps, states = hsmm.emission.shape
    begins = _batch(hsmm, states, initial=_only(states))
    alpha, beta = {}, {}
    for t in range(steps + 1):
        until, since = hsmm.emission[:t], hsmm.emission[t:].expand(states, -1, -1)
        if t:
            ended = _totals(_batch(hsmm, states, emission=until, final=_only(states)), semiring)
            onward = _totals(_batch(hsmm, states, emission=until, final=hsmm.transition.T), semiring)
            alpha |= {f"ended {t},{j + 1}": value for j, value in enumerate(ended)}
        else:
            lifted = semiring.lift(hsmm.initial)
            onward = [_list(semiring, value) for value in lifted.unbind(-1)]
        if t < steps:
            alpha |= {f"begun {t},{j + 1}": value for j, value in enumerate(onward)}
            rest = _totals(replace(begins, emission=since), semiring)
            beta |= {f"begun {t},{j + 1}": value for j, value in enumerate(rest)}
        if 0 < t < steps:
            rest = _totals(_batch(hsmm, states, emission=hsmm.emission[t:], initial=hsmm.transition), semiring)
            beta |= {f"ended {t},{j + 1}": value for j, value in enumerate(rest)}
        elif t:
            beta |= {f"ended {t},{j + 1}": _one(semiring) for j in range(states)}
    return alpha, beta


def ctc_tables(ctc: CTC, semiring: Semiring) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each frame and place: blank, token, blank, ..."""
    hmm = ctc.hmm()
    steps, places = ctc.emission.shape[0], hmm.initial.shape[-1]
    onward = torch.full((places, places), -INF, dtype=torch.float64)  # from, to
    for offset in range(hmm.transition.shape[-1]):
        to = torch.arange(offset, places)
        onward[to - offset, to] = hmm.transition[to, offset]
    alpha, beta = {}, {}
    for t in range(1, steps + 1):
        before = _totals(_batch(hmm, places, emission=hmm.emission[:t], final=_only(places)), semiring)
        if t < steps:
            after = _totals(_batch(hmm, places, emission=hmm.emission[t:], initial=onward), semiring)
        else:
            after = [_list(semiring, value) for value in semiring.lift(hmm.final).unbind(-1)]
        alpha |= {f"{t},{p + 1}": value for p, value in enumerate(before)}
        beta |= {f"{t},{p + 1}": value for p, value in enumerate(after)}
    return alpha, beta


def dtw_tables(dtw: DTW, semiring: Semiring) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of each cell."""
    alpha, beta = {}, {}
    height, width = dtw.cost.shape
    for i in range(height):
        for j in range(width):
            rest = dtw.cost[i:, j:].clone()
            rest[0, 0] = 0.0  # the cell itself is alpha's
            for table, cost in ((alpha, dtw.cost[: i + 1, : j + 1]), (beta, rest)):
                value = semihmm.total(replace(dtw, cost=cost), semiring)
                table[f"{i + 1},{j + 1}"] = _list(semiring, value)
    return alpha, beta


def _one(semiring: Semiring) -> Any:
    return _list(semiring, semiring.lift(torch.zeros((), dtype=torch.float64)))


def _list(semiring: Semiring, value: Tensor) -> Any:
    values = value.tolist()
    return values + [-INF] * (MOST - len(values)) if isinstance(semiring, TopK) else values


def answers(kind: str, made: Any, name: str) -> dict[str, Any]:
    """What src/trellis/answers.js answers, through the public API."""
    semiring = SEMIRINGS[name]
    alpha, beta = tables(kind, made, semiring)
    result: dict[str, Any] = {"total": semihmm.total(made, semiring).tolist(), "alpha": alpha, "beta": beta}
    if name == "log":
        posterior = semihmm.marginals(made)
        sign = -1.0 if kind == "dtw" else 1.0  # marginals count how often a cell is used; its gradient is minus that
        result["gradient"] = {field: (sign * getattr(posterior, field)).tolist() for field in made.ranks}
    elif name.startswith("smooth"):
        fields = {field: getattr(made, field).clone().requires_grad_() for field in made.ranks}
        total = semihmm.total(replace(made, **fields), semiring)
        gradients = torch.autograd.grad(total, list(fields.values()))
        result["gradient"] = {field: g.tolist() for field, g in zip(fields, gradients, strict=True)}
    elif name in ("max", "topk"):
        best = semihmm.topk(made, 1 if name == "max" else MOST)
        result["paths"] = [
            {"score": float(score), "event": event_of(kind, event)}
            for score, event, valid in zip(best.score, best.event, best.valid, strict=True)
            if valid
        ]
    return result


def event_of(kind: str, event: Tensor) -> Any:
    """Without what fills it up."""
    return event.tolist() if kind == "hmm" else [item for item in event.tolist() if item != [-1, -1, -1][: len(item)]]


def shortened(values: Any) -> Any:
    """For JSON: six decimals, no infinity, and lists of the k best without those that do not exist."""
    if isinstance(values, dict):
        return {name: shortened(value) for name, value in values.items()}
    if isinstance(values, list):
        return [shortened(value) for value in values]
    if isinstance(values, float):
        return "-inf" if values == -INF else round(values, 6) + 0.0
    return values


def only_real(values: Any) -> Any:
    """Tables of TopK: lists without -inf."""
    if isinstance(values, dict):
        return {name: only_real(value) for name, value in values.items()}
    return [value for value in values if value != -INF] if isinstance(values, list) else values


def preset(name: str, title: str, kind: str, potentials: Potentials, **options: Any) -> dict[str, Any]:
    """One preset, as it is written."""
    potentials = shortened({field: (x.tolist() if isinstance(x, Tensor) else x) for field, x in potentials.items()})
    series = {field: potentials.pop(field) for field in ("query", "reference") if field in potentials}
    if series:
        x, y = (torch.tensor(values, dtype=torch.float64) for values in series.values())
        potentials["cost"] = (x[:, None] - y).abs().tolist()
    readable = {field: _finite(values) for field, values in potentials.items()}
    made = structure(kind, readable, options.get("targets"))
    found = {}
    for semiring in SEMIRINGS:
        answer = answers(kind, made, semiring)
        if semiring == "topk":
            answer |= {part: only_real(answer[part]) for part in ("alpha", "beta", "total")}
        found[semiring] = shortened(answer)
    return {"name": name, "title": title, "kind": kind, **options, "potentials": series or potentials, "tables": found}


def _finite(values: Any) -> Any:
    """Read back what `shortened` wrote."""
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return -INF if values == "-inf" else values


def presets() -> list[dict[str, Any]]:
    """All of them, in the order in which they are offered."""
    generator = torch.Generator().manual_seed(0)
    initial, transition, emission = (  # as in docs/tutorials/equations.md, to two decimals
        torch.randn(shape, generator=generator, dtype=torch.float64).mul(100).round() / 100
        for shape in ((3,), (3, 3), (5, 3))
    )
    letters = ["-", "a", "b", "c"]

    def frames(said: str) -> list[list[float]]:
        """Log-probabilities of blank, a, b, c per frame, which hear a letter, or two letters in doubt."""
        rows = []
        for frame in said.split():
            scores = torch.zeros(4, dtype=torch.float64)
            for token, loud in zip(frame[::2], frame[1::2], strict=True):
                scores[letters.index(token)] = float(loud)
            rows.append((scores.log_softmax(-1) * 100).round() / 100)
        return torch.stack(rows).tolist()

    return [
        preset(
            "equations",
            "Three states, five steps",
            "hmm",
            {"initial": initial, "transition": transition, "emission": emission},
        ),
        preset(
            "sticky",
            "Two states that last, and one odd step",
            "hmm",
            {
                "initial": [-0.7, -0.7],
                "transition": [[-0.2, -1.7], [-1.7, -0.2]],
                "emission": [[0.8, -0.8], [0.6, -0.6], [-0.5, 0.5], [0.7, -0.7], [-0.9, 0.9], [-0.8, 0.8]],
            },
        ),
        preset(
            "onward",
            "Left to right: some arcs are forbidden",
            "hmm",
            {
                "initial": [0.0, -INF, -INF],
                "transition": [[-0.5, -0.9, -INF], [-INF, -0.5, -0.9], [-INF, -INF, 0.0]],
                "emission": [[0.5, 0.0, -0.5], [0.4, 0.2, -0.6], [-0.3, 0.6, 0.1], [0.0, 0.1, 0.2], [-0.8, 0.0, 0.9]],
            },
        ),
        preset(
            "ties",
            "All paths alike: the lowest index wins",
            "hmm",
            {"initial": [0.0] * 3, "transition": [[0.0] * 3] * 3, "emission": [[0.0] * 3] * 4},
        ),
        preset(
            "lasting",
            "Two states, up to three steps each",
            "hsmm",
            {
                "initial": [-0.7, -0.7],
                "transition": [[-INF, 0.0], [0.0, -INF]],
                "duration": [[-1.6, -0.7, -1.2], [-2.3, -1.2, -0.5]],
                "emission": [[0.9, -0.3], [0.7, -0.2], [-0.4, 0.6], [-0.2, 0.9], [0.5, 0.3], [0.8, -0.6]],
            },
        ),
        preset(
            "repeats",
            "A state may follow itself",
            "hsmm",
            {
                "initial": [0.0, -0.5],
                "transition": [[-0.9, -0.5], [-0.5, -0.9]],
                "duration": [[-1.1, -1.1, -1.1], [-0.4, -1.2, -2.3]],
                "emission": [[0.5, -0.5], [-0.4, 0.4], [0.6, -0.1], [-0.7, 0.8], [-0.3, 0.2]],
            },
        ),
        preset(
            "ab",
            "“ab” in six frames",
            "ctc",
            {"emission": frames("-2a1 a3 a2b1 -1b1 b3 -2b1")},
            targets=[1, 2],
            letters=letters,
        ),
        preset(
            "aa",
            "“aa”: a blank must part them",
            "ctc",
            {"emission": frames("a3 a2-1 a1-1 a2-1 a3 -2")},
            targets=[1, 1],
            letters=letters,
        ),
        preset(
            "cab",
            "“cab” in five frames",
            "ctc",
            {"emission": frames("c2-1 c1a1 a2 b1a1 b2-1")},
            targets=[3, 1, 2],
            letters=letters,
        ),
        preset(
            "shifted",
            "A bump that comes later",
            "dtw",
            {"query": [0.0, 1.5, 2.0, 0.5, 0.0], "reference": [0.0, 0.2, 0.4, 1.6, 2.1, 0.3]},
        ),
        preset(
            "slower",
            "The same rise, slower",
            "dtw",
            {"query": [0.0, 1.0, 2.0, 3.0], "reference": [0.0, 0.4, 0.9, 1.4, 2.1, 2.6, 3.0]},
        ),
        preset(
            "equal",
            "Whole numbers: ties",
            "dtw",
            {"query": [0.0, 1.0, 1.0, 2.0], "reference": [0.0, 1.0, 2.0, 2.0]},
        ),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps(presets(), separators=(",", ":"), ensure_ascii=False) + "\n")
