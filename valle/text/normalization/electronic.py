"""Electronic text: web and mail addresses, file names, versions, IP addresses, hashtags, names with signs."""

from __future__ import annotations

import re

from valle.text.normalization.numbers import cardinal, digits, number
from valle.text.normalization.rule import Rule, choice, table

TOP_LEVEL = table("""
    com org net edu gov mil int info biz io ai dev app co uk us ca de fr eu au jp cn in it es nl ch se no nz tv me
    ly gg xyz online site tech
""")
FILES = table("""
    html htm pdf txt doc docx xls xlsx csv json yaml yml xml py js ts css cpp md jpg jpeg png gif svg mp3 mp4 wav
    flac zip tar gz exe sh log ini toml ipynb tex pptx ppt mov avi dll rtf epub
""")
_SIGNS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", ":": "colon", "@": "at", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde",
}  # fmt: skip
_SPELLED = set(
    table("""
    http https html htm www txt pdf mp3 mp4 css csv xml tv xls xlsx
""")
)
NAMES = {"C++": "C plus plus", "C#": "C sharp", "F#": "F sharp", "A*": "A star", "Q&A": "Q and A", "R&D": "R and D",
         "AT&T": "AT and T", "B&B": "B and B", "R&B": "R and B", "M&M": "M and M", "M&Ms": "M and Ms", "H&M": "H and M",
         "P&L": "P and L", "S&P": "S and P", ".NET": "dot net", "Node.js": "Node J S", "401(k)": "four oh one k",
         "403(b)": "four oh three b", "501(c)(3)": "five oh one c three", "Wi-Fi": "Wi-Fi"}  # fmt: skip


def spoken(text: str) -> str:
    """Return an address in words, piece by piece: a.b/c-1 -> a dot b slash c dash one."""
    words = []
    for piece in re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]", text):
        if piece.isdigit():
            short = len(piece) <= 2 and not (len(piece) == 2 and piece[0] == "0")
            words.append(cardinal(int(piece)) if short else digits(piece))
        elif piece.isalpha():
            words.append(" ".join(piece.upper()) if piece.lower() in _SPELLED else piece)
        else:
            words.append(_SIGNS.get(piece, ""))
    return " ".join(word for word in words if word)


def _url(match: re.Match[str]) -> str:
    """https://example.com/a -> example dot com slash a; punctuation after it remains."""
    address = re.sub(r"^https?://", "", match[0]).rstrip("/")
    end = re.search(r"[.,;:!?]+$", address)
    tail = end[0] if end else ""
    return spoken(address[: len(address) - len(tail)]) + tail


def _version(match: re.Match[str]) -> str:
    """v1.2.3 -> version one point two point three."""
    return ("version " if match[1] else "") + " point ".join(number(part) for part in match[2].split("."))


_DOMAIN = rf"(?:[A-Za-z0-9](?:[\w-]*[A-Za-z0-9])?\.)+(?:{choice(TOP_LEVEL)})(?:\.(?:uk|au|jp|nz|br))?(?![\w-])"
RULES: list[Rule] = [
    Rule(rf"(?<![\w.])(?:{choice(NAMES)})(?!\w)", lambda m: NAMES[m[0]]),
    Rule(r"https?://[^\s<>\"]+|www\.[^\s<>\"]+", _url, re.IGNORECASE),
    Rule(rf"(?<![\w.])[\w.+-]+@{_DOMAIN}", lambda m: spoken(m[0])),
    Rule(rf"(?<![\w.@-]){_DOMAIN}(?::\d+)?(?:/[^\s<>\",;!?]*[\w/])?", _url),
    Rule(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)", lambda m: " dot ".join(_octet(p) for p in m[0].split("."))),
    Rule(rf"(?<![\w.])~?/?[\w./-]*\w\.(?:{choice(FILES)})(?!\w)", lambda m: spoken(m[0])),
    Rule(rf"(?<!\w)\.({choice(FILES)})(?!\w)", lambda m: spoken(m[0])),
    Rule(r"(?<!\w)([vV]\.? ?)(\d+(?:\.\d+)+)(?!\w)", _version),
    Rule(r"(?<![\w.,-])()(\d+(?:\.\d+){2,})(?!\w)", _version),
    Rule(r"(?<!\w)#([A-Za-z]\w*)", lambda m: f"hashtag {_camel(m[1])}"),
    Rule(r"(?<!\w)@([A-Za-z]\w*)", lambda m: f"at {spoken(m[1])}"),
    Rule(r"(?<!\w)#(?=\d)", "number "),
    Rule(r"(?<!\w)@ ?(?=\d)", "at "),
    Rule(r"(\w) ?& ?(?=\w)", r"\1 and "),
    Rule(r"(?<=\w) @ (?=\w)", " at "),
]


def _octet(text: str) -> str:
    """A number of an IP address: 16 -> sixteen, 168 -> one six eight."""
    return cardinal(int(text)) if len(text) < 3 else digits(text)


def _camel(word: str) -> str:
    """ThrowbackThursday -> Throwback Thursday."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", word)
