#!/usr/bin/env bash
# Your own corpus: copy this folder, then run  bash run.sh --list my/list.txt
# The list has a line `FILE|TEXT` or `FILE|SPEAKER|TEXT` per recording, with files relative to the folder of the list.
#
# Stages: 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# An interrupted stage continues when the same command is run again.
set -euo pipefail
cd "$(dirname "$0")"

. ../utils/options.sh
stage=1                # first stage to run
list=list.txt          # list of recordings
codec=small            # bundled codec, or encodec_24khz with recipes of full size
ar_config=../../recipes/mini/ar.yaml   # recipe of the AR model
nar_config=../../recipes/mini/nar.yaml   # recipe of the NAR model
init=small             # bundled model or run directory to initialize both models from; none: random weights
shard_size=500
held_out=              # utterances for validation, and as many for the test; empty: a tenth, from 1 to 100
test_utterances=10     # utterances to synthesize and score

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
train_sets=train
valid_sets=valid
test_set=test

if stage_selected 1; then
  step 1-prepare valle-prepare list "$list" data/all
  step 1-validate valle-prepare validate data/all
  count=$(wc -l <data/all/text)
  [ -n "$held_out" ] || held_out=$((count < 10 ? 1 : count < 1000 ? count / 10 : 100))
  if [ $((count - 2 * held_out)) -lt 2 ]; then
    echo "$0: $list has $count recordings, too few for --held-out $held_out, which holds out as many for validation and" \
      "for the test: at least 2 must remain for training" >&2
    exit 2
  fi
  step 1-valid valle-prepare split data/all data/rest data/valid --utterances "$held_out"
  step 1-test valle-prepare split data/rest data/train data/test --utterances "$held_out"
fi

. ../utils/experiment.sh
