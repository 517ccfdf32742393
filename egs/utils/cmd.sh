# Commands that run the steps: empty to run them on this machine, or for example SLURM's srun. Set them in the
# environment, or replace this file in the folder of a recipe.
#
#   train_cmd="srun --ntasks-per-node=8 --nodes=2 --gres=gpu:8 --signal=TERM@120"
#     One rank per GPU on two nodes, with `--train-options "--trainer.devices 8 --trainer.num_nodes 2"`. Two minutes
#     before the time limit the run saves a checkpoint, from which the same command continues.
#   tokenize_cmd="srun --ntasks=16"
#     Each task is a rank and writes its own shards.
train_cmd=${train_cmd:-}
tokenize_cmd=${tokenize_cmd:-}
decode_cmd=${decode_cmd:-}
