"""Exercise 8: an edit distance as a structure.

N items become M others. An item i is deleted, an item j is inserted, or i becomes j, each at a cost. The least cost
of all ways is the edit distance (Wagner & Fischer 1974):

    d(0, 0) = 0
    d(i, j) = min(d(i - 1, j) + deletion[i - 1],
                  d(i, j - 1) + insertion[j - 1],
                  d(i - 1, j - 1) + substitution[i - 1, j - 1])
    distance = d(N, M)

Cells depend on cells above and to the left, so all cells of an anti-diagonal i + j = t can be computed at once: t is
the time of the chain, the row i is the slot, and there are N + M steps. In semihmm the chain is a `Grid`:

    Grid.of(moves, costs, factor=-1.0)

where ``moves`` are the steps ``(down, right)`` from cell to cell, and ``costs`` is (moves, N + 1, M + 1): its entry
``[m, i, j]`` is what move m costs where it *arrives* at cell (i, j). Cells that a move cannot arrive at may hold
anything, such as 0 (`torch.nn.functional.pad`). The factor -1 makes log-weights of costs, so that the best path is
the cheapest.

    Chain(start=(s,), steps=grid, end=(e,), length=N + M)

``s`` and ``e`` are (N + 1,), one log-weight for each row: 0 where a path may begin or end, -inf elsewhere
(`semihmm.structures.authoring.single(i, n, like)` is 0 at i alone). Every entry of the chain is one potential or a
constant: sums are for the semiring.

What the potentials are, and how a path reads as deletions, insertions and substitutions, is `semihmm.EditDistance`'s
and is inherited; the chain is yours. In return, distances, posteriors, the k best alignments and gradients all work,
and `semihmm.testing.check_structure` compares each of them with a list of all alignments.

Fill in `Levenshtein.chain`, then run this file.
"""

import torch
from torch.nn.functional import pad

import semihmm
from semihmm.engine import Chain, Grid
from semihmm.structures.authoring import single


class Levenshtein(semihmm.EditDistance):
    """Costs ``substitution`` (N, M), ``deletion`` (N,), ``insertion`` (M,), without batch axes."""

    def chain(self) -> Chain:
        """A path from cell (0, 0) to cell (N, M)."""
        rows, columns = self.substitution.shape
        down = pad(self.deletion.unsqueeze(1).expand(rows, columns + 1), (0, 0, 1, 0))
        right = pad(self.insertion.expand(rows + 1, columns), (1, 0))
        both = pad(self.substitution, (1, 0, 1, 0))
        return Chain(
            start=(single(0, rows + 1, self.deletion),),
            steps=Grid.of([(1, 0), (0, 1), (1, 1)], torch.stack([down, right, both]), factor=-1.0),
            end=(single(rows, rows + 1, self.deletion),),
            length=rows + columns,
        )


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
