# Everything that a deploy does on a node. POSIX sh with tar, gzip, coreutils and Linux's /proc. It goes on where
# inventory/nodes/base.sh ends: see there for how it is called and how it speaks (deploys/node/frames.py reads it). It
# ignores a lost connection and finishes by itself; what it did stands in its claim's `state`.
#
#   ROOT/.release/claim.N/       the work of the claim with fence N; the highest one stays, as a record of the fence
#                 claim.N/state  one fact a line, the last of a kind counts:
#                                  owner PID START BOOT GROUP BUDGET     the program that runs here; `owner done`: it ended
#                                  command PID START                     what it runs now; `command - -`: nothing
#                                  switch FENCE RELEASE PREVIOUS PHASE EXIT LATE REVERTED
#                                    LATE is 1 for a restart that was out of time, 2 when an abort has ended it or what came
#                                    after it, 3 when the version command has not named the new version in time, 4 for a
#                                    switch that was not confirmed in time, 5 for one that was taken back unconfirmed
#                                  confirm UNTIL BOOT     of that switch, while it waits: until when, in 1/100 s of that boot's uptime
#                                  back EXIT LATE     of that switch: how the restart of its way back ended; for EXIT,
#                                    `gone`: the release before is, and there was none; `unlinked`: the link did not go back
#                                  said TEXT     of that switch, when LATE is 3: what the version command said at last
#                 claim.N/abort  there: a restart for the way back gets 20 seconds
#                 dead.N/        a claim that a newer one has recovered
#                 seals/RELEASE/ of one that another tool installed, once we have left it: seal, of all that is in it. Else files: the package's own files; seal: the integrity stamp, their sizes and ctimes, as a shell assignment,
#                                and restamped=1 when a command has changed some of them since;
#                                mold: the template, what a claim for a switch to it begins with
#                 elsewhere      a copy of the `current` that led to no release before a switch; PREVIOUS is @elsewhere then
#                 kept.N         an upload that the node's other instances take their release from
#
# What it says, besides `begun` and `over`, a frame each:
#   step STEP · command PID OUT_READER ERR_READER · end EXIT LATE HUNDREDTHS, of a command, once on each stream, behind what it
#   printed · warning TEXT · kept PATH · current KIND RELEASE VERSION SHA256,
#   and for KIND elsewhere: elsewhere PATH
#   unconfirmed SECONDS: that switch waits to be confirmed, so long still; 0 when its time is over, or the node was restarted
#   before release RELEASE|elsewhere PATH: what we did not install, and stood there before a switch
#   last FENCE RELEASE PREVIOUS PHASE EXIT LATE REVERTED LIVING BACK_EXIT BACK_LATE
#   said TEXT: what the version command said at last, and was not the version
#   waiting FENCE PID SECONDS, then waited FENCE ended|killed: for an older claim in mid-switch
#   outcome present|installed|needs_artifact|no_base|not_intact, of check_release present|unfit|absent|theirs · restamped FILE: the first that a command has changed · ended EXIT LATE
#   unfit gone|changed PATH: why a release of ours that is there is staged anew
#   base WORD TEXT: why it can't be made of the release that was named for that, with the outcome no_base: as of `found`; restamped
#   PATH: a command has changed files of it; lacks TOOL; differs TEXT: what was made of it is not what it is to be
#   linked FROM TO: `current` was moved; FROM is - when it led to no release · verified: the version command said the version
#   removed COUNT RELEASE…: by the clean-up
#   switched PREVIOUS EXIT LATE REVERTED BACK_EXIT BACK_LATE · unlinked TEXT: why the link did not go back
#   found gone|no_folder|closed|changed|folder|file PATH: before an error or not_intact, what others have changed
#   error CODE TEXT
#
# Phases of a switch: switching (the link may have moved), switched (it has), confirming (it waits), reverting, done; refused
# (it never moved). Who waits lets newer claims be, and is ended by the next switch or `conclude`.
# Nothing becomes visible but by renaming it out of claim.N by its full path, which fails once a newer claim has
# renamed claim.N away. The working directory is claim.N itself: relative names go on working after that.

boot=- own=$$ readers= unread=0 newest=0 trash= message= budget=60 taken=0 warnings=0 template= release= found= compared=
read -r boot </proc/sys/kernel/random/boot_id
l_fence=0 l_release=- l_previous=- l_phase=- l_exit=- l_late=0 l_reverted=0 l_back= l_said= l_pid=- l_start=- l_boot=-
l_until=0 l_until_boot=-

# The last frames; the working directory is still claim.N (`say_current` leaves it). Then frees what is no longer needed: $trash names it relative to $base.
finish() {
	[ "$taken" = 0 ] || note 'owner done - - - 0'
	say "$@" over
	[ -z "$stays" ] || leave_nothing "$@" || exit
	[ -z "$trash" ] || { cd -- "$base" && exec rm -rf -- $trash 2>/dev/null; }
	exit 0
}

# leave_nothing FRAME…: what could reach into the next call: some of an upload that was not read, the readers of a daemon's
# output. Fails when something stays; of an ended command's readers it waits for the end. The next call need not wait for `rm`.
leave_nothing() {
	[ -z "$trash" ] || { cd -- "$base" && rm -rf -- $trash >/dev/null 2>&1 & }
	trash=
	[ "$unread" = 0 ] || return 1
	for reader in $readers; do
		tries=0
		while identify "$reader" && [ "$id_parent" = "$own" ] && [ "$id_state" != Z ]; do
			tries=$((tries + 1))
			[ "$tries" -lt 20 ] && sleep 0.002 || return 1
		done
	done
}

stale() {
	finish "error stale $newest"
}

# fail CODE TEXT: TEXT may hold a tool's message of several lines; a full disk and a folder that the login may not write
# are recognised in it. Says what others have changed, if that is why, and what `current` leads to.
fail() {
	code=$1 text=$2
	[ "$taken" = 0 ] || [ -d "$claim" ] || lose_claim
	case $code:$text in
	*'No space left on device'* | *'Disk quota exceeded'*) code=node_disk_full ;;
	*'Read-only file system'*) code=node_not_writable ;;
	internal_error:*'Permission denied'* | switch_failed:*'Permission denied'*) code=node_not_writable ;;
	internal_error:*'Operation not permitted'* | switch_failed:*'Operation not permitted'*) code=node_not_writable ;;
	internal_error:* | switch_failed:*) look || blame_tools ;;
	esac
	(say_current)
	if [ -n "$found" ]; then
		[ "$code" != internal_error ] || code=switch_failed
		say "found $found"
	fi
	flatten "$text"
	finish "error $code $flat"
}

# What failed after a newer claim has renamed ours away, failed for that. Else somebody else has removed it.
lose_claim() {
	taken=0
	for other in "$base"/claim.*; do
		case ${other##*.} in *[!0-9]*) ;; *) [ "${other##*.}" -le "$fence" ] || newest=${other##*.} ;; esac
	done
	[ "$newest" = 0 ] && [ ! -d "$base/dead.$fence" ] || stale
	found="gone $claim"
}

# look: $found is what others have changed, a word and a path, for whoever asks why something failed; fails when it is nothing.
look() {
	[ -z "$found" ] || return 0
	path=$root
	until [ -e "$path" ] || [ -L "$path" ] || [ "$path" = / ]; do
		path=${path%/*}
		path=${path:-/}
	done
	look_at "$path" && look_at "$root" && look_at "$root/releases" || return 0
	[ "$task" != stage ] || return 1
	look_at "$root/releases/$release" || return 0
	[ ! -L "$root/current" ] && [ -e "$root/current" ] || return 1
	[ -d "$root/current" ] && found="folder $root/current" || found="file $root/current"
}

# look_at PATH: a folder, a release one of its own, that may be entered. Staging makes what is not there.
look_at() {
	if [ ! -e "$1" ] && [ ! -L "$1" ]; then
		[ "$task" = stage ] || found="gone $1"
	elif [ ! -d "$1" ] || { [ "$1" = "$root/releases/$release" ] && [ -L "$1" ]; }; then
		found="no_folder $1"
	elif [ ! -x "$1" ]; then
		found="closed $1"
	fi
	[ -z "$found" ]
}

# What went wrong for no reason that we know may have done so for want of a tool.
blame_tools() {
	look_for_tools
	[ -z "$missing" ] || code=node_unsuitable text=$missing
}

# flatten TEXT: $flat is it on one line, and cut: a tool may have a message for each of many files.
flatten() {
	set -f
	IFS='
'
	set -- $1
	IFS=' '
	flat=$*
	unset IFS
	set +f
	[ "${#flat}" -le 2000 ] || flat=$(printf '%.2000s' "$flat")
}

# try COMMAND…: its message in $message when it fails. It runs again for that, because catching it costs a fork.
try() { "$@" 2>/dev/null || message=$("$@" 2>&1); }

# A file that a builtin could not write: a tool says why.
no_room() { fail internal_error "cannot write $PWD/state: $(date 2>&1 >>state)"; }

note() { printf '%s\n' "$*" >>state; } 2>/dev/null

record() {
	waits=
	[ "$l_phase" != confirming ] || waits="
confirm $l_until $l_until_boot"
	note "switch $l_fence $l_release $l_previous $l_phase $l_exit $l_late $l_reverted$waits${l_back:+
back $l_back}${l_said:+
said $l_said}"
}

# identify PID: sets id_pid id_state id_parent id_group id_start; fails when there is none.
identify() {
	id_line=
	{ read -r id_line <"/proc/$1/stat"; } 2>/dev/null || return 1
	id_pid=${id_line%% *}
	set -- ${id_line##*) }
	id_state=$1 id_parent=$2 id_group=$3
	shift 19
	id_start=$1
}

# is_alive PID START BOOT: the very process, not one that got its number later.
is_alive() { [ "$3" = "$boot" ] && identify "$1" && [ "$id_start" = "$2" ] && [ "$id_state" != Z ]; }

read_state() {
	s_pid=- s_start=- s_boot=- s_group=- s_budget=0 s_command=- s_command_start=-
	s_fence=0 s_release=- s_previous=- s_phase=- s_exit=- s_late=0 s_reverted=0 s_back= s_said= s_until=0 s_until_boot=-
	[ -f "$1" ] && [ -r "$1" ] || return 0
	while read -r word a b c d e f g; do
		case $word in
		owner) s_pid=$a s_start=$b s_boot=$c s_group=$d s_budget=$e ;;
		command) s_command=$a s_command_start=$b ;;
		switch) s_fence=$a s_release=$b s_previous=$c s_phase=$d s_exit=$e s_late=$f s_reverted=$g s_back= s_said= ;;
		confirm) s_until=$a s_until_boot=$b ;;
		back) s_back="$a $b" ;;
		said) s_said="$a${b:+ $b}${c:+ $c}${d:+ $d}${e:+ $e}${f:+ $f}${g:+ $g}" ;;
		esac
	done <"$1"
}

# recall FOLDER: keeps its record of a switch when that is the newest seen so far.
recall() {
	read_state "$1/state"
	[ "$s_fence" -gt 0 ] && [ "$s_fence" -ge "$l_fence" ] || return 0
	l_fence=$s_fence l_release=$s_release l_previous=$s_previous l_phase=$s_phase
	l_exit=$s_exit l_late=$s_late l_reverted=$s_reverted l_back=$s_back l_said=$s_said
	l_until=$s_until l_until_boot=$s_until_boot
	[ "${1##*.}" != "$s_fence" ] || l_pid=$s_pid l_start=$s_start l_boot=$s_boot
}

is_unfinished() { case $1 in switching | switched | reverting) ;; *) return 1 ;; esac; }

# may_wait: the record that was read is of a switch that waits to be confirmed, and this task is none that ends it.
may_wait() {
	[ "$s_phase" = confirming ] && is_alive "$s_pid" "$s_start" "$s_boot" || return 1
	case $task in switch | conclude) return 1 ;; esac
}

# end_waiting: it alone, and its `sleep`: its process group has the readers of a daemon's output.
end_waiting() {
	sleeping=
	{ read -r sleeping <"/proc/$s_pid/task/$s_pid/children"; } 2>/dev/null
	kill -s KILL "$s_pid" $sleeping 2>/dev/null
}

# settle FOLDER: nothing of that claim runs any more when this returns. In mid-switch it may finish.
settle() {
	read_state "$1/state"
	! may_wait || return 0
	waited=0 ending=
	while is_alive "$s_pid" "$s_start" "$s_boot"; do
		if [ "$s_phase" = confirming ]; then
			end_waiting
		elif ! is_unfinished "$s_phase" || [ "$s_fence" != "${1##*.}" ] || [ "$waited" -gt "${s_budget}0" ]; then
			kill -s KILL -- "-$s_group" "$s_pid" 2>/dev/null
			ending=${ending:+killed}
		elif [ "$waited" = 0 ]; then
			say "waiting ${1##*.} $s_pid $s_budget"
			ending=ended
		fi
		waited=$((waited + 1))
		sleep 0.1
		read_state "$1/state"
	done
	[ -z "$ending" ] || say "waited ${1##*.} $ending"
	waited=0
	while is_alive "$s_command" "$s_command_start" "$s_boot"; do
		[ "$waited" != 0 ] || kill -s TERM "$s_command" 2>/dev/null
		[ "$waited" -lt 60 ] || kill -s KILL -- "-$s_command" "$s_command" 2>/dev/null
		waited=$((waited + 1))
		sleep 0.1
	done
}

# Makes this claim the one that counts, or ends as stale. Leaves the working directory in it. Of any two claims, each
# writes its owner down before it looks at the other: so the lower one sees the higher, or is seen to run.
take_claim() {
	made=0
	if [ ! -d "$claim" ]; then
		made=1
		{ [ -d "$template" ] && cp -RPT -- "$template" "$claim" 2>/dev/null; } ||
			mkdir -- "$claim" 2>/dev/null || [ -d "$claim" ] ||
			try mkdir -p -- "$root/releases" "$base/seals" "$claim" || fail internal_error "$message"
	fi
	cd -P -- "$root" 2>/dev/null || fail node_not_writable "cannot enter $root"
	root=$PWD base=$PWD/.release claim=$PWD/.release/claim.$fence
	go_home
	settle "$claim"
	identify self
	own=$id_pid
	note "owner $own $id_start $boot $id_group $budget" || no_room
	below=0 count=0
	for other in "$base"/claim.*; do
		number=${other##*.} count=$((count + 1))
		if [ "$number" -gt "$fence" ]; then
			newest=$number
		elif [ "$number" -lt "$fence" ] && [ "$number" -gt "$below" ]; then
			below=$number
		fi
	done
	if [ "$newest" != 0 ]; then
		[ "$made" = 0 ] || rm -rf -- "$claim"
		stale
	fi
	[ "$below" = 0 ] || recall "$base/claim.$below"
	[ "$below" = 0 ] || [ "$s_pid" = done ] || retire
	recall "$claim"
	inherit
	[ "$l_fence" = 0 ] || record || no_room
	taken=1
}

# A claim that ended well has seen to all before it, and its program has ended: it may lie until there are many.
# Anything else is renamed away, brought to rest, and its record kept.
retire() {
	for other in "$base"/claim.*; do
		[ "${other##*.}" -ge "$fence" ] || mv -T -- "$other" "$base/dead.${other##*.}" 2>/dev/null
	done
}

inherit() {
	for other in "$base"/dead.*; do
		[ -d "$other" ] && [ "${other##*.}" -lt "$fence" ] || continue
		settle "$other"
		recall "$other"
		may_wait || trash="$trash ${other##*/}"
	done
	for other in "$base"/kept.*; do
		[ ! -f "$other" ] || [ "${other##*.}" -ge "$fence" ] || trash="$trash ${other##*/}"
	done
	[ "$count" -gt 8 ] || return 0
	for other in "$base"/claim.*; do
		[ "${other##*.}" -ge "$fence" ] || trash="$trash ${other##*/}"
	done
}

go_home() {
	cd -- "$claim" 2>/dev/null && return
	lose_claim
	fail internal_error "cannot enter $claim"
}

# In a release's folder, and only within $(): what changes whenever one of the files that MANIFEST lists does.
fingerprint() { exec du -b -l --time=ctime --time-style=+%s.%N --files0-from="$1" 2>/dev/null; }

# The same of a release that has no such list.
fingerprint_all() { du -a -0 -b -l --time=ctime --time-style=+%s.%N . 2>/dev/null | sha256sum; }

is_foreign() { [ -d "$root/releases/$1" ] && ! is_ours "$root/releases/$1"; }

# say_before PREVIOUS: what we did not install, and stood there before a switch.
say_before() {
	case $1 in
	@elsewhere) read_link "$base/elsewhere" && say "before elsewhere $led" ;;
	[A-Za-z0-9]*) is_foreign "$1" && say "before release $1" ;;
	esac
}

# is_intact RELEASE SHA256; SHA256 is - for one that another tool installed, which is intact as long as it is as we left it.
is_intact() {
	describe "$1"
	compared=
	[ "$d_sha256" = "$2" ] && [ ! -L "$root/releases/$1" ] && [ -r "$base/seals/$1/seal" ] || return 1
	[ -f "$base/seals/$1/seal" ] && [ ! -p "$base/seals/$1/files" ] || return 1
	compared=$(compare "$1" 2>/dev/null)
	case $compared in intact*) ;; *) return 1 ;; esac
}

# In a subshell: a torn stamp may be no shell at all, and end it. Prints `intact`, `intact restamped`, `changed FILE` or nothing.
compare() {
	cd -- "$root/releases/$1" && sealed= restamped= && . "$base/seals/$1/seal" && [ -n "$sealed" ] || return
	if [ -e "$base/seals/$1/files" ]; then
		printed=$(fingerprint "$base/seals/$1/files")
	else
		printed=$(fingerprint_all)
	fi
	[ "$printed" != "$sealed" ] || { printf %s "intact${restamped:+ restamped}" && return; }
	[ -r "$base/seals/$1/files" ] || return
	set -f
	IFS='
'
	set -- $sealed
	for line in $printed; do
		[ "$line" = "${1-}" ] || break
		shift
	done
	file=${1##*	}
	printf 'changed %s' "${file#./}"
}

# find_fault RELEASE SHA256: $found says why it is not intact.
find_fault() {
	look && return
	[ -z "$compared" ] || require_tools
	flatten "$root/releases/$1/${compared#changed }"
	found="changed $flat"
	if [ ! -r "$base/seals/$1/seal" ]; then
		found="gone $base/seals/$1/seal"
	elif [ "$d_sha256" != "$2" ]; then
		found="changed $root/releases/$1/.release.json"
	elif [ "$2" = - ]; then
		found="changed $root/releases/$1"
	elif [ -z "$compared" ]; then
		found="changed $base/seals/$1"
	fi
}

# quote TEXT: $quoted is a word that a shell reads as TEXT.
quote() {
	quoted= rest=$1
	while case $rest in *\'*) ;; *) false ;; esac do
		quoted="$quoted${rest%%\'*}'\\''"
		rest=${rest#*\'}
	done
	quoted="'$quoted$rest'"
}

say_state() {
	say_current
	[ "$l_fence" = 0 ] && return
	is_alive "$l_pid" "$l_start" "$l_boot" && living=1 || living=0
	say "last $l_fence $l_release $l_previous $l_phase $l_exit $l_late $l_reverted $living ${l_back:-- 0}"
	[ -z "$l_said" ] || say "said $l_said"
	[ "$l_phase" != confirming ] || say_unconfirmed
	say_before "$l_previous"
}

# stage RELEASE VERSION SHA256 OPERATION ARTIFACT_SHA256 SOURCE KEEP FETCH_SECONDS SIZE BASE BASE_SHA256; SOURCE is -, stdin (SIZE
# bytes), url (a line on stdin), or a file on the node. BASE: the release that lacks only what comes, or -.
stage() {
	release=$1 want=$5 source=$6 seconds=$8 size=$9 from=${10} from_sha256=${11}
	[ -d "$base/seals" ] || require_tools
	take_claim
	say_state
	go_home
	# Of one that ended well, and was killed before it had freed them.
	for other in "$base"/claim.*/upload "$base"/claim.*/old "$base"/claim.*/part; do
		[ ! -e "$other" ] || trash="$trash ${other#"$base/"}"
	done
	if is_intact "$release" "$3"; then
		finish "outcome present"
	fi
	[ "$d_sha256" != "$3" ] || say_unfit "$3"
	[ -d "$root/releases" ] || try mkdir -p -- "$root/releases" || fail internal_error "$message"
	case $source in
	stdin | url) ;;
	*) [ -f "$source" ] || finish "outcome needs_artifact" ;;
	esac
	spare_foreign
	[ "$from" = - ] || look_at_base
	# Whoever called sends it now.
	case $source in stdin | url) unread=1 ;; esac
	say "step stage"
	[ ! -e release ] || rm -rf -- release part
	if [ "$source" = stdin ] && [ "$7" = 0 ]; then
		unpack_stream
	else
		unpack_upload
	fi
	[ "$from" = - ] || build
	inscribe "$@"
	publish
	if [ "$7" = 1 ] && [ "$source" = upload ]; then
		mv -fT -- upload "$base/kept.$fence" && say "kept $base/kept.$fence"
	fi
	trash="$trash claim.$fence/upload claim.$fence/old claim.$fence/part"
	finish "outcome installed"
}

# What stands in the release's place and is not ours stays there; what is ours was there whole, or not at all.
spare_foreign() {
	[ -e "$root/releases/$release" ] || [ -L "$root/releases/$release" ] || return 0
	is_ours "$root/releases/$release" || give_up_as release_exists "$root/releases/$release"
}

# say_unfit SHA256: it is there, and ours, but not as it was stamped.
say_unfit() {
	find_fault "$release" "$1"
	[ -z "$found" ] || say "unfit $found"
	found=
}

# Before our first claim in this root; that it was made says that all was there.
require_tools() {
	look_for_tools
	[ -z "$missing" ] || fail node_unsuitable "$missing"
}

# Straight off the wire. SSH vouches for every byte, and gzip's own length and checksum for there being no less. GNU's `head`
# takes no byte more than it is told to: what follows is the next call.
unpack_stream() {
	message=$(head -c "$size" 2>/dev/null | tar -x -z -o -f - 2>&1) && unread=0 && return
	case $message in
	*'No space left on device'* | *'Disk quota exceeded'*) ;;
	*gzip:*) give_up_as damaged "the upload broke off, or came with other bytes than were sent" ;;
	esac
	give_up "$message"
}

# From a file: the node's other instances read it too, so it has to be what was sent.
unpack_upload() {
	wrong='damaged the artifact came with other bytes than were sent'
	case $source in
	stdin)
		source=upload
		message=$(head -c "$size" 2>&1 >upload) || give_up "$message"
		unread=0
		;;
	url)
		source=upload wrong='package_checksum_mismatch what the node fetched is not what was packed for it'
		fetch
		;;
	esac
	sum=$(sha256sum <"$source") || give_up "cannot read $source"
	[ "${sum%% *}" = "$want" ] || give_up_as "${wrong%% *}" "${wrong#* }"
	message=$(tar -x -z -o -f - <"$source" 2>&1) || give_up "$message"
}

# The URL, a line on stdin, into `upload`. Its signature must not be seen: printf is a builtin, and both tools read it
# from their stdin. Their proxies and certificates are the login's own affair.
fetch() {
	read -r url
	unread=0
	if command -v curl >/dev/null; then
		tool=curl
	elif command -v wget >/dev/null; then
		tool=wget
	else
		give_up_as package_unreachable "it has neither curl nor wget"
	fi
	read -r begun word </proc/uptime
	for pause in 0 1 2 4; do
		[ "$pause" = 0 ] || sleep "$pause"
		read -r now_seconds word </proc/uptime
		left=$((seconds - ${now_seconds%.*} + ${begun%.*}))
		[ "$left" -gt 0 ] || break
		message=$(fetch_with_"$tool" 2>&1) && return
		case $message in *' 403'* | *' 404'*) break ;; esac
		check_room
	done
	give_up_as package_unreachable "$tool: ${message:-no end after $seconds s}"
}

# In the foreground: a newer claim ends the whole process group.
fetch_with_curl() {
	printf 'url = "%s"\n' "$url" |
		timeout --foreground "$left" curl -K - -sSfL --proto =http,https --max-redirs 3 --connect-timeout 15 \
			--speed-limit 1000 --speed-time 30 -o upload
}

fetch_with_wget() {
	printf '%s\n' "$url" |
		timeout --foreground "$left" wget -i - -nv --tries=1 --max-redirect=3 --timeout=30 -O upload
}

# curl does not say why it could not write.
check_room() {
	case $message in *'(23)'*) message="$message $(head -c 65536 /dev/zero 2>&1 >>upload)" ;; esac
	case $message in *'No space left on device'* | *'Disk quota exceeded'*) give_up "$message" ;; esac
}

give_up() { give_up_as internal_error "$1"; }

give_up_as() {
	rm -rf -- release part files seal upload
	fail "$1" "$2"
}

# look_at_base: whether what is to be made of $from can be.
look_at_base() {
	for tool in xargs b2sum; do
		command -v "$tool" >/dev/null || turn_down "lacks $tool"
	done
	if is_intact "$from" "$from_sha256" && [ -f "$base/seals/$from/files" ]; then
		[ "$compared" = intact ] || turn_down "restamped $root/releases/$from"
		return
	fi
	if [ -d "$root/releases/$from" ]; then
		find_fault "$from" "$from_sha256"
	else
		found="gone $root/releases/$from"
	fi
	turn_down "$found"
}

# turn_down WHY: whoever called makes do without that release.
turn_down() {
	rm -rf -- release part files upload
	flatten "$1"
	found=
	finish "base $flat" "outcome no_base"
}

# build: the release, of what came and of files of $from, which are copied. `part` has lists, with a NUL behind each name: gone, of
# $from's files that are not wanted; sent, of what came; times.T, of what is to be of the time T. plan: the digest of all
# files' digests, and what time all those from $from are to be of first, or -.
build() {
	read -r digest time <part/plan || turn_down "differs $release: no plan came along"
	choose || give_up "$message"
	copy || case $message in *'No space left on device'* | *'Disk quota exceeded'*) give_up "$message" ;; esac
	is_intact "$from" "$from_sha256" || look_at_base
	[ -z "$message" ] || turn_down "differs $message"
	set_times || give_up "$message"
	try sort -z -m -o files -- part/kept part/sent || give_up "$message"
	# A link counts as what it leads to, when that is a file.
	sum=$(cd -- release && xargs -0 -r b2sum -l 256 -z -- <../files 2>/dev/null | sha256sum)
	[ "${sum%% *}" = "$digest" ] || turn_down "differs $release: it would have other content"
}

# Which of its files: into part/kept. What an earlier version has staged has its list in another order.
choose() {
	comm -z -23 --check-order -- "$base/seals/$from/files" part/gone >part/kept 2>/dev/null && return
	try sort -z -o part/files -- "$base/seals/$from/files" && try comm -z -23 -- part/files part/gone >part/kept
}

# Into `release`. What others have put in the place of a file meanwhile is found out.
copy() {
	message=$(
		cd -P -- "$root/releases/$from" && exec xargs -0 -r cp -R -P --parents --preserve=timestamps --reflink=auto \
			-t "$claim/release" -- <"$claim/part/kept" 2>&1
	)
}

set_times() {
	[ "$time" = - ] || touch_each "$time" kept || return
	for list in part/times.*; do
		[ ! -e "$list" ] || touch_each "${list##*.}" "${list##*/}" || return
	done
}

# touch_each TIME LIST
touch_each() { message=$(cd -- release && xargs -0 -r touch -c -d "@$1" -- <"../part/$2" 2>&1); }

# .release.json and the integrity stamp, while the release is still ours alone.
inscribe() {
	json="{\"version\":\"$2\",\"sha256\":\"$3\",\"operation\":\"$4\",\"installed_at\":\"%Y-%m-%dT%H:%M:%SZ\"}"
	message=$(date -u "+$json" 2>&1 >release/.release.json) || give_up "$message"
	cd -- release
	quote "$(fingerprint ../files)"
	cd ..
	[ "$quoted" != "''" ] || give_up "du says nothing of the release's files"
	printf 'sealed=%s\n' "$quoted" 2>/dev/null >seal || give_up "the integrity stamp could not be written: $(date 2>&1 >seal)"
	template=$base/seals/$release/mold
	try mkdir -p -- "$template" || give_up "$message"
	[ -L "$template/link" ] || make_template 2>/dev/null
	try sync -f release || case $message in *option* | *usage*) sync ;; *) give_up "$message" ;; esac
	try mv -f -- "$claim/files" "$claim/seal" "$base/seals/$release/" || give_up "$message"
}

# One copy of it spares a later claim three programs. Without it those do the same.
make_template() {
	mkfifo -- "$template/out.mold" "$template/err.mold" "$template/out.back.mold" "$template/err.back.mold" &&
		ln -sT -- "releases/$release" "$template/link"
}

# The claim was made just now, and is a complete copy of the template.
is_from_template() {
	[ "$made" = 1 ] && [ -p out.mold ] && [ -p err.mold ] && [ -p out.back.mold ] && [ -p err.back.mold ] && [ -L link ]
}

# One rename makes the release visible. What stood there, ours and not intact, goes away; when `current` leads to it, in
# one exchange where mv can do that (coreutils 9.5).
publish() {
	target=$root/releases/$release
	spare_foreign
	if [ -e "$target" ] || [ -L "$target" ]; then
		[ ! -e old ] || rm -rf -- old
		if [ "$now" = "$release" ] && mv --exchange -T -- "$claim/release" "$target" 2>/dev/null; then
			mv -fT -- release old
			return
		fi
		try mv -fT -- "$target" "$claim/old" || give_up "$message"
	fi
	try mv -fT -- "$claim/release" "$target" || give_up "$message"
}

# before_switch RELEASE SECONDS COMMAND ENVIRONMENT…
before_switch() {
	release=$1 seconds=$2 command=$3
	shift 3
	budget=$((seconds + 30))
	[ -d "$root" ] || fail switch_failed 'nothing is staged there'
	take_claim
	where
	go_home
	[ -d "$root/releases/$release" ] || fail switch_failed 'nothing is staged there'
	introduce "$release" "$now" "$@"
	try mkfifo -- "out.$own" "err.$own" || fail internal_error "$message"
	run_command before_switch "$own" "$release" "$seconds" "$command"
	[ "$status" != 0 ] || restamp
	finish "ended $status $late"
}

# The command may have changed what was shipped: what it left is what is switched to, and looked for later. When that can't be
# read, the switch says why.
restamp() {
	compared=$(compare "$release" 2>/dev/null)
	case $compared in 'changed '*) ;; *) return ;; esac
	quote "$(cd -- "$root/releases/$release" && fingerprint "$base/seals/$release/files")"
	[ "$quoted" != "''" ] || return 0
	printf 'sealed=%s restamped=1\n' "$quoted" 2>/dev/null >seal || no_stamp
	try mv -f -- "$claim/seal" "$base/seals/$release/seal" || fail internal_error "$message"
	flatten "${compared#changed }"
	say "restamped $flat"
}

no_stamp() { fail internal_error "the integrity stamp could not be written: $(date 2>&1 >seal)"; }

# introduce RELEASE PREVIOUS NAME=VALUE…: the environment of a command.
introduce() {
	name_version "$2"
	previous_version=${d_version#-}
	name_version "$1"
	version=${d_version#-}
	shift 2
	for pair; do export "$pair"; done
	export RELEASE_VERSION="$version" RELEASE_PREVIOUS_VERSION="$previous_version"
}

# Of a release that we did not install it is the folder's name.
name_version() {
	describe "$1"
	[ "$d_version" = - ] || return 0
	case $1 in [A-Za-z0-9]*) d_version=${1%@*} ;; esac
}

# What a reader does that was muted, or that nobody hears: takes all there is, and tells the end of it.
last_of_it() {
	say gap
	exec tail -c 16384
}

# run_command STEP FIFOS RELEASE SECONDS COMMAND: sets status, and late to 1 when it was out of time. Of a failed command's
# process group nothing is left; a good one's daemons live on, and the two readers with them, so that a daemon that
# inherited our streams neither blocks nor dies when nobody listens any more.
run_command() {
	{ cat || last_of_it; } <"out.$2" 2>/dev/null &
	out_reader=$!
	{ cat || last_of_it; } <"err.$2" >&2 2>/dev/null &
	err_reader=$!
	readers="$readers $out_reader $err_reader"
	say "step $1" "command $own $out_reader $err_reader"
	exec 7>"out.$2" 8>"err.$2"
	read -r begun word </proc/uptime
	folder=$root/releases/$3
	if [ "$3" = @elsewhere ]; then
		folder=$root/current
		[ -d "$folder" ] || folder=$root
	fi
	# In the foreground: a background job would have SIGINT and SIGQUIT ignored for good.
	{
		(
			trap - HUP PIPE
			identify self
			note "command $id_pid $id_start"
			cd -- "$folder" || exit 126
			unset LC_ALL TZ
			export RELEASE_COMMAND="$5"
			exec timeout -k 5 "$4" sh -c 'eval "unset RELEASE_COMMAND; $RELEASE_COMMAND"' </dev/null >&7 2>&8 7>&- 8>&-
		)
	} 2>/dev/null
	status=$?
	read -r ended word </proc/uptime
	late=0 took=$((${ended%.*}${ended#*.} - ${begun%.*}${begun#*.}))
	if [ "$status" != 0 ]; then
		[ "$took" -lt "${4}00" ] || late=1
		read_state state
		kill -s KILL -- "-$s_command" 2>/dev/null
	fi
	note 'command - -'
	say "end $status $late $took" >&7
	say "end $status $late $took" >&8
	exec 7>&- 8>&-
}

# For `sh -c`: until the version is said; what is said instead goes into a file.
until_said="$asking"'
until ask && [ "$said" = "$RELEASE_VERSION" ]; do
	printf "%s\n" "${said:-$instead}" >"$1"
	sleep 0.5
done'

# verify SECONDS COMMAND: the command has to say within this time that the new release's version runs. Else sets status to
# that, l_late and l_said. Nothing is left of its process group.
verify() {
	say "step verify"
	printf '' >said
	{
		(
			trap - HUP PIPE
			identify self
			note "command $id_pid $id_start"
			# An abort makes the file before it looks for a command.
			[ ! -e abort ] && cd -- "$root/releases/$release" || exit 126
			unset LC_ALL TZ
			export RELEASE_COMMAND="$2"
			exec timeout -k 5 "$1" sh -c "$until_said" sh "$claim/said" </dev/null >/dev/null
		)
	} 2>/dev/null
	status=$?
	read_state state
	kill -s KILL -- "-$s_command" 2>/dev/null
	note 'command - -'
	[ "$status" != 0 ] || { say verified; return 0; }
	l_late=2
	[ ! -e abort ] || return 0
	l_late=3
	read -r said <said
	printable "$said"
	l_said=$printable
	say "said $l_said"
}

# switch RELEASE SHA256 OPERATION SECONDS COMMAND KEEP VERSION_SECONDS VERSION_COMMAND CONFIRM ENVIRONMENT…; KEEP is a list of
# words, CONFIRM for how many seconds it waits to be confirmed, or 0.
switch() {
	release=$1 operation=$3 seconds=$4 command=$5 keep=$6 version_seconds=$7 version_command=$8 confirm=$9
	budget=$((2 * seconds + version_seconds + 60)) template=$base/seals/$release/mold
	say "step switch"
	# Nothing is made anew here: what is gone has to be staged.
	if [ -d "$root" ] && take_claim && is_intact "$release" "$2"; then
		:
	else
		find_fault "$release" "$2"
		(say_current)
		finish "found $found" "outcome not_intact"
	fi
	shift 9
	where
	go_home
	previous=$now from=$now
	if { is_unfinished "$l_phase" || [ "$l_phase" = confirming ]; } && [ "$now" = "$l_release" ]; then
		previous=$l_previous
	elif [ "$kind" = elsewhere ]; then
		remember_link
	fi
	[ "$confirm" = 0 ] || has_way_back || fail switch_failed 'it is to be confirmed, and there is nothing to go back to'
	introduce "$release" "$previous" "$@"
	fifos=mold
	if ! is_from_template; then
		fifos=$own
		[ -z "$command" ] || try mkfifo -- "out.$own" "err.$own" "out.back.$own" "err.back.$own" || fail switch_failed "$message"
		try ln -sfT -- "releases/$release" "$claim/link" || fail switch_failed "$message"
	fi
	l_fence=$fence l_release=$release l_previous=$previous l_phase=switching l_exit=- l_late=0 l_reverted=0 l_back= l_said=
	record || no_room
	if ! move_link "$claim/link"; then
		l_phase=refused
		record
		fail switch_failed "$message"
	fi
	l_phase=switched
	record
	[ "$kind" != elsewhere ] || now=$previous
	say "linked $now $release"
	log "$from" "$release"
	status=0 late=0
	if [ -n "$command" ]; then
		run_command restart "$fifos" "$release" "$seconds" "$command"
		l_exit=$status l_late=$late
		[ "$status" = 0 ] || [ "$late" = 1 ] || [ ! -e abort ] || l_late=2
	fi
	[ "$status" != 0 ] || [ -z "$version_command" ] || verify "$version_seconds" "$version_command"
	[ "$status" = 0 ] || go_back
	[ "$status" != 0 ] || [ "$confirm" = 0 ] || leave_waiting
	[ "$status" != 0 ] || stamp_foreign "$previous"
	l_phase=done
	record
	logged
	if [ "$status" = 0 ]; then clean_up; else (say_current); fi
	say_before "$previous"
	finish "switched $previous $l_exit $l_late $l_reverted ${l_back:-- 0}"
}

has_way_back() { [ "$previous" != - ] && [ "$previous" != "$release" ] && is_there; }

# The node's own clock, in 1/100 s since it started; no other can be set.
read_clock() {
	read -r clock word </proc/uptime
	clock=${clock%.*}${clock#*.}
}

# leave_waiting: ends this program, and with it the call. A child of it waits on without a connection. Not in the background:
# what is started there has SIGINT ignored for good, and so would the restart command of the way back.
leave_waiting() {
	say "step confirm"
	read_clock
	l_phase=confirming l_until=$((clock + confirm * 100)) l_until_boot=$boot
	budget=$((seconds + 30))
	record
	logged
	(
		identify self
		note "owner $id_pid $id_start $boot $id_group $budget"
		say_before "$previous"
		say_unconfirmed
		say "switched $previous $l_exit $l_late 0 - 0" over
		exec </dev/null >/dev/null 2>&1
		# And whoever else would wait for this one's end.
		[ "$id_pid" = "$own" ] || kill -s KILL "$own"
		[ "$$" = "$own" ] || kill -s KILL "$$"
		wait_for_confirmation
		go_back_unconfirmed
		taken=1
		finish
	)
	exit 0
}

say_unconfirmed() {
	left=0
	if [ "$l_until_boot" = "$boot" ]; then
		read_clock
		[ "$l_until" -le "$clock" ] || left=$(((l_until - clock + 99) / 100))
	fi
	say "unconfirmed $left"
}

# Who confirms it ends this program.
wait_for_confirmation() {
	while read_clock && [ "$clock" -lt "$l_until" ]; do
		left=$((l_until - clock)) part=$(((l_until - clock) % 100))
		[ "$part" -gt 9 ] || part=0$part
		sleep "$((left / 100)).$part" || sleep 1
	done
	l_late=4
}

go_back_unconfirmed() {
	status=0
	# A newer claim may have renamed ours away: the working directory is all that we have of it.
	if (where && [ "$now" = "$release" ]); then
		go_back
	else
		l_back='unlinked 0'
		say "unlinked others have changed current meanwhile"
	fi
	l_phase=done
	record
	logged
}

# conclude CONFIRMED OPERATION SECONDS COMMAND KEEP ENVIRONMENT…: ends the waiting of a switch on record. It stays when it is
# confirmed (1) in time; else, or when it is to be taken back (-), it is gone back from. Says what became of it.
conclude() {
	confirmed=$1 operation=$2 seconds=$3 command=$4 keep=$5
	shift 5
	budget=$((2 * seconds + 60))
	say "step confirm"
	[ -d "$root" ] || fail switch_failed 'nothing is staged there'
	take_claim
	if is_unconfirmed; then
		where
		go_home
		release=$l_release previous=$l_previous fifos=$own
		introduce "$release" "$previous" "$@"
		[ -z "$command" ] || try mkfifo -- "out.back.$own" "err.back.$own" || fail switch_failed "$message"
		l_fence=$fence l_reverted=0 logging=- status=0
		conclude_it
	fi
	say_state
	go_home
	finish
}

# It waits; or its way back, which was begun for want of a confirmation, broke off.
is_unconfirmed() {
	case $l_phase:$l_late in confirming:* | reverting:4 | reverting:5) ;; *) return 1 ;; esac
}

conclude_it() {
	if [ "$l_phase" = reverting ]; then
		go_back
		l_phase=done
		record
		logged
		return
	fi
	read_clock
	if [ "$confirmed" = 1 ] && [ "$l_until_boot" = "$boot" ] && [ "$clock" -lt "$l_until" ] && [ "$now" = "$release" ]; then
		stamp_foreign "$previous"
		l_phase=done
		record
		clean_up
		return
	fi
	[ "$confirmed" = - ] && l_late=5 || l_late=4
	go_back_unconfirmed
}

# `current` leads elsewhere: a copy of the link stays for good, to go back to. One that leads to nothing is not worth that.
remember_link() {
	read_link "$root/current" || return 0
	in_one_word "$led"
	from=$word
	[ -e "$root/current" ] || return 0
	try cp -PT --remove-destination -- "$root/current" "$claim/elsewhere" &&
		try mv -fT -- "$claim/elsewhere" "$base/elsewhere" || fail switch_failed "$message"
	previous=@elsewhere
}

# in_one_word TEXT: $word is it with a ? for each space, and for each %, which `date` would read.
in_one_word() {
	word= rest=$1
	while case $rest in *[[:space:]%]*) ;; *) false ;; esac do
		part=${rest%%[[:space:]%]*}
		word="$word$part?"
		rest=${rest#"$part"?}
	done
	word=$word$rest
}

# stamp_foreign RELEASE: of one that another tool installed, when we leave it: a switch back to it is to what it was.
stamp_foreign() {
	case $1 in [A-Za-z0-9]*) is_foreign "$1" || return 0 ;; *) return 0 ;; esac
	stamp=$(cd -- "$root/releases/$1" && fingerprint_all)
	{ printf 'sealed="%s"\n' "$stamp" >seal; } 2>/dev/null && try mkdir -p -- "$base/seals/$1" &&
		try mv -fT -- "$claim/seal" "$base/seals/$1/seal" ||
		warn "release $1, which another tool installed, can not be rolled back to: $message"
}

# move_link LINK: to be `current`. What stands there and is no link is not ours to replace.
move_link() {
	message="$root/current is not a link"
	[ -L "$root/current" ] || [ ! -e "$root/current" ] && try mv -fT -- "$1" "$root/current"
}

# Not to a FIFO: to open one takes until somebody reads it.
log() {
	line="+%Y-%m-%dT%H:%M:%SZ $1 $2 $operation" logging=
	[ ! -p "$root/releases.log" ] || return 0
	date -u "$line" 2>/dev/null >>"$root/releases.log" &
	logging=$!
}

# Only the program that began the line can wait for it: once asked, it is known.
logged() {
	case $logging in
	-) return ;;
	'') warn "a line of releases.log was not written: $root/releases.log is a FIFO" ;;
	*)
		wait "$logging" || message=$(date -u "$line" 2>&1 >>"$root/releases.log") ||
			warn "a line of releases.log was not written: $message"
		;;
	esac
	logging=-
}

# No more of them than anybody reads.
warn() {
	warnings=$((warnings + 1))
	[ "$warnings" -le 50 ] || return 0
	flatten "$1"
	say "warning $flat"
}

# What runs is not the new release: back to the one before, and restart that. Not fenced: a newer claim waits for this one's end.
go_back() {
	first_status=$status
	[ "$previous" != - ] && [ "$previous" != "$release" ] || return 0
	l_back='gone 0'
	is_there || return 0
	l_phase=reverting l_back=
	record
	make_link_back && move_link link || {
		l_back='unlinked 0'
		flatten "$message"
		say "unlinked $flat"
		return 0
	}
	l_reverted=1
	say "linked $release $previous"
	logged
	log "$release" "$back_to"
	[ -n "$command" ] || return 0
	[ ! -e abort ] || [ "$seconds" -lt 20 ] || seconds=20
	introduce "$previous" "$release"
	run_command revert "back.$fifos" "$previous" "$seconds" "$command"
	l_back="$status $late"
	status=$first_status
}

# Whether $previous can be gone back to; $back_to is its name in the log.
is_there() {
	back_to=$previous
	if [ "$previous" != @elsewhere ]; then
		[ -d "$root/releases/$previous" ]
		return
	fi
	read_link "$base/elsewhere" || return
	in_one_word "$led"
	back_to=$word
	(cd -- "$root" && [ -e "$(readlink -- .release/elsewhere)" ])
}

make_link_back() {
	if [ "$previous" = @elsewhere ]; then
		try cp -PT --remove-destination -- "$base/elsewhere" link
	else
		try ln -sfT -- "releases/$previous" link
	fi
}

# Old releases that nothing needs. Only what we installed.
clean_up() {
	said= removed= count=0
	set --
	for path in "$root"/releases/*; do
		name=${path##*/}
		case " $keep $release $previous " in *" $name "*) continue ;; esac
		is_ours "$path" || continue
		[ -n "$said" ] || say "step clean_up"
		said=1
		try mv -fT -- "$path" "$claim/gone.$name" || {
			warn "an old release could not be removed: $message"
			continue
		}
		removed=${removed:+$removed }$name count=$((count + 1))
		set -- "$@" "gone.$name" "$base/seals/$name"
	done
	flatten "$removed"
	[ "$count" = 0 ] || say "removed $count $flat"
	# And what an earlier claim could not remove.
	for path in "$base"/claim.*/gone.*; do
		[ ! -e "$path" ] || [ "${path%/*}" = "$claim" ] || set -- "$@" "$path"
	done
	[ $# = 0 ] || try rm -rf -- "$@" || warn "an old release could not be removed: $message"
}

# check_release RELEASE SHA256: what a deploy of it would meet here. Claims nothing, writes nothing.
check_release() {
	release=$1 seen=absent
	check
	if [ -e "$root/releases/$release" ] || [ -L "$root/releases/$release" ]; then
		seen=theirs
		! is_ours "$root/releases/$release" || seen=unfit
		! is_intact "$release" "$2" || seen=present
	fi
	(say_current)
	say "outcome $seen" over
}

# state: the newest switch on record, and what `current` leads to. Claims nothing, writes nothing.
state() {
	cd -P -- "$root" 2>/dev/null && root=$PWD base=$PWD/.release
	for other in "$base"/claim.* "$base"/dead.*; do
		[ ! -d "$other" ] || recall "$other"
	done
	say_state
	say over
}

# abort: ends the command that this claim runs; its program then goes the way back. `timeout` passes the signal on to
# the whole group, and kills it 5 seconds later.
abort() {
	for other in "$claim" "$base/dead.$fence"; do
		[ -d "$other" ] || continue
		printf '' >"$other/abort"
		read_state "$other/state"
		is_alive "$s_command" "$s_command_start" "$s_boot" && kill -s TERM "$s_command"
	done
	say over
}

# mute PID PARENT: this reader of a command's output shall keep what comes from now on to itself, but for the end.
mute() {
	readers=
	if identify "$1" && [ "$id_parent" = "$2" ]; then
		read -r readers <"/proc/$1/task/$1/children"
		[ -z "$readers" ] || kill -s KILL $readers
	fi
	say over
}

# forget PATH: an upload that was kept for the node's other instances.
forget() {
	rm -f -- "$1" 2>/dev/null
	say over
}

perform() {
	perform_base "$@"
	base=$root/.release claim=$root/.release/claim.$fence
	[ "$task" = stage ] || exec </dev/null
	case $task in
	forget) forget "$@" ;;
	stage) stage "$@" ;;
	before_switch) before_switch "$@" ;;
	switch) switch "$@" ;;
	check_release) check_release "$@" ;;
	conclude) conclude "$@" ;;
	state) state ;;
	abort) abort ;;
	mute) mute "$@" ;;
	esac
	exit 0
}
