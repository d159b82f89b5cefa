#!/bin/sh
# Usage: rehearse_restore.sh DUMP|FOLDER
# Restores the dump, or the newest of the folder, into a database of its own on the same server, sees that this code can use it and
# that its audit is whole, says what is in it, and drops it again. The system's own database is left alone, and nodes are not
# asked. The account needs CREATEDB. RELEASE_SERVER: as of dump.sh.
set -eu
dump=${1:?usage: rehearse_restore.sh DUMP|FOLDER} server=${RELEASE_SERVER:-release-server}
[ ! -d "$dump" ] || dump=$(ls -r "$dump"/release-*.dump | head -n 1)
copy=release_rehearsal_$$
drop() { $server pg dropdb --if-exists --force "$copy"; }
trap drop EXIT
trap 'exit 1' INT TERM
$server pg createdb --template=template0 --encoding=UTF8 "$copy"
$server pg pg_restore --exit-on-error --no-owner --no-privileges --dbname="$copy" "$dump"
$server after_restore --database "$copy"
echo "$dump can be restored."
