"""The course of a disease, from visits at irregular times: how fast is it, and does a treatment slow it down?

Run it: ``python examples/disease_course.py`` (``--smoke`` for few patients, ``--picture FILE`` for curves).

Patients are well, mildly or severely ill, and may change at any time; what is known is a noisy marker at visits, months
or years apart, some of which lack it. States in continuous time change at rates: in t years, by ``exp(Q t)`` (Jackson
et al. 2003). EM finds the rates of each arm of a simulated trial, and these say how long it takes until one is severely
ill, through all ups and downs before. Look at the last line: a treatment that halves one rate buys four years. Visits
counted as steps, however far apart, explain the same data worse.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from semihmm.models import HMM, Gaussian
from semihmm.models.transitions import ContinuousTime, waits

NAMES = ("well", "mild", "severe")
CHANGES = torch.tensor([[True, True, False], [True, True, True], [False, False, True]])  # nobody leaves the last
RATES = {"control": {(0, 1): 0.30, (1, 0): 0.20, (1, 2): 0.40}, "treated": {(0, 1): 0.30, (1, 0): 0.20, (1, 2): 0.20}}
MARKER = torch.tensor([[1.0], [2.5], [4.5]])


def disease() -> HMM:
    """A model whose parameters are not known yet."""
    return HMM(3, Gaussian(3, features=1), transition=ContinuousTime(3, allowed=CHANGES), start=[0, 1]).double()


def arm(
    rates: dict[tuple[int, int], float], patients: int, generator: torch.Generator
) -> tuple[list[Tensor], list[Tensor], HMM]:
    """Markers and waits of each patient, and the truth: nine in ten enter well, the others mildly ill."""
    truth = disease()
    truth.initial.update(torch.tensor([9.0, 1.0, 0.0]))
    with torch.no_grad():
        truth.emission.mean.copy_(MARKER)
        truth.emission.log_variance.fill_(0.5).log_()
        for change, rate in rates.items():
            truth.transition.log_rate[change] = torch.tensor(rate).log()
    markers, between = [], []
    for _ in range(patients):
        visits = int(torch.randint(4, 13, (), generator=generator))
        gap = torch.empty(visits, dtype=torch.float64).exponential_(1.0, generator=generator) + 0.1
        between.append(waits(gap.cumsum(0)))
        x = truth.sample(visits, generator=generator, inputs=between[-1]).x
        markers.append(x.masked_fill(torch.rand(x.shape, generator=generator) < 0.1, torch.nan))
    return markers, between, truth


def years_until_severe(rates: Tensor) -> Tensor:
    """The expected time to the last state from each of the others: ``-Q m = 1`` among those."""
    return torch.linalg.solve(-rates[:2, :2], torch.ones(2, dtype=rates.dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few patients")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw how many are not severely ill yet")
    arguments = parser.parse_args()
    patients = 20 if arguments.smoke else 400
    generator = torch.Generator().manual_seed(0)
    arms = {name: arm(rates, patients, generator) for name, rates in RATES.items()}

    # What a marker says is the same in both arms, so all patients are fitted first: from a doctor's guess.
    markers = [x for given, _, _ in arms.values() for x in given]
    between = [w for _, given, _ in arms.values() for w in given]
    both = disease()
    guess = {"emission.mean": torch.tensor([[1.0], [3.0], [5.0]])}
    in_time = both.fit(markers, inputs=between, init=guess)
    in_steps = HMM(3, Gaussian(3, features=1), allowed=CHANGES, start=[0, 1]).double().fit(markers, init=guess)
    means = ", ".join(f"{mean:.2f}" for mean in both.emission.mean.flatten().tolist())
    print(f"{2 * patients} patients, {sum(map(len, markers)):,} visits; the marker's means are {means}")
    print(f"log-likelihood {in_time.objective:.1f}, and {in_steps.objective:.1f} with visits as steps\n")

    print(f"{'':<10}{'changes a year: true, found':^48}{'years until severe, from well':>32}")
    heads = "".join(f"{f'{NAMES[a]} > {NAMES[b]}':>16}" for a, b in RATES["control"])
    print(f"{'':<10}{heads}{'true':>24}{'found':>8}")
    rates = {}
    for name, (markers, between, truth) in arms.items():
        model = disease()
        model.emission.load_state_dict(both.emission.state_dict())
        model.fit(markers, inputs=between, frozen=["emission"])
        right, found = rates[name] = truth.transition.rates().detach(), model.transition.rates().detach()
        shown = "".join(f"{float(right[change]):>9.2f},{float(found[change]):>6.2f}" for change in RATES[name])
        years = [float(years_until_severe(q)[0]) for q in (right, found)]
        print(f"{name:<10}{shown}{years[0]:>24.1f}{years[1]:>8.1f}")
    if arguments.picture:
        picture(arguments.picture, rates)


def picture(file: Path, rates: dict[str, tuple[Tensor, Tensor]]) -> None:
    """How probable it is that somebody who was well is not severely ill after t years: ``exp(Q t)``."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    years = torch.linspace(0, 30, 121, dtype=torch.float64)
    for number, (name, pair) in enumerate(rates.items()):
        for q, what, dashes in zip(pair, ("true", "found"), ("dashed", "solid"), strict=True):
            spared = torch.linalg.matrix_exp(q * years[:, None, None])[:, 0, :2].sum(-1)
            axes.plot(years, spared, color=f"C{number}", linestyle=dashes, label=f"{name}, {what}")
    axes.set(xlabel="years since one was well", ylabel="not severely ill yet", xlim=(0, 30), ylim=(0, 1))
    axes.legend(frameon=False)
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
