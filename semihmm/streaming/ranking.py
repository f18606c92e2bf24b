"""The k best paths so far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from semihmm.engine.onward import Carried, enter, origins, proceed
from semihmm.semirings import TopK
from semihmm.streaming.survivors import Ints
from semihmm.streaming.window import Window, carried_of, moved, some_of, tensors_of, widened


class Ranked(NamedTuple):
    """What the new frames of a window have brought."""

    carried: Carried
    nodes: Ints  # (B, T, rows * slots): how many times before, and which row and slot, as one number each
    steps: Ints


class Ranking:
    """The k best paths into each slot of some streams, and where each came from since states are certain.

    Args:
        streams: how many.
        rows: k.
    """

    def __init__(self, streams: int, rows: int) -> None:
        self.streams, self.semiring = streams, TopK(rows)
        self.carried: Carried | None = None
        self.origins: list[Ints] = [
            np.zeros((0, 0), np.int64)
        ] * streams  # of each time since the root's, the latest last

    def of(self, window: Window) -> Ranked:
        """What new frames bring. Changes nothing."""
        rows = self.semiring
        if window.fresh:
            front = enter(rows, window.chain)
        else:
            assert self.carried is not None
            front = some_of(self.carried, window.streams)
        *_, batch, _, slots = front.state.carry.shape
        size = rows.rows * slots
        last, nodes = front, np.zeros((batch, 0, size), np.int64)
        if window.latest:
            last, trail, *_ = proceed(rows, window.steps, window.length, window.taken, front, window.latest)
            found = origins(rows, window.steps, window.length, front, trail)
            node = found.delay * size + found.row * slots + found.slot
            nodes = node.movedim(0, -1).cpu().numpy()
        steps = np.full(batch, window.latest) if window.taken is None else window.taken.cpu().numpy()
        if window.fresh:  # the start is a time of its own, and nothing comes before it
            nodes = np.concatenate([np.zeros((batch, 1, size), np.int64), nodes], 1)
            steps = steps + (window.lengths > 0).cpu().numpy()
        return Ranked(last, nodes, steps)

    def take(self, window: Window, new: Ranked) -> None:
        """Move on."""
        self.carried = moved(self.carried, window, new.carried, self.streams)
        which = range(self.streams) if window.streams is None else window.streams.tolist()
        for stream, nodes, steps in zip(which, new.nodes, new.steps.tolist(), strict=True):
            held = self.origins[stream]
            self.origins[stream] = nodes[:steps].copy() if not len(held) else np.concatenate([held, nodes[:steps]])

    def forget(self, times: Ints) -> None:
        """Keep but so many of the latest times of each stream."""
        for stream, count in enumerate(times.tolist()):
            held = self.origins[stream]
            if len(held) > count:
                self.origins[stream] = held[len(held) - count :].copy()

    def restart(self, stream: int) -> None:
        self.origins[stream] = self.origins[stream][:0]

    def widen(self, slots: int) -> None:
        """More slots, behind those that there are."""
        if self.carried is None:
            return
        before, rows = self.carried.state.carry.shape[-1], self.semiring.rows
        self.carried = widened(self.carried, slots)
        for stream, held in enumerate(self.origins):
            nodes = held // before * slots + held % before  # delays, rows, and slots
            nodes = nodes.reshape(-1, rows, before)
            more = np.zeros((len(nodes), rows, slots - before), np.int64)
            self.origins[stream] = np.concatenate([nodes, more], -1).reshape(-1, rows * slots)

    def tensors(self) -> dict[str, Tensor]:
        """All that there is to save."""
        if self.carried is None:
            return {}
        held = {f"origins {i}": torch.from_numpy(x) for i, x in enumerate(self.origins)}
        return {**tensors_of(self.carried), **held}

    def restore(self, held: dict[str, Tensor]) -> None:
        """What `tensors` said, again."""
        self.carried = carried_of(held)
        self.origins = [held[f"origins {i}"].numpy() for i in range(self.streams)]

    def paths(self, stream: int, ends: Tensor, latest: int) -> tuple[list[Ints], Tensor]:
        """The nodes, ``time * slots + slot``, of the k best paths at the times that are kept; their scores ``(k,)``.

        Args:
            ends: which slots a path may be in now, bool ``(slots,)``.
            latest: the time now.
        """
        assert self.carried is not None
        last, held, found = some_of(self.carried, torch.tensor([stream])), self.origins[stream], []
        value, code = self.semiring.choose(last.state.carry.select(-2, 0).masked_fill(~ends, -torch.inf), -1)
        scores = (value.double() + last.offset)[:, 0]
        rows, slots = self.semiring.rows, len(ends)
        size = rows * slots
        for start, score in zip(code[:, 0].tolist(), scores.tolist(), strict=True):
            node, back, path = start % rows * slots + start // rows, 0, []
            while back < len(held) and score > -np.inf:
                path.append((latest - back) * slots + node % slots)
                came = int(held[-1 - back, node])
                node, back = came % size, back + came // size if came >= size else len(held)
            found.append(np.array(path[::-1], np.int64))
        return found, scores
