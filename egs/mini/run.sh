#!/usr/bin/env bash
# The complete pipeline on two CPU cores: generate a corpus with espeak-ng, tokenize it, train an AR and a NAR model,
# synthesize held-out sentences with voices of the training set and with held-out voices, and score the speech.
#
# Stages: 0 corpus and data directories, 1 tokenize, 2 AR, 3 NAR, 4 synthesize, 5 score and report.
# An interrupted stage continues when the same command is run again.
set -euo pipefail
cd "$(dirname "$0")"

stage=0                # first stage to run
stop_stage=5           # last stage to run
recipe=valle2_g2       # VALL-E 2 with this group size: valle2_g1, valle2_g2, valle2_g4 or valle2_g8; or VALL-E: valle
voices=8               # training voices, the most intelligible first; others are held out
utterances=100         # training utterances per voice
seed=0                 # seed of the corpus and of synthesis
codec=small            # codec: a bundled name or a folder
ar_config=../../recipes/mini/ar.yaml   # recipe of the AR model
ar_options=            # more options for the training of the AR model
synth_options=         # more options of valle-synth
nar_config=../../recipes/mini/nar.yaml   # recipe of the NAR model
init=small             # bundled model or run directory to initialize both models from; none: random weights
init_learning_rate=1e-4   # peak learning rate when initialized from a model
train_options=         # more options for both trainings, e.g. "--trainer.max_steps 20"
test_utterances=16     # utterances of each test set to synthesize and score
results=               # file for the tables of scores and the commands that made them; empty: RESULTS.md in $exp
exp=                   # folder of the run; empty: exp, or exp/RECIPE for another recipe than valle2_g2

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
case $recipe in
  valle)
    group_size=1 ;;
  valle2_g[1248])
    group_size=${recipe#valle2_g}
    synth_options="--repetition-aware $synth_options" ;;
  *)
    echo "$0: unknown recipe --recipe $recipe; use valle, valle2_g1, valle2_g2, valle2_g4 or valle2_g8" >&2
    exit 2 ;;
esac
exp=${exp:-exp$([ "$recipe" = valle2_g2 ] || echo "/$recipe")}
ar_options="--model.init_args.group_size $group_size $ar_options"
# The bundled model has a group size of 2. For another one, its weights are converted, which takes more training steps at
# a higher learning rate.
[ "$group_size" = 2 ] || ar_options="--trainer.max_steps 1200 --model.init_args.optimizer.learning_rate 7e-4 \
  --model.init_args.optimizer.warmup_steps 50 $ar_options"
init_options=(--init_from "$init" --model.init_args.optimizer.learning_rate "$init_learning_rate")
[ "$init" != none ] || init_options=()

if stage_selected 0; then
  step 0-corpus python local/spoken.py data --voices "$voices" --utterances "$utterances" --seed "$seed"
  for set in train valid test_seen test_unseen; do
    step "0-validate-$set" valle-prepare validate "data/$set"
  done
fi

if stage_selected 1; then
  for set in train valid; do
    step "1-tokenize-$set" $tokenize_cmd valle-tokenize "data/$set" "dump/$set" --codec "$codec"
  done
fi

if stage_selected 2; then
  step 2-ar $train_cmd valle-train fit --config "$ar_config" --trainer.default_root_dir "$exp/ar" \
    ${init_options[@]+"${init_options[@]}"} $ar_options $train_options
fi

if stage_selected 3; then
  step 3-nar $train_cmd valle-train fit --config "$nar_config" --trainer.default_root_dir "$exp/nar" \
    ${init_options[@]+"${init_options[@]}"} $train_options
fi

if stage_selected 4; then
  for set in test_seen test_unseen; do
    step "4-synthesize-$set" $decode_cmd valle-synth --model "$exp" --data "data/$set" --output-dir "$exp/$set/wav" \
      --limit "$test_utterances" --seed "$seed" $synth_options
  done
fi

if stage_selected 5; then
  for set in test_seen test_unseen; do
    step "5-score-$set" $decode_cmd valle-eval "data/$set" "$exp/$set/wav" "$exp/$set/report" --codec "$codec" \
      --title "$recipe, $set" --run "$exp" --results "${results:-$exp/RESULTS.md}" --recipe "$recipe_command"
    cat "$exp/$set/report/report.md"
    echo "listen: $PWD/$exp/$set/report/report.html"
  done
fi
