"""From the frames of a rough model to those of a fine one, with edges between phones where the spectrum changes.

A model learnt from a flat start knows no better than itself whether the frames between two phones, which hear both,
are the end of the one or the beginning of the other: either is consistent. So edges drift, all to one side. What helps
is to move them before a new model is made of their phones: those between two classes of phones, by what brings them to
where, on average, the spectrum changes most. No labels are needed for that.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.training.classes import classes_of
from semihmm.speech.training.statistics import Example, begins

_REACH = 0.030  # seconds that edges may be moved
_SIDE = 0.020  # seconds before and after an edge that are compared
_USUAL = 20.0  # edges of all kinds that each kind is taken to have beside its own


def moved(
    paths: Sequence[Tensor | None], old: FrontEnd, examples: Sequence[Example], model: AcousticModel
) -> list[Tensor | None]:
    """The phones of paths on other frames, their edges mended, and all states of a phone equally long.

    Args:
        paths: ``(T,)`` states on the frames of ``old``, of each example; None where there is none.
        old: the front end that they are of.
        examples: on the new frames.
        model: with the new front end.
    """
    new, states, kind = model.front_end, model.states, classes_of(model.phones)
    runs = [_runs(path, states, old, new) for path in paths]
    pairs = [kind[phone[:-1]] * len(kind) + kind[phone[1:]] for phone, _ in runs]
    cepstra = [item.features[:, : new.cepstra] for item in examples]
    shifts = edge_shifts([edge[1:].round().long() for _, edge in runs], pairs, cepstra, new.frame_rate)
    return [
        None if path is None else _path(phone, torch.cat([edge[:1], edge[1:] + shifts[pair]]), len(x), states)
        for path, (phone, edge), pair, x in zip(paths, runs, pairs, cepstra, strict=True)
    ]


def _runs(path: Tensor | None, states: int, old: FrontEnd, new: FrontEnd) -> tuple[Tensor, Tensor]:
    """The phones of a path, and where they begin, in frames of the new front end and fractions of them."""
    if path is None:
        return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64)
    first = begins(path, states).nonzero()[:, 0]
    edge = (old.boundary(0) - new.boundary(0) + first.double() / old.frame_rate) * new.frame_rate
    edge[0] = 0.0
    return path[first] // states, edge


def _path(phone: Tensor, edge: Tensor, frames: int, states: int) -> Tensor:
    """States ``(frames,)`` of phones that begin at these edges, or later where they have moved past each other."""
    middle = torch.arange(frames, dtype=torch.float64) + 0.5
    run = torch.searchsorted(edge.cummax(0).values, middle, right=True) - 1
    length = torch.bincount(run, minlength=len(edge))
    place = torch.arange(frames) - (length.cumsum(0) - length)[run]
    return phone[run] * states + (2 * place + 1) * states // (2 * length[run])


def edge_shifts(
    edges: Sequence[Tensor], kinds: Sequence[Tensor], cepstra: Sequence[Tensor], frame_rate: float
) -> Tensor:
    """By how many frames edges come too early, by their kind, ``(K,)`` float64.

    Args:
        edges: for each recording, ``(E,)`` the frames at which phones begin.
        kinds: for each, ``(E,)`` numbers below K.
        cepstra: for each, ``(T, C)``.
        frame_rate: of the frames.
    """
    reach, side = round(_REACH * frame_rate), round(_SIDE * frame_rate)
    count = max((int(kind.max()) + 1 for kind in kinds if len(kind)), default=0)
    profile = torch.zeros(count, 2 * reach + 1, dtype=torch.float64)
    number = torch.zeros(count, 1, dtype=torch.float64)
    for edge, kind, x in zip(edges, kinds, cepstra, strict=True):
        change = _change(x, side)
        place = edge[:, None] + torch.arange(-reach, reach + 1)
        inside = (place[:, 0] >= 1) & (place[:, -1] < len(x))
        profile.index_add_(0, kind[inside], change[place[inside]])
        number.index_add_(0, kind[inside], torch.ones(int(inside.sum()), 1, dtype=torch.float64))
    usual = profile.sum(0) / number.sum().clamp(min=1)
    usual[reach] += 1e-9  # where nothing changes, edges stay
    return _peak((profile + _USUAL * usual) / (number + _USUAL)) - reach


def _change(x: Tensor, side: int) -> Tensor:
    """How far the mean of what follows lies from the mean of what came before, at the beginning of each frame."""
    sums = torch.nn.functional.pad(x.double().cumsum(0), (0, 0, 1, 0))
    place = torch.arange(len(x))
    low, high = (place - side).clamp(min=0), (place + side).clamp(max=len(x))
    after = (sums[high] - sums[place]) / (high - place)[:, None]
    before = (sums[place] - sums[low]) / (place - low).clamp(min=1)[:, None]
    return (after - before).square().sum(1)


def _peak(profile: Tensor) -> Tensor:
    """Where each row is highest, between its numbers: the top of a parabola through the highest and its neighbours."""
    top = profile.argmax(1).clamp(1, profile.shape[1] - 2)
    left, middle, right = (profile.gather(1, (top + offset)[:, None])[:, 0] for offset in (-1, 0, 1))
    return top + ((left - right) / (2 * (left - 2 * middle + right)).clamp(max=-1e-9)).clamp(-0.5, 0.5)
