"""Data directory -> Lhotse Shar: codes, phonemes, speaker and duration of every utterance, in shards.

A shard is written under a temporary name and renamed when whole, its marker last, so work that was stopped anywhere
goes on with the first shard that has no marker, and ranks share nothing but the folder.

    OUT/cuts.000000.jsonl.gz   Lhotse cuts: duration, speaker, text, custom["normalized"], the text as it is spoken,
                               custom["phonemes"], and custom["starts"], the frame each phoneme begins at, where the
                               data directory has phones.ctm, and custom["prompt"], the first codebook of its
                               untranscribed prompt, where the data directory has utt2prompt
    OUT/codes.000000.tar       (time, codebook) int16 arrays; where the data directory has phones.ctm and the codec's
                               first codes stand for phones, they are of the phones spoken
    OUT/shard.000000.json      marker: utterances, seconds, phoneme symbols
    OUT/config.json            data directory's fingerprint, codec, language, shard size
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valle import audio
from valle.codec import Codec
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment, symbol_starts
from valle.data.utterance import MAX_DURATION
from valle.errors import UserError
from valle.files import read_text, write_text
from valle.text import PADDING, Vocabulary, normalize, phonemize

BATCH = 16  # utterances encoded at a time


@dataclass(frozen=True)
class TokensConfig:
    """What a folder of tokens was made with; tokenizing goes on only with the same."""

    codec: str
    frame_rate: float
    num_codebooks: int
    codebook_size: int
    language: str
    shard_size: int
    utterances: int
    fingerprint: str

    @classmethod
    def read(cls, directory: Path) -> TokensConfig:
        """Raises UserError when the folder holds no tokens."""
        path = directory / "config.json"
        if not path.is_file():
            raise UserError(f"{directory}: holds no tokens; make them with valle-tokenize")
        try:
            return cls(**_read_json(path))
        except TypeError as error:
            raise UserError(f"{path}: is damaged or of another version; remove it and tokenize again") from error

    @property
    def shards(self) -> int:
        return -(-self.utterances // self.shard_size)


def _read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file that tokenizing wrote. Raises UserError when it is damaged."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); remove it and tokenize again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged (no JSON object); remove it and tokenize again")
    return content


def ranks() -> tuple[int, int]:
    """This process's rank and the number of ranks, as torchrun or SLURM tell; (0, 1) alone."""
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in os.environ and world in os.environ:
            try:
                return int(os.environ[rank]), int(os.environ[world])
            except ValueError as error:
                raise UserError(f"{rank} and {world}: must be whole numbers, as torchrun or SLURM set them") from error
    return 0, 1


def _fingerprint(utterances: list[kaldi.Utterance]) -> str:
    lines = "\n".join(f"{u.id} {u.path} {u.start} {u.end} {u.speaker} {u.text}" for u in utterances)
    lines += "".join(f"\n{u.id} {u.prompt}" for u in utterances if u.prompt is not None)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _marker(directory: Path, shard: int) -> Path:
    return directory / f"shard.{shard:06d}.json"


class Tokenizer:
    """Tokenizes one data directory; `run` does this rank's share of what is still missing."""

    def __init__(self, data: Path, output: Path, codec: Codec, language: str = "en-us", shard_size: int = 500) -> None:
        self.output, self.codec = output, codec
        self.utterances = kaldi.with_durations(kaldi.read(data))
        self.config = TokensConfig(
            codec=codec.name,
            frame_rate=codec.frame_rate,
            num_codebooks=codec.num_codebooks,
            codebook_size=codec.codebook_size,
            language=language,
            shard_size=shard_size,
            utterances=len(self.utterances),
            fingerprint=_fingerprint(self.utterances),
        )
        if (output / "config.json").is_file() and (before := TokensConfig.read(output)) != self.config:
            changed = next(key for key, value in asdict(self.config).items() if getattr(before, key) != value)
            raise UserError(f"{output}: was made with another {changed}; give another folder, or remove this one")

    def missing(self) -> list[int]:
        """The shards that are not there yet, of this rank."""
        rank, world = ranks()
        return [i for i in range(rank, self.config.shards, world) if not _marker(self.output, i).is_file()]

    def run(self) -> int:
        """Write the missing shards with a progress bar; returns how many utterances were tokenized."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        write_text(self.output / "config.json", json.dumps(asdict(self.config), indent=2) + "\n")
        shards = self.missing()
        parts = [self.utterances[i * self.config.shard_size :][: self.config.shard_size] for i in shards]
        columns = (TextColumn("tokenizing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            task = progress.add_task("", total=sum(map(len, parts)))
            for shard, part in zip(shards, parts, strict=True):
                self._write_shard(shard, part, lambda count: progress.advance(task, count))
        return sum(map(len, parts))

    def _write_shard(self, shard: int, utterances: list[kaldi.Utterance], advance) -> None:
        from lhotse.shar import SharWriter

        suffix = f".{shard:06d}"
        folder = self.output / f".shard{suffix}.partial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        symbols: set[str] = set()
        seconds = 0.0
        try:
            with SharWriter(folder, {"codes": "numpy"}, shard_size=None, shard_suffix=suffix) as writer:
                for start in range(0, len(utterances), BATCH):
                    batch = utterances[start : start + BATCH]
                    for cut in self._cuts(batch):
                        writer.write(cut)
                        symbols.update(cut.custom["phonemes"])
                        seconds += cut.duration
                    advance(len(batch))
            for file in sorted(folder.iterdir()):
                if file.suffix == ".gz":
                    _without_time(file)
                os.replace(file, self.output / file.name)
        except OSError as error:
            raise UserError(f"{self.output}: cannot be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        summary = {"utterances": len(utterances), "seconds": round(seconds, 3), "symbols": sorted(symbols)}
        write_text(_marker(self.output, shard), json.dumps(summary, ensure_ascii=False) + "\n")

    def _cuts(self, utterances: list[kaldi.Utterance]) -> list:
        from lhotse import MonoCut, SupervisionSegment

        rate = self.codec.sample_rate
        waveforms = [
            audio.read(u.path, rate, start=u.start, end=u.end, max_duration=MAX_DURATION).samples for u in utterances
        ]
        texts = []
        for u in utterances:
            try:
                texts.append(normalize(u.text, self.config.language))
            except UserError as error:
                raise UserError(f"utterance {u.id!r}: {error}") from error
        phonemes = phonemize(texts, self.config.language)
        middles = [(np.arange(-(-len(w) // self.codec.hop)) + 0.5) / self.codec.frame_rate for w in waveforms]
        spoken = [PhoneAlignment(u.phones).classes_at(m) for u, m in zip(utterances, middles, strict=True)]
        codes = self.codec.encode_batch(waveforms, rate, spoken)
        prompts = self._prompts(utterances)
        cuts = []
        for u, words, symbols, item in zip(utterances, texts, phonemes, codes, strict=True):
            duration = len(item) / self.codec.frame_rate
            line = SupervisionSegment(u.id, u.id, 0.0, duration, text=u.text, speaker=u.speaker)
            custom: dict[str, Any] = {"normalized": words, "phonemes": symbols}
            if u.phones:
                custom["starts"] = [round(s * self.codec.frame_rate) for s in symbol_starts(symbols, u.phones)]
            if u.id in prompts:
                custom["prompt"] = prompts[u.id]
            cut = MonoCut(u.id, 0.0, duration, 0, supervisions=[line], custom=custom)
            cuts.append(cut.attach_tensor("codes", item.numpy().astype(np.int16)))
        return cuts

    def _prompts(self, utterances: list[kaldi.Utterance]) -> dict[str, list[int]]:
        """First codebook of the utterances' untranscribed prompts, encoded without phones, as in synthesis."""
        rate = self.codec.sample_rate
        prompts = {u.id: u.prompt for u in utterances if u.prompt is not None}
        if not prompts:
            return {}
        waveforms = [audio.read(p.path, rate, start=p.start, end=p.end).samples for p in prompts.values()]
        codes = self.codec.encode_batch(waveforms, rate)
        return {key: item[:, 0].tolist() for key, item in zip(prompts, codes, strict=True)}


def _without_time(path: Path) -> None:
    """Let a gzip file not say when it was made (RFC 1952, section 2.3.1): the same data is the same bytes."""
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(bytes(4))


def read_markers(directory: Path) -> list[dict]:
    """What each shard holds. Raises UserError when tokenizing has not been finished."""
    config = TokensConfig.read(directory)
    missing = [i for i in range(config.shards) if not _marker(directory, i).is_file()]
    if missing:
        raise UserError(
            f"{directory}: {len(missing)} of {config.shards} shards are missing; run the same valle-tokenize again"
        )
    return [_read_json(_marker(directory, i)) for i in range(config.shards)]


def read_vocabulary(directories: list[Path]) -> Vocabulary:
    """Every phoneme symbol of the tokenized data."""
    symbols = {s for directory in directories for marker in read_markers(directory) for s in marker["symbols"]}
    return Vocabulary([PADDING, *sorted(symbols)])
