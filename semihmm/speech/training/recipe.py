"""How a model is trained: stages of ever finer frames and more Gaussians."""

from dataclasses import dataclass, replace

from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.types import Hertz


@dataclass(frozen=True)
class Stage:
    """A part of a recipe: frames of one kind, and how far the mixtures grow on them.

    Args:
        front_end: computes the features.
        gaussians: the most that a state may have; they are doubled until then.
        passes: over the recordings with a single Gaussian to a state.
        more: with each number of Gaussians after that.

    Example:
        >>> Stage(FrontEnd(), gaussians=4).growth
        [(1, 8), (2, 4), (4, 4)]
    """

    front_end: FrontEnd
    gaussians: int = 1
    passes: int = 8
    more: int = 4

    @property
    def growth(self) -> list[tuple[int, int]]:
        """The most Gaussians to a state, and the passes with so many, in order."""
        return [(2**n, self.more if n else self.passes) for n in range(self.gaussians.bit_length())]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Args:
        stages: one after the other; each begins with the best paths of the one before.
        triphones: the most states of phones in context; 0 for phones without context.
        states: of each phone.
        frames_per_gaussian: a state has no more Gaussians than it has so many frames.
        variance_floor: least variance, as a share of that of all frames.
        pause_probability: of a pause before, between and after the words.

    Example:
        >>> Recipe.for_rate(16000, gaussians=4).passes
        28
    """

    stages: tuple[Stage, ...]
    triphones: int = 0
    states: int = 3
    frames_per_gaussian: float = 40.0
    variance_floor: float = 0.01
    pause_probability: float = 0.5

    @classmethod
    def for_rate(cls, sample_rate: Hertz = 16000, *, gaussians: int = 4, triphones: int = 0) -> "Recipe":
        """Frames of the usual kind for a rough model, then short ones, twice as many, for one that sees edges.

        Args:
            sample_rate: of the recordings, the lowest; above 16 kHz nothing is listened to.
            gaussians: the most that a state may have in the end.
            triphones: the most states of phones in context.

        Example:
            >>> [stage.front_end.frame_rate for stage in Recipe.for_rate(44100).stages]
            [100, 200]
        """
        rate = min(sample_rate, 16000)
        upper = min(FrontEnd.upper_edge, 0.43 * rate)
        rough = FrontEnd(rate, 0.025, filters=25, lifter=22, transform="dct", lower_edge=130.0, upper_edge=upper)
        fine = replace(rough, window=0.016, frame_rate=200)
        return cls((Stage(rough, 4), Stage(fine, gaussians, passes=4)), triphones)

    @property
    def passes(self) -> int:
        """How often the recordings are gone through."""
        stages = (*self.stages, *self.stages[-1:]) if self.triphones else self.stages
        return sum(passes for stage in stages for _, passes in stage.growth)
