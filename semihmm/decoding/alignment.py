"""When each token of a known text is said: spans with confidences, from the outputs of a CTC network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm import inference
from semihmm._numbers import check_flag, check_real, check_values, whole
from semihmm.engine.maps.form import as_index, check_range
from semihmm.errors import DataError, ShapeError
from semihmm.inference.options import Options
from semihmm.structures import CTC, HMM
from semihmm.structures.authoring import given, tensor_of
from semihmm.structures.ctc import frames_needed

if TYPE_CHECKING:
    from typing_extensions import Unpack

COPIES = 4  # of one token, how many occurrences in a row the confidences of long recordings tell apart


class Span(NamedTuple):
    """When something is said.

    Args:
        label: the token, or its name.
        start: where it begins, in frames or, with a ``frame_shift``, in seconds.
        end: where it is over.
        confidence: the posterior probability of its frames, given the text: whether it could be elsewhere.
        log_prob: the mean log-weight that the network gives it there: whether it was said.

    Example:
        >>> Span("a", 3, 5, 1.0, -0.1).end
        5
    """

    label: Any
    start: float
    end: float
    confidence: float
    log_prob: float


@dataclass(frozen=True)
class Alignment:
    """Texts in time: for each target ``(..., U)``, when it is said. With ``nbest``, there is an axis of those in front.

    Attributes:
        targets: the tokens, or what `merge` made of them.
        start: the first frame of each; -1 where it has none: left out, padding, or not valid.
        end: one more than its last frame; -1 where it has none.
        frames: how many frames it takes, int64.
        confidence: the posterior probability, given all of the text, that its frames are its own: their mean.
        log_prob: the mean log-weight that the network gives it in its frames; 0 where it has none.
        path: the index in ``targets`` at each frame, int64 ``(..., T)``; -1 at blanks and after the end.
        score: the log-weight of the path ``(...)``, in nats.
        valid: whether there is an alignment, bool ``(...)``.
        structure: the paths, for more questions: `semihmm.entropy` says how sure all of it is.

    Example:
        >>> alignment = align(torch.eye(3)[[0, 1, 1, 0, 2]].mul(9.0).log_softmax(-1), torch.tensor([1, 2]))
        >>> alignment.start.tolist(), alignment.end.tolist(), alignment.path.tolist()
        ([1, 4], [3, 5], [-1, 0, 0, -1, 1])
        >>> alignment.merge(torch.tensor([0, 0])).spans(["word"])[0][:3]
        ('word', 1, 5)
    """

    targets: Tensor
    start: Tensor
    end: Tensor
    frames: Tensor
    confidence: Tensor
    log_prob: Tensor
    path: Tensor
    score: Tensor
    valid: Tensor
    structure: HMM

    def __getitem__(self, index: int) -> Alignment:
        """One of the first axis: an alternative of the n best, or else a sequence of the batch."""
        alternatives = self.score.ndim > len(self.structure.batch_shape)
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen = {n: x[index] for n, x in parts.items() if isinstance(x, Tensor)}
        return replace(self, **chosen, structure=self.structure if alternatives else self.structure[index])

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[Alignment]:
        return (self[i] for i in range(len(self)))

    def merge(self, groups: Tensor) -> Alignment:
        """Words of tokens, or segments of words: each from the start of its first one to the end of its last.

        Args:
            groups: which one each target belongs to, integers ``(..., U)``, from 0 to U - 1; -1 for none (a pause).
        Returns:
            Their alignment: ``targets`` are the numbers of groups, confidences and log-weights means over frames.
        """
        groups = tensor_of("merge", "groups", groups, self.start.device)
        check_values("merge", "groups", groups)
        groups = as_index("merge", "groups", groups if groups.numel() else groups.long())
        if not groups.ndim or groups.shape != self.start.shape[self.start.ndim - groups.ndim :]:
            raise ShapeError(
                f"merge: groups must be integers for each of {self.start.shape[-1]} targets, "
                f"{tuple(self.targets.shape)}, got {tuple(groups.shape)}."
            )
        if groups.numel():
            check_range("merge", "groups", groups, -1, self.start.shape[-1] - 1, "no more groups than targets")
        count, groups = int(groups.max()) + 1 if groups.numel() else 0, groups.expand_as(self.start)
        group = torch.where(self.frames > 0, groups, -1)
        found = _collected(group, count, self.start, self.end, self.frames, self.confidence, self.log_prob)
        path = torch.where(self.path < 0, -1, pad(groups, (0, 1)).gather(-1, self.path.clamp(min=0)))
        numbers = torch.arange(count, device=groups.device).expand(*groups.shape[:-1], count)
        same = {"score": self.score, "valid": self.valid}
        return Alignment(targets=numbers, path=path, structure=self.structure, **found, **same)

    def spans(self, names: Sequence[Any] | None = None, frame_shift: float | None = None) -> Any:
        """What is said and when, in order: a list of `Span`, in lists for the axes in front.

        Args:
            names: of tokens: ``names[token]`` becomes the label. A wildcard's token is V, one behind the others.
            frame_shift: seconds from frame to frame; None leaves starts and ends in frames.
        Raises:
            DataError: a token without a name, a frame shift that is none.
        """
        if frame_shift is not None:
            check_real("spans", "frame_shift", frame_shift, above=0)
        if self.score.ndim:
            return [x.spans(names, frame_shift) for x in self]
        unit = 1 if frame_shift is None else frame_shift
        columns = (self.targets, self.start, self.end, self.confidence, self.log_prob)
        return [
            Span(token if names is None else _named(names, token), start * unit, end * unit, *rest)
            for token, start, end, *rest in zip(*(x.tolist() for x in columns), strict=True)
            if start >= 0
        ]


def _named(names: Any, token: int) -> Any:
    try:
        return names[token]
    except (LookupError, TypeError) as error:
        raise DataError(
            f"spans: there is no name for token {token} in names. A wildcard's token is V, the "
            "number of tokens: name it too."
        ) from error


def align(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | None = None,
    target_lengths: Tensor | None = None,
    *,
    blank: int = 0,
    optional: Tensor | None = None,
    wildcard: int | None = None,
    free_start: bool = False,
    free_end: bool = False,
    penalty: float = 1.0,
    nbest: int | None = None,
    **options: Unpack[Options],
) -> Alignment:
    """The best alignment of texts that are known with what a CTC network heard; exact, for any length.

    Args:
        log_probs: ``(..., T, V)``, or scores not normalised: those of a network less a `semihmm.losses.LabelPrior`,
            whose alignments are less peaky.
        targets: the tokens, integers ``(..., U)``.
        input_lengths: frames in use ``(...)``; None for T.
        target_lengths: tokens in use ``(...)``; None for U.
        blank: which token is the blank.
        optional: tokens that may be left out, bool ``(..., U)``, no two of them side by side: silence between words.
        wildcard: a number in ``targets`` that stands for one frame or more of anything: words that are missing from
            the text (W-CTC, Cai et al. 2022; star-CTC, Pratap et al. 2022). It need not be among the V tokens.
        free_start: whether the recording may begin with anything before the text; so ``free_end`` after it.
        penalty: nats, 0 or more, for each frame of anything that is no blank, so that tokens of the text keep theirs.
        nbest: how many alternatives, in an axis in front, best first; None for the best one, without that axis.
        options: of `viterbi`. With ``checkpoint``, memory is that of sqrt(T) state vectors, and of the input; then 4
            occurrences of a token in a row are told apart in confidences, not all of them.
    Raises:
        DataError: targets longer than the frames can hold, and which sequence's; with ``validate=False`` those are not
            valid instead.
        StructureError: a target that is no token, or the blank; two optional ones side by side.

    Where nothing is optional, free or wild, paths are those of torchaudio's `forced_align`.

    Example:
        >>> log_probs = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9]]).log_softmax(-1)
        >>> for span in align(log_probs, torch.tensor([1, 2])).spans("-ab", frame_shift=0.02):
        ...     print(f"{span.label} {span.start:.2f} {span.end:.2f} {span.confidence:.2f}")
        a 0.02 0.06 1.00
        b 0.08 0.10 1.00
    """
    log_probs = tensor_of("align", "log_probs", log_probs).detach()
    targets = tensor_of("align", "targets", targets, log_probs.device)
    for name, x in (("log_probs", log_probs), ("targets", targets)):
        check_values("align", name, x)
        if not x.ndim:
            raise ShapeError(f"align: log_probs must be (..., T, V), and targets (..., U); {name} got no axes.")
    check_real("align", "penalty", penalty, 0)
    for name, free in (("free_start", free_start), ("free_end", free_end)):
        check_flag("align", name, free)
    blank = whole("align", "blank", blank)
    if wildcard is not None and whole("align", "wildcard", wildcard) == blank:
        raise DataError(f"align: wildcard must be another number than the blank, got {wildcard} for both.")
    anything = penalty if free_start or free_end or wildcard is not None else None
    with torch.no_grad():
        fields = (input_lengths, target_lengths, blank, optional)
        ctc = _ctc(log_probs, targets, *fields, wildcard=wildcard, penalty=anything)
        hmm = _over_places(ctc, free_start, free_end)
        best = inference.viterbi(hmm, **options) if nbest is None else inference.topk(hmm, nbest, **options)
        valid = best.valid if ctc.input_lengths is None else best.valid & (ctc.input_lengths > 0)
        if options.get("validate", True):
            _refuse_impossible(ctc, valid if nbest is None else valid[0])
        places = torch.where(valid.unsqueeze(-1), best.event, -1)
        exact = options.get("checkpoint") in (None, False)
        posterior = _posterior(hmm, places, None if exact else COPIES, options)
        return _read(ctc, hmm, places, posterior, torch.where(valid, best.score, -torch.inf), valid)


def _over_places(ctc: CTC, free_start: bool, free_end: bool) -> HMM:
    """The HMM over places, of which the first and the last read anything, where the ends are free."""
    if ctc.input_lengths is not None:
        ctc = replace(ctc, input_lengths=ctc.input_lengths.clamp(min=1))
    hmm, anything = ctc.hmm(), ctc.emission.shape[-1] - 1
    assert hmm.emission_index is not None
    place = torch.arange(hmm.states, device=ctc.emission.device)
    last = 2 * given(ctc.target_lengths, ctc.targets.shape[-1], ctc.targets).unsqueeze(-1)
    free = (free_start & (place == 0)) | (free_end & (place == last))
    return replace(hmm, emission_index=torch.where(free, anything, hmm.emission_index))


def _refuse_impossible(ctc: CTC, valid: Tensor) -> None:
    """Say which sequence has no alignment, and why."""
    if bool(valid.all()):
        return
    at = tuple((~valid).nonzero()[0].tolist())
    frames = int(given(ctc.input_lengths, ctc.emission.shape[-2], ctc.targets).expand(valid.shape)[at])
    needed = int(frames_needed(ctc.targets, ctc.target_lengths, ctc.optional)[at])
    which = f" of sequence {at if len(at) > 1 else at[0]}" if at else ""
    why = "log_probs forbid all ways, by -inf"
    if needed > frames or not frames:
        why = (
            f"its targets need {needed} frames, one each and one between equal neighbours, and it has {frames}. Is it "
            "another recording's text? Else let the network give more frames"
        )
    raise DataError(
        f"align: there is no alignment{which} ({int((~valid).sum())} of {valid.numel()} have none): {why}. "
        "validate=False flags such sequences in .valid, and aligns the others.",
        see="no-path",
    )


def _posterior(hmm: HMM, places: Tensor, copies: int | None, options: Options) -> Tensor:
    """The posterior probability of the place that a path is in, at each frame ``(..., T)``.

    Places of one token share a column of the emission, so their marginals are one number. Here each place gets a column
    of its own; or, to bound what that takes, each token so many, which the places that read it use in turn.
    """
    index = hmm.emission_index
    assert index is not None
    if copies is None:
        tied, column = hmm.untied(), torch.arange(hmm.states, device=index.device)
    else:
        copy = torch.zeros_like(index)
        copy[..., 1::2] = 1 + _occurrences(index[..., 1::2]) % copies
        kinds, column = (index * (copies + 1) + copy).unique(return_inverse=True)
        emission = hmm.emission.index_select(-1, kinds // (copies + 1))
        tied = replace(hmm, emission=emission, emission_index=column)
    mass = inference.marginals(tied, **options).emission
    column = column.expand(*places.shape[:-1], -1).gather(-1, places.clamp(min=0))
    return mass.expand(*places.shape, -1).gather(-1, column.unsqueeze(-1)).squeeze(-1).clamp(max=1.0)


def _occurrences(x: Tensor) -> Tensor:
    """How often each item ``(..., U)`` came before.

    Example:
        >>> _occurrences(torch.tensor([3, 1, 3, 3, 1]))
        tensor([0, 0, 1, 2, 1])
    """
    if not x.shape[-1]:
        return x
    order = x.argsort(dim=-1, stable=True)
    alike, at = x.gather(-1, order), torch.arange(x.shape[-1], device=x.device)
    first = torch.where(pad(alike[..., 1:] != alike[..., :-1], (1, 0), value=True), at, 0).cummax(-1).values
    return torch.empty_like(x).scatter(-1, order, at - first)


def _read(ctc: CTC, hmm: HMM, places: Tensor, posterior: Tensor, score: Tensor, valid: Tensor) -> Alignment:
    """What paths over places say of each target."""
    count, lead = ctc.targets.shape[-1], places.shape[:-1]
    index = hmm.emission_index
    assert index is not None
    column = index.expand(*lead, -1).gather(-1, places.clamp(min=0))
    weight = hmm.emission.expand(*places.shape, -1).gather(-1, column.unsqueeze(-1)).squeeze(-1)
    path = torch.where((places >= 0) & (places % 2 == 1), places // 2, -1)
    time = torch.arange(places.shape[-1], device=places.device).expand_as(places)
    found = _collected(path, count, time, time + 1, torch.ones_like(time), posterior, weight)
    targets = ctc.targets.expand(*lead, count)
    return Alignment(targets=targets, path=path, score=score, valid=valid, structure=hmm, **found)


def _collected(
    group: Tensor, count: int, start: Tensor, end: Tensor, frames: Tensor, confidence: Tensor, log_prob: Tensor
) -> dict[str, Tensor]:
    """Of items that belong to groups (-1: to none), the first start, the last end, all frames, and means over them."""
    at = torch.where(group < 0, count, group)
    empty = frames.new_zeros(*frames.shape[:-1], count + 1)
    total = empty.scatter_add(-1, at, frames)
    first = (empty + torch.iinfo(start.dtype).max).scatter_reduce(-1, at, start, "amin")
    last = empty.scatter_reduce(-1, at, end, "amax")
    found = {"start": torch.where(total > 0, first, -1), "end": torch.where(total > 0, last, -1), "frames": total}
    for name, x in (("confidence", confidence), ("log_prob", log_prob)):
        found[name] = empty.to(x).scatter_add(-1, at, x * frames) / total.clamp(min=1)
    return {name: x[..., :count] for name, x in found.items()}


def _ctc(log_probs: Tensor, targets: Tensor, *fields: Any, wildcard: int | None, penalty: float | None) -> CTC:
    """A CTC; with a penalty, of one more token behind the others, which is anything: no less likely than the blank."""
    tokens, blank = log_probs.shape[-1], fields[2]
    if wildcard is not None:
        targets = torch.where(targets == wildcard, tokens, targets)
    if penalty is not None and 0 <= blank < tokens:
        said = torch.arange(tokens, device=log_probs.device) != blank
        sound = torch.where(said, log_probs, -torch.inf).logsumexp(-1) - penalty
        log_probs = torch.cat([log_probs, torch.logaddexp(log_probs[..., blank], sound).unsqueeze(-1)], -1)
    return CTC(log_probs, targets, *fields)
