# Functions to run the stages of a recipe. Sourced by run.sh after its options are set.

# stage_selected N: whether stage N is between $stage and $stop_stage.
stage_selected() {
  [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]
}

# step NAME COMMAND...: run one step. The output goes to $exp/log/NAME.log and, on a terminal, to the terminal, too.
# Otherwise a line is printed every $step_seconds seconds. At the end, one line reports the result and the duration; a
# step that fails ends the recipe with its exit code.
step_seconds=${step_seconds:-30}
step() {
  local name=$1 begin=$SECONDS code=0
  shift
  local logs=$exp/log
  mkdir -p "$logs"
  python ../utils/run_step.py "$name" "$logs/$name.log" "$step_seconds" "$@" || code=$?
  if [ "$code" -ne 0 ]; then
    echo "$(date '+%F %T') $name: failed after $((SECONDS - begin)) s (exit code $code), see $logs/$name.log" >&2
    tail -n 5 "$logs/$name.log" >&2
    exit "$code"
  fi
  echo "$(date '+%F %T') $name: done in $((SECONDS - begin)) s"
}
