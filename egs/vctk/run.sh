#!/usr/bin/env bash
# VCTK 0.92 (J. Yamagishi et al. 2019, CC BY 4.0): 44 hours by 110 speakers of many accents of English.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# An interrupted stage continues when the same command is run again.
set -euo pipefail
cd "$(dirname "$0")"

. ../utils/options.sh
stage=0                # first stage to run
corpus=downloads/VCTK   # folder of the corpus, or to download it to
ar_config=../../recipes/vctk/ar.yaml   # recipe of the AR model
nar_config=../../recipes/vctk/nar.yaml   # recipe of the NAR model
held_out=5             # speakers for validation, and as many for the test

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
train_sets=train valid_sets=valid test_set=test

if stage_selected 0; then
  step 0-download bash ../utils/download.sh \
    https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip "$corpus"
fi

if stage_selected 1; then
  step 1-prepare valle-prepare vctk "$corpus" data
  step 1-valid valle-prepare split data/all data/rest data/valid --speakers "$held_out"
  step 1-test valle-prepare split data/rest data/train data/test --speakers "$held_out"
  for set in train valid test; do
    step "1-validate-$set" valle-prepare validate "data/$set"
  done
fi

. ../utils/experiment.sh
