"""How English reads numbers, amounts, dates, units and signs: rules over the number words of ``num2words``.

A rule is a pattern and what is said where it matches. They are tried in order at each place of a text, those that can
begin with its character; what no rule matches is punctuation. Where readers differ, an American's usual reading is
taken: no "and" inside a number, four digits in pairs (1984), serial numbers digit by digit.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from semihmm._optional import require

Say = Callable[[re.Match[str]], str]

_NUMBER = r"(?:(?:\d{1,3}(?:,\d{3}){1,20}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
LETTER = r"[^\W\d_][\u0300-\u036f]*"
WORD = rf"'?(?:{LETTER})+(?:['\-](?:{LETTER})+)*'?"
"""A word: letters, with hyphens and apostrophes inside and an apostrophe at either end."""

_MONTHS = "January February March April May June July August September October November December".split()
_MONTH_OF = {name[:3]: name for name in _MONTHS} | {name: name for name in _MONTHS} | {"Sept": "September"}
_MONTH = "(?:{})".format("|".join(sorted({form for m in _MONTH_OF for form in (m, m.upper())}, key=len, reverse=True)))

CURRENCIES = {  # one, many, hundredths
    "$": ("dollar", "dollars", "cent"),
    "£": ("pound", "pounds", "penny"),
    "€": ("euro", "euros", "cent"),
    "¥": ("yen", "yen", ""),
    "₹": ("rupee", "rupees", "paisa"),
    "₩": ("won", "won", ""),
    "₽": ("ruble", "rubles", "kopeck"),
    "¢": ("cent", "cents", ""),
}
_COUNTRIES = {"US": "u s", "AU": "australian", "A": "australian", "CA": "canadian", "C": "canadian"}
_COUNTRIES |= {"NZ": "new zealand", "HK": "hong kong"}
_MANY = {"penny": "pence", "paisa": "paise", "foot": "feet", "inch": "inches", "hertz": "hertz"}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "b": "billion", "bn": "billion", "tn": "trillion"}
_SCALE_WORDS = "hundred|thousand|million|billion|trillion"

_UNIT_TABLE = """
km: kilometer; m: meter; cm: centimeter; mm: millimeter; μm: micrometer; nm: nanometer; mi: mile; ft: foot; in: inch;
yd: yard; yds: yard; kg: kilogram; g: gram; mg: milligram; μg: microgram; lb: pound; lbs: pound; oz: ounce; l: liter;
L: liter; ml: milliliter; mL: milliliter; cl: centiliter; gal: gallon; s: second; sec: second; ms: millisecond;
μs: microsecond; min: minute; mins: minute; h: hour; hr: hour; hrs: hour; Hz: hertz; hz: hertz; kHz: kilohertz;
MHz: megahertz; GHz: gigahertz; W: watt; kW: kilowatt; MW: megawatt; GW: gigawatt; kWh: kilowatt hour; V: volt;
kV: kilovolt; mA: milliamp; kJ: kilojoule; cal: calorie; kcal: kilocalorie; Pa: pascal; hPa: hectopascal;
kPa: kilopascal; dB: decibel; kB: kilobyte; KB: kilobyte; MB: megabyte; mb: megabyte; GB: gigabyte; gb: gigabyte;
TB: terabyte; tb: terabyte; Mbps: megabit per second; Gbps: gigabit per second; ha: hectare; mph: mile per hour;
kph: kilometer per hour; km/h: kilometer per hour; m/s: meter per second; rpm: revolution per minute;
bpm: beat per minute; fps: frame per second; px: pixel; sq ft: square foot; ft^2: square foot; m^2: square meter;
km^2: square kilometer; cm^2: square centimeter; m^3: cubic meter; cm^3: cubic centimeter; USD: dollar; EUR: euro;
GBP: pound
"""
_UNITS = dict(item.split(": ") for item in " ".join(_UNIT_TABLE.split()).split("; "))
_AMBIGUOUS = {"in", "s", "h"}  # after a space, more likely words or names than units
_LONGEST_FIRST = sorted(map(re.escape, _UNITS), key=len, reverse=True)
_UNIT = f"(?:{'|'.join(_LONGEST_FIRST)})"
_APART = f"(?:{'|'.join(unit for unit in _LONGEST_FIRST if unit not in _AMBIGUOUS)})"

_ABBREVIATIONS = {
    "Adm": "admiral", "Ave": "avenue", "Capt": "captain", "Cmdr": "commander", "Col": "colonel", "Cpl": "corporal",
    "Dept": "department", "dept": "department", "Esq": "esquire", "Gen": "general", "Gov": "governor",
    "Hon": "honorable", "Lt": "lieutenant", "Maj": "major", "Messrs": "messieurs", "Ph.D": "p h d",
    "Prof": "professor", "Pvt": "private", "Rd": "road", "Rep": "representative", "Rev": "reverend", "Sen": "senator",
    "approx": "approximately", "vs": "versus",
}  # fmt: skip  # "Dr" and "St" are in the dictionary, with both of their readings
_BEFORE_NUMBER = {
    "ch": "chapter", "fig": "figure", "figs": "figures", "p": "page", "pp": "pages", "sec": "section", "vol": "volume",
    "vols": "volumes",
}  # fmt: skip

_COUNTED = "Act Appendix Article Book Canto Chapter Class Figure Grade Level Part Phase Scene Section Stage Table Type"
_COUNTED += " Volume War"
_REIGNING = "Alexander Benedict Catherine Charles Christian Clement Edward Elizabeth Ferdinand Francis Frederick George"
_REIGNING += " Gregory Gustav Henry Innocent Ivan James John Leo Louis Mary Napoleon Nicholas Otto Paul Peter Philip"
_REIGNING += " Pius Ramses Richard Robert Urban Victoria William"
_NEVER_ONE = {"part", "class", "type", "table", "stage", "level"}  # "for my Part I think"
_ROMAN = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"

_DIGITS = "zero one two three four five six seven eight nine".split()
_PARTS = {2: "half", 4: "quarter"}
_COMMON_PARTS = {*range(2, 11), 12, 15, 16, 20, 32, 50, 60, 64, 100, 1000}
SIGNS = {
    "&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "°": "degrees", "×": "times", "÷": "divided by",
    "±": "plus or minus", "§": "section", "©": "copyright", "‰": "per mille", "√": "square root of", "−": "minus",
    "≈": "about", "≤": "at most", "≥": "at least", "∞": "infinity",
}  # fmt: skip

_rules: dict[str, list[tuple[re.Pattern[str], Say]]] = {"0": [], "a": [], "$": []}


def say_in_english(line: str, place: int) -> tuple[int, str]:
    """Where the first rule that matches at a place of a text ends, and what it says; nothing for punctuation."""
    first = line[place]
    for pattern, say in _rules["0" if first.isdecimal() else "a" if first.isalpha() else "$"]:
        match = pattern.match(line, place)
        if match:
            return match.end(), say(match)
    return place + 1, ""


def _rule(kinds: str, *patterns: str) -> Callable[[Say], Say]:
    """Adds a rule for matches that begin with a digit (``0``), a letter (``a``) or a sign (``$``)."""

    def add(say: Say) -> Say:
        for kind in kinds:
            _rules[kind] += [(re.compile(pattern), say) for pattern in patterns]
        return say

    return add


@lru_cache(maxsize=4096)
def _in_words(number: int, form: str = "cardinal") -> str:
    num2words = require("num2words", extra="speech", purpose="Reading out the numbers in a transcript").num2words
    return re.sub(r",|-|\band\b", " ", num2words(number, to=form))


def _one_by_one(digits: str) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in digits if digit.isdecimal())


def _year(digits: str) -> str:
    """Digits in pairs, but for 2005 and the like."""
    number = int(digits)
    if len(digits) == 2:
        return f"oh {_DIGITS[number] if number else 'oh'}" if number < 10 else _in_words(number)
    return _in_words(number, "cardinal" if number % 1000 < 10 else "year")


def _number(digits: str, *, year: bool = False) -> str:
    """A number as written, with thousands separators and decimals."""
    whole, point, decimals = digits.replace(",", "").partition(".")
    if year and re.fullmatch(r"1\d{3}|20\d\d", digits):
        return _year(digits)
    if (len(whole) > 1 and whole[0] == "0") or (len(whole) > 9 and "," not in digits):
        said = _one_by_one(whole)
    else:
        said = _in_words(int(whole)) if whole else ""
    return f"{said} point {_one_by_one(decimals)}" if point else said


def _many(name: str) -> str:
    """The plural of a unit; of "mile per hour", that of its first word; of "kilowatt hour", of its last."""
    head, per, rest = name.partition(" per ")
    *before, last = head.split()
    last = _MANY.get(last) or (last if last.endswith("hertz") else last + "s")
    return " ".join([*before, last]) + per + rest


def _spelled(letters: str) -> str:
    return " ".join(letters)


@_rule(
    "a0",
    r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}",
    r"(?:https?://)?(?:[\w-]{1,64}\.){1,8}(?:com|org|net|edu|gov|info|io|tv|uk|de|fr|eu)\b(?!\.\w)(?:/[\w./-]*\w)?",
)
def _say_address(match: re.Match[str]) -> str:
    names = {".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", "+": "plus", "www": "w w w"}
    parts = re.findall(r"[^\W\d_]+|\d+|.", re.sub(r"^https?://", "", match[0]))
    return " ".join(_number(part) if part.isdecimal() else names.get(part, part) for part in parts)


@_rule(
    "$0",
    r"(?:\+?\d{1,2}[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?!\d)",
    r"\d{3}-\d{4}(?![\d-])|\d{3}-\d{2}-\d{4}(?!\d)",
)
def _say_telephone(match: re.Match[str]) -> str:
    return _one_by_one(match[0])


def _date(day: str, month: str, year: str | None) -> str:
    after = f" {_year(year)}" if year else ""
    return f"{month} {_in_words(int(day), 'ordinal')}{after}"


@_rule(
    "0",
    r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?!\d)",
    r"(?P<month>0?[1-9]|1[0-2])/(?P<day>[12]\d|3[01]|0?[1-9])/(?P<year>\d{4}|\d\d)(?!\d)",
    r"(?P<day>[12]\d|3[01]|0?[1-9])[./](?P<month>0?[1-9]|1[0-2])[./](?P<year>\d{4})(?!\d)",
)
def _say_date(match: re.Match[str]) -> str:
    return _date(match["day"], _MONTHS[int(match["month"]) - 1], match["year"])


@_rule("a", rf"({_MONTH})\.? ([12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?(?![\d\w%:/])(?![.,]\d)(?:,? (\d{{4}})(?![\d\w-]))?")
def _say_month_and_day(match: re.Match[str]) -> str:
    return _date(match[2], _MONTH_OF[match[1].capitalize()], match[3])


@_rule("0", rf"([12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)? (?:of )?({_MONTH})\b\.?(?:,? (\d{{4}})(?![\d\w-]))?")
def _say_day_and_month(match: re.Match[str]) -> str:
    month = _MONTH_OF[match[2].capitalize()]
    the = "" if match.string[max(match.start() - 4, 0) : match.start()].lower() == "the " else "the "
    return f"{the}{_in_words(int(match[1]), 'ordinal')} of {month}" + (f" {_year(match[3])}" if match[3] else "")


@_rule("a", rf"({_MONTH})\.(?= ?\d)")
def _say_month(match: re.Match[str]) -> str:
    return _MONTH_OF[match[1].capitalize()]


@_rule(
    "0",
    r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?:\s?([AaPp])\.?[Mm]\b\.?)?(?![\d:])",
    r"(\d{1,2})(?:\.([0-5]\d))?()\s?([AaPp])\.?[Mm]\b\.?",
)
def _say_time(match: re.Match[str]) -> str:
    hour, minute, second, half = match.groups()
    said = [_in_words(int(hour))]
    if minute == "00" and not second:
        said += [] if half else ["o'clock"] if 0 < int(hour) <= 12 else ["hundred"]
    said += [_year(part) for part in (minute, second) if part and (part != "00" or second)]
    return " ".join([*said, f"{half} m" if half else ""])


@_rule("0", r"(\d+):(\d+)(?![\d:])")
def _say_ratio(match: re.Match[str]) -> str:
    return f"{_number(match[1])} to {_number(match[2])}"


@_rule(
    "a$",
    rf"({'|'.join(_COUNTRIES)})?([$£€¥₹₩₽])\s?({_NUMBER})"
    rf"(?:(k|K|m|M|mn|b|B|bn|tn)(?!\w)|[\s-]({_SCALE_WORDS})\b)?",
)
def _say_money(match: re.Match[str]) -> str:
    return _money(match[3], match[2], _SCALES.get((match[4] or "").lower()) or match[5], match[1])


@_rule("0", rf"({_NUMBER})(?:(k|K|m|M|mn|b|B|bn|tn)|[\s-]?({_SCALE_WORDS}))?\s?([$£€¥₹₩₽¢])(?!\d)")
def _say_money_after(match: re.Match[str]) -> str:
    return _money(match[1], match[4], _SCALES.get((match[2] or "").lower()) or match[3])


def _money(amount: str, sign: str, scale: str | None, country: str | None = None) -> str:
    one, many, hundredth = CURRENCIES[sign]
    prefix = _COUNTRIES[country] + " " if country else ""
    if scale:
        return f"{_number(amount)} {scale} {prefix}{many}"
    whole, _, cents = amount.partition(".")
    if len(cents) != 2 or not hundredth:
        return f"{_number(amount)} {prefix}{one if amount == '1' else many}"
    said = [f"{_number(whole)} {prefix}{one if whole == '1' else many}"] if whole.strip("0") else []
    if int(cents):
        said.append(f"{_in_words(int(cents))} {hundredth if int(cents) == 1 else _many(hundredth)}")
    return " ".join(said) or f"zero {many}"


@_rule("0", r"(\d[\d,]{0,30})(?i:st|nd|rd|th)\b")
def _say_ordinal(match: re.Match[str]) -> str:
    return _in_words(int(match[1].replace(",", "")), "ordinal")


@_rule("$0", r"'?(\d00|\d?\d\d0|[2-9]0)'?s\b|'(\d0)'?s\b")
def _say_decade(match: re.Match[str]) -> str:
    *before, last = _number(match[1] or match[2], year=True).replace("-", " ").split()
    return " ".join([*before, last[:-1] + "ies" if last.endswith("y") else last + "s"])


@_rule("$", r"'(\d\d)(?!\d|\w)")
def _say_short_year(match: re.Match[str]) -> str:
    return _year(match[1])


@_rule("0", r"(\d{1,3})'\s?(\d{1,2})(?:\"|'')")
def _say_height(match: re.Match[str]) -> str:
    return f"{_in_words(int(match[1]))} foot {_in_words(int(match[2]))}"


@_rule(
    "0",
    rf"(?:(\d{{1,9}})[ -])?(\d{{1,9}})[/⁄](\d{{1,9}})(?![\d/⁄])(?:(-{_APART}|{_UNIT}|\s{_APART})(?![\w^]|/[A-Za-z]))?",
)
def _say_fraction(match: re.Match[str]) -> str:
    whole, above, below = match[1], int(match[2]), int(match[3])
    unit = _UNITS[match[4].strip(" -")] if match[4] else ""
    if below not in _COMMON_PARTS or (above >= below and "⁄" not in match[0]):
        said = f"{_in_words(above)} {_in_words(below)}"  # 24/7
    else:
        part = _PARTS.get(below) or _in_words(below, "ordinal")
        said = part if above == 1 else f"{_in_words(above)} {'halves' if below == 2 else part + 's'}"
        one = "a" if whole else "one"
        said = f"{'an' if whole and part[:2] == 'ei' else one} {part}" if above == 1 else said
    return f"{_in_words(int(whole))} and {said} {_many(unit) if unit else ''}" if whole else f"{said} {unit}"


@_rule("$", r"(?:(?<=\d)|(?<![^\W_]{2})(?<=[^\W\d_]))\^[23]")
def _say_power(match: re.Match[str]) -> str:
    return "squared" if match[0] == "^2" else "cubed"


@_rule("0", r"\d{1,9}(?:\.\d{1,9}){2,}(?!\d)")
def _say_version(match: re.Match[str]) -> str:
    return " point ".join(_in_words(int(part)) for part in match[0].split("."))


@_rule("0", rf"({_NUMBER})\s?°\s?(C|F)?(?!\w)")
def _say_degrees(match: re.Match[str]) -> str:
    name = {"C": " celsius", "F": " fahrenheit", None: ""}[match[2]]
    return f"{_number(match[1])} degree{'' if match[1] == '1' else 's'}{name}"


@_rule("0", rf"({_NUMBER})(-{_APART}|{_UNIT}|\s{_APART})(?![\w^]|/[A-Za-z])")
def _say_quantity(match: re.Match[str]) -> str:
    name = _UNITS[match[2].strip(" -")]
    alone = match[2].startswith("-") or match[1] == "1"
    return f"{_number(match[1])} {name if alone else _many(name)}"


@_rule("0", rf"({_NUMBER})(M|mn|bn|tn|[\s-](?:{_SCALE_WORDS}))(?!\w)")
def _say_scaled(match: re.Match[str]) -> str:
    return f"{_number(match[1])} {_SCALES.get(match[2].lower()) or match[2].strip(' -')}"


@_rule("0", r"\d+(?:\s?[x×]\s?\d+)+(?!\w)")
def _say_size(match: re.Match[str]) -> str:
    return " by ".join(_number(part, year=True) for part in re.findall(r"\d+", match[0]))


@_rule("a0", r"[A-Z]{1,3}-\d+[^\W_]*", r"(?=[^\W_]*\d)(?=[^\W_]*[^\W\d_])[^\W_]+")
def _say_serial(match: re.Match[str]) -> str:
    """Letters and digits: AB1234 in single ones, short numbers whole; B52, MP3, win95."""
    said, spelled = [], True
    for part in re.findall(r"\d+|[^\W\d_]+", match[0]):
        if part.isdecimal():
            short = len(part) < 3 and (part == "0" or part[0] != "0")
            said.append(_in_words(int(part)) if short else _one_by_one(part) if spelled else _number(part, year=True))
        else:
            spelled = len(part) < 3 or (part.isupper() and len(part) < 5) or not re.search("(?i)[aeiouy]", part)
            said.append(_spelled(part) if spelled else part)
    return " ".join(said)


@_rule("$0", rf"({_NUMBER})('s\b)?")
def _say_number(match: re.Match[str]) -> str:
    return _number(match[1], year=True) + (match[2] or "")


@_rule("$", r"(?<=[\d%])(?:-| ?– ?)(?=[$£€]?\d)")
def _say_to(match: re.Match[str]) -> str:
    begin, end = match.span()
    many = re.search(r"-\d+$", match.string[max(begin - 20, 0) : begin]) or re.match(r"\d+-", match.string[end:][:20])
    return "" if match[0] == "-" and many else "to"  # 3-2-1


@_rule("$", r"(?<![\w)%])[-−](?=[$£€]?\.?\d)")
def _say_minus(_: re.Match[str]) -> str:
    return "minus"


@_rule("$", r"#(?=\w)")
def _say_number_sign(match: re.Match[str]) -> str:
    return "number" if match.string[match.end()].isdecimal() else "hashtag"


@_rule("$", r"[<>](?= ?\d)")
def _say_comparison(match: re.Match[str]) -> str:
    return "less than" if match[0] == "<" else "greater than"


@_rule("$", r"&c\.?(?!\w)")
def _say_and_so_on(_: re.Match[str]) -> str:
    return "et cetera"


@_rule("$", "[{}]".format("".join(map(re.escape, SIGNS))))
def _say_sign(match: re.Match[str]) -> str:
    return SIGNS[match[0]]


@_rule("a", r"w/o?(?!\w)")
def _say_with(match: re.Match[str]) -> str:
    return "without" if match[0].endswith("o") else "with"


@_rule("a", r"[A-Z]{1,2}(?:&[A-Z]{1,2})+\b")
def _say_initials(match: re.Match[str]) -> str:
    return " and ".join(_spelled(part) for part in match[0].split("&"))


@_rule("a", r"({})\.?\s?(?=\d)".format("|".join(rf"(?i:{name})(?=\.)" for name in _BEFORE_NUMBER)))
def _say_before_number(match: re.Match[str]) -> str:
    return _BEFORE_NUMBER[match[1].lower()]


@_rule("a", r"N[oO](s?)\.\s?(?=\d)")
def _say_numbered(match: re.Match[str]) -> str:
    return "numbers" if match[1] else "number"  # "no. 5" may begin a new sentence


@_rule("a", r"({})\.(?!\w)|(vs)(?!\w)".format("|".join(map(re.escape, _ABBREVIATIONS))))
def _say_abbreviation(match: re.Match[str]) -> str:
    return _ABBREVIATIONS[match[1] or match[2]]


@_rule("a", rf"({'|'.join(_COUNTED.split())}|{_COUNTED.replace(' ', '|').upper()})\s({_ROMAN})(?![\w'.])")
def _say_counted(match: re.Match[str]) -> str:
    return _say_roman(match, "{} {}", "cardinal")


@_rule("a", rf"({'|'.join(_REIGNING.split())})\s({_ROMAN})(?![\w'.])")
def _say_reigning(match: re.Match[str]) -> str:
    return _say_roman(match, "{} the {}", "ordinal")


def _say_roman(match: re.Match[str], form: str, kind: str) -> str:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50}[letter] for letter in match[2]]
    value = sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
    is_pronoun = match[2] == "I" and (kind == "ordinal" or match[1].isupper() or match[1].lower() in _NEVER_ONE)
    return match[0] if is_pronoun else form.format(match[1], _in_words(value, kind))


@_rule("a$", WORD)
def _say_word(match: re.Match[str]) -> str:
    word = match[0]
    name = unicodedata.name(word, "") if len(word) == 1 else ""
    return name.split()[-1] if name.startswith("GREEK") else word
