#!/usr/bin/env bash
# From nothing to a voice on two CPU cores: a corpus spoken by espeak-ng, its codes, an AR and a NAR model, speech for
# held-out sentences by voices of the training set and by new voices, scores and a page to listen to.
#
# Stages: 0 corpus and data directories, 1 tokenize, 2 AR, 3 NAR, 4 synthesize, 5 score and report.
# A stage that was stopped goes on where it was when the same command is started again.
set -euo pipefail
cd "$(dirname "$0")"

stage=0
stop_stage=5
recipe=valle2_g2       # so many codes a step, repetition aware sampling; or valle2_g1, valle2_g4, valle2_g8, or valle: neither
voices=8               # training voices, the clearest first; others are held out
utterances=100         # training utterances a voice
seed=0
codec=small
ar_config=../../recipes/mini/ar.yaml
ar_options=            # further options for the AR model's training alone
synth_options=         # further options of valle-synth
nar_config=../../recipes/mini/nar.yaml
init=small             # bundled model or run directory that both trainings go on from; none: from nothing
init_learning_rate=1e-4   # peak of the learning rate then
train_options=         # further options for both trainings, e.g. "--trainer.max_steps 20"
test_utterances=16     # scored of each test set
results=               # file that gets the tables of scores, and what made them; empty: RESULTS.md of $exp
exp=                   # folder of the run; by default exp, or exp/RECIPE for another recipe than valle2_g2

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
    echo "$0: --recipe $recipe is not known; use valle, valle2_g1, valle2_g2, valle2_g4 or valle2_g8" >&2
    exit 2 ;;
esac
exp=${exp:-exp$([ "$recipe" = valle2_g2 ] || echo "/$recipe")}
ar_options="--model.init_args.group_size $group_size $ar_options"
# The bundled model speaks pairs of codes: others learn from it, which takes more steps at a higher rate.
[ "$group_size" = 2 ] || ar_options="--trainer.max_steps 1200 --model.init_args.learning_rate 7e-4 \
  --model.init_args.warmup_steps 50 $ar_options"
init_options=(--init_from "$init" --model.init_args.learning_rate "$init_learning_rate")
[ "$init" != none ] || init_options=()

if wanted 0; then
  step 0-corpus python local/spoken.py data --voices "$voices" --utterances "$utterances" --seed "$seed"
  for set in train valid test_seen test_unseen; do
    step "0-validate-$set" valle-prepare validate "data/$set"
  done
fi

if wanted 1; then
  for set in train valid; do
    step "1-tokenize-$set" $tokenize_cmd valle-tokenize "data/$set" "dump/$set" --codec "$codec"
  done
fi

if wanted 2; then
  step 2-ar $train_cmd valle-train fit --config "$ar_config" --trainer.default_root_dir "$exp/ar" \
    ${init_options[@]+"${init_options[@]}"} $ar_options $train_options
fi

if wanted 3; then
  step 3-nar $train_cmd valle-train fit --config "$nar_config" --trainer.default_root_dir "$exp/nar" \
    ${init_options[@]+"${init_options[@]}"} $train_options
fi

if wanted 4; then
  for set in test_seen test_unseen; do
    step "4-synthesize-$set" $decode_cmd valle-synth --model "$exp" --data "data/$set" --output-dir "$exp/$set/wav" \
      --limit "$test_utterances" --seed "$seed" $synth_options
  done
fi

if wanted 5; then
  for set in test_seen test_unseen; do
    step "5-score-$set" $decode_cmd valle-eval "data/$set" "$exp/$set/wav" "$exp/$set/report" --codec "$codec" \
      --title "$recipe, $set" --run "$exp" --results "${results:-$exp/RESULTS.md}" --recipe "$recipe_command"
    cat "$exp/$set/report/report.md"
    echo "listen: $PWD/$exp/$set/report/report.html"
  done
fi
