# `wanted N` says whether stage N is between $stage and $stop_stage; `step NAME COMMAND...` runs one step with its log.
wanted() {
  [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]
}

# The output goes to $exp/log/NAME.log, and on a terminal it is shown, too; elsewhere one line is printed every
# $step_seconds seconds. A line tells the step, its result and its seconds when it has ended.
step_seconds=${step_seconds:-30}
step() {
  local name=$1 begin=$SECONDS code=0
  shift
  local logs=$exp/log
  mkdir -p "$logs"
  python ../utils/watched.py "$name" "$logs/$name.log" "$step_seconds" "$@" || code=$?
  if [ "$code" -ne 0 ]; then
    echo "$(date '+%F %T') $name: failed after $((SECONDS - begin)) s (exit code $code), see $logs/$name.log" >&2
    tail -n 5 "$logs/$name.log" >&2
    exit "$code"
  fi
  echo "$(date '+%F %T') $name: done in $((SECONDS - begin)) s"
}
