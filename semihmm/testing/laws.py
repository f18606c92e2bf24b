"""What is true of every structure, as laws that one of its instances keeps or breaks."""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cached_property, partial
from itertools import islice, product
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

import semihmm
from semihmm import semirings as sr
from semihmm.engine import Grid, Map, Path
from semihmm.engine.plan import StrategyName
from semihmm.errors import LawError, SemihmmError, StructureError
from semihmm.inference import Paths
from semihmm.inference.options import Options
from semihmm.structures import Structure
from semihmm.structures.leaves import Made, views
from semihmm.testing import oracle
from semihmm.testing.evaluate import total_of
from semihmm.testing.oracle import By, Once
from semihmm.testing.smaller import counted, cut, longest
from semihmm.testing.walk import walked

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
MOST_ROWS = 64  # of the k best paths
MOST_STRETCHED = 8  # paths whose stretches are read
LOOK = "event(), then at chain()"


class Broken(Exception):
    """How a law is broken, in words."""

    def __init__(self, how: str, error: type[SemihmmError] = StructureError) -> None:
        super().__init__(how.rstrip("."))
        self.error = error


class Law(NamedTuple):
    """What is true, a test that raises `Broken` where it is not, and what of the structure to look at then."""

    name: str
    test: Callable[["Case"], None]
    look: str
    told: str = ""  # where else to look, where paths= said which paths were meant

    def broken(self, case: "Case") -> Broken | None:
        """How a case breaks the law; None if it keeps it."""
        try:
            self.test(case)
        except Broken as found:
            return found
        return None


class Case:
    """One structure, its paths, and others like it: features, a second distribution, a mask."""

    def __init__(self, structure: Structure, by: By | None, atol: float, samples: int, seed: int) -> None:
        self.structure, self.by, self.atol, self.samples = structure, Once(by), atol, samples
        self.told = by is not None  # which paths were meant
        self.generator = torch.Generator().manual_seed(seed)
        self.answers: dict[str, Any] = {}

    @cached_property
    def features(self) -> list[Structure]:
        """Two features of multiples of 1/8."""
        return [self._feature(), self._feature()]

    @cached_property
    def other(self) -> Structure:
        """Another distribution over the same paths."""
        noise = self._feature().potentials
        return self.structure.replace(**{n: x + noise[n] for n, x in self.structure.potentials.items()})

    @cached_property
    def mask(self) -> Tensor:
        """Four of five observed potentials."""
        return torch.rand(self.structure.potentials[self.structure.observed].shape, generator=self.generator) < 0.8

    def _feature(self) -> Structure:
        drawn = {
            n: torch.randint(-8, 9, x.shape, generator=self.generator).to(x.dtype) / 8
            for n, x in self.structure.potentials.items()
        }
        return self.structure.replace(**drawn)

    @cached_property
    def items(self) -> list[Structure]:
        """Each sequence."""
        return self.structure.unbatch()

    @cached_property
    def paths(self) -> list[list[oracle.Path]]:
        """Of each sequence."""
        return [self._paths(item.to(torch.float64)) for item in self.items]

    def _paths(self, item: Structure) -> list[oracle.Path]:
        try:
            return oracle.paths(item, self.by)
        except Exception as error:
            if not self.told or isinstance(error, SemihmmError):
                raise
            raise StructureError(
                f"check_structure: cannot list the paths of {item!r}, one sequence of the batch, with paths=: "
                f"{type(error).__name__}: {error}. If that is no single sequence, look at ranks."
            ) from error

    @cached_property
    def filters(self) -> bool:
        """Whether it has a state at each moment."""
        try:
            semihmm.filtering(self.structure)
        except StructureError:
            return False
        return True

    def close(self, question: str, expected: Tensor, got: Tensor) -> None:
        """Both are the same numbers, up to rounding."""
        if expected.shape != got.shape:
            raise Broken(f"{question} must be of shape {tuple(expected.shape)}, got {tuple(got.shape)}")
        if got.is_floating_point():
            off = ~torch.isclose(got.double(), expected.double(), rtol=self.atol, atol=self.atol, equal_nan=True)
        else:
            off = got != expected
        if off.any():
            at = off.nonzero()[0].tolist()
            where = f" (first at {at}: {expected[tuple(at)].item()}, not {got[tuple(at)].item()})" if at else ""
            raise Broken(f"{question}: expected {expected.tolist()}, got {got.tolist()}{where}")


def laws() -> Iterator[Law]:
    """The laws of structures in their order: each rests on those before it."""
    yield Law(
        "ranks, observed and ragged name fields, and tell which axes are a batch's",
        _ranks,
        "ranks, observed, ragged and __post_init__",
    )
    yield Law(
        "each log-weight of the chain is one potential times a constant",
        _owners,
        "chain()",
    )
    yield Law(
        "what lies behind a sequence's end does not count", _padding, "the lengths of chain(), ragged and chain_lengths"
    )
    yield Law("no two paths read as one event", _distinct, "event(): let it tell more")
    yield Law("path undoes event", _inverse, "path() and event()")
    yield Law("an event is -1 behind its end", _filled, "event(), and at event_lengths")
    yield Law(
        "an event scores the sum along its path",
        _scores,
        "chain(): whether each potential is there once, at each step in use, in its place; then at event() and path()",
    )
    yield Law(
        "what is no path's event scores -inf",
        _strays,
        "path(): whether it gives -1, or slots that no arcs join, for numbers out of range or in another order; or at "
        "start and end of chain(): whether paths begin and end only where they may",
    )
    for strategy, checkpoint in product(get_args(StrategyName), (False, True)):
        options: Options = {"strategy": strategy, "checkpoint": checkpoint}
        by = f"with strategy={strategy!r} and checkpoint={checkpoint}"
        for asked in (*QUESTIONS, FILTERING):
            yield Law(
                f"{asked.name} is that of its paths, {by}", partial(_asked, asked, options), asked.look, asked.told
            )
        for k in (None, 1, 3):
            best = "the best path" if k is None else f"the {k} best paths"
            yield Law(f"{'viterbi' if k is None else 'topk'} finds {best}, {by}", partial(_best, k, options), LOOK)
        yield Law(f"topk finds all paths, {by}", partial(_all_and_one_more, options), LOOK)
    yield Law("draws come as often as their paths' probabilities say", _draws, LOOK)
    yield Law(
        "a stretch of a path has the states that the path has there",
        _stretches,
        "event() and state_sequence(), which a Stream asks about stretches: T is that of path.slots, not of a "
        "potential, and a last segment whose end is not there lasts to the end of the stretch",
    )


def _ranks(case: Case) -> None:
    s = case.structure
    observed = getattr(s, "observed", None)
    if observed not in s.ranks:
        raise Broken(f"observed is {observed!r}, which is none of the potentials in ranks, {list(s.ranks)}")
    for field, axes in s.ragged.items():
        for name, axis in axes.items():
            if not hasattr(s, name):
                raise Broken(f"ragged says that {field} counts axis {axis} of {name}, which is no field")
        name, axis = next(iter(axes.items()), ("", -1))
        if isinstance(getattr(s, name, None), Tensor) and not -s.axes.get(name, 0) <= axis < 0:
            raise Broken(
                f"ragged says that {field} counts axis {axis} of {name}, which has {s.axes.get(name, 0)} axes by ranks"
            )
    for name, rank in s.axes.items():
        x = getattr(s, name, None)
        if not isinstance(x, Tensor):
            if name in s.ranks:
                raise Broken(f"ranks has {name}, which is no tensor but {x!r}")
            continue
        front = x.shape[: max(x.ndim - rank, 0)]
        batch = s.batch_shape
        fits = len(front) == len(batch) and all(n in (1, size) for n, size in zip(front, batch, strict=True))
        if x.ndim < rank or (front and not fits):
            raise Broken(
                f"{name} is {tuple(x.shape)} and has {rank} axes behind the batch's, so {tuple(front)} in front, but "
                f"the batch axes are {tuple(batch)}"
            )
    for name in _unnamed(s):
        raise Broken(
            f"log-weights of the chain come from {name}, which ranks does not name, so it would have no marginals and "
            "take part in no feature. If it is a number that potentials are multiplied by, name it in indices"
        )
    for i, item in enumerate(case.items):
        try:
            item.replace()
        except Exception as error:
            raise Broken(f"sequence {i} alone is {item}, which is refused: {error}") from error


def _unnamed(s: Structure) -> Iterator[str]:
    """Fields of log-weights that neither ranks nor indices name."""
    for field in fields(s):  # type: ignore[arg-type]
        x = getattr(s, field.name)
        if field.name in s.axes or not isinstance(x, Tensor) or not x.is_floating_point():
            continue
        with torch.enable_grad():
            given = x.detach().clone().requires_grad_()
            try:
                leaves = s.holding(**{field.name: given}).chain().leaves
            except RuntimeError:  # it reads numbers, which are no log-weights then
                continue
            whole = [leaf.sum() for leaf in leaves if leaf.requires_grad]
            if whole and torch.autograd.grad(whole, given, allow_unused=True)[0] is not None:
                yield field.name


def _owners(case: Case) -> None:
    for i, place in enumerate(views(case.structure) if case.structure.linear else ()):
        if isinstance(place, Made) and place.why:
            raise Broken(f"log-weight {i} of its chain (first start, then end, then steps) {place.why.rstrip('.')}")


def _padding(case: Case) -> None:
    """Each sequence is cut to its own lengths."""
    for item in case.items:
        names = counted(item)
        given = {n: x for n in names if (x := getattr(item, n)) is not None}
        sizes = {n: int(given[n]) if n in given else longest(item, n) for n in names}
        for n in given:
            if sizes[n] > longest(item, n):
                name, axis = next(iter(item.ragged[n].items()))
                raise Broken(
                    f"{n} is {sizes[n]}, but axis {axis} of {name}, which it counts by ragged, is {longest(item, n)}"
                )
        if any(0 < sizes[n] < longest(item, n) for n in names) and all(sizes.values()):
            whole = semihmm.log_partition(cut(item, sizes))
            found = total_of(item.chain(), sr.Log()), semihmm.log_partition(item)  # which may ask chain_lengths instead
            for got in found:
                case.close("log_partition, compared with that of the sequence cut to its lengths", whole, got)


def _distinct(case: Case) -> None:
    for listed in case.paths:
        seen: dict[Any, oracle.Path] = {}
        for path in listed:
            if path.event in seen:
                weights = f"{seen[path.event].weights} and {path.weights}"
                raise Broken(f"two paths, with log-weights {weights}, have one event, {path.event}")
            seen[path.event] = path


def _filled(case: Case) -> None:
    for item, listed in zip(case.items, case.paths, strict=True):
        if listed and item.event_lengths is not None:
            best, length = semihmm.viterbi(item), int(item.event_lengths)
            if best.valid and not (best.event[length:] == -1).all():
                raise Broken(f"the best path of a sequence of length {length} reads as {best.event.tolist()}")


def _inverse(case: Case) -> None:
    """Of the paths of its chain, whichever may have been meant."""
    for item in case.items:
        try:
            taken = list(islice(walked(item), oracle.MOST))
        except StructureError:  # a map of a kind that cannot be walked through
            continue
        if taken:
            slots = torch.tensor([walk.slots for walk in taken])
            event = item.event(Path(slots, torch.tensor([walk.choices for walk in taken])))
            again, chain = item.path(event).slots, item.chain()
            end = 1 + (chain.length if chain.lengths is None else int(chain.lengths))
            for row, x in enumerate(event.tolist()):
                case.close(f"the slots that path() says event {x} goes through", slots[row, :end], again[row, :end])


def _scores(case: Case) -> None:
    for listed, item in zip(case.paths, case.items, strict=True):
        if listed:
            shape = semihmm.viterbi(item).event.shape
            try:
                found = semihmm.score(item, torch.stack([_event(path.event, shape) for path in listed]))
            except SemihmmError as error:
                raise Broken(
                    f"the scores of its {len(listed)} events are refused (event_shape and unknown() say what an event "
                    f"is and when it ends): {error}"
                ) from error
            if found.shape != (len(listed),):
                raise Broken(f"score of {len(listed)} events {tuple(shape)} must be one each, got {tuple(found.shape)}")
            for path, score in zip(listed, found, strict=True):
                expected = torch.tensor(path.score, dtype=torch.float64)
                filled = shape[0] - len(path.event) if item.event_lengths is None else 0
                more = f", with {filled} times -1 behind it, as event() has {shape[0]} items," if filled else ","
                what = f"the score of event {path.event}{more} whose log-weights are {path.weights}"
                case.close(what, expected, score)


def _strays(case: Case) -> None:
    """Some events of each sequence with one number changed; what lies behind the end does not count."""
    for listed, item in zip(case.paths, case.items, strict=True):
        if not listed:
            continue
        shape = semihmm.viterbi(item).event.shape
        events = torch.stack([_event(path.event, shape) for path in listed])
        end = shape[0] if item.event_lengths is None else int(item.event_lengths)
        known = {oracle.plain_event(event) for event in events[:, :end]}
        places = product(events[:: len(events) // 4 + 1], product(*map(range, (end, *shape[1:]))))
        changed = [_with(event, at, x) for event, at in places for x in range(-2, int(events.max()) + 3)]
        strays = [event for event in changed if oracle.plain_event(event[:end]) not in known]
        strays = [event for event in strays if item.event_shape is None or not item.gaps(event).any()]
        for event, score in zip(strays, semihmm.score(item, torch.stack(strays)) if strays else (), strict=True):
            if score > -math.inf:
                raise Broken(f"event {event.tolist()}, which is none of its {len(listed)} paths, scores {score.item()}")


def _with(event: Tensor, at: tuple[int, ...], number: int) -> Tensor:
    changed = event.clone()
    changed[at] = number
    return changed


def _event(event: tuple[Any, ...], shape: torch.Size) -> Tensor:
    """An event as the structure has it: filled up with -1."""
    whole = torch.full(shape, -1)
    if event:
        given = torch.tensor(event)
        if given.ndim != len(shape) or given.shape[1:] != shape[1:] or len(given) > shape[0]:
            raise Broken(
                f"event() gives events of shape {tuple(shape)}, but one of the paths has {event}, of shape "
                f"{tuple(given.shape)} (a path's event is a tuple, of tuples where it has two axes)"
            )
        whole[: len(event)] = given
    return whole


class Question(NamedTuple):
    """A question, what it takes besides a structure, and how `oracle` and the library answer it."""

    name: str
    more: Callable[[Case], tuple[Any, ...]]
    expected: Callable[..., Any]
    found: Callable[..., Any]
    look: str = "chain()"
    told: str = ""


def _named(name: str, more: Callable[[Case], tuple[Any, ...]] = lambda case: ()) -> Question:
    """A question of one name in both."""
    return Question(name, more, getattr(oracle, name), getattr(semihmm, name))


def _total(semiring: sr.Semiring) -> Question:
    def more(case: Case) -> tuple[Any, ...]:
        return semiring, case.features[: semiring.inputs - 1]

    told = ""
    if isinstance(semiring, sr.Bottleneck):
        told = (
            "; or at paths=, whose log-weights are all potentials on a path, also those of 0, with those that one "
            "arc adds up in one tuple (all other totals so far are right)"
        )
    return Question(f"total in {semiring}", more, oracle.total, semihmm.total, told=told)


def _gradient(structure: Structure, **options: Any) -> Structure:
    whole = structure.expanded()
    leaves = {n: x.clone().requires_grad_() for n, x in whole.potentials.items()}
    total = semihmm.log_partition(whole.replace(**leaves), **options).sum()
    grads = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return whole.replace(**{n: structure.sign * x for n, x in zip(leaves, grads, strict=True)})


def _conditioned(structure: Structure, mask: Tensor, **options: Any) -> Tensor:
    return semihmm.log_partition(semihmm.condition(structure, mask), **options)


QUESTIONS = (
    *(_total(semiring) for semiring in SEMIRINGS),
    _named("log_partition"),
    _named("log_count"),
    _named("marginals"),
    _named("max_marginals"),
    Question("gradient of log_partition", lambda case: (), oracle.marginals, _gradient),
    _named("entropy"),
    _named("renyi_entropy", lambda case: (2.0,)),
    _named("cross_entropy", lambda case: (case.other,)),
    _named("kl_divergence", lambda case: (case.other,)),
    _named("expectation", lambda case: (case.features[0],)),
    _named("variance", lambda case: (case.features[0],)),
    _named("covariance", lambda case: tuple(case.features)),
    Question(
        "conditioned log_partition",
        lambda case: (case.mask,),
        oracle.condition,
        _conditioned,
        "observed, and at sign: -1 where potentials are costs",
    ),
    _named("smoothing"),
)
FILTERING = Question("filtering", lambda case: (), oracle.filtering, semihmm.filtering, "filtered()")


def _asked(question: Question, options: Options, case: Case) -> None:
    if question is FILTERING and not case.filters:
        return
    more = question.more(case)
    if question.name not in case.answers:
        case.answers[question.name] = question.expected(case.structure, *more, case.by)
    expected, found = case.answers[question.name], question.found(case.structure, *more, **options)
    beside = ", ".join(
        numbers(x) for x in more if isinstance(x, Structure | Tensor | list) and (isinstance(x, Structure) or len(x))
    )
    name = f"{question.name} with {beside}" if beside else question.name
    each = {"": expected} if isinstance(expected, Tensor) else {f".{n}": x for n, x in expected.items()}
    for part, value in each.items():
        got = found if isinstance(found, Tensor) else found.potentials[part[1:]]
        case.close(f"{name}{part}", value, got)


def _best(rows: int | None, options: Options, case: Case) -> None:
    """The k best (None: viterbi's one): their scores, that each event has its score, that no event comes twice."""
    s = case.structure
    found = semihmm.viterbi(s, **options) if rows is None else semihmm.topk(s, rows, **options)
    _events(case, found, 1 if rows is None else rows, "viterbi" if rows is None else f"topk({rows})")


def _all_and_one_more(options: Options, case: Case) -> None:
    """As many as there are and one that is not valid."""
    rows = max(map(len, case.paths), default=0) + 1
    if rows <= MOST_ROWS:
        _best(rows, options, case)


def _events(case: Case, found: Paths, k: int, question: str) -> None:
    count = len(case.items)
    expected = oracle.topk(case.structure, k, case.by).reshape(k, count)
    case.close(f"{question}.score", expected, found.score.reshape(k, count))
    case.close(f"{question}.valid", expected > -math.inf, found.valid.reshape(k, count))
    events = found.event.reshape(k, count, *found.event.shape[found.score.ndim :])
    for i, listed in enumerate(case.paths):
        scores = {path.event: path.score for path in listed}
        seen = [oracle.plain_event(events[row, i]) for row in range(k) if expected[row, i] > -math.inf]
        for row, event in enumerate(seen):
            if event not in scores:
                raise Broken(f"{question} gives event {event}, which is none of its {len(listed)} paths")
            along = torch.tensor(scores[event], dtype=torch.float64)
            case.close(f"{question}: the score of event {event}", expected[row, i], along)
        if len(set(seen)) < len(seen):
            raise Broken(f"{question} gives an event twice, among {seen}")


def _draws(case: Case) -> None:
    """How often each event is drawn, and its log-probability."""
    s, samples = case.structure, case.samples
    drawn = semihmm.sample(s, (samples,), case.generator)
    events = drawn.event.reshape(samples, len(case.items), *drawn.event.shape[drawn.score.ndim :])
    for i, (item, listed) in enumerate(zip(case.items, case.paths, strict=True)):
        chances = oracle.posterior(item.to(torch.float64), case.by)
        if not any(chances):
            continue
        count: dict[Any, int] = {}
        for event in events[:, i].tolist():
            key = oracle.plain_event(event)
            count[key] = count.get(key, 0) + 1
        unknown = count.keys() - {p.event for p, chance in zip(listed, chances, strict=True) if chance}
        if unknown:
            raise Broken(f"sample drew {unknown.pop()}, which is no path of positive weight", LawError)
        seen = [count.get(path.event, 0) for path in listed]
        bar = fits(seen, chances)
        if bar < FALSE_ALARM:
            raise Broken(
                f"the draws of sequence {i} do not fit its posterior (chi-square test: p = {bar:.1e}): of {samples} "
                f"expected {[round(samples * c) for c in chances]}, got {seen}",
                LawError,
            )
    total = oracle.log_partition(s, case.by)
    expected = drawn.score[:8].to(torch.float64) - torch.where(total == -math.inf, 0.0, total)
    got = torch.where(drawn.valid[:8], semihmm.log_prob(s, drawn.event[:8]), -math.inf)
    case.close("log_prob of draws", expected, got)


def _stretches(case: Case) -> None:
    """As a stream reads them: some paths, from where something begins, with all frames, but nothing behind.

    Of structures that tell a state for each frame, and have a step for each one, or for each but the first.
    """
    for item in case.items:
        chain, seen, counted_by = item.chain(), item.observed, next(iter(item.ragged.items()), None)
        if counted_by is None or isinstance(chain.steps, Grid) or not isinstance(chain.steps, Map):
            continue
        field, axes = counted_by
        frames = {n: x for n, axis in axes.items() if (x := item.potentials.get(n)) is not None and -axis == x.ndim}
        lead = item.potentials[seen].shape[0] - chain.length
        count = lead + (chain.length if chain.lengths is None else int(chain.lengths))
        if seen not in frames or seen not in item.__dict__ or lead not in (0, 1):  # it is another structure's
            continue
        try:
            walks = list(islice(walked(item), oracle.MOST))
            walks = walks[:: len(walks) // MOST_STRETCHED + 1]
            each = [torch.tensor(walk.slots) for walk in walks]
            whole = [item.state_sequence(item.event(Path.through(slots))) for slots in each]
        except StructureError:  # it has no states, or a map that cannot be walked through
            continue
        onward = chain.steps.leads_on
        for slots, states in zip(each, whole, strict=True):
            begins = [t for t in range(count) if slots[t] >= 0 and onward[slots[t]] and states[t] >= 0]
            for first, last in ((a, b) for a in begins for b in range(a + 1, count + 1)):
                form = item.holding(**{n: x.new_zeros(1, *x.shape[1:]) for n, x in frames.items()})
                blank = item.potentials[seen].new_zeros(last - first, *item.potentials[seen].shape[1:])
                form = form.holding(**{seen: blank})
                if field in item.__dict__:
                    form = form.holding(**{field: torch.tensor(last - first)})
                along = slots[first : last + 1 - lead].clone()
                if not lead and last < count and along[-1] >= 0 and not onward[along[-1]]:
                    along[-1] = -1
                stretch = f"the states of the stretch {along.tolist()} of path {slots.tolist()}"
                try:
                    found = form.state_sequence(form.event(Path.through(along)))
                except Exception as error:
                    raise Broken(f"{stretch} cannot be told: {type(error).__name__}: {error}") from error
                case.close(stretch, states[first:last], found)


def numbers(x: Any) -> str:
    """A structure or what else a question takes, with all its numbers."""
    if isinstance(x, Structure):
        held = [(f.name, getattr(x, f.name), f.default) for f in fields(x)]  # type: ignore[arg-type]
        given = ", ".join(f"{n}={numbers(value)}" for n, value, default in held if value is not default)
        return f"{type(x).__name__}({given})"
    if isinstance(x, Tensor):
        return str(x.tolist())
    return f"[{', '.join(map(numbers, x))}]" if isinstance(x, list) else repr(x)


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
