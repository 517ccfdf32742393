"""Abbreviations, titles, addresses, Roman numerals, and words in capitals."""

from __future__ import annotations

import re

from valle.text.normalization.numbers import cardinal, number, ordinal, roman
from valle.text.normalization.rule import Rule, choice, table

# Before a name, with or without a period.
TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miss", "Messrs": "Messieurs", "Dr": "Doctor", "Drs": "Doctors",
    "Prof": "Professor", "Sen": "Senator", "Rep": "Representative", "Gov": "Governor", "Pres": "President",
    "Gen": "General", "Col": "Colonel", "Maj": "Major", "Capt": "Captain", "Cpt": "Captain", "Cmdr": "Commander",
    "Lt": "Lieutenant", "Sgt": "Sergeant", "Cpl": "Corporal", "Pvt": "Private", "Adm": "Admiral", "Rev": "Reverend",
    "Fr": "Father", "Hon": "Honorable", "St": "Saint", "Ste": "Sainte", "Mt": "Mount", "Ft": "Fort", "Pt": "Point",
    "Supt": "Superintendent", "Insp": "Inspector", "Det": "Detective", "Amb": "Ambassador", "Atty": "Attorney",
}  # fmt: skip
# Titles that are also written without a period.
_BARE = {"Mr", "Mrs", "Ms", "Dr", "St", "Mt"}
# After a name or a number.
STREETS = {
    "St": "Street", "Ave": "Avenue", "Av": "Avenue", "Blvd": "Boulevard", "Dr": "Drive", "Rd": "Road", "Ln": "Lane",
    "Ct": "Court", "Pl": "Place", "Sq": "Square", "Hwy": "Highway", "Pkwy": "Parkway", "Ter": "Terrace",
    "Cir": "Circle", "Expy": "Expressway", "Bldg": "Building", "Rte": "Route", "Tpke": "Turnpike",
}  # fmt: skip
# With a period, in any position.
ABBREVIATIONS = {
    "e.g.": "for example", "i.e.": "that is", "vs.": "versus", "v.": "versus", "etc.": "et cetera", "et al.": "et al",
    "approx.": "approximately", "dept.": "department", "Dept.": "Department", "govt.": "government", "est.": "estimated",
    "Est.": "Established", "a.k.a.": "also known as", "Jr.": "Junior", "Sr.": "Senior", "Inc.": "Incorporated",
    "Ltd.": "Limited", "Corp.": "Corporation", "Co.": "Company", "Bros.": "Brothers", "Assn.": "Association",
    "Intl.": "International", "Natl.": "National", "Univ.": "University", "Inst.": "Institute", "Mfg.": "Manufacturing",
    "misc.": "miscellaneous", "max.": "maximum", "min.": "minimum", "avg.": "average", "temp.": "temperature",
    "tel.": "telephone", "Tel.": "Telephone", "apt.": "apartment", "Apt.": "Apartment", "appt.": "appointment",
    "ca.": "circa", "c.": "circa", "cf.": "compare", "viz.": "namely", "P.S.": "P S", "p.s.": "P S",
    "R.S.V.P.": "R S V P", "assoc.": "associate", "asst.": "assistant", "ed.": "edition", "eds.": "editors",
    "Ph.D.": "P H D", "M.D.": "M D", "B.A.": "B A", "M.A.": "M A", "B.Sc.": "B S C", "M.Sc.": "M S C", "D.D.S.": "D D S",
    "Esq.": "Esquire", "hr.": "hour", "hrs.": "hours", "yrs.": "years", "mins.": "minutes", "secs.": "seconds",
    "lbs.": "pounds", "oz.": "ounces", "Hwy.": "Highway", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road",
    "Pkwy.": "Parkway", "incl.": "including", "excl.": "excluding", "orig.": "originally", "resp.": "respectively",
    "ext.": "extension", "Mon.": "Monday", "Tues.": "Tuesday", "Tue.": "Tuesday", "Wed.": "Wednesday",
    "Thurs.": "Thursday", "Thu.": "Thursday", "Fri.": "Friday", "Sat.": "Saturday", "Wash.": "Washington",
    "Calif.": "California", "Mass.": "Massachusetts", "Conn.": "Connecticut", "Penn.": "Pennsylvania",
    "Okla.": "Oklahoma", "Fla.": "Florida", "Ariz.": "Arizona", "Tenn.": "Tennessee", "Minn.": "Minnesota",
    "Wis.": "Wisconsin", "Mich.": "Michigan", "Colo.": "Colorado",
}  # fmt: skip
# Abbreviations that do not end a sentence.
_INNER = {"e.g.", "i.e.", "vs.", "v.", "ca.", "c.", "cf.", "viz.", "approx."}
# Abbreviations that a name can follow, so that a capital after them does not mean the end of a sentence.
_BEFORE_NAMES = {
    "Jr.",
    "Sr.",
    "Inc.",
    "Co.",
    "Corp.",
    "Ltd.",
    "Bros.",
    "Univ.",
    "Dept.",
    "Ph.D.",
    "M.D.",
    "Blvd.",
    "Ave.",
}
# Abbreviations that are words at the end of a text.
_CAREFUL = {"v.", "c.", "ed.", "min.", "max.", "temp.", "est.", "Sat.", "Wash.", "Mass.", "hr.", "tel.", "ext.", "ca."}
WORDS = {
    "w/o": "without", "w/": "with ", "b/c": "because", "he/she": "he or she", "she/he": "she or he",
    "his/her": "his or her", "him/her": "him or her", "s/he": "she or he", "and/or": "and or", "n/a": "not applicable",
    "N/A": "not applicable", "c/o": "care of", "aka": "also known as", "ASAP": "A S A P", "vs": "versus",
    "WWII": "World War Two", "WWI": "World War One", "WW2": "World War Two", "WW1": "World War One",
    "ain't": "ain't", "approx": "approximately", "govt": "government", "TL;DR": "T L D R", "PhD": "P H D",
    "PhDs": "P H Ds", "etc": "et cetera",
}  # fmt: skip
# Before a number.
NUMBERED = {
    "No.": "number", "no.": "number", "Nos.": "numbers", "nos.": "numbers", "Vol.": "volume", "vol.": "volume",
    "vols.": "volumes", "p.": "page", "pp.": "pages", "pg.": "page", "Ch.": "chapter", "ch.": "chapter",
    "chap.": "chapter", "Sec.": "section", "sec.": "section", "Fig.": "figure", "fig.": "figure", "Figs.": "figures",
    "figs.": "figures", "Eq.": "equation", "eq.": "equation", "Art.": "article", "art.": "article", "Pt.": "part",
    "pt.": "part", "Ex.": "example", "ex.": "example", "Rte.": "Route", "Apt.": "Apartment", "Ste.": "Suite",
    "c.": "circa", "ca.": "circa", "§": "section", "§§": "sections", "ver.": "version", "ser.": "series",
}  # fmt: skip
REIGNING = table("""
    Henry Louis Charles George Elizabeth Edward Richard William James Philip Napoleon Alexander Catherine Nicholas
    Peter Paul John Pius Benedict Leo Gregory Clement Innocent Urban Frederick Ferdinand Francis Ivan Mary Ramses
    Ramesses Ptolemy Wilhelm Otto Thutmose Xerxes Darius Robert Harald Harold Olaf Gustav Christian Albert Leopold
    Juan Carlos Felipe Mehmed Murad Selim Suleiman Boniface Julius Sixtus Stephen Victor Emmanuel Umberto Haakon
    Margrethe Ludwig Maximilian Constantine Theodosius Cleopatra Celestine Adrian Alfonso Pedro Afonso Joseph David
    Kenneth Edgar Amenhotep Seti Baldwin Casimir Sigismund Vladimir Basil Heraclius Michael Artaxerxes Antiochus
    Philippe Harry
""")
_ACRONYMS = set(
    table("""
    NASA FBI CIA USA UK EU UN TV DVD CD PC DNA RNA CEO CFO CTO HIV BBC CNN NBC ABC CBS NATO AI ID FAQ DIY GPS
    HTML CSS PDF URL USB VIP ATM NBA NFL MLB NHL PhD BMW IBM HP MTV RSVP HR PR LA NY NYC UFO UV LED LCD SUV ER
    ICU MRI
""")
)
_FUNCTION_WORDS = set(
    table("""
    a an and are as at be but by do for from had has have he her his i if in is it me my no not of on or our she
    so that the their them they this to up us was we were what when where who will with you your go yes all can
    did don't
""")
)


def _title(match: re.Match[str]) -> str:
    """Dr. -> Doctor."""
    return f"{TITLES[match[1]]} "


def _street(match: re.Match[str]) -> str:
    """Paul St. -> Paul Street, with a period where it ends a sentence."""
    stop = "." if match[0].endswith(".") and re.match(r"\s*$|\s+[A-Z][a-z]", match.string[match.end() :]) else ""
    return f"{match[1]} {STREETS[match[2]]}{stop}"


def _abbreviation(match: re.Match[str]) -> str:
    """Words for an abbreviation, with a period where it ends a sentence; unchanged where it is another word."""
    text = match[0]
    after = match.string[match.end() :]
    words = ABBREVIATIONS[text]
    if text in _CAREFUL and re.match(r"\s*$", after):
        return text
    if text in ("v.", "c.", "ed.", "min.", "max.", "temp.", "est.", "Sat.", "Wash.", "Mass.", "ca."):
        # What has to follow each.
        followers = {
            "v.": r" [A-Z]", "c.": r" ?\d", "ca.": r" ?\d", "ed.": r"[,)]", "min.": r" [a-z]", "max.": r" [a-z]",
            "temp.": r" [a-z]", "est.": r" ?[\d$]", "Sat.": r",? ", "Wash.": r",", "Mass.": r",",
        }  # fmt: skip
        if not re.match(followers[text], after):
            return text
    ends = text not in _INNER and re.match(r"\s*$|\s+[\"']?[A-Z]", after)
    if ends and text in _BEFORE_NAMES:
        ends = re.match(r"\s*$", after)
    return words + ("." if ends else "")


def _counted(match: re.Match[str]) -> str:
    """Chapter IV -> Chapter four; `Part I am` is unchanged."""
    value = roman(match["roman"])
    pronoun = match["roman"] == "I" and not re.match(r"\s*$|\s*[.,;:)]", match.string[match.end() :])
    return match[0] if value is None or pronoun else f"{match['name']} {cardinal(value)}"


def _ruler(match: re.Match[str]) -> str:
    """Henry VIII -> Henry the eighth; `Henry I saw` is unchanged."""
    value = roman(match["roman"])
    after = match.string[match.end() :]
    pronoun = match["roman"] == "I" and not re.match(
        r"\s*$|\s*[.,;:)]|'s| (?:of|was|and|had|ruled|died|became)\b", after
    )
    if value is None or match["roman"] in ("C", "D", "L", "M") or pronoun:
        return match[0]
    return f"{match['name']} the {ordinal(value)}"


def _other_roman(match: re.Match[str]) -> str:
    """A name with a number: John Smith III -> John Smith the third, Rocky II -> Rocky two."""
    value = roman(match["roman"])
    if value is None:
        return match[0]
    if match["first"]:
        return f"{match['first']} {match['name']} the {ordinal(value)}"
    return f"{match['name']} {cardinal(value)}"


def _initials(match: re.Match[str]) -> str:
    """U.S. -> US, U.S.A. -> USA; the last period stays where it ends a sentence."""
    letters = match[0].replace(".", "")
    after = match.string[match.end() :]
    return letters + ("." if re.match(r"\s*$", after) else "")


def lower_capitals(text: str) -> str:
    """Convert a text all in capitals to lowercase, except for known acronyms.

    In other texts a word in capitals is an acronym, unless it is a common word of two letters or more.
    """
    words = re.findall(r"[A-Za-z][A-Za-z']*", text)
    capitals = [word for word in words if word.isupper() and len(word) > 1]
    shouted = [word for word in capitals if word not in _ACRONYMS]
    small = any(c.islower() for c in text)
    function = any(word.lower() in _FUNCTION_WORDS for word in words)
    if not small and len(words) > 1 and shouted and (function or len(shouted) > 3 or max(map(len, shouted)) > 5):
        return re.sub(r"[A-Za-z][A-Za-z']*", lambda m: m[0] if m[0] in _ACRONYMS or m[0] == "I" else m[0].lower(), text)

    def emphasis(match: re.Match[str]) -> str:
        word = match[0]
        is_word = word.lower() in _FUNCTION_WORDS - {"it", "us", "who", "or", "me", "as", "is", "am", "id", "la", "if"}
        return word.lower() if is_word and len(word) > 1 else word

    return re.sub(r"(?<![\w.'&-])[A-Z]{2,}(?![\w'&-])", emphasis, text) if capitals and small else text


_COUNTED = table("""
    Chapter Part Act Scene Volume Book Section Article Phase Type Stage Level Class War Bowl Title Appendix Figure
    Table Unit Lesson Episode Season Mark Grade Fantasy Schedule Block Group Tier Division Apollo Gemini Saturn
    Column Canto Psalm Exhibit Step Round Wave Category Zone Region Form Annex Clause Rocky Vatican Olympiad
    Wrestlemania Amendment
""")
_ROMAN = r"(?P<roman>[IVXLCDM]+)(?![\w'-])"
TITLE_RULES: list[Rule] = [
    Rule(rf"(?<![\w.])(?:{choice(NUMBERED)}) ?(?=\d|(?:[IVX]{{2,}}|[VX])\b)",
         lambda m: f"{NUMBERED[m[0].strip()]} "),
    # St. and Dr. are streets after a name or a number and not before another name, so streets come before titles.
    Rule(rf"(\d(?:st|nd|rd|th)|\b(?!The|And|Saint|On|At|In|To)[A-Z][a-z]+|\b\d+ [NSEW]\.?) ({choice(STREETS)})\b"
         r"(?:\.|(?=[,;)]|$| (?:NW|NE|SW|SE|in|is|was|and|at|to|near)\b))(?! (?:[A-Z][a-z]+'s|Louis|Paul|Petersburg))", _street),
    Rule(rf"(?<!\w)({choice(TITLES)})\. ?(?=[A-Z\"(])", _title),
    Rule(rf"(?<!\w)({choice(_BARE)}) (?=[A-Z][a-z])", _title),
    Rule(r"(?<!\w)(Mr|Mrs|Ms|Messrs|Dr|Prof)\. ?(?=and |& )", _title),
    Rule(r"\bD\.C\.(?=\s*$)", "DC."),
    Rule(r"(?<![\w.])(?:[A-Z]\.){2,}(?!\w)", _initials),
    Rule(r"(?<![\w.])([A-Z])\.(?= [A-Z])", r"\1"),
]  # fmt: skip
RULES: list[Rule] = [
    Rule(rf"(?<![\w/.])(?:{choice(w for w in WORDS if w != 'w/')})(?![\w/])\.?", lambda m: _word(m)),
    Rule(r"(?<!\w)w/ ?(?=\w)", "with "),
    Rule(rf"(?<![\w.])(?:{choice(ABBREVIATIONS)})(?!\w)", _abbreviation),
    Rule(rf"\b(?P<name>{choice(_COUNTED)}|{choice(w.lower() for w in _COUNTED)}|{choice(w.upper() for w in _COUNTED)}) {_ROMAN}",
         _counted),
    Rule(rf"\b(?P<name>{choice(REIGNING)}) {_ROMAN}", _ruler),
    Rule(r"\b(?:(?P<first>[A-Z][a-z]+) )?(?P<name>[A-Z][a-z]+),? (?P<roman>X{0,3}(?:VI{1,3}|I[VX]|I{2,3})|X{2,3}|XI?V)(?![\w'-])",
         _other_roman),
    Rule(r"(?<![\w-])(?P<roman>X{1,3}(?:IX|IV|V?I{1,3})|XI{1,3}|VI{1,3}|I{2,3}|IV|IX)(?![\w'-])",
         lambda m: number(str(roman(m["roman"])))),
    Rule(r"(?<=[A-Za-z])/(?=[A-Za-z])", " "),
]  # fmt: skip


def _word(match: re.Match[str]) -> str:
    """Words for a short form, with a period where it ends a sentence."""
    text = match[0].rstrip(".")
    stop = match[0][len(text) :] if re.match(r"\s*$|\s+[A-Z]", match.string[match.end() :]) else ""
    return WORDS[text] + stop
