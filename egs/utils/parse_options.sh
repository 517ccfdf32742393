# Turns every variable set above the line that sources this file into an option: --some-name VALUE sets some_name.
# Afterwards $recipe_command is the command as it was given, to be told beside its results.
_given=$([ $# -eq 0 ] || printf ' %q' "$@")
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help)
      sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${0##*/}"
      exit 0 ;;
    --*)
      name=${1#--}
      name=${name//-/_}
      if ! [[ $name =~ ^[a-z][a-z0-9_]*$ ]] || [ -z "${!name+set}" ]; then
        echo "$0: unknown option $1" >&2
        exit 2
      fi
      if [ $# -lt 2 ]; then
        echo "$0: option $1 needs a value" >&2
        exit 2
      fi
      printf -v "$name" '%s' "$2"
      shift 2 ;;
    *)
      echo "$0: unexpected argument $1; options are --name VALUE" >&2
      exit 2 ;;
  esac
done
unset name
recipe_command="bash egs/${PWD##*/}/run.sh$_given"
