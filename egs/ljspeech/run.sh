#!/usr/bin/env bash
# LJSpeech (K. Ito and L. Johnson 2017, public domain): 24 hours of one voice.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# A stage that was stopped goes on where it was when the same command is started again.
set -euo pipefail
cd "$(dirname "$0")"

. ../utils/options.sh
stage=0
corpus=downloads/LJSpeech-1.1   # where the corpus is, or shall be
ar_config=../../recipes/ljspeech/ar.yaml
nar_config=../../recipes/ljspeech/nar.yaml
held_out=250           # utterances for validation, and as many for the test

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
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
