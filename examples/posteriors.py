"""The dishonest casino: one HMM, and every question asked of it.

Run it: ``python examples/posteriors.py`` (``--smoke`` for few rolls, ``--picture FILE`` for a picture).

A casino changes between a fair die and a loaded one, which shows a six half of the time (Durbin et al. 1998). We see
the rolls, and ask when the die was loaded: by posteriors, the best path, the k best, samples, and expectations.
"""

import argparse
from pathlib import Path

import torch

import semihmm
from semihmm import plots

DICE = torch.tensor([[1 / 6] * 6, [0.1] * 5 + [0.5]], dtype=torch.float64)
CHANGE = torch.tensor([[0.95, 0.05], [0.1, 0.9]], dtype=torch.float64)
START = torch.tensor([0.5, 0.5], dtype=torch.float64)


def play(steps: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Dice and rolls, both int64 ``(steps,)``: a path of the casino that has seen nothing, and a roll for each step."""
    silent = semihmm.HMM(START.log(), CHANGE.log(), torch.zeros(steps, 2, dtype=torch.float64))
    dice = semihmm.sample(silent, (1,), generator=generator).event[0]
    return dice, torch.multinomial(DICE[dice], 1, generator=generator).squeeze(-1)


def letters(dice: torch.Tensor) -> str:
    """One letter a step: F for the fair die, L for the loaded one."""
    return "".join("FL"[die] for die in dice.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few rolls")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw posteriors and the best paths")
    arguments = parser.parse_args()
    steps = 20 if arguments.smoke else 60
    generator = torch.Generator().manual_seed(6)
    dice, rolls = play(steps, generator)
    hmm = semihmm.HMM(START.log(), CHANGE.log(), DICE.log().T[rolls])

    print("rolls     ", "".join(str(roll + 1) for roll in rolls.tolist()))
    print("dice      ", letters(dice))
    loaded = semihmm.marginals(hmm).emission[:, 1]
    print("posterior ", "".join(str(min(int(10 * p), 9)) for p in loaded.tolist()), " (tenths, of the loaded die)")
    so_far = semihmm.filtering(hmm)[:, 1].exp()
    print("so far    ", "".join(str(min(int(10 * p), 9)) for p in so_far.tolist()), " (without the rolls to come)")
    print("best      ", letters(semihmm.viterbi(hmm).event))

    print("\nThe five best paths:")
    best = semihmm.topk(hmm, 5)
    for event, probability in zip(best.event, semihmm.log_prob(hmm, best.event).exp().tolist(), strict=True):
        print(f"  {letters(event)}  {100 * probability:5.2f} %")

    print("\nThree of many, drawn with their posterior probability:")
    for event in semihmm.sample(hmm, (3,), generator=generator).event:
        print(f"  {letters(event)}")

    in_use = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(steps, 2)  # counts the steps of the loaded die
    feature = hmm.feature(emission=in_use)
    mean, variance = semihmm.expectation(hmm, feature), semihmm.variance(hmm, feature)
    torch.testing.assert_close(mean, loaded.sum())
    print(f"\nRolls of the loaded die: {mean:.1f} ± {variance.sqrt():.1f}; there were {int(dice.sum())}.")
    print(f"Log-likelihood of the rolls: {semihmm.log_partition(hmm):.2f} nats.")
    most = semihmm.log_count(hmm)
    print(f"Entropy of the dice given the rolls: {semihmm.entropy(hmm):.2f} nats, of at most {most:.2f}.")

    said = torch.ones(steps, 2, dtype=torch.bool)
    said[0] = torch.tensor([False, True])
    change = semihmm.marginals(semihmm.condition(hmm, said)).emission[1, 1]
    print(f"The second roll's die is loaded with {loaded[1]:.2f}; if the first one was, with {change:.2f}.")
    if arguments.picture:
        picture(arguments.picture, hmm)


def picture(file: Path, hmm: semihmm.HMM) -> None:
    """How probable the loaded die is, so far and in the end; and the ten best paths."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True, height_ratios=(2, 3))
    above.plot(semihmm.filtering(hmm)[:, 1].exp(), label="so far")
    above.plot(semihmm.marginals(hmm).emission[:, 1], label="in the end")
    above.set(ylabel="loaded", ylim=(0, 1))
    above.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    plots.k_best(semihmm.topk(hmm, 10), names=["fair", "loaded"], ax=below)
    below.set_xlabel("roll")
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
