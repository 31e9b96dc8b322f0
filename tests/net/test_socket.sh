#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Rubbish on the control socket: an error for whoever sent it, nothing for anybody else.
. "$(dirname "$0")/lib.sh"

# Sends standard input and prints what comes back; perl-base is on every Debian.
talk() {
	timeout 5 perl -MIO::Socket::UNIX -e '$SIG{PIPE} = "IGNORE";
		my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!\n";
		local $/; print $s scalar <STDIN>; $s->flush; shutdown($s, 1); print scalar <$s>' "$WORK/run/nmd.sock"
}
is_error() { talk | head -c 4096 | grep -q '"error"'; }

net_begin
nmd_begin
check "an object that is no request is answered with an error" is_error <<<'{"hello":1}'
check "words that are no command are answered with an error" is_error <<<'{"v":1,"words":["frobnicate"]}'
check "another protocol version is answered with an error" is_error <<<'{"v":99,"words":["status"]}'
check "words that are no strings are answered with an error" is_error <<<'{"v":1,"words":[1,{}]}'
check "no JSON is answered with an error" is_error <<<'GET / HTTP/1.1'
check "bytes of no text are answered with an error" is_error < <(head -c 4000 /dev/urandom | tr -d '\n'; echo)
check "deeply nested JSON is answered with an error" is_error < <(head -c 200000 /dev/zero | tr '\0' '['; echo)
check "an endless line is answered with an error" is_error < <(head -c 3000000 /dev/zero | tr '\0' 'a')
check "nmd answers the next caller" nmd_answers

# Half a request, and nothing more; more callers than there are places.
idle=()
for _ in $(seq 40); do
	start idle perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1;
		print $s "{\"v\":1,"; $s->flush; sleep 20' "$WORK/run/nmd.sock"
	idle+=("$STARTED")
done
sleep 1
check "nmd lives with more callers than places" kill -0 "$NMD_PID"
for pid in "${idle[@]}"; do stop "$pid"; done
check "nmd answers when they are gone" wait_for 5 nmd_answers
finish
