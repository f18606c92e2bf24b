"""The picture of decoding.md."""

import torch
from matplotlib.figure import Figure

from pages.common import Pictures, Theme, bare, heat
from semihmm.decoding import BeamSearch, Vocabulary


def decoding(figure: Figure, theme: Theme) -> None:
    """What a network says, and a beam at work on it."""
    letters = Vocabulary(["-", " ", *"acehmnost"], delimiter=" ")
    generator = torch.Generator().manual_seed(5)
    frames = torch.tensor([token for letter in letters.spell("the cat sat on") for token in (0, letter, letter, 0)])
    scores = 4.0 * torch.eye(len(letters.tokens))[frames]
    log_probs = (scores + 1.5 * torch.randn(scores.shape, generator=generator)).log_softmax(-1)
    search = BeamSearch(letters, lexicon=["a", "at", "cat", "chat", "mat", "not", "on", "sat", "seat", "the"])
    stream, beams = search.stream(), list[dict[str, float]]()
    for frame in log_probs.split(1):
        stream.push(frame)
        found = stream.hypotheses(search.beam)
        beams.append(dict(zip(letters.texts(found)[0], found.confidence[0].tolist(), strict=False)))
    best = search(log_probs, count=20)
    sentences = list(dict.fromkeys(" ".join(text.split()) for text in letters.texts(best)[0]))[:3]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
    heat(above, theme, log_probs.exp().T, "what the network says, and what was found", 1.0)
    above.set_yticks(range(len(letters.tokens)), ["–", "␣", *letters.tokens[2:]], color=theme.ink, fontsize=6)
    said = slice(int(best.lengths[0]))
    above.plot(best.frames[0, said], best.labels[0, said], "o", mfc="none", mec=theme.orange, ms=5, mew=1.2)
    bare(below, theme, "how much of the beam agrees so far")
    for sentence, colour in zip(sentences, (theme.orange, theme.blue, theme.green), strict=False):
        agrees = [sum(p for text, p in beam.items() if sentence.startswith(" ".join(text.split()))) for beam in beams]
        below.plot(agrees, color=colour, lw=1.4, label=sentence)
    below.legend(frameon=False, labelcolor=theme.ink, fontsize=7, loc="lower left")
    below.set(ylim=(0, 1.05), yticks=[0, 1])
    below.set_xlabel("frame", color=theme.ink)
    below.tick_params(colors=theme.ink, labelsize=7)


PICTURES: Pictures = {
    "decoding": (decoding, (7.2, 3.4)),
}
