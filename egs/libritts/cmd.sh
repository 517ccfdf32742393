# How steps are run: here, or through SLURM.
#   train_cmd="srun --gres=gpu:1 --cpus-per-task=8"     one GPU
#   tokenize_cmd="srun --ntasks=16"                     each task is a rank and writes its own shards
train_cmd=${train_cmd:-}
tokenize_cmd=${tokenize_cmd:-}
decode_cmd=${decode_cmd:-}
