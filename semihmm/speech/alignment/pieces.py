"""Cutting a long recording and its transcript into pieces, at moments whose place in the transcript is beyond doubt.

1. An *outline* of the whole: the best path through the transcript's spine, with one state for each phone and one step
   for as many frames as a phone has states. It is the best one from the first word to the last, so no stretch of bad
   audio or text can make it drift; and it takes 1/9 of the work.
2. Every few seconds a *window* around the outline, with open ends and ten seconds of transcript before and after, in
   which the posterior of every state is computed. Where the outline is in the same words all along, or next to them,
   what is near and the whole say the same, and a moment at which one state has nearly all of the posterior is a *cut*.
   A window without such a moment, or whose paths press against its limits, is tried again at twice and four times the
   size, and then given up: the pieces on both sides stay together. So they do around speech that is not in the
   transcript, and around words that are not said. A window that free speech may explain (`free`) proves nothing: it
   explains everything.
3. Between two cuts lies a *piece*: a graph and frames of its own. Given the cuts, nothing is approximated.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference import expected_counts, viterbi
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE, AlignmentGraph
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.structures import HMM

_SPACING = 1000  # frames from one cut to the next
_REACH = 200  # frames of a window before and after the outline's moment
_MARGIN = 150  # nodes of a window before and after the outline's: some ten seconds of speech
_SURE = 0.999  # posterior of a state that makes a moment a cut
_OUTLINE_PENALTY = 3.0  # nats a frame more for free speech: an outline has one pronunciation of each word, and it all
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


def find_cuts(graph: AlignmentGraph, heard: LogLikelihoods) -> list[Cut]:
    """Cuts of a recording, the first at its begin and the last at its end.

    Args:
        graph: of the whole transcript.
        heard: the recording.

    Raises:
        DataError: the recording is longer than some hours.
    """
    frames = len(heard.plain)
    cuts = [Cut(0)]
    outline = _outline(graph, heard.plain, heard.model.states)
    place = torch.tensor([node.word for node in graph.nodes]).cummax(0).values  # a pause counts to the word before it
    for moment in range(_SPACING, frames - _SPACING // 2, _SPACING):
        for size in (1, 2, 4):
            begin, end = max(moment - size * _REACH, 0), min(moment + size * _REACH, frames)
            cut = _cut_between(begin, end, size * _MARGIN, graph, heard, outline, place)
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
    if FREE in {item.phone for item in graph.nodes}:
        steps[:, -1] -= _OUTLINE_PENALTY * states
    paused = torch.tensor([graph.nodes[node].word == PAUSE for node in spine.tolist()])
    between, after = paused.long().cumsum(0), (~paused).nonzero()[:, 0]
    most = int(torch.diff(after, prepend=after.new_tensor([-1])).max())
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
            emission_index=graph.phone[spine],
        ),
        checkpoint=True,
    )
    if not bool(best.valid):
        raise DataError("no path through the transcript fits the recording.", see="transcript-too-long")
    return spine[best.event].repeat_interleave(states)[:frames]


def _by_phone(log_likelihood: Tensor, states: int) -> Tensor:
    """What the best state of each phone says, summed over as many frames as a phone has states."""
    phones = log_likelihood.unflatten(1, (-1, states)).amax(2)
    padded = torch.nn.functional.pad(phones, (0, 0, 0, -len(phones) % states))
    summed: Tensor = padded.unflatten(0, (-1, states)).sum(1)
    return summed


def _cut_between(
    begin: int, end: int, margin: int, graph: AlignmentGraph, heard: LogLikelihoods, outline: Tensor, place: Tensor
) -> Cut | None:
    """The surest moment in the middle of a window; None where none is sure, or the window does not hold the paths.

    Args:
        begin: the window's first frame.
        end: the frame after its last.
        margin: of nodes before and after the outline's.
        graph: of the whole transcript.
        heard: the whole recording.
        outline: the node of each frame.
        place: the number of each node's word.
    """
    nodes = len(graph.nodes)
    low, high = int(outline[begin]), int(outline[end - 1])
    lowest, highest = max(low - margin, 0), min(high + margin, nodes - 1)
    first, last = torch.searchsorted(graph.node, torch.tensor([lowest, highest + 1])).tolist()
    part = graph.part(first, last - 1)
    number = part.node + lowest
    initial, final, pressing = part.initial, part.final, []
    if begin:
        initial = torch.where(number <= low + margin, 0.0, -torch.inf)
        pressing += [(0, limit) for limit in (lowest, low + margin) if 0 < limit < nodes - 1]
    if end < len(heard.plain):
        final = torch.where(number >= high - margin, 0.0, -torch.inf)
        pressing += [(-1, limit) for limit in (high - margin, highest) if 0 < limit < nodes - 1]
    part = replace(part, initial=initial, final=final)
    hmm = heard.hmm(part, begin, end)
    posterior = expected_counts(hmm, ["emission"])[1]["emission"]
    if any(posterior[row, (number - limit).abs() <= 2].sum() > 1 - _SURE for row, limit in pressing):
        return None
    free = torch.tensor([item.phone == FREE for item in part.nodes])[part.node]
    if bool((posterior[:, free].sum(1) > 1 - _SURE).any()):
        return None
    quarter = (end - begin) // 4
    sure, state = posterior[quarter : end - begin - quarter].max(1)
    apart = place[number[state]] - place[outline[begin + quarter : end - quarter]]
    frame = int(sure.argmax())
    if sure[frame] < _SURE or apart.abs().max() > 1:
        return None
    return Cut(begin + quarter + frame, first + int(state[frame]), min(float(sure[frame].log()), 0.0))
