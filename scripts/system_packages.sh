#!/bin/sh
# Makes sure of the programs that the tests use, and of those that are named as arguments; installs what is missing where it may.
set -eu
PATH=$PATH:/usr/sbin:/sbin

has_program() { command -v "$1" >/dev/null 2>&1; }
has_chinese_font() { has_program fc-list && [ -n "$(fc-list :lang=zh file | head -n 1)" ]; }

missing() {
	for program in "$@"; do
		has_program "$program" || echo "$program"
	done
	has_program sshd || echo openssh-server
	has_program ssh-keygen || echo openssh-client
	has_program chromium || has_program chromium-browser || has_program google-chrome || echo chromium
	has_program msgfmt || echo gettext
	has_program ip || echo iproute2
	has_program curl || echo curl
	has_program wget || echo wget
	has_program git || echo git
	# What packaging/ is checked with.
	has_program systemd-analyze || echo systemd
	has_program nginx || echo nginx-light
	has_program caddy || echo caddy
	has_program promtool || echo prometheus
	# What an admin has on the machine that docs/production.md is tried on.
	has_program sudo || echo sudo
	has_program pg_createcluster || echo postgresql
	# Login shells that nodes may have.
	for shell in bash tcsh fish mksh zsh busybox; do
		has_program "$shell" || echo "$shell"
	done
	[ -e /bin/bsd-csh ] || has_program csh || echo csh
	has_program fc-list || echo fontconfig
	has_chinese_font || echo fonts-noto-cjk
}

packages=$(missing "$@" | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if has_program apt-get; then
	as_root=
	[ "$(id -u)" = 0 ] || as_root='sudo -n'
	echo "test: installing $packages" >&2
	# RUNLEVEL=1 keeps Debian from starting the SSH service: the tests start one of their own.
	# shellcheck disable=SC2086
	{
		$as_root apt-get update -qq &&
			$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
				apt-get install -y -qq --no-install-recommends $packages
	} >/dev/null || echo "test: apt-get failed (see above)" >&2
fi

packages=$(missing "$@" | tr '\n' ' ')
[ -z "$packages" ] || { echo "test: missing and not to be installed from here: $packages(Debian's names)" >&2; exit 1; }
