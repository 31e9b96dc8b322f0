/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SQLite, in write-ahead mode, one transaction a second (or a thousand events).
 *
 * Addresses are 16-byte blobs, so that a prefix is a range of them and `net=` needs no function of
 * ours. A flow's later event replaces its earlier one and becomes the newest row.
 */
#include "agent/nmd/store.h"
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/nmd/clock.h"
#include "agent/nmd/log.h"

#define EVENTS_A_TRANSACTION 1000
#define SCHEMA               1  /* user_version */
#define PRUNE_SLACK          50 /* rows over the limit by 1/50 before the oldest are removed */

static const char schema_sql[] =
	"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	"CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER,"
	" flow_id TEXT UNIQUE, class TEXT, proto TEXT, action TEXT, src BLOB, dst BLOB, json TEXT);"
	"CREATE INDEX IF NOT EXISTS events_time ON events (time_ns);"
	"CREATE INDEX IF NOT EXISTS events_class ON events (class, id);"
	"PRAGMA user_version = 1;";

static const char insert_sql[] = "INSERT OR REPLACE INTO events (time_ns, flow_id, class, proto,"
				 " action, src, dst, json) VALUES (?,?,?,?,?,?,?,?)";

#define WHERE                                                                                      \
	" FROM events WHERE (?1 IS NULL OR time_ns >= ?1) AND (?2 IS NULL OR class = ?2)"          \
	" AND (?3 IS NULL OR proto = ?3) AND (?4 IS NULL OR action = ?4)"                          \
	" AND (?5 IS NULL OR src BETWEEN ?5 AND ?6 OR dst BETWEEN ?5 AND ?6)"

static const char start_sql[] =
	"SELECT min(id) FROM (SELECT id" WHERE " ORDER BY id DESC LIMIT ?7)";
static const char query_sql[] = "SELECT id, json" WHERE " AND id >= ?7 ORDER BY id LIMIT ?8";
static const char find_sql[] =
	"SELECT json FROM events WHERE flow_id >= ?1 AND flow_id < ?1 || 'g' LIMIT 2";
static const char prune_sql[] = "DELETE FROM events WHERE id <= "
				"(SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?1)";

#define RETRY_NS (60 * NS_PER_S) /* to open what could not be opened */

struct store {
	sqlite3 *db; /* NULL: no store wanted, or it could not be opened */
	char *path;
	sqlite3_stmt *insert, *start, *query, *find, *prune;
	uint64_t max_rows;
	uint32_t in_transaction; /* events; 0 = none open */
	uint64_t retry_at_ns;
	struct store_counters counters;
	struct log_limit complaints;
};

static void store_closep(struct store **s)
{
	store_close(*s);
}

/* A failed write costs an event, not the agent. */
static void complain(struct store *s, const char *what)
{
	uint64_t held;

	if (log_limit_pass(&s->complaints, 1, clock_monotonic_ns() / 60, &held))
		log_error("store: %s: %s (%" PRIu64 " events lost so far)", what,
			  sqlite3_errmsg(s->db), s->counters.dropped);
}

static int execute(struct store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int64_t single_number(struct store *s, const char *sql, int64_t otherwise)
{
	sqlite3_stmt *statement;
	int64_t number = otherwise;

	if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

static int prepare_all(struct store *s)
{
	struct {
		const char *sql;
		sqlite3_stmt **statement;
	} wanted[] = {{insert_sql, &s->insert},
		      {start_sql, &s->start},
		      {query_sql, &s->query},
		      {find_sql, &s->find},
		      {prune_sql, &s->prune}};

	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (sqlite3_prepare_v3(s->db, wanted[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
				       wanted[i].statement, NULL) != SQLITE_OK)
			return -EIO;
	return 0;
}

/* -EUCLEAN: the file is no data base of ours, or damaged. A full disk, a lock or a failing device
 * say nothing about it. */
static int failure(const struct store *s)
{
	switch (sqlite3_errcode(s->db)) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* tables that are not ours */
		return -EUCLEAN;
	case SQLITE_FULL:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

static int open_file(struct store *s, const char *path)
{
	int64_t version;

	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return failure(s);
	sqlite3_busy_timeout(s->db, 1000);
	version = single_number(s, "PRAGMA user_version", INT64_MIN);
	if (version == INT64_MIN)
		return failure(s);
	if (version < 0 || version > SCHEMA)
		return -EUCLEAN;
	if (version && single_number(s,
				     "SELECT count(*) FROM pragma_quick_check(1) "
				     "WHERE quick_check = 'ok'",
				     0) != 1)
		return -EUCLEAN;
	if (execute(s, schema_sql) || prepare_all(s))
		return failure(s);
	s->counters.rows = (uint64_t)single_number(s, "SELECT count(*) FROM events", 0);
	return 0;
}

static void close_file(struct store *s)
{
	sqlite3_finalize(s->insert);
	sqlite3_finalize(s->start);
	sqlite3_finalize(s->query);
	sqlite3_finalize(s->find);
	sqlite3_finalize(s->prune);
	sqlite3_close(s->db);
	s->insert = s->start = s->query = s->find = s->prune = NULL;
	s->db = NULL;
}

static void move_aside(const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char from[512], to[512];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.damaged%s", path, suffixes[i]);
		rename(from, to);
	}
	log_warning("store: %s is damaged: moved to %s.damaged, a new one is begun", path, path);
}

/* History that cannot be kept is no reason not to guard. */
static void open_or_complain(struct store *s)
{
	int rc = open_file(s, s->path);

	if (rc == -EUCLEAN) {
		close_file(s);
		move_aside(s->path);
		rc = open_file(s, s->path);
	}
	if (!rc)
		return;
	log_error("store %s: %s: flow events are not kept; tried again each minute", s->path,
		  s->db ? sqlite3_errmsg(s->db) : strerror(-rc));
	close_file(s);
	s->retry_at_ns = clock_monotonic_ns() + RETRY_NS;
}

int store_open(const char *path, uint64_t max_rows, struct store **ret_store, struct error *e)
{
	cleanup(store_closep) struct store *s = calloc(1, sizeof(*s));

	if (!s || !(s->path = strdup(path)))
		return error_set(e, -ENOMEM, "out of memory");
	s->max_rows = max_rows;
	if (max_rows)
		open_or_complain(s);
	*ret_store = take_ptr(s);
	return 0;
}

static void commit(struct store *s)
{
	if (!s->in_transaction)
		return;
	if (execute(s, "COMMIT")) {
		s->counters.dropped += s->in_transaction;
		complain(s, "commit");
		execute(s, "ROLLBACK");
	} else {
		s->counters.written += s->in_transaction;
	}
	s->in_transaction = 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	if (s->db) {
		commit(s);
		close_file(s);
	}
	free(s->path);
	free(s);
}

static const char *decided_class(const struct flow_event *event)
{
	return event->by == DECIDED_CLASS ? event->class_name : "unknown";
}

static const uint8_t *end_address(const struct flow_event *event, int side)
{
	bool lo = (event->source_direction == FLOW_DIR_FORWARD) == (side == 0);

	return lo ? event->key.addr_lo : event->key.addr_hi;
}

static int bind_event(sqlite3_stmt *st, const struct flow_event *event, char *json)
{
	char proto[8], id[17];
	int rc = 0;

	snprintf(id, sizeof(id), "%016" PRIx64, event->flow_id);
	rc |= sqlite3_bind_int64(st, 1, event->time_ns);
	rc |= sqlite3_bind_text(st, 2, id, -1, SQLITE_TRANSIENT);
	rc |= sqlite3_bind_text(st, 3, decided_class(event), -1, SQLITE_TRANSIENT);
	rc |= sqlite3_bind_text(st, 4, event_proto_name(event->key.proto, proto), -1,
				SQLITE_TRANSIENT);
	rc |= sqlite3_bind_text(st, 5, event->action, -1, SQLITE_TRANSIENT);
	rc |= sqlite3_bind_blob(st, 6, end_address(event, 0), 16, SQLITE_TRANSIENT);
	rc |= sqlite3_bind_blob(st, 7, end_address(event, 1), 16, SQLITE_TRANSIENT);
	rc |= sqlite3_bind_text(st, 8, json, -1, free);
	return rc;
}

static int insert(struct store *s, const struct flow_event *event)
{
	json_t *json = event_to_json(event, false);
	char *text = json ? json_dumps(json, EVENT_JSON_FLAGS) : NULL;
	int rc = -ENOMEM;

	json_decref(json);
	if (!text)
		return rc;
	rc = bind_event(s->insert, event, text);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s->insert);
	sqlite3_reset(s->insert);
	sqlite3_clear_bindings(s->insert);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

void store_event(void *ctx, const struct flow_event *event)
{
	struct store *s = ctx;

	if (!s->db) {
		s->counters.dropped += s->max_rows > 0;
		return;
	}
	if (!s->in_transaction && execute(s, "BEGIN")) {
		s->counters.dropped++;
		complain(s, "begin");
		return;
	}
	if (insert(s, event)) {
		s->counters.dropped++;
		complain(s, "insert");
		/* A full disk may have ended the transaction by itself. */
		if (sqlite3_get_autocommit(s->db)) {
			s->counters.dropped += s->in_transaction;
			s->in_transaction = 0;
		} else if (!s->in_transaction) {
			execute(s, "ROLLBACK");
		}
		return;
	}
	if (++s->in_transaction >= EVENTS_A_TRANSACTION)
		commit(s);
}

void store_tick(struct store *s)
{
	uint64_t over;

	if (!s->db && s->max_rows && clock_monotonic_ns() >= s->retry_at_ns)
		open_or_complain(s);
	if (!s->db)
		return;
	commit(s);
	over = s->max_rows + s->max_rows / PRUNE_SLACK;
	s->counters.rows = (uint64_t)single_number(
		s, "SELECT ifnull(max(id) - min(id) + 1, 0) FROM events", 0);
	if (s->counters.rows <= over)
		return;
	/* Replaced rows leave holes in the ids: count before anything is removed. */
	s->counters.rows = (uint64_t)single_number(s, "SELECT count(*) FROM events", 0);
	if (s->counters.rows <= over)
		return;
	sqlite3_bind_int64(s->prune, 1, (int64_t)s->max_rows);
	if (sqlite3_step(s->prune) != SQLITE_DONE)
		complain(s, "removing old events");
	else
		s->counters.rows -= (uint64_t)sqlite3_changes(s->db);
	sqlite3_reset(s->prune);
}

static void prefix_range(const struct store_filter *filter, uint8_t lo[16], uint8_t hi[16])
{
	for (unsigned i = 0; i < 16; i++) {
		int bits = (int)filter->prefix_len - (int)i * 8;
		uint8_t mask = bits >= 8 ? 0xff : bits <= 0 ? 0 : (uint8_t)(0xff00 >> bits);

		lo[i] = filter->net[i] & mask;
		hi[i] = lo[i] | (uint8_t)~mask;
	}
}

/* What is not bound is NULL: no condition. */
static void bind_filter(sqlite3_stmt *st, const struct store_filter *filter)
{
	uint8_t lo[16], hi[16];

	if (filter->since_ns)
		sqlite3_bind_int64(st, 1, filter->since_ns);
	if (filter->class_name)
		sqlite3_bind_text(st, 2, filter->class_name, -1, SQLITE_TRANSIENT);
	if (filter->proto)
		sqlite3_bind_text(st, 3, filter->proto, -1, SQLITE_TRANSIENT);
	if (filter->action)
		sqlite3_bind_text(st, 4, filter->action, -1, SQLITE_TRANSIENT);
	if (!filter->has_net)
		return;
	prefix_range(filter, lo, hi);
	sqlite3_bind_blob(st, 5, lo, 16, SQLITE_TRANSIENT);
	sqlite3_bind_blob(st, 6, hi, 16, SQLITE_TRANSIENT);
}

static int finish(struct store *s, sqlite3_stmt *st, int rc, int result, struct error *e)
{
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		result = error_set(e, -EIO, "store: %s", sqlite3_errmsg(s->db));
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return result;
}

int store_start_of(struct store *s, const struct store_filter *filter, uint64_t limit,
		   int64_t *ret_id, struct error *e)
{
	int64_t id = INT64_MAX;
	int rc;

	*ret_id = id;
	if (!s->db || !limit)
		return 0;
	bind_filter(s->start, filter);
	sqlite3_bind_int64(s->start, 7, limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
	rc = sqlite3_step(s->start);
	if (rc == SQLITE_ROW && sqlite3_column_type(s->start, 0) != SQLITE_NULL)
		id = sqlite3_column_int64(s->start, 0);
	*ret_id = id;
	return finish(s, s->start, rc, 0, e);
}

int store_query(struct store *s, const struct store_filter *filter, int64_t first, uint64_t n,
		store_row_fn fn, void *ctx, struct error *e)
{
	int rc, rows = 0;

	if (!s->db)
		return 0;
	bind_filter(s->query, filter);
	sqlite3_bind_int64(s->query, 7, first);
	sqlite3_bind_int64(s->query, 8, (int64_t)n);
	while ((rc = sqlite3_step(s->query)) == SQLITE_ROW) {
		rows++;
		if (fn(ctx, sqlite3_column_int64(s->query, 0),
		       (const char *)sqlite3_column_text(s->query, 1)))
			break;
	}
	return finish(s, s->query, rc, rows, e);
}

int store_find(struct store *s, const char *prefix, json_t **ret_event, struct error *e)
{
	size_t len = strlen(prefix);
	json_t *found = NULL;
	int rc, rows = 0;

	if (!len || len > 16 || strspn(prefix, "0123456789abcdef") != len)
		return error_set(e, -EINVAL,
				 "flow \"%.40s\": an id is up to 16 hex digits, as `nmctl flows` "
				 "shows it",
				 prefix);
	if (!s->max_rows)
		return error_set(e, -ENOENT, "flow %s: the store is off (store_rows = 0)", prefix);
	if (!s->db)
		return error_set(e, -EIO, "flow %s: the store could not be opened", prefix);
	sqlite3_bind_text(s->find, 1, prefix, -1, SQLITE_TRANSIENT);
	while ((rc = sqlite3_step(s->find)) == SQLITE_ROW)
		if (!rows++)
			found = json_loads((const char *)sqlite3_column_text(s->find, 0), 0, NULL);
	rc = finish(s, s->find, rc, 0, e);
	if (!rc && !rows)
		rc = error_set(e, -ENOENT, "flow %s: not in the store", prefix);
	else if (!rc && rows > 1)
		rc = error_set(e, -ENOTUNIQ, "flow %s: several begin so; give more digits", prefix);
	else if (!rc && !found)
		rc = error_set(e, -EIO, "flow %s: its stored event is damaged", prefix);
	if (rc) {
		json_decref(found);
		return rc;
	}
	*ret_event = found;
	return 0;
}

bool store_matches(const struct store_filter *filter, const struct flow_event *event)
{
	uint8_t lo[16], hi[16];
	char proto[8];

	if (filter->class_name && strcmp(filter->class_name, decided_class(event)))
		return false;
	if (filter->proto && strcmp(filter->proto, event_proto_name(event->key.proto, proto)))
		return false;
	if (filter->action && strcmp(filter->action, event->action))
		return false;
	if (!filter->has_net)
		return true;
	prefix_range(filter, lo, hi);
	for (int side = 0; side < 2; side++) {
		const uint8_t *addr = end_address(event, side);

		if (memcmp(addr, lo, 16) >= 0 && memcmp(addr, hi, 16) <= 0)
			return true;
	}
	return false;
}

void store_counters(const struct store *s, struct store_counters *ret_counters)
{
	*ret_counters = s->counters;
}
