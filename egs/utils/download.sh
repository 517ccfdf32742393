#!/usr/bin/env bash
# download.sh URL FOLDER: download an archive that contains FOLDER and unpack it there, unless that has been done.
# An interrupted download continues when the same command is run again.
set -euo pipefail
url=$1
folder=$2
parent=$(dirname "$folder")
archive=$parent/${url##*/}
marker=$parent/.${url##*/}.done
if [ -f "$marker" ] || { [ -d "$folder" ] && [ ! -f "$archive" ]; }; then
  echo "$folder exists"
  exit 0
fi
mkdir -p "$parent"
echo "downloading $url"
curl --fail --location --continue-at - --output "$archive" "$url" || {
  echo "$url could not be downloaded; put the corpus into $folder and continue with --stage 1" >&2
  exit 2
}
case $archive in
  *.zip) unzip -q "$archive" -d "$folder" ;;
  *) tar -xf "$archive" -C "$parent" ;;
esac
touch "$marker"
rm "$archive"
