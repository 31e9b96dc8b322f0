#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Holds every #include of the source against tests/layers.txt. It reads the lines themselves rather
# than what the compiler saw: each breach then has its line, headers are held to their own layer,
# and nothing need be built. `layers.sh [TABLE [FILE...]]`; without files, all of git's.
cd "$(dirname "$0")/.." || exit 1
table=${1:-tests/layers.txt}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(git -c safe.directory="$(pwd -P)" ls-files -co --exclude-standard '*.c' '*.h' '*.cu' '*.cuh')
exec awk '
function fits(file, place) { return file == place || index(file, place "/") == 1 }

# The longest left side of the table that fits.
function layer_of(file,   place, best) {
	best = ""
	for (place in allowed)
		if (fits(file, place) && length(place) > length(best))
			best = place
	return best
}
function breach(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	breaches++
}
function may(list, file,   n, i, places) {
	n = split(list, places, " ")
	for (i = 1; i <= n; i++)
		if (places[i] == "*" || fits(file, places[i]))
			return 1
	return 0
}
function check_ours(header,   layer) {
	layer = layer_of(FILENAME)
	if (layer == "")
		return breach("no layer in the table holds this file")
	if (may(allowed[layer], header) || (fits(header, layer) && layer !~ /\.h$/))
		return
	if (layer_of(header) == "" && header !~ /^netmamba\.skel\.h$/)
		return breach("\"" header "\" is not written from the root")
	breach(layer " may not include \"" header "\"")
}
function check_library(header,   place) {
	for (place in owners)
		if ((fits(header, place) || header ~ ("/" place "$")) && !may(owners[place], FILENAME) && FILENAME !~ /^tests\//)
			breach("<" header "> belongs to " owners[place])
}

FNR == 1 { n_files++ }
n_files == 1 {
	if (/^#/ || !/:/)
		next
	place = rest = $0
	sub(/:.*/, "", place)
	sub(/^[^:]*: */, "", rest)
	if (place ~ /^<.*>$/)
		owners[substr(place, 2, length(place) - 2)] = rest
	else
		allowed[place] = rest
	next
}
/^[ \t]*#[ \t]*include[ \t]*"/ { split($0, part, "\""); check_ours(part[2]) }
/^[ \t]*#[ \t]*include[ \t]*</ { split($0, part, /[<>]/); check_library(part[2]) }
END {
	if (n_files < 2) {
		print "no source file was read"
		exit 1
	}
	exit breaches > 0
}' "$table" "$@"
