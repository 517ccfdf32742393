"""Write texts for synthesizers: sentences of books and quotations from packages, and of the grammar of recipe `mini`.

    python local/sentences.py OUT.txt [--lines 12000] [--seed 0]

Debian's packages `fortunes` (quotations) and `bible-kjv-text` (the King James Version) are used if they are installed;
the grammar supplies the rest. A line consists of sentences of one source and has 5 to 32 words. No sentence occurs
twice. The same packages and seed give the same lines.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

from valle.files import write_text

# The grammar of the corpus that the recipe `mini` generates.
sys.path.append(str(Path(__file__).parents[2] / "mini" / "local"))
from grammar import sentences as grammar_sentences

FORTUNES = Path("/usr/share/games/fortunes")
# Files of quotations. The others of the package are offensive or not English prose.
_COOKIES = """cookie definitions education food fortunes goedel humorists kids literature medicine miscellaneous news
people pets platitudes riddles science songs-poems sports startrek wisdom work"""
COOKIES = _COOKIES.split()
# Words per line.
MAX_WORDS = 32
# Target number of words of a line, sampled from this range.
TARGET_WORDS = (5, 28)
# A sentence without digits, brackets or abbreviations: its pronunciation is unambiguous.
_PLAIN = re.compile(r"[A-Z][A-Za-z',;: -]*[a-z][.!?]")
# Words that are spelled, single letters, and dashes.
_SPELLED = re.compile(r"[A-Z]{2}|\b[b-hj-zB-HJ-NP-Z]\b|--")


def _is_readable(sentence: str) -> bool:
    """Whether a sentence has a usual length and an unambiguous pronunciation."""
    return bool(4 <= len(sentence.split()) <= 28 and _PLAIN.fullmatch(sentence) and not _SPELLED.search(sentence))


def _readable_sentences(text: str) -> list[str]:
    """The readable sentences of a paragraph."""
    parts = re.split(r"(?<=[.!?])\s+(?=[\"A-Z])", " ".join(text.split()))
    return [sentence for part in parts if _is_readable(sentence := part.strip(' "'))]


def fortunes() -> list[str]:
    """Read the sentences of the package `fortunes`; none if it is not installed."""
    result: list[str] = []
    for name in COOKIES:
        path = FORTUNES / f"{name}.u8"
        if path.is_file():
            for cookie in re.split(r"\n%\n", path.read_text(encoding="utf-8", errors="ignore")):
                # The author stands after two dashes.
                result += _readable_sentences(re.split(r"\n\s*--", cookie)[0])
    return result


def king_james() -> list[str]:
    """Read the sentences of the package `bible-kjv-text`; none if it is not installed."""
    bible = shutil.which("bible")
    if not bible:
        return []
    verses = subprocess.run(
        [bible, "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout
    return [
        sentence
        for verse in verses.splitlines()
        for sentence in _readable_sentences(verse.partition(" ")[2].replace("LORD", "Lord"))
    ]


class _LineBuilder:
    """Joins sentences to lines and leaves out those that occurred before."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.used: set[str] = set()

    def add(self, sentences: list[str], max_lines: int) -> None:
        """Add at most `max_lines` lines of shuffled sentences."""
        self.rng.shuffle(sentences)
        line = ""
        count_before = len(self.lines)
        target = self.rng.randint(*TARGET_WORDS)
        for sentence in sentences:
            if sentence in self.used or len(self.lines) - count_before >= max_lines:
                continue
            self.used.add(sentence)
            line = f"{line} {sentence}".strip()
            if len(line.split()) >= target:
                if len(line.split()) <= MAX_WORDS:
                    self.lines.append(line)
                line = ""
                target = self.rng.randint(*TARGET_WORDS)


def lines(count: int, seed: int) -> list[str]:
    """Create distinct lines.

    Args:
        count: Number of lines; quotations and the Bible supply at most a third each.
        seed: Seed.

    Returns:
        The lines in random order.
    """
    rng = random.Random(f"lines {seed}")
    builder = _LineBuilder(rng)
    builder.add(fortunes(), count // 3)
    builder.add(king_james(), count // 3)
    builder.add(grammar_sentences(3 * count, f"bundled {seed}"), count - len(builder.lines))
    rng.shuffle(builder.lines)
    return builder.lines


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="file to write, with one text per line")
    parser.add_argument("--lines", type=int, default=12_000, help="number of lines (default: 12000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the selection (default: 0)")
    args = parser.parse_args()
    result = lines(args.lines, args.seed)
    write_text(args.output, "\n".join(result) + "\n")
    print(f"{args.output}: {len(result)} lines, {len({w for line in result for w in line.lower().split()})} words")


if __name__ == "__main__":
    main()
