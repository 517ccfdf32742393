"""Training with Lightning: `ARModule`, `NARModule`, `CodecModule`."""

from valle.training.codec import CodecModule
from valle.training.modules import ARModule, NARModule
from valle.training.sharded import Sharded

__all__ = ["ARModule", "CodecModule", "NARModule", "Sharded"]
