#!/bin/sh
# Make the virtual environment, if it is not there, and install this checkout in it, once.
#
#   tools/set_up.sh VENV EXTRA        EXTRA: core | dev
#
# core is what the package needs, dev is that and the tools. What has been installed is remembered in
# VENV/.farwide-EXTRA, written last, so that an interrupted install is taken up again. That file holds
# the place of the checkout, the place of the environment and a checksum of pyproject.toml: when one
# of them changes, the install is repeated. An environment that was moved or copied, or whose
# interpreter is gone, is made again from nothing, since the scripts in it would run another one's
# files.
set -eu

venv=$1
extra=$2
case $extra in
core) requirement=. ;;
dev) requirement=".[dev]" ;;
*)
    echo "tools/set_up.sh: EXTRA is $extra; accepted: core, dev" >&2
    exit 2
    ;;
esac

cd "$(dirname "$0")/.."
say() { printf 'set-up: %s\n' "$*"; }
absolute() { (cd "$1" && pwd -P); }

# What is wrong with the environment; empty when it can be used.
ailment() {
    if [ ! -x "$venv/bin/python" ]; then
        echo "has no interpreter"
    elif ! version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
        2>/dev/null </dev/null); then
        echo "has an interpreter that does not run"
    elif [ "${version%%.*}" != 3 ] || [ "${version#*.}" -lt 11 ]; then
        echo "has Python $version, older than 3.11"
    elif [ -n "${PYTHON:-}" ] && [ "$version" != "${wanted%% *}" ]; then
        echo "has Python $version and PYTHON=$PYTHON is ${wanted%% *}"
    elif [ -f "$venv/.farwide-home" ] && [ "$(cat "$venv/.farwide-home")" != "$(absolute "$venv")" ]; then
        echo "was moved here from $(cat "$venv/.farwide-home")"
    elif [ -f "$venv/.farwide-unfinished" ] ||
        ! "$venv/bin/python" -c 'import pip' 2>/dev/null </dev/null; then
        echo "is unfinished"
    fi
}

make_venv() {
    [ -n "$wanted" ] || wanted=$(tools/find_python.sh)
    say "making $venv with Python ${wanted%% *} (${wanted#* })"
    "${wanted#* }" -m venv --clear --without-pip "$venv"
    : >"$venv/.farwide-unfinished"
    "$venv/bin/python" -m ensurepip --default-pip >/dev/null
    absolute "$venv" >"$venv/.farwide-home"
    rm "$venv/.farwide-unfinished"
}

wanted=
[ -z "${PYTHON:-}" ] || wanted=$(tools/find_python.sh)

if [ ! -e "$venv" ]; then
    make_venv
else
    problem=$(ailment)
    if [ -n "$problem" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        echo "set-up: $venv is no virtual environment (it $problem) and is not empty;" \
            "left as it is. Choose another place with VENV=" >&2
        exit 1
    elif [ -n "$problem" ]; then
        say "$venv $problem; making it again"
        make_venv
    fi
fi

stamp=$venv/.farwide-$extra
state="$(pwd -P)
$(absolute "$venv")
$(cksum <pyproject.toml)"
for done in "$stamp" "$venv/.farwide-dev"; do # dev holds core
    [ -f "$done" ] && [ "$(cat "$done")" = "$state" ] && exit 0
done

say "installing farwide ($extra) into $venv: about a gigabyte, a minute or more the first time"
quiet=--quiet
[ ! -t 1 ] || quiet=
rm -f "$stamp"
"$venv/bin/python" -m pip install --disable-pip-version-check $quiet --editable "$requirement" </dev/null
printf '%s\n' "$state" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "done"
