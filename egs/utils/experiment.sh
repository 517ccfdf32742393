# Stages that do not depend on the corpus: 2 tokenize, 3 AR, 4 NAR, 5 synthesize, 6 score. Sourced by a run.sh that has
# the options of options.sh, has made the data directories, and has set:
#   train_sets, valid_sets, test_set   data directories in data/; the first two comma-separated
#   ar_config, nar_config              recipes of valle-train
codec_options=(--codec-dir "$codec_dir")
[ -n "$codec_dir" ] || codec_options=()
init_options=(--init_from "$init" --model.init_args.optimizer.learning_rate "$init_learning_rate")
[ "$init" != none ] || init_options=()

if stage_selected 2; then
  for set in $(echo "$train_sets,$valid_sets" | tr ',' ' '); do
    step "2-tokenize-$set" $tokenize_cmd valle-tokenize "data/$set" "dump/$set" --codec "$codec" \
      --shard-size "$shard_size" ${codec_options[@]+"${codec_options[@]}"}
  done
fi

data_options=(
  --data.init_args.train "[dump/${train_sets//,/,dump/}]" --data.init_args.valid "[dump/${valid_sets//,/,dump/}]"
)

if stage_selected 3; then
  step 3-ar $train_cmd valle-train fit --config "$ar_config" --trainer.default_root_dir "$exp/ar" \
    "${data_options[@]}" ${init_options[@]+"${init_options[@]}"} $train_options
fi

if stage_selected 4; then
  step 4-nar $train_cmd valle-train fit --config "$nar_config" --trainer.default_root_dir "$exp/nar" \
    "${data_options[@]}" ${init_options[@]+"${init_options[@]}"} $train_options
fi

if stage_selected 5; then
  step 5-synthesize $decode_cmd valle-synth --model "$exp" --data "data/$test_set" --output-dir "$exp/$test_set/wav" \
    --limit "$test_utterances" ${codec_options[@]+"${codec_options[@]}"}
fi

if stage_selected 6; then
  step 6-score $decode_cmd valle-eval "data/$test_set" "$exp/$test_set/wav" "$exp/$test_set/report" \
    --codec "$codec" --recognizer "$recognizer" --speaker-encoder "$speaker_encoder" --title "${PWD##*/}, $test_set" \
    --run "$exp" --results "${results:-$exp/RESULTS.md}" --recipe "$recipe_command" \
    ${codec_options[@]+"${codec_options[@]}"}
  cat "$exp/$test_set/report/report.md"
  echo "listen: $PWD/$exp/$test_set/report/report.html"
fi
