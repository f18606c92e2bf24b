"""Changes of a signal and a keyword in it, told while it comes, and drawn as it goes.

Run it: ``python examples/change_point.py`` (``--smoke`` for a short signal, ``--save FOLDER`` for pictures in place of
a window, ``--picture FILE`` for one of the whole).

A machine hums, and now and then it says its word: three tones in a row, each as long as it likes. States are the hum
and the three tones; a segment lasts a while, so that a loud moment is no tone. Look at how soon each word is found for
good, and at the gap between what has come and what is certain: it opens where the signal says little.
"""

import argparse
from pathlib import Path

import torch

import semihmm
from semihmm import plots
from semihmm.streaming import AdaptiveLatencyController, Stream

LEVELS = torch.tensor([0.0, 1.0, 2.0, 3.0])  # the hum, and the three tones
NOISE, LONGEST, WINDOW = 0.7, 30, 200


def word(noise: float = NOISE) -> semihmm.HSMM:
    """The hum, or a word: tones 1, 2, 3, and the hum again."""
    cycle = torch.full((4, 4), -torch.inf)
    cycle[[0, 1, 2, 3, 0], [1, 2, 3, 0, 0]] = torch.tensor([-3.0, 0.0, 0.0, 0.0, 0.0])  # the hum goes on and on
    lasting = torch.arange(1.0, LONGEST + 1)
    duration = torch.stack([-(lasting - mean).square() / (0.4 * mean) ** 2 / 2 for mean in (15.0, 10.0, 10.0, 10.0)])
    start = torch.tensor([0.0, -torch.inf, -torch.inf, -torch.inf])
    return semihmm.HSMM(start, cycle, duration, torch.zeros(1, 4), censored="right")


def signal(frames: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """What is measured, and what was said."""
    spoken: list[int] = []
    while len(spoken) < frames:
        spoken += [0] * int(torch.randint(30, 120, (), generator=generator))
        for tone in (1, 2, 3):
            spoken += [tone] * int(torch.randint(6, 15, (), generator=generator))
    said = torch.tensor(spoken[:frames])
    return LEVELS[said] + NOISE * torch.randn(frames, generator=generator), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a short signal")
    parser.add_argument("--save", type=Path, help="folder for a picture every 50 frames")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the first 600 frames in the end, and open no window"
    )
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(3)
    x, said = signal(300 if arguments.smoke else 1200, generator)
    stream = Stream(word(), lookahead=10, max_delay=100)
    controller = AdaptiveLatencyController(target_ms=200.0, frame_ms=10.0, max_lookahead=10)
    silent = arguments.smoke or arguments.picture
    screen = None if silent and not arguments.save else Screen(arguments.save)

    states: list[int] = []
    words, delays, moments, at = 0, [], [], 0
    while at < len(x):
        stream.lookahead = controller.lookahead
        chunk = x[at : at + controller.chunk]
        with controller.measured():
            update = stream.push(-(chunk.unsqueeze(-1) - LEVELS).square() / (2 * NOISE**2))
        at += len(chunk)
        before = len(states)
        states += update.committed.states.tolist()
        for frame in range(max(before, 1), len(states)):
            if states[frame - 1] == 3 and states[frame] == 0:
                words += 1
                delays.append(at - frame)
                moments.append(at)
                print(f"frame {at:5d}: word {words} has ended at frame {frame}, certain {at - frame} frames later")
        if screen is not None:
            screen.show(x[:at], states, at)
    states += stream.finish().committed.states.tolist()
    right = float((torch.tensor(states) == said).double().mean())
    wait = sum(delays) / max(len(delays), 1)
    print(f"\n{words} words, {right:.1%} of the frames right, certain {wait:.0f} frames after they ended on average")
    print(f"a push took {controller.processing_ms:.1f} ms; lookahead {controller.lookahead}, chunks {controller.chunk}")
    if arguments.picture:
        picture(arguments.picture, x[:600], torch.tensor(states)[:600], moments)


def picture(file: Path, x: torch.Tensor, states: torch.Tensor, moments: list[int]) -> None:
    """The signal on its states; dashed, when it was certain that a word had ended."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    plots.timeline(x, states, names=["hum", "tone 1", "tone 2", "tone 3"], features=["signal"], ax=axes)
    axes.vlines([at for at in moments if at < len(x)], -2, 5, linestyle="dashed", linewidth=1.0)
    axes.set(ylim=(-2, 5), xlabel="frame; dashed: a word has ended, for sure")
    axes.figure.savefig(file)


class Screen:
    """The latest of the signal, with the states that are certain."""

    def __init__(self, folder: Path | None) -> None:
        import matplotlib.pyplot as plt

        self.plt, self.folder, self.shown = plt, folder, 0
        self.figure, self.axes = plt.subplots(figsize=(8, 3), layout="constrained")

    def show(self, x: torch.Tensor, states: list[int], at: int) -> None:
        """Draw: ten times a second, or every 50 frames into a file, where there is a folder."""
        if at - self.shown < (10 if self.folder is None else 50):
            return
        self.shown, first, axes = at, max(at - WINDOW, 0), self.axes
        axes.clear()
        axes.plot(range(first, at), x[first:], color="0.6", lw=0.8)
        known = torch.tensor(states[first:], dtype=torch.int64)
        axes.step(range(first, first + len(known)), LEVELS[known], where="mid", lw=2)
        axes.axvspan(len(states), at, color="0.9")
        axes.set(xlim=(first, first + WINDOW), ylim=(-2, 5), xlabel="frame", title="shaded: not certain yet")
        if self.folder is None:
            self.plt.pause(0.001)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.figure.savefig(self.folder / f"{at:05d}.png")


if __name__ == "__main__":
    main()
