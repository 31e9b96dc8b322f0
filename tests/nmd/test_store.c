/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sched.h>
#include "agent/nmd/store.h"
#include "tests/nmd/tree.h"

static char dir[64], path[80];
static struct store *store;
static struct error e;

static int open_rows(uint64_t rows)
{
	return store_open(path, rows, &store, &e);
}

static int begin(void **state)
{
	(void)state;
	tree_make(dir);
	snprintf(path, sizeof(path), "%s/store.db", dir);
	return open_rows(100000);
}

static int end(void **state)
{
	(void)state;
	store_close(store);
	store = NULL;
	tree_remove(dir);
	return 0;
}

/* 10.0.0.<n> -> 192.0.2.1, one second each. */
static struct flow_event event_of(uint64_t id, const char *class_name)
{
	struct flow_event event = {.flow_id = id,
				   .time_ns = (int64_t)(id % 100000) * 1000000000,
				   .source_direction = FLOW_DIR_FORWARD,
				   .packets = id};
	const uint8_t src[4] = {10, 0, 0, (uint8_t)id}, dst[4] = {192, 0, 2, 1};

	event.key.proto = id % 2 ? IPPROTO_TCP : IPPROTO_UDP;
	event.key.addr_lo[10] = event.key.addr_lo[11] = 0xff;
	event.key.addr_hi[10] = event.key.addr_hi[11] = 0xff;
	memcpy(event.key.addr_lo + 12, src, 4);
	memcpy(event.key.addr_hi + 12, dst, 4);
	snprintf(event.class_name, sizeof(event.class_name), "%s", class_name);
	event.ready = "full";
	strcpy(event.action, "watch");
	return event;
}

static void put(uint64_t id, const char *class_name)
{
	struct flow_event event = event_of(id, class_name);

	store_event(store, &event);
}

struct found {
	unsigned n;
	char first[17], last[17];
	int64_t last_id;
};

static int on_row(void *ctx, int64_t id, const char *json)
{
	struct found *found = ctx;
	json_t *row = json_loads(json, 0, NULL);
	const char *flow = json_string_value(json_object_get(row, "flow_id"));

	assert_non_null(flow);
	snprintf(found->n++ ? found->last : found->first, 17, "%s", flow);
	if (found->n == 1)
		strcpy(found->last, found->first);
	found->last_id = id;
	json_decref(row);
	return 0;
}

static struct found find(const struct store_filter *filter, uint64_t limit)
{
	struct found found = {0};
	int64_t first;

	if (store_start_of(store, filter, limit, &first, &e))
		fail_msg("%s", e.text);
	if (first != INT64_MAX &&
	    store_query(store, filter, first, UINT32_MAX, on_row, &found, &e) < 0)
		fail_msg("%s", e.text);
	return found;
}

static void events_are_found_oldest_first_the_last_of_them_when_limited(void **state)
{
	struct store_filter all = {0};
	struct found found;

	(void)state;
	for (uint64_t id = 1; id <= 250; id++)
		put(id, "tor");
	found = find(&all, 100);
	assert_int_equal(found.n, 100);
	assert_string_equal(found.first, "0000000000000097");
	assert_string_equal(found.last, "00000000000000fa");
	assert_int_equal(find(&all, UINT64_MAX).n, 250);
}

static void filters_are_those_of_the_words(void **state)
{
	struct flow_event unsure = event_of(4, "tor");

	(void)state;
	put(1, "tor");
	put(2, "tor");
	put(3, "tls");
	unsure.by = DECIDED_THRESHOLD;
	store_event(store, &unsure);
	assert_int_equal(find(&(struct store_filter){.class_name = "tor"}, 10).n, 2);
	assert_int_equal(find(&(struct store_filter){.class_name = "unknown"}, 10).n, 1);
	assert_int_equal(find(&(struct store_filter){.proto = "tcp"}, 10).n, 2);
	assert_int_equal(find(&(struct store_filter){.action = "drop"}, 10).n, 0);
	assert_int_equal(find(&(struct store_filter){.since_ns = 3000000000}, 10).n, 2);
	assert_int_equal(find(&(struct store_filter){.class_name = "tor", .proto = "tcp"}, 10).n,
			 1);
}

static struct store_filter net(const char *text)
{
	struct store_filter filter = {.has_net = true};
	uint8_t bits = (uint8_t)(96 + atoi(strchr(text, '/') + 1));
	char address[32];

	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	filter.net[10] = filter.net[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, address, filter.net + 12), 1);
	filter.prefix_len = bits;
	return filter;
}

static void an_event_under_way_is_asked_the_same_words(void **state)
{
	struct flow_event event = event_of(7, "tor"), unsure = event_of(7, "tor");

	(void)state;
	unsure.by = DECIDED_THRESHOLD;
	assert_true(store_matches(&(struct store_filter){0}, &event));
	assert_true(store_matches(&(struct store_filter){.class_name = "tor"}, &event));
	assert_false(store_matches(&(struct store_filter){.class_name = "tls"}, &event));
	assert_false(store_matches(&(struct store_filter){.class_name = "tor"}, &unsure));
	assert_true(store_matches(&(struct store_filter){.proto = "tcp"}, &event));
	assert_false(store_matches(&(struct store_filter){.proto = "udp"}, &event));
	assert_true(store_matches(&(struct store_filter){.action = "watch"}, &event));
	assert_false(store_matches(&(struct store_filter){.action = "drop"}, &event));
}

static void a_net_is_either_end_in_the_prefix(void **state)
{
	struct store_filter half = net("10.0.0.128/25"), one = net("10.0.0.7/32");
	struct store_filter server = net("192.0.2.0/24"), none = net("172.16.0.0/12");
	struct flow_event event = event_of(7, "tor");

	(void)state;
	for (uint64_t id = 1; id <= 255; id++)
		put(id, "tor");
	assert_int_equal(find(&half, 1000).n, 128);
	assert_int_equal(find(&one, 1000).n, 1);
	assert_int_equal(find(&server, 1000).n, 255);
	assert_int_equal(find(&none, 1000).n, 0);
	assert_true(store_matches(&one, &event));
	assert_true(store_matches(&server, &event));
	assert_false(store_matches(&half, &event));
}

static void a_later_judgement_of_a_flow_replaces_the_earlier(void **state)
{
	struct store_filter all = {0};
	json_t *event;

	(void)state;
	put(1, "tor");
	put(2, "tls");
	put(1, "p2p");
	assert_int_equal(find(&all, 10).n, 2);
	assert_string_equal(find(&all, 10).last, "0000000000000001");
	assert_int_equal(store_find(store, "0000000000000001", &event, &e), 0);
	assert_string_equal(json_string_value(json_object_get(event, "class")), "p2p");
	json_decref(event);
}

static void a_flow_is_found_by_the_beginning_of_its_id(void **state)
{
	json_t *event;

	(void)state;
	put(0xabcd000000000000, "tor");
	put(0xabce000000000000, "tor");
	assert_int_equal(store_find(store, "abcd", &event, &e), 0);
	json_decref(event);
	assert_int_equal(store_find(store, "abc", &event, &e), -ENOTUNIQ);
	put(0xbfff000000000000, "tor");
	assert_int_equal(store_find(store, "b", &event, &e), 0);
	json_decref(event);
	assert_int_equal(store_find(store, "ff", &event, &e), -ENOENT);
	assert_int_equal(store_find(store, "", &event, &e), -EINVAL);
	assert_int_equal(store_find(store, "abcd0000000000000", &event, &e), -EINVAL);
	assert_int_equal(store_find(store, "abcd'; DROP TABLE events; --", &event, &e), -EINVAL);
}

static void rows_are_bounded_and_the_oldest_go(void **state)
{
	struct store_filter all = {0};
	struct store_counters counters;

	(void)state;
	store_close(store);
	assert_int_equal(open_rows(500), 0);
	for (uint64_t id = 1; id <= 5000; id++)
		put(id, "tor");
	store_tick(store);
	assert_int_equal(find(&all, UINT64_MAX).n, 500);
	assert_string_equal(find(&all, 1).last, "0000000000001388");
	store_counters(store, &counters);
	assert_int_equal(counters.rows, 500);
	assert_int_equal(counters.written, 5000);
}

static void events_survive_the_agent(void **state)
{
	(void)state;
	put(1, "tor");
	store_close(store);
	assert_int_equal(open_rows(100), 0);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
}

static void a_damaged_file_is_moved_aside_and_a_new_one_begun(void **state)
{
	static const char *const damages[] = {"this is no data base at all, whoever wrote it here",
					      "SQLite format 3"};
	char aside[96];

	(void)state;
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	for (size_t i = 0; i < 2; i++) {
		store_close(store);
		store = NULL;
		tree_write(dir, "store.db", damages[i]);
		assert_int_equal(open_rows(100), 0);
		assert_int_equal(access(aside, F_OK), 0);
		unlink(aside);
		put(1, "tor");
		assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
	}
}

static void pages_in_the_middle_that_are_overwritten_are_noticed(void **state)
{
	char aside[96], garbage[4096];
	FILE *file;

	(void)state;
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	for (uint64_t id = 1; id <= 2000; id++)
		put(id, "tor");
	store_close(store);
	store = NULL;
	memset(garbage, 0xa5, sizeof(garbage));
	file = fopen(path, "r+");
	assert_non_null(file);
	for (long page = 3; page < 20; page++) {
		fseek(file, page * 4096, SEEK_SET);
		fwrite(garbage, 1, sizeof(garbage), file);
	}
	fclose(file);
	assert_int_equal(open_rows(100), 0);
	assert_int_equal(access(aside, F_OK), 0);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 0);
}

static void a_data_base_in_other_hands_is_not_taken_for_damaged(void **state)
{
	struct store_counters counters;
	char aside[96];
	sqlite3 *other;

	(void)state;
	put(1, "tor");
	store_close(store);
	store = NULL;
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(open_rows(100000), 0);
	put(2, "tor");
	store_counters(store, &counters);
	assert_int_equal(counters.dropped, 1);
	store_close(store);
	sqlite3_close(other);
	assert_int_equal(access(aside, F_OK), -1);
	assert_int_equal(open_rows(100000), 0);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
}

static void a_full_disk_is_counted_and_the_store_goes_on(void **state)
{
	struct store_counters counters;

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=256k")) {
		print_message("skipped: a small file system cannot be mounted: %s\n",
			      strerror(errno));
		skip();
	}
	store_close(store);
	assert_int_equal(open_rows(100000), 0);
	for (uint64_t id = 1; id <= 3000; id++)
		put(id, "tor");
	store_tick(store);
	store_counters(store, &counters);
	assert_true(counters.dropped > 0);
	assert_int_equal(counters.dropped + counters.written, 3000);
	store_close(store);
	store = NULL;
	umount(dir);
	assert_int_equal(open_rows(100), 0);
	put(1, "tor");
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
}

static void a_disk_that_is_full_from_the_start_costs_events_only(void **state)
{
	struct store_counters counters;
	json_t *event;
	char aside[96];

	(void)state;
	store_close(store);
	store = NULL;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=4k")) {
		print_message("skipped: a small file system cannot be mounted: %s\n",
			      strerror(errno));
		skip();
	}
	assert_int_equal(open_rows(100), 0);
	put(1, "tor");
	store_tick(store);
	store_counters(store, &counters);
	assert_int_equal(counters.dropped, 1);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 0);
	assert_int_equal(store_find(store, "01", &event, &e), -EIO);
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	assert_int_equal(access(aside, F_OK), -1);
	store_close(store);
	store = NULL;
	umount(dir);
}

/* The connection that the store opened last, so that a test can lay tables of its own into it. */
static sqlite3 *connection;

static int on_connection(sqlite3 *db, const char **message, const void *api)
{
	(void)message;
	(void)api;
	connection = db;
	return SQLITE_OK;
}

static void reopen_with(const char *sql)
{
	store_close(store);
	sqlite3_auto_extension((void (*)(void))on_connection);
	assert_int_equal(open_rows(100000), 0);
	sqlite3_reset_auto_extension();
	assert_int_equal(sqlite3_exec(connection, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int number(const char *sql)
{
	sqlite3_stmt *statement;
	int value = -1;

	assert_int_equal(sqlite3_prepare_v2(connection, sql, -1, &statement, NULL), SQLITE_OK);
	if (sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static void counted(uint64_t written, uint64_t dropped)
{
	struct store_counters counters;

	store_counters(store, &counters);
	assert_int_equal(counters.written, written);
	assert_int_equal(counters.dropped, dropped);
}

static void an_event_that_gets_no_transaction_is_counted(void **state)
{
	(void)state;
	reopen_with("BEGIN");
	put(1, "tor");
	counted(0, 1);
	assert_int_equal(sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	put(2, "tor");
	store_tick(store);
	counted(1, 1);
}

static void an_event_that_cannot_be_inserted_is_counted_and_the_others_are_kept(void **state)
{
	(void)state;
	reopen_with("CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.class = 'tls' "
		    "BEGIN SELECT RAISE(ABORT, 'not this one'); END");
	put(1, "tls");
	put(2, "tor");
	put(3, "tls");
	store_tick(store);
	counted(1, 2);
	put(4, "tor");
	store_tick(store);
	counted(2, 2);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 2);
}

static void events_of_a_transaction_that_was_undone_are_counted(void **state)
{
	(void)state;
	reopen_with("CREATE TRIGGER undo BEFORE INSERT ON events WHEN NEW.class = 'tls' "
		    "BEGIN SELECT RAISE(ROLLBACK, 'none of them'); END");
	put(1, "tor");
	put(2, "tor");
	put(3, "tls");
	store_tick(store);
	counted(0, 3);
	put(4, "tor");
	store_tick(store);
	counted(1, 3);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
}

static void events_of_a_failed_commit_are_counted_and_the_next_are_kept(void **state)
{
	(void)state;
	reopen_with("PRAGMA foreign_keys = ON; CREATE TABLE parents (id INTEGER PRIMARY KEY);"
		    "CREATE TABLE orphans (parent INTEGER REFERENCES parents (id)"
		    " DEFERRABLE INITIALLY DEFERRED);"
		    "CREATE TRIGGER orphan AFTER INSERT ON events WHEN NEW.class = 'tls' "
		    "BEGIN INSERT INTO orphans VALUES (1); END");
	put(1, "tor");
	put(2, "tls");
	store_tick(store);
	counted(0, 2);
	put(3, "tor");
	store_tick(store);
	counted(1, 2);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
}

static void a_store_of_a_newer_schema_is_moved_aside_whole(void **state)
{
	char aside[96];

	(void)state;
	snprintf(aside, sizeof(aside), "%s.damaged", path);
	put(1, "tor");
	put(2, "tor");
	reopen_with("PRAGMA user_version = 2");
	store_close(store);
	assert_int_equal(open_rows(100), 0);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 0);
	put(3, "tor");
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 1);
	assert_int_equal(sqlite3_open(aside, &connection), SQLITE_OK);
	assert_int_equal(number("PRAGMA user_version"), 2);
	assert_int_equal(number("SELECT count(*) FROM events"), 2);
	sqlite3_close(connection);
}

static void a_limit_is_of_the_rows_that_the_filter_leaves(void **state)
{
	struct store_filter tor = {.class_name = "tor"}, all = {0};
	struct found found = {0};
	int64_t first;

	(void)state;
	for (uint64_t id = 1; id <= 100; id++)
		put(id, id % 10 ? "tls" : "tor");
	found = find(&tor, 3);
	assert_int_equal(found.n, 3);
	assert_string_equal(found.first, "0000000000000050");
	assert_string_equal(found.last, "0000000000000064");
	assert_int_equal(find(&tor, 0).n, 0);
	memset(&found, 0, sizeof(found));
	assert_int_equal(store_query(store, &all, 11, 5, on_row, &found, &e), 5);
	assert_string_equal(found.first, "000000000000000b");
	assert_string_equal(found.last, "000000000000000f");
	assert_int_equal(store_start_of(store, &all, 0, &first, &e), 0);
	assert_true(first == INT64_MAX);
}

static void no_rows_means_no_store(void **state)
{
	json_t *event;

	(void)state;
	store_close(store);
	unlink(path);
	assert_int_equal(open_rows(0), 0);
	put(1, "tor");
	store_tick(store);
	assert_int_equal(find(&(struct store_filter){0}, 10).n, 0);
	assert_int_equal(store_find(store, "01", &event, &e), -ENOENT);
	assert_int_equal(access(path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_are_found_oldest_first_the_last_of_them_when_limited),
		TEST(filters_are_those_of_the_words),
		TEST(an_event_under_way_is_asked_the_same_words),
		TEST(a_net_is_either_end_in_the_prefix),
		TEST(a_later_judgement_of_a_flow_replaces_the_earlier),
		TEST(a_flow_is_found_by_the_beginning_of_its_id),
		TEST(rows_are_bounded_and_the_oldest_go),
		TEST(events_survive_the_agent),
		TEST(a_damaged_file_is_moved_aside_and_a_new_one_begun),
		TEST(pages_in_the_middle_that_are_overwritten_are_noticed),
		TEST(a_data_base_in_other_hands_is_not_taken_for_damaged),
		TEST(a_full_disk_is_counted_and_the_store_goes_on),
		TEST(a_disk_that_is_full_from_the_start_costs_events_only),
		TEST(an_event_that_gets_no_transaction_is_counted),
		TEST(an_event_that_cannot_be_inserted_is_counted_and_the_others_are_kept),
		TEST(events_of_a_transaction_that_was_undone_are_counted),
		TEST(events_of_a_failed_commit_are_counted_and_the_next_are_kept),
		TEST(a_store_of_a_newer_schema_is_moved_aside_whole),
		TEST(a_limit_is_of_the_rows_that_the_filter_leaves),
		TEST(no_rows_means_no_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
