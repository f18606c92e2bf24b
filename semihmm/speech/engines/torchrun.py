"""The ranks that ``torchrun`` started, on as many machines as it was told.

Rank 0 leads: it alone runs the program, and the others work for it. Of the items of a `Torchrun.map`, rank r of n does
r, r + n, r + 2n, ... and sends its results to rank 0, a few ahead of what that has read. They need the same files under
the same names. Where a rank dies all end, and ``--resume`` goes on from there; ``torchrun --max-restarts`` does so by
itself.
"""

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
from torch import distributed

from semihmm.errors import DataError
from semihmm.speech.engines.engine import AHEAD, Item, Result, on_one_thread

_PATIENCE = timedelta(days=7)  # for the longest recording; a rank that dies is noticed at once


class Torchrun:
    """The ranks of torchrun, within a ``with`` statement, whose block rank 0 alone runs.

    The other ranks work for rank 0 until it leaves the block, and then end (`SystemExit`).

    Raises:
        DataError: the process is no rank of torchrun's, or another rank died.
    """

    _is_amid_work = False

    def __enter__(self) -> "Torchrun":
        if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            raise DataError(
                "Torchrun: this process is no rank of torchrun's. Start as many of it as there is to be work for: "
                "torchrun --nproc-per-node 4 --no-python semihmm align CORPUS --out OUT --engine torchrun"
            )
        # Not every PyTorch has these.
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        store, rank, size = next(rendezvous("env://"))
        # After a restart, the store still has the addresses of those that died.
        ours = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        distributed.init_process_group("gloo", store=ours, rank=rank, world_size=size, timeout=_PATIENCE)
        if distributed.get_rank() == 0:
            return self
        try:
            while (work := _broadcast(None)) is not None:
                _do_share(*work)
        except RuntimeError as error:
            raise SystemExit(f"rank {distributed.get_rank()} of torchrun ends, as rank 0 did ({error}).") from error
        finally:
            distributed.destroy_process_group()
        raise SystemExit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._is_amid_work:
            _broadcast(None)
        distributed.destroy_process_group()

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], *, died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        if self._is_amid_work:
            raise DataError("Torchrun: the other ranks are still at work, whose results were not read to the end.")
        self._is_amid_work = True
        todo = list(items)
        _broadcast((task, todo))
        for index, item in enumerate(todo):
            rank = index % distributed.get_world_size()
            yield on_one_thread(task, item) if rank == 0 else _receive(rank)
        self._is_amid_work = False


def _do_share(task: Callable[[Any], Any], todo: list[Any]) -> None:
    """What a rank other than 0 does of a `Torchrun.map`."""
    sending: deque[_Sending] = deque()
    for item in todo[distributed.get_rank() :: distributed.get_world_size()]:
        answer: tuple[Any, Exception | None]
        try:
            answer = on_one_thread(task, item), None
        except Exception as error:
            answer = None, error
        sending.append(_Sending(answer))
        if len(sending) > AHEAD:
            sending.popleft().finish()
    for message in sending:
        message.finish()


class _Sending:
    """A message to rank 0 on its way."""

    def __init__(self, message: object) -> None:
        content = bytearray(pickle.dumps(message))
        self._parts = torch.tensor([len(content)]), torch.frombuffer(content, dtype=torch.uint8)
        self._works = [distributed.isend(part, 0) for part in self._parts]  # each reads its part until it is done

    def finish(self) -> None:
        for work in self._works:
            assert work is not None, "this rank is one of the group"
            work.wait()


def _receive(rank: int) -> Any:
    """The next result of a rank, or what it raised."""
    length = torch.empty(1, dtype=torch.long)
    try:
        distributed.recv(length, rank)
        content = torch.empty(int(length), dtype=torch.uint8)
        distributed.recv(content, rank)
    except RuntimeError as error:
        raise DataError(
            f"Torchrun: rank {rank} ended before its work was done ({error}). Run again with --resume."
        ) from error
    result, raised = pickle.loads(content.numpy().data)
    if raised is not None:
        raise raised
    return result


def _broadcast(work: Any) -> Any:
    """What rank 0 has to say to all."""
    message = [work]
    distributed.broadcast_object_list(message, 0)
    return message[0]
