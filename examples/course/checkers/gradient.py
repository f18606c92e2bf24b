"""Checks exercise 5 with `semihmm.marginals`."""

from typing import Any

import torch

import semihmm
from checkers.tools import Case, Wrong, judge, parts, random_hmm, same, sizes, tensor


def check(answer: Any) -> None:
    states, counts = [], []
    for seed, steps in ((0, 5), (1, 4), (2, 3)):
        hmm = random_hmm(seed, steps=steps)
        given = parts(hmm)
        found = answer.posteriors(*given)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("posteriors: return two things: `return states, counts`.")
        if any(x.requires_grad or x.grad is not None for x in given):
            raise Wrong(
                "posteriors: the caller's tensors are marked: differentiate with respect to copies, "
                "`emission.detach().requires_grad_()`."
            )
        if any(isinstance(x, torch.Tensor) and x.requires_grad for x in found):
            raise Wrong("posteriors: the answers still have a history (requires_grad is True): detach them.")
        again = answer.posteriors(*given)
        if not all(same(tensor("posteriors", a), tensor("posteriors", b)) for a, b in zip(found, again, strict=True)):
            raise Wrong("posteriors: a second call answers something else. Does `.grad` add up from call to call?")
        right, total = semihmm.marginals(hmm), semihmm.log_partition(hmm)
        no_first = torch.cat([torch.zeros_like(right.emission[:1]), right.emission[1:]])
        mistakes = {
            "this is the gradient of Z; take that of log Z": right.emission * total.exp(),
            "the sign is wrong: this is the gradient of a loss, -log Z": -right.emission,
            "these are the expected counts: return the states first": right.transition,
            "the emission of step 0 has no gradient: is the copy that is differentiated used there?": no_first,
            "these are logs; a gradient of log Z is a probability": right.emission.log(),
        }
        states.append(Case(sizes(hmm), found[0], right.emission, mistakes))
        rows = right.transition / right.transition.sum(-1, keepdim=True)
        mistakes = {
            "this is the gradient of Z; take that of log Z": right.transition * total.exp(),
            "the sign is wrong: this is the gradient of a loss, -log Z": -right.transition,
            "this is [to, from]": right.transition.mT,
            "rows are divided by their sums; expected counts were asked for": rows,
            "this is the mean over steps; counts add up over all of them": right.transition / (steps - 1),
        }
        counts.append(Case(sizes(hmm), found[1], right.transition, mistakes))
    judge("posteriors: the states", states)
    judge("posteriors: the counts", counts)
    sparse = random_hmm(4, forbidden=0.5)
    sparse.emission[2, :2] = -torch.inf
    sparse.transition[0, 2] = sparse.transition[1, 2] = -torch.inf
    sparse.emission[0, 2] = -torch.inf
    sparse.emission[2, :] = torch.tensor([0.0, -torch.inf, 0.0])
    found, right = answer.posteriors(*parts(sparse)), semihmm.marginals(sparse)
    why = (
        "The gradient of torch.logsumexp over nothing but -inf is NaN: take semihmm.log_partition, or the sum of "
        "semihmm.semirings.Log()."
    )
    for i, name in enumerate(("emission", "transition")):
        case = Case("some log-weights are -inf", found[i], getattr(right, name), otherwise=why)
        judge(f"posteriors: the {('states', 'counts')[i]}", [case])
