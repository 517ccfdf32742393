#!/usr/bin/env bash
# LibriTTS (Zen et al. 2019, OpenSLR 60): VALL-E on 585 hours of read English.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# An interrupted stage continues when the same command is run again.
set -euo pipefail
cd "$(dirname "$0")"

. ../utils/options.sh
stage=0                # first stage to run
corpus=downloads/LibriTTS   # folder of the corpus, or to download it to
train_parts=train-clean-100,train-clean-360,train-other-500   # parts of the corpus for training
valid_part=dev-clean   # part for validation
test_part=test-clean   # part for the test
ar_config=../../recipes/libritts/ar.yaml   # recipe of the AR model
nar_config=../../recipes/libritts/nar.yaml   # recipe of the NAR model

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
train_sets=$train_parts valid_sets=$valid_part test_set=$test_part
parts=$(echo "$train_parts,$valid_part,$test_part" | tr ',' '\n' | sort -u)

if stage_selected 0; then
  for part in $parts; do
    step "0-download-$part" bash ../utils/download.sh "https://www.openslr.org/resources/60/$part.tar.gz" "$corpus"
  done
fi

if stage_selected 1; then
  step 1-prepare valle-prepare libritts "$corpus" data --parts "$(echo $parts | tr ' ' ',')"
  for part in $parts; do
    step "1-validate-$part" valle-prepare validate "data/$part"
  done
fi

. ../utils/experiment.sh
