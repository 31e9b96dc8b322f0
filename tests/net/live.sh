# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Live programs for the tests in namespaces: each start_NAME begins one server in the guarded host
# (in the foreground, with its own files under $WORK) and waits until it listens. Sourced after
# lib.sh. Returns 1, with the reason in WHY, when the program is not there.

# shellcheck disable=SC2034
WHY=

have() {
	command -v "$1" >/dev/null && return
	WHY="$1 is not installed"
	return 1
}

listens() { in_host ss -Hln "$@" | grep -q .; }

make_certificate() {
	[ -s "$WORK/cert.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
		-nodes -days 2 -subj /CN=www.lab.test -keyout "$WORK/key.pem" -out "$WORK/cert.pem" \
		2>/dev/null
}

# HTTP on 80, TLS on 443. Unpacked by `make deps-check`, never installed: the package would start a
# daemon.
start_nginx() {
	local nginx=$BUILD/live/usr/sbin/nginx
	if [ ! -x "$nginx" ]; then
		WHY="nginx is not unpacked (make deps-check)"
		return 1
	fi
	make_certificate
	mkdir -p "$WORK/www" "$WORK/nginx"
	chmod 755 "$WORK" # its workers run as nobody
	head -c 2000000 /dev/zero >"$WORK/www/large"
	echo "a page" >"$WORK/www/index.html"
	cat >"$WORK/nginx.conf" <<-X
		daemon off;
		worker_processes 1;
		user nobody nogroup;
		pid $WORK/nginx/pid;
		error_log stderr;
		events { worker_connections 256; }
		http {
		  access_log off;
		  client_body_temp_path $WORK/nginx/body;
		  proxy_temp_path $WORK/nginx/proxy;
		  fastcgi_temp_path $WORK/nginx/fastcgi;
		  uwsgi_temp_path $WORK/nginx/uwsgi;
		  scgi_temp_path $WORK/nginx/scgi;
		  server {
		    listen 80; listen [::]:80;
		    listen 443 ssl; listen [::]:443 ssl;
		    ssl_certificate $WORK/cert.pem;
		    ssl_certificate_key $WORK/key.pem;
		    root $WORK/www;
		    location = /slow { alias $WORK/www/large; limit_rate 400k; }
		  }
		}
	X
	start_in "$HOST" nginx "$nginx" -e stderr -c "$WORK/nginx.conf"
	wait_for 5 listens -t 'sport = :443'
}

# dropbear: unlike openssh-server, its package has the program without a daemon.
start_sshd() {
	have dropbear && have dropbearkey && have ssh || return 1
	dropbearkey -t ed25519 -f "$WORK/hostkey" >/dev/null 2>&1
	ssh-keygen -q -t ed25519 -N '' -f "$WORK/id"
	start_in "$HOST" sshd dropbear -F -E -s -r "$WORK/hostkey" -p 22 -P "$WORK/dropbear.pid"
	wait_for 5 listens -t 'sport = :22'
}

# As far as the key exchange and the refusal that ends it: no account is touched.
ssh_talks() {
	in_out timeout 5 ssh -F none -i "$WORK/id" -o BatchMode=yes -o StrictHostKeyChecking=no \
		-o UserKnownHostsFile=/dev/null -o ConnectTimeout=3 nobody@"$HOST4" true 2>&1 |
		grep -q 'Permission denied'
}

start_dns() {
	have dnsmasq && have dig || return 1
	start_in "$HOST" dns dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
		--user=root --pid-file="$WORK/dnsmasq.pid" --bind-interfaces --interface=eth0 \
		--address=/lab.test/192.0.2.80 --log-facility=-
	wait_for 5 listens -u 'sport = :53'
}
# dig [OPTION...]
dig_answers() { in_out dig "$@" +time=1 +tries=1 +short @"$HOST4" www.lab.test | grep -q 192.0.2.80; }
# Look-ups of one flow, which can be judged.
dig_from_one_port() { dig_answers -b "$OUT4#5353"; }

start_iperf() {
	have iperf3 || return 1
	start_in "$HOST" iperf iperf3 -s -B "$HOST4"
	wait_for 5 listens -t 'sport = :5201'
}

# ---- Tor ------------------------------------------------------------------------------------------
# A whole Tor network outside: three authorities and four relays, of which two let out, each at an
# address of its own. Returns when they have their first consensus, after some 25 s. Unpacked by `make deps-check`, never
# installed: the package would start a daemon.
TOR_RELAYS=7
TOR_NET=10.91.0.1 # relay N is at 10.91.0.1N

start_tor_network() {
	local i
	TOR=$BUILD/live/usr/bin/tor
	if ! "$TOR" --version >/dev/null 2>&1; then
		WHY="tor is not unpacked (make deps-check)"
		return 1
	fi
	mkdir -p "$WORK/tor"
	for ((i = 1; i <= TOR_RELAYS; i++)); do
		ip -n "$OUT" addr add "$TOR_NET$i/24" dev out0
		(umask 077 && mkdir -p "$WORK/tor/$i/keys")
	done
	tor_common >"$WORK/tor/common"
	for ((i = 1; i <= TOR_RELAYS; i++)); do
		tor_relay $i >"$WORK/tor/$i.rc"
		start_in "$OUT" "tor$i" "$TOR" -f "$WORK/tor/$i.rc" --quiet
	done
	WHY="the Tor network came to no consensus"
	wait_for 150 test -s "$WORK/tor/$TOR_RELAYS/cached-microdesc-consensus"
}

# What all of them read: the authorities' keys, and the short times of a network for tests.
tor_common() {
	local i identity key none=0000000000000000000000000000000000000000
	for i in 1 2 3; do
		(cd "$WORK/tor/$i/keys" && echo | "${TOR%/*}/tor-gencert" --create-identity-key -m 12 \
			-a "$TOR_NET$i:7000" --passphrase-fd 0 >/dev/null 2>&1)
		identity=$(awk '/^fingerprint/ {print $2}' "$WORK/tor/$i/keys/authority_certificate")
		key=$("$TOR" --list-fingerprint --DataDirectory "$WORK/tor/$i" --ORPort 9001 --quiet \
			--Nickname auth$i --Address "$TOR_NET$i" --DirAuthority "x 127.0.0.1:1 $none" |
			tail -n 1 | cut -d' ' -f2- | tr -d ' ')
		echo "DirAuthority auth$i orport=9001 no-v2 v3ident=$identity $TOR_NET$i:7000 $key"
	done
	cat <<-X
		TestingTorNetwork 1
		AssumeReachable 1
		PathsNeededToBuildCircuits 0.67
		TestingDirAuthVoteExit *
		TestingDirAuthVoteGuard *
		V3AuthNIntervalsValid 2
		TestingV3AuthInitialVotingInterval 20
		TestingV3AuthInitialVoteDelay 4
		TestingV3AuthInitialDistDelay 4
		V3AuthVotingInterval 20
		V3AuthVoteDelay 4
		V3AuthDistDelay 4
		ExitPolicyRejectPrivate 0
		EnforceDistinctSubnets 0
		ClientRejectInternalAddresses 0
	X
}

tor_relay() {
	cat "$WORK/tor/common"
	cat <<-X
		DataDirectory $WORK/tor/$1
		SocksPort 0
		Address $TOR_NET$1
		ORPort $TOR_NET$1:$(($1 % 2 ? 9001 : 443))
		ContactInfo nobody@lab.test
		ServerDNSAllowBrokenConfig 1
		ServerDNSDetectHijacking 0
	X
	if (($1 <= 3)); then
		printf '%s\n' "Nickname auth$1" "DirPort $TOR_NET$1:7000" "AuthoritativeDirectory 1" \
			"V3AuthoritativeDirectory 1" "ExitPolicy reject *:*"
	elif (($1 > TOR_RELAYS - 2)); then
		printf '%s\n' "Nickname relay$1" "ExitRelay 1" "ExitPolicy accept *:*"
	else
		printf '%s\n' "Nickname relay$1" "ExitRelay 0" "ExitPolicy reject *:*"
	fi
}

# start_tor_client N: on the guarded host; it listens at 127.0.0.1:910N.
start_tor_client() {
	mkdir -m 700 "$WORK/tor/client$1"
	{
		cat "$WORK/tor/common"
		echo "DataDirectory $WORK/tor/client$1"
		echo "SocksPort 127.0.0.1:910$1"
	} >"$WORK/tor/client$1.rc"
	start_in "$HOST" "client$1" "$TOR" -f "$WORK/tor/client$1.rc" --quiet
}

# A page from outside, through client N.
tor_fetches() {
	in_host curl -sf -m "${2:-10}" -o /dev/null --socks5 "127.0.0.1:910$1" "http://$OUT4:8080/page"
}
