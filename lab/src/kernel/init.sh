# The first process of a guest: makes the surroundings that a program expects, runs it, and reports
# on the console how it ended. Before this come a line with the shell, $mark (starts the lines that
# the host understands), $modules (a folder with one folder for each kernel version) and the
# function `guest`, which runs the program.

# By its whole path: busybox starts its other commands through /proc.
/bin/busybox mount -t proc proc /proc
export PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run/tmp
mount -t sysfs sys /sys
[ -c /dev/null ] || mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir /run/tmp
stty -opost
# A guest with files of its own has few programs. Existing ones stay.
[ -e /bin/sh ] || busybox --install -s /bin 2>/dev/null

# The program `modprobe` of guests, with which the kernel loads what it needs by itself.
mkdir -p /run/bin /run/modules/lib
ln -s "$modules" /run/modules/lib/modules
printf '#!/bin/busybox sh\nexec /usr/sbin/modprobe -d /run/modules "$@"\n' >/run/bin/modprobe
chmod +x /run/bin/modprobe
echo /run/bin/modprobe >/proc/sys/kernel/modprobe
# The kernel does not load IPv6 by itself. (The whole path, because busybox would prefer its own
# modprobe.)
/run/bin/modprobe ipv6

echo "$mark begins"
guest </dev/null 2>&1
echo "$mark ended $?"
poweroff -f
