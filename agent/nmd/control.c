/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket: clients, lines, the table of verbs. */
#include "agent/nmd/control.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent/nmd/control_verbs.h"
#include "agent/nmd/log.h"
#include "agent/nmd/privileges.h"
#include "agent/wire/wire.h"

#define LISTEN_BACKLOG  16
#define FOLLOWER_BYTES  (4 << 20)   /* a follower that is so far behind is dropped */
#define STREAM_LOW      (64 << 10)  /* a stream goes on when so little is left to be sent */
#define STREAM_HIGH     (256 << 10) /* and rests when so much is; requests wait then, too */
#define REQUESTS_A_TURN 8           /* of one client, before the loop turns to others */

/* What each does and takes is in the table of agent/nmctl/commands.c. */
static const struct control_verb verbs[] = {
	{{"status", NULL}, control_status},
	{{"classes", NULL}, control_classes},
	{{"flows", NULL}, control_flows},
	{{"explain", NULL}, control_explain},
	{{"policy", "show"}, control_policy_show},
	{{"policy", "block"}, control_policy_rule},
	{{"policy", "limit"}, control_policy_rule},
	{{"policy", "watch"}, control_policy_rule},
	{{"policy", "allow"}, control_policy_rule},
	{{"policy", "apply"}, control_policy_apply},
	{{"policy", "check"}, control_policy_check},
	{{"policy", "diff"}, control_policy_diff},
	{{"policy", "history"}, control_policy_history},
	{{"policy", "rollback"}, control_policy_rollback},
	{{"policy", "remove"}, control_policy_remove},
	{{"policy", "confirm"}, control_policy_confirm},
	{{"policy", "arm"}, control_policy_arm},
	{{"model", "show"}, control_model_show},
	{{"model", "load"}, control_model_load},
};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

struct control_client {
	LIST_ENTRY(control_client) link;
	struct control_server *server;
	struct bufferevent *bev;
	char by[POLICY_BY];
	struct control_stream stream; /* fill NULL: none */
	bool follows;
	bool sent_all; /* it will send no more: over when its requests are answered */
	bool closing;  /* once the output is sent */
};

struct control_server {
	struct agent *agent;
	char path[AGENT_PATH];
	int fd;
	struct event *watch;
	LIST_HEAD(, control_client) clients;
	struct control_counters counters;
};

static struct evbuffer *output_of(const struct control_client *c)
{
	return bufferevent_get_output(c->bev);
}

static void end_stream(struct control_client *c)
{
	if (c->stream.free)
		c->stream.free(c->stream.ctx);
	memset(&c->stream, 0, sizeof(c->stream));
	c->follows = false;
}

static void client_free(struct control_client *c)
{
	LIST_REMOVE(c, link);
	c->server->counters.clients--;
	end_stream(c);
	bufferevent_free(c->bev);
	free(c);
}

/* line is taken. */
static void send_line(struct control_client *c, char *line)
{
	if (!line)
		line = wire_error_line("the answer is too long, or memory is short", false);
	if (line)
		evbuffer_add(output_of(c), line, strlen(line));
	free(line);
}

void control_client_row(struct control_client *client, json_t *row)
{
	send_line(client, wire_row_line(row));
}

struct agent *control_client_agent(const struct control_client *client)
{
	return client->server->agent;
}

void control_row(struct control_call *call, json_t *row)
{
	send_line(call->client, wire_row_line(row));
}

void control_done(struct control_call *call, json_t *done)
{
	send_line(call->client, wire_done_line(done));
}

void control_stream(struct control_call *call, const struct control_stream *stream)
{
	call->client->stream = *stream;
}

static void run_stream(struct control_client *c)
{
	bool more = true;

	while (c->stream.fill && !c->follows && more &&
	       evbuffer_get_length(output_of(c)) < STREAM_HIGH)
		more = c->stream.fill(c, c->stream.ctx);
	if (more)
		return;
	if (c->stream.follow) {
		/* Rows that came meanwhile were part of the stream: nothing is missed. Reading
		 * tells when the follower goes. */
		c->follows = true;
		bufferevent_enable(c->bev, EV_READ);
		return;
	}
	end_stream(c);
	send_line(c, wire_done_line(json_object()));
	bufferevent_enable(c->bev, EV_READ);
}

/* ---- requests ---- */

static const struct control_verb *find_verb(const struct wire_request *r)
{
	for (unsigned i = 0; i < N_VERBS; i++) {
		if (strcmp(verbs[i].words[0], r->words[0]))
			continue;
		if (!verbs[i].words[1] ||
		    (r->n_words > 1 && !strcmp(verbs[i].words[1], r->words[1])))
			return &verbs[i];
	}
	return NULL;
}

static int unknown_verb(struct control_call *call, const struct wire_request *r, struct error *e)
{
	char list[160] = "";
	size_t len = 0;

	for (unsigned i = 0; i < N_VERBS && len < sizeof(list); i++) {
		bool noun = !strcmp(verbs[i].words[0], r->words[0]);

		if (noun && verbs[i].words[1])
			len += snprintf(list + len, sizeof(list) - len, " %s", verbs[i].words[1]);
	}
	if (len)
		return control_usage(call, e, "%s: say which:%s", r->words[0], list);
	return control_usage(call, e,
			     "unknown verb \"%.40s\"; use status, classes, flows, explain, policy, "
			     "model",
			     r->words[0]);
}

static void run_request(struct control_client *c, const struct wire_request *r)
{
	const struct control_verb *verb = find_verb(r);
	size_t own = verb && verb->words[1] ? 2 : 1;
	struct control_call call = {
		.agent = c->server->agent,
		.client = c,
		.words = r->words + own,
		.n_words = r->n_words - (own < r->n_words ? own : r->n_words),
		.all_words = r->words,
		.n_all_words = r->n_words,
		.text = r->text,
		.text_len = r->text_len,
		.by = c->by,
	};
	struct error e = {0};
	int rc = verb ? verb->run(&call, &e) : unknown_verb(&call, r, &e);

	if (rc) {
		log_debug(LOG_CONTROL, "%s: %s: %s", c->by, r->words[0], e.text);
		send_line(c, wire_error_line(e.text, call.usage));
		return;
	}
	log_debug(LOG_CONTROL, "%s: %s %s", c->by, r->words[0], r->n_words > 1 ? r->words[1] : "");
	if (!c->stream.fill)
		return;
	bufferevent_disable(c->bev, EV_READ);
	run_stream(c);
}

static void refuse_line(struct control_client *c, const char *why)
{
	c->server->counters.bad_requests++;
	send_line(c, wire_error_line(why, true));
	c->closing = true;
	bufferevent_disable(c->bev, EV_READ);
}

static void take_line(struct control_client *c, const char *line, size_t len)
{
	struct wire_request r;
	struct error e = {0};

	if (wire_request_parse(line, len, &r, &e)) {
		refuse_line(c, e.text);
		return;
	}
	run_request(c, &r);
	wire_request_fini(&r);
}

static bool may_take(const struct control_client *c)
{
	return !c->closing && !c->stream.fill && evbuffer_get_length(output_of(c)) < STREAM_HIGH;
}

/* A client that does not read its answers gets no more of them, and one that asks much lets the
 * loop do its other work in between. */
static void take_lines(struct control_client *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);
	unsigned n = 0;
	char *line;
	size_t len;

	while (may_take(c) && n < REQUESTS_A_TURN &&
	       (line = evbuffer_readln(input, &len, EVBUFFER_EOL_LF))) {
		take_line(c, line, len);
		free(line);
		n++;
	}
	if (n == REQUESTS_A_TURN)
		bufferevent_trigger(c->bev, EV_READ,
				    BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
	else if (may_take(c) && evbuffer_get_length(input) >= WIRE_MAX_LINE)
		refuse_line(c, "request: a line is too long");
}

static bool has_line(const struct control_client *c)
{
	struct evbuffer *input = bufferevent_get_input(c->bev);

	return evbuffer_search_eol(input, NULL, NULL, EVBUFFER_EOL_LF).pos >= 0;
}

static void end_if_over(struct control_client *c)
{
	if (c->stream.fill || evbuffer_get_length(output_of(c)))
		return;
	if (c->closing || (c->sent_all && !has_line(c)))
		client_free(c);
}

static void on_read(struct bufferevent *bev, void *ctx)
{
	struct control_client *c = ctx;

	(void)bev;
	take_lines(c);
	end_if_over(c);
}

/* The output is short again. */
static void on_write(struct bufferevent *bev, void *ctx)
{
	struct control_client *c = ctx;

	(void)bev;
	if (c->stream.fill && !c->follows)
		run_stream(c);
	take_lines(c); /* requests that came meanwhile */
	end_if_over(c);
}

static void on_client_event(struct bufferevent *bev, short what, void *ctx)
{
	struct control_client *c = ctx;

	(void)bev;
	/* Who only stopped sending still gets the answers; who is gone fails at the next write. */
	if ((what & BEV_EVENT_EOF) && !c->follows) {
		c->sent_all = true;
		end_if_over(c);
	} else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
		client_free(c);
	}
}

/* ---- clients ---- */

static void name_peer(uint32_t uid, char by[POLICY_BY])
{
	const struct passwd *user = getpwuid(uid);

	if (user)
		snprintf(by, POLICY_BY, "%.40s (uid %" PRIu32 ")", user->pw_name, uid);
	else
		snprintf(by, POLICY_BY, "uid %" PRIu32, uid);
}

/* Told why on the socket itself, which nobody else may read. */
static void refuse_peer(struct control_server *s, int fd, const char *why)
{
	char *line = wire_error_line(why, false);

	s->counters.refused++;
	if (line)
		send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	free(line);
	close(fd);
}

static void add_client(struct control_server *s, int fd, uint32_t uid)
{
	struct control_client *c = calloc(1, sizeof(*c));

	if (c)
		c->bev = bufferevent_socket_new(s->agent->loop, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		free(c);
		close(fd);
		s->counters.refused++;
		return;
	}
	c->server = s;
	name_peer(uid, c->by);
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->counters.clients++;
	bufferevent_setcb(c->bev, on_read, on_write, on_client_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, WIRE_MAX_LINE + 1);
	bufferevent_setwatermark(c->bev, EV_WRITE, STREAM_LOW, 0);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

static void on_accept(evutil_socket_t listener, short what, void *ctx)
{
	struct control_server *s = ctx;
	uint32_t uid;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (!privileges_peer_allowed(fd, s->agent->settings.socket_group, &uid))
		refuse_peer(s, fd,
			    "not permitted: be root or a member of the agent's group "
			    "(setting socket_group)");
	else if (s->counters.clients >= CONTROL_CLIENTS)
		refuse_peer(s, fd, "too many clients; end one of those that follow");
	else
		add_client(s, fd, uid);
}

void control_event(void *ctx, const struct flow_event *event)
{
	struct control_server *s = ctx;
	struct control_client *c, *next;

	for (c = LIST_FIRST(&s->clients); c; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->follows || !store_matches(c->stream.filter, event))
			continue;
		control_client_row(c, event_to_json(event, false));
		if (evbuffer_get_length(output_of(c)) <= FOLLOWER_BYTES)
			continue;
		s->counters.slow_dropped++;
		log_warning("control: %s follows flows and does not read: dropped", c->by);
		client_free(c);
	}
}

/* ---- the socket ---- */

static int own_socket(const struct agent *a, const char *path, struct error *e)
{
	const struct group *group = getgrnam(a->settings.socket_group);

	if (!group)
		log_info("group %s does not exist: nmctl is for root alone",
			 a->settings.socket_group);
	if (group && chown(path, 0, group->gr_gid))
		return error_set(e, -errno, "%s: cannot be given to group %s: %m", path,
				 a->settings.socket_group);
	if (chmod(path, 0660))
		return error_set(e, -errno, "%s: %m", path);
	return 0;
}

static int listen_at(struct control_server *s, struct error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int rc;

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", s->path) >=
	    (int)sizeof(address.sun_path))
		return error_set(e, -ENAMETOOLONG, "%s: too long for a socket", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return error_set(e, -errno, "control socket: %m");
	unlink(s->path); /* the pid file's lock says that nobody listens there */
	mask = umask(0177);
	rc = bind(s->fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	umask(mask);
	if (rc)
		return error_set(e, rc, "%s: %s", s->path, strerror(-rc));
	rc = own_socket(s->agent, s->path, e);
	if (rc)
		return rc;
	if (listen(s->fd, LISTEN_BACKLOG))
		return error_set(e, -errno, "%s: %m", s->path);
	return 0;
}

static void control_stopp(struct control_server **s)
{
	control_stop(*s);
}

int control_start(struct agent *a, struct control_server **ret_server, struct error *e)
{
	cleanup(control_stopp) struct control_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	s->agent = a;
	s->fd = -1;
	LIST_INIT(&s->clients);
	snprintf(s->path, sizeof(s->path), "%s/nmd.sock", a->settings.run_dir);
	rc = listen_at(s, e);
	if (rc)
		return rc;
	s->watch = event_new(a->loop, s->fd, EV_READ | EV_PERSIST, on_accept, s);
	if (!s->watch || event_add(s->watch, NULL))
		return error_set(e, -ENOMEM, "control socket: out of memory");
	*ret_server = take_ptr(s);
	return 0;
}

void control_stop(struct control_server *s)
{
	if (!s)
		return;
	while (!LIST_EMPTY(&s->clients))
		client_free(LIST_FIRST(&s->clients));
	if (s->watch)
		event_free(s->watch);
	if (s->fd >= 0) {
		close(s->fd);
		unlink(s->path);
	}
	free(s);
}

void control_counters(const struct control_server *s, struct control_counters *ret_counters)
{
	*ret_counters = s->counters;
}
