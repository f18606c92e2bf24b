"""Training a network that takes the place of an acoustic model's Gaussians, by frames first and by sequences then.

1. *Frames*: an acoustic model aligns the recordings, and the network learns to tell the states of its frames (cross
   entropy). Frames are heard as vocal tracts of other lengths would have said them, too.
2. *Sequences*: with y the network's log-likelihoods of a recording, the loss is

       log_partition(free phone loop, y) - log_partition(graph of the transcript, y)

   per frame: minus the log-posterior of the transcript among all sequences of phones, exactly and without lattices
   (maximum mutual information: Povey et al. 2016, whose numerator and denominator these are). Or, for ``"ctc-hmm"``,
   `semihmm.losses.CTCHMMLoss` of the phones. The first loss stays as a part of the second.

Of a model of phones in context, the network learns their states by frames. Sequences are of phones without context: a
state of these is as probable as all its kinds in context together.

References:
    Jaitly and Hinton (2013), "Vocal tract length perturbation (VTLP) improves speech recognition", ICML workshop.
    Povey et al. (2016), "Purely sequence-trained neural networks for ASR based on lattice-free MMI", Interspeech.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.errors import DataError, SemihmmError
from semihmm.inference import log_partition
from semihmm.losses import CTCHMMLoss
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.acoustics.network import TimeDelayNetwork, together
from semihmm.speech.alignment.free import free_loop
from semihmm.speech.alignment.graph import AlignmentGraph, build_graph
from semihmm.speech.training.cutting import in_pieces
from semihmm.speech.training.stated import Stated, stated
from semihmm.speech.training.statistics import Example, constrained
from semihmm.speech.training.utterance import Utterance

Objective = Literal["mmi", "ctc-hmm"]
OBJECTIVES: tuple[Objective, ...] = ("mmi", "ctc-hmm")
_WARPS = (0.88, 1.14)  # lengths of other vocal tracts
_RATE, _SEQUENCE_RATE = 2e-3, 3e-4  # of learning
_FRAME_SHARE = 0.2  # of the loss of frames, in training by sequences
_STEEPEST = 5.0  # norm of the gradient

Loss = Callable[["Lesson", Tensor], Tensor]
"""Of a lesson, given the network's log-posteriors ``(T, S)``."""


@dataclass(frozen=True)
class Lesson:
    """An utterance to learn from.

    Args:
        example: its features, and what is said.
        warped: ``(T, F)``, features as vocal tracts of other lengths would have it.
        states: ``(T,)`` those of an alignment; -1 where nothing is known.
        graph: of what is said, in phones without context.
        phones: ``(U,)`` numbers of the phones of the alignment, without pauses.
    """

    example: Example
    warped: tuple[Tensor, ...]
    states: Tensor
    graph: AlignmentGraph
    phones: Tensor


def objective_of(text: str) -> Objective:
    """The objective of this name.

    Raises:
        SemihmmError: there is none.

    Example:
        >>> objective_of("mmi")
        'mmi'
    """
    for objective in OBJECTIVES:
        if objective == text:
            return objective
    raise SemihmmError(f"the objectives of a network are {' and '.join(OBJECTIVES)}; got {text!r}.")


def train_network(
    model: AcousticModel,
    utterances: Iterable[Utterance],
    *,
    objective: Objective = "mmi",
    epochs: tuple[int, int] = (16, 4),
    width: int = 128,
    seed: int = 0,
    failures: dict[str, str] | None = None,
) -> AcousticModel:
    """The model with a network in place of its Gaussians.

    Args:
        model: aligns the utterances first, and gives phones, their contexts, transitions and front end.
        utterances: what to learn from; of more than a minute and a half, in pieces. Where something of them is
            labelled, nothing else is said then.
        objective: of the sequences: ``"mmi"`` or ``"ctc-hmm"``, as above.
        epochs: how often all utterances are learnt by frames, and how often by sequences.
        width: units in each hidden layer.
        seed: of the network's first weights and of the order of utterances.
        failures: why utterances cannot be used is added to it, by name.

    Raises:
        DataError: no utterance can be used.
        SemihmmError: there is no such objective.

    Memory holds the utterances and three times their features: some 0.8 GB an hour.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> train_network(load_acoustic_model(), [])
        Traceback (most recent call last):
        ...
        semihmm.errors.DataError: train_network: there is nothing to learn from: no utterance could be used.
    """
    objective_of(objective)
    aligned = stated(model, in_pieces(model, utterances), {} if failures is None else failures)
    lessons = [_lesson(model, item) for item in aligned]
    if not lessons:
        raise DataError("train_network: there is nothing to learn from: no utterance could be used.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(model, lessons, width)
        _descend(network, frame_loss, lessons, epochs[0], _RATE)
        sequence = PhoneSequences(model) if objective == "ctc-hmm" else MutualInformation(model, network.log_prior)
        _descend(network, Together(sequence), lessons, epochs[1], _SEQUENCE_RATE)
    network.eval().requires_grad_(False)
    card = {**model.card, "network": f"{objective}; {len(lessons)} utterances; aligned by {model.name}"}
    return replace(model, streams=(), splice=0, transform=None, network=network, card=card)


def _lesson(model: AcousticModel, item: Stated) -> Lesson:
    wave = item.utterance.at(model.front_end.sample_rate)
    return Lesson(
        item.example,
        tuple(_warped(model.front_end, warp)(wave).float() for warp in _WARPS),
        item.states,
        build_graph(item.example.words, replace(model, contexts=None)),
        torch.tensor([model.phones.index(phone) for phone in item.phones]),
    )


def _warped(front_end: FrontEnd, warp: float) -> FrontEnd:
    """The front end that hears a vocal tract so many times as long as if it were of the usual length."""
    highest = min(front_end.upper_edge / warp, front_end.sample_rate / 2)
    return replace(front_end, lower_edge=front_end.lower_edge / warp, upper_edge=highest)


def _network(model: AcousticModel, lessons: Sequence[Lesson], width: int) -> TimeDelayNetwork:
    frames = torch.cat([lesson.example.features for lesson in lessons])
    states = torch.cat([lesson.states for lesson in lessons])
    network = TimeDelayNetwork(frames.shape[1], model.columns, width)
    network.mean.copy_(frames.mean(0))
    network.scale.copy_(frames.std(0).clamp(min=1e-3))
    count = torch.bincount(states[states >= 0], minlength=model.columns) + 1.0
    network.log_prior.copy_((count / count.sum()).log())
    return network


def _descend(network: TimeDelayNetwork, loss: Loss, lessons: Sequence[Lesson], epochs: int, rate: float) -> None:
    """One step for each recording, in another order in each epoch, heard as one vocal tract or another."""
    modules = [network, *([loss] if isinstance(loss, nn.Module) else [])]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(epochs * len(lessons), 1))
    network.train()
    for _ in range(epochs):
        for number in torch.randperm(len(lessons)).tolist():
            lesson = lessons[number]
            heard = (lesson.example.features, *lesson.warped)
            features = heard[int(torch.randint(len(heard), ()))]
            optimiser.zero_grad()
            loss(lesson, network.log_posterior(features)).backward()
            nn.utils.clip_grad_norm_(parameters, _STEEPEST)
            optimiser.step()
            schedule.step()


def frame_loss(lesson: Lesson, log_posterior: Tensor) -> Tensor:
    """Mean of minus the log-posterior of the aligned states."""
    return nn.functional.nll_loss(log_posterior, lesson.states, ignore_index=-1)


class Together(nn.Module):
    """A loss of sequences, and a share of the loss of frames: it keeps outputs posteriors, and edges where they were.

    Args:
        sequences: the other loss.
    """

    def __init__(self, sequences: Loss) -> None:
        super().__init__()
        self.sequences = sequences

    def forward(self, lesson: Lesson, log_posterior: Tensor) -> Tensor:
        by_sequences = self.sequences(lesson, log_posterior)
        return (1 - _FRAME_SHARE) * by_sequences + _FRAME_SHARE * frame_loss(lesson, log_posterior)


class MutualInformation(nn.Module):
    """``(log_partition(free phone loop) - log_partition(transcript)) / T`` of scaled log-likelihoods.

    Args:
        model: whose phones and transitions make the loop.
        log_prior: ``(S,)``.
    """

    def __init__(self, model: AcousticModel, log_prior: Tensor) -> None:
        super().__init__()
        self.model, self.log_prior = model, log_prior

    def forward(self, lesson: Lesson, log_posterior: Tensor) -> Tensor:
        owner, plain = self.model.owner, len(self.model.plain)
        scaled = (together(log_posterior, owner) - together(self.log_prior, owner))[:, :plain]
        anything = log_partition(free_loop(self.model, scaled))
        said = constrained(lesson.graph, lesson.graph.hmm(scaled), lesson.example, self.model)
        return (anything - log_partition(said)) / len(scaled)


class PhoneSequences(nn.Module):
    """`CTCHMMLoss` of the phones said, per frame: silence is the blank, a phone as likely as its states together.

    Args:
        model: whose phones they are.
    """

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.states, self.owner, self.plain = model.states, model.owner, len(model.plain)
        self.loss = CTCHMMLoss(len(model.phones), blank=model.phones.index(model.silence), reduction="none")

    def forward(self, lesson: Lesson, log_posterior: Tensor) -> Tensor:
        plain = together(log_posterior, self.owner)[:, : self.plain]
        phones = plain.unflatten(1, (-1, self.states)).logsumexp(2)
        found: Tensor = self.loss(phones, lesson.phones) / len(phones)
        return found
