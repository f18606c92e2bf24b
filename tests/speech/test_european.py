"""What German, French, Spanish, Italian, Dutch and Portuguese say for what is written: tables written down by hand."""

import pytest

from semihmm.speech import tokens_of, words_of

pytest.importorskip("num2words", reason="the speech extra is not installed")
pytest.importorskip("babel", reason="the speech extra is not installed")

TABLES = {
    "de": """
1984 | neunzehnhundertvierundachtzig
2020 | zweitausendzwanzig
1.234.567 | eine million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig
3,14 | drei komma eins vier
0,5 % | null komma fünf prozent
-5 °C | minus fünf grad celsius
5,30 € | fünf euro dreißig
0,50 € | fünfzig cent
1 € | ein euro
$20 | zwanzig dollar
5 Mio. € | fünf millionen euro
100 CHF | hundert schweizer franken
am 3. Mai 2020 | am dritten mai zweitausendzwanzig
der 3. Mai | der dritte mai
3. Okt. 1990 | dritter oktober neunzehnhundertneunzig
am 24.12.1999 | am vierundzwanzigsten dezember neunzehnhundertneunundneunzig
2020-05-03 | dritter mai zweitausendzwanzig
14:30 | vierzehn uhr dreißig
um 1:00 Uhr | um ein uhr
1 h | eine stunde
100 km/h | hundert kilometer pro stunde
50 m² | fünfzig quadratmeter
10-20 | zehn bis zwanzig
1914–1918 | neunzehnhundertvierzehn bis neunzehnhundertachtzehn
das 19. Jahrhundert | das neunzehnte jahrhundert
im 2. Weltkrieg | im zweiten weltkrieg
vom 1. bis 3. Mai | vom ersten bis dritten mai
12.30 Uhr | zwölf uhr dreißig
10 000 € | zehntausend euro
die 90er-Jahre | die neunziger jahre
Er ist 5. Dann | er ist fünf dann
z. B. Dr. Müller | zum beispiel doktor müller
bzw. Nr. 5 | beziehungsweise nummer fünf
2½ | zweieinhalb
3/4 | drei viertel
3:2 | drei zu zwei
Version 2.0.1 | version zwei punkt null punkt eins
030 | null drei null
Straße & Co. | straße und co
""",
    "fr": """
1984 | mille neuf cent quatre-vingt-quatre
80 | quatre-vingts
71 | soixante et onze
1 234 567 | un million deux cent trente-quatre mille cinq cent soixante-sept
3,14 | trois virgule quatorze
2,05 | deux virgule zéro cinq
3,1416 | trois virgule un quatre un six
50 % | cinquante pour cent
-5 °C | moins cinq degrés celsius
5,30 € | cinq euros trente
0,50 € | cinquante centimes
1 € | un euro
5 M€ | cinq millions d'euros
1 000 000 € | un million d'euros
£21 | vingt et une livres
14/07/1789 | quatorze juillet mille sept cent quatre-vingt-neuf
le 1er mai 2020 | le premier mai deux mille vingt
1/5/2020 | premier mai deux mille vingt
14h30 | quatorze heures trente
14:30 | quatorze heures trente
1 h | une heure
21h15 | vingt et une heures quinze
1,5 km | un virgule cinq kilomètre
5 km | cinq kilomètres
100 km/h | cent kilomètres par heure
le XXe siècle | le vingtième siècle
la 1re fois | la première fois
la 2e fois | la deuxième fois
10-20 | dix à vingt
Mme Dupont et M. Martin | madame dupont et monsieur martin
n° 5 | numéro cinq
2½ | deux et demi
06 12 34 56 78 | zéro six douze trente-quatre cinquante-six soixante-dix-huit
l'eau, aujourd'hui | l'eau aujourd'hui
""",
    "es": """
1984 | mil novecientos ochenta y cuatro
21 | veintiuno
1.234.567 | un millón doscientos treinta y cuatro mil quinientos sesenta y siete
1 234 | mil doscientos treinta y cuatro
3,14 | tres coma catorce
50 % | cincuenta por ciento
-5 °C | menos cinco grados celsius
5,30 € | cinco euros con treinta
0,50 € | cincuenta céntimos
1 € | un euro
21 km | veintiún kilómetros
200 £ | doscientas libras
31 h | treinta y una horas
5 M€ | cinco millones de euros
1.000.000 € | un millón de euros
500 £ | quinientas libras
101 € | ciento un euros
$20 | veinte dólares
100 MXN | cien pesos mexicanos
3/5/2020 | tres de mayo de dos mil veinte
3 de mayo de 2020 | tres de mayo de dos mil veinte
a las 14:30 | a las catorce treinta
a la 1:30 | a la una treinta
a las 3:00 | a las tres
a las 15:00 | a las quince horas
1º | primero
2.ª | segunda
el 1er premio | el primer premio
el siglo XX | el siglo veinte
Sr. López y Sra. Gómez | señor lópez y señora gómez
n.º 5 | número cinco
10-20 | diez a veinte
2½ | dos y medio
""",
    "it": """
1984 | millenovecentottantaquattro
1 € | un euro
5,30 € | cinque euro e trenta
3,14 | tre virgola quattordici
1/5/2020 | primo maggio duemilaventi
14:30 | quattordici e trenta
50% | cinquanta per cento
5 km | cinque chilometri
il 2° piano | il secondo piano
XX secolo | ventesimo secolo
10 mln € | dieci milioni di euro
""",
    "nl": """
1984 | negentienhonderdvierentachtig
5,30 € | vijf euro dertig
3-5-2020 | drie mei tweeduizendtwintig
14:30 | veertien uur dertig
14:00 uur | veertien uur
50% | vijftig procent
2 h | twee uur
de 2e keer | de tweede keer
1.234 | duizendtweehonderdvierendertig
3,14 | drie komma veertien
""",
    "pt": """
1984 | mil novecentos e oitenta e quatro
2 £ | duas libras
5,30 € | cinco euros e trinta
3/5/2020 | três de maio de dois mil e vinte
14:30 | catorze e trinta
15:00 | quinze horas
50% | cinquenta por cento
5 km | cinco quilómetros
1.º | primeiro
3,14 | três vírgula catorze
""",
    "ru": """
1984 | одна тысяча девятьсот восемьдесят четыре
21 | двадцать один
""",
}
ROWS = [(code, *line.split(" | ")) for code, table in TABLES.items() for line in table.strip().splitlines()]


@pytest.mark.parametrize(("language", "written", "spoken"), ROWS, ids=[f"{code}-{text}" for code, text, _ in ROWS])
def test_what_is_written_is_said(language, written, spoken):
    assert words_of(written, language=language) == spoken.split()
    tokens = tokens_of(written, language=language)
    assert " ".join(token.written for token in tokens) == written
    assert [word for token in tokens for word in token.spoken] == spoken.split()
