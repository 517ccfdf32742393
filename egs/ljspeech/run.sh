#!/usr/bin/env bash
# LJSpeech (K. Ito and L. Johnson 2017, public domain): 24 hours of one voice.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# An interrupted stage continues when the same command is run again.
set -euo pipefail
cd "$(dirname "$0")"

. ../utils/options.sh
stage=0                # first stage to run
corpus=downloads/LJSpeech-1.1   # folder of the corpus, or to download it to
ar_config=../../recipes/ljspeech/ar.yaml   # recipe of the AR model
nar_config=../../recipes/ljspeech/nar.yaml   # recipe of the NAR model
held_out=250           # utterances for validation, and as many for the test

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
train_sets=train valid_sets=valid test_set=test

if stage_selected 0; then
  step 0-download bash ../utils/download.sh https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2 "$corpus"
fi

if stage_selected 1; then
  step 1-prepare valle-prepare ljspeech "$corpus" data
  step 1-valid valle-prepare split data/all data/rest data/valid --utterances "$held_out"
  step 1-test valle-prepare split data/rest data/train data/test --utterances "$held_out"
  for set in train valid test; do
    step "1-validate-$set" valle-prepare validate "data/$set"
  done
fi

. ../utils/experiment.sh
