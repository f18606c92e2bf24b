"""What a model is trained on: recordings, and what is said in them."""

from dataclasses import dataclass

from torch import Tensor

from semihmm.audio import condition, resample
from semihmm.errors import DataError, SemihmmError
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.speech.intervals import Interval
from semihmm.speech.training.statistics import Example
from semihmm.types import Hertz


@dataclass(frozen=True)
class Utterance:
    """A recording to learn from, and what is said in it.

    Args:
        name: for messages.
        wave: ``(N,)`` samples in [-1, 1].
        sample_rate: of ``wave``.
        words: in order, each in any of its pronunciations; where only phones are known, they make one word.
        known: phones or words, by name, whose times are known: while they last, nothing else is said.
        speaker: whose it is: as labels say, or else the folder that the recording is in.

    Example:
        >>> wave = torch.zeros(16000)
        >>> Utterance("a", wave, 16000, (Pronunciation("cat", (("K", "AE", "T"),)),)).phones
        ('K', 'AE', 'T')
    """

    name: str
    wave: Tensor
    sample_rate: Hertz
    words: tuple[Pronunciation, ...]
    known: tuple[Interval, ...] = ()
    speaker: str = ""

    @property
    def phones(self) -> tuple[str, ...]:
        """The phones of the words' first pronunciations."""
        return tuple(phone for word in self.words for phone in word.variants[0])

    def at(self, sample_rate: Hertz) -> Tensor:
        """Its samples at another rate, without a constant offset."""
        return resample(condition(self.wave), source=self.sample_rate, target=sample_rate)

    def example(self, front_end: FrontEnd) -> Example:
        """Its features.

        Raises:
            DataError: it is too short, or digitally silent; the message names it.
        """
        try:
            return Example(front_end(self.at(front_end.sample_rate)).float(), self.words, self.known)
        except SemihmmError as error:
            raise DataError(f"{self.name}: {error}") from error
