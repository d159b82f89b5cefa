# Commands for people; README.md tells the story, CONTRIBUTING.md the details.
.DEFAULT_GOAL := help
.PHONY: help run test check bench setup setup-production setup-dev lock audit password doctor docs reference soak hostile fuzz screenshots static bundle messages

PYTHON ?= python3
# Many tests kill, cut and race real processes. One that fails is tried once more, and the report says so: a machine that
# stalls for seconds is told from code that is wrong.
RERUNS ?= --reruns 1 --reruns-delay 2
# Most of them wait most of the time: three processes take less than half as long, on two cores too.
JOBS ?= -n 3 --dist load
BIN := .venv/bin
export PYTHON

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name what; do \
		printf '  make %-12s %s\n' "$$name" "$$what"; done

run: setup ## start the demo: database, web, workers, three instances (PORT=8000)
	@$(BIN)/python manage.py demo

test: setup-dev ## install what the tests need, then run every test (ARGS="-k name")
	@sh scripts/system_packages.sh
	@$(BIN)/pytest $(JOBS) $(RERUNS) $(ARGS)

check: setup-dev ## lint, types, import layers, migrations, deployment checks
	@sh scripts/check.sh

setup: ## the .venv alone, with the embedded PostgreSQL
	@sh scripts/venv.sh requirements-embedded.txt

setup-production: ## the .venv without it, where DATABASE_URL is set
	@sh scripts/venv.sh requirements.txt

setup-dev: ## the .venv with what development needs
	@sh scripts/venv.sh requirements-dev.txt

bench: setup-dev ## the benchmarks, beside other tools (ARGS="fleet --nodes 50")
	@sh scripts/system_packages.sh rsync
	@$(BIN)/python -m bench $(ARGS)

soak: setup-dev ## random faults under load (SECONDS=300 SEED=…); with LIARS=1 beside nodes that lie
	@sh scripts/system_packages.sh
	@$(BIN)/python -m tests.faults.soak $(ARGS)

hostile: setup-dev ## what every kind of lying node costs the others: a table
	@sh scripts/system_packages.sh
	@$(BIN)/python -m tests.faults.hostile $(ARGS)

fuzz: setup-dev ## a long fuzzing of the API
	@$(BIN)/python -m tests.fuzz $(ARGS)

docs: ## the documents as a site in var/site, its links checked
	@VENV=var/docs-venv sh scripts/venv.sh requirements-docs.txt
	@NO_MKDOCS_2_WARNING=1 var/docs-venv/bin/mkdocs build --strict --quiet
	@echo 'docs: open var/site/index.html'

reference: setup-dev ## docs/reference.md anew, from the code
	@$(BIN)/python scripts/reference.py

screenshots: setup-dev ## the pictures in the documentation
	@sh scripts/system_packages.sh
	@$(BIN)/python -m tests.support.screenshots $(ARGS)

password: setup-production ## a new password for the user admin
	@$(BIN)/python manage.py password

doctor: setup-production ## why does it not start?
	@$(BIN)/python manage.py doctor

bundle: setup-production ## the offline bundle, for scripts/install.sh on hosts without an index
	@sh scripts/bundle.sh

static: setup-production ## collect static files, for production
	@$(BIN)/python manage.py collectstatic --no-input --verbosity 0

messages: setup-dev ## update the translations' source and compile them
	@$(BIN)/python manage.py makemessages --locale zh_Hans --add-location file --ignore .venv --ignore var --ignore staticfiles --no-obsolete
	@$(BIN)/python manage.py compilemessages --ignore .venv

audit: setup-dev ## known holes in what we depend on
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements-embedded.txt -r requirements-dev.txt \
		|| { echo 'audit: found something, or could not ask (see above): nothing is proven' >&2; exit 1; }

lock: setup-dev ## new lock files from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command 'make lock' --output-file requirements.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra embedded \
		--constraint requirements.txt --custom-compile-command 'make lock' \
		--output-file requirements-embedded.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra embedded --extra dev \
		--constraint requirements-embedded.txt --custom-compile-command 'make lock' \
		--output-file requirements-dev.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra docs \
		--constraint requirements.txt --custom-compile-command 'make lock' --output-file requirements-docs.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--custom-compile-command 'make lock' --output-file requirements-bench.txt requirements-bench.in
