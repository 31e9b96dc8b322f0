# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# For TAP scripts on the built nmtrain: sourced in the repository's root, sets build and dir.
build=${BUILD:-build}
[ "${build#/}" != "$build" ] || build=$PWD/$build
n=0

if [ ! -x "$build/nmtrain" ]; then
	echo "1..0 # SKIP no $build/nmtrain: make it, or name its folder with BUILD"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

check() { # CLAIM COMMAND...
	local claim=$1
	shift
	n=$((n + 1))
	if "$@" >"$dir/why" 2>&1; then
		echo "ok $n - $claim"
	else
		echo "not ok $n - $claim"
		sed 's/^/# /' "$dir/why" "$dir/out" "$dir/err"
	fi
}

run() { # STATUS ARGUMENT...
	local want=$1 got
	shift
	"$build/nmtrain" "$@" >"$dir/out" 2>"$dir/err"
	got=$?
	[ $got -eq "$want" ] || { echo "nmtrain $*: status $got, not $want"; return 1; }
}
out_has() { grep -qF -- "$1" "$dir/out" || { echo "standard output lacks: $1"; return 1; }; }
err_has() { grep -qF -- "$1" "$dir/err" || { echo "standard error lacks: $1"; return 1; }; }
