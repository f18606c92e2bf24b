"""What is exported of a stream: a module from frames and a carry to answers and the next carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from semihmm.engine import Chain, Compose, Map, Segmental, Sparse
from semihmm.engine.maps.form import unchecked
from semihmm.engine.onward import enter
from semihmm.engine.scan import less_their_peaks, product
from semihmm.engine.strategies import State
from semihmm.engine.strategies.base import Tables, advanced, lifted
from semihmm.engine.strategies.operator import over_time
from semihmm.errors import SemihmmError, StructureError
from semihmm.export.module import FEWEST, Answers, Make
from semihmm.export.program import example
from semihmm.models import HMM, HSMM
from semihmm.semirings import Log, Max, Semiring
from semihmm.semirings.log import mixture
from semihmm.structures import HSMM as SemiMarkov
from semihmm.structures import Structure

StepOutput = Literal["log_prob", "filtered", "viterbi"]
STEP_OUTPUTS: tuple[StepOutput, ...] = get_args(StepOutput)
LOG, MAX = Log(products=True), Max()
LAG = 50  # frames
Held = tuple[Tensor, Tensor, Tensor]  # a carry, its offset, and where best paths were


class Step(nn.Module):
    """What is asked of a stream as its frames come, one or more at a time, as a module from tensors to tensors.

    It takes ``x (B, T, ...)``, ``lengths (B,)`` int64 (how many of the T frames each stream has, 0 for none), and the
    carry: ``seen (B,)`` int64, how many frames there have been, and what else `carry` names. A stream whose carry is 0
    begins. It gives the answers, then the next carry, in the order of `names`: the next ``vector`` is
    ``"next_vector"``. However frames are cut into chunks, the answers are the same.

    Args:
        model: see `Answers`. Each frame by itself: a network that sees frames together sees a chunk.
        outputs: what is asked, in this order, of each frame of the chunk; 0 behind its end. ``"log_prob"``: the
            log-likelihood of all frames up to here in nats, float64 ``(B, T)``. ``"filtered"``: how likely each state
            is, given those ``(B, T, S)``. ``"viterbi"``, not of an HSMM: the best path up to here: ``"states"``, int64
            ``(B, T)``, the state that it had ``lag`` frames ago, -1 where there was no frame; ``"score"``, float64
            ``(B, T)``; ``"tail" (B, lag)``, behind the last frame: its states at the latest ``lag`` frames, the latest
            last. States are numbered as in filtered; of a CTC they are its 2 U + 1 places.
        lag: frames. With as many as a recording has, ``tail`` is its whole best path.

    Raises:
        SemihmmError: an output that is none; a lag below 1.
        StructureError: a part that has no export, or none frame by frame.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> step = Step(HMM(3, Gaussian(3, features=2)), ("log_prob", "viterbi"), lag=4)
        >>> carry = step.begin(streams=1)
        >>> for frame in torch.zeros(5, 1, 1, 2):
        ...     found = dict(zip(step.names, step(frame, torch.tensor([1]), *carry.values())))
        ...     carry = {name: found[f"next_{name}"] for name in carry}
        >>> carry["seen"], found["tail"].shape, found["states"]
        (tensor([5]), torch.Size([1, 4]), tensor([[0]]))
    """

    def __init__(
        self,
        model: HMM | HSMM | Make,
        outputs: Sequence[StepOutput] = ("log_prob", "filtered"),
        lag: int = LAG,
        x: Tensor | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in outputs if name not in STEP_OUTPUTS]
        if unknown or not outputs or isinstance(outputs, str):
            raise SemihmmError(
                f"export: outputs of a step must be some of {STEP_OUTPUTS}, as a tuple, got {outputs!r}."
            )
        if not isinstance(lag, int) or lag < 1:
            raise SemihmmError(f"export: lag is a number of frames, at least 1, got {lag!r}.")
        self.answers, self.outputs, self.lag = Answers(model, ("log_prob",)).eval(), tuple(outputs), lag
        self.cut = False  # whether the last segment need not have ended
        x = example(model) if x is None else x
        with torch.no_grad():
            structure = self._structure(x[:1, :1].expand(1, 3, *x.shape[2:]), torch.tensor([3]))
            chain = structure.chain()
        name, steps = type(structure).__name__, chain.steps.unrolled()
        lasting = isinstance(steps, Segmental)
        moves = (
            steps.transition if isinstance(steps, Segmental) else steps.first if isinstance(steps, Compose) else steps
        )
        if not isinstance(steps, Map) or (steps.memory > 1 and not lasting) or chain.length not in (2, 3):
            raise StructureError(
                f"export: a {name} has no step for each frame, so no step model. Export it whole: onnx.",
                see="no-export",
            )
        if any(leaf.shape[-1 - rank] != 1 for leaf, rank in zip(moves.leaves, moves.ranks, strict=True)):
            raise StructureError(
                f"export: transitions of this {name} change from frame to frame, which a step model cannot take. "
                "Export it whole: onnx.",
                see="no-export",
            )
        if isinstance(structure, SemiMarkov):
            if "viterbi" in outputs:
                raise StructureError(
                    "export: the step model of an HSMM has log_prob and filtered, but no viterbi: its segments "
                    "are as long as they are. Export it whole (onnx), or use a semihmm.Stream or the C++ runtime.",
                    see="no-export",
                )
            structure.going()  # which refuses what it cannot tell
        self.lead, self.slots, self.memory, self.lasting = 3 - chain.length, steps.slots, steps.memory, lasting

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is returned."""
        answers = [n for x in self.outputs for n in (("states", "score", "tail") if x == "viterbi" else (x,))]
        return (*answers, *(f"next_{name}" for name in self.begin(1)))

    def begin(self, streams: int) -> dict[str, Tensor]:
        """The carry of streams that begin, by name: zeros."""
        dtype = next((x.dtype for x in self.buffers() if x.is_floating_point()), torch.get_default_dtype())
        zero, offset = torch.zeros(streams, dtype=torch.int64), torch.zeros(streams, dtype=torch.float64)
        carry = {"seen": zero}
        if self.outputs != ("viterbi",):
            carry |= {"vector": torch.zeros(streams, self.memory, self.slots, dtype=dtype), "offset": offset}
        if self.lasting:
            carry["frames"] = torch.zeros(streams, self.memory - 1, self.slots // 2, dtype=dtype)
        if "viterbi" in self.outputs:
            past = torch.zeros(streams, self.lag + 1, self.slots, dtype=torch.int64)
            best = torch.zeros(streams, 1, self.slots, dtype=dtype)
            carry |= {"best": best, "best_offset": offset.clone(), "past": past}
        return carry

    def forward(self, x: Tensor, lengths: Tensor, *carry: Tensor) -> tuple[Tensor, ...]:
        """The answers, and the next carry, in the order of `names`."""
        known = dict(zip(self.begin(1), carry, strict=True))
        count, first = x.shape[1], known["seen"] == 0
        x = pad(x, (0, 0) * (x.ndim - 2) + (0, max(self.memory, FEWEST)))
        inside = torch.arange(x.shape[1]) < lengths.unsqueeze(-1)
        # A chain that starts with a frame gets that one twice: once to start with, once as the step into it.
        seen_twice = torch.cat([x[:, :1], x], 1) if self.lead else x
        structure = self._structure(seen_twice, (lengths + self.lead).clamp(min=1))
        chain = structure.chain()
        active = inside & ~(first.unsqueeze(-1) & (torch.arange(x.shape[1]) == 0)) if self.lead else inside
        steps, peaks = less_their_peaks(chain.steps.unrolled(), x.shape[1])
        scale = torch.zeros(x.shape[:2], dtype=torch.float64)
        for each in peaks:
            scale = scale + (each if each.shape[-1] == 1 else each[..., each.shape[-1] - x.shape[1] :])
        scale = torch.where(active, scale, 0.0).cumsum(-1)
        going = None
        if isinstance(structure, SemiMarkov):
            steps, known["next_frames"] = self._joined(steps, known["frames"], lengths)
            going = _lasting(steps, structure.going())
        found: dict[str, Tensor] = {"next_seen": known["seen"] + lengths}
        if "vector" in known:
            front = self._front(LOG, chain, first, known["vector"], known["offset"])
            found |= self._sums(chain, steps, front, scale, active, going)
        if "best" in known:
            front = self._front(MAX, chain, first, known["best"], known["best_offset"])
            found |= self._best(chain, steps, front, scale, active, first, known["past"])
        if self.lasting:
            found["next_frames"] = known["next_frames"]
        for name, nothing in {"log_prob": 0.0, "filtered": 0.0, "states": -1, "score": 0.0}.items():
            if name in found:
                used = inside.reshape(*inside.shape, *(1,) * (found[name].ndim - 2))
                found[name] = torch.where(used, found[name], nothing)[:, :count]
        return tuple([found[name] for name in self.names])

    def _structure(self, x: Tensor, lengths: Tensor) -> Structure:
        """What may go on behind the last frame."""
        structure = self.answers.structure(x, lengths)
        if not isinstance(structure, SemiMarkov) or structure.censored == "none":
            return structure
        if structure.censored != "right":
            raise StructureError(
                f"export: the step model of an HSMM has no censored={structure.censored!r}: a first segment that began "
                "before. Export it whole: onnx.",
                see="no-export",
            )
        self.cut = True
        return structure.holding(censored="none")  # type: ignore[arg-type]

    def _front(self, semiring: Semiring, chain: Chain, first: Tensor, vector: Tensor, offset: Tensor) -> State:
        """What there is in front of the chunk."""
        fresh = enter(semiring, chain)
        begun = fresh.state.carry.expand_as(vector)
        return State(torch.where(first[:, None, None], begun, vector), torch.where(first, fresh.offset, offset))

    def _sums(
        self, chain: Chain, steps: Map, front: State, scale: Tensor, active: Tensor, going: Tensor | None
    ) -> dict[str, Tensor]:
        """What all paths say."""
        rows = (active.mT,) if going is None else (active.mT, going)

        def step(
            state: State, table: Tables, now: Tensor, on: Tensor | None = None
        ) -> tuple[State, tuple[Tensor, ...]]:
            held = State(*state)
            new = advanced(LOG, steps, held, table, now)
            vector = new.carry.select(-2, 0).clone()
            if on is None:
                return new, (vector, new.offset.clone())
            # Segments that have not ended, by when they began.
            lasting = mixture(held.carry[..., self.slots // 2 :] + on, -2)[0]
            return new, (vector, new.offset.clone(), lasting, held.offset.clone())

        last, kept = over_time(step, front, lifted(LOG, (steps,)), steps.table_ranks, rows)
        vectors, offsets, *lasting = [x.movedim(0, 1) for x in kept]
        end = product(LOG, [chain.end])
        ends = vectors if end is None else vectors + end.unsqueeze(-2)
        states, base = (vectors, offsets) if going is None else lasting
        mass, share = mixture(states, -1)
        whole = mass + base if self.cut else mixture(ends, -1)[0] + offsets
        return {
            "filtered": share,
            "log_prob": whole + scale,
            "next_vector": last[0],
            "next_offset": last[1] + scale[:, -1],
        }

    def _best(
        self, chain: Chain, steps: Map, front: State, scale: Tensor, active: Tensor, first: Tensor, past: Tensor
    ) -> dict[str, Tensor]:
        """What the best path says. Of each slot it is known where its best path was up to ``lag`` frames ago."""
        numbers = torch.arange(self.slots)
        begun = torch.where(torch.arange(self.lag + 1).unsqueeze(-1) == 0, numbers, -1) if self.lead else -1
        past = torch.where(first[:, None, None], begun, past)
        assert isinstance(steps, Compose)
        moves = steps.first

        def step(held: Held, table: Tables, now: Tensor) -> tuple[Held, tuple[Tensor, ...]]:
            state, before = State(*held[:2]), held[2]
            new = advanced(MAX, steps, state, table, now)
            came = steps.choose(MAX, state.carry, table, None).squeeze(0)
            if isinstance(moves, Sparse):  # by its arc
                arcs = moves.weight.shape[-1]
                came = table[1].clamp(min=0).flatten()[numbers * arcs + came]
            led = before.gather(-1, came.unsqueeze(-2).expand(before.shape))
            led = torch.cat([numbers.expand(len(before), 1, -1), led[:, :-1]], -2)
            after = torch.where(now[:, None, None], led, before)
            vector = new.carry.select(-2, 0)
            best = vector.argmax(-1, keepdim=True)
            score = vector.gather(-1, best).squeeze(-1)
            state_then = after[:, -1].gather(-1, best).squeeze(-1)
            return (*new, after), (state_then, score, new.offset.clone())

        last, kept = over_time(step, (*front, past), lifted(MAX, (steps,)), steps.table_ranks, (active.mT,))
        states, score, offsets = [x.movedim(0, 1) for x in kept]
        end = product(MAX, [chain.end])
        vector = last[0].select(-2, 0)
        best = (vector if end is None else vector + end).argmax(-1, keepdim=True)
        tail = last[2][:, :-1].flip(1).gather(-1, best.unsqueeze(-2).expand(-1, self.lag, -1)).squeeze(-1)
        return {
            "states": states,
            "score": score + offsets + scale,
            "tail": tail,
            "next_best": last[0],
            "next_best_offset": last[1] + scale[:, -1],
            "next_past": last[2],
        }

    def _joined(self, steps: Map, frames: Tensor, lengths: Tensor) -> tuple[Segmental, Tensor]:
        """Segments that reach back to frames of the chunks before, and the frames that the next chunk looks back on."""
        assert isinstance(steps, Segmental)
        before = self.memory - 1
        emission = torch.cat([frames, steps.emission[:, before:]], 1)
        at = lengths.unsqueeze(-1) + torch.arange(before)
        latest = emission.gather(1, at.unsqueeze(-1).expand(-1, -1, emission.shape[-1]))
        moved = unchecked(
            Segmental, transition=steps.transition, duration=steps.duration, emission=emission, segment=None
        )
        return moved, latest


def _lasting(steps: Segmental, going: Tensor) -> Tensor:
    """The weight of segments that may go on, by frame and when they began ``(T, B, D, S)``."""
    weight = unchecked(
        Segmental, transition=steps.transition, duration=going, emission=steps.emission, segment=None
    ).tables()[0]
    return weight.movedim(-3, 0)
