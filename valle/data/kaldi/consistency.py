"""Comparison of the files of a data directory with one another."""

from __future__ import annotations

from dataclasses import replace

from valle.data.kaldi.recordings import DURATION_TOLERANCE
from valle.data.kaldi.table import Table, Tables, count_other_lines, parse_number

# Files of Kaldi's that this package does not read, by what their keys are.
UTTERANCE_FILES = ("feats.scp", "vad.scp", "utt2lang", "utt2uniq", "utt2num_frames", "utt2warp")
SPEAKER_FILES = ("cmvn.scp", "spk2gender", "spk2warp")
RECORDING_FILES = ("reco2dur", "reco2file_and_channel")


def compare_keys(tables: Tables, keys_of: str = "text") -> None:
    """Record every key that a file names and another file lacks.

    Args:
        tables: Files of the data directory; receive the problems.
        keys_of: File whose keys are the utterances.
    """
    utterances = set(tables.rows(keys_of))
    tables[keys_of].compare_keys(set(tables.rows("utt2spk")), "utt2spk")
    tables["utt2spk"].compare_keys(utterances, keys_of)
    if "segments" in tables:
        segments = tables.rows("segments")
        tables["segments"].compare_keys(utterances, keys_of)
        tables[keys_of].compare_keys(set(segments), "segments")
        recordings = {row.fields()[0] for row in segments.values() if row.value}
        tables["wav.scp"].compare_keys(recordings, "segments")
    else:
        tables["wav.scp"].compare_keys(utterances, keys_of)
        tables[keys_of].compare_keys(set(tables.rows("wav.scp")), "wav.scp")
    if "utt2dur" in tables:
        tables["utt2dur"].compare_keys(utterances, keys_of)
        tables[keys_of].compare_keys(set(tables.rows("utt2dur")), "utt2dur")


def check_speakers(tables: Tables) -> None:
    """Compare spk2utt with utt2spk, and the ids of utterances with the names of their speakers."""
    utt2spk = tables.rows("utt2spk")
    speakers = {key: row.value for key, row in utt2spk.items()}
    listed: set[str] = set()
    for speaker, row in tables.rows("spk2utt").items():
        for key in row.fields():
            listed.add(key)
            if speakers.get(key) != speaker:
                message = f"{key!r} is not an utterance of {speaker!r} in utt2spk"
                tables.add_problem("spk2utt", row.line, message)
    if "spk2utt" in tables:
        for key, row in utt2spk.items():
            if key not in listed:
                tables.add_problem("utt2spk", row.line, f"{key!r} is missing from spk2utt")
    # Kaldi's programs read utt2spk and spk2utt side by side, which needs both in the same order.
    without_prefix = [key for key, row in utt2spk.items() if not key.startswith(row.value)]
    if without_prefix:
        key = without_prefix[0]
        others = count_other_lines([utt2spk[key].line for key in without_prefix])
        message = f"{key!r} does not begin with its speaker, {utt2spk[key].value!r}{others}, as Kaldi requires"
        tables.add_problem("utt2spk", utt2spk[key].line, message, warning=True)


def check_other_files(tables: Tables, recording_lengths: dict[str, float], *, contents: bool) -> list[str]:
    """Compare the files that this package does not read. Their problems are warnings: the files are never changed.

    Args:
        tables: Files of the data directory; receive the problems.
        recording_lengths: Seconds of each recording whose length is available.
        contents: Whether to read the files, or only to list them.

    Returns:
        Names of these files.

    Raises:
        UserError: A file cannot be read.
    """
    expected_keys = {
        "utt2spk": (UTTERANCE_FILES, set(tables.rows("utt2spk"))),
        "spk2utt": (SPEAKER_FILES, {row.value for row in tables.rows("utt2spk").values()}),
        "wav.scp": (RECORDING_FILES, set(tables.rows("wav.scp"))),
    }
    present = []
    for source, (names, keys) in expected_keys.items():
        for name in names:
            if not (tables.directory / name).is_file():
                continue
            present.append(name)
            if not contents:
                continue
            table = Table(tables.directory / name)
            table.compare_keys(keys, source)
            missing = sorted(keys - table.rows.keys())
            if missing:
                others = count_other_lines([0] * len(missing))
                table.add_problem(None, f"{missing[0]!r} of {source} has no line{others}")
            if name == "reco2dur":
                _check_recording_durations(table, recording_lengths)
            tables.problems += [replace(problem, warning=True) for problem in table.problems]
    return present


def _check_recording_durations(table: Table, recording_lengths: dict[str, float]) -> None:
    """Compare reco2dur with the lengths of the audio files."""
    for key, row in table.rows.items():
        duration = parse_number(row.value)
        length = recording_lengths.get(key)
        if duration is None or duration <= 0:
            table.add_problem(row.line, f"{key!r}: {row.value!r} is not a number of seconds")
        elif length and abs(duration - length) > DURATION_TOLERANCE:
            table.add_problem(row.line, f"{key!r}: {row.value} s is wrong; the audio lasts {length:.3f} s")
