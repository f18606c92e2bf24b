"""Training a network that takes the place of an acoustic model's Gaussians, by frames first and by sequences then.

1. *Frames*: an acoustic model aligns the recordings, and the network learns to tell the states of its frames (cross
   entropy). Frames are heard as vocal tracts of other lengths would have said them, too.
2. *Sequences*: with y the network's log-likelihoods of a recording, the loss is

       log_partition(free phone loop, y) - log_partition(graph of the transcript, y)

   per frame: minus the log-posterior of the transcript among all sequences of phones, exactly and without lattices
   (maximum mutual information: Povey et al. 2016, whose numerator and denominator these are). Or, for ``"ctc-hmm"``,
   `semihmm.losses.CTCHMMLoss` of the phones. The first loss stays as a part of the second.

References:
    Jaitly and Hinton (2013), "Vocal tract length perturbation (VTLP) improves speech recognition", ICML workshop.
    Povey et al. (2016), "Purely sequence-trained neural networks for ASR based on lattice-free MMI", Interspeech.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.errors import DataError, SemihmmError
from semihmm.inference import log_partition
from semihmm.losses import CTCHMMLoss
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import AcousticModel, load_dictionary
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.alignment.free import free_loop
from semihmm.speech.alignment.graph import AlignmentGraph, build_graph
from semihmm.speech.alignment.pronunciation import Lexicon
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.training.stated import PassedOver, stated, utterances

Objective = Literal["mmi", "ctc-hmm"]
_WARPS = (0.88, 1.14)  # lengths of other vocal tracts
_RATE, _SEQUENCE_RATE = 2e-3, 3e-4  # of learning
_FRAME_SHARE = 0.2  # of the loss of frames, in training by sequences
_STEEPEST = 5.0  # norm of the gradient

Loss = Callable[["Example", Tensor], Tensor]
"""Of an example, given the network's log-posteriors ``(T, S)``."""


@dataclass(frozen=True)
class Example:
    """A recording to learn from.

    Args:
        features: ``(T, F)`` as vocal tracts of several lengths would have it, the real one's first.
        states: ``(T,)`` those of the alignment; -1 where nothing is known.
        graph: of the transcript.
        phones: ``(U,)`` numbers of the phones said.
    """

    features: tuple[Tensor, ...]
    states: Tensor
    graph: AlignmentGraph
    phones: Tensor


def train_network(
    model: AcousticModel,
    recordings: Iterable[Recording],
    *,
    lexicon: Lexicon | None = None,
    objective: Objective = "mmi",
    epochs: tuple[int, int] = (16, 4),
    width: int = 128,
    seed: int = 0,
    passed_over: PassedOver | None = None,
) -> AcousticModel:
    """The model with a network in place of its Gaussians, trained on recordings with transcripts.

    Args:
        model: aligns the recordings first, and gives phones, transitions and front end.
        recordings: such as `find_recordings` finds.
        lexicon: how words are said. Default: the CMU dictionary.
        objective: of the sequences: ``"mmi"`` or ``"ctc-hmm"``, as above.
        epochs: how often all recordings are learnt by frames, and how often by sequences.
        width: units in each hidden layer.
        seed: of the network's first weights and of the order of recordings.
        passed_over: told the name of each recording that cannot be used, and why.

    Raises:
        DataError: no recording can be used.
        SemihmmError: there is no such objective.
    """
    if objective not in ("mmi", "ctc-hmm"):
        raise SemihmmError(f"train_network: objective must be mmi or ctc-hmm, got {objective!r}.")
    lexicon = lexicon or Lexicon(load_dictionary())
    examples = list(_examples(model, lexicon, recordings, passed_over))
    if not examples:
        raise DataError("train_network: there is nothing to learn from: no recording could be used.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(model, examples, width)
        _descend(network, frame_loss, examples, epochs[0], _RATE)
        sequence = PhoneSequences(model) if objective == "ctc-hmm" else MutualInformation(model, network.log_prior)
        _descend(network, Together(sequence), examples, epochs[1], _SEQUENCE_RATE)
    network.eval().requires_grad_(False)
    return replace(model, streams=(), network=network, name=f"network after {model.name}")


def _examples(
    model: AcousticModel, lexicon: Lexicon, recordings: Iterable[Recording], passed_over: PassedOver | None
) -> Iterator[Example]:
    fronts = [_warped(model.front_end, warp) for warp in _WARPS]
    for said in utterances(recordings, passed_over):
        for found in stated(model, lexicon, [said], passed_over):
            wave = said.at(model.front_end.sample_rate)
            yield Example(
                (found.features.float(), *(front_end(wave).float() for front_end in fronts)),
                found.states,
                build_graph(found.pronunciations, model),
                torch.tensor([model.phones.index(phone) for phone in found.phones]),
            )


def _warped(front_end: FrontEnd, warp: float) -> FrontEnd:
    """The front end that hears a vocal tract so many times as long as if it were of the usual length."""
    highest = min(front_end.upper_edge / warp, front_end.sample_rate / 2)
    return replace(front_end, lower_edge=front_end.lower_edge / warp, upper_edge=highest)


def _network(model: AcousticModel, examples: Sequence[Example], width: int) -> TimeDelayNetwork:
    frames = torch.cat([example.features[0] for example in examples])
    states = torch.cat([example.states for example in examples])
    columns = len(model.phones) * model.states
    network = TimeDelayNetwork(frames.shape[1], columns, width)
    network.mean.copy_(frames.mean(0))
    network.scale.copy_(frames.std(0).clamp(min=1e-3))
    count = torch.bincount(states[states >= 0], minlength=columns) + 1.0
    network.log_prior.copy_((count / count.sum()).log())
    return network


def _descend(network: TimeDelayNetwork, loss: Loss, examples: Sequence[Example], epochs: int, rate: float) -> None:
    """One step for each recording, in another order in each epoch, and heard by another front end."""
    modules = [network, *([loss] if isinstance(loss, nn.Module) else [])]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=max(epochs * len(examples), 1))
    network.train()
    for _ in range(epochs):
        for number in torch.randperm(len(examples)).tolist():
            example = examples[number]
            features = example.features[int(torch.randint(len(example.features), ()))]
            optimiser.zero_grad()
            loss(example, network.log_posterior(features)).backward()
            nn.utils.clip_grad_norm_(parameters, _STEEPEST)
            optimiser.step()
            schedule.step()


def frame_loss(example: Example, log_posterior: Tensor) -> Tensor:
    """Mean of minus the log-posterior of the aligned states."""
    return nn.functional.nll_loss(log_posterior, example.states, ignore_index=-1)


class Together(nn.Module):
    """A loss of sequences, and a share of the loss of frames: it keeps outputs posteriors, and edges where they were.

    Args:
        sequences: the other loss.
    """

    def __init__(self, sequences: Loss) -> None:
        super().__init__()
        self.sequences = sequences

    def forward(self, example: Example, log_posterior: Tensor) -> Tensor:
        by_sequences = self.sequences(example, log_posterior)
        return (1 - _FRAME_SHARE) * by_sequences + _FRAME_SHARE * frame_loss(example, log_posterior)


class MutualInformation(nn.Module):
    """``(log_partition(free phone loop) - log_partition(transcript)) / T`` of scaled log-likelihoods.

    Args:
        model: whose phones and transitions make the loop.
        log_prior: ``(S,)``.
    """

    def __init__(self, model: AcousticModel, log_prior: Tensor) -> None:
        super().__init__()
        self.model, self.log_prior = model, log_prior

    def forward(self, example: Example, log_posterior: Tensor) -> Tensor:
        scaled = log_posterior - self.log_prior
        anything = log_partition(free_loop(self.model, scaled))
        return (anything - log_partition(example.graph.hmm(scaled))) / len(scaled)


class PhoneSequences(nn.Module):
    """`CTCHMMLoss` of the phones said, per frame: silence is the blank, a phone as likely as its states together.

    Args:
        model: whose phones they are.
    """

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.states = model.states
        self.loss = CTCHMMLoss(len(model.phones), blank=model.phones.index(model.silence), reduction="none")

    def forward(self, example: Example, log_posterior: Tensor) -> Tensor:
        phones = log_posterior.unflatten(1, (-1, self.states)).logsumexp(2)
        found: Tensor = self.loss(phones, example.phones) / len(phones)
        return found
