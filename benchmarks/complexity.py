"""How time and memory grow with each size, beside the formulas that say how they should.

    python benchmarks/complexity.py [--only STRUCTURE] [--smoke] [--out DIR]

One size at a time is doubled, the others stay. The exponent is the slope of the logarithm of the time against the
logarithm of the size, by least squares: 1 is proportional, 2 is quadratic. Time is CPU seconds of one thread, the least
of several calls taken in turns, so that other processes on the machine disturb it little; memory is the bytes that
autograd keeps between a total and its gradient. An exponent below that of the formula means that, at these sizes,
something else takes time too: a call, a step, a vector of the CPU that is not full yet. Float32.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _measure import milliseconds, show
from torch import Tensor

import semihmm
from semihmm import semirings

HERE = Path(__file__).parent
SLACK = 0.25  # by how much an exponent may be above the formula's
Call = Callable[[], object]
Make = Callable[[int], semihmm.Structure]


def draw(*shape: int) -> Tensor:
    """Log-weights."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def hmm(steps: int = 500, states: int = 32, batch: int = 4) -> semihmm.Structure:
    """All transitions."""
    return semihmm.HMM(draw(states), draw(states, states), draw(batch, steps, states))


def banded(steps: int = 500, states: int = 256, width: int = 2) -> semihmm.Structure:
    """Left to right."""
    offsets = tuple(range(width))
    return semihmm.HMM(draw(states), draw(states, width), draw(4, steps, states), offsets=offsets)


def arcs(steps: int = 200, count: int = 2000, states: int = 500) -> semihmm.Structure:
    """Any sparse graph."""
    g = torch.Generator().manual_seed(1)
    pairs = torch.randperm(states * states, generator=g)[:count]
    return semihmm.HMM(draw(states), draw(count), draw(4, steps, states), arcs=(pairs // states, pairs % states))


def factorial(steps: int = 100, states: int = 16) -> semihmm.Structure:
    """Two chains."""
    return semihmm.FactorialHMM(draw(2, states), draw(2, states, states), draw(steps, states, states))


def hsmm(steps: int = 500, states: int = 16, longest: int = 32) -> semihmm.Structure:
    """Explicit durations."""
    return semihmm.HSMM(draw(states), draw(states, states), draw(states, longest), draw(4, steps, states))


def ctc(steps: int = 500, tokens: int = 50) -> semihmm.Structure:
    """32 kinds of tokens."""
    targets = torch.randint(1, 32, (4, tokens), generator=torch.Generator().manual_seed(1))
    return semihmm.CTC(draw(4, steps, 32).log_softmax(-1), targets)


def monotonic(steps: int = 1000, tokens: int = 100) -> semihmm.Structure:
    """Frames by tokens."""
    return semihmm.MonotonicAlignment(draw(4, steps, tokens))


def rnnt(steps: int = 200, tokens: int = 100) -> semihmm.Structure:
    """Frames by labels."""
    return semihmm.RNNT(label=draw(4, steps, tokens), blank=draw(4, steps, tokens + 1))


def dtw(items: int = 256, window: int | None = None) -> semihmm.Structure:
    """Two series of as many items."""
    return semihmm.DTW(draw(4, items, items).abs(), window=window)


def edits(items: int = 256) -> semihmm.Structure:
    """Two sequences of as many items."""
    return semihmm.EditDistance(draw(items, items).abs(), draw(items).abs(), draw(items).abs())


def lattice(levels: int = 100, width: int = 10) -> semihmm.Structure:
    """Levels of nodes, with an arc from each node of a level to each one of the next."""
    first = torch.arange(levels - 1).repeat_interleave(width * width) * width
    source = first + torch.arange(width).repeat_interleave(width).repeat(levels - 1)
    target = first + width + torch.arange(width).repeat(width).repeat(levels - 1)
    start, nodes = torch.full((width,), 0), levels * width
    source = torch.cat([start, source + 1, torch.arange(nodes - width, nodes) + 1])
    target = torch.cat([torch.arange(width) + 1, target + 1, torch.full((width,), nodes + 1)])
    return semihmm.Lattice(source, target, draw(len(source)))


# ---- what is asked

OFF: dict[str, Any] = {"validate": False}
Ask = Callable[[semihmm.Structure], Call]


def asks(**questions: Callable[[semihmm.Structure], object]) -> dict[str, Ask]:
    """Questions as calls that autograd does not follow."""

    def ask(question: Callable[[semihmm.Structure], object]) -> Ask:
        return lambda structure: torch.no_grad()(lambda: question(structure))

    return {name.replace("_", " "): ask(question) for name, question in questions.items()}


QUESTIONS = asks(
    log_partition=lambda x: semihmm.log_partition(x, **OFF),
    expected_counts=lambda x: semihmm.expected_counts(x, **OFF),
    viterbi=lambda x: semihmm.viterbi(x, **OFF),
)
EVERY = QUESTIONS | asks(
    topk=lambda x: semihmm.topk(x, 4, **OFF),
    sample=lambda x: semihmm.sample(x, (8,), generator=torch.Generator().manual_seed(0), **OFF),
    entropy=lambda x: semihmm.entropy(x, **OFF),
)


@dataclass(frozen=True)
class Growth:
    """What is doubled.

    Args:
        structure, size: their names.
        make: the structure of a size.
        sizes: the smallest and the largest.
        formula: the exponent that the formula has.
        questions: what is asked.
    """

    structure: str
    size: str
    make: Make
    sizes: tuple[int, int]
    formula: float
    questions: dict[str, Ask]

    def steps(self, smoke: bool) -> list[int]:
        """The sizes, each twice the one before."""
        least, most = self.sizes
        count = round(math.log2(most / least)) + 1
        return [least * 2**i for i in range(2 if smoke else count)]


def by_strategy(name: str) -> dict[str, Ask]:
    """A log-partition of the torch backend, by the strategy that is named."""
    return asks(log_partition=lambda x: semihmm.log_partition(x, strategy=name, backend="torch", **OFF))


def growths() -> Iterator[Growth]:
    """All that is measured."""
    yield Growth("HMM", "T", lambda n: hmm(steps=n), (1000, 8000), 1, EVERY)
    yield Growth("HMM", "S", lambda n: hmm(steps=100, states=n), (128, 1024), 2, EVERY)
    yield Growth("HMM, banded", "T", lambda n: banded(steps=n), (500, 4000), 1, QUESTIONS)
    yield Growth("HMM, banded", "S", lambda n: banded(steps=200, states=n), (512, 4096), 1, QUESTIONS)
    yield Growth("HMM, banded", "K", lambda n: banded(states=1024, width=n), (4, 32), 1, QUESTIONS)
    yield Growth("HMM, arcs", "T", lambda n: arcs(steps=n), (200, 1600), 1, QUESTIONS)
    yield Growth("HMM, arcs", "A", lambda n: arcs(count=n), (16_000, 128_000), 1, QUESTIONS)
    yield Growth("FactorialHMM, d 2", "S", lambda n: factorial(states=n), (16, 128), 3, QUESTIONS)
    yield Growth("HSMM", "T", lambda n: hsmm(steps=n), (500, 4000), 1, EVERY)
    yield Growth("HSMM", "S", lambda n: hsmm(states=n, steps=100, longest=8), (64, 512), 2, QUESTIONS)
    yield Growth("HSMM", "D", lambda n: hsmm(longest=n), (64, 512), 1, EVERY)
    yield Growth("CTC", "T", lambda n: ctc(steps=n), (1000, 8000), 1, QUESTIONS)
    yield Growth("CTC", "U", lambda n: ctc(tokens=n, steps=2000), (100, 800), 1, QUESTIONS)
    yield Growth("MonotonicAlignment", "T", lambda n: monotonic(steps=n), (1000, 8000), 1, QUESTIONS)
    yield Growth("MonotonicAlignment", "U", lambda n: monotonic(tokens=n), (100, 800), 1, QUESTIONS)
    yield Growth("RNNT", "T", lambda n: rnnt(steps=n), (100, 800), 1, QUESTIONS)
    yield Growth("RNNT", "U", lambda n: rnnt(tokens=n), (400, 3200), 1, QUESTIONS)
    yield Growth("DTW", "N = M", lambda n: dtw(items=n), (256, 2048), 2, QUESTIONS)
    yield Growth("DTW, in a window of 16", "N = M", lambda n: dtw(items=n, window=16), (256, 2048), 2, QUESTIONS)
    yield Growth("EditDistance", "N = M", lambda n: edits(items=n), (256, 2048), 2, QUESTIONS)
    yield Growth("Lattice", "levels", lambda n: lattice(levels=n), (100, 800), 1, QUESTIONS)
    yield Growth("HMM, sequential", "T", lambda n: hmm(steps=n, states=8), (250, 2000), 1, by_strategy("sequential"))
    yield Growth("HMM, chunked", "T", lambda n: hmm(steps=n, states=8), (250, 2000), 1, by_strategy("chunked"))
    yield Growth("HMM, associative", "T", lambda n: hmm(steps=n, states=8), (250, 2000), 1, by_strategy("associative"))
    few = {"steps": 500, "batch": 1}
    yield Growth("HMM, chunked", "S", lambda n: hmm(states=n, **few), (16, 64), 3, by_strategy("chunked"))
    yield Growth("HMM, associative", "S", lambda n: hmm(states=n, **few), (8, 32), 3, by_strategy("associative"))


def counted(smoke: bool) -> Iterator[dict[str, Any]]:
    """How k best paths, n samples and m features grow with k, n and m, of one HMM."""
    chain = hmm(steps=50 if smoke else 500, states=16)

    def features(count: int) -> object:
        given = [chain.feature(emission=draw(4, chain.steps, 16))] * count
        return semihmm.total(chain, semirings.Expectation(count), given, **OFF)

    answers: dict[str, tuple[str, Callable[[int], object], tuple[int, int]]] = {
        "topk": ("k", lambda n: semihmm.topk(chain, n, **OFF), (8, 64)),
        "sample": ("n", lambda n: semihmm.sample(chain, (n,), **OFF), (32, 256)),
        "total in Expectation(m)": ("m", features, (2, 16)),
    }
    for name, (size, question, sizes) in answers.items():
        asked = {name: lambda x, question=question: torch.no_grad()(lambda: question(x))}
        yield from measured(Growth("HMM", size, lambda n: n, sizes, 1, asked), smoke)


def measured(growth: Growth, smoke: bool) -> Iterator[dict[str, Any]]:
    """A row for each question."""
    sizes = growth.steps(smoke)
    made = [growth.make(n) for n in sizes]
    for question, ask in growth.questions.items():
        taken = milliseconds([ask(x) for x in made], 1 if smoke else 7)
        row = {"structure": growth.structure, "question": question, "size": growth.size, "sizes": sizes}
        yield row | {"ms": taken, "exponent": slope(sizes, taken), "formula": growth.formula}


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Of log value against log size."""
    xs, ys = [math.log(n) for n in sizes], [math.log(max(x, 1e-9)) for x in values]
    return statistics.linear_regression(xs, ys).slope


# ---- memory


def kept(structure: semihmm.Structure, checkpoint: bool) -> int:
    """Bytes that autograd holds between the total and its gradient, the potentials not counted."""
    asked = structure.replace(**{name: x.requires_grad_() for name, x in structure.potentials.items()})
    own = {x.untyped_storage().data_ptr() for x in asked.potentials.values()}
    storages: dict[int, int] = {}

    def remember(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in own:
            storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda x: x):
        total = semihmm.log_partition(asked, checkpoint=checkpoint, **OFF)
    total.sum().backward()
    return sum(storages.values())


def memory(smoke: bool) -> Iterator[dict[str, Any]]:
    """A row for each structure and size, without and with a checkpoint."""
    grown: list[tuple[str, str, Make, tuple[int, int], float, float]] = [
        ("HMM", "T", lambda n: hmm(steps=n), (500, 4000), 1, 0.5),
        ("HMM", "S", lambda n: hmm(states=n, steps=200), (32, 256), 1, 1),
        ("HSMM", "T", lambda n: hsmm(steps=n), (500, 4000), 1, 1),
        ("HSMM", "D", lambda n: hsmm(longest=n), (32, 256), 0, 0.5),
        ("CTC", "T", lambda n: ctc(steps=n), (500, 4000), 1, 0.5),
        ("DTW", "N = M", lambda n: dtw(items=n), (128, 1024), 2, 1.5),
    ]
    for structure, size, make, sizes, plain, checkpointed in grown:
        for checkpoint, formula in ((False, plain), (True, checkpointed)):
            steps = Growth(structure, size, make, sizes, formula, {}).steps(smoke)
            held = [kept(make(n), checkpoint) for n in steps]
            row = {"structure": structure, "checkpoint": checkpoint, "size": size, "sizes": steps}
            yield row | {"kB": [x / 1e3 for x in held], "exponent": slope(steps, held), "formula": formula}


# ---- pages


def span(row: dict[str, Any]) -> str:
    return f"{row['size']} {row['sizes'][0]:,} to {row['sizes'][-1]:,}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Exponents of time in Markdown: a row for each structure and size, a column for each question."""
    names = list(dict.fromkeys(row["question"] for row in rows))
    lines = [
        f"| structure | doubled | formula | {' | '.join(names)} |",
        "| --- | --- | ---: |" + " ---: |" * len(names),
    ]
    for key in dict.fromkeys((row["structure"], span(row), row["formula"]) for row in rows):
        mine = {row["question"]: row for row in rows if (row["structure"], span(row), row["formula"]) == key}
        shown = [f"{mine[name]['exponent']:.2f}" if name in mine else "" for name in names]
        lines.append(f"| {key[0]} | {key[1]} | {key[2]:g} | {' | '.join(shown)} |")
    return "\n".join(lines)


def memory_table(rows: Sequence[dict[str, Any]]) -> str:
    """Exponents of memory in Markdown."""
    lines = ["| structure | doubled | formula | kept | with `checkpoint=True`: formula | kept |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: |"]
    for plain, checkpointed in zip(rows[::2], rows[1::2], strict=True):
        figures = [f"{x:.2f}" for row in (plain, checkpointed) for x in (row["formula"], row["exponent"])]
        lines.append(f"| {plain['structure']} | {span(plain)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def merged(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier run, those of the structures that were measured again replaced."""
    again = {row["structure"] for row in now}
    found = [row for row in before if row["structure"] not in again]
    order = list(dict.fromkeys(growth.structure for growth in growths()))
    return sorted([*found, *now], key=lambda row: order.index(row["structure"]))


def processor() -> str:
    """Its name, and what its vectors are."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        named = platform.processor() or platform.machine()
    return f"{named} ({torch.backends.cpu.get_cpu_capability()})"


def main() -> None:
    """Measure all, print the tables; keep them as JSON and as a page."""
    about = (__doc__ or "").strip()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small sizes, once; writes nothing")
    parser.add_argument("--only", default="", help="measure this structure again; the other rows stay as they were")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, load = time.time(), os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    wanted = [growth for growth in growths() if args.only in ("", growth.structure)]
    rows = [row for growth in wanted for row in measured(growth, args.smoke)]
    if args.only and not args.smoke:
        before = json.loads((args.out / "complexity.json").read_text(encoding="utf-8"))
        rows, answers, held = merged(before["time"], rows), before["answers"], before["memory"]
    else:
        answers, held = list(counted(args.smoke)), list(memory(args.smoke))
    brief = [{k: v for k, v in row.items() if k not in ("ms", "kB", "sizes")} for row in (*rows, *answers)]
    show("exponents of time", brief)
    print(memory_table(held))
    if args.smoke:
        return
    high = [row for row in (*rows, *answers, *held) if row["exponent"] > row["formula"] + SLACK]
    for row in high:
        print(f"above the formula: {row}")
    machine: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "processor": processor(),
    }
    machine |= {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}", "threads": 1}
    machine |= {"python": platform.python_version(), "torch": torch.__version__, "load": load}
    machine |= {"seconds": time.time() - began, "backend": semihmm.backends().get("native", "not loaded")}
    figures = {"name": "complexity", "about": about, "machine": machine, "time": rows, "answers": answers}
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures | {"memory": held}, indent=1, ensure_ascii=False)
    (args.out / "complexity.json").write_text(text + "\n", encoding="utf-8")
    where = (
        f"{machine['date']}; {machine['processor']}, {machine['cores']} cores, {machine['system']}; Python "
        f"{machine['python']}, torch {machine['torch']}; 1 thread; load {load:.2f} at the beginning; the native "
        f"backend: {machine['backend']}."
    )
    parts = [
        f"# Complexity\n\n{about.partition('[--out DIR]')[2].strip()}\n",
        f"<!-- the documentation includes what follows -->\n\n{where}\n",
        f"**Time**, of a batch of 4 where there is one:\n\n{table(rows)}\n",
        f"**Time by how many answers**:\n\n{table(answers)}\n",
        f"**Memory**, kept between a total and its gradient:\n\n{memory_table(held)}\n",
    ]
    (args.out / "complexity.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
