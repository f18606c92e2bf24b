"""Exercise 7: the topology of CTC.

A network says at each frame how likely each token is, or the blank. CTC adds up all ways to spell a text of U tokens
over T frames: of a path, equal neighbours are merged, then blanks are dropped. So ``a a - b b`` and ``- a - b -``
both say ``ab``, and ``a a`` says ``a``: between two equal tokens of a text there must be a blank.

A path goes through 2 U + 1 *places*, in order:

    place   0      1         2      3         ...   2 U - 1       2 U
    label   blank  token 0   blank  token 1   ...   token U - 1   blank

Each frame it stays where it is, or goes on to the next place; from one token it may go on to the next token at once,
if that is another one. It begins at the first blank or the first token, and ends at the last token or the last blank.

Such a path is a path of an HMM whose states are the places. Only arcs that are there count: S places have some 3 S
arcs, not S^2. The checker runs `semihmm.HMM(..., arcs=...)` on your lists, and compares it with `semihmm.CTC`.

Fill in `ctc_topology`, then run this file.
"""

Arc = tuple[int, int]


def ctc_topology(tokens: list[int], blank: int) -> tuple[list[int], list[Arc], list[int], list[int]]:
    """The label of each place; all arcs ``(from, to)``; the places where paths begin; those where they end."""
    raise NotImplementedError(
        "ctc_topology: labels of 2 U + 1 places, the arcs between them, where paths begin and end."
    )


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
