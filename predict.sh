#!/bin/sh
# Segments every case of a folder: what the challenge runs in the container (`sh predict.sh` in /workspace), and the
# smoke run of a checkout.
#
#   sh predict.sh [INPUTS OUTPUTS] [options of `lexor predict`]
#
# Without folders: inputs/ and outputs/ beside this script. The exit status is that of `lexor predict`.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lexor=$here/.venv/bin/lexor
[ -x "$lexor" ] || lexor=$(command -v lexor) || {
    echo "predict.sh: no lexor command in $here/.venv or on PATH; run: make demo" >&2
    exit 2
}

case ${1-} in
    '' | -*)
        # The challenge wants answers alone there.
        set -- "$here/inputs" "$here/outputs" --no-log "$@"
        # In the container, what is not written to a mount goes with the container.
        if [ "$here" = /workspace ] && ! grep -q ' /workspace/outputs ' /proc/self/mountinfo; then
            echo "predict.sh: warning: /workspace/outputs is not a mount, so the answers are lost with this container;" \
                "add: -v \"\$PWD/outputs\":/workspace/outputs" >&2
        fi
        ;;
esac

# exec: signals reach lexor, and its exit status is ours.
exec "$lexor" predict "$@"
