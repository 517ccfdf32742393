# How steps are run: here, or through SLURM. Set these in the environment, or put a cmd.sh of your own in this one's place.
#   train_cmd="srun --ntasks-per-node=8 --nodes=2 --gres=gpu:8 --signal=TERM@120"
#                                            a rank a GPU on two nodes, for `--train-options "--trainer.devices 8
#                                            --trainer.num_nodes 2"`; two minutes before the end of its time a run saves
#                                            itself, and the same command goes on
#   tokenize_cmd="srun --ntasks=16"          each task is a rank and writes its own shards
train_cmd=${train_cmd:-}
tokenize_cmd=${tokenize_cmd:-}
decode_cmd=${decode_cmd:-}
