#!/bin/sh
# The forced command of the release system's SSH key on one node: it lets the system's own programs through, for the
# instances and commands below, and nothing else. Made by `manage.py node_gate`; make it again when the inventory's
# instances of this node or their commands change, and at every upgrade.
#
# The client's command line comes in SSH_ORIGINAL_COMMAND and must be the one that every call has; what is to be done comes
# on stdin, as inventory/nodes/transports/bootstrap.py says. The line of arguments there must be of plain words and
# 'single-quoted' ones alone (as Python's shlex.join writes them), with "$nl" for a newline: such a line has nothing else
# to expand, so that `eval set --` only takes it apart.

set -fu
LC_ALL=C
nl='
'

is_node_program() { case $1 in @PROGRAMS@) ;; *) return 1 ;; esac; }
# Only a node that pulls lets itself be sent to a URL.
is_source() { case $1 in @SOURCES@) ;; *) return 1 ;; esac; }
is_root() { case $1 in @ROOTS@) ;; *) return 1 ;; esac; }
# is_command ROOT COMMAND
is_command() {
	[ -n "$2" ] || return 0
	case "$1
$2" in @COMMANDS@) ;; *) return 1 ;; esac
}

refuse() {
	printf 'release-gate: refused: %s\n' "$1" >&2
	exit 126
}

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }
is_digest() { case $1 in - | '') ;; *[!0-9a-f]*) return 1 ;; esac; }
is_name() { case $1 in '' | .* | *[!A-Za-z0-9._+@-]*) return 1 ;; esac; }
is_operation() { case $1 in '' | .* | *[!A-Za-z0-9._:+@-]*) return 1 ;; esac; }

is_plain_line() {
	rest=$1
	while [ -n "$rest" ]; do
		case $rest in
		\'*\'*) rest=${rest#\'*\'} ;;
		\"\'\"*) rest=${rest#\"\'\"} ;;
		'"$nl"'*) rest=${rest#'"$nl"'} ;;
		' '* | [A-Za-z0-9@%+=:,./_-]*) rest=${rest#?} rest=${rest#"${rest%%[!A-Za-z0-9@%+=:,./_ -]*}"} ;;
		*) return 1 ;;
		esac
	done
}

digest_of() {
	digest=$(printf %s "$1" | sha256sum) || refuse 'no sha256sum'
	digest=${digest%% *}
}

# is_kept PATH: an upload that the node program keeps for the node's other instances.
is_kept() { is_root "${1%/.release/kept.*}" && is_number "${1##*/.release/kept.}"; }

check_environment() {
	for pair; do
		case ${pair%%=*} in
		*[!A-Z_]*) refuse 'a name in the environment' ;;
		RELEASE_[A-Z]*) ;;
		*) refuse 'a name in the environment' ;;
		esac
		case $pair in *=*) ;; *) refuse 'the environment' ;; esac
	done
}

# is_mark MARK: what frames start with, and no word that the program may take for something else.
is_mark() {
	hex=${1#"$frame_start"}
	[ "$hex" != "$1" ] || return 1
	case $hex in '' | *[!0-9a-f]*) return 1 ;; esac
}
frame_start=$(printf '\036')

# admit LINE: of a further call, which the program asks us about.
admit() {
	is_plain_line "$1" || refuse 'arguments that are not of plain and quoted words'
	eval "set -- $1"
	check_call "$@"
}

# The program asks us about each further call; those of earlier versions, which may be let through as well, do not.
is_asking() { case $p in *release_gated*) ;; *) return 1 ;; esac; }

# check_calls WORDS…: how the program is called; see inventory/nodes/base.sh.
check_calls() {
	case ${1-} in
	wait)
		is_asking && [ $# = 1 ] || refuse 'arguments that come later'
		;;
	stay)
		is_asking || refuse 'arguments that come later'
		shift
		check_call "$@"
		;;
	*) check_call "$@" ;;
	esac
}

# check_call MARK TASK ROOT FENCE ARGUMENTS…: as deploys/node/calls.py builds them.
check_call() {
	[ $# -ge 4 ] || refuse 'too few arguments'
	is_mark "$1" || refuse 'the mark'
	task=$2 root=$3
	is_root "$root" || [ "$task $root" = 'check -' ] || refuse 'this deploy root'
	is_number "$4" || refuse 'the fence'
	shift 4
	case $task in
	state | abort) [ $# = 0 ] || refuse 'too many arguments' ;;
	read | survey | check) for other; do is_root "$other" || refuse 'this deploy root'; done ;;
	check_release) [ $# = 2 ] && is_name "$1" && is_digest "$2" || refuse 'what to look for' ;;
	processes)
		[ $# -ge 5 ] && is_number "$1" && is_name "$3" || refuse 'what to ask'
		command=$2
		shift 3
		set -- "$root" "$@"
		while [ $# != 0 ]; do
			[ $# -ge 3 ] && is_root "$1" && is_name "$2" && is_number "$3" || refuse 'whom to ask'
			is_command "$1" "$command" || refuse 'this command'
			shift 3
		done
		;;
	forget) [ $# = 1 ] && is_kept "$1" || refuse 'to remove this' ;;
	mute) [ $# = 2 ] && is_number "$1" && is_number "$2" || refuse 'process ids' ;;
	stage)
		# Of an earlier version it has fewer.
		case $# in 8 | 9 | 11) ;; *) refuse 'what to stage' ;; esac
		is_number "${9-0}" && { [ "${10--}" = - ] || is_name "${10}"; } && is_digest "${11--}" || refuse 'what to stage'
		is_number "$8" && is_name "$1" && is_name "$2" && is_digest "$3" && is_operation "$4" && is_digest "$5" ||
			refuse 'what to stage'
		is_source "$6" || is_kept "$6" || refuse 'the source'
		case $7 in 0 | 1) ;; *) refuse 'what to keep' ;; esac
		;;
	before_switch)
		[ $# -ge 3 ] && is_name "$1" && is_number "$2" || refuse 'what to prepare'
		is_command "$root" "$3" || refuse 'this command'
		shift 3
		check_environment "$@"
		;;
	switch)
		[ $# -ge 9 ] && is_name "$1" && is_digest "$2" && is_operation "$3" && is_number "$4" && is_number "$9" ||
			refuse 'what to switch to'
		is_command "$root" "$5" && is_number "$7" && is_command "$root" "$8" || refuse 'this command'
		case $6 in *[!A-Za-z0-9._+@\ -]*) refuse 'what to keep' ;; esac
		shift 9
		check_environment "$@"
		;;
	conclude)
		[ $# -ge 5 ] && is_operation "$2" && is_number "$3" || refuse 'what to conclude'
		case $1 in - | 0 | 1) ;; *) refuse 'what to conclude' ;; esac
		is_command "$root" "$4" || refuse 'this command'
		case $5 in *[!A-Za-z0-9._+@\ -]*) refuse 'what to keep' ;; esac
		shift 5
		check_environment "$@"
		;;
	*) refuse 'this task' ;;
	esac
}

line=${SSH_ORIGINAL_COMMAND-}
unset SSH_ORIGINAL_COMMAND
[ -n "$line" ] || refuse 'a login'
[ "$line" = @COMMAND_LINE@ ] || refuse 'this line: was this gate made for the version that calls it?'
read -r w n a || refuse 'no arguments'
[ "$w" = release-node ] && is_number "$n" && [ "${#n}" -le 6 ] || refuse 'what does not begin as our programs do'
is_plain_line "$a" || refuse 'arguments that are not of plain and quoted words'
p=$(head -c "$n") || refuse 'no program'
digest_of "$p"
is_node_program "$digest" || refuse 'another program: was this gate made for the version that calls it?'
eval "set -- $a"
check_calls "$@"
release_gated=yes
set +fu
eval "$p"
