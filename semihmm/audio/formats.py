"""Which files hold sound, by their ending."""

READ = tuple(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64 .sph .nist".split())
"""Endings of the files that `read_audio` reads."""

OTHER = tuple(".m4a .aac .mp4 .m4b .wma .amr .webm .mka .mkv .mov .ape .wv .ra .3gp .dsf".split())
"""Endings of files with sound in a format that it does not read."""
