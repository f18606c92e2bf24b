"""How far onsets are from known ones with small HTK models of six languages: plain, with durations, without their bias.

    python benchmarks/htk_models.py [--smoke]

Models are read from ``hmm-models``, recordings from their sets, both in ``SEMIHMM_DATA`` or ``../shared/data``, and
skipped by name where they are not there. ``ae-english`` has hand labels. What is taken off there, a constant and a
correction of edges, is learnt on ``synth/en-hts`` and ``synth/en-kal``, each of whose figures are with what the other
alone says. Sentences of ``synth/ko-espeak`` and ``synth/zh-espeak`` are aligned as the phones that were spoken, by the
nearest ones that the model has. French, German and Spanish have no phones that are known: measured are the edges of
phrases in ``multilingual-read``, set by hand, with pronunciations of ``gruut``.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from statistics import fmean, median

import torch
from _boundaries import summary
from alignment import HERE, machine, spoken
from learn_edges import Edges, learn
from rich.console import Console

from semihmm.audio import read_audio, resample
from semihmm.cli.show import error_table
from semihmm.errors import SemihmmError
from semihmm.speech import (
    AcousticModel,
    Aligner,
    Alignment,
    BoundaryErrors,
    Interval,
    Lexicon,
    Tiers,
    compare,
    load_acoustic_model,
    load_lexicon,
    words_of,
)  # fmt: skip
from semihmm.speech.acoustics.edges import KINDS, EdgeCorrection, around_edges
from semihmm.speech.alignment.pronunciation import guess_with_gruut
from semihmm.speech.text.phones import is_silence

VOICES = ("synth/en-hts", "synth/en-kal")
# What stands for a spoken phone, the best first, or two of them in a row: espeak's phones, or gruut's.
NEAREST = {
    "kor": "ɐ A|ʌ V|ŋ N|ɯ M|s- t|q k|q- k|tʃ tS|tɕ dZ|t- t|k- k|d- d|ph p_h|kh k_h|ɛ E|ɾ 4|ɡ g|ɫ l|dʑ dZ",
    "cmn": "tɕ tss|iɛ i e|tɕh ts_hs|th t_h|χ x|ə e|ɑu a u|ŋ N|kh k_h|uei u e|ɕ ss|iɑ i a|ʲ i|ei e i|ai a i|ts. ts`|"
    "uə u o|s. s`|i. i`|ɑ a|w u|j i|iou i o|yɛ y e|ph p_h|ou o u|ts.h ts_h`|o- o|onɡ o N|tsh ts_h|yu y|uo u o|ua u a|"
    "yæ y e|i̪ i_d",
    "deu": "aɪ̯ aI|ʁ R|ɛ E|ɐ 6|ʊ U|ŋ N|ɪ I|ç C|ʃ S|ɔ O|ʔ ?|pf p f|œ 9|ə @|a a|e e:|o o:|u u:|y y:|i i:",
    "fra": "ʒ Z|a A/|ɛ E|ʁ R|ɔ O/|o O/|ɑ̃ a~|ə @|ɔ̃ O~|ɛ̃ U~/|ɥ H|œ 9|ø 2|ʃ S",
    "spa": "ɾ r|wa w a|θ T|ʝ j\\|ɲ J|we w e|tʃ tS",
}
NEAREST = {name: dict(item.split(" ", 1) for item in table.split("|")) for name, table in NEAREST.items()}
GRUUT = {"deu": "de", "fra": "fr", "spa": "es"}


@dataclass(frozen=True)
class Bias:
    """How late onsets are of voices whose times are known: a constant, and what a correction of edges says."""

    late: float
    edges: EdgeCorrection | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one recording per set; results are not written")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "htk_models.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    data = Path(os.environ.get("SEMIHMM_DATA", HERE.parent.parent / "shared" / "data"))
    results: dict[str, dict] = {}

    def report(name: str, columns: dict[str, BoundaryErrors]) -> None:
        console.print(error_table(name, columns))
        results[name] = {column: summary(errors) for column, errors in columns.items()}

    def here(folder: str) -> bool:
        there = (data / folder).is_dir()
        if not there:
            console.print(f"skipped {folder}: not in SEMIHMM_DATA or ../shared/data")
        return there

    limit = 1 if arguments.smoke else None
    if here("hmm-models/eng") and here("ae-english") and here("synth"):
        for name, columns in english(data, limit).items():
            report(f"eng, {name}: onsets of phones", columns)
    for language, name in (("kor", "synth/ko-espeak"), ("cmn", "synth/zh-espeak")):
        if here(f"hmm-models/{language}") and here(name):
            report(f"{language}, {name}: onsets of phones", as_spoken(data, language, name, limit))
    for language in GRUUT:
        if here(f"hmm-models/{language}") and here("multilingual-read"):
            try:
                report(f"{language}, multilingual-read: edges of phrases", phrases(data, language, limit))
            except SemihmmError as error:
                console.print(f"skipped {language}: {error}")
    if results and not arguments.smoke:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(), "sets": results}
        arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        console.print(f"written: {arguments.out}")


def english(data: Path, limit: int | None) -> dict[str, dict[str, BoundaryErrors]]:
    """Every set with the plain HMM, with durations, and with what the synthetic voices, but not itself, say of bias."""
    model = load_acoustic_model(data / "hmm-models" / "eng")
    lexicon = load_lexicon(model=model)
    plain, timed = Aligner(model, lexicon, durations=None), Aligner(model, lexicon)
    seen = {name: edges_of(timed, data, name, limit) for name in VOICES}
    found = {}
    for name in ("ae-english", *VOICES):
        others = [voice for voice in VOICES if voice != name]
        bias = bias_of(others, seen)
        corrected = Aligner(replace(model, edges=bias.edges), lexicon)
        columns = {
            label: onsets(aligner, data, name, limit) for label, aligner in (("plain", plain), ("durations", timed))
        }
        columns["and a constant off"] = without(columns["durations"], bias.late)
        columns["and edges corrected"] = without(onsets(corrected, data, name, limit), bias.late)
        found[name] = columns
    return found


def items_of(data: Path, name: str, limit: int | None) -> Iterator[tuple[torch.Tensor, int, dict]]:
    lines = (data / name / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for item in [json.loads(line) for line in lines][:limit]:
        yield *read_audio(data / name / item["audio"]), item


def onsets(aligner: Aligner, data: Path, name: str, limit: int | None) -> BoundaryErrors:
    total = BoundaryErrors()
    for wave, rate, item in items_of(data, name, limit):
        reference = Tiers(words=spoken(item["words"]), phones=spoken(item["phones"]))
        alignment = aligner(wave, rate, item["text"])
        total += compare(reference, Tiers(words=alignment.words, phones=alignment.phones)).phones
    return total


def without(errors: BoundaryErrors, late: float) -> BoundaryErrors:
    return replace(errors, differences=tuple(difference - late for difference in errors.differences))


def edges_of(aligner: Aligner, data: Path, name: str, limit: int | None) -> Edges:
    """What `learn_edges.learn` learns from: the sentences of a voice in which both sides have as many phones."""
    seen, late = [torch.zeros(0, 233)], []
    for wave, rate, item in items_of(data, name, limit):
        phones = aligner(wave, rate, item["text"]).phones
        known = spoken(item["phones"])
        if len(phones) == len(known):
            before = ["SIL", *("SIL" if b.start > a.end else a.label for a, b in pairwise(phones))]
            kinds = [
                torch.tensor([KINDS.get(phone, KINDS["L"]) for phone in side])
                for side in (before, [phone.label for phone in phones])
            ]
            times = torch.tensor([phone.start for phone in phones], dtype=torch.float64)
            front_end = aligner.model.front_end
            heard = resample(wave, source=rate, target=front_end.sample_rate)
            seen.append(around_edges(front_end, heard, times, *kinds))
            late += [phone.start - label.start for phone, label in zip(phones, known, strict=True)]
    return Edges(torch.cat(seen), torch.tensor(late, dtype=torch.float64))


def bias_of(voices: Sequence[str], seen: dict[str, Edges]) -> Bias:
    known = {name: seen[name] for name in voices if len(seen[name].late)}
    if not known:
        return Bias(0.0, None)
    return Bias(fmean(median(edges.late.tolist()) for edges in known.values()), learn(list(known), known))


def as_spoken(data: Path, language: str, name: str, limit: int | None) -> dict[str, BoundaryErrors]:
    """A sentence is a word for each of its stretches between pauses; a phone's onset is that of its first stand-in."""
    model = load_acoustic_model(data / "hmm-models" / language)
    found = {"plain": BoundaryErrors(), "durations": BoundaryErrors()}
    for wave, rate, item in items_of(data, name, limit):
        stretches: list[list[Interval]] = [[]]
        for label in [Interval(*label) for label in item["phones"]]:
            stretches += [[]] if is_silence(label.label) else []
            if not is_silence(label.label):
                stretches[-1].append(label)
        stretches = [stretch for stretch in stretches if stretch]
        said = [stand_ins([label.label for label in stretch], language, model) for stretch in stretches]
        words = {f"x{chr(97 + index)}": (tuple(chain(*phones)),) for index, phones in enumerate(said)}
        for column, aligner in aligners(model, Lexicon(words)).items():
            phones = iter(aligner(wave, rate, " ".join(words)).phones)
            late = []
            for stretch, own in zip(stretches, said, strict=True):
                for label, names in zip(stretch, own, strict=True):
                    late.append(next(phones).start - label.start)
                    for _ in names[1:]:
                        next(phones)
            found[column] += BoundaryErrors(tuple(late))
    return found


def aligners(model: AcousticModel, lexicon: Lexicon) -> dict[str, Aligner]:
    return {"plain": Aligner(model, lexicon, durations=None), "durations": Aligner(model, lexicon)}


def stand_ins(phones: Sequence[str], language: str, model: AcousticModel) -> list[list[str]]:
    """For each phone, those that stand for it.

    Raises:
        KeyError: nothing does.
    """
    return [
        [phone] if phone in model.phones and phone not in NEAREST[language] else NEAREST[language][phone].split()
        for phone in phones
    ]


def phrases(data: Path, language: str, limit: int | None) -> dict[str, BoundaryErrors]:
    model = load_acoustic_model(data / "hmm-models" / language)
    found = {"plain": BoundaryErrors(), "durations": BoundaryErrors()}

    def guess(word: str) -> tuple[str, ...]:
        return tuple(chain(*stand_ins(guess_with_gruut(word, GRUUT[language]), language, model)))

    for wave, rate, item in items_of(data, "multilingual-read", None):
        if item["lang"] != language:
            continue
        texts = [text.replace("*", " ").replace("+", " ") for _, _, text in item["segments"]]
        counts = [len(words_of(text, language=GRUUT[language])) for text in texts]
        for column, aligner in aligners(model, Lexicon({}, guess, GRUUT[language])).items():
            alignment = aligner(wave, rate, " ".join(texts))
            found[column] += edges_of_phrases(alignment, item["segments"], counts)
        if limit:
            break
    return found


def edges_of_phrases(alignment: Alignment, segments: Sequence[Sequence], counts: Sequence[int]) -> BoundaryErrors:
    words, late = list(alignment.words), []
    for (start, end, _), count in zip(segments, counts, strict=True):
        own, words = words[:count], words[count:]
        late += [own[0].start - start, own[-1].end - end]
    return BoundaryErrors(tuple(late))


if __name__ == "__main__":
    main()
