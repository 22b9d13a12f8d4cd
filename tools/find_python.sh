#!/bin/sh
# Print the Python interpreters that farwide can use.
#
#   tools/find_python.sh          the newest one on PATH, as "3.N /path/to/python"
#   PYTHON=... tools/find_python.sh    that one, or an error
#   tools/find_python.sh --all    one line for each minor version, newest first
#
# A name on PATH is not believed: pyenv leaves shims there that fail, and Debian ships interpreters
# without venv. A candidate counts when it is a final release >= 3.11 that imports what a virtual
# environment needs. Candidates are python3.N, python3 and python in every folder of PATH; pyenv's
# own folder is looked at with --all, or when PATH has none. Of two with the same minor version the
# first is taken.
set -u

oldest=11

probe() { # probe PYTHON: prints "3.N /its/real/path" where it is usable, and fails where it is not
    "$1" -c "
import sys
assert sys.version_info[0] == 3 and sys.version_info[1] >= $oldest
assert sys.version_info[3] == 'final'
import ctypes, ensurepip, ssl, venv
print('%d.%d %s' % (sys.version_info[0], sys.version_info[1], sys.executable))
" </dev/null 2>/dev/null
}

probe_all() { # probes the names it reads
    while IFS= read -r python; do
        [ -f "$python" ] && [ -x "$python" ] && probe "$python"
    done
}

newest_first() { # one line for each minor version
    awk '!seen[$1]++' | sort -t . -k 2,2nr
}

on_path() {
    printf '%s\n' "$PATH" | tr : '\n' | while IFS= read -r folder; do
        printf '%s\n' "${folder:-.}"/python3.[0-9] "${folder:-.}"/python3.[0-9][0-9] \
            "${folder:-.}"/python3 "${folder:-.}"/python
    done
}

in_pyenv() {
    printf '%s\n' "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/*/bin/python
}

case ${1-} in
--all)
    found=$({ on_path && in_pyenv; } | probe_all | newest_first)
    ;;
'')
    if [ -n "${PYTHON:-}" ]; then
        if ! found=$(probe "$PYTHON"); then
            echo "PYTHON=$PYTHON is not a working Python >= 3.$oldest with venv, pip and ssl." >&2
            exit 1
        fi
    else
        found=$(on_path | probe_all | newest_first | head -n 1)
        [ -n "$found" ] || found=$(in_pyenv | probe_all | newest_first | head -n 1)
    fi
    ;;
*)
    echo "usage: tools/find_python.sh [--all]" >&2
    exit 2
    ;;
esac

if [ -z "$found" ]; then
    echo "farwide needs Python >= 3.$oldest with venv, pip and ssl, and none was found on PATH:" \
        "install one, or name it with PYTHON=/path/to/python3." >&2
    exit 1
fi
printf '%s\n' "$found"
