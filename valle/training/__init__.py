"""Training with Lightning: `ARModule`, `NARModule`, `CodecModule` and `PreferenceModule`."""

from valle.training.ar import ARModule
from valle.training.codec import CodecModule
from valle.training.nar import NARModule
from valle.training.preference import PreferenceModule
from valle.training.sharded import Sharded

__all__ = ["ARModule", "CodecModule", "NARModule", "PreferenceModule", "Sharded"]
