"""Which files hold sound, by their ending."""

from semihmm._optional import require

# What files of sound are called, and what libsndfile calls the format: it may be built without some.
_FORMATS = {
    **dict.fromkeys((".wav", ".wave"), "WAV"),
    **dict.fromkeys((".sph", ".nist"), "NIST"),
    ".flac": "FLAC",
    **dict.fromkeys((".ogg", ".oga", ".opus"), "OGG"),
    **dict.fromkeys((".aiff", ".aif", ".aifc"), "AIFF"),
    ".mp3": "MP3",
    **dict.fromkeys((".au", ".snd"), "AU"),
    **{f".{name}": name.upper() for name in ("caf", "rf64", "w64")},
    **dict.fromkeys(
        (".m4a", ".m4b", ".aac", ".mp4", ".wma", ".amr", ".3gp", ".webm", ".mka", ".ape", ".dss", ".ra", ".shn", ".wv"),
        "",
    ),
}


def audio_suffixes() -> dict[str, bool]:
    """The endings of sound files, in lower case, and whether `read_audio` reads them here.

    Raises:
        DependencyError: ``soundfile`` is not installed.

    Example:
        >>> suffixes = audio_suffixes()
        >>> suffixes[".flac"], suffixes[".m4a"], ".txt" in suffixes
        (True, False, False)
    """
    known = require("soundfile", extra="speech", purpose="Reading audio files").available_formats()
    return {suffix: name in known for suffix, name in _FORMATS.items()}
