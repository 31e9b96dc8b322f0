/* SPDX-License-Identifier: BSD-2-Clause */
/* What each command asks the agent, and what it makes of the answer. */
#include "tests/nmctl/run_nmctl.h"

#define EVENT                                                                                      \
	"{\"flow_id\":\"00f1e2d3c4b5a697\",\"time\":\"2026-11-24T22:05:11.5Z\","                   \
	"\"start\":\"2026-11-24T22:05:01Z\",\"proto\":\"tcp\",\"src\":\"10.0.0.1\","               \
	"\"sport\":50000,\"dst\":\"2001:db8::2\",\"dport\":443,\"packets\":12,\"bytes\":3456,"     \
	"\"class\":\"tor\",\"confidence\":0.98,\"ood_score\":-7.1,\"unknown\":false,"              \
	"\"decided_by\":\"class\",\"provisional\":false,\"ready\":\"full\",\"action\":\"drop\","   \
	"\"rule_id\":3,\"zone\":\"10.0.0.0/8\",\"protected\":false,\"scores\":["                   \
	"{\"class\":\"tor\",\"probability\":0.98},{\"class\":\"tls\",\"probability\":0.25}]}"

static void assert_words(json_t *request, const char *expected)
{
	char *words = json_dumps(json_object_get(request, "words"), JSON_COMPACT);

	assert_string_equal(words, expected);
	assert_int_equal(json_integer_value(json_object_get(request, "v")), WIRE_VERSION);
	free(words);
	json_decref(request);
}

static void status_tells_mode_interfaces_and_what_was_lost(void **state)
{
	json_t *request;
	struct result r = run_with(
		"status",
		"{\"done\":{\"version\":\"0.1.0\",\"pid\":77,\"uptime_s\":750,\"mode\":\"watch\","
		"\"breaker\":{\"tripped\":true,\"reason\":\"83% would be dropped\"},"
		"\"model\":{\"path\":\"/m.safetensors\",\"sha256\":\"4d0b441a062cfcee\",\"id\":1,"
		"\"classes\":26,\"engine\":\"cpu\"},\"interfaces\":[{\"name\":\"eth0\","
		"\"xdp\":\"native\",\"xdp_method\":\"link\",\"egress\":\"tcx\",\"adopted\":true,"
		"\"note\":\"no dispatcher\"}],\"flows\":{\"assembling\":1,\"judged\":2,"
		"\"verdicts\":3,\"max_verdicts\":65536},\"counters\":{\"dropped\":{\"packets\":5,"
		"\"bytes\":7000},\"passed\":{\"packets\":0,\"bytes\":0}},\"agent\":{\"records\":9,"
		"\"store_dropped\":4,\"records_bad\":0},\"policy\":{\"rules\":1,"
		"\"default\":\"watch\",\"version\":2,\"confirm_in_s\":40},"
		"\"heartbeat_age_ms\":212,\"fail_open_s\":30}}\n",
		&request);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_words(request, "[\"status\"]");
	assert_contains(r.out, "0.1.0, pid 77, up 12m30s");
	assert_contains(r.out, "watch: nothing is dropped");
	assert_contains(r.out, "TRIPPED: 83% would be dropped");
	assert_contains(r.out, "undone in 40s unless");
	assert_contains(r.out, "1 assembling, 2 judged, 3 verdicts of 65.5k");
	assert_contains(r.out, "eth0      native link tcx    adopted no dispatcher");
	assert_contains(r.out, "dropped       5  7 kB dropped: the flow's class is blocked");
	assert_contains(r.out, "records 9, store_dropped 4\n");
	assert_lacks(r.out, "records_bad");
	assert_lacks(r.out, "passed:");
	result_free(&r);
}

static void json_output_is_the_agents_own_object(void **state)
{
	struct result r = run_with("status -o json", "{\"done\":{\"b\":1,\"a\":[2]}}\n", NULL);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_string_equal(r.out, "{\"b\":1,\"a\":[2]}\n");
	result_free(&r);
}

static void flows_sends_whole_filters_and_shows_rows(void **state)
{
	json_t *request;
	struct result r = run_with("flows cl=tor --since 1h lim=5",
				   "{\"row\":" EVENT "}\n{\"done\":{}}\n", &request);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_words(request, "[\"flows\",\"class=tor\",\"limit=5\",\"since=1h\"]");
	assert_contains(r.out, "10.0.0.1:50000 [2001:db8::2]:443");
	assert_contains(r.out, "98.0%");
	assert_contains(r.out, "drop   00f1e2d3c4b5a697");
	result_free(&r);
}

static void follow_streams_and_ends_with_the_agent(void **state)
{
	json_t *request;
	struct result r =
		run_with("flows --follow", "{\"row\":" EVENT "}\n{\"row\":" EVENT "}\n", &request);
	const char *second;

	(void)state;
	assert_words(request, "[\"flows\",\"follow\"]");
	second = strstr(r.out, "00f1e2d3c4b5a697");
	assert_non_null(second);
	assert_contains(second + 1, "00f1e2d3c4b5a697");
	/* The agent went away in the middle: that is no good end. */
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "closed");
	result_free(&r);
}

static void no_flow_is_said_in_words_but_not_in_json(void **state)
{
	struct result r = run_with("flows", "{\"done\":{}}\n", NULL);
	struct result json = run_with("flows -o json", "{\"done\":{}}\n", NULL);

	(void)state;
	assert_string_equal(r.out, "no flow matches\n");
	assert_string_equal(json.out, "");
	result_free(&r);
	result_free(&json);
}

static void explain_reads_like_words(void **state)
{
	json_t *request;
	struct result r = run_with(
		"explain 00f1e2d3c4b5a697",
		"{\"done\":{\"event\":" EVENT ",\"why\":[\"tor is above its threshold 0.5\"],"
		"\"rule\":\"block class=tor\",\"verdict\":{\"packets\":20,\"bytes\":30000,"
		"\"dropped_packets\":19,\"dropped_bytes\":28000}}}\n",
		&request);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_words(request, "[\"explain\",\"00f1e2d3c4b5a697\"]");
	assert_contains(r.out, "tcp from 10.0.0.1:50000 to [2001:db8::2]:443");
	assert_contains(r.out, "tor                ########################  98.0%");
	assert_contains(r.out, "tls                ######..................  25.0%");
	assert_contains(r.out, "  tor is above its threshold 0.5\n");
	assert_contains(r.out, "block class=tor");
	assert_contains(r.out, "10.0.0.0/8");
	assert_contains(r.out, "20 packets, 30 kB; of these stopped: 19 packets, 28 kB");
	result_free(&r);
}

static void a_rule_is_sent_in_its_words_and_its_notes_are_told(void **state)
{
	json_t *request;
	struct result r = run_with("policy bl class=tor net=10.0.0.0/8 confirm=60s",
				   "{\"done\":{\"id\":3,\"version\":8,\"notes\":\"one\\ntwo\","
				   "\"confirm_in_s\":60}}\n",
				   &request);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_words(request, "[\"policy\",\"block\",\"class=tor\",\"net=10.0.0.0/8\","
			      "\"confirm=60s\"]");
	assert_string_equal(r.out, "rule 3, policy version 8\nnote: one\nnote: two\n"
				   "undone in 1m00s unless you say `nmctl policy confirm`\n");
	result_free(&r);
}

static void a_nonsense_rule_is_not_sent(void **state)
{
	struct result r = run("policy limit class=tor rate=2mbt");

	(void)state;
	assert_int_equal(r.status, STATUS_USAGE);
	assert_contains(r.error, "rate=2mbt: unknown unit \"mbt\"; use bit, kbit, mbit, gbit");
	result_free(&r);
}

static void show_tells_rules_default_and_what_is_pending(void **state)
{
	struct result r = run_with(
		"policy",
		"{\"row\":{\"id\":1,\"rule\":\"block class=tor\",\"packets\":12,\"bytes\":3000,"
		"\"expires_in_s\":null,\"pending\":true}}\n"
		"{\"done\":{\"default\":\"watch\",\"version\":3,\"confirm_in_s\":12,"
		"\"notes\":[]}}\n",
		NULL);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, "1  block class=tor      12  3 kB       - pending");
	assert_contains(r.out, "every other flow: watch (policy version 3)");
	assert_contains(r.out, "undone in 12s");
	result_free(&r);
}

static void write_file(char path[32], const char *text)
{
	FILE *file;

	strcpy(path, "/tmp/nmctl-test-XXXXXX");
	file = fdopen(mkstemp(path), "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void apply_sends_the_file_and_shows_the_difference(void **state)
{
	char path[32], line[96];
	json_t *request;
	struct result r;

	(void)state;
	write_file(path, "block class=tor\n");
	snprintf(line, sizeof(line), "policy apply %s confirm=60s", path);
	r = run_with(line,
		     "{\"done\":{\"version\":9,\"rules\":1,\"notes\":\"\",\"confirm_in_s\":60,"
		     "\"diff\":\"- allow net=10.0.0.0/8\\n+ block class=tor\\n\"}}\n",
		     &request);
	unlink(path);
	assert_int_equal(r.status, STATUS_DONE);
	assert_string_equal(json_string_value(json_object_get(request, "text")),
			    "block class=tor\n");
	assert_words(request, "[\"policy\",\"apply\",\"confirm=60s\"]");
	assert_contains(r.out, "- allow net=10.0.0.0/8\n+ block class=tor\n");
	assert_contains(r.out, "policy version 9 is in force: 1 rule\n");
	result_free(&r);
}

static void a_bad_policy_file_is_told_with_its_line_and_not_sent(void **state)
{
	char path[32], line[96], where[96];
	struct result r;

	(void)state;
	write_file(path, "# mine\nblock clas=tor\n");
	snprintf(line, sizeof(line), "policy apply %s", path);
	snprintf(where, sizeof(where), "%s:2: clas=tor: ", path);
	r = run(line);
	unlink(path);
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, where);
	result_free(&r);
}

static void the_agents_complaint_about_a_file_names_the_file(void **state)
{
	char path[32], line[96], where[96];
	struct result r;

	(void)state;
	write_file(path, "block class=tor\n");
	snprintf(line, sizeof(line), "policy apply %s", path);
	snprintf(where, sizeof(where), "%s:1: class=tor: no such class", path);
	r = run_with(line, "{\"error\":\"policy:1: class=tor: no such class\",\"usage\":false}\n",
		     NULL);
	unlink(path);
	assert_int_equal(r.status, STATUS_FAILED);
	assert_string_equal(r.error, where);
	result_free(&r);
}

static void a_filter_of_an_unknown_action_or_key_is_told(void **state)
{
	struct result action = run("flows action=drp"), key = run("flows clas");
	struct result unknown = run("flows port=80");

	(void)state;
	assert_string_equal(action.error, "unknown action \"drp\"; did you mean \"drop\"?");
	assert_string_equal(key.error, "filter class needs a value: class=...");
	assert_contains(unknown.error, "unknown filter \"port\"");
	assert_int_equal(action.status, STATUS_USAGE);
	result_free(&action);
	result_free(&key);
	result_free(&unknown);
}

static void history_marks_the_current_version(void **state)
{
	struct result r = run_with(
		"policy hist",
		"{\"row\":{\"version\":2,\"time\":\"2026-11-24T22:05:11Z\",\"by\":\"root\","
		"\"summary\":\"block class=tor\",\"current\":true}}\n{\"done\":{}}\n",
		NULL);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, "root current block class=tor");
	result_free(&r);
}

static void a_change_wants_a_number(void **state)
{
	json_t *request;
	struct result bad = run("policy remove tor");
	struct result r = run_with("policy roll 4", "{\"done\":{\"version\":4}}\n", &request);

	(void)state;
	assert_int_equal(bad.status, STATUS_USAGE);
	assert_string_equal(bad.error, "policy remove: \"tor\" is not a number");
	assert_words(request, "[\"policy\",\"rollback\",\"4\"]");
	assert_string_equal(r.out, "policy version 4 is in force\n");
	result_free(&bad);
	result_free(&r);
}

static void classes_show_what_became_of_their_packets(void **state)
{
	struct result r = run_with(
		"classes",
		"{\"row\":{\"class\":\"tor\",\"id\":23,\"in_model\":true,\"flows\":4,"
		"\"passed\":{\"packets\":1,\"bytes\":1000},\"dropped\":{\"packets\":2,"
		"\"bytes\":2000},\"limited\":{\"packets\":0,\"bytes\":0},\"would\":{\"packets\":7,"
		"\"bytes\":9},\"threshold\":0.5,\"watch_only\":true,\"protected\":false}}\n"
		"{\"done\":{}}\n",
		NULL);

	(void)state;
	assert_int_equal(r.status, STATUS_DONE);
	assert_contains(r.out, "tor");
	assert_contains(r.out, "1 kB");
	assert_contains(r.out, "watch-only");
	assert_lacks(r.out, "protected");
	result_free(&r);
}

static void the_agents_errors_are_passed_on_with_their_kind(void **state)
{
	struct result usage =
		run_with("policy block class=zzz",
			 "{\"error\":\"no class \\\"zzz\\\"\",\"usage\":true}\n", NULL);
	struct result failed = run_with(
		"policy confirm", "{\"error\":\"nothing to confirm\",\"usage\":false}\n", NULL);

	(void)state;
	assert_string_equal(usage.error, "no class \"zzz\"");
	assert_int_equal(usage.status, STATUS_USAGE);
	assert_string_equal(failed.error, "nothing to confirm");
	assert_int_equal(failed.status, STATUS_FAILED);
	result_free(&usage);
	result_free(&failed);
}

static void an_absent_agent_is_told_with_its_path_and_what_to_do(void **state)
{
	struct result r = run("status");

	(void)state;
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "nmd is not running: nothing listens at /nonexistent/nmd.sock");
	assert_contains(r.error, "nmd --iface");
	result_free(&r);
}

static const char *const commands[] = {"status",
				       "classes",
				       "flows",
				       "flows --follow",
				       "explain 00f1e2d3c4b5a697",
				       "policy show",
				       "policy history",
				       "model show",
				       "policy confirm",
				       "policy remove 1",
				       "policy block class=tor"};

/* Whatever the agent sends: no crash, no control character, and an honest exit status. */
static void a_hostile_reply_does_no_harm(void **state)
{
	static const struct {
		const char *reply;
		bool done; /* a reply that a command may take for an answer */
	} replies[] = {
		{"", false},
		{"\n", false},
		{"{\"done\":", false},
		{"{\"done\":7}\n", false},
		{"[]\n", false},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"{\"row\":{}}\n{\"row\":[]}\n", false},
		{"{\"error\":\"\\u001b[2J\",\"usage\":false}\n", false},
		{"{\"error\":7}\n", false},
		{"{\"done\":{}}\n", true},
		{"{\"row\":{\"class\":{},\"src\":[],\"dst\":7,\"scores\":1}}\n{\"done\":{}}\n",
		 true},
		{"{\"row\":{\"class\":\"\\u001b[31m\",\"action\":\"\\u009b\",\"rule\":\"\\r\"}}\n"
		 "{\"done\":{}}\n",
		 true},
		{"{\"done\":{\"event\":7,\"why\":{},\"rule\":[],\"verdict\":1,\"notes\":{},"
		 "\"interfaces\":{},\"counters\":[],\"agent\":\"x\",\"classes\":5,"
		 "\"calibration\":[],\"tokens\":null}}\n",
		 true},
		{"{\"done\":{\"event\":{\"scores\":[7,{\"class\":1,\"probability\":1e308},"
		 "{\"probability\":-5}],\"packets\":-1e308,\"start\":\"\\u001b\"},"
		 "\"why\":[1,\"\\u001b[0m\"],\"notes\":[1,\"\\u001b\\n\\u001b\"],"
		 "\"interfaces\":[1,{\"name\":\"\\u001b\"}],"
		 "\"counters\":{\"passed\":{\"packets\":1}},\"agent\":{\"\\u001b\":1},"
		 "\"version\":\"\\u001b\",\"default\":\"\\u001b\",\"classes\":[1,\"\\u001b\"],"
		 "\"uptime_s\":1e300,\"heartbeat_age_ms\":-1}}\n",
		 true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		for (size_t k = 0; k < sizeof(commands) / sizeof(commands[0]); k++) {
			struct result r = run_with(commands[k], replies[i].reply, NULL);

			if ((r.status == STATUS_DONE) != replies[i].done)
				fail_msg("%s: status %d, error %s, after: %s", commands[k],
					 r.status, r.error, replies[i].reply);
			assert_lacks(r.out, "\033");
			assert_lacks(r.out, "\r");
			assert_lacks(r.out, "\xc2\x9b");
			assert_true(r.status == STATUS_DONE || *r.error);
			result_free(&r);
		}
	}
}

/* A line beyond the limit must end the conversation, not the memory. */
static void an_endless_line_is_refused(void **state)
{
	size_t len = WIRE_MAX_LINE + 4096;
	char *reply = malloc(len + 1);
	struct result r;

	(void)state;
	assert_non_null(reply);
	memset(reply, 'x', len);
	reply[len] = 0;
	r = run_with("status", reply, NULL);
	assert_int_equal(r.status, STATUS_FAILED);
	assert_contains(r.error, "line");
	result_free(&r);
	free(reply);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_tells_mode_interfaces_and_what_was_lost),
		cmocka_unit_test(json_output_is_the_agents_own_object),
		cmocka_unit_test(flows_sends_whole_filters_and_shows_rows),
		cmocka_unit_test(follow_streams_and_ends_with_the_agent),
		cmocka_unit_test(no_flow_is_said_in_words_but_not_in_json),
		cmocka_unit_test(explain_reads_like_words),
		cmocka_unit_test(a_rule_is_sent_in_its_words_and_its_notes_are_told),
		cmocka_unit_test(a_nonsense_rule_is_not_sent),
		cmocka_unit_test(show_tells_rules_default_and_what_is_pending),
		cmocka_unit_test(apply_sends_the_file_and_shows_the_difference),
		cmocka_unit_test(a_bad_policy_file_is_told_with_its_line_and_not_sent),
		cmocka_unit_test(the_agents_complaint_about_a_file_names_the_file),
		cmocka_unit_test(a_filter_of_an_unknown_action_or_key_is_told),
		cmocka_unit_test(history_marks_the_current_version),
		cmocka_unit_test(a_change_wants_a_number),
		cmocka_unit_test(classes_show_what_became_of_their_packets),
		cmocka_unit_test(the_agents_errors_are_passed_on_with_their_kind),
		cmocka_unit_test(an_absent_agent_is_told_with_its_path_and_what_to_do),
		cmocka_unit_test(a_hostile_reply_does_no_harm),
		cmocka_unit_test(an_endless_line_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
