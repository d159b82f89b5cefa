#!/bin/sh
# Installs one version beside the others, and makes it the current one: /opt/release/releases/VERSION, /opt/release/current.
#
#   install.sh VERSION [--offline DIR]   DIR: an unpacked bundle (make bundle); else from the index that pip is configured for
#   install.sh --back [VERSION]          the version before, where the database's schema allows it
#
#   --prefix DIR   instead of /opt/release        --no-restart   leaves the services alone
#   PYTHON=…       the Python to build on         RELEASE_ENV_FILE=…   instead of /etc/release/env
#
# Everything is built before anything changes: migrate, then one rename, then the services of this host, workers first.
set -eu

prefix=/opt/release
version=
offline=
is_back=
restart=yes
account=release
units='release-worker release-web'

say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit "$1"; }

while [ $# -gt 0 ]; do
	case $1 in
	--offline) offline=${2:?--offline needs a folder}; shift ;;
	--prefix) prefix=${2:?--prefix needs a folder}; shift ;;
	--no-restart) restart= ;;
	--back) is_back=yes ;;
	-h | --help) usage 0 ;;
	-*) usage 2 >&2 ;;
	*) version=$1 ;;
	esac
	shift
done
[ -n "$version$is_back" ] || usage 2 >&2
case $version in *[!A-Za-z0-9.+]* | .*) fail "$version is no version" ;; esac
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
releases=$prefix/releases

# With the service's configuration, and as its account where this is root: what it writes must be the service's.
server() {
	release=$1
	shift
	if [ "$(id -u)" = 0 ] && id "$account" >/dev/null 2>&1; then
		runuser -u "$account" -- "$release/bin/release-server" "$@"
	else
		"$release/bin/release-server" "$@"
	fi
}

linked() { [ ! -L "$prefix/$1" ] || basename "$(readlink "$prefix/$1")"; }

# A rename replaces the link as a whole: there is no moment without one.
link() {
	ln -s "releases/$2" "$prefix/.$1.$$"
	mv -T "$prefix/.$1.$$" "$prefix/$1"
}

check_bundle() {
	[ -f "$offline/SHA256SUMS" ] || fail "$offline is no unpacked bundle: it has no SHA256SUMS"
	(cd "$offline" && sha256sum --check --quiet --strict SHA256SUMS) || fail "$offline is damaged (see above): copy the bundle anew"
	set -- "$offline/wheels/release_execution-$version-"*.whl
	[ -e "$1" ] || fail "$offline has another version: $(basename "$offline"/wheels/release_execution-*.whl)"
}

pip_install() {
	if [ -n "$offline" ]; then
		set -- --no-index --find-links "$offline/wheels" "$@"
	fi
	"$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@" ||
		fail "pip failed (see above); nothing has changed"
}

build() {
	python=${PYTHON:-python3}
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || fail "Python 3.11 or newer is needed: PYTHON=/path/to/python3"
	"$python" -c 'import venv, ensurepip' 2>/dev/null || fail 'this Python has no venv module (Debian, Ubuntu: apt-get install python3-venv)'
	rm -rf "$new"
	say "building $new"
	"$python" -m venv "$new"
	pip_install --no-deps "release-execution==$version"
	files=$(cd / && "$new/bin/python" -c 'from releasesite.site_files import SITE_FILES; print(SITE_FILES)')
	# Everything else is the very bytes that this version was tested with.
	pip_install --require-hashes --requirement "$files/requirements.txt"
	RELEASE_ENV_FILE=/dev/null "$new/bin/release-server" collectstatic --no-input --verbosity 0
	ln -s "$files/packaging" "$files/scripts" "$new"
	touch "$new/.complete"
}

has_unit() { command -v systemctl >/dev/null && systemctl is-enabled --quiet "$1" 2>/dev/null; }

# Workers first: a new web may ask for what an old worker does not know.
restart_services() {
	if [ -z "$restart" ]; then
		say 'the services were left alone: restart the workers, then the web'
		return
	fi
	restarted=
	for unit in $units; do
		if has_unit "$unit"; then
			say "restarting $unit"
			systemctl restart "$unit" || fail "$unit does not start: systemctl status $unit; the way back: $0 --back"
			restarted="$restarted $unit"
			sleep 2
			systemctl is-active --quiet "$unit" || fail "$unit does not stay up: journalctl -u $unit; the way back: $0 --back"
		fi
	done
	case $restarted in *release-web*) wait_for_web ;; esac
	[ -n "$restarted" ] || say 'no service of ours is enabled on this host: nothing was restarted'
}

# It listens on 127.0.0.1:8000, as its unit says; elsewhere nothing is waited for.
wait_for_web() {
	systemctl cat release-web | grep -q '^ExecStart=.*127\.0\.0\.1:8000' || return 0
	waited=0
	until "$prefix/current/bin/python" -m releasesite.container_health web; do
		waited=$((waited + 1))
		[ "$waited" -lt 60 ] || fail "release-web does not answer: journalctl -u release-web; the way back: $0 --back"
		sleep 1
	done
}

note_changed_units() {
	for unit in $units release-prune; do
		installed=/etc/systemd/system/$unit.service
		if [ -f "$installed" ] && ! cmp -s "$installed" "$prefix/current/packaging/systemd/$unit.service"; then
			say "note: $installed is not the one of this version: compare it with $prefix/current/packaging/systemd/$unit.service"
		fi
	done
}

# The newest three stay, with what `current` and `previous` lead to.
clean_up() {
	kept=$(cd "$releases" && ls -1t | head -n 3)
	for name in $(cd "$releases" && ls -1); do
		case " $(echo "$kept" | tr '\n' ' ') $(linked current) $(linked previous) " in
		*" $name "*) ;;
		*) rm -rf "${releases:?}/$name" ;;
		esac
	done
}

go_to() {
	before=$(linked current)
	[ "$before" = "$1" ] || { [ -z "$before" ] || link previous "$before"; }
	link current "$1"
	say "current is $1${before:+ (before: $before)}"
}

if [ -n "$is_back" ]; then
	version=${version:-$(linked previous)}
	[ -n "$version" ] || fail "there is no version before in $prefix"
	[ -e "$releases/$version/.complete" ] || fail "$version is not in $releases: install it again with $0 $version"
	server "$prefix/current" can_go_back "$version" || fail "no way back to $version (see above); nothing has changed"
	go_to "$version"
	restart_services
	exit 0
fi

new=$releases/$version
mkdir -p "$releases"
if [ -e "$new/.complete" ]; then
	say "$new is there already"
else
	[ -z "$offline" ] || { offline=$(cd "$offline" && pwd) && check_bundle; }
	build
fi
say 'migrating the database'
server "$new" migrate --no-input --verbosity 0 || fail "the database could not be migrated (see above); current is $(linked current) as before"
go_to "$version"
note_changed_units
restart_services
clean_up
