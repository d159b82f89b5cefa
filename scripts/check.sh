#!/bin/sh
# All checks that need no test run; every one runs, and any that fails fails the whole.
set -u
bin=.venv/bin
failed=

# Settings like production's. No check asks the database.
export SECRET_KEY='for-checks-only-0123456789-abcdefghijklmnopqrstuvwxyz'
export DATABASE_URL='postgres://checks@localhost/none'
export ALLOWED_HOSTS='releases.example.com' CSRF_TRUSTED_ORIGINS='https://releases.example.com'
export RELEASE_PACKAGE_HOSTS='packages.example.com'
export RELEASE_ENV_FILE=/dev/null
unset DEBUG
# The client's sources, as pytest finds them.
export PYTHONPATH=client/src

step() {
	name=$1
	shift
	if output=$("$@" 2>&1); then
		printf 'ok    %s\n' "$name"
	else
		printf 'FAIL  %s\n%s\n' "$name" "$output"
		failed="$failed $name"
	fi
}

python_files() { git ls-files --cached --others --exclude-standard '*.py' | grep -v /migrations/; }
upgraded() { python_files | xargs "$bin/django-upgrade" --check --target-version 5.2; }

step lint "$bin/ruff" check --quiet --output-format concise .
step format "$bin/ruff" format --check --quiet --output-format concise .
step types "$bin/mypy" .
step layers "$bin/lint-imports"
step migrations "$bin/python" -W ignore manage.py makemigrations --check --dry-run
step deployment "$bin/python" manage.py check --deploy --fail-level WARNING
step django-upgrade upgraded

[ -z "$failed" ] || { printf 'check: failed:%s\n' "$failed" >&2; exit 1; }
