"""tests/inference/test_options.py: a question takes the options that there are, and says so of any other."""

import pytest
import torch

import semihmm
from semihmm.semirings import Count, Log, Max, TopK

QUESTIONS = {
    "log_partition": semihmm.log_partition,
    "log_prob": lambda h, **o: semihmm.log_prob(h, semihmm.argmax(h), **o),
    "log_count": semihmm.log_count,
    "viterbi": semihmm.viterbi,
    "argmax": semihmm.argmax,
    "topk": lambda h, **o: semihmm.topk(h, 2, **o),
    "sample": lambda h, **o: semihmm.sample(h, (2,), **o),
    "marginals": semihmm.marginals,
    "max_marginals": semihmm.max_marginals,
    "expected_counts": semihmm.expected_counts,
    "filtering": semihmm.filtering,
    "smoothing": semihmm.smoothing,
    "entropy": semihmm.entropy,
    "cross_entropy": lambda h, **o: semihmm.cross_entropy(h, h, **o),
    "kl_divergence": lambda h, **o: semihmm.kl_divergence(h, h, **o),
    "renyi_entropy": lambda h, **o: semihmm.renyi_entropy(h, 2.0, **o),
    "expectation": lambda h, **o: semihmm.expectation(h, h, **o),
    "variance": lambda h, **o: semihmm.variance(h, h, **o),
    "covariance": lambda h, **o: semihmm.covariance(h, h, h, **o),
    "risk": lambda h, **o: semihmm.risk(h, h, **o),
    "explain": semihmm.explain,
    "minimum_bayes_risk": semihmm.minimum_bayes_risk,
    "prune": lambda h, **o: semihmm.prune(h, top=1, **o),
    "sample without replacement": lambda h, **o: semihmm.sample(h, 2, replacement=False, **o),
    **{f"total {s}": lambda h, s=s, **o: semihmm.total(h, s, **o) for s in (Log(), Max(), Count(), TopK(2))},
}


def structures():
    g = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    hmm = semihmm.HMM(draw(3), draw(3, 3), draw(4, 3))
    yield from (hmm, semihmm.HMM(draw(3), draw(3, 3).requires_grad_(), draw(4, 3)))
    yield semihmm.HSMM(draw(3), draw(3, 3), draw(3, 2), draw(4, 3), censored="right")


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_option_that_there_is_not_is_refused_with_the_nearest_name(name):
    for structure in structures():
        if name in {"max_marginals", "cross_entropy", "kl_divergence", "prune"} and not structure.linear:
            continue  # is not asked of it
        QUESTIONS[name](structure, strategy=None, checkpoint=None, backend=None, validate=True)
        for wrong, near in {
            "stratgy": "Did you mean strategy?",
            "valid": "Did you mean validate?",
            "foo": "no foo.",
        }.items():
            with pytest.raises(TypeError, match=near.replace("?", r"\?")):
                QUESTIONS[name](structure, **{wrong: None})


def test_every_question_is_asked_here():
    """What semihmm has at its top and takes options."""
    import inspect

    takes = {
        name
        for name in semihmm.__all__
        if inspect.isfunction(f := getattr(semihmm, name))
        and any(p.kind is p.VAR_KEYWORD and p.name == "options" for p in inspect.signature(f).parameters.values())
    }
    assert takes <= {name.split()[0] for name in QUESTIONS}
