"""Mel-frequency cepstra, as a Sphinx model's ``feat.params`` or an HTK model's ``config`` describes them.

An acoustic model only makes sense of features computed the way its training data was. So every number here
comes from the model's own file, and what the file asks for and this front end cannot do is refused.

References:
    Davis and Mermelstein (1980), "Comparison of parametric representations for monosyllabic word
    recognition", IEEE TASSP 28(4).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError
from semihmm.speech.acoustics.noise import remove_noise
from semihmm.types import Hertz, Seconds

_FULL_SCALE = 32768.0  # the models were trained on 16-bit integers
_SHORT, _SHORT_FLOOR = 0.016, 1e3  # seconds; a filter's output that 16-bit recordings of silence hardly reach
_FRAMES = 1000  # taken at a time: the spectra of a long recording need not exist
_DIFFERENCES = ((-1.0, 0.0, 0.0, 0.0, 1.0), (1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0))


@dataclass(frozen=True)
class FrontEnd:
    """Waveform in, one feature vector per 10 ms out.

    Pre-emphasis, Hamming window, spectrum, triangular mel filters, noise removal, log, cosine transform, lifter,
    cepstral mean subtraction, differences.

    The defaults are those that Sphinx assumes for what ``feat.params`` leaves out.

    Args:
        sample_rate: of the waveforms given.
        window: length of one analysis window.
        frame_rate: windows per second.
        pre_emphasis: weight of the previous sample that is subtracted from each.
        lower_edge: where the first mel filter starts.
        upper_edge: where the last mel filter ends.
        filters: number of mel filters.
        cepstra: number of cepstral coefficients kept, c0 included.
        transform: cosine transform: ``"dct"`` (orthonormal), ``"htk"`` or ``"legacy"``.
        lifter: length of the sine lifter; 0 for none.
        noise_removal: subtract a running noise estimate from the filters' outputs.
        mean_normalisation: subtract each coefficient's mean over the utterance.
        padded: whether there is one more window for what is left at the end, with zeros after it.
        emphasis_within: pre-emphasise each window by itself, as if the sample before its first were the same.
        exponent: of the magnitudes that the mel filters add up: 2 for powers.
        corners: triangles are ``"hertz"``: straight lines over frequency between bins of the spectrum, of equal area;
            or ``"mel"``: straight lines over mel, of equal height.
        offset: added to the filters' outputs before their log.
        floor: what the filters' outputs are taken to be at least.
        differences: the weights of each difference, an odd number: those of the frames before, of the frame itself, and
            of the frames after it. Beyond the ends, the first and the last frame are repeated.
        columns: which coefficients are kept, in this order, of cepstra and their differences side by side; None for
            all.

    Example:
        >>> import torch
        >>> from semihmm.speech import FrontEnd
        >>> FrontEnd(filters=25, lifter=22, transform="dct")(torch.randn(16000)).shape
        torch.Size([99, 39])
    """

    sample_rate: Hertz = 16000
    window: Seconds = 0.025625
    frame_rate: Hertz = 100
    pre_emphasis: float = 0.97
    lower_edge: Hertz = 133.33334
    upper_edge: Hertz = 6855.4976
    filters: int = 40
    cepstra: int = 13
    transform: str = "legacy"
    lifter: int = 0
    noise_removal: bool = False
    mean_normalisation: bool = True
    padded: bool = True
    emphasis_within: bool = False
    exponent: float = 2.0
    corners: str = "hertz"
    offset: float = 1e-4
    floor: float = 0.0
    differences: tuple[tuple[float, ...], ...] = _DIFFERENCES
    columns: tuple[int, ...] | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "FrontEnd":
        """The front end that a ``feat.params`` file asks for.

        Args:
            parameters: option names without their dash, and values, as `read_feature_parameters` returns them.

        Raises:
            DataError: an option asks for something that this front end does not compute.
        """
        only = {"feat": {"1s_c_d_dd"}, "agc": {"none"}, "varnorm": {"no"}, "cmn": {"batch", "current", "live", "none"}}
        only["transform"] = {"dct", "htk", "legacy"}
        for name, known in only.items():
            if name in parameters and parameters[name] not in known:
                raise DataError(
                    f"FrontEnd: feat.params asks for -{name} {parameters[name]}, but only {sorted(known)} can be "
                    f"computed here, and other features would not fit the model. Use a model with one of these."
                )
        asked: dict[str, object] = {}
        readers = {"lowerf": ("lower_edge", float), "upperf": ("upper_edge", float), "nfilt": ("filters", int)}
        readers |= {"ncep": ("cepstra", int), "lifter": ("lifter", int), "transform": ("transform", str)}
        readers |= {"samprate": ("sample_rate", float), "wlen": ("window", float), "frate": ("frame_rate", float)}
        readers |= {"alpha": ("pre_emphasis", float)}
        for option, (name, kind) in readers.items():
            if option in parameters:
                asked[name] = kind(parameters[option])
        asked["noise_removal"] = parameters.get("remove_noise", "no") == "yes"
        asked["mean_normalisation"] = parameters.get("cmn", "live") != "none"
        return cls(**asked)  # type: ignore[arg-type]

    def __call__(self, wave: Tensor) -> Tensor:
        """The features of one recording.

        Args:
            wave: ``(N,)`` samples in [-1, 1] at `sample_rate`.

        Returns:
            ``(T, F)``: cepstra and their differences, or those of them that are kept; T as in `frames`.

        Raises:
            ShapeError: ``wave`` is not one-dimensional.
            DataError: ``wave`` is shorter than one window.
        """
        cepstra = self.cepstrum(wave)
        if self.mean_normalisation:
            cepstra = cepstra - speech_mean(cepstra)
        return self.with_differences(cepstra)

    def with_differences(self, cepstra: Tensor) -> Tensor:
        """The features ``(T, F)`` of cepstra ``(T, cepstra)``."""
        features = with_differences(cepstra, self.differences)
        return features if self.columns is None else features[:, list(self.columns)]

    @property
    def reach(self) -> int:
        """How many frames before and after its own a feature looks at."""
        return max((len(weights) // 2 for weights in self.differences), default=0)

    def cepstrum(self, wave: Tensor) -> Tensor:
        """The cepstra ``(T, cepstra)`` of one recording, before mean subtraction and differences."""
        if wave.ndim != 1:
            raise ShapeError(
                f"FrontEnd: wave must be (N,), one channel, got {tuple(wave.shape)}. Average the channels."
            )
        size = self._window_samples
        if len(wave) < size:
            raise DataError(
                f"FrontEnd: the recording has {len(wave)} samples, but one window needs {size} "
                f"({self.window * 1000:.1f} ms). Nothing can be said about a shorter one."
            )
        energies = wave.new_empty(self.frames(len(wave)), self.filters)
        for begin in range(0, len(energies), _FRAMES):
            energies[begin : begin + _FRAMES] = self.energies(wave, begin)
        if self.noise_removal:
            energies = remove_noise(energies)
        return self.transformed(energies)

    def transformed(self, energies: Tensor) -> Tensor:
        """The cepstra ``(T, cepstra)`` of what the mel filters let through."""
        cepstra: Tensor = (energies + self.offset).clamp_(min=self.floor).log() @ self._cosines().to(energies)
        return cepstra

    def energies(self, wave: Tensor, begin: int) -> Tensor:
        """What the mel filters let through of up to `_FRAMES` frames from ``begin`` on."""
        size, shift = self._window_samples, self._shift_samples
        count = min(_FRAMES, self.frames(len(wave)) - begin)
        first, end = begin * shift, (begin + count - 1) * shift + size
        heard = _FULL_SCALE * wave[max(first - 1, 0) : end]
        emphasised = heard[1:] - self.pre_emphasis * heard[:-1]
        if not begin:  # the first sample has none before it
            emphasised = torch.cat([heard[:1], emphasised])
        padded = torch.nn.functional.pad(emphasised, (0, end - first - len(emphasised)))
        shape = torch.hamming_window(size, periodic=False, dtype=wave.dtype, device=wave.device)
        windows = padded.unfold(0, size, shift) * shape
        if self.emphasis_within:
            windows[:, 0] = (1 - self.pre_emphasis) * shape[0] * _FULL_SCALE * wave[begin * shift :: shift][:count]
        power = torch.fft.rfft(windows, self._fft_size).abs().pow(self.exponent)
        energies: Tensor = power @ self._mel_filters().to(power)
        return energies

    def short_cepstra(self, wave: Tensor, times: Tensor) -> Tensor:
        """Cepstra ``(..., cepstra)`` of windows of 16 ms around any times ``(...)``, in seconds.

        Without noise removal, and zero before the wave and after it.
        """
        size = round(_SHORT * self.sample_rate)
        first = (times * self.sample_rate).round().long() - size // 2
        index = first[..., None] + torch.arange(-1, size)
        inside = (index >= 0) & (index < len(wave))
        heard = _FULL_SCALE * torch.where(inside, wave[index.clamp(0, len(wave) - 1)], 0.0)
        emphasised = heard[..., 1:] - self.pre_emphasis * heard[..., :-1]
        shape = torch.hamming_window(size, periodic=False, dtype=wave.dtype)
        power = torch.fft.rfft(emphasised * shape, self._fft_size).abs().pow(self.exponent)
        energies, floor = power @ self._mel_filters().to(power), _SHORT_FLOOR ** (self.exponent / 2)
        cepstra: Tensor = (energies + floor).log() @ self._cosines().to(power)
        return cepstra

    def frames(self, samples: int) -> int:
        """How many feature vectors ``samples`` samples give: the full windows, and one for the rest if `padded`."""
        return 1 + self.padded + (samples - self._window_samples) // self._shift_samples

    def misses(self, sample_rate: Hertz) -> str | None:
        """What features lack of recordings with so few samples per second; None if nothing."""
        if sample_rate >= 2 * self.upper_edge:
            return None
        return (
            f"{sample_rate:g} Hz: the acoustic model listens up to {self.upper_edge:.0f} Hz, and there is nothing "
            f"above {sample_rate / 2:.0f}. Expect edges that are further off."
        )

    def boundary(self, frame: int) -> Seconds:
        """The time in seconds at which frame ``frame`` takes over from the one before it.

        A frame sees a whole window, and speaks for its centre. Two neighbours' claims meet half way between
        their centres, so frame t begins at ``t * shift + (window - shift) / 2``: with a window of 25.6 ms and a
        shift of 10 ms, 7.8 ms after the window's first sample, where Sphinx itself would put it. This follows
        from the window alone; nothing here was fitted to labels.
        """
        return frame / self.frame_rate + (self.window - 1 / self.frame_rate) / 2

    @property
    def _window_samples(self) -> int:
        return round(self.window * self.sample_rate)

    @property
    def _shift_samples(self) -> int:
        return round(self.sample_rate / self.frame_rate)

    @property
    def _fft_size(self) -> int:
        return 1 << (self._window_samples - 1).bit_length()

    @lru_cache(maxsize=8)  # noqa: B019 (small, and asked for with every block of a stream)
    def _mel_filters(self) -> Tensor:
        """``(bins, filters)``: triangles, as `corners` says."""
        spacing = self.sample_rate / self._fft_size
        lowest, highest = (float(_mel(torch.tensor(edge).double())) for edge in (self.lower_edge, self.upper_edge))
        corners = torch.linspace(lowest, highest, self.filters + 2, dtype=torch.float64)
        place = torch.arange(self._fft_size // 2 + 1, dtype=torch.float64)[:, None] * spacing
        if self.corners == "mel":
            place = _mel(place)
        else:
            corners = (700 * (10 ** (corners / 2595) - 1) / spacing + 0.5).floor() * spacing
        left, peak, right = corners[:-2], corners[1:-1], corners[2:]
        slopes = torch.minimum((place - left) / (peak - left), (right - place) / (right - peak)).clamp(min=0)
        return slopes if self.corners == "mel" else slopes * 2 / (right - left)

    @lru_cache(maxsize=8)  # noqa: B019 (likewise)
    def _cosines(self) -> Tensor:
        """``(filters, cepstra)``: the cosine transform and the lifter in one matrix."""
        order = torch.arange(self.cepstra, dtype=torch.float64)
        band = torch.arange(self.filters, dtype=torch.float64)[:, None]
        cosines = torch.cos(math.pi / self.filters * (band + 0.5) * order)
        if self.transform == "legacy":
            cosines = cosines / self.filters
            cosines[0] /= 2
        else:
            cosines = cosines * math.sqrt(2 / self.filters)
            if self.transform == "dct":
                cosines[:, 0] /= math.sqrt(2)
        if self.lifter:
            cosines = cosines * (1 + self.lifter / 2 * torch.sin(math.pi * order / self.lifter))
        return cosines


def with_differences(cepstra: Tensor, differences: Sequence[Sequence[float]] = _DIFFERENCES) -> Tensor:
    """Append differences to cepstra: ``(T, C)`` to ``(T, (1 + differences) * C)``.

    Args:
        cepstra: the first and the last frame are repeated beyond the ends.
        differences: the weights of each, as `FrontEnd` has them. The default is the stream layout that Sphinx calls
            ``1s_c_d_dd``: ``d[t] = c[t+2] - c[t-2]`` and ``dd[t] = (c[t+3] - c[t-1]) - (c[t+1] - c[t-3])``.
    """
    frames, reach = len(cepstra), max((len(weights) // 2 for weights in differences), default=0)
    padded = torch.cat([cepstra[:1].expand(reach, -1), cepstra, cepstra[-1:].expand(reach, -1)])
    found = cepstra.new_zeros(frames, (1 + len(differences)) * cepstra.shape[1])
    static, *blocks = found.split(cepstra.shape[1], dim=1)
    static.copy_(cepstra)
    for weights, block in zip(differences, blocks, strict=True):
        for begin, weight in enumerate(weights, reach - len(weights) // 2):
            if weight:
                block.add_(padded[begin : begin + frames], alpha=weight)
    return found


def speech_mean(cepstra: Tensor) -> Tensor:
    """Mean over the frames that hold any energy: c0 is negative only where the recording is digitally silent."""
    loud = cepstra[cepstra[:, 0] >= 0]
    return (loud if len(loud) else cepstra).mean(0)


def _mel(frequency: Tensor) -> Tensor:
    return 2595 * (1 + frequency / 700).log10()
