# Make an option of every variable set above the line that sources this file: --some-name VALUE sets some_name. The
# comment after a variable is the help text of its option. Relative paths are relative to the folder of the caller,
# $OLDPWD, since a run.sh changes to its own folder first. Afterwards $recipe_command is the command line, to be recorded
# beside the results.

# Print the options of a run.sh, including those of options.sh if it sources that, with help text and default.
list_options() {
  {
    ! grep -q '^\. \.\./utils/options\.sh' "${0##*/}" || cat ../utils/options.sh
    sed '/parse_options\.sh/,$d' "${0##*/}"
  } | awk '
    /^[a-z][a-z0-9_]*=/ {
      name = $0; sub(/=.*/, "", name)
      value = substr($0, length(name) + 2)
      if (match(value, /[ \t]*# */)) {
        about[name] = substr(value, RSTART + RLENGTH)
        value = substr(value, 1, RSTART - 1)
      }
      gsub(/[ \t]+$/, "", value)
      if (!(name in defaults)) order[++count] = name
      defaults[name] = value
    }
    END {
      for (i = 1; i <= count; i++) {
        option = order[i]; gsub(/_/, "-", option)
        value = defaults[order[i]]
        printf "  --%-22s %s(default: %s)\n", option, about[order[i]] (about[order[i]] == "" ? "" : " "), \
          value == "" ? "empty" : value
      }
    }'
}

# Print the VALUE of option NAME, as an absolute path if the recipe writes it or if it exists.
absolute_value() {
  case "$1:$2" in
    *:/* | *: | results:none) printf '%s' "$2" ;;
    exp:* | results:* | list:*) printf '%s' "$OLDPWD/$2" ;;
    *) if [ -f "$OLDPWD/$2" ] || [[ $2 == */* && -e $OLDPWD/$2 ]]; then printf '%s' "$OLDPWD/$2"; else printf '%s' "$2"; fi ;;
  esac
}

_given=$([ $# -eq 0 ] || printf ' %q' "$@")
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${0##*/}"
      printf '\nOptions:\n'
      list_options
      exit 0 ;;
    --*)
      name=${1#--}
      name=${name//-/_}
      if ! [[ $name =~ ^[a-z][a-z0-9_]*$ ]] || [ -z "${!name+set}" ]; then
        echo "$0: unknown option $1; see $0 --help" >&2
        exit 2
      fi
      if [ $# -lt 2 ]; then
        echo "$0: option $1 needs a value" >&2
        exit 2
      fi
      printf -v "$name" '%s' "$(absolute_value "$name" "$2")"
      shift 2 ;;
    *)
      echo "$0: unexpected argument $1; options are --name VALUE, see $0 --help" >&2
      exit 2 ;;
  esac
done
unset name
recipe_command="bash egs/${PWD##*/}/run.sh$_given"
