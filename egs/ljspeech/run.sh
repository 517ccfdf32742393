#!/usr/bin/env bash
# LJSpeech (K. Ito and L. Johnson 2017, public domain): 24 hours of one voice.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# A stage that was stopped goes on where it was when the same command is started again.
set -euo pipefail
cd "$(dirname "$0")"

stage=0
stop_stage=6
corpus=downloads/LJSpeech-1.1   # where the corpus is, or shall be
codec=encodec_24khz
codec_dir=             # where EnCodec's weights lie; downloaded when empty
ar_config=../../recipes/ljspeech/ar.yaml
nar_config=../../recipes/ljspeech/nar.yaml
train_options=         # further options for both trainings
init=none              # bundled model or run directory that both trainings go on from
init_learning_rate=1e-4   # peak of the learning rate then
shard_size=1000
held_out=250           # utterances for validation, and as many for the test
test_utterances=200    # scored
recognizer=whisper-tiny.en
exp=exp

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
logs=$exp/log
train_sets=train valid_sets=valid test_set=test

if wanted 0; then
  step 0-download bash ../utils/download.sh https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2 "$corpus"
fi

if wanted 1; then
  step 1-prepare valle-prepare ljspeech "$corpus" data
  step 1-valid valle-prepare split data/all data/rest data/valid --utterances "$held_out"
  step 1-test valle-prepare split data/rest data/train data/test --utterances "$held_out"
  for set in train valid test; do
    step "1-validate-$set" valle-prepare validate "data/$set"
  done
fi

. ../utils/experiment.sh
