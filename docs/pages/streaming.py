"""The picture of streaming.md."""

import torch
from matplotlib.figure import Figure

import semihmm
from pages.common import Pictures, Theme, bare, evidence, sticky
from semihmm.streaming import Stream


def streaming(figure: Figure, theme: Theme) -> None:
    """What is known when a frame comes, a little later, and for good."""
    steps, ahead, emission = 120, 6, evidence(3, 120, seed=5, sharpness=0.35)
    stream = Stream(semihmm.HMM(torch.zeros(3), sticky(3, 4.0), emission[:1]), lookahead=ahead)
    updates = [stream.push(frame.unsqueeze(0)) for frame in emission]
    now = torch.cat([u.filtered for u in updates if u.filtered is not None]).exp()
    later = torch.cat([u.smoothed for u in updates if u.smoothed is not None])[ahead:].exp()
    told = torch.tensor([len(u.committed.states) for u in updates]).cumsum(0)
    one, two, three = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 2))
    for axes, x, title in ((one, now, "as a frame comes"), (two, later, f"{ahead} frames later")):
        axes.imshow(x.T, aspect="auto", cmap=theme.heat, vmin=0, vmax=1, interpolation="nearest", origin="lower")
        bare(axes, theme, title)
    frames = torch.arange(1, steps + 1)
    three.fill_between(frames, told, frames, step="post", color=theme.paper, lw=0)
    three.plot(frames, frames, color=theme.faint, lw=0.9)
    three.step(frames, told, where="post", color=theme.orange, lw=1.2)
    bare(three, theme, "frames with a state for good, and frames that have come")
    three.set(xlim=(0, steps), ylim=(0, steps * 1.05))


PICTURES: Pictures = {
    "streaming": (streaming, (7.2, 3.2)),
}
