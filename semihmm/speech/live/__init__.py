"""Speech as it is said: from a microphone, or a file played as one, to words, keywords and phones in time."""

from semihmm.speech.live.clock import Clock, SimulatedClock, WallClock
from semihmm.speech.live.features import LiveFrontEnd
from semihmm.speech.live.keywords import KeywordSpotter
from semihmm.speech.live.phones import PhoneListener
from semihmm.speech.live.picture import LivePicture, LiveWindow
from semihmm.speech.live.resampling import Resampler
from semihmm.speech.live.script import ScriptFollower
from semihmm.speech.live.session import Latencies, Moment, Session
from semihmm.speech.live.sources import Block, FileSource, MicrophoneSource, SourceLost, reconnecting
from semihmm.speech.live.tasks import Found, Now

__all__ = [
    "Block",
    "Clock",
    "FileSource",
    "Found",
    "KeywordSpotter",
    "Latencies",
    "LiveFrontEnd",
    "LivePicture",
    "LiveWindow",
    "MicrophoneSource",
    "Moment",
    "Now",
    "PhoneListener",
    "Resampler",
    "ScriptFollower",
    "Session",
    "SimulatedClock",
    "SourceLost",
    "WallClock",
    "reconnecting",
]
