"""Whether a structure answers every question as its paths do."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, get_args

import torch
from torch import Tensor

import semihmm
from semihmm import semirings as sr
from semihmm.engine.plan import StrategyName
from semihmm.errors import LawError, StructureError
from semihmm.inference import Paths
from semihmm.inference.options import Options
from semihmm.structures import Structure
from semihmm.testing import oracle
from semihmm.testing.oracle import By

SEMIRINGS: tuple[sr.Semiring, ...] = (
    sr.Real(),
    sr.Log(),
    sr.Max(),
    sr.Min(),
    sr.Bottleneck(),
    sr.TopK(3),
    sr.Expectation(2),
    sr.SecondOrderExpectation(),
    sr.SmoothMax(0.5),
    sr.Count(),
    sr.Boolean(),
    sr.Product(sr.Max(), sr.Log()),
)
FALSE_ALARM = 1e-6  # how often a right sampler is refused, if draws were fresh at every call

Answer = tuple[str, Tensor, Tensor]  # a question, what is expected, what came


def check_structure(
    structure: Structure, *, paths: By | None = None, atol: float | None = None, samples: int = 2000, seed: int = 0
) -> None:
    """Compares every answer about a structure with brute-force enumeration, on a small instance of it.

    Asked are totals in twelve semirings, `log_partition` and its gradient, `marginals`, `max_marginals`, `viterbi`,
    `topk`, `sample`, `entropy`, `renyi_entropy`, `kl_divergence`, `cross_entropy`, `expectation`, `variance`,
    `covariance`, `log_count`, `score`, `log_prob`, `condition`, `smoothing` and, where the structure has it,
    `filtering`: with every strategy, with and without checkpointing.

    Args:
        structure: a small one, with a batch axis or more and ragged lengths at best; of any dtype.
        paths: lists the paths of one sequence without batch axes: ``item -> (event, log-weights), ...``, the same paths
            in the same order whatever the potentials' values. None: enumerated from the definitions for this library's
            structures; else by walking ``structure.chain()``, which finds faults in `event`, `path` and the rest, but
            cannot know which paths were meant. With ``paths`` it does. (`filtered` is taken at its word.)
        atol: how far answers may be off, next to as much of their size; None for 1e-9, or 1e-4 in float32.
        samples: draws whose frequencies are compared with the posterior (a chi-square test that refuses one right
            sampler in a million).
        seed: of features, masks and draws. The same seed asks the same questions.
    Raises:
        StructureError: names the question, what was expected and what came; or there are too many paths to list, or a
            log-weight on one of them mixes several potentials, so that nobody can say how often each is used.
        LawError: the same, where the draws do not fit the posterior.
    Cost: 20,000 paths at most; seconds for hundreds.
    Example:
        >>> import torch, semihmm
        >>> check_structure(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.randn(3, 3, 2)))
    """
    wide = structure.potentials[structure.observed].dtype == torch.float64
    check = _Check(structure, paths, (1e-9 if wide else 1e-4) if atol is None else atol, seed)
    check.enumeration()
    for strategy, checkpoint in product(get_args(StrategyName), (False, True)):
        check.ask({"strategy": strategy, "checkpoint": checkpoint})
    check.draws(samples)


class _Check:
    """One structure, its paths, and others like it: features, a second distribution, a mask."""

    def __init__(self, structure: Structure, by: By | None, atol: float, seed: int) -> None:
        self.structure, self.by, self.atol = structure, by, atol
        self.name = type(structure).__name__
        self.generator = torch.Generator().manual_seed(seed)
        self.features = [self._features() for _ in range(2)]
        noise = self._features().potentials
        self.other = structure.replace(**{n: x + noise[n] for n, x in structure.potentials.items()})
        seen = structure.potentials[structure.observed]
        self.mask = torch.rand(seen.shape, generator=self.generator) < 0.8
        self.items = structure.unbatch()
        self.paths = [oracle.paths(item.to(torch.float64), by) for item in self.items]
        self.expected = self._expected()

    def _features(self) -> Structure:
        drawn = {
            n: torch.randint(-8, 9, x.shape, generator=self.generator).to(x.dtype) / 8
            for n, x in self.structure.potentials.items()
        }
        return self.structure.replace(**drawn)

    def enumeration(self) -> None:
        """Events are told apart, have the scores that their paths have, and what is no event has none."""
        for listed in self.paths:
            if len({p.event for p in listed}) < len(listed):
                twice = next(p.event for i, p in enumerate(listed) if p.event in {q.event for q in listed[:i]})
                raise StructureError(
                    f"check_structure: {self.name} has two paths with one event, {twice}, so the event does not say "
                    "which was taken. Let Structure.event tell more."
                )
        for listed, item in zip(self.paths, self.items, strict=True):
            best = semihmm.viterbi(item)
            shape = best.event.shape
            for path in listed:
                found = semihmm.score(item, _event(path.event, shape))
                self.close(f"score of event {path.event}", torch.tensor(path.score, dtype=torch.float64), found)

    def ask(self, options: Options) -> None:
        """Every question, one way of computing it."""
        for question, expected, got in (*self._totals(options), *self._answers(options)):
            self.close(f"{question} with {options}", expected, got)
        self._events(semihmm.viterbi(self.structure, **options), 1, f"viterbi with {options}")
        for k in (1, 3, max(len(listed) for listed in self.paths) + 1):
            if k <= 64:
                self._events(semihmm.topk(self.structure, k, **options), k, f"topk({k}) with {options}")

    def _totals(self, options: Options) -> Iterator[Answer]:
        for semiring in SEMIRINGS:
            features = self.features[: semiring.inputs - 1]
            yield (
                f"total in {semiring}",
                self.expected[repr(semiring)],
                semihmm.total(self.structure, semiring, features, **options),
            )

    def _answers(self, options: Options) -> Iterator[Answer]:
        s, (f, g), expected = self.structure, self.features, self.expected
        yield "log_partition", expected["log_partition"], semihmm.log_partition(s, **options)
        yield "log_count", expected["log_count"], semihmm.log_count(s, **options)
        for question in ("marginals", "max_marginals"):
            asked: Callable[..., Structure] = getattr(semihmm, question)
            found = asked(s, **options).potentials
            for name, value in expected[question].items():
                yield f"{question}.{name}", value, found[name]
        leaves = {n: x.clone().requires_grad_() for n, x in s.expanded().potentials.items()}
        total = semihmm.log_partition(s.expanded().replace(**leaves), **options).sum()
        grads = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        for name, grad in zip(leaves, grads, strict=True):
            yield f"gradient of log_partition by {name}", expected["marginals"][name], s.sign * grad
        yield "entropy", expected["entropy"], semihmm.entropy(s, **options)
        yield "renyi_entropy of order 2", expected["renyi_entropy"], semihmm.renyi_entropy(s, 2.0, **options)
        yield "cross_entropy", expected["cross_entropy"], semihmm.cross_entropy(s, self.other, **options)
        yield "kl_divergence", expected["kl_divergence"], semihmm.kl_divergence(s, self.other, **options)
        yield "expectation", expected["expectation"], semihmm.expectation(s, f, **options)
        yield "variance", expected["variance"], semihmm.variance(s, f, **options)
        yield "covariance", expected["covariance"], semihmm.covariance(s, f, g, **options)
        conditioned = semihmm.condition(s, self.mask)
        yield "log_partition under condition", expected["condition"], semihmm.log_partition(conditioned, **options)
        yield "smoothing", expected["smoothing"], semihmm.smoothing(s, **options)
        if "filtering" in expected:
            yield "filtering", expected["filtering"], semihmm.filtering(s, **options)

    def _expected(self) -> dict[str, Any]:
        s, (f, g), by = self.structure, self.features, self.by
        found: dict[str, Any] = {
            repr(semiring): oracle.total(s, semiring, self.features[: semiring.inputs - 1], by)
            for semiring in SEMIRINGS
        }
        for question in ("log_partition", "log_count", "marginals", "max_marginals", "entropy", "smoothing"):
            found[question] = getattr(oracle, question)(s, by)
        found["renyi_entropy"] = oracle.renyi_entropy(s, 2.0, by)
        found["cross_entropy"] = oracle.cross_entropy(s, self.other, by)
        found["kl_divergence"] = oracle.kl_divergence(s, self.other, by)
        found["expectation"] = oracle.expectation(s, f, by)
        found["variance"] = oracle.variance(s, f, by)
        found["covariance"] = oracle.covariance(s, f, g, by)
        found["condition"] = oracle.condition(s, self.mask, by)
        if _filters(s):
            found["filtering"] = oracle.filtering(s, by)
        return found

    def _events(self, found: Paths, k: int, question: str) -> None:
        """The k best: their scores, that each event has its score, that no event comes twice."""
        axes = len(self.structure.batch_shape)
        rows = 1 if found.score.ndim == axes else k
        got = found.score.reshape(rows, len(self.items))
        expected = oracle.topk(self.structure, rows, self.by).reshape(rows, len(self.items))
        self.close(f"{question}: score", expected, got)
        if not torch.equal(found.valid.reshape(expected.shape), expected > -math.inf):
            self.fail(f"{question}: valid", expected > -math.inf, found.valid)
        events = found.event.reshape(rows, len(self.items), *found.event.shape[found.score.ndim :])
        for i, listed in enumerate(self.paths):
            scores = {path.event: path.score for path in listed}
            seen = [oracle.plain_event(events[row, i]) for row in range(rows) if expected[row, i] > -math.inf]
            for row, event in enumerate(seen):
                if event not in scores:
                    raise StructureError(
                        f"check_structure: {self.name}: {question} gives event {event}, which is none of its "
                        f"{len(listed)} paths."
                    )
                self.close(
                    f"{question}: score of event {event}",
                    expected[row, i],
                    torch.tensor(scores[event], dtype=torch.float64),
                )
            if len(set(seen)) < len(seen):
                raise StructureError(f"check_structure: {self.name}: {question} gives an event twice, among {seen}.")

    def draws(self, samples: int) -> None:
        """How often each event is drawn, and its log-probability."""
        drawn = semihmm.sample(self.structure, (samples,), self.generator)
        events = drawn.event.reshape(samples, len(self.items), *drawn.event.shape[drawn.score.ndim :])
        for i, (item, listed) in enumerate(zip(self.items, self.paths, strict=True)):
            chances = oracle.posterior(item.to(torch.float64), self.by)
            if not any(chances):
                continue
            count: dict[Any, int] = {}
            for event in events[:, i].tolist():
                key = oracle.plain_event(event)
                count[key] = count.get(key, 0) + 1
            unknown = count.keys() - {p.event for p, chance in zip(listed, chances, strict=True) if chance}
            if unknown:
                raise LawError(
                    f"check_structure: {self.name}: sample drew {unknown.pop()}, which is no path of positive weight."
                )
            seen = [count.get(path.event, 0) for path in listed]
            bar = fits(seen, chances)
            if bar < FALSE_ALARM:
                raise LawError(
                    f"check_structure: {self.name}: the draws of sequence {i} do not fit its posterior (chi-square "
                    f"test: p = {bar:.1e}). Of {samples} expected {[round(samples * c) for c in chances]}, got {seen}."
                )
        total = oracle.log_partition(self.structure, self.by)
        shown = drawn.event[:8]
        expected = drawn.score[:8].to(torch.float64) - torch.where(total == -math.inf, 0.0, total)
        got = torch.where(drawn.valid[:8], semihmm.log_prob(self.structure, shown), -math.inf)
        self.close("log_prob of draws", expected, got)

    def close(self, question: str, expected: Tensor, got: Tensor) -> None:
        """Both are the same numbers, up to rounding."""
        if expected.shape != got.shape:
            self.fail(f"{question}: shape", expected, got)
        if not got.is_floating_point():
            if not torch.equal(expected, got):
                self.fail(question, expected, got)
            return
        ours, theirs = expected.double(), got.double()
        if not torch.allclose(theirs, ours, rtol=self.atol, atol=self.atol, equal_nan=True):
            self.fail(question, expected, got)

    def fail(self, question: str, expected: Tensor, got: Tensor) -> None:
        """Says which question, what was expected and what came."""
        where = ""
        if expected.shape == got.shape and expected.ndim:
            off = ~torch.isclose(got.double(), expected.double(), rtol=self.atol, atol=self.atol, equal_nan=True)
            at = tuple(int(i) for i in off.nonzero()[0])
            where = f" First at {list(at)}: expected {expected[at].item()}, got {got[at].item()}."
        raise StructureError(
            f"check_structure: {self.name}: {question} does not agree with its {sum(map(len, self.paths))} paths."
            f"{where} Expected {expected.tolist()}, got {got.tolist()}. Look at chain(), then at event() and path()."
        )


def fits(seen: list[int], chances: list[float]) -> float:
    """How likely a right sampler is to be this far off or more: Pearson's chi-square test, rare outcomes pooled.

    The tail is Wilson and Hilferty's (1931) approximation, good to a few percent of its logarithm.
    """
    samples = sum(seen)
    pooled: list[list[float]] = [[0.0, 0.0]]
    for count, chance in sorted(zip(seen, chances, strict=True), key=lambda pair: pair[1]):
        if pooled[-1][1] >= 10:
            pooled.append([0.0, 0.0])
        pooled[-1][0] += count
        pooled[-1][1] += samples * chance
    if len(pooled) > 1 and pooled[-1][1] < 10:
        rest = pooled.pop()
        pooled[-1] = [a + b for a, b in zip(pooled[-1], rest, strict=True)]
    freedom = len(pooled) - 1
    if not freedom:
        return 1.0
    distance = math.fsum((count - mean) ** 2 / mean for count, mean in pooled)
    spread = 2 / (9 * freedom)
    z = ((distance / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2)) / 2


def _event(event: tuple[Any, ...], shape: torch.Size) -> Tensor:
    """An event as the structure has it: filled up with -1."""
    whole = torch.full(shape, -1)
    if event:
        whole[: len(event)] = torch.tensor(event)
    return whole


def _filters(structure: Structure) -> bool:
    try:
        semihmm.filtering(structure)
    except StructureError:
        return False
    return True
