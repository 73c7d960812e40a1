#!/bin/sh
# Create the virtual environment VENV with the interpreter PYTHON and install the packages that LOCK pins.
# usage: tools/create_venv.sh PYTHON VENV LOCK
set -eu

python=$1 venv=$2 lock=$3

fail() {
    echo "$*" >&2
    exit 1
}

# Debian and Ubuntu split Python up: ensurepip comes with python3.N-venv, pip with python3-pip, and neither need be there.
has() { "$python" -c "import $1" 2>/dev/null; }

command -v "$python" >/dev/null ||
    fail "authsvc needs Python 3.11 or newer, and '$python' is not there: install python3, or name one with PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "authsvc needs Python 3.11 or newer, and '$python' is $("$python" -V 2>&1): name another with PYTHON=..."

if ! has ensurepip && ! has pip; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "Python's venv module is not complete: install $package (apt-get install $package) and try again"
    echo "Installing $package"
    log=$(mktemp)
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$package"; } >"$log" 2>&1 </dev/null ||
        fail "$(cat "$log")"
    rm -f "$log"
fi

echo "Creating $venv ($("$python" -V 2>&1))"
if has ensurepip; then
    "$python" -m venv --clear "$venv"
    pip="$venv/bin/python -m pip"
else
    # pip from outside installs into an environment that has none of its own.
    "$python" -m venv --clear --without-pip "$venv"
    pip="$python -m pip --python $venv/bin/python"
fi

echo "Installing the packages of $lock: about a minute"
$pip install -qq --disable-pip-version-check --no-input --require-hashes --requirement "$lock"
