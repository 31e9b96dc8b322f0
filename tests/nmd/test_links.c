/* SPDX-License-Identifier: BSD-2-Clause */
#include <poll.h>
#include "agent/nmd/links.h"
#include "tests/nmd/netns.h"

static bool have_netns;

struct heard {
	char log[8192]; /* "+NAME " "-NAME " ">NAME " and "@a.b.c.d " "~a.b.c.d " */
	struct links *links;
};

static void tell(struct heard *h, char what, const char *name)
{
	size_t used = strlen(h->log);

	snprintf(h->log + used, sizeof(h->log) - used, "%c%s ", what, name);
}

static void on_appeared(void *ctx, int ifindex, const char *ifname)
{
	assert_true(ifindex > 0);
	tell(ctx, '+', ifname);
}

static void on_gone(void *ctx, int ifindex, const char *ifname)
{
	assert_true(ifindex > 0);
	tell(ctx, '-', ifname);
}

static void on_renamed(void *ctx, int ifindex, const char *ifname)
{
	assert_true(ifindex > 0);
	tell(ctx, '>', ifname);
}

static void on_address(void *ctx, const uint8_t addr[16], bool added)
{
	char text[INET_ADDRSTRLEN];

	if (addr[10] == 0xff) /* link-local IPv6 addresses come and go on their own */
		tell(ctx, added ? '@' : '~', inet_ntop(AF_INET, addr + 12, text, sizeof(text)));
}

static const struct links_callbacks callbacks = {
	.appeared = on_appeared, .gone = on_gone, .renamed = on_renamed, .address = on_address};

static int start(void **state)
{
	static const char *const patterns[] = {"!nm-kernel-no*", "nm-kernel-*"};
	struct heard *h = calloc(1, sizeof(*h));
	struct error e;

	*state = h;
	if (!have_netns)
		return 0;
	shell("ip link add nm-kernel-old type veth peer name p-nm-kernel-old && ip addr add "
	      "10.9.9.9/24 dev nm-kernel-old");
	return links_new(patterns, 2, &callbacks, h, &h->links, &e);
}

static int stop(void **state)
{
	struct heard *h = *state;

	if (have_netns)
		shell("for l in $(ip -br link | grep -o '^[a-z0-9-]*' | grep -v '^lo$'); "
		      "do ip link del $l 2>/dev/null; done");
	links_free(h->links);
	free(h);
	return 0;
}

/* What was told since the last time, up to and including the text. */
static void expect(struct heard *h, const char *text)
{
	struct error e = {0};

	for (int tries = 0; tries < 50 && !strstr(h->log, text); tries++) {
		struct pollfd p = {.fd = links_fd(h->links), .events = POLLIN};

		poll(&p, 1, 100);
		if (links_read(h->links, &e))
			fail_msg("%s", e.text);
	}
	if (!strstr(h->log, text))
		fail_msg("expected \"%s\", heard \"%s\"", text, h->log);
}

static void patterns_decide_in_order_and_lo_must_be_named(void **state)
{
	const char *const exclude_first[] = {"!eth1", "eth*"};
	const char *const exclude_last[] = {"eth*", "!eth1"};
	const char *const any[] = {"*"};
	const char *const lo[] = {"lo"};

	(void)state;
	assert_true(links_match(exclude_first, 2, "eth0"));
	assert_false(links_match(exclude_first, 2, "eth1"));
	assert_true(links_match(exclude_last, 2, "eth1"));
	assert_false(links_match(exclude_first, 2, "wlan0"));
	assert_true(links_match(any, 1, "wlan0"));
	assert_false(links_match(any, 1, "lo"));
	assert_true(links_match(lo, 1, "lo"));
	assert_false(links_match(NULL, 0, "eth0"));
}

static void what_is_there_is_told_at_once(void **state)
{
	struct heard *h = *state;

	if (!have_netns)
		skip();
	assert_string_equal(h->log, "+nm-kernel-old @10.9.9.9 ");
}

static void an_interface_is_told_when_it_comes_down_or_up_and_when_it_goes(void **state)
{
	struct heard *h = *state;

	if (!have_netns)
		skip();
	shell("ip link add nm-kernel-x type veth peer name p-nm-kernel-x; ip link add "
	      "nm-kernel-no1 type veth peer name p-nm-kernel-no1; "
	      "ip link set nm-kernel-x up; ip link del nm-kernel-x; "
	      "ip link add nm-kernel-end type veth peer name p-nm-kernel-end");
	expect(h, "+nm-kernel-end");
	assert_string_equal(h->log,
			    "+nm-kernel-old @10.9.9.9 +nm-kernel-x -nm-kernel-x +nm-kernel-end ");
}

static void a_rename_is_told_as_what_it_means_to_the_patterns(void **state)
{
	struct heard *h = *state;

	if (!have_netns)
		skip();
	shell("ip link set nm-kernel-old name nm-kernel-new; "
	      "ip link set nm-kernel-new name nm-other; "
	      "ip link set nm-other name nm-kernel-back");
	expect(h, "+nm-kernel-back");
	assert_string_equal(h->log, "+nm-kernel-old @10.9.9.9 >nm-kernel-new -nm-kernel-new "
				    "+nm-kernel-back ");
}

static void an_address_on_two_links_is_told_once_and_goes_with_the_last(void **state)
{
	struct heard *h = *state;

	if (!have_netns)
		skip();
	shell("ip link add nm-kernel-x type veth peer name p-nm-kernel-x; ip addr add 10.9.9.9/32 "
	      "dev nm-kernel-x; "
	      "ip addr del 10.9.9.9/24 dev nm-kernel-old; ip addr add 10.8.8.8/24 dev nm-kernel-x; "
	      "ip link del nm-kernel-x");
	expect(h, "-nm-kernel-x");
	assert_null(strstr(h->log, "~10.9.9.9 @10.8.8.8"));
	assert_non_null(strstr(h->log, "@10.8.8.8"));
	assert_non_null(strstr(h->log, "~10.9.9.9"));
	assert_non_null(strstr(h->log, "~10.8.8.8"));
}

static void a_port_that_leaves_its_bridge_is_not_gone(void **state)
{
	struct heard *h = *state;

	if (!have_netns)
		skip();
	if (shell("ip link add nm-bridge type bridge 2>/dev/null")) {
		print_message("skipped: no bridges here\n");
		skip();
	}
	shell("ip link set nm-kernel-old master nm-bridge; ip link set nm-kernel-old nomaster; "
	      "ip link add nm-kernel-end type veth peer name p-nm-kernel-end");
	expect(h, "+nm-kernel-end");
	assert_string_equal(h->log, "+nm-kernel-old @10.9.9.9 +nm-kernel-end ");
}

static void after_lost_messages_everything_is_listed_again(void **state)
{
	struct heard *h = *state;
	int small = 1; /* the kernel's minimum */

	if (!have_netns)
		skip();
	setsockopt(links_fd(h->links), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	shell("for i in $(seq 40); do ip link add nm-kernel-$i type veth peer name p-$i; "
	      "test $((i %% 2)) = 0 || ip link del nm-kernel-$i; done; ip link del nm-kernel-old");
	expect(h, "-nm-kernel-old");
	for (int i = 1; i <= 40; i++) {
		char came[32], went[32];

		snprintf(came, sizeof(came), "+nm-kernel-%d ", i);
		snprintf(went, sizeof(went), "-nm-kernel-%d ", i);
		assert_int_equal(strstr(h->log, went) != NULL, strstr(h->log, came) && i % 2 == 1);
		if (i % 2 == 0)
			assert_non_null(strstr(h->log, came));
	}
	assert_non_null(strstr(h->log, "~10.9.9.9"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
	const struct CMUnitTest tests[] = {
		TEST(patterns_decide_in_order_and_lo_must_be_named),
		TEST(what_is_there_is_told_at_once),
		TEST(an_interface_is_told_when_it_comes_down_or_up_and_when_it_goes),
		TEST(a_rename_is_told_as_what_it_means_to_the_patterns),
		TEST(an_address_on_two_links_is_told_once_and_goes_with_the_last),
		TEST(a_port_that_leaves_its_bridge_is_not_gone),
		TEST(after_lost_messages_everything_is_listed_again),
	};

	have_netns = netns_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
