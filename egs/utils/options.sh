# Default options of the recipes that use experiment.sh. A run.sh sources this file first and then sets what differs.
stop_stage=6           # last stage to run
codec=encodec_24khz    # codec: a bundled name or a folder
codec_dir=             # folder of the codec's weights; empty: the cache, or a download
train_options=         # more options for both trainings, e.g. "--trainer.devices 8 --trainer.num_nodes 2"
init=none              # bundled model or run directory to initialize both models from; none: random weights
init_learning_rate=1e-4   # peak learning rate when initialized from a model
shard_size=1000        # utterances per shard of tokens
test_utterances=200    # utterances to synthesize and score
recognizer=whisper-tiny.en   # recognizer that computes WER
speaker_encoder=resemblyzer   # speaker encoder that computes similarity
exp=exp                # folder of the run
results=               # file for the table of scores and the commands that made it; empty: RESULTS.md in $exp
