"""How a model is trained: stages of ever finer frames and more Gaussians."""

from dataclasses import dataclass, field, replace

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
    """

    front_end: FrontEnd
    gaussians: int = 1
    passes: int = 8
    more: int = 4

    @property
    def growth(self) -> list[tuple[int, int]]:
        """The most Gaussians to a state, and the passes with so many, in order."""
        return [(2**n, self.more if n else self.passes) for n in range(self.gaussians.bit_length())]


def standard_stages(sample_rate: Hertz = 16000) -> tuple[Stage, ...]:
    """Frames of the usual kind for a rough model, then short ones, twice as many, for one that sees edges."""
    upper = min(FrontEnd.upper_edge, 0.43 * sample_rate)
    rough = FrontEnd(sample_rate, 0.025, filters=25, lifter=22, transform="dct", lower_edge=130.0, upper_edge=upper)
    return Stage(rough), Stage(replace(rough, window=0.016, frame_rate=200), gaussians=4, passes=4)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Args:
        stages: one after the other; each begins with the best paths of the one before.
        states: of each phone.
        frames_per_gaussian: a state has no more Gaussians than it has so many frames.
        variance_floor: least variance, as a share of that of all frames.
        pause_probability: of a pause before, between and after the words.
    """

    stages: tuple[Stage, ...] = field(default_factory=standard_stages)
    states: int = 3
    frames_per_gaussian: float = 40.0
    variance_floor: float = 0.01
    pause_probability: float = 0.5

    @property
    def passes(self) -> int:
        """How often the recordings are gone through."""
        return sum(passes for stage in self.stages for _, passes in stage.growth)
