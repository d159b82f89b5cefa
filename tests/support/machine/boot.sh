#!/bin/sh
# boot.sh FOLDER KIND SYSTEMCTL PYTHON: makes the machine's root, and becomes its first process. In new namespaces, as root.
# KIND: systemd, or stand-in, where SYSTEMCTL is put in the place of systemctl. PYTHON: the folder of the one that is python3 there, if
# it shall not be Debian's own. FOLDER/up says that all is there.
set -eu
folder=$1 kind=$2 systemctl=$3 python=$4
top=$folder/machine
root=$top/root

mount --make-rprivate /
mkdir -p "$top"
mount -t tmpfs tmpfs "$top" -o mode=755
mkdir "$root" "$top/upper" "$top/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"

# What this machine's people have is none of its business: all that Debian does not bring.
hide() { [ ! -d "$root$1" ] || mount -t tmpfs tmpfs "$root$1" -o mode=755; }
for path in "$root"/*; do
	case ${path#"$root"} in
	/bin | /boot | /dev | /etc | /lib* | /proc | /sbin | /sys | /usr | /var) ;;
	*) hide "${path#"$root"}" ;;
	esac
done
[ "$python" = /usr/local ] || hide /usr/local
for path in /var/lib/postgresql /var/lib/release /var/log /var/backups; do hide "$path"; done
mkdir -p "$root/usr/local/bin"
if [ -n "$python" ] && [ "$python" != /usr/local ]; then
	mkdir -p "$root$python"
	mount --bind "$python" "$root$python"
	ln -s "$python/bin/python3" "$root/usr/local/bin/python3"
fi
chmod 1777 "$root/tmp"
rm -rf "$root/etc/release" "$root/etc/postgresql" "$root/etc/sudoers.d" "$root"/etc/nginx/conf.d/* "$root/etc/pip.conf" "$root/etc/xdg/pip"
mkdir -p "$root/etc/postgresql" "$root/etc/sudoers.d" "$root/var/log/nginx" "$root/var/log/postgresql"
for account in release deploy; do
	sed -i "/^$account:/d" "$root/etc/passwd" "$root/etc/shadow" "$root/etc/group" "$root/etc/gshadow"
done
echo machine > "$root/etc/hostname"
hostname machine
ip link set lo up

mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev" -o mode=755
for node in null zero full random urandom tty; do
	touch "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
mount -t tmpfs tmpfs "$root/dev/shm" -o mode=1777
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
mount -t tmpfs tmpfs "$root/sys" -o mode=755

# The kernel is not this machine's: nothing in here sets anything of it, or its clock.
mount -o bind,ro "$root/proc/sys" "$root/proc/sys"
rm -rf "$root"/lib/systemd/system/*.wants "$root"/usr/lib/systemd/system/*.wants "$root"/etc/systemd/system/*
echo > "$root/etc/fstab"
tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"

if [ "$kind" = systemd ]; then
	mkdir -p "$root/sys/fs/cgroup" "$root/etc/systemd/system/basic.target.wants"
	ln -s /lib/systemd/system/systemd-journald.service "$root/etc/systemd/system/basic.target.wants/"
	unshare --cgroup mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	install -m 0755 "$systemctl" "$root/usr/bin/systemctl"
fi

# No chroot: the kernel lets nobody in one make a user namespace, as PrivateUsers= does.
touch "$folder/up"
cd "$root"
mkdir before
pivot_root . before
umount --lazy before
rmdir before
if [ "$kind" = stand-in ]; then
	exec env -i PATH="$PATH" sleep infinity
fi
exec env -i container=test PATH="$PATH" unshare --cgroup /lib/systemd/systemd --system --unit=basic.target --show-status=0
