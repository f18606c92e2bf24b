"""What English says for what is written: a table that was written down by hand, not by the code."""

import pytest

from semihmm.speech import words_of

pytest.importorskip("num2words", reason="the speech extra is not installed")

TABLE = """
# whole numbers
0 | zero
7 | seven
13 | thirteen
21 | twenty one
100 | one hundred
101 | one hundred one
110 people | one hundred ten people
747 | seven hundred forty seven
1,000 | one thousand
1,234 | one thousand two hundred thirty four
4567 | four thousand five hundred sixty seven
10000 | ten thousand
12,345 | twelve thousand three hundred forty five
1,234,567 | one million two hundred thirty four thousand five hundred sixty seven
3,000,000,000 | three billion
007 | zero zero seven
-5 | minus five
−5 | minus five
-0.5 | minus zero point five
5, 6, 7. | five six seven
(12) | twelve
12345678901 | one two three four five six seven eight nine zero one
5 million | five million
2.5 billion years | two point five billion years
16 thousand | sixteen thousand
3bn | three billion
a million | a million
# decimals and versions
3.14 | three point one four
0.5 | zero point five
.5 | point five
.05 | point zero five
1,234.5 | one thousand two hundred thirty four point five
10.0 | ten point zero
version 2.0.1 | version two point zero point one
It is 5. | it is five
# years
1984 | nineteen eighty four
1066 | ten sixty six
1492 | fourteen ninety two
1900 | nineteen hundred
1905 | nineteen oh five
1999. | nineteen ninety nine
2000 | two thousand
2005 | two thousand five
2010 | twenty ten
2024 | twenty twenty four
1000 | one thousand
1500 men | fifteen hundred men
'99 | ninety nine
the '08 season | the oh eight season
1914-1918 | nineteen fourteen to nineteen eighteen
1914–1918 | nineteen fourteen to nineteen eighteen
1939 – 45 | nineteen thirty nine to forty five
pre-1914 | pre nineteen fourteen
1984's | nineteen eighty four's
# decades
1990s | nineteen nineties
1990's | nineteen nineties
the '80s | the eighties
the ‘80s | the eighties
the 80s | the eighties
'20s | twenties
1900s | nineteen hundreds
1910s | nineteen tens
2000s | two thousands
2010s | twenty tens
mid-1990s | mid nineteen nineties
1980s-era | nineteen eighties era
the late 1860s | the late eighteen sixties
# ordinals
1st | first
2nd | second
3rd | third
4th | fourth
11th | eleventh
12th | twelfth
20th | twentieth
21st | twenty first
100th | one hundredth
101st | one hundred first
1,000th | one thousandth
5TH | fifth
19th-century | nineteenth century
a 19th-century house | a nineteenth century house
2nd-hand | second hand
3rd-party | third party
21st-century | twenty first century
1st-class | first class
# hyphens
20-year-old | twenty year-old
well-known | well-known
10-15 | ten to fifteen
10–15 | ten to fifteen
3-2 | three to two
3-2-1 | three two one
$5–$10 | five dollars to ten dollars
COVID-19 | covid nineteen
F-16 | f sixteen
AK-47 | a k forty seven
AB-1234 | a b one two three four
U-2 | u two
one-off | one-off
10-km | ten kilometer
6-ft | six foot
5-year | five year
# letters and digits
AB1234 | a b one two three four
B52 | b fifty two
MP3 | m p three
mp3 | m p three
A4 | a four
H2O | h two o
H₂O | h two o
CO2 | c o two
R2D2 | r two d two
B2B | b two b
3D | three d
4K | four k
5k | five k
G7 | g seven
K9 | k nine
A380 | a three eight zero
covid19 | covid nineteen
win95 | win ninety five
X007 | x zero zero seven
QF32A | q f thirty two a
4x4 | four by four
1920x1080 | nineteen twenty by ten eighty
3 × 4 | three by four
# money
$5 | five dollars
$1 | one dollar
$1.50 | one dollar fifty cents
$0.99 | ninety nine cents
$0.01 | one cent
$19.99 | nineteen dollars ninety nine cents
$5.00 | five dollars
$1,000 | one thousand dollars
$1984 | one thousand nine hundred eighty four dollars
$5 million | five million dollars
$5.3 billion | five point three billion dollars
$5.3-billion | five point three billion dollars
$1 trillion | one trillion dollars
$20m | twenty million dollars
$20M | twenty million dollars
$3bn | three billion dollars
$50k | fifty thousand dollars
$2.5B | two point five billion dollars
-$5 | minus five dollars
$5-$10 | five dollars to ten dollars
£3 | three pounds
£1 | one pound
£2.50 | two pounds fifty pence
£1.01 | one pound one penny
£10m | ten million pounds
€5 | five euros
5€ | five euros
5 € | five euros
€1.20 | one euro twenty cents
€3 million | three million euros
¥100 | one hundred yen
₹500 | five hundred rupees
50¢ | fifty cents
US$5 | five u s dollars
A$20 | twenty australian dollars
NZ$1 | one new zealand dollar
20 USD | twenty dollars
$20-a-day | twenty dollars a-day
# units
10km | ten kilometers
10 km | ten kilometers
1 km | one kilometer
3.5km | three point five kilometers
70mph | seventy miles per hour
1 mph | one mile per hour
100 km/h | one hundred kilometers per hour
9.8 m/s | nine point eight meters per second
5kg | five kilograms
5 lbs | five pounds
1 lb | one pound
6ft | six feet
6 ft | six feet
5'10" | five foot ten
5’10” | five foot ten
12in | twelve inches
100m | one hundred meters
5 m | five meters
20 in the room | twenty in the room
500ml | five hundred milliliters
2 l | two liters
16GB | sixteen gigabytes
60Hz | sixty hertz
2.4 GHz | two point four gigahertz
100W | one hundred watts
5 kWh | five kilowatt hours
220V | two hundred twenty volts
10ms | ten milliseconds
15s | fifteen seconds
30 min | thirty minutes
3 hrs | three hours
12 m² | twelve square meters
5 km² | five square kilometers
100 sq ft | one hundred square feet
2 m³ | two cubic meters
10μm | ten micrometers
10µm | ten micrometers
5-10 km | five to ten kilometers
10km/20km | ten kilometers twenty kilometers
5 m^2 | five square meters
1984 km | one thousand nine hundred eighty four kilometers
# percent and degrees
5% | five percent
3.5% | three point five percent
100 % | one hundred percent
20%-30% | twenty percent to thirty percent
0.1% | zero point one percent
20°C | twenty degrees celsius
20 °C | twenty degrees celsius
70°F | seventy degrees fahrenheit
-5°C | minus five degrees celsius
20℃ | twenty degrees celsius
90° | ninety degrees
1° | one degree
# fractions
½ | one half
1/2 | one half
1/3 | one third
2/3 | two thirds
3/4 | three quarters
¾ | three quarters
¼ | one quarter
5/8 | five eighths
5½ | five and a half
5 1/2 | five and a half
2 3/4 | two and three quarters
1 1/8 | one and an eighth
3½ km | three and a half kilometers
24/7 | twenty four seven
9/11 | nine eleven
# times
10:30 | ten thirty
10:05 | ten oh five
5:00 | five o'clock
12:00 | twelve o'clock
17:45 | seventeen forty five
18:00 | eighteen hundred
10:30 am | ten thirty a m
10:30 a.m. | ten thirty a m
10:00 p.m. | ten p m
5pm | five p m
5 p.m. sharp | five p m sharp
11AM | eleven a m
5.30pm | five thirty p m
00:15 | zero fifteen
1:02:03 | one oh two oh three
1:50:00 | one fifty oh oh
3:1 | three to one
16:9 | sixteen to nine
John 3:16 | john three sixteen
# dates
January 5 | january fifth
January 5, 1999 | january fifth nineteen ninety nine
January 5th, 1999 | january fifth nineteen ninety nine
Jan. 5 | january fifth
Sept. 11, 2001 | september eleventh two thousand one
May 1 | may first
MARCH 15 | march fifteenth
July 4, 1776 | july fourth seventeen seventy six
December 1941 | december nineteen forty one
Dec. 1941 | december nineteen forty one
5 January 1999 | the fifth of january nineteen ninety nine
the 5 January | the fifth of january
5th of November | the fifth of november
the 5th of November | the fifth of november
25 Dec 2020 | the twenty fifth of december twenty twenty
12/25/1999 | december twenty fifth nineteen ninety nine
4/7/2010 | april seventh twenty ten
25/12/1999 | december twenty fifth nineteen ninety nine
25.12.1999 | december twenty fifth nineteen ninety nine
1999-12-25 | december twenty fifth nineteen ninety nine
May 5:30 | may five thirty
# telephones and the like
555-1234 | five five five one two three four
800-555-1234 | eight zero zero five five five one two three four
(800) 555-1234 | eight zero zero five five five one two three four
1-800-555-1234 | one eight zero zero five five five one two three four
+1 800-555-1234 | one eight zero zero five five five one two three four
123-45-6789 | one two three four five six seven eight nine
8005551234 | eight zero zero five five five one two three four
# roman numerals
Henry VIII | henry the eighth
Louis XIV, king | louis the fourteenth king
Elizabeth II | elizabeth the second
World War II | world war two
World War I | world war one
Chapter IV | chapter four
CHAPTER XIX | chapter nineteen
Part III | part three
for my Part I think | for my part i think
FOR MY PART I THINK | for my part i think
Act I | act one
Henry I think | henry i think
I | i
# signs
R&D | r and d
AT&T | a t and t
salt & pepper | salt and pepper
2 + 2 = 4 | two plus two equals four
5 ± 1 | five plus or minus one
6 ÷ 2 | six divided by two
x² | x squared
5 > 3 | five greater than three
#1 | number one
#winning | hashtag winning
No. 5 | number five
№ 5 | number five
no. | no
He said no. 5 left. | he said no five left
Nos. 3 and 4 | numbers three and four
§ 5 | section five
foo@bar.com | foo at bar dot com
www.example.com | w w w dot example dot com
https://example.org/a1 | example dot org slash a one
and/or | and or
w/o | without
&c. | et cetera
π | pi
# abbreviations
Dr. Smith | dr smith
Mr. and Mrs. Jones | mr and mrs jones
St. Louis | st louis
Prof. Moriarty | professor moriarty
Capt. Nemo | captain nemo
Gen. Lee | general lee
Lt. Col. Smith | lieutenant colonel smith
Rev. Green | reverend green
p. 12 | page twelve
pp. 12-15 | pages twelve to fifteen
vol. 3 | volume three
ch. 3 | chapter three
Fig. 2 | figure two
cats vs. dogs | cats versus dogs
U.S.A. | u s a
J. R. R. Tolkien | j r r tolkien
Ph.D. | p h d
e.g. this | e g this
# letters of other shapes
ＡＢＣ | abc
１２３ | one hundred twenty three
ﬁne | fine
Ⅳ | iv
٣ | three
café | café
nai\u0308ve | naïve
dis\u00adposed | disposed
zero\u200bwidth | zerowidth
\ufeffbegin | begin
\u202aleft\u202c | left
coöperate | coöperate
Schrödinger’s | schrödinger's
"""
CASES = [tuple(part.strip() for part in line.split("|")) for line in TABLE.splitlines() if "|" in line]


@pytest.mark.parametrize(("written", "spoken"), CASES, ids=[written for written, _ in CASES])
def test_what_is_written_is_read_as_a_reader_would(written, spoken):
    assert words_of(written) == spoken.split()


def test_the_table_is_long_and_says_everything_once():
    assert len(CASES) >= 250
    assert len({written for written, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    "after", ["", "st", "/3", ".1.2", "'5\"", ":30", "km", "%", "°C", "s", "x4", "-5", " pm", ",000"]
)
@pytest.mark.parametrize("before", ["", "$", "3/", "1 1/", "7:", "No. ", "-", "1,000,", "May "])
def test_a_number_of_any_length_is_read(before, after):
    words = words_of(before + "9" * 5000 + after)
    assert words.count("nine") > 4900
