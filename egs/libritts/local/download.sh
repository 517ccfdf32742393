#!/usr/bin/env bash
# download.sh CORPUS_DIR PART: one part of LibriTTS from OpenSLR; nothing is done when it is there.
set -euo pipefail
corpus=$1 part=$2
if [ -f "$corpus/.$part.done" ] || { [ -d "$corpus/$part" ] && [ ! -f "$corpus/../$part.tar.gz" ]; }; then
  echo "$corpus/$part is there"
  exit 0
fi
archive=$corpus/../$part.tar.gz
mkdir -p "$corpus"
echo "downloading $part"
curl --fail --location --continue-at - --output "$archive" "https://www.openslr.org/resources/60/$part.tar.gz" || {
  echo "$part could not be downloaded; put LibriTTS into $corpus and go on with --stage 1" >&2
  exit 2
}
tar -xzf "$archive" -C "$corpus/.."
touch "$corpus/.$part.done"
rm "$archive"
