#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The fixtures on another kernel, in a virtual machine without disk or network:
#   tests/bpf/old_kernel.sh [PACKAGE]       a Debian kernel package, default Debian 12's cloud kernel
# Not part of `make check`: it downloads a kernel (27 MB) and wants qemu-system-x86, busybox-static
# or busybox, and cpio. The virtual machine runs the programs that are built in $BUILD.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
PACKAGE=${1:-$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ { print $2; exit }')}
TESTS="$BUILD/tests/bpf/test_fixtures $BUILD/tests/bpf/test_extractor $BUILD/tests/bpf/test_meter"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in qemu-system-x86_64 busybox cpio; do
	command -v $tool >/dev/null || { echo "skipped: $tool is missing"; exit 0; }
done
(cd "$work" && apt-get download -qq "$PACKAGE" 2>/dev/null && dpkg -x ./*.deb kernel) ||
	{ echo "skipped: $PACKAGE cannot be downloaded"; exit 0; }

root=$work/root
mkdir -p "$root"/{bin,proc,sys,tests}
cp "$(command -v busybox)" "$root/bin/"
cp $TESTS "$root/tests/"
for file in $(ldd $TESTS "$root/bin/busybox" 2>/dev/null | grep -oE '/[^ ]+\.so[^ ]*' | sort -u); do
	cp --parents -L "$file" "$root"
done
cat >"$root/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
echo "kernel $(/bin/busybox uname -r)"
for test in /tests/*; do
	CMOCKA_MESSAGE_OUTPUT=TAP $test && echo "passed ${test##*/}" || echo "FAILED ${test##*/}"
done
/bin/busybox poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"

# TCG: the boot takes 10 s, and nested virtualisation can hang.
timeout 300 qemu-system-x86_64 -accel tcg -m 1G -smp 2 -nographic -no-reboot -net none \
	-kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initramfs" \
	-append "console=ttyS0 quiet panic=-1 rdinit=/init" </dev/null >"$work/log" 2>&1 || true
tr -d '\r' <"$work/log" | grep -E '^(kernel|passed|FAILED|not ok|#|processed|R[0-9]+ )' || true
echo "$(grep -c '^ok ' "$work/log") claims held, $(grep -c '^not ok' "$work/log") not or not tried"
[ "$(grep -c '^passed' "$work/log")" -eq "$(echo $TESTS | wc -w)" ] && ! grep -q '^not ok' "$work/log"
