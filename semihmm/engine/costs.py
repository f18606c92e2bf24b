"""How long a scan takes, from a table of measurements: what `plan` chooses by and `explain` tells.

For each way to scan, family of maps and question a table has four rates, which belong to the four numbers of `counts`:

    seconds = a call + rounds * a round + entries * an entry + products * a product

`python -m semihmm.engine.calibrate` measures and fits a table of this machine and puts it into the user's cache, where
it is found when semihmm is imported. Else the table that ships with semihmm serves. The environment variable
``SEMIHMM_COSTS`` names another file, or is ``shipped``.
"""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Axes, Compose, Dense, Diagonal, Form, Grid, Segmental, Sparse
from semihmm.errors import DataError
from semihmm.semirings import Semiring

VERSION = 1  # of the form of a table and of what `counts` counts: a table of another version is not used
SHIPPED = Path(__file__).with_name("costs.json")
FAMILIES = (
    *("dense", "dense over time", "diagonal", "sparse", "arcs", "arcs over time", "topology over time"),
    *("segmental", "grid", "axes"),
)
TOGETHER = 8  # sequences that the compiled code takes through irregular arcs in the time of one
WAYS = ("native sequential", "torch sequential", "torch chunked", "torch associative")
QUESTIONS = ("total", "gradient")  # a total alone; a total and then its gradient
AGAIN = "measure this machine with: python -m semihmm.engine.calibrate"

Rates = tuple[float, float, float, float]


class Size(NamedTuple):
    """What the time of a scan depends on.

    Example:
        >>> Size("dense", batch=8, steps=100, slots=4, memory=1, work=20).components
        1
    """

    family: str
    batch: int
    steps: int
    slots: int
    memory: int
    work: int  # products in a step
    components: int = 1


class Table(NamedTuple):
    """Measured rates, in seconds, by ``(way, family, question)``.

    Example:
        >>> table = shipped()
        >>> table.rates["torch sequential", "dense", "total"][1] > 0
        True
    """

    rates: Mapping[tuple[str, str, str], Rates]
    about: Mapping[str, str]  # where and how they were measured

    @property
    def where(self) -> str:
        """Where they were measured, in a few words."""
        return f"{self.about.get('origin', 'a table')}: {self.about.get('machine', 'a machine')}"


def family(steps: Form) -> str:
    """The family of a map; of several in one step, that of the one with the most work.

    Example:
        >>> from semihmm.engine import Dense, Diagonal
        >>> family(Dense(torch.zeros(1, 2, 2)) @ Diagonal(torch.zeros(3, 2)))
        'dense'
    """
    while isinstance(steps, Compose):
        steps = steps.first if products(steps.first) >= products(steps.then) else steps.then
    if isinstance(steps, Dense):
        return "dense" if steps.weight.shape[-3] == 1 else "dense over time"
    if isinstance(steps, Sparse) and steps.arcs is not None:
        if steps.source.shape[-3] != 1:
            return "topology over time"
        return "arcs" if steps.weight.shape[-3] == 1 else "arcs over time"
    known = {Diagonal: "diagonal", Sparse: "sparse", Segmental: "segmental", Grid: "grid", Axes: "axes"}
    return known.get(type(steps), "dense")


def products(steps: Form) -> int:
    """How many products a step takes: of irregular arcs, one for each of them, not for the padding of their tables.

    Example:
        >>> from semihmm.engine import Arcs
        >>> star = Arcs(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 0, 0]), torch.zeros(1, 4), slots=4)
        >>> products(star), star.work
        (4, 16)
    """
    if isinstance(steps, Compose):
        return products(steps.first) + products(steps.then)
    if isinstance(steps, Segmental):
        return products(steps.transition) + steps.unfolded
    return steps.work if not isinstance(steps, Sparse) or steps.arcs is None else steps.arcs


def components(semiring: Semiring) -> int:
    """How many numbers a value has.

    Example:
        >>> components(semihmm.semirings.TopK(5))
        5
    """
    return len(semiring.zero) if isinstance(semiring.zero, tuple) else 1


def size_of(chain: Chain, semiring: Semiring) -> Size:
    """The size of a scan.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> size_of(chain, semihmm.semirings.Log())
        Size(family='dense', batch=1, steps=3, slots=2, memory=1, work=4, components=1)
    """
    steps, kind, batch, work = chain.steps, family(chain.steps), chain.batch.numel(), products(chain.steps)
    if kind == "arcs" and not _shared(steps):
        work *= min(batch, TOGETHER)  # sequences whose arcs weigh differently do not go together
    return Size(kind, batch, chain.length, steps.slots, steps.memory, work, components(semiring))


def _shared(steps: Form) -> bool:
    """Whether all sequences have the same arcs' weights."""
    if isinstance(steps, Compose):
        return _shared(steps.first) and _shared(steps.then)
    if not isinstance(steps, Sparse):
        return True
    batch, strides = steps.weight.shape[:-3], steps.weight.stride()
    return all(size == 1 or stride == 0 for size, stride in zip(batch, strides, strict=False))


def counts(way: str, size: Size) -> tuple[float, float, float, float]:
    """Calls (one), rounds, entries of state vectors and products of a scan.

    A round is what starts when the one in front of it is done. PyTorch takes a step of all sequences in one; natively
    each sequence takes its own.

    Example:
        >>> counts("torch sequential", Size("dense", batch=8, steps=100, slots=4, memory=1, work=20))
        (1.0, 100.0, 3200.0, 16000.0)
    """
    every = float(size.batch * size.steps * size.components)
    carry = size.slots * size.memory
    if way == "native sequential" and size.family == "arcs":
        together = float(-(-size.batch // TOGETHER) * size.steps * size.components)
        return 1.0, float(size.batch * size.steps), every * size.slots, together * size.work
    if way == "native sequential":
        return 1.0, float(size.batch * size.steps), every * size.slots, every * size.work
    if way == "torch sequential":
        return 1.0, float(size.steps), every * size.slots, every * size.work
    if way == "torch chunked":
        return 1.0, 3 * math.sqrt(size.steps), every * size.slots * carry, every * size.work * carry
    return 1.0, 2 * math.log2(size.steps + 1) * carry, every * carry**2, every * carry**3


def seconds(table: Table, way: str, size: Size, question: str) -> float:
    """The estimated time of a scan.

    Example:
        >>> size = Size("dense", batch=8, steps=100, slots=4, memory=1, work=20)
        >>> seconds(shipped(), "torch sequential", size, "total") > 0
        True
    """
    rates = table.rates[way, size.family, question]
    return sum(rate * count for rate, count in zip(rates, counts(way, size), strict=True))


def cheapest(table: Table, ways: Sequence[str], size: Size) -> tuple[str, str]:
    """The way that takes least time, and why.

    It is the time with the gradient that counts, whether or not one is asked for: an answer has the same bits then. Of
    a total alone, the best way is another one seldom, and not by much.

    Example:
        >>> size = Size("dense", batch=1, steps=1000, slots=100, memory=1, work=10100)
        >>> cheapest(shipped(), ["torch sequential", "torch associative"], size)[0]
        'torch sequential'
    """
    taken = min([(seconds(table, way, size, "gradient"), i, way) for i, way in enumerate(ways)])  # a list: Dynamo
    return taken[2], f"estimated to be done first, of {len(ways)} ways"


def choose(ways: tuple[str, ...], chain: Chain, semiring: Semiring) -> tuple[str, str]:
    """`cheapest` by the table in use, for a chain.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> choose(("torch sequential", "torch chunked"), chain, semihmm.semirings.Log())[0]
        'torch sequential'
    """
    if torch.compiler.is_compiling():  # Dynamo cannot look into `lru_cache`
        if ways[0] == "native sequential":  # an operator, whatever the sizes: they may be symbols
            return ways[0], "compiled, as one operator"
        return cheapest(_TABLE, ways, size_of(chain, semiring))
    return _remembered(ways, size_of(chain, semiring))


@lru_cache(maxsize=1024)
def _remembered(ways: tuple[str, ...], size: Size) -> tuple[str, str]:
    return cheapest(_TABLE, ways, size)


def duration(time: float) -> str:
    """A time as people say it.

    Example:
        >>> duration(0.00123), duration(0.5), duration(120)
        ('1.2 ms', '500 ms', '120 s')
    """
    unit, scale = ("s", 1.0) if time >= 1 else ("ms", 1e3) if time >= 1e-3 else ("µs", 1e6)
    value = time * scale
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def cached() -> Path | None:
    """Where the table of this machine is kept, in the user's cache; None where a user has no home.

    Example:
        >>> path = cached()
        >>> path is None or path.name
        'costs.json'
    """
    try:
        if sys.platform == "win32":
            folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches"
        else:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return folder / "semihmm" / "costs.json"


def encoded(table: Table) -> str:
    """A table as JSON.

    Example:
        >>> decoded(encoded(shipped())) == shipped()
        True
    """
    rates = {", ".join(key): list(rates) for key, rates in table.rates.items()}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in rates.items()]
    about = json.dumps(dict(table.about), indent=2, ensure_ascii=False)
    return f'{{\n "version": {VERSION},\n "about": {about},\n "rates": {{\n' + ",\n".join(lines) + "\n }\n}\n"


def decoded(text: str) -> Table:
    """A table from JSON.

    Raises:
        DataError: what is wrong with it.

    Example:
        >>> decoded("{}")
        Traceback (most recent call last):
            ...
        semihmm.errors.DataError: its version is None, not 1
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"it is no JSON ({error})") from error
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise DataError(f"its version is {found.get('version') if isinstance(found, dict) else None}, not {VERSION}")
    rates, about = found.get("rates"), found.get("about")
    if not isinstance(rates, dict) or not isinstance(about, dict):
        raise DataError("it has no rates, or does not say where they come from")
    table = {}
    for name, given in rates.items():
        way, kind, question = key = tuple(name.split(", ")) if name.count(", ") == 2 else ("", "", "")
        if way not in WAYS or kind not in FAMILIES or question not in QUESTIONS:
            raise DataError(f"it has rates for {name!r}")
        sound = isinstance(given, list) and len(given) == 4 and all(type(x) in (int, float) for x in given)
        if not sound or not all(0 <= x < math.inf for x in given) or not any(given):
            raise DataError(f"the rates of {name!r} are {given!r}, not 4 numbers from 0 on, some of them above it")
        table[key] = (float(given[0]), float(given[1]), float(given[2]), float(given[3]))
    return Table(table, {str(k): str(v) for k, v in about.items()})


@lru_cache(maxsize=1)
def shipped() -> Table:
    """The table that ships with semihmm. It has rates for everything.

    Example:
        >>> shipped().about["origin"]
        'shipped with semihmm'
    """
    return decoded(SHIPPED.read_text(encoding="utf-8"))


def load(environment: Mapping[str, str]) -> Table:
    """The table that the environment names, or this machine's, or the shipped one; the latter also fills gaps.

    A table that cannot be used is a warning.
    """
    named = environment.get("SEMIHMM_COSTS", "")
    path = Path(named) if named else cached()
    if named == "shipped" or path is None or not (named or path.exists()):
        return shipped()
    try:
        found = decoded(path.read_text(encoding="utf-8"))
    except (DataError, OSError, UnicodeDecodeError) as error:
        warnings.warn(
            f"semihmm: the table of costs {path} cannot be used: {error}. The one that ships with semihmm serves; "
            f"{AGAIN}, or delete the file.",
            RuntimeWarning,
            stacklevel=2,
        )
        return shipped()
    return Table({**shipped().rates, **found.rates}, found.about)


_TABLE = load(os.environ)


def table() -> Table:
    """The table in use.

    Example:
        >>> set(table().rates) >= set(shipped().rates)
        True
    """
    return _TABLE
