"""Kaldi data directories: read, write, validate, fix and split.

The files of a data directory::

    wav.scp    <utterance or recording> <path>
    text       <utterance> <words>
    utt2spk    <utterance> <speaker>
    spk2utt    <speaker> <utterance> ...
    segments   <utterance> <recording> <start> <end>    optional; seconds; an end of -1 is the end of the recording
    utt2dur    <utterance> <duration>                   optional; seconds
    phones.ctm <utterance> 1 <start> <duration> <phone> optional; seconds; `sil` is a pause
    utt2prompt <utterance> <start> <end> <path>         optional; seconds; an untranscribed prompt, see `Utterance`

Every file is UTF-8, sorted by its first field in the C locale and, except for phones.ctm, has each key once. Other
files of Kaldi's may be in the directory: `check` compares them with these, and nothing changes them.
"""

from valle.data.kaldi.checker import Report, check
from valle.data.kaldi.directory import BACKUP, fix, read, validate, with_durations
from valle.data.kaldi.splits import sample_hours, sample_per_speaker, split, split_listed, split_utterances
from valle.data.kaldi.writer import write
from valle.data.utterance import MAX_DURATION, AudioSegment, Utterance

__all__ = [
    "BACKUP",
    "MAX_DURATION",
    "AudioSegment",
    "Report",
    "Utterance",
    "check",
    "fix",
    "read",
    "sample_hours",
    "sample_per_speaker",
    "split",
    "split_listed",
    "split_utterances",
    "validate",
    "with_durations",
    "write",
]
