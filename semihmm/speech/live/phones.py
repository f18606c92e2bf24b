"""Phones as they are said, with nothing to expect: the free phone loop by itself."""

import torch

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import free_loop
from semihmm.speech.live.loop import Sounds
from semihmm.speech.live.tasks import Found, Now, Run, Runs, timed
from semihmm.speech.text.phones import is_silence
from semihmm.streaming import Stream

_MOST_WAITING = 200  # frames: phones that are not certain by then are taken to be the best so far


class PhoneListener:
    """Says which phone is being said, and, somewhat later, which have been.

    Args:
        model: whose phones they are.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> from semihmm.speech.live import FileSource, Session, SimulatedClock
        >>> session = Session(model := load_acoustic_model(), PhoneListener(model), clock=SimulatedClock())
        >>> wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
        >>> moments = [moment for block in FileSource(wave, clock=session.clock) for moment in session.hear(block)]
        >>> len(moments), moments[-1].now.labels[:3]
        (95, ('+NSN+', '+SPN+', 'AA'))
    """

    def __init__(self, model: AcousticModel) -> None:
        self.labels, self._states, self._time = model.phones, model.states, model.front_end.boundary
        states = torch.arange(len(model.phones) * model.states)
        self._runs = Runs(states // model.states, states)
        self._stream = Stream(free_loop(model, torch.zeros(1, len(states))), max_delay=_MOST_WAITING)

    def push(self, sounds: Sounds) -> Now:
        self._runs.wait(sounds.ratio)
        update = self._stream.push(sounds.ratio[None, : len(self.labels) * self._states])
        found = self._found(update.committed.states.tolist())
        probability, index = sounds.phones.max(0)
        label = self.labels[int(index)]
        said, number = ("", -1) if is_silence(label) else (label, int(index))
        return Now(said, number, float(probability), 0, found, sounds.phones, self.labels)

    def finish(self) -> tuple[Found, ...]:
        found = self._found(self._stream.finish().committed.states.tolist())
        return found if self._runs.last is None else (*found, *self._of(self._runs.last))

    def _found(self, states: list[int]) -> tuple[Found, ...]:
        return tuple(item for run in self._runs.settle(states) for item in self._of(run))

    def _of(self, run: Run) -> tuple[Found, ...]:
        label = self.labels[run.node]
        if is_silence(label):
            return ()
        item = timed(run, label, self._time)
        return (Found(item, run.node, run.score / (run.end - run.begin), phones=(item,)),)
