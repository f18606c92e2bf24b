"""The pictures of the pages of `start`."""

import torch
from matplotlib.figure import Figure

import semihmm
from pages.common import Pictures, Theme, bare

ROLLS = torch.tensor([1, 3, 5, 2, 4, 1, 3, 6, 6, 6, 3, 6, 6, 2, 6, 6, 1, 2, 4, 3, 1, 5, 2, 4])


def casino(figure: Figure, theme: Theme) -> None:
    """The rolls, what die they came from in all likelihood, and the best path."""
    fair, loaded = torch.full((6,), 1 / 6), torch.tensor([0.1] * 5 + [0.5])
    emission = torch.stack([fair, loaded], -1).log()[ROLLS - 1]
    hmm = semihmm.HMM(torch.tensor([0.5, 0.5]).log(), torch.tensor([[0.95, 0.05], [0.1, 0.9]]).log(), emission)
    posterior, best = semihmm.marginals(hmm).emission[:, 1], semihmm.viterbi(hmm).event
    steps = torch.arange(len(ROLLS))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.3])
    above.bar(steps, ROLLS, width=0.75, color=[theme.orange if roll == 6 else theme.faint for roll in ROLLS])
    bare(above, theme, "rolls of the die")
    for step, roll in enumerate(ROLLS.tolist()):
        above.text(step, roll + 0.25, str(roll), ha="center", va="bottom", color=theme.ink, fontsize=7.5)
    above.set_ylim(0, 7.6)
    below.fill_between(steps, posterior, step="mid", color=theme.blue, alpha=0.35, lw=0)
    below.step(steps, posterior, where="mid", color=theme.blue, lw=1.6)
    below.step(steps, best, where="mid", color=theme.orange, lw=1.4, ls=(0, (4, 2)))
    bare(below, theme, "posterior of the loaded die (blue), and the best path (dashed)")
    below.set(ylim=(-0.04, 1.06), yticks=[0, 0.5, 1], xlabel="roll")
    below.tick_params(colors=theme.ink, labelsize=8, length=2)
    below.xaxis.label.set_color(theme.ink)
    for axes in (above, below):
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)


PICTURES: Pictures = {"casino": (casino, (7.2, 3.2))}
