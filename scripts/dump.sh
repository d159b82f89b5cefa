#!/bin/sh
# Usage: dump.sh FOLDER [KEEP]
# Dumps the database into FOLDER, a file for each call, reads the dump through, and keeps the newest KEEP of them (14). Run it from
# a timer, as the service's account. RELEASE_SERVER: the command of this system, release-server or "python manage.py".
set -eu
umask 077
folder=${1:?usage: dump.sh FOLDER [KEEP]} keep=${2:-14} server=${RELEASE_SERVER:-release-server}
mkdir -p "$folder"
dump=$folder/release-$(date -u +%Y%m%dT%H%M%SZ).dump
trap 'rm -f "$dump.tmp"' EXIT
$server pg pg_dump --format=custom --file="$dump.tmp"
$server pg pg_restore --file=/dev/null "$dump.tmp"
sync "$dump.tmp"
mv "$dump.tmp" "$dump"
ls -r "$folder"/release-*.dump | tail -n +$((keep + 1)) | while read -r old; do rm -f "$old"; done
echo "$dump"
