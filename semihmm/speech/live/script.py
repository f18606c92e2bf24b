"""A script as it is read aloud: which word is being said, and when each of the others was.

The alignment graph of the script, with free speech at both ends, between words, and in place of words that are not read
as they are written, is an `HMM`, and its `Stream` tells where the reader is. Two things keep it small:

A *beam*: a state is out of the running where no state that leads to it had a posterior, given the frames so far, above
``exp(-beam)``. Without one, nothing would ever be certain: in a graph from left to right, the path that has not begun
yet never dies. What the beam leaves decides; the best path of the whole stays in it unless at some moment it was less
probable than that.

A *window*: some hundred words of the script from the last certain moment on. Given that, nothing is approximated.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE, Place, build_graph
from semihmm.speech.alignment.match import Calibration, calibration_of
from semihmm.speech.alignment.pronunciation import Lexicon
from semihmm.speech.live.loop import Sounds
from semihmm.speech.live.tasks import Found, Now, Run, Runs, in_the_running, timed
from semihmm.streaming import Stream
from semihmm.structures import HMM

BEAM = 100.0
_WINDOW = 3000  # states: some hundred words
_MOST_WAITING = 1000  # frames
_UNFINISHED = 10.0  # nats that it costs to stop before the end of the script


class ScriptFollower:
    """Follows a reader through a script.

    Args:
        model: hears it.
        lexicon: pronounces it.
        text: the script.
        pause_probability: as an `Aligner` has it.
        beam: nats by which a state may be less probable than all others and stay in the running.
        window: states of the script that are listened for at a time.
        calibration: turns a word's log-likelihood ratio per frame into its match; None as an `Aligner` has it.

    Raises:
        DataError: the script has no words, or one that nobody can pronounce.

    Example:
        >>> from pathlib import Path
        >>> from semihmm.speech import load_acoustic_model, load_lexicon
        >>> from semihmm.speech.live import FileSource, Session, SimulatedClock
        >>> model = load_acoustic_model()
        >>> follower = ScriptFollower(model, load_lexicon(), "and mister john dashwood had then leisure to consider")
        >>> session = Session(model, follower, clock=SimulatedClock())
        >>> moments = session.play(FileSource(Path("examples/data/austen-0870.wav"), clock=session.clock))
        >>> for word in [found for moment in moments for found in moment.now.found][:3]:
        ...     print(f"{word.item.start:.2f} {word.item.label}")
        0.26 and
        0.33 mister
        0.64 john
    """

    def __init__(
        self,
        model: AcousticModel,
        lexicon: Lexicon,
        text: str,
        *,
        pause_probability: float = 0.5,
        beam: float = BEAM,
        window: int = _WINDOW,
        calibration: Calibration | None = None,
    ) -> None:
        pronunciations = lexicon.pronounce_text(text, model)
        self.words = tuple(item.word for item in pronunciations)
        free: tuple[Place, ...] = ("ends", "between", "instead")
        self.graph = build_graph(pronunciations, model, pause_probability=pause_probability, free=free)
        self.beam, self.window, self.calibration = beam, window, calibration or calibration_of(model)
        self._time = model.front_end.boundary
        word = torch.tensor([node.word for node in self.graph.nodes])
        self._word, self._begun = word[self.graph.node], (word + 1).cummax(0).values[self.graph.node]
        self._runs = Runs(self.graph.node, self.graph.column)
        self._parts: list[Run] = []  # of the word that is not over
        self.log_likelihood_ratio = 0.0
        self._open(0, self.graph.initial)

    def push(self, sounds: Sounds) -> Now:
        self._runs.wait(sounds.ratio)
        before = self._likelihood
        found = self._settle(self._step(sounds.ratio))
        self.log_likelihood_ratio += self._likelihood - before
        posterior = self._reached().exp()
        top = int(posterior.argmax())
        if 3 * top > 2 * len(posterior) and self._low + len(posterior) < len(self._word):
            found += self._move()
            posterior = self._reached().exp()
            top = int(posterior.argmax())
        word = self._word[self._low : self._low + len(posterior)]
        each = posterior.new_zeros(len(self.words) + 1).index_add(0, word + 1, posterior)
        probability, index = each.max(0)
        number = int(index) - 1
        label = "" if number == PAUSE else self.words[number]
        return Now(label, number, float(probability), int(self._begun[self._low + top]), tuple(found))

    def finish(self) -> tuple[Found, ...]:
        found = self._settle(self._certain(self._stream.finish().committed.states))
        if self._runs.last is not None:
            found += self._add(self._runs.last)
        return (*found, *self._word_over())

    def _open(self, low: int, initial: Tensor) -> None:
        """Listen for the states from ``low`` on."""
        part = self.graph.part(low, min(low + self.window, len(self.graph.node)) - 1)
        final = torch.where(part.final > -torch.inf, part.final, -_UNFINISHED).float()
        arcs, nothing = (part.source, part.target), torch.zeros(1, len(part.node))
        hmm = HMM(initial[: len(part.node)].float(), part.weight.float(), nothing, final=final, arcs=arcs)
        self._low, self._part, self._stream = low, part, Stream(hmm, max_delay=_MOST_WAITING)
        self._filtered: Tensor | None = None
        self._likelihood, self._known = 0.0, 0  # how many of the stream's first states were certain before

    def _step(self, ratio: Tensor) -> list[int]:
        """Push a frame; the states that have become certain."""
        part, emission = self._part, ratio[self._part.column]
        if self._filtered is not None:
            allowed = in_the_running(self._filtered, part.source, part.target, self.beam)
            emission = torch.where(allowed, emission, -torch.inf)
        update = self._stream.push(emission[None])
        assert update.filtered is not None and update.log_likelihood is not None
        self._filtered, self._likelihood = update.filtered[0], float(update.log_likelihood[0])
        return self._certain(update.committed.states)

    def _certain(self, committed: Tensor) -> list[int]:
        states = (committed + self._low).tolist()
        known, self._known = self._known, max(self._known - len(states), 0)
        return states[known:]

    def _move(self) -> list[Found]:
        """Listen from the latest certain moment on."""
        if self._runs.latest is None or self._runs.latest[0] <= self._low:
            return []
        state, ratio = self._runs.latest
        initial = torch.full((self.window,), -torch.inf)
        initial[0] = 0.0
        self._open(state, initial)
        self._known = 1
        return self._settle([state for row in (ratio, *self._runs.waiting) for state in self._step(row)])

    def _reached(self) -> Tensor:
        assert self._filtered is not None
        return self._filtered

    def _settle(self, states: Sequence[int]) -> list[Found]:
        """The words that are over with these states."""
        found = [word for run in self._runs.settle(states) for word in self._add(run)]
        if self._runs.last is not None and self._parts and not self._same_word(self._runs.last):
            found += self._word_over()
        return found

    def _add(self, run: Run) -> list[Found]:
        found = [] if self._same_word(run) else self._word_over()
        if self.graph.nodes[run.node].word != PAUSE:
            self._parts.append(run)
        return found

    def _same_word(self, run: Run) -> bool:
        return bool(self._parts) and self.graph.nodes[run.node].word == self.graph.nodes[self._parts[0].node].word

    def _word_over(self) -> list[Found]:
        """The word whose phones are complete, if there is one."""
        parts, self._parts = self._parts, []
        if not parts:
            return []
        nodes = [self.graph.nodes[part.node] for part in parts]
        label, begin, end = self.words[nodes[0].word], parts[0].begin, parts[-1].end
        score = sum(part.score for part in parts) / (end - begin)
        said = nodes[0].phone != FREE or label == FREE
        whole = timed(Run(parts[0].node, begin, end, score), label, self._time)
        whole = replace(whole, match=self.calibration.of_phone(score) if said else 0.0)
        phones = tuple(timed(part, node.phone, self._time) for part, node in zip(parts, nodes, strict=True) if said)
        return [Found(whole, nodes[0].word, score, said, phones)]
