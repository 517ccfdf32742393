#!/usr/bin/env bash
# download.sh URL FOLDER: get an archive of a corpus and unpack it beside FOLDER, which it holds; nothing when it is there.
# Stopped, it goes on where it was.
set -euo pipefail
url=$1 folder=$2
beside=$(dirname "$folder")
archive=$beside/${url##*/}
marker=$beside/.${url##*/}.done
if [ -f "$marker" ] || { [ -d "$folder" ] && [ ! -f "$archive" ]; }; then
  echo "$folder is there"
  exit 0
fi
mkdir -p "$beside"
echo "downloading $url"
curl --fail --location --continue-at - --output "$archive" "$url" || {
  echo "$url could not be downloaded; put the corpus into $folder and go on with --stage 1" >&2
  exit 2
}
case $archive in
  *.zip) unzip -q "$archive" -d "$folder" ;;
  *) tar -xf "$archive" -C "$beside" ;;
esac
touch "$marker"
rm "$archive"
