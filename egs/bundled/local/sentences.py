"""Lines to be spoken: sentences of books and quotations that packages bring, and of the grammar of the spoken corpus.

    python local/sentences.py OUT.txt [--lines 12000] [--seed 0]

Debian's packages `fortunes` (quotations) and `bible-kjv-text` (the King James Version) are read where they are
installed; the grammar fills up what they leave. A line is some sentences of one source, 5 to 32 words, and no
sentence comes twice. The same packages and seed give the same lines.
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
_COOKIES = """cookie definitions education food fortunes goedel humorists kids literature medicine miscellaneous news
people pets platitudes riddles science songs-poems sports startrek wisdom work"""
COOKIES = _COOKIES.split()
_PLAIN = re.compile(r"[A-Z][A-Za-z',;: -]*[a-z][.!?]")  # can be read aloud without guessing
_SPELLED = re.compile(r"[A-Z]{2}|\b[b-hj-zB-HJ-NP-Z]\b|--")


def _readable(sentence: str) -> bool:
    return bool(4 <= len(sentence.split()) <= 28 and _PLAIN.fullmatch(sentence) and not _SPELLED.search(sentence))


def _parted(text: str) -> list[str]:
    """The readable sentences of a paragraph."""
    parts = re.split(r"(?<=[.!?])\s+(?=[\"A-Z])", " ".join(text.split()))
    return [sentence for part in parts if _readable(sentence := part.strip(' "'))]


def fortunes() -> list[str]:
    found: list[str] = []
    for name in COOKIES:
        if (path := FORTUNES / f"{name}.u8").is_file():
            for cookie in re.split(r"\n%\n", path.read_text(encoding="utf-8", errors="ignore")):
                found += _parted(re.split(r"\n\s*--", cookie)[0])
    return found


def king_james() -> list[str]:
    if not (bible := shutil.which("bible")):
        return []
    verses = subprocess.run(
        [bible, "-f", "gen1:1-rev22:21"], capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout
    return [s for verse in verses.splitlines() for s in _parted(verse.partition(" ")[2].replace("LORD", "Lord"))]


def lines(count: int, seed: int) -> list[str]:
    """`count` distinct lines, shuffled; books and quotations have at most a third each."""
    rng = random.Random(f"lines {seed}")
    said: set[str] = set()
    made: list[str] = []

    def join(sentences: list[str], most: int) -> None:
        rng.shuffle(sentences)
        line, before = "", len(made)
        length = rng.randint(5, 28)
        for sentence in sentences:
            if sentence in said or len(made) - before >= most:
                continue
            said.add(sentence)
            line = f"{line} {sentence}".strip()
            if len(line.split()) >= length:
                if len(line.split()) <= 32:
                    made.append(line)
                line, length = "", rng.randint(5, 28)

    join(fortunes(), count // 3)
    join(king_james(), count // 3)
    join(grammar_sentences(3 * count, f"bundled {seed}"), count - len(made))
    rng.shuffle(made)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--lines", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = lines(args.lines, args.seed)
    write_text(args.output, "\n".join(made) + "\n")
    print(f"{args.output}: {len(made)} lines, {len({w for line in made for w in line.lower().split()})} words")


if __name__ == "__main__":
    main()
