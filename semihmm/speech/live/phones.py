"""Phones as they are said, with nothing to expect: the free phone loop by itself."""

import torch
from torch import Tensor

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.live.loop import Sounds
from semihmm.speech.live.tasks import Found, Now, Run, Runs, timed
from semihmm.speech.text.phones import is_silence


class PhoneListener:
    """Says which phone is being said, and, somewhat later, which have been.

    Args:
        model: whose phones they are.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> session = Session(model := load_acoustic_model(), PhoneListener(model), clock=SimulatedClock())
        >>> wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
        >>> moments = [moment for block in FileSource(wave, clock=session.clock) for moment in session.hear(block)]
        >>> len(moments), moments[-1].now.labels[:3]
        (95, ('+NSN+', '+SPN+', 'AA'))
    """

    def __init__(self, model: AcousticModel) -> None:
        self.labels, self._time = model.phones, model.front_end.boundary
        states = torch.arange(len(model.phones) * model.states)
        self._runs = Runs(states // model.states, states)

    def push(self, sounds: Sounds) -> Now:
        self._runs.wait(sounds.ratio)
        found = self._found(sounds.states)
        probability, index = sounds.phones.max(0)
        label = self.labels[int(index)]
        said, number = ("", -1) if is_silence(label) else (label, int(index))
        return Now(said, number, float(probability), 0, found, sounds.phones, self.labels)

    def finish(self, states: Tensor) -> tuple[Found, ...]:
        found = self._found(states)
        return found if self._runs.last is None else (*found, *self._of(self._runs.last))

    def _found(self, states: Tensor) -> tuple[Found, ...]:
        return tuple(item for run in self._runs.settle(states.tolist()) for item in self._of(run))

    def _of(self, run: Run) -> tuple[Found, ...]:
        label = self.labels[run.node]
        if is_silence(label):
            return ()
        item = timed(run, label, self._time)
        return (Found(item, run.node, run.score / (run.end - run.begin), phones=(item,)),)
