"""Tagging: a CRF over well-formed BIO tags, trained and decoded with the constraint, beside one without.

Run it: ``python examples/constrained_tagging.py`` (``--smoke`` for little data, ``--picture FILE`` for a sentence).

A CRF that knows nothing of the tagging scheme has to learn it, and now and then goes on with a name that nobody began:
often, where there is little to learn from. Constrained to the scheme it never does; and where more is known of a
sentence, such as how many names there are in it, it errs less.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

import semihmm
from semihmm import automata, plots

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SCHEME = automata.bio(TAGS)
BEGINS = (1, 3)


def sentences(count: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Well-formed tags ``(count, steps)``, and noisy scores of the tags of each word, ``(count, steps, 5)``."""
    often = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]).expand(steps, 5)
    every = semihmm.constrain(semihmm.HMM(torch.zeros(5), torch.zeros(5, 5), often), SCHEME)
    tags = semihmm.sample(every, (count,), generator).event
    noise = torch.randn(count, steps, 5, generator=generator)
    return tags, 1.5 * torch.nn.functional.one_hot(tags, 5) + noise


def crf(weights: list[Tensor], scores: Tensor, language: automata.Language) -> semihmm.Structure:
    """The tags of some sentences."""
    initial, transition, scale = weights
    return semihmm.constrain(semihmm.HMM(initial, transition, scores * scale), language)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data, few iterations")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a sentence that comes out ill-formed")
    arguments = parser.parse_args()
    count, steps, iterations = (8, 7, 5) if arguments.smoke else (40, 12, 60)
    generator = torch.Generator().manual_seed(0)
    tags, scores = sentences(count, steps, generator)
    new_tags, new_scores = sentences(200, steps, generator)

    taggers = {}
    for name, language in (("any tags", automata.any_label.star()), ("well-formed tags", SCHEME)):
        weights = [torch.zeros(5), torch.zeros(5, 5), torch.ones(())]
        optimizer = torch.optim.Adam([x.requires_grad_() for x in weights], lr=0.1)
        for _ in range(iterations):
            loss = -semihmm.log_prob(crf(weights, scores, language), tags).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = semihmm.viterbi(crf(weights, new_scores, language)).event
            well_formed = semihmm.score(crf(weights, new_scores, SCHEME), found) > -torch.inf
        taggers[name] = weights, language, well_formed
        error = float((found != new_tags).float().mean())
        print(f"{name}: {error:.1%} of the words wrong, {int((~well_formed).sum())} of 200 sentences not well-formed")
    assert well_formed.all()

    names = torch.isin(new_tags, torch.tensor(BEGINS)).sum(-1)
    with torch.no_grad():
        counted = [  # sentences of as many names are one batch
            (new_tags[same], semihmm.argmax(crf(weights, new_scores[same], SCHEME & automata.exactly(int(k), *BEGINS))))
            for k in names.unique()
            for same in [names == k]
        ]
    error = float(torch.cat([(a != b).flatten() for a, b in counted]).float().mean())
    print(f"... and as many names as there are: {error:.1%}")
    if arguments.picture:
        ill_formed = int((~taggers["any tags"][2]).int().argmax())
        sentence = {name: crf(w, new_scores[ill_formed], language) for name, (w, language, _) in taggers.items()}
        picture(arguments.picture, sentence)


def picture(file: Path, sentence: dict[str, semihmm.Structure]) -> None:
    """One sentence by both: how probable each tag of each word is, and the best tags."""
    from matplotlib.figure import Figure

    rows = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True)
    for axes, (name, tags) in zip(rows, sentence.items(), strict=True):
        plots.posteriors(semihmm.smoothing(tags).exp().detach(), kind="heat", names=TAGS, ax=axes)
        axes.plot(semihmm.viterbi(tags).event, "o", color="C1", fillstyle="none", markersize=8, markeredgewidth=2)
        axes.set(xlabel="", ylabel="", title=name)
    rows[-1].set_xlabel("word")
    rows[0].figure.savefig(file)


if __name__ == "__main__":
    main()
