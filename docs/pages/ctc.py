"""The picture of ctc.md."""

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pages.common import Pictures, Theme, bare
from semihmm.decoding import align


def spans(figure: Figure, theme: Theme) -> None:
    """What a network hears over time, and when each letter and word of a text is said."""
    tokens, said = "–edhlorw", "––hhheeellll–lloooo–––––wwwwoooorrrllllldd–––"
    generator = torch.Generator().manual_seed(2)
    clear = torch.stack([torch.eye(len(tokens))[tokens.index(c)] for c in said])
    blurred = torch.nn.functional.avg_pool1d(clear.T, 5, 1, padding=2, count_include_pad=False).T
    log_probs = (5 * blurred + 0.9 * torch.randn(clear.shape, generator=generator)).log_softmax(-1)
    letters = align(log_probs, torch.tensor([tokens.index(c) for c in "helloworld"]))
    words = letters.merge(torch.tensor([0] * 5 + [1] * 5))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    above.imshow(log_probs.exp().T, cmap=theme.heat, aspect="auto", vmin=0.0, vmax=1.0, interpolation="nearest")
    bare(above, theme)
    above.set_yticks(range(len(tokens)), list(tokens), fontsize=8, color=theme.ink)
    above.tick_params(length=0)
    bare(below, theme)
    below.axis("off")
    for row, (alignment, names) in enumerate([(letters, tokens), (words, ["hello", "world"])]):
        for span in alignment.spans(names):
            corner, width = (span.start - 0.5, -row), span.end - span.start
            below.add_patch(Rectangle(corner, width, 0.8, fc=theme.orange, alpha=span.confidence**2, lw=0))
            below.add_patch(Rectangle(corner, width, 0.8, fc="none", ec=theme.ink, lw=0.8))
            text = f"{span.label}\n{span.confidence:.2f}"
            below.text(corner[0] + width / 2, 0.39 - row, text, ha="center", va="center", fontsize=7, color=theme.ink)
    below.set(xlim=(-0.5, len(said) - 0.5), ylim=(-1.1, 0.9))


PICTURES: Pictures = {
    "spans": (spans, (7.2, 3.0)),
}
