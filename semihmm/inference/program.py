"""Programs: what a question of one form works out once, so that a small call is a look-up and one compiled call.

A structure whose chain is made of its potentials and of constants as its form decides has a program for each question:
its log-weights are views of potentials, or a few are laid out for each call. It is found by the structure's class, the
shapes and dtype of its potentials, its other fields, and the options. Nobody sees it: whatever it does not know (a
derivative that may be asked for, a transform, potentials in pieces, lengths that weights depend on, a log-weight that
is none) goes the general way, which gives the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm import engine
from semihmm.engine import Decoded
from semihmm.engine.plan import Scan
from semihmm.engine.tensors import THREADS_FROM
from semihmm.engine.tracing import plain
from semihmm.inference.options import Options, check_options, check_structures
from semihmm.semirings import Log, Max, Semiring, SmoothMax
from semihmm.structures import Structure
from semihmm.structures.leaves import Made, View, disjoint, event_axes, numbered, views

MOST = 256  # programs that are kept, the latest ones; and forms that came once
FEW = 1 << 14  # log-weights that are laid out for each call, at most: of more, PyTorch's operations cost nothing beside
LARGE = 1 << 16  # numbers in potentials: from here on a program saves less of a call than it takes to make
LAID_OUT = 1 << 18  # of all programs that are kept together, at most: where each is from takes 32 bytes


class Program(NamedTuple):
    """A compiled program, and what Python must know of it."""

    work: Any  # of the compiled module
    names: tuple[str, ...]  # its potentials
    validate: bool
    busy: bool  # whether threads pay
    direct: frozenset[str]  # the potentials whose gradient it writes
    laid_out: int  # how many log-weights are, for each call


class Asked(NamedTuple):
    """A program, and what it is given."""

    program: Program
    potentials: list[Tensor]
    lengths: Tensor | None  # of the chain

    @property
    def options(self) -> tuple[Tensor | None, bool, int]:
        """What goes with the potentials: lengths, whether they are looked at, threads."""
        return self.lengths, self.program.validate, torch.get_num_threads() if self.program.busy else 1


_PROGRAMS: OrderedDict[Hashable, Program | None] = OrderedDict()
_SEEN: OrderedDict[Hashable, None] = OrderedDict()  # large forms that came once
_CHANGING = Lock()
_FIELDS: dict[type, tuple[str, ...]] = {}


def total_of(structure: Structure, semiring: Semiring, options: Options) -> Tensor | None:
    """A total by its program; None where there is none, or a log-weight or the total is not what it should be.

    Example:
        >>> found = total_of(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2)), Log(), {})
        >>> found is None or round(float(found.exp())) == 8
        True
    """
    found = _program_for(structure, semiring, options)
    if found is None:
        return None
    value: Tensor | None = found.program.work.total(found.potentials, *found.options)
    return value


def best_path_of(structure: Structure, options: Options) -> Decoded | None:
    """The best path by its program, without an axis of rows; None as for `total_of`.

    Example:
        >>> found = best_path_of(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2)), {})
        >>> found is None or found.slots.tolist() == [0, 0, 0]
        True
    """
    found = _program_for(structure, Max(), options)
    if found is None:
        return None
    path = found.program.work.best_path(found.potentials, *found.options)
    return None if path is None else Decoded(*path)


def posteriors_of(
    structure: Structure, names: Sequence[str], options: Options
) -> tuple[Tensor, dict[str, Tensor]] | None:
    """The log-partition and its gradient by some potentials, by their program; None as for `total_of`.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> found = posteriors_of(hmm, ("initial",), {})
        >>> found is None or found[1]["initial"].tolist() == [0.5, 0.5]
        True
    """
    found = _program_for(structure, Log(), options)
    if found is None:
        return None
    program = found.program
    if not program.direct.issuperset(names):
        return None
    requested = [name in names for name in program.names]
    answer = program.work.posteriors(found.potentials, requested, *found.options)
    if answer is None:
        return None
    value, *grads = answer
    each = iter(grads)
    by_name = {name: next(each) for name, r in zip(program.names, requested, strict=True) if r}
    return value, {name: by_name[name] for name in names}


def _program_for(structure: Structure, semiring: Semiring, options: Options) -> Asked | None:
    """The program of a question, and what it is to be given; None where there is none."""
    if torch.compiler.is_compiling():
        return None
    kind = type(structure)
    names = _FIELDS.get(kind)
    if names is None:
        check_structures(structure)
        names = _FIELDS[kind] = tuple(f.name for f in fields(structure))  # type: ignore[arg-type]
    own = structure.__dict__
    key: list[Any] = [kind, semiring, *options.items()]
    potentials = []
    for name in names:
        x = own[name]
        if isinstance(x, Tensor):
            key.append(x.shape)
            if name != "lengths":
                potentials.append(x)
                whole = x.is_contiguous()
                if not whole and not _repeated(x):
                    return None
                key.append(whole)
        elif isinstance(x, Structure):
            return None
        else:
            key.append(x)
    lengths = own.get("lengths")
    if not plain(potentials) or (lengths is not None and not plain((lengths,))):
        return None
    key += (potentials[0].dtype, potentials[0].device, torch.get_num_threads())  # a program has memory for so many
    try:
        program = _PROGRAMS[tuple(key)]
    except KeyError:
        program = _kept(tuple(key), structure, semiring, options, sum(x.numel() for x in potentials) >= LARGE)
    except TypeError:  # a field or a semiring that nobody can hash
        return None
    if program is None:
        return None
    grad = torch.is_grad_enabled()
    for x in potentials:
        if (grad and x.requires_grad) or x.is_neg() or x.dtype is not potentials[0].dtype:
            return None
    return Asked(program, potentials, None if lengths is None else structure.chain_lengths)


def _kept(key: Hashable, structure: Structure, semiring: Semiring, options: Options, large: bool) -> Program | None:
    """The program of a form that has none yet, kept from now on; of a large one that comes for the first time, none."""
    with _CHANGING:
        if large and key not in _SEEN:
            _SEEN[key] = None  # a form that comes twice comes again
            while len(_SEEN) > MOST:
                _SEEN.popitem(last=False)
            return None
    program = _made(structure, semiring, options)
    with _CHANGING:
        _PROGRAMS[key] = program
        while len(_PROGRAMS) > MOST or sum(kept.laid_out for kept in _PROGRAMS.values() if kept) > LAID_OUT:
            _PROGRAMS.popitem(last=False)
    return program


def _made(structure: Structure, semiring: Semiring, options: Options) -> Program | None:
    """A program; None where a structure's form does not decide all that one must know."""
    check_options(options)
    potentials = structure.potentials
    axes, ranks = len(structure.batch_shape), structure.ranks
    given = {n: x for n, x in structure.__dict__.items() if isinstance(x, Tensor) and n != "lengths"}
    if type(semiring) not in (Log, Max, SmoothMax) or given.keys() != potentials.keys():
        return None
    if any(isinstance(x, tuple | list) and any(isinstance(y, Tensor) for y in x) for x in structure.__dict__.values()):
        return None
    whole = {n: x.detach() for n, x in given.items()}
    if not all(x.is_contiguous() or (axes and x.ndim == axes + ranks[n]) for n, x in whole.items()):
        return None  # what it repeats are not the sequences
    chain = structure.holding(**whole).chain()
    way = engine.plan(chain, semiring, options.get("strategy"), options.get("checkpoint"), options.get("backend"))
    form = views(structure)
    if way.blocks != 1 or any(isinstance(p, Made) and p.why for p in form):
        return None
    if structure.__dict__.get("lengths") is not None and structure.chain_lengths is None:  # weights may depend on them
        return None
    names = tuple(given)
    direct = _direct(form, chain, names)
    places: list[Any] = [
        (names.index(p.potential), p.first, [*p.shape], [*p.stride]) if isinstance(p, View) else None for p in form
    ]
    elsewhere = [i for i, p in enumerate(form) if isinstance(p, Made) and p.potentials]
    overlapping = [i for i, p in enumerate(form) if isinstance(p, View) and p.potential not in direct]
    if elsewhere and (_count(chain, elsewhere) > FEW or names != tuple(potentials)):
        return None
    if _count(chain, elsewhere + overlapping) <= FEW and names == tuple(potentials):
        elsewhere, direct = elsewhere + overlapping, frozenset(names)
    if elsewhere:
        found = numbered(structure.holding(**whole))
        rest, sums = (_filled(structure, whole, value).leaves for value in (0.0, 1.0))
        for i in elsewhere:
            source = found[i]
            assert source is not None and source.number is not None
            factors = torch.where(source.number < 0, 0.0, (sums[i] - rest[i]).double())
            places[i] = tuple(x.contiguous() for x in (source.number, factors, rest[i].double()))
    work = way.worker.program(Scan(way, semiring, (chain,)), list(whole.values()), places, structure.sign)
    if work is None:
        return None
    busy = chain.batch.numel() * chain.length * chain.steps.work >= THREADS_FROM
    return Program(work, names, bool(options.get("validate", True)), busy, direct, _count(chain, elsewhere))


def _count(chain: engine.Chain, leaves: Sequence[int]) -> int:
    """How many entries some leaves of a chain have."""
    return sum(chain.leaves[i].numel() for i in leaves)


def _filled(structure: Structure, like: Mapping[str, Tensor], value: float) -> engine.Chain:
    """The chain where all entries of all potentials are one number."""
    return structure.holding(**{n: torch.full_like(x, value) for n, x in like.items()}).chain()


def _repeated(x: Tensor) -> bool:
    """Whether a tensor repeats the numbers of one sequence, as ``x.expand(batch, ...)`` does."""
    return x.ndim > 0 and x.stride(0) == 0 and x.select(0, 0).is_contiguous()


def _direct(form: Sequence[Any], chain: engine.Chain, names: tuple[str, ...]) -> frozenset[str]:
    """The potentials whose log-weights are disjoint views of them."""
    found = set()
    for name in names:
        mine = [(i, p) for i, p in enumerate(form) if isinstance(p, View) and p.potential == name]
        if disjoint(tuple(p for _, p in mine), tuple(event_axes(chain, i) for i, _ in mine), chain.batch):
            found.add(name)
    return frozenset(found)
