# What every program of ours on a node begins with (inventory/nodes/program.py sends it): how it speaks, what `current`
# leads to, and whether the node has what we need. POSIX sh; a builtin where one will do, because every fork costs.
#
#   MARK TASK ROOT FENCE ARGUMENTS…           one call
#   stay MARK TASK ROOT FENCE ARGUMENTS…      the first of several
#   wait                                      several, all of them later (inventory/nodes/transports/ssh_standby.py)
#
# It speaks in frames, lines that start with MARK (a control character and a nonce). The first of a call is `begun`: what
# comes without it is not ours. The last is `over`; behind it `ready` says that another call may come on stdin.

set -u
umask 022
trap '' HUP PIPE
export LC_ALL=C TZ=UTC0
unset CDPATH SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_AUTH_SOCK SSH_ORIGINAL_COMMAND
# stays: more calls may come after this one.
stays=

# main WORDS…: all calls of one program. Each is carried out in a subshell, so that nothing of it is left for the next; one that
# fails ends the program. An empty line is a question whether anybody is here. release_gated: whoever started us
# (deploys/node/gate.sh) checks each line.
main() {
	case $1 in
	wait) ;;
	stay)
		shift
		call_and_stay "$@"
		;;
	*)
		call "$@"
		exit
		;;
	esac
	while read -r line; do
		if [ -z "$line" ]; then
			printf '\006\n' 2>/dev/null
			continue
		fi
		[ -z "${release_gated-}" ] || (admit "$line") || exit
		eval "set -- $line"
		call_and_stay "$@"
	done
	exit 0
}

call_and_stay() {
	(stays=1 && call "$@") || exit
	mark=$1
	say ready
}

# call MARK TASK ROOT FENCE ARGUMENTS…
call() {
	mark=$1 task=$2 root=$3 fence=$4
	shift 4
	say begun
	perform "$@"
}

# One frame for each argument, in one write.
say() {
	frames=
	for words; do
		frames="$frames$mark $words
"
	done
	printf %s "$frames" 2>/dev/null
}

# where: $now is the release that `current` leads to, however it is linked, else -; $kind is release, none (there is no
# `current`) or elsewhere. Leaves the working directory anywhere.
where() {
	now=- kind=none
	[ -L "$root/current" ] || [ -e "$root/current" ] || return 0
	kind=elsewhere
	[ -L "$root/current" ] && cd -P -- "$root/releases" 2>/dev/null || return 0
	releases=$PWD
	cd -P -- "$root/current" 2>/dev/null || return 0
	case ${PWD#"$releases"/} in '' | */* | [!A-Za-z0-9]* | *[!A-Za-z0-9._+@-]*) ;; *) kind=release now=${PWD##*/} ;; esac
}

# describe RELEASE: d_version and d_sha256 as its .release.json has them, or -. A FIFO in its place would never be read.
describe() {
	json=
	[ ! -f "$root/releases/$1/.release.json" ] || { read -r json <"$root/releases/$1/.release.json"; } 2>/dev/null
	d_version=${json#*'"version":"'} d_sha256=${json#*'"sha256":"'}
	d_version=${d_version%%'"'*} d_sha256=${d_sha256%%'"'*}
	case $d_version in '' | *[!A-Za-z0-9._+-]*) d_version=- ;; esac
	case $d_sha256 in '' | *[!0-9a-f]*) d_sha256=- ;; esac
}

say_current() {
	where
	describe "$now"
	if [ "$kind" = elsewhere ] && read_link "$root/current"; then
		say "current $kind $now $d_version $d_sha256" "elsewhere $led"
	else
		say "current $kind $now $d_version $d_sha256"
	fi
}

# read_link PATH: $led is where it leads, fit to be shown; fails when it is no link.
read_link() {
	[ -L "$1" ] && led=$(readlink -- "$1") || return 1
	case $led in *[[:cntrl:]]*) led='a path with control characters' ;; esac
	[ "${#led}" -le 2000 ] || led='a very long path'
}

# is_ours PATH: a release that we have installed, intact or not: its .release.json is one as `inscribe` writes it. One that is
# torn, or another tool's, is not: ours is on the disk before the release is seen.
is_ours() {
	[ -d "$1" ] && [ ! -L "$1" ] && [ -f "$1/.release.json" ] && [ ! -L "$1/.release.json" ] || return 1
	describe "${1##*/}"
	case $json in
	'{"version":"'*'","sha256":"'*'","operation":"'*'","installed_at":"'*'Z"}') ;;
	*) return 1 ;;
	esac
	[ "$d_version" != - ] && [ "${#d_sha256}" = 64 ]
}

# survey ROOT…: what `current` leads to in each, the task's own root first, then the first of what another tool has put under
# releases/, and of what we could not remove, with its size in kilobytes.
survey() {
	for root in "$root" "$@"; do
		say_current
		count=0
		for path in "$root/releases"/*; do
			{ [ -e "$path" ] || [ -L "$path" ]; } && ! is_ours "$path" && may_list && say "theirs $shown"
		done
		count=0
		for path in "$root/.release"/*.*/gone.*; do
			[ -e "$path" ] && may_list || continue
			size=$(du -sk -- "$path" 2>/dev/null)
			size=${size%%[!0-9]*}
			say "stuck ${size:-0} $path"
		done
	done
}

# may_list: $path is one of the first fifty; $shown is its name, fit to be shown.
may_list() {
	count=$((count + 1)) shown=${path##*/}
	case $shown in *[[:cntrl:]]*) shown='a name with control characters' ;; esac
	[ "$count" -le 50 ]
}

# Text for `sh -c`, which finds a version command in RELEASE_COMMAND. `ask` runs it once: $said is the first line that it
# prints, $instead the first of its stderr, each at most 1000 bytes. The two `echo` end these lines, when what the command
# has left running holds them open.
asking='
nl="
"
first() { head -n 1 | head -c 1000 | { read -r line; printf "%s %s\n" "$1" "$line"; }; }
run() {
	(eval "unset RELEASE_COMMAND; $RELEASE_COMMAND") 3>&- 4>&-
	trap "" PIPE
	echo 2>/dev/null
	echo >&2
}
ask() {
	both=$nl$({ { run 2>&3 | first said >&4; } 3>&1 | first instead; } 4>&1)$nl
	said=${both#*"${nl}said "} instead=${both#*"${nl}instead "}
	said=${said%%"$nl"*} instead=${instead%%"$nl"*}
	while case $said in *[[:space:]]) ;; *) false ;; esac do said=${said%?}; done
}
'

# printable TEXT: $printable is it without control characters.
printable() {
	printable= rest=$1
	while case $rest in *[[:cntrl:]]*) ;; *) false ;; esac do
		part=${rest%%[[:cntrl:]]*}
		printable=$printable$part
		rest=${rest#"$part"?}
	done
	printable=$printable$rest
}

# processes SECONDS COMMAND SERVICE INSTANCE PORT [ROOT INSTANCE PORT]…: runs the version command of each root whose `current`
# leads to a release, fifty at the same time, and says what it prints.
processes() {
	export RELEASE_COMMAND="$2" RELEASE_SERVICE="$3" RELEASE_PREVIOUS_VERSION= RELEASE_OPERATION=
	seconds=$1 count=0
	shift 3
	set -- "$root" "$@"
	while [ $# -ge 3 ]; do
		export RELEASE_ROOT="$1" RELEASE_INSTANCE="$2" RELEASE_PORT="$3"
		say_process &
		count=$((count + 1))
		[ "$((count % 50))" != 0 ] || wait
		shift 3
	done
	wait
}

# Of its process group nothing is left.
say_process() {
	root=$RELEASE_ROOT
	where
	[ "$now" != - ] || return
	describe "$now"
	[ "$d_version" != - ] || d_version=${now%@*}
	told=$(
		trap - HUP PIPE
		read -r pid line </proc/self/stat
		printf '%s ' "$pid"
		cd -- "$root/releases/$now" || exit
		unset LC_ALL TZ
		export RELEASE_VERSION="$d_version"
		exec timeout -k 1 "$seconds" sh -c "$asking"'ask; printf %s "$said"' </dev/null 2>/dev/null
	)
	kill -s KILL -- "-${told%% *}"
	printable "${told#* }"
	say "process $count $printable"
} 2>/dev/null

# look_for_tools: $missing names what the node lacks of what we use.
look_for_tools() {
	missing=
	[ -r /proc/self/stat ] || lacks "Linux's /proc"
	for tool in cat cp date du head ln mkdir mkfifo mv readlink rm sha256sum sleep sync tail timeout tar gzip; do
		command -v "$tool" >/dev/null || lacks "$tool"
	done
	[ -z "$missing" ] || return 0
	# Of the one package, so that one of them tells of the others; other makes of them lack options that we use.
	for tool in cp ln mv timeout; do
		case $("$tool" --version 2>/dev/null) in *coreutils*) ;; *) lacks "GNU coreutils' $tool" ;; esac
	done
	du -b -l --time=ctime --time-style=+%s.%N --files0-from=/dev/null >/dev/null 2>&1 || lacks "GNU coreutils' du"
	[ "$(printf ab | { head -c 1 >/dev/null && cat; })" = b ] || lacks "GNU coreutils' head"
}

lacks() { missing="${missing:+$missing, }$1"; }

# check ROOT…: what a deploy would fail for. Writes nothing. A task's own root may be -, for none.
check() {
	look_for_tools
	[ -z "$missing" ] || say "missing $missing"
	for root in "$root" "$@"; do
		[ "$root" = - ] || check_root
	done
}

# The deploy root, or as much of its path as is there.
check_root() {
	path=$root
	until [ -e "$path" ] || [ -L "$path" ]; do
		path=${path%/*}
		path=${path:-/}
	done
	[ -d "$path" ] && [ -w "$path" ] && [ -x "$path" ] || say "unwritable $path"
	for path in "$root/releases" "$root/.release"; do
		[ ! -e "$path" ] || { [ -d "$path" ] && [ -w "$path" ] && [ -x "$path" ]; } || say "unwritable $path"
	done
	[ -L "$root/current" ] || [ ! -e "$root/current" ] || say "nolink $root/current"
	say "room $(room "$root")"
}

# room PATH: kilobytes free where it is, or will be, - when the node does not say; and what is mounted there.
room() {
	path=$1
	until [ -d "$path" ]; do
		path=${path%/*}
		path=${path:-/}
	done
	df -Pk -- "$path" 2>/dev/null | {
		read -r line
		read -r device size used free part mount
		case $mount in *[[:cntrl:]]*) mount= ;; esac
		printf '%s %.1000s\n' "${free:--}" "$mount"
	}
}

# perform ARGUMENTS…: the task. deploys/node/program.sh has more of them.
perform() {
	perform_base "$@"
	exit 0
}

perform_base() {
	case $task in
	survey) survey "$@" ;;
	processes) processes "$@" ;;
	check) check "$@" ;;
	*) return 1 ;;
	esac
	say over
	exit 0
}
