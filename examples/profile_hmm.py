"""A profile of a protein family: match, insert and delete states, learned from sequences that nobody aligned.

Run it: ``python examples/profile_hmm.py`` (``--smoke`` for few rounds, ``--picture FILE`` for a logo).

A zinc finger is some 28 amino acids that hold a zinc atom between two cysteines (C) and two histidines (H). A profile
HMM (Krogh et al. 1994) has a match state for each column of the family; insert states put something between two
columns, and delete states leave columns out. Those are silent: they emit nothing, and a chain whose every step is
seen has no place for them. It needs none. From match i to match j > i + 1 there is one way, through the deletes
between; its weight is their product, and an arc with that weight takes their place. PyTorch differentiates the
products, so the profile is trained by gradient through the folded chain.

The profile begins as one finger and sees ten of three proteins. Look at the alignment: nobody said that C and H
belong below each other, nor that KTS is too much in a finger of WT1. Then it aligns the fingers of KLF4, which it has
not seen, and scores them in bits over a model of unrelated residues, beside the same residues in random order.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor, nn

import semihmm

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
# Fingers as they follow each other in UniProt's P08046 (Zif268), P08047 (Sp1), P19544 (WT1), O43474 (KLF4); CC BY 4.0.
FAMILY = {
    "Zif268": "RPYACPVESCDRRFSRSDELTRHIRIHTGQ KPFQCRICMRNFSRSDHLTTHIRTHTGE KPFACDICGRKFARSDERKRHTKIHLRQ",
    "Sp1": "KQHICHIQGCGKVYGKTSHLRAHLRWHTGE RPFMCTWSYCGKRFTRSDELQRHKRTHTGE KKFACPECPKRFMRSDHLSKHIKTHQNK",
    "WT1": (
        "RPFMCAYPGCNKRYFKLSHLQMHSRKHTGE KPYQCDFKDCERRFSRSDQLKRHQRRHTGV KPFQCKTCQRKFSRSDHLKTHTRTHTGKTSE "
        "KPFSCRWPSCQKKFARSDELVRHHNMHQRN"
    ),
}
UNSEEN = "ATHTCDYAGCGKTYTKSSHLKAHLRTHTGE KPYHCDWDGCGWKFARSDELTRHYRKHTGH RPFQCQKCDRAFSRSDHLALHMKRHF"


def numbers(sequence: str) -> Tensor:
    return torch.tensor([LETTERS.index(letter) for letter in sequence])


SEEN = [(name, finger) for name, fingers in FAMILY.items() for finger in fingers.split()]
BACKGROUND = numbers(LETTERS + "".join(finger for _, finger in SEEN)).bincount().float()
BACKGROUND /= BACKGROUND.sum()


class Profile(nn.Module):
    """Match states 1 to L and insert states 1 to L - 1; match 0 is the beginning, match L + 1 the end.

    Args:
        seed: the sequence that it begins as, a column for each residue.
    """

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.columns = columns = len(seed)
        residues = torch.full((columns, len(LETTERS)), 1.0)
        residues[torch.arange(columns), numbers(seed)] += 8.0
        self.residue = nn.Parameter(residues.log())  # (L, 20)
        # From match i: to the next match, to its insert, to the next delete. Before match 1 nothing is inserted, behind
        # match L and delete L is the end.
        self.after_match = nn.Parameter(torch.tensor([18.0, 1.0, 1.0]).log().repeat(columns + 1, 1))
        self.possible = torch.ones(columns + 1, 3, dtype=torch.bool)
        self.possible[0, 1] = self.possible[-1, 1] = self.possible[-1, 2] = False
        self.after_delete = nn.Parameter(torch.zeros(columns + 1, 2))  # to the next match, to the next delete
        self.after_insert = nn.Parameter(torch.zeros(2))  # to the next match, to itself

    def chances(self) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of what follows a match ``(L + 1, 3)``, a delete ``(L + 1, 2)`` and an insert ``(2,)``."""
        match = torch.where(self.possible, self.after_match, -torch.inf)
        delete = torch.where(self.possible[:, ::2], self.after_delete, -torch.inf)
        return match.log_softmax(-1), delete.log_softmax(-1), self.after_insert.log_softmax(-1)

    def hops(self) -> Tensor:
        """The log-weight from each match to each later one with nothing but deletes between, ``(L + 2, L + 2)``."""
        match, delete, _ = self.chances()
        size = self.columns + 2
        first, last = torch.triu_indices(size, size, offset=2)
        # match i, delete i + 1, ..., delete j - 1, match j
        through = delete[:, 1].cumsum(0)
        skip = match[first, 2] + through[last - 2] - through[first] + delete[last - 1, 0]
        here = torch.arange(size - 1)
        never = torch.full((size, size), -torch.inf)
        return never.index_put((here, here + 1), match[:, 0]).index_put((first, last), skip)

    def forward(self, x: Tensor, lengths: Tensor) -> semihmm.HMM:
        """The folded chain: matches are states 0 to L - 1, inserts L to 2 L - 2."""
        columns, hops, never = self.columns, self.hops(), torch.full((self.columns - 1,), -torch.inf)
        match, _, (onward, again) = self.chances()
        first, last = torch.triu_indices(columns, columns, offset=1)
        inner = torch.arange(columns - 1)
        insert = columns + inner
        arcs = {
            "match to match": (first, last, hops[1:-1, 1:-1][first, last]),
            "match to insert": (inner, insert, match[1:-1, 1]),
            "insert to itself": (insert, insert, again.expand(columns - 1)),
            "insert to match": (insert, inner + 1, onward.expand(columns - 1)),
        }
        source, target, weight = (torch.cat(parts) for parts in zip(*arcs.values(), strict=True))
        matched, inserted = self.residue.log_softmax(-1).T[x], BACKGROUND.log()[x].unsqueeze(-1)
        return semihmm.HMM(
            initial=torch.cat([hops[0, 1:-1], never]),
            transition=weight,
            emission=torch.cat([matched, inserted], -1),
            final=torch.cat([hops[1:-1, -1], never]),
            lengths=lengths,
            arcs=(source, target),
            emission_index=torch.cat([torch.arange(columns), torch.full_like(insert, columns)]),  # inserts share one
        )

    def log_prior(self) -> Tensor:
        """Dirichlet: as if each column had seen five residues of the background, and ten matches that went on."""
        match, _, _ = self.chances()
        usual = torch.tensor([9.0, 0.5, 0.5]).expand_as(match)
        rare = 5 * (BACKGROUND * self.residue.log_softmax(-1)).sum()
        return rare + (usual * match)[self.possible].sum()


def padded(sequences: list[str]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return nn.utils.rnn.pad_sequence([numbers(s) for s in sequences], batch_first=True), lengths


def bits(profile: Profile, sequences: list[str]) -> list[float]:
    """How much likelier each sequence is as a member of the family than as unrelated residues."""
    x, lengths = padded(sequences)
    unrelated = torch.stack([BACKGROUND.log()[numbers(sequence)].sum() for sequence in sequences])
    with torch.no_grad():
        return ((semihmm.log_partition(profile(x, lengths)) - unrelated) / math.log(2)).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few rounds")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the profile as a sequence logo")
    arguments = parser.parse_args()
    rounds = 20 if arguments.smoke else 200
    names, fingers = [name for name, _ in SEEN], [finger for _, finger in SEEN]
    x, lengths = padded(fingers)

    profile = Profile(fingers[0])
    optimizer = torch.optim.Adam(profile.parameters(), lr=0.05)
    for _ in range(rounds):
        optimizer.zero_grad()
        loss = -semihmm.log_partition(profile(x, lengths)).sum() - profile.log_prior()
        loss.backward()
        optimizer.step()
    goes_on = profile.hops().exp().sum(-1)[:-1] + profile.chances()[0][:, 1].exp()
    torch.testing.assert_close(goes_on, torch.ones_like(goes_on))  # a hop or an insertion: the fold loses no way
    print(f"{len(fingers)} fingers, {profile.columns} columns, {rounds} rounds\n")

    paths = semihmm.viterbi(profile(x, lengths)).event.tolist()
    scores = bits(profile, fingers)
    rows = align(fingers, paths, profile.columns)
    for name, row, score in zip(names, rows, scores, strict=True):
        print(f"  {name:<8}{row}{score:>7.1f} bits")
    chance, residue = (values.tolist() for values in profile.residue.softmax(-1).max(-1))
    sure = "".join(LETTERS[i] if p > 0.5 else "." for p, i in zip(chance, residue, strict=True))
    row = align([sure], [list(range(profile.columns))], profile.columns, insertions(paths, profile.columns))[0]
    print(f"  {'surely':<8}{row}\n")

    generator = torch.Generator().manual_seed(0)
    unseen = UNSEEN.split()
    shuffled = ["".join(f[i] for i in torch.randperm(len(f), generator=generator).tolist()) for f in unseen]
    x, lengths = padded(unseen)
    rows = align(unseen, semihmm.viterbi(profile(x, lengths)).event.tolist(), profile.columns)
    for row, score, random in zip(rows, bits(profile, unseen), bits(profile, shuffled), strict=True):
        print(f"  {'KLF4':<8}{row}{score:>7.1f} bits, shuffled {random:.1f}")
    if arguments.picture:
        picture(arguments.picture, profile)


def picture(file: Path, profile: Profile) -> None:
    """A logo: a column is as high as what it says, in bits over the background, and residues share that."""
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    chance = profile.residue.detach().softmax(-1)
    information = (chance * (chance / BACKGROUND).log2()).sum(-1, keepdim=True)
    for column, heights in enumerate((chance * information).tolist()):
        bottom = 0.0
        for height, letter in sorted(zip(heights, LETTERS, strict=True)):
            glyph = TextPath((0, 0), letter, size=1)
            box = glyph.get_extents()
            wide = 0.9 / max(box.width, 0.4)  # an I is not a bar
            place = Affine2D().translate(-(box.x0 + box.x1) / 2, -box.y0).scale(wide, height / box.height)
            letter_path = place.translate(column + 1, bottom).transform_path(glyph)
            axes.add_patch(PathPatch(letter_path, color="C1" if letter in "CH" else "C0", linewidth=0))
            bottom += height
    axes.set(xlim=(0.5, profile.columns + 0.5), ylim=(0, 1.05 * float(information.max())), ylabel="bits")
    axes.set_xlabel("match state; C and H hold the zinc")
    axes.figure.savefig(file)


def insertions(paths: list[list[int]], columns: int) -> list[int]:
    """How many residues at most are inserted behind each column."""
    return [max(path.count(columns + k) for path in paths) for k in range(columns - 1)] + [0]


def align(sequences: list[str], paths: list[list[int]], columns: int, widths: list[int] | None = None) -> list[str]:
    """Matches in capitals below each other, what was inserted in small letters, - for what was deleted."""
    widths = widths or insertions(paths, columns)
    rows = []
    for sequence, path in zip(sequences, paths, strict=True):
        match, extra = ["-"] * columns, [""] * columns
        for letter, state in zip(sequence, path, strict=False):
            if state < columns:
                match[state] = letter
            else:
                extra[state - columns] += letter.lower()
        rows.append("".join(m + e.ljust(w, " ") for m, e, w in zip(match, extra, widths, strict=True)))
    return rows


if __name__ == "__main__":
    main()
