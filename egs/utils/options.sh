# Options that all recipes over experiment.sh have; a run.sh sources this first and then says what is different.
stop_stage=6
codec=encodec_24khz
codec_dir=             # where the codec's weights lie; empty: its own place, or its download
train_options=         # further options for both trainings, e.g. "--trainer.devices 8 --trainer.num_nodes 2"
init=none              # bundled model or run directory that both trainings go on from; none: from nothing
init_learning_rate=1e-4   # peak of the learning rate then
shard_size=1000
test_utterances=200    # scored
recognizer=whisper-tiny.en
speaker_encoder=resemblyzer
exp=exp
results=               # file that gets the table of scores, and what made it; empty: RESULTS.md of $exp
