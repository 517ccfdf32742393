"""Weights, gradients and optimiser states parted among all ranks (FSDP2), for models that one GPU cannot hold."""

from __future__ import annotations

from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry


class Sharded(ModelParallelStrategy):
    """`--trainer.strategy sharded`: Lightning's strategy over all ranks, with whole checkpoints, so that
    a run may go on with another number of ranks, or none."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


StrategyRegistry.register("sharded", Sharded, description="FSDP2 over all ranks")
