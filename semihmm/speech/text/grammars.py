"""What German, French, Spanish, Italian, Dutch and Portuguese say for numbers and what stands beside them."""

from dataclasses import dataclass, field

_ROMAN = r"(?=[IVX])(?:X{0,2})(?:IX|IV|V?I{0,3})"


@dataclass(frozen=True)
class Grammar:
    """What one language says.

    Args:
        code: of the language, in ISO 639.
        thousands: what may stand between groups of three digits.
        point: said for the decimal comma.
        dot: said for the dot of a version.
        by_digit: whether decimals are said one by one, rather than as a number where they are two.
        minus, to, ratio: said before a negative number, between the ends of a range, and between the sides of 3:2.
        date: of a day, a month's name and a year.
        clock: of hours and minutes; the words after the time that go without saying again come second.
        full_hour: of hours alone.
        cents: between an amount and its cents.
        currencies: by sign: one, many, and the name of a hundredth.
        signs: by character.
        halves: by fraction.
        and_half: of a number and a half.
        abbreviations: by what is written, a pattern.
        scales: by what may stand before a sign of currency: one, many.
        ordinal: a pattern of what stands after a number to make it an ordinal.
        century: a pattern of a Roman numeral that is read as ``century_form``.
    """

    code: str
    thousands: str
    point: str
    dot: str
    minus: str
    to: str
    ratio: str
    date: str
    clock: tuple[str, str]
    full_hour: str
    cents: str
    currencies: dict[str, tuple[str, str, str]]
    signs: dict[str, str]
    halves: dict[str, str]
    and_half: str
    abbreviations: dict[str, str]
    scales: dict[str, tuple[str, str]] = field(default_factory=dict)
    by_digit: bool = False
    ordinal: str = r"(?!)"
    century: str = r"(?!)"
    century_form: str = "cardinal"


GRAMMARS = {
    grammar.code: grammar
    for grammar in (
        Grammar(
            "de", r"[. ]", "Komma", "Punkt", "minus", "bis", "zu", "{day} {month} {year}",
            ("{hour} Uhr {minute}", r"Uhr"), "{hour} Uhr", " ",
            {"€": ("Euro", "Euro", "Cent"), "$": ("Dollar", "Dollar", "Cent"), "£": ("Pfund", "Pfund", "Pence"),
             "¥": ("Yen", "Yen", "")},
            {"%": "Prozent", "&": "und", "+": "plus", "=": "gleich", "@": "at", "°": "Grad", "×": "mal",
             "÷": "geteilt durch", "±": "plus minus", "§": "Paragraph", "‰": "Promille"},
            {"1/2": "ein halb", "1/3": "ein Drittel", "2/3": "zwei Drittel", "1/4": "ein Viertel",
             "3/4": "drei Viertel"},
            "{}einhalb",
            {r"z\. ?B\.": "zum Beispiel", r"d\. ?h\.": "das heißt", r"u\. ?a\.": "unter anderem",
             r"usw\.": "und so weiter", r"bzw\.": "beziehungsweise", r"ca\.": "circa", r"Dr\.": "Doktor",
             r"Prof\.": "Professor", r"Nr\.": "Nummer", r"Mio\.": "Millionen", r"Mrd\.": "Milliarden"},
            {r"Mio\.?": ("Million", "Millionen"), r"Mrd\.?": ("Milliarde", "Milliarden")},
            by_digit=True,
            ordinal=r"\.(?= (?:Jahrhunderts?|Mal|Platz|Klasse|Tage?s?|Stock|Etage|Kapitels?|Weltkriegs?|Geburtstag)\b"
            r"| (?:bis|und|oder) \d{1,2}\.)",
        ),
        Grammar(
            "fr", r"[ ]", "virgule", "point", "moins", "à", "à", "{day} {month} {year}",
            ("{hour} {heures} {minute}", r"h(?:eures?)?"), "{hour} {heures}", " ",
            {"€": ("euro", "euros", "centimes"), "$": ("dollar", "dollars", "cents"),
             "£": ("livre", "livres", "pence"), "¥": ("yen", "yens", "")},
            {"%": "pour cent", "&": "et", "+": "plus", "=": "égale", "@": "arobase", "°": "degrés", "×": "fois",
             "÷": "divisé par", "±": "plus ou moins", "§": "paragraphe", "‰": "pour mille"},
            {"1/2": "un demi", "1/3": "un tiers", "2/3": "deux tiers", "1/4": "un quart", "3/4": "trois quarts"},
            "{} et demi",
            {r"M\.": "monsieur", r"MM\.": "messieurs", r"Mme": "madame", r"Mlle": "mademoiselle", r"Dr": "docteur",
             r"[nN]°": "numéro", r"etc\.": "et cetera", r"c\.-à-d\.": "c'est-à-dire"},
            {"M": ("million d'", "millions d'"), "Md": ("milliard d'", "milliards d'")},
            ordinal=r"(?:er|[èe]?re|i?[èe]me|nde?|e)\b", century=rf"({_ROMAN})(?:e|ème)(?= siècle)",
            century_form="ordinal",
        ),
        Grammar(
            "es", r"[. ]", "coma", "punto", "menos", "a", "a", "{day} de {month} de {year}",
            ("{hour} {minute}", r"h(?:oras?)?"), "{hour}{horas}", " con ",
            {"€": ("euro", "euros", "céntimos"), "$": ("dólar", "dólares", "centavos"),
             "£": ("libra", "libras", "peniques"), "¥": ("yen", "yenes", "")},
            {"%": "por ciento", "&": "y", "+": "más", "=": "igual a", "@": "arroba", "°": "grados", "×": "por",
             "÷": "dividido por", "±": "más menos", "§": "sección", "‰": "por mil"},
            {"1/2": "un medio", "1/3": "un tercio", "2/3": "dos tercios", "1/4": "un cuarto", "3/4": "tres cuartos"},
            "{} y medio",
            {r"Sr\.": "señor", r"Sra\.": "señora", r"Dr\.": "doctor", r"Dra\.": "doctora", r"Ud\.": "usted",
             r"Uds\.": "ustedes", r"EE\. ?UU\.": "Estados Unidos", r"[nN]\.?°": "número", r"núm\.": "número",
             r"etc\.": "etcétera"},
            {"M": ("millón de ", "millones de ")},
            ordinal=r"(?:\.?°(?! ?[CF])|\.?(?:er|[oa])\b)", century=rf"(?i:siglo) ({_ROMAN})(?!\w)",
        ),
        Grammar(
            "it", r"[. ]", "virgola", "punto", "meno", "a", "a", "{day} {month} {year}",
            ("{hour} e {minute}", r"ore"), "{hour}", " e ",
            {"€": ("euro", "euro", "centesimi"), "$": ("dollaro", "dollari", "centesimi"),
             "£": ("sterlina", "sterline", "penny"), "¥": ("yen", "yen", "")},
            {"%": "per cento", "&": "e", "+": "più", "=": "uguale", "@": "chiocciola", "°": "gradi", "×": "per",
             "÷": "diviso", "±": "più o meno", "§": "paragrafo", "‰": "per mille"},
            {"1/2": "un mezzo", "1/3": "un terzo", "2/3": "due terzi", "1/4": "un quarto", "3/4": "tre quarti"},
            "{} e mezzo",
            {r"Sig\.": "signor", r"Sig\.ra": "signora", r"Dott\.": "dottor", r"n\. ?(?=\d)": "numero",
             r"ecc\.": "eccetera"},
            {"mln": ("milione di ", "milioni di "), "mld": ("miliardo di ", "miliardi di ")},
            ordinal=r"°(?! ?[CF])|[oa]\b", century=rf"({_ROMAN})(?= secolo)", century_form="ordinal",
        ),
        Grammar(
            "nl", r"[.]", "komma", "punt", "min", "tot", "tegen", "{day} {month} {year}",
            ("{hour} uur {minute}", r"uur"), "{hour} uur", " ",
            {"€": ("euro", "euro", "cent"), "$": ("dollar", "dollar", "cent"), "£": ("pond", "pond", "pence"),
             "¥": ("yen", "yen", "")},
            {"%": "procent", "&": "en", "+": "plus", "=": "is", "@": "apenstaartje", "°": "graden", "×": "keer",
             "÷": "gedeeld door", "±": "plusminus", "§": "paragraaf", "‰": "promille"},
            {"1/2": "een half", "1/3": "een derde", "2/3": "twee derde", "1/4": "een kwart", "3/4": "drie kwart"},
            "{} en een half",
            {r"dhr\.": "de heer", r"mevr\.": "mevrouw", r"enz\.": "enzovoort", r"bijv\.": "bijvoorbeeld",
             r"nr\.": "nummer"},
            {"mln": ("miljoen", "miljoen"), "mld": ("miljard", "miljard")},
            ordinal=r"(?:ste|de|e)\b",
        ),
        Grammar(
            "pt", r"[. ]", "vírgula", "ponto", "menos", "a", "a", "{day} de {month} de {year}",
            ("{hour} e {minute}", r"h(?:oras?)?"), "{hour} {horas}", " e ",
            {"€": ("euro", "euros", "cêntimos"), "$": ("dólar", "dólares", "cêntimos"),
             "£": ("libra", "libras", "pence"), "¥": ("iene", "ienes", "")},
            {"%": "por cento", "&": "e", "+": "mais", "=": "igual a", "@": "arroba", "°": "graus", "×": "vezes",
             "÷": "dividido por", "±": "mais ou menos", "§": "parágrafo", "‰": "por mil"},
            {"1/2": "um meio", "1/3": "um terço", "2/3": "dois terços", "1/4": "um quarto", "3/4": "três quartos"},
            "{} e meio",
            {r"Sr\.": "senhor", r"Sra\.": "senhora", r"Dr\.": "doutor", r"Dra\.": "doutora", r"[nN]\.?°": "número",
             r"etc\.": "et cetera"},
            {"M": ("milhão de ", "milhões de ")},
            ordinal=r"(?:\.?°(?! ?[CF])|\.?[oa]\b)", century=rf"(?i:século) ({_ROMAN})(?!\w)",
        ),
    )
}  # fmt: skip
"""The languages that are read out by rules, by their ISO 639 codes."""
