"""Keywords in whatever else is said: each a chain of phones, beside free speech.

One state of free speech fits everything as well as the free phone loop does, and a little better: by the threshold, in
nats a frame. A keyword is entered from it and left to it, and is spotted where the best path goes through it: where the
log-likelihood ratio of its frames against the loop is, on average, above the threshold, with what it costs to enter it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.pronunciation import Lexicon
from semihmm.speech.live.loop import Sounds
from semihmm.speech.live.tasks import Found, Now, Run, Runs, in_the_running, timed
from semihmm.streaming import Stream
from semihmm.structures import HMM

THRESHOLD = -0.5
"""Nats a frame by which free speech is better than the free phone loop.

The loop chooses its phones as it likes, and a keyword's states have to be passed in order: so a negative one. At -0.5,
three in four of the keywords in read speech were found, at 8.5 false alarms per keyword and hour.
"""

_BEAM = 100.0  # nats: what is worse than the best by more is out of the running
_MOST_WAITING = 300  # frames
_ENTERED = 1e-3  # probability, a frame, that one of the keywords begins


class KeywordSpotter:
    """Says when keywords are said.

    Args:
        model: hears them.
        lexicon: pronounces them.
        keywords: words, or several words in a row.
        threshold: nats a frame by which free speech is better than the free phone loop: more for fewer false alarms.

    Raises:
        DataError: there are no keywords, or one that nobody can pronounce.

    Example:
        >>> from pathlib import Path
        >>> from semihmm.speech import load_acoustic_model, load_lexicon
        >>> from semihmm.speech.live import FileSource, Session, SimulatedClock
        >>> model = load_acoustic_model()
        >>> spotter = KeywordSpotter(model, load_lexicon(), ["leisure", "turn on"])
        >>> session = Session(model, spotter, clock=SimulatedClock())
        >>> moments = session.play(FileSource(Path("examples/data/austen-0870.wav"), clock=session.clock))
        >>> for word in (found for moment in moments for found in moment.now.found):
        ...     print(f"{word.item.label} at {word.item.start:.1f} s")
        leisure at 2.3 s
    """

    def __init__(
        self, model: AcousticModel, lexicon: Lexicon, keywords: Sequence[str], threshold: float = THRESHOLD
    ) -> None:
        self.labels, self.threshold, self._time = tuple(keywords), threshold, model.front_end.boundary
        variants = [
            (index, phones) for index, keyword in enumerate(keywords) for phones in _readings(keyword, model, lexicon)
        ]
        if not variants:
            raise DataError('KeywordSpotter: there are no keywords. Give some: "yes no stop".')
        states = model.states
        columns, item = [0], [-1]  # free speech has no column: against the loop, it is the threshold
        source, target, weight = [0], [0], [math.log1p(-_ENTERED)]
        for index, phones in variants:
            row = len(columns)
            source, target, weight = [*source, 0], [*target, row], [*weight, math.log(_ENTERED / len(variants))]
            for phone in phones:
                number, first = model.phones.index(phone), len(columns)
                for before, after in (model.transitions[number] > -math.inf).nonzero().tolist():
                    last = after == states and first + states - row == len(phones) * states
                    source.append(first + before)
                    target.append(0 if last else first + after)
                    weight.append(float(model.transitions[number, before, after]))
                columns += range(number * states, number * states + states)
                item += [index] * states
        order = torch.tensor(target).argsort(stable=True)
        self._column, self._item = torch.tensor(columns), torch.tensor(item)
        self._source, self._target = torch.tensor(source)[order], torch.tensor(target)[order]
        begin = torch.full((len(columns),), -math.inf)
        begin[0] = 0.0
        arcs = (self._source, self._target)
        hmm = HMM(begin, torch.tensor(weight)[order], torch.zeros(1, len(columns)), arcs=arcs)
        self._stream, self._filtered = Stream(hmm, max_delay=_MOST_WAITING), begin
        self._runs = Runs(self._item, self._column)

    def push(self, sounds: Sounds) -> Now:
        allowed = in_the_running(self._filtered, self._source, self._target, _BEAM)
        emission = sounds.ratio[self._column]
        emission[0] = self.threshold if bool(sounds.ratio.any()) else 0.0
        update = self._stream.push(torch.where(allowed, emission, -torch.inf)[None])
        assert update.filtered is not None
        self._filtered = update.filtered[0]
        self._runs.wait(sounds.ratio)
        found = self._found(update.committed.states)
        each = self._filtered.exp()[1:]
        posterior = each.new_zeros(len(self.labels)).index_add(0, self._item[1:], each)
        probability, index = posterior.max(0)
        said = float(probability) > 0.5
        label = self.labels[int(index)] if said else ""
        return Now(label, int(index) if said else -1, float(probability), 0, found, posterior, self.labels)

    def finish(self) -> tuple[Found, ...]:
        found = self._found(self._stream.finish().committed.states)
        return found if self._runs.last is None else (*found, *self._of(self._runs.last))

    def _found(self, states: Tensor) -> tuple[Found, ...]:
        return tuple(item for run in self._runs.settle(states.tolist()) for item in self._of(run))

    def _of(self, run: Run) -> tuple[Found, ...]:
        if run.node < 0:
            return ()
        return (Found(timed(run, self.labels[run.node], self._time), run.node, run.score / (run.end - run.begin)),)


def _readings(keyword: str, model: AcousticModel, lexicon: Lexicon) -> list[tuple[str, ...]]:
    """The pronunciations of one or more words in a row."""
    found: list[tuple[str, ...]] = [()]
    for word in lexicon.pronounce_text(keyword, model):
        found = [before + phones for before in found for phones in word.variants]
    if not all(found):
        raise DataError(f"KeywordSpotter: {keyword!r} has no sound to listen for. Give words.")
    return found
