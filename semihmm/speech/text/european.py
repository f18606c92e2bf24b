"""How German, French, Spanish, Italian, Dutch and Portuguese read numbers, amounts, dates, times, units and signs.

The rules are the same for all, and a `Grammar` holds what differs. Number words are those of ``num2words``; months,
units and the currencies of three-letter codes those of the CLDR, by ``babel``. Where readers differ, the plainest
reading is taken: times of 24 hours, years as the language says them, cents without their name.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from semihmm._optional import require
from semihmm.speech.text.english import WORD
from semihmm.speech.text.grammars import GRAMMARS, Grammar
from semihmm.speech.text.rules import Rule, compiled, first_match

_PURPOSE = "Reading out the numbers in a transcript"
_DATES = (
    r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?!\d)",
    r"(?P<day>0?[1-9]|[12]\d|3[01])(?P<sep>[./-]) ?(?P<month>0?[1-9]|1[0-2])(?P=sep) ?(?P<year>\d{4})(?!\d)",
)
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_MILLIONS = "millions?|milliards?|mill[oó]n|millones|milion[ei]|miliard[oi]|milhão|milhões"

_UNITS = {
    "km": "length-kilometer", "m": "length-meter", "cm": "length-centimeter", "mm": "length-millimeter",
    "kg": "mass-kilogram", "g": "mass-gram", "mg": "mass-milligram", "l": "volume-liter", "L": "volume-liter",
    "ml": "volume-milliliter", "cl": "volume-centiliter", "km/h": "speed-kilometer-per-hour",
    "m/s": "speed-meter-per-second", "m^2": "area-square-meter", "km^2": "area-square-kilometer",
    "m^3": "volume-cubic-meter", "ha": "area-hectare", "h": "duration-hour", "min": "duration-minute",
    "s": "duration-second", "°C": "temperature-celsius", "°F": "temperature-fahrenheit", "W": "power-watt",
    "kW": "power-kilowatt", "kWh": "energy-kilowatt-hour", "V": "electric-volt", "MB": "digital-megabyte",
    "GB": "digital-gigabyte", "Hz": "frequency-hertz", "kHz": "frequency-kilohertz", "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz",
}  # fmt: skip
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_FEMININE = frozenset(
    """stunde stunden minute minuten sekunde sekunden million millionen milliarde milliarden
    livre livres heure heures minutes seconde secondes couronne couronnes libra libras hora horas corona coronas
    sterlina sterline ora ore corone coroa coroas""".split()
)


def say_by_grammar(line: str, place: int, language: str) -> tuple[int, str] | None:
    """Where the first rule that matches at a place ends, and what it says; None where none does."""
    return first_match(_rules(language), line, place)


@lru_cache(maxsize=8192)
def _in_words(number: int, language: str, form: str = "cardinal") -> str:
    num2words = require("num2words", extra="speech", purpose=_PURPOSE).num2words
    said: str = num2words(number, lang=language, to=form)
    if language == "de":
        return re.sub("^ein(?=hundert|tausend)", "", said)
    return said.replace(" ", "") if (language, form) == ("nl", "year") else said.replace(",", "")


@lru_cache(maxsize=8)
def _rules(language: str) -> tuple[Rule, ...]:
    return compiled(_Reader(GRAMMARS[language]).rules())


class _Reader:
    """The rules of one language."""

    def __init__(self, grammar: Grammar) -> None:
        babel: Any = require("babel", extra="speech", purpose=_PURPOSE)
        self.grammar = grammar
        self.locale = babel.Locale(grammar.code, "PT" if grammar.code == "pt" else None)  # as num2words' pt
        self.format_unit = require("babel.units", extra="speech", purpose=_PURPOSE).format_unit
        self.months = [self.locale.months["format"]["wide"][month] for month in range(1, 13)]
        short = [self.locale.months["format"]["abbreviated"][month] for month in range(1, 13)]
        self.month_of = {name.rstrip(".").lower(): i for names in (short, self.months) for i, name in enumerate(names)}

    def rules(self) -> list[tuple[str, Callable[[re.Match[str]], str]]]:
        """Pattern and what is said where it matches, tried in this order."""
        grammar = self.grammar
        group = rf"(?:\d{{1,3}}(?:{grammar.thousands}\d{{3}})+|\d+)(?!\d)"
        number = rf"({group}(?:,\d+)?)"
        signs = "".join(map(re.escape, grammar.currencies))
        scale = "|".join(grammar.scales) or r"(?!)"
        rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [(date, self.say_date) for date in _DATES]
        if grammar.code == "de":
            names = "|".join(sorted(map(re.escape, self.month_of), key=len, reverse=True))
            rules.append((rf"(\d{{1,2}})\. ?((?i:{names}))\b\.?", self.say_german_day))
            rules.append((r"(\d{1,2})\.([0-5]\d)() Uhr\b", self.say_time))
            rules.append((r"(\d+)er(?![^\W-])", lambda m: f"{self.number(m[1], year=True)}er"))
        if grammar.code == "fr":
            rules.append((r"(\d{1,2}) ?h ?([0-5]\d)?()(?!\w)", self.say_time))
        return [
            *rules,
            (rf"(\d{{1,2}}):([0-5]\d)(?::([0-5]\d))?(?: (?:{grammar.clock[1]})\b)?(?!\d)", self.say_time),
            (rf"([{signs}]) ?{number}(?: ?({scale})(?!\w))?", lambda m: self.money(m[2], m[1], m[3])),
            (rf"{number} ?({scale})? ?([{signs}])(?!\d)", lambda m: self.money(m[1], m[3], m[2])),
            (rf"{number} ([A-Z]{{3}})(?![\w-])", self.say_currency_code),
            (r"(\d+) 1[/⁄]2(?!\d)", lambda m: grammar.and_half.format(self.number(m[1]))),
            (r"(\d{1,3})[/⁄](\d{1,4})(?![\d/⁄])", self.say_fraction),
            (r"(\d+):(\d+)(?![\d:])", lambda m: f"{self.number(m[1])} {grammar.ratio} {self.number(m[2])}"),
            (rf"(\d+)({grammar.ordinal})", self.say_ordinal),
            (rf"{number} ?({_UNIT})(?![\w^/])", self.say_quantity),
            (r"(\d+(?:\.\d+)+)(?![\d,])(?<!\.\d{3})", self.say_version),
            (number, lambda m: self.number(m[1], year=True)),
            (r"(?<=\d)[-–](?=\d)|(?<=\d) [-–] (?=\d)", lambda _: grammar.to),
            (r"(?<![\w)%])[-−](?=\d)", lambda _: grammar.minus),
            *(
                (rf"(?<!\w){pattern}(?!\w)", lambda _, said=said: said)
                for pattern, said in grammar.abbreviations.items()
            ),
            (rf"(?<!\w){grammar.century}", self.say_century),
            (rf"[{signs}]", lambda m: grammar.currencies[m[0]][1]),
            ("[{}]".format("".join(map(re.escape, grammar.signs))), lambda m: grammar.signs[m[0]]),
            (WORD, lambda m: m[0]),
        ]

    def number(self, written: str, *, year: bool = False) -> str:
        whole, comma, decimals = re.sub(rf"(?<=\d){self.grammar.thousands}(?=\d{{3}})", "", written).partition(",")
        if (len(whole) > 1 and whole[0] == "0") or len(whole) > 15:
            said = self.digits(whole)
        else:
            is_year = year and not comma and re.fullmatch(r"1[1-9]\d\d", written) and self.grammar.code in {"de", "nl"}
            said = self.words(int(whole), "year" if is_year else "cardinal")
        return f"{said} {self.grammar.point} {self.decimals(decimals)}" if comma else said

    def decimals(self, digits: str) -> str:
        if self.grammar.by_digit or len(digits) > 2 or not digits.strip("0"):
            return self.digits(digits)
        zeros = len(digits) - len(digits.lstrip("0"))
        return " ".join([*[self.words(0)] * zeros, self.words(int(digits))])

    def digits(self, digits: str) -> str:
        return " ".join(self.words(int(digit)) for digit in digits)

    def words(self, number: int, form: str = "cardinal") -> str:
        return _in_words(number, self.grammar.code, form)

    def agreeing(self, written: str, name: str) -> str:
        """A number, as it stands before the name of what is counted."""
        said, feminine = self.number(written), name.split()[0].lower() in _FEMININE
        agree = _AGREE.get(self.grammar.code)
        return agree(said, feminine) if agree and "," not in written else said

    def counted(self, written: str, name: str) -> str:
        """A number and what is counted: a million *of* them in Romance languages."""
        said = self.agreeing(written, name)
        if not re.search(rf"(?:{_MILLIONS})$", said):
            return f"{said} {name}"
        of = {"fr": "d'" if name[0] in "aeéhiou" else "de ", "de": "", "nl": "", "it": "di "}.get(
            self.grammar.code, "de "
        )
        return f"{said} {of}{name}"

    def money(self, amount: str, sign: str, scale: str | None) -> str:
        grammar = self.grammar
        one, many, cent = grammar.currencies[sign]
        if scale:
            names = next(names for pattern, names in grammar.scales.items() if re.fullmatch(pattern, scale))
            name = names[amount != "1"]
            joint = "" if name[-1] in "' " else " "
            return f"{self.agreeing(amount, name)} {name}{joint}{many}"
        whole, _, cents = amount.partition(",")
        if len(cents) != 2 or not cent:
            return self.counted(amount, one if amount == "1" else many)
        if not whole.strip("0"):
            return self.counted(str(int(cents)), cent)
        said = self.counted(whole, one if whole == "1" else many)
        return said + (f"{grammar.cents}{self.words(int(cents))}" if int(cents) else "")

    def say_currency_code(self, match: re.Match[str]) -> str:
        names = require("babel.numbers", extra="speech", purpose=_PURPOSE)
        if match[2] not in self.locale.currencies:
            return f"{self.number(match[1])} {match[2]}"
        return self.counted(
            match[1], names.get_currency_name(match[2], 1 if match[1] == "1" else 5, locale=self.locale)
        )

    def say_date(self, match: re.Match[str]) -> str:
        month = self.months[int(match["month"]) - 1]
        day, year = self.day(match, int(match["day"])), self.number(match["year"], year=True)
        return self.grammar.date.format(day=day, month=month, year=year)

    def day(self, match: re.Match[str], day: int) -> str:
        if self.grammar.code == "de":
            return self.words(day, "ordinal") + _german_ending(match, "r")
        first = {"fr": "premier", "it": "primo"}.get(self.grammar.code)
        return first if day == 1 and first else self.words(day)

    def say_german_day(self, match: re.Match[str]) -> str:
        return f"{self.day(match, int(match[1]))} {self.months[self.month_of[match[2].lower()]]}"

    def say_time(self, match: re.Match[str]) -> str:
        grammar, hour = self.grammar, int(match[1])
        name = {"fr": "heure", "es": "horas", "pt": "horas", "it": "ore"}.get(grammar.code, "Uhr")
        said = self.agreeing(str(hour), name)
        full = not int(match[2] or 0) and not match[3]
        pattern = grammar.full_hour if full else grammar.clock[0]
        minute = " ".join(self.words(int(part)) for part in (match[2], match[3]) if part)
        heures = "heure" if hour < 2 else "heures"
        horas = (" horas" if hour > 12 else "") if grammar.code == "es" else ("hora" if hour == 1 else "horas")
        return pattern.format(hour=said, minute=minute, heures=heures, horas=horas)

    def say_fraction(self, match: re.Match[str]) -> str:
        named = self.grammar.halves.get(f"{match[1]}/{match[2]}")
        return named or f"{self.number(match[1])} {self.number(match[2])}"

    def say_ordinal(self, match: re.Match[str]) -> str:
        code, after, number = self.grammar.code, match[2], int(match[1])
        said = self.words(number, "ordinal")
        if code == "de":
            return said + _german_ending(match, "")
        if code == "fr" and after in {"re", "ère", "nd", "nde"}:
            return {"re": "première", "ère": "première", "nd": "second", "nde": "seconde"}[after]
        if code == "es" and after.endswith("er"):
            return said.removesuffix("o")  # primer, tercer
        if code in {"es", "it", "pt"} and after.endswith("a"):
            return " ".join(re.sub("o$", "a", word) for word in said.split())
        return said

    def say_quantity(self, match: re.Match[str]) -> str:
        unit = _UNITS[match[2]]
        if (self.grammar.code, unit) == ("nl", "duration-hour"):  # which the CLDR lacks
            return f"{self.number(match[1])} uur"
        count = float(re.sub(rf"(?<=\d){self.grammar.thousands}(?=\d{{3}})", "", match[1]).replace(",", "."))
        named = str(self.format_unit(count, unit, "long", locale=self.locale)).replace("\xa0", " ")
        name = re.sub(r"^[\d.,\s\u202f]+", "", named)
        return self.counted(match[1], name)

    def say_version(self, match: re.Match[str]) -> str:
        return f" {self.grammar.dot} ".join(self.number(part) for part in match[1].split("."))

    def say_century(self, match: re.Match[str]) -> str:
        values = [_ROMAN_VALUES[letter] for letter in match[1]]
        value = sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
        said = self.words(value, self.grammar.century_form)
        return said if self.grammar.century_form == "ordinal" else match[0].replace(match[1], said)


def _german_ending(match: re.Match[str], alone: str) -> str:
    """Of an ordinal, by the word before it: the dritte, am dritten, alone dritter."""
    before = re.search(r"(\w+) $", match.string[: match.start()])
    word = before[1].lower() if before else ""
    if word in {"der", "die", "das", "diese", "dieses", "jede"}:
        return ""
    return "n" if word in "am vom zum im beim dem den des ab bis seit zur".split() else alone


def _agree_german(said: str, feminine: bool) -> str:
    return ("eine" if feminine else "ein") if said == "eins" else said


def _agree_french(said: str, feminine: bool) -> str:
    return re.sub(r"\bun$", "une", said) if feminine else said


def _agree_spanish(said: str, feminine: bool) -> str:
    if feminine:
        return re.sub(r"ientos\b", "ientas", re.sub(r"uno$", "una", said))
    return re.sub(r"uno$", "un", re.sub(r"veintiuno$", "veintiún", said))


def _agree_italian(said: str, feminine: bool) -> str:
    return ("una" if feminine else "un") if said == "uno" else said


def _agree_portuguese(said: str, feminine: bool) -> str:
    if not feminine:
        return said
    return re.sub(r"entos\b", "entas", re.sub(r"\bdois$", "duas", re.sub(r"\bum$", "uma", said)))


_AGREE: dict[str, Callable[[str, bool], str]] = {
    "de": _agree_german,
    "fr": _agree_french,
    "es": _agree_spanish,
    "it": _agree_italian,
    "pt": _agree_portuguese,
}
