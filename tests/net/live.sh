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
