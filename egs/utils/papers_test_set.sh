#!/usr/bin/env bash
# Prepare the papers' test set: the utterances of 4 to 10 seconds of LibriSpeech test-clean (VALL-E, section 5.2: 2.2 hours).
#   papers_test_set.sh LIBRISPEECH DATA     writes DATA/test-clean and DATA/test-clean-4-10s
# Then, for the two settings of VALL-E 2 (section 4.1.3) with five candidates per sentence:
#   valle-synth --data DATA/test-clean-4-10s --protocol continuation --num-candidates 5 --output-dir OUT ...
#   valle-synth --data DATA/test-clean-4-10s --protocol reference    --num-candidates 5 --output-dir OUT ...
#   valle-eval DATA/test-clean-4-10s OUT OUT/report --select sort --recognizer facebook/hubert-large-ls960-ft
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
valle-prepare librispeech "$1" "$2" --parts test-clean
valle-prepare subset "$2/test-clean" "$2/test-clean-4-10s" --min-seconds 4 --max-seconds 10
