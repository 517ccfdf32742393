"""Weights, gradients and optimizer states sharded among all ranks (FSDP2), for models that do not fit one GPU."""

from __future__ import annotations

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry


class Sharded(ModelParallelStrategy):
    """`--trainer.strategy sharded`: Lightning's model parallel strategy over all ranks.

    Checkpoints are not sharded, so that a run can resume with another number of ranks.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Take all ranks as the data-parallel dimension."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


StrategyRegistry.register("sharded", Sharded, description="FSDP2 over all ranks")
