# `wanted N` says whether stage N is between $stage and $stop_stage; `step NAME COMMAND...` runs one step with its log.
wanted() {
  [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]
}

# The output goes to $exp/log/NAME.log; one line tells the step, its result and its seconds.
step() {
  local name=$1 begin=$SECONDS code=0
  shift
  local logs=$exp/log
  mkdir -p "$logs"
  "$@" >"$logs/$name.log" 2>&1 || code=$?
  if [ "$code" -ne 0 ]; then
    echo "$(date '+%F %T') $name: failed after $((SECONDS - begin)) s (exit code $code), see $logs/$name.log" >&2
    tail -n 5 "$logs/$name.log" >&2
    exit "$code"
  fi
  echo "$(date '+%F %T') $name: done in $((SECONDS - begin)) s"
}
