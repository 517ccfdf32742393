#!/usr/bin/env bash
# The bundled model `small`: a corpus of synthesized and recorded speech, a codec with a phonetic first codebook, an AR and a
# NAR model, scores for unseen speakers, and the export of the bundled folders.
#
# Stages: 0 sentences and synthesized speech, 1 recordings, 2 codec, 3 tokenize, 4 AR, 5 NAR, 6 synthesize, 7 score, 8 export.
# An interrupted stage continues when the same command is run again.
#
# Synthesizers: pip install -r requirements.txt; apt-get install flite festival festvox-us-slt-hts festvox-kallpc16k
# festvox-kdlpc16k. More text: apt-get install fortunes bible-kjv-text. Missing ones are reported and left out.
set -euo pipefail
cd "$(dirname "$0")"

stage=0                # first stage to run
stop_stage=8           # last stage to run
people=                # recordings in LibriSpeech's layout, the parent folder of train-clean-100; empty: none
people_part=train-clean-100   # part of these recordings
held_out=              # file of the speakers held out from training, one per line; with --people
recordings=            # list FILE|SPEAKER|TEXT of more recordings for the AR model (valle-prepare list); empty: none
kokoro_voices=24       # training voices of Kokoro, 22 sentences each, at about real time on two cores; 0: none
kokoro_held_out=2      # voices of Kokoro for the test; one more is for validation
seed=0                 # seed of the corpus and of synthesis
codec=small            # bundled codec or folder; train: stage 2 fine-tunes `mini`, exported to $exp/codec/exported
codec_config=../../recipes/codec/small.yaml   # recipe of the codec
ar_config=../../recipes/bundled/ar.yaml   # recipe of the AR model
nar_config=../../recipes/bundled/nar.yaml   # recipe of the NAR model
init=none              # bundled model or run directory to initialize both models from; none: random weights
codec_options=         # more options for the training of the codec, e.g. "--trainer.max_steps 20"
ar_options=            # more options for the training of the AR model
nar_options=           # more options for the training of the NAR model
synth_options=         # more options of valle-synth
exp=exp                # folder of the run
results=               # file for the tables of scores; empty: RESULTS.md in $exp
model=                 # folder for the exported model; empty: $exp/small

. ../utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ../utils/stages.sh
train_codec=
if [ "$codec" = train ]; then
  train_codec=yes
  codec=$exp/codec/exported
fi
init_options=(--init_from "$init")
[ "$init" != none ] || init_options=()

# synthesize NAME ENGINE LINES SPEAKERS FIRST:END UTTERANCES FIRST_LINE: synthesize the data directory data/NAME.
synthesize() {
  step "0-$1" python local/synthesize.py "$2" "data/local/$3.txt" "data/$1" --speakers "$4" --only "$5" \
    --utterances "$6" --first-line "$7" --seed "$seed"
}

if stage_selected 0; then
  step 0-sentences python local/sentences.py data/local/lines.txt --lines 12000 --seed "$seed"
  head -n 11600 data/local/lines.txt >data/local/train.txt
  tail -n 400 data/local/lines.txt >data/local/test.txt
  step 0-espeak python ../mini/local/spoken.py data/espeak --voices 8 --utterances 40 --seed "$seed"
  synthesize flite flite train 21 0:18 160 0
  synthesize piper piper train 14 0:12 160 2880
  synthesize festival festival train 9 : 40 4800
  # Short texts, each with other speech of the same voice as an untranscribed prompt.
  step 0-short-lines python local/short_phrases.py data/local/short.txt --lines 700 --seed "$seed"
  synthesize flite_short flite short 21 0:18 38 0
  [ ! -f data/flite_short/wav.scp ] || step 0-short-prompts valle-prepare prompts data/flite_short
  synthesize flite_valid flite test 21 18:19 6 100
  synthesize flite_heldout flite test 21 19:21 21 110
  synthesize piper_valid piper test 14 12:13 6 160
  synthesize piper_heldout piper test 14 13:14 17 170
  num_speakers=$((kokoro_voices + 1 + kokoro_held_out))
  if [ "$kokoro_voices" -gt 0 ]; then
    synthesize kokoro kokoro train "$num_speakers" "0:$kokoro_voices" 22 5160
    synthesize kokoro_valid kokoro test "$num_speakers" "$kokoro_voices:$((kokoro_voices + 1))" 6 190
    synthesize kokoro_heldout kokoro test "$num_speakers" "$((kokoro_voices + 1)):" 6 200
  fi
fi

if stage_selected 1 && [ -n "$people" ]; then
  step 1-people valle-prepare librispeech "$people" data/recordings --parts "$people_part"
  if [ -n "$held_out" ]; then
    step 1-split valle-prepare split "data/recordings/$people_part" data/people_train data/people_heldout --speaker-list "$held_out"
  else
    step 1-split valle-prepare split "data/recordings/$people_part" data/people_train data/people_heldout --speakers 20
  fi
  step 1-align valle-prepare align data/people_train
  # Recordings that do not match their transcripts would teach wrong phones: train only on the aligned ones.
  step 1-aligned valle-prepare subset data/people_train data/people --min-seconds 0 --max-seconds 40 --aligned
  step 1-speed valle-prepare speed data/people data/people_resampled \
    --factors 0.84 0.88 0.92 0.96 1.04 1.08 1.12 1.16
  step 1-short valle-prepare excerpts data/people data/people_short --words 1,5 --seed "$seed"
  step 1-phrases valle-prepare excerpts data/people data/people_phrases --words 6,12 --seed "$seed"
  # The NAR model benefits more from many voices than from exact transcripts, so it gets the others, too.
  step 1-more valle-prepare speed data/people_train data/people_more --factors 0.88 0.96 1 1.04 1.12
fi

if stage_selected 1 && [ -n "$recordings" ]; then
  step 1-recordings valle-prepare list "$recordings" data/listed
  step 1-recordings-align valle-prepare align data/listed
  step 1-recordings-aligned valle-prepare subset data/listed data/more --min-seconds 0 --max-seconds 15 --aligned
  step 1-recordings-marks python local/punctuate.py data/more
  step 1-recordings-short valle-prepare excerpts data/more data/more_short --words 1,5 --seed "$seed"
  step 1-recordings-prompts valle-prepare prompts data/more --seed "$seed"
fi

# existing FOLDER SET...: print FOLDER/SET for each set that has data, as a list for Lightning.
existing() {
  local name existing_sets= folder=$1
  shift
  for name in "$@"; do
    [ ! -f "data/$name/wav.scp" ] || existing_sets=$existing_sets,$folder/$name
  done
  echo "[${existing_sets#,}]"
}
train_sets=(flite festival piper kokoro espeak/train people people_resampled)
# Only for the AR model: speech after untranscribed prompts, and short texts.
prompted_sets=(flite_short people_short people_phrases more more_short)
valid_sets=(flite_valid piper_valid kokoro_valid espeak/valid)

# Sets that are given two or three times weigh more: their voices are most similar to those of users.
codec_data=(
  --data.init_args.train "$(existing data "${train_sets[@]}" kokoro people people)"
  --data.init_args.valid "$(existing data "${valid_sets[@]}")"
)
if stage_selected 2 && [ -n "$train_codec" ]; then
  step 2-codec $train_cmd valle-train fit --config "$codec_config" --trainer.default_root_dir "$exp/codec" --init_from mini \
    "${codec_data[@]}" $codec_options
  step 2-export python -m valle.training.export_codec "$exp/codec/last.ckpt" "$codec" --provenance provenance.json
fi

if stage_selected 3; then
  for set in "${train_sets[@]}" people_more "${prompted_sets[@]}" "${valid_sets[@]}"; do
    [ ! -f "data/$set/wav.scp" ] ||
      step "3-tokenize-${set//\//-}" $tokenize_cmd valle-tokenize "data/$set" "dump/$set" --codec "$codec" --shard-size 300
  done
fi

# The same for the AR and NAR models, and for small sets.
valid_options=(--data.init_args.valid "$(existing dump "${valid_sets[@]}")")
ar_data=(--data.init_args.train "$(existing dump "${train_sets[@]}" kokoro people "${prompted_sets[@]}" people_short more_short)" "${valid_options[@]}")
nar_data=(--data.init_args.train "$(existing dump "${train_sets[@]}" kokoro people people_more)" "${valid_options[@]}")

if stage_selected 4; then
  step 4-ar $train_cmd valle-train fit --config "$ar_config" --trainer.default_root_dir "$exp/ar" \
    "${ar_data[@]}" ${init_options[@]+"${init_options[@]}"} $ar_options
fi

if stage_selected 5; then
  step 5-nar $train_cmd valle-train fit --config "$nar_config" --trainer.default_root_dir "$exp/nar" \
    "${nar_data[@]}" ${init_options[@]+"${init_options[@]}"} $nar_options
fi

heldout_people=()
[ ! -f data/people_heldout/wav.scp ] || heldout_people=(--people data/people_heldout)

if stage_selected 6; then
  step 6-people-list python local/test_list.py data/people.tsv data/local/test.txt ${heldout_people[@]+"${heldout_people[@]}"}
  step 6-voices-list python local/test_list.py data/voices.tsv data/local/test.txt \
    --voices data/kokoro_heldout data/piper_heldout data/flite_heldout data/espeak/test_unseen
  for set in people voices; do
    [ "$(wc -l <"data/$set.tsv")" -le 1 ] || step "6-synthesize-$set" $decode_cmd valle-synth --model "$exp" \
      --data "data/$set.tsv" --output-dir "$exp/$set/wav" --seed "$seed" $synth_options
  done
fi

if stage_selected 7; then
  for set in people voices; do
    [ "$(wc -l <"data/$set.tsv")" -gt 1 ] || continue
    step "7-score-$set" $decode_cmd valle-eval "data/$set.tsv" "$exp/$set/wav" "$exp/$set/report" --codec "$codec" \
      --title "small, held-out $set" --run "$exp" --results "${results:-$exp/RESULTS.md}" --recipe "$recipe_command"
    cat "$exp/$set/report/report.md"
    echo "listen: $PWD/$exp/$set/report/report.html"
  done
fi

if stage_selected 8; then
  step 8-export python -m valle.training.export_model "$exp" "${model:-$exp/small}" --provenance provenance.json
fi
