"""What twice the length costs, in time and in memory: forward, gradient and decoding of every structure.

Time is CPU seconds of one thread, the least of several runs; memory is what autograd keeps for the gradient. Time is
to be linear: twice the steps in at most 2.3 times the time. What an HSMM's gradient keeps is to grow with the number of
steps and with the longest duration, not with their product.
"""

import torch
from _measure import WHERE, arguments, milliseconds, show, write

import semihmm


def draw(*shape):
    """Log-weights that want a gradient."""
    return torch.randn(*shape, requires_grad=True)


def structures(steps):
    """One structure of each kind, ``steps`` long."""
    targets = torch.arange(1, 21)
    hmm = (draw(16), draw(16, 16), draw(4, steps, 16))
    yield "HMM", semihmm.HMM(*hmm)
    yield "HMM, banded", semihmm.HMM(draw(16), draw(16, 2), draw(4, steps, 16), offsets=(0, 1))
    yield "HSMM, D 20", semihmm.HSMM(draw(8), draw(8, 8), draw(8, 20), draw(4, steps, 8))
    yield "CTC", semihmm.CTC(draw(4, steps, 32), targets.expand(4, -1))
    yield "DTW, 64 rows", semihmm.DTW(torch.rand(4, 64, steps, requires_grad=True))


def kept(structure, checkpoint=None):
    """Bytes that autograd holds on to between the total and its gradient."""
    storages = {}

    def remember(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda x: x):
        total = semihmm.log_partition(structure, validate=False, checkpoint=checkpoint)
    total.sum().backward()
    return sum(storages.values())


def questions(structure):
    """Each question by name, as a call."""
    return {
        "log_partition": torch.no_grad()(lambda: semihmm.log_partition(structure, validate=False)),
        "and gradient": lambda: semihmm.log_partition(structure, validate=False).sum().backward(),
        "viterbi": lambda: semihmm.viterbi(structure, validate=False),
        "entropy": torch.no_grad()(lambda: semihmm.entropy(structure, validate=False)),
    }


def times(steps, repeats):
    """Rows of milliseconds at ``steps`` and twice as many."""
    for (name, once), (_, twice) in zip(structures(steps), structures(2 * steps), strict=True):
        for question, call in questions(once).items():
            a, b = milliseconds([call, questions(twice)[question]], repeats)
            row = {"structure": name, "question": question, "steps": steps, "ms": a, "ms at twice": b}
            yield {**row, "ratio": b / a}


def memory(steps):
    """Rows of kilobytes kept for the gradient of an HSMM, by longest duration."""
    for longest in (50, 100, 200):
        for checkpoint in (None, True):
            hsmm = semihmm.HSMM(draw(8), draw(8, 8), draw(8, longest), draw(4, steps, 8))
            yield {"D": longest, "steps": steps, "checkpoint": str(checkpoint), "kB kept": kept(hsmm, checkpoint) / 1e3}


def main():
    """Print the tables; keep them as JSON too."""
    args = arguments(__doc__)
    rows = list(times(*((32, 1) if args.smoke else (500, 7))))
    bytes_kept = list(memory(64 if args.smoke else 2000))
    show(WHERE, rows)
    show("kept for the gradient of an HSMM, B 4, S 8, float32", bytes_kept)
    write(args, "scaling.json", {"time": rows, "memory": bytes_kept})


if __name__ == "__main__":
    main()
