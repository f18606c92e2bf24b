"""Aligning each speaker of a corpus with a model adapted to them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from semihmm.errors import DataError
from semihmm.speech.alignment.align import Aligner
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.training.adaptation import Method, adapt
from semihmm.speech.training.reading import read_utterances


def by_speaker(
    aligner: Aligner, recordings: Sequence[Recording], methods: Sequence[Method], unadapted: dict[str, str]
) -> Iterator[tuple[Aligner, list[Recording]]]:
    """The recordings of each speaker, and an aligner adapted to them; speakers are the folders that recordings are in.

    Args:
        aligner: to start from.
        recordings: of all speakers. Those of one are in memory at a time.
        methods: as `adapt` has them, one after the other.
        unadapted: why speakers are aligned with the model as it is is added to it, by folder: for want of speech.
    """
    speakers = defaultdict(list)
    for recording in recordings:
        speakers[recording.name.rpartition("/")[0]].append(recording)
    for speaker, own in speakers.items():
        model, utterances = aligner.model, list(read_utterances(own, aligner.lexicon, {}))
        try:
            for method in methods:
                model = adapt(model, utterances, method=method)
        except DataError as error:
            unadapted[speaker] = str(error)
        yield replace(aligner, model=model), own
