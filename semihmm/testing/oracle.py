"""Every question, answered from the list of all paths: slow, obvious, in float64, and without the engine.

Each function takes a structure whose paths can be counted on fingers, with or without batch axes, and answers as its
namesake in `semihmm` does. ``by`` lists the paths of one sequence: a function ``item -> (event, log-weights), ...``
that gives the same paths in the same order whatever the potentials' values. Without it, structures of this library are
enumerated from their definitions, and others by walking their chain.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.semirings import Semiring
from semihmm.structures import (
    CTC,
    DTW,
    HMM,
    HSMM,
    RNNT,
    EditDistance,
    FactorialHMM,
    Lattice,
    MonotonicAlignment,
    Structure,
)
from semihmm.testing.paths import ctc_paths, dtw_paths, edit_paths, lattice_paths, monotonic_paths, rnnt_paths
from semihmm.testing.state_paths import Weight, factorial_paths, hmm_paths, hsmm_paths, log_sum
from semihmm.testing.walk import chain_paths, prefix_vectors

By = Callable[[Any], Iterable[tuple[Any, Sequence[Weight]]]]

MOST = 20_000  # paths that are still listed
KNOWN: dict[type[Structure], By] = {
    HMM: hmm_paths,
    FactorialHMM: factorial_paths,
    HSMM: hsmm_paths,
    CTC: ctc_paths,
    MonotonicAlignment: monotonic_paths,
    DTW: dtw_paths,
    RNNT: rnnt_paths,
    EditDistance: edit_paths,
    Lattice: lattice_paths,
}


class Path(NamedTuple):
    """One path: its event as nested tuples, and the log-weights along it."""

    event: tuple[Any, ...]
    weights: tuple[Weight, ...]

    @property
    def score(self) -> float:
        """The sum of its log-weights."""
        return math.fsum(_flat(self.weights))


class Use(NamedTuple):
    """A potential on a path: which of its entries (flattened), and what multiplies it to give the log-weight."""

    name: str
    entry: int
    factor: float


class Once:
    """An enumeration for structures of one form that lists a sequence's paths, and what is on them, once.

    Example:
        >>> by = Once(None)
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> by(hmm) is by(hmm), len(by(hmm))
        (True, 8)
    """

    def __init__(self, by: By | None) -> None:
        self.by = by
        self.listed: dict[tuple[bytes, ...], list[Path]] = {}
        self.used: dict[tuple[bytes, ...], list[list[Use]]] = {}

    def __call__(self, item: Structure) -> list[Path]:
        """All paths of one sequence, possible or not."""
        key = _numbers(item, item.axes)
        if key not in self.listed:
            self.listed[key] = paths(item, self.by)
        return self.listed[key]

    def uses(self, item: Structure) -> list[list[Use]]:
        """For each path, which potentials are on it, whatever their values."""
        key = _numbers(item, item.axes.keys() - item.ranks.keys())
        if key not in self.used:
            self.used[key] = _uses(item, self)
        return self.used[key]


def _numbers(item: Structure, names: Iterable[str]) -> tuple[bytes, ...]:
    fields = [getattr(item, n, None) for n in sorted(names)]
    return tuple(x.cpu().numpy().tobytes() if isinstance(x, Tensor) else b"" for x in fields)


def paths(item: Structure, by: By | None = None) -> list[Path]:
    """All paths of one sequence, possible or not."""
    if isinstance(by, Once):
        return by(item)
    listed: list[Path] = []
    for event, weights in (by or KNOWN.get(type(item), chain_paths))(item):
        listed.append(Path(plain_event(event), tuple(weights)))
        if len(listed) > MOST:
            raise StructureError(
                f"{type(item).__name__}: it has more than {MOST:,} paths, too many to list one by one. "
                "Check a smaller one: fewer steps or states.",
                see="too-many-to-list",
            )
    return listed


def plain_event(event: Any) -> tuple[Any, ...]:
    """An event as nested tuples, without the -1 that fill it up at the end."""
    rows = [_tuple(row) for row in (event.tolist() if isinstance(event, Tensor) else event)]
    while rows and all(x == -1 for x in (rows[-1] if isinstance(rows[-1], tuple) else (rows[-1],))):
        rows.pop()
    return tuple(rows)


def uses(item: Structure, by: By | None = None) -> list[list[Use]]:
    """For each path, which potentials are on it.

    A path's log-weights are potentials times constants, so structures of zeros, ones, numbers and their squares tell
    whose they are.

    Raises:
        StructureError: a log-weight is made of several potentials and is not their sum.
    """
    return by.uses(item) if isinstance(by, Once) else _uses(item, by)


def _uses(item: Structure, by: By | None) -> list[list[Use]]:
    given = item.potentials
    ends = list(accumulate(x.numel() for x in given.values()))
    owner = [(name, i) for name, x in given.items() for i in range(x.numel())]
    first = [end - x.numel() for end, x in zip(ends, given.values(), strict=True)]
    probes = []
    for power in (None, 0, 1, 2):
        numbers = {
            name: torch.arange(start + 1, start + 1 + x.numel(), dtype=torch.float64).reshape(x.shape)
            for (name, x), start in zip(given.items(), first, strict=True)
        }
        changed = {n: x * 0 if power is None else x**power for n, x in numbers.items()}
        probes.append([_flat(p.weights) for p in paths(item.replace(**changed), by)])
    listed = []
    for weights in zip(*probes, strict=True):
        along = []
        for constant, one, number, square in zip(*weights, strict=True):
            factor = one - constant
            if factor == 0.0 and number == constant == square:
                continue
            which = (number - constant) / factor if factor else math.nan
            if not math.isclose((square - constant) / (factor or math.nan), which**2, rel_tol=1e-9):
                raise StructureError(
                    f"{type(item).__name__}: a log-weight on its paths mixes several potentials, so they cannot be "
                    "told apart."
                )
            along.append(Use(*owner[round(which) - 1], factor))
        listed.append(along)
    return listed


def scores(item: Structure, by: By | None = None) -> list[float]:
    """The log-weight of each path."""
    return [path.score for path in paths(item, by)]


def posterior(item: Structure, by: By | None = None) -> list[float]:
    """The probability of each path; 0 for all where none is possible."""
    given = scores(item, by)
    total = log_sum(given)
    return [math.exp(x - total) if x > -math.inf else 0.0 for x in given]


def total(structure: Structure, semiring: Semiring, features: Sequence[Structure] = (), by: By | None = None) -> Tensor:
    """The semiring's sum over paths of its product of lifted log-weights, one path after the other."""
    all_items = zip(*(_items(s) for s in (structure, *_like(structure, features))), strict=True)
    answers = [_fold(semiring, [paths(s, by) for s in item]) for item in all_items]
    return torch.stack(answers, -1).reshape(answers[0].shape + structure.batch_shape)


def _fold(semiring: Semiring, enumerations: list[list[Path]]) -> Tensor:
    """Log-weight after log-weight, all paths of as many at once."""
    nothing = semiring.whole(semiring.lift(*[torch.full((), -math.inf, dtype=torch.float64)] * semiring.inputs))
    by_length: dict[int, list[list[list[float]]]] = {}
    for along in zip(*enumerations, strict=True):
        weights = [[math.fsum(w) if isinstance(w, tuple) else w for w in path.weights] for path in along]
        by_length.setdefault(len(weights[0]), []).append(weights)
    values = [nothing.unsqueeze(-1)]
    for length, every in by_length.items():
        value = semiring.full(semiring.one, (len(every),), nothing)
        for group in torch.tensor(every, dtype=torch.float64).reshape(len(every), semiring.inputs, length).unbind(-1):
            value = semiring.times(value, semiring.lift(*group.unbind(-1)))
        values.append(value)
    return semiring.lower(semiring.sum(torch.cat(values, -1), -1))


def log_partition(structure: Structure, by: By | None = None) -> Tensor:
    """The log of the sum of all paths' weights."""
    return _each(structure, lambda item: log_sum(scores(item, by)))


def log_count(structure: Structure, by: By | None = None) -> Tensor:
    """The log of the number of possible paths."""
    return _each(structure, lambda item: log_sum([0.0 for x in scores(item, by) if x > -math.inf]))


def topk(structure: Structure, k: int, by: By | None = None) -> Tensor:
    """The k best scores, best first, ``(k, ...)``; ``-inf`` where there are fewer paths."""

    def best(item: Structure) -> list[float]:
        return (sorted(scores(item, by), reverse=True) + [-math.inf] * k)[:k]

    return _each(structure, best).movedim(-1, 0)


def viterbi(structure: Structure, by: By | None = None) -> Tensor:
    """The best score."""
    return topk(structure, 1, by)[0]


def marginals(structure: Structure, by: By | None = None) -> dict[str, Tensor]:
    """For each potential, how often it is used on average."""

    def one(item: Structure) -> dict[str, Tensor]:
        found = {n: torch.zeros(x.numel(), dtype=torch.float64) for n, x in item.potentials.items()}
        for chance, along in zip(posterior(item, by), uses(item, by), strict=True):
            for use in along:
                found[use.name][use.entry] += chance * use.factor * item.sign
        return found

    return _in_shape(structure, one)


def max_marginals(structure: Structure, by: By | None = None) -> dict[str, Tensor]:
    """For each potential, the score of the best path that uses it."""

    def one(item: Structure) -> dict[str, Tensor]:
        found = {n: torch.full((x.numel(),), -math.inf, dtype=torch.float64) for n, x in item.potentials.items()}
        for score, along in zip(scores(item, by), uses(item, by), strict=True):
            for use in along:
                found[use.name][use.entry] = max(float(found[use.name][use.entry]), score)
        return found

    return _in_shape(structure, one)


def entropy(structure: Structure, by: By | None = None) -> Tensor:
    """Minus the mean log-probability of a path, in nats; NaN where there is no path."""
    return _each(structure, lambda item: _mean_surprise(posterior(item, by), posterior(item, by)))


def cross_entropy(p: Structure, q: Structure, by: By | None = None) -> Tensor:
    """The mean of minus the log-probability under ``q`` of a path of ``p``."""
    return _pairs(p, q, lambda a, b: _mean_surprise(posterior(a, by), posterior(b, by)))


def kl_divergence(p: Structure, q: Structure, by: By | None = None) -> Tensor:
    """The mean log ratio of a path's probabilities under ``p`` and ``q``."""

    def divergence(a: Structure, b: Structure) -> float:
        ours, theirs = posterior(a, by), posterior(b, by)
        return _mean_surprise(ours, theirs) - _mean_surprise(ours, ours)

    return _pairs(p, q, divergence)


def renyi_entropy(structure: Structure, order: float, by: By | None = None) -> Tensor:
    """``log(sum of p ** order) / (1 - order)``."""

    def one(item: Structure) -> float:
        chances = [x for x in posterior(item, by) if x]
        return math.log(math.fsum(x**order for x in chances)) / (1 - order) if chances else math.nan

    return _each(structure, one)


def expectation(structure: Structure, features: Structure, by: By | None = None) -> Tensor:
    """The mean of a feature's sum along a path."""

    def mean(item: Structure, feature: Structure) -> float:
        return math.fsum(p * f for p, f in zip(posterior(item, by), _feature(item, feature, by), strict=True))

    return _pairs(structure, features, mean)


def covariance(structure: Structure, first: Structure, second: Structure, by: By | None = None) -> Tensor:
    """The covariance of two features' sums along a path."""

    def one(item: Structure, f: Structure, g: Structure) -> float:
        chance, fs, gs = posterior(item, by), _feature(item, f, by), _feature(item, g, by)
        f_mean = math.fsum(p * x for p, x in zip(chance, fs, strict=True))
        g_mean = math.fsum(p * y for p, y in zip(chance, gs, strict=True))
        return math.fsum(p * (x - f_mean) * (y - g_mean) for p, x, y in zip(chance, fs, gs, strict=True))

    items = zip(_items(structure), _items(first), _items(second), strict=True)
    return torch.tensor([one(*item) for item in items], dtype=torch.float64).reshape(structure.batch_shape)


def variance(structure: Structure, features: Structure, by: By | None = None) -> Tensor:
    """The variance of a feature's sum along a path."""
    return covariance(structure, features, features, by)


def condition(structure: Structure, mask: Tensor, by: By | None = None) -> Tensor:
    """The log-partition of the paths whose observed potentials are all allowed by ``mask``, of their shape."""
    rank = structure.ranks[structure.observed]
    masks = mask.expand(getattr(structure, structure.observed).shape).reshape(-1, *mask.shape[mask.ndim - rank :])

    def one(item: Structure, allowed: Tensor) -> float:
        fits = allowed.flatten().tolist()
        kept = [
            score
            for score, along in zip(scores(item, by), uses(item, by), strict=True)
            if all(fits[use.entry] for use in along if use.name == item.observed)
        ]
        return log_sum(kept)

    found = [one(item, allowed) for item, allowed in zip(_items(structure), masks, strict=True)]
    return torch.tensor(found, dtype=torch.float64).reshape(structure.batch_shape)


def smoothing(structure: Structure, by: By | None = None) -> Tensor:
    """The log of the observed potential's marginals, of states that share none."""
    return marginals(structure.untied(), by)[structure.observed].log()


def filtering(structure: Structure, by: By | None = None) -> Tensor:
    """The log-posterior of the state at each step, given the steps up to it; ``-inf`` after the end."""

    def one(item: Structure) -> Tensor:
        steps = item.potentials[item.observed].shape[0]
        length = steps if item.lengths is None else int(item.lengths)
        filters = {HMM: _filtered_hmm, HSMM: _filtered_hsmm}
        if type(item) in filters:
            found = filters[type(item)](item, length)
            state: tuple[int, ...] = (-1,)
        else:
            by_part = _filtered_walks(item)
            found, state = by_part.flatten(1).tolist(), by_part.shape[1:]
        rows = [[x - log_sum(row) if x > -math.inf else x for x in row] for row in found]
        rows[length:] = [[-math.inf] * len(rows[0])] * (steps - length)
        each: Tensor = torch.tensor(rows, dtype=torch.float64).unflatten(-1, state)
        return each

    return _each(structure, one)


def _filtered_hmm(hmm: Any, length: int) -> list[list[float]]:
    """From paths that stop at each step; what is there to gain at the end is not known yet."""
    found = []
    for t in range(length):
        varying = hmm.ranks["transition"] > (1 if hmm.arcs is not None else 2)
        arcs = hmm.transition[:t] if varying else hmm.transition
        given = {name: getattr(hmm, name) for name in ("arcs", "offsets", "emission_index")}
        cut = HMM(hmm.initial, arcs, hmm.emission[: t + 1], **given)
        found.append([log_sum([p.score for p in paths(cut) if p.event[-1] == s]) for s in range(hmm.states)])
    return found


def _filtered_hsmm(hsmm: Any, length: int) -> list[list[float]]:
    """From tilings whose last segment may go on."""
    censored = "both" if hsmm.censored in ("left", "both") else "right"
    found = []
    for t in range(length):
        varying = hsmm.ranks["transition"] > (1 if hsmm.arcs is not None else 2)
        arcs = hsmm.transition[:t] if varying else hsmm.transition
        allowed = {"arcs": hsmm.arcs, "offsets": hsmm.offsets}
        cut = HSMM(hsmm.initial, arcs, hsmm.duration, hsmm.emission[: t + 1], censored=censored, **allowed)  # type: ignore[arg-type]
        found.append([log_sum([p.score for p in paths(cut) if p.event[-1][0] == s]) for s in range(hsmm.states)])
    return found


def _filtered_walks(item: Structure) -> Tensor:
    """From all walks that get to each slot of the chain, summed up as the structure says."""
    vectors = [[log_sum(slot) for slot in row] for row in prefix_vectors(item)]
    return item.filtered(torch.tensor(vectors, dtype=torch.float64))


def _mean_surprise(chances: list[float], under: list[float]) -> float:
    if not any(chances):
        return math.nan
    if any(p and not q for p, q in zip(chances, under, strict=True)):
        return math.inf
    return math.fsum(-p * math.log(q) for p, q in zip(chances, under, strict=True) if p)


def _feature(item: Structure, feature: Structure, by: By | None) -> list[float]:
    (signed,) = _like(item, [feature])
    return scores(signed, by)


def _like(structure: Structure, features: Sequence[Structure]) -> list[Structure]:
    """Features count as they are where potentials are costs."""
    return [f.replace(**{n: structure.sign * x for n, x in f.potentials.items()}) for f in features]


def _flat(weights: Iterable[Weight]) -> list[float]:
    return [x for w in weights for x in (w if isinstance(w, tuple) else (w,))]


def _tuple(x: Any) -> Any:
    return tuple(_tuple(y) for y in x) if isinstance(x, list | tuple) else x


def _items(structure: Structure) -> list[Structure]:
    wide = structure.to(torch.float64)
    return wide.unbatch() if structure.batch_shape else [wide]


def _each(structure: Structure, answer: Callable[[Structure], Any]) -> Tensor:
    found = [torch.as_tensor(answer(item), dtype=torch.float64) for item in _items(structure)]
    return torch.stack(found).reshape(structure.batch_shape + found[0].shape)


def _pairs(first: Structure, second: Structure, answer: Callable[[Structure, Structure], float]) -> Tensor:
    found = [answer(a, b) for a, b in zip(_items(first), _items(second), strict=True)]
    return torch.tensor(found, dtype=torch.float64).reshape(first.batch_shape)


def _in_shape(structure: Structure, answer: Callable[[Structure], dict[str, Tensor]]) -> dict[str, Tensor]:
    found = [answer(item) for item in _items(structure)]
    shape, ranks, given = structure.batch_shape, structure.ranks, structure.potentials
    return {
        n: torch.stack([f[n] for f in found]).reshape((*shape, *given[n].shape[given[n].ndim - r :]))
        for n, r in ranks.items()
    }
