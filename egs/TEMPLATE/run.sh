#!/usr/bin/env bash
# Your own corpus: copy this folder, then  bash run.sh --list my/list.txt
# The list has a line `FILE|TEXT`, or `FILE|SPEAKER|TEXT`, a recording; files are seen from the list's folder.
#
# Stages: 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# A stage that was stopped goes on where it was when the same command is started again.
set -euo pipefail
cd "$(dirname "$0")"

stage=1
stop_stage=6
list=list.txt
codec=mini             # or encodec_24khz, with recipes of its size
codec_dir=
ar_config=../../recipes/mini/ar.yaml
nar_config=../../recipes/mini/nar.yaml
train_options=         # further options for both trainings, e.g. "--trainer.max_steps 2000"
init=mini              # bundled model or run directory that both trainings go on from; none: from nothing
init_learning_rate=1e-4   # peak of the learning rate then
shard_size=500
held_out=10            # utterances for validation, and as many for the test
test_utterances=10     # scored
recognizer=whisper-tiny.en
exp=exp

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
logs=$exp/log
train_sets=train valid_sets=valid test_set=test

if wanted 1; then
  step 1-prepare valle-prepare list "$list" data/all
  step 1-validate valle-prepare validate data/all
  step 1-valid valle-prepare split data/all data/rest data/valid --utterances "$held_out"
  step 1-test valle-prepare split data/rest data/train data/test --utterances "$held_out"
fi

. ../utils/experiment.sh
