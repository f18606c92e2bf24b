"""Cutting a long recording and its transcript into pieces, at moments whose place in the transcript is beyond doubt.

1. An *outline* of the whole: the best path through the transcript's spine, with one state for each phone and one step
   for as many frames as a phone has states. It is the best one from the first word to the last, so no stretch of bad
   audio or text can make it drift; and it takes 1/9 of the work.
2. Every few seconds a *window* around the outline, with open ends, in which the posterior of every state is computed.
   A moment at which one state has nearly all of it is a *cut*. A window without such a moment, or whose paths press
   against its limits, is tried again at twice the size, and then given up: the pieces on both sides stay together.
3. Between two cuts lies a *piece*: a graph and frames of its own. Given the cuts, nothing is approximated.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference import expected_counts, viterbi
from semihmm.speech.graph import PAUSE, AlignmentGraph
from semihmm.structures import HMM

_SPACING = 1000  # frames from one cut to the next
_REACH = 200  # frames of a window before and after the outline's moment
_MARGIN = 40  # nodes of a window before and after the outline's
_SURE = 0.999  # posterior of a state that makes a moment a cut
_TRIES = 3  # sizes of a window, each twice the last
_BLOCK = 1000  # steps of the outline whose log-likelihoods are summed at a time
_MOST_OUTLINE_CELLS = 100_000_000_000  # some six hours


@dataclass(frozen=True)
class Cut:
    """A moment whose place in the transcript is known.

    Args:
        frame: the first frame of the piece that begins here.
        state: the graph's state in that frame; -1 for any that may be first or last there.
        log_prob: log-posterior of that.
    """

    frame: int
    state: int = -1
    log_prob: float = 0.0


@dataclass(frozen=True)
class Piece:
    """What lies between two cuts.

    Args:
        begin: its first frame.
        end: the frame after its last.
        graph: the states that it may pass, between ends that the cuts fix.
        node: the number that the graph's first node has in the whole.
    """

    begin: int
    end: int
    graph: AlignmentGraph
    node: int = 0

    @classmethod
    def between(cls, graph: AlignmentGraph, start: Cut, stop: Cut) -> "Piece":
        """The piece from one cut to the other: it ends by entering the state of the second."""
        first = max(start.state, 0)
        last = stop.state if stop.state >= 0 else len(graph.node) - 1
        part = graph.part(first, last)
        initial, final = part.initial, part.final
        if start.state >= 0:
            initial = torch.full_like(initial, -torch.inf)
            initial[0] = 0.0
        if stop.state >= 0:
            final = torch.full_like(final, -torch.inf)
            entering = part.target == last - first
            final[part.source[entering]] = part.weight[entering]
        return cls(start.frame, stop.frame, replace(part, initial=initial, final=final), int(graph.node[first]))


def find_cuts(graph: AlignmentGraph, log_likelihood: Tensor, states: int) -> list[Cut]:
    """Cuts of a recording, the first at its begin and the last at its end.

    Args:
        graph: of the whole transcript.
        log_likelihood: ``(T, phones * states)``, as `AcousticModel.log_likelihood` gives it.
        states: of each phone.

    Raises:
        DataError: the recording is longer than some hours.
    """
    frames = len(log_likelihood)
    cuts = [Cut(0)]
    outline = _outline(graph, log_likelihood, states)
    for moment in range(_SPACING, frames - _SPACING // 2, _SPACING):
        for size in range(_TRIES):
            cut = _cut_near(moment, graph, log_likelihood, outline, 2**size)
            if cut is not None and cut.state >= cuts[-1].state and cut.frame > cuts[-1].frame:
                cuts.append(cut)
                break
    return [*cuts, Cut(frames)]


def _outline(graph: AlignmentGraph, log_likelihood: Tensor, states: int) -> Tensor:
    """Roughly, which node of the graph each frame is in, ``(T,)``."""
    frames, spine = len(log_likelihood), graph.spine
    cells = frames * len(spine) // states
    if cells > _MOST_OUTLINE_CELLS:
        raise DataError(
            f"the recording is too long even for its outline: {frames} frames and {len(spine)} phones. Cut it, and its "
            f"transcript, into parts of an hour or two."
        )
    steps = torch.cat([_by_phone(block, states) for block in log_likelihood.split(states * _BLOCK)])
    paused = torch.tensor([graph.nodes[node].word == PAUSE for node in spine.tolist()])
    between, after = paused.long().cumsum(0), (~paused).nonzero()[:, 0]
    most = int(torch.diff(after, prepend=after.new_tensor([-1])).max()) if len(after) else 1
    offsets = tuple(range(most + 1))
    allowed = torch.ones(len(spine), most + 1, dtype=torch.bool)
    for offset in offsets[2:]:  # over pauses, and over nothing else
        allowed[offset:, offset] = between[offset - 1 : -1] - between[:-offset] == offset - 1
    ends = torch.full((2, len(spine)), -torch.inf)
    ends[0, : int(after[0]) + 1] = ends[1, int(after[-1]) :] = 0.0
    best = viterbi(
        HMM(
            ends[0],
            torch.where(allowed, 0.0, -torch.inf),
            steps,
            final=ends[1],
            offsets=offsets,
            emission_index=graph.column[spine * states] // states,
        ),
        checkpoint=True,
    )
    if not bool(best.valid):
        raise DataError("no path through the transcript fits the recording.")
    return spine[best.event].repeat_interleave(states)[:frames]


def _by_phone(log_likelihood: Tensor, states: int) -> Tensor:
    """What the best state of each phone says, summed over as many frames as a phone has states."""
    phones = log_likelihood.unflatten(1, (-1, states)).amax(2)
    return torch.nn.functional.pad(phones, (0, 0, 0, -len(phones) % states)).unflatten(0, (-1, states)).sum(1)


def _cut_near(moment: int, graph: AlignmentGraph, log_likelihood: Tensor, outline: Tensor, size: int) -> Cut | None:
    """The surest moment in the middle of a window; None where none is sure, or the window does not hold the paths."""
    begin, end = max(moment - size * _REACH, 0), min(moment + size * _REACH, len(log_likelihood))
    low, high = int(outline[begin]), int(outline[end - 1])
    nodes, margin = len(graph.nodes), size * _MARGIN
    lowest, highest = max(low - margin, 0), min(high + margin, nodes - 1)
    states = len(graph.node) // nodes
    part = graph.part(lowest * states, highest * states + states - 1)
    number = part.node + lowest
    initial = torch.where(number <= low + margin, 0.0, -torch.inf) if begin else part.initial
    final = torch.where(number >= high - margin, 0.0, -torch.inf) if end < len(log_likelihood) else part.final
    hmm = replace(part, initial=initial, final=final).hmm(log_likelihood[begin:end])
    posterior = expected_counts(hmm, ["emission"])[1]["emission"]

    limits = [lowest, low + margin] if begin else []
    pressing = _near(number, limits, nodes) @ posterior[0]
    limits = [high - margin, highest] if end < len(log_likelihood) else []
    pressing += _near(number, limits, nodes) @ posterior[-1]
    quarter = (end - begin) // 4
    middle = posterior[quarter : end - begin - quarter]
    sure, state = middle.max(1)
    frame = int(sure.argmax())
    if pressing > 1 - _SURE or sure[frame] < _SURE:
        return None
    return Cut(begin + quarter + frame, lowest * states + int(state[frame]), min(float(sure[frame].log()), 0.0))


def _near(number: Tensor, limits: list[int], nodes: int) -> Tensor:
    """1 for states whose nodes are next to a limit of a window that is not one of the whole graph, else 0."""
    inner = [limit for limit in limits if 0 < limit < nodes - 1]
    return torch.stack([(number - limit).abs() <= 2 for limit in inner] or [number < 0]).any(0).float()
