#!/usr/bin/env bash
# LibriTTS (Zen et al. 2019, OpenSLR 60): VALL-E on 585 hours of read English.
#
# Stages: 0 download, 1 data directories, 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score.
# A stage that was stopped goes on where it was when the same command is started again.
set -euo pipefail
cd "$(dirname "$0")"

stage=0
stop_stage=6
corpus=downloads/LibriTTS   # where the corpus is, or shall be
train_parts=train-clean-100,train-clean-360,train-other-500
valid_part=dev-clean
test_part=test-clean
codec=encodec_24khz
codec_dir=             # where EnCodec's weights lie; downloaded when empty
ar_config=../../recipes/libritts/ar.yaml
nar_config=../../recipes/libritts/nar.yaml
train_options=         # further options for both trainings, e.g. "--trainer.devices 8 --trainer.num_nodes 2"
shard_size=1000
test_utterances=200    # scored
recognizer=whisper-tiny.en
exp=exp

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
logs=$exp/log
codec_options=(--codec-dir "$codec_dir")
[ -n "$codec_dir" ] || codec_options=()
parts=$(echo "$train_parts,$valid_part,$test_part" | tr ',' '\n' | sort -u)

if wanted 0; then
  for part in $parts; do
    step "0-download-$part" bash local/download.sh "$corpus" "$part"
  done
fi

if wanted 1; then
  step 1-prepare valle-prepare libritts "$corpus" data --parts "$(echo $parts | tr ' ' ',')"
  for part in $parts; do
    step "1-validate-$part" valle-prepare validate "data/$part"
  done
fi

if wanted 2; then
  for part in $(echo "$train_parts,$valid_part" | tr ',' ' '); do
    step "2-tokenize-$part" $tokenize_cmd valle-tokenize "data/$part" "dump/$part" --codec "$codec" \
      --shard-size "$shard_size" ${codec_options[@]+"${codec_options[@]}"}
  done
fi

data_options=(--data.init_args.train "[dump/${train_parts//,/,dump/}]" --data.init_args.valid "[dump/$valid_part]")

if wanted 3; then
  step 3-ar $train_cmd valle-train fit --config "$ar_config" --trainer.default_root_dir "$exp/ar" \
    "${data_options[@]}" $train_options
fi

if wanted 4; then
  step 4-nar $train_cmd valle-train fit --config "$nar_config" --trainer.default_root_dir "$exp/nar" \
    "${data_options[@]}" $train_options
fi

if wanted 5; then
  step 5-synthesize $decode_cmd valle-synth --model "$exp" --data "data/$test_part" --output-dir "$exp/$test_part/wav" \
    --limit "$test_utterances" ${codec_options[@]+"${codec_options[@]}"}
fi

if wanted 6; then
  step 6-score $decode_cmd valle-eval "data/$test_part" "$exp/$test_part/wav" "$exp/$test_part/report" \
    --codec "$codec" --recognizer "$recognizer" --title "LibriTTS, $test_part" ${codec_options[@]+"${codec_options[@]}"}
  cat "$exp/$test_part/report/report.md"
fi
