# Use the environment that `make setup` creates, unless another one is active.
root=$(cd ../.. && pwd)
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$root/.venv/bin/valle-train" ]; then
  export PATH="$root/.venv/bin:$PATH"
fi
command -v valle-train >/dev/null || { echo "valle is not installed; run make setup in $root" >&2; exit 2; }
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
