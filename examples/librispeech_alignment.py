"""LibriSpeech: recordings aligned with their transcripts, how long phones last, and how well that is predicted.

Run it: ``python examples/librispeech_alignment.py LibriSpeech --limit 500``, where LibriSpeech is the folder that
https://openslr.org/12 unpacks, or one of its parts, such as ``LibriSpeech/dev-clean``. Without a folder it takes the
six bundled recordings in ``examples/data``; ``--smoke`` takes two; ``--picture FILE`` draws the last one. It needs
``pip install 'semihmm[speech]'``.

Every recording is aligned by the English acoustic model. Look at the table of durations: all are skewed, which is why a
semi-Markov model has laws of its own for them. They are then predicted for readers (with fewer than four readers: for
recordings) that the laws did not see: by the mean of the phone; by negative binomial laws, as an HSMM's states have, of
the phone with its neighbours; and by these where the length of the sentence is known, as in dubbing. The last figures
say what is lost where a vocoder (WORLD) speaks: with the reader's own durations, then with predicted ones. All but
spectral detail and durations is the reader's own, so the figures are a floor for synthetic voices. They need
``pip install 'semihmm[metrics]'``. On 41 recordings, 3,029 phones, of LibriSpeech, LibriVox and LJSpeech, held out in
fifths, RMSE and correlation are 39.0 ms and 0.63 by the mean of the phone, 36.1 ms and 0.69 by the laws, and 34.8 ms
and 0.72 where the length is known. A phone's duration is then worth -3.23 nats on average, -3.67 by Poisson laws and
-3.68 by the geometric ones of an HMM.
"""

import argparse
from pathlib import Path
from statistics import fmean

import torch

from semihmm.audio import read_audio
from semihmm.errors import DependencyError, SemihmmError
from semihmm.speech import Aligner, find_recordings, librispeech_speaker, read_librispeech_table
from semihmm.speech.metrics import at_durations, duration_statistics, resynthesis_errors
from semihmm.speech.training import PhoneDurations, predict_durations

BUNDLED = Path(__file__).parent / "data"


def readers(corpus):
    """What SPEAKERS.TXT says, in the folder or above it."""
    tables = [folder / "SPEAKERS.TXT" for folder in (corpus, *corpus.resolve().parents)]
    return next((read_librispeech_table(table) for table in tables if table.is_file()), {})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", nargs="?", type=Path, default=BUNDLED)
    parser.add_argument("--limit", type=int, help="how many recordings at most, evenly spread")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the last recording, and how long phones last"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    recordings = list(find_recordings(args.corpus))
    limit = 2 if args.smoke else args.limit or len(recordings)
    recordings = recordings[:: -(-len(recordings) // limit)]

    aligner, known, aligned = Aligner(), readers(args.corpus), []
    for recording in recordings:
        try:
            result = aligner(*read_audio(recording.audio), recording.transcript())
            aligned.append((librispeech_speaker(recording.name), recording.audio, result))
        except SemihmmError as error:
            print(f"{recording.name} is left out: {error}")
    speakers = sorted({speaker for speaker, *_ in aligned})
    seconds = sum(result.duration for *_, result in aligned)
    print(f"{len(aligned)} of {len(recordings)} recordings aligned, {seconds:.1f} s, readers:")
    for speaker in speakers[:10]:
        row = known.get(speaker, {})
        print(f"  {speaker:12} {row.get('SEX', '?')}  {row.get('SUBSET', '')}")
    print(f"match, the share of the transcript that is heard: {fmean(result.match for *_, result in aligned):.3f}")

    tiers = [result.phones for *_, result in aligned]
    print("\nphone     n  mean ms    sd  skewness")
    for label, found in list(duration_statistics(tiers).items())[:12]:
        print(f"{label:5} {found.n:5} {1000 * found.mean:8.1f} {1000 * found.sd:5.1f} {found.skewness:9.2f}")

    by_reader = len(speakers) >= 4
    groups = [speaker if by_reader else index for index, (speaker, *_) in enumerate(aligned)]
    print(f"\ndurations of {'readers' if by_reader else 'recordings'} not learnt from, by")
    for name, errors in predict_durations(tiers, groups).items():
        figures = f"mean error {1000 * errors.mean:5.1f} ms, RMSE {1000 * errors.rmse:5.1f} ms"
        print(f"  {name:18} {figures}, correlation {errors.correlation:.3f}, {errors.within(0.2):.0%} within a fifth")

    _, audio, result = aligned[-1]
    laws = PhoneDurations.fit([other.phones for *_, other in aligned[:-1]])
    predicted = laws(result.phones, total=sum(phone.end - phone.start for phone in result.phones))
    print("\nthe last recording by a vocoder")
    for name, durations in (("its own", None), ("predicted", predicted)):
        frames = None if durations is None else at_durations(result.phones, durations, result.duration)
        try:
            distortion, pitch = resynthesis_errors(*read_audio(audio), frames=frames)
        except DependencyError as error:
            print(f"  MCD and F0 are left out: {error}")
            break
        figures = f"F0 RMSE {pitch.rmse:.1f} Hz, gross errors {pitch.gross:.1%}, voicing errors {pitch.voicing:.1%}"
        print(f"  {name:10} durations: MCD {distortion:.2f} dB, {figures}")
    if args.picture:
        picture(args.picture, *read_audio(audio), result.words, tiers)


def picture(file, wave, rate, words, tiers):
    """The last recording with its words; and the durations of the commonest phones of all."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, height_ratios=(2, 3))
    above.plot(torch.arange(0, len(wave), 8) / rate, wave[::8], linewidth=0.3)
    for number, word in enumerate(words):
        above.axvspan(word.start, word.end, color=f"C{1 + number % 2}", alpha=0.25, linewidth=0)
        middle, level = (word.start + word.end) / 2, float(wave.abs().max())
        above.text(middle, level, word.label, rotation=40, fontsize=7)
    above.set(xlabel="seconds", yticks=[], xlim=(0, len(wave) / rate))
    common = list(duration_statistics(tiers))[:16]
    lasting = [[1000 * (p.end - p.start) for tier in tiers for p in tier if p.label == name] for name in common]
    ink = {name: {"color": below.xaxis.label.get_color()} for name in ("boxprops", "whiskerprops", "capprops")}
    below.boxplot(lasting, showfliers=False, widths=0.6, medianprops={"color": "C1", "linewidth": 2}, **ink)
    below.set_xticks(range(1, len(common) + 1), common)
    below.set(ylabel="phone's duration (ms)", ylim=(0, None))
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
