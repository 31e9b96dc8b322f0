/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel can do: asked by loading tiny programs and maps that vanish with their
 * descriptor. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <linux/bpf.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent/nmctl/doctor.h"

#define TCX_EGRESS      47 /* BPF_TCX_EGRESS of <linux/bpf.h> from 6.6 on; Debian 12's is older */
#define NO_SUCH_IFINDEX 0x7ffffff0

static const char *const needs_root = "cannot be tried without root: run `sudo nmctl doctor`";

void doctor_kernel(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2) {
		doctor_say(d, HEALTH_WARN, "the kernel does not tell its version");
		return;
	}
	if (major < 5 || (major == 5 && minor < 15))
		doctor_say(d, HEALTH_STOPS, "%s: nmd needs Linux 5.15 or later", name.release);
	else if (major < 6 || (major == 6 && minor < 6))
		doctor_say(d, HEALTH_OK, "%s: enough; egress by clsact, since TCX came with 6.6",
			   name.release);
	else
		doctor_say(d, HEALTH_OK, "%s: has all that nmd uses", name.release);
}

void doctor_btf(struct doctor *d)
{
	if (!access("/sys/kernel/btf/vmlinux", R_OK))
		doctor_say(d, HEALTH_OK, "/sys/kernel/btf/vmlinux is there");
	else
		doctor_say(d, HEALTH_MISSING,
			   "no /sys/kernel/btf/vmlinux: nmd runs, but libxdp's dispatcher cannot "
			   "(a kernel with CONFIG_DEBUG_INFO_BTF has it)");
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* Mounts one in a mount namespace of a child, which takes it away when it ends: 0 or errno. */
static int try_mount(void)
{
	pid_t child = fork();
	int state;

	if (child < 0)
		return errno;
	if (child == 0) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("bpf", "/run", "bpf", 0, NULL))
			_exit(errno);
		_exit(0);
	}
	if (waitpid(child, &state, 0) != child || !WIFEXITED(state))
		return ECHILD;
	return WEXITSTATUS(state);
}

void doctor_bpffs(struct doctor *d)
{
	int err;

	if (is_bpffs("/run/netmamba/bpf")) {
		doctor_say(d, HEALTH_OK, "nmd's own is mounted at /run/netmamba/bpf");
		return;
	}
	err = try_mount();
	if (!err)
		doctor_say(d, HEALTH_OK,
			   "can be mounted: nmd mounts its own at /run/netmamba/bpf%s",
			   is_bpffs("/sys/fs/bpf")
				   ? ""
				   : "; /sys/fs/bpf has none, which libxdp's dispatcher wants");
	else if (geteuid())
		doctor_say(d, HEALTH_WARN, "a mount %s", needs_root);
	else
		doctor_say(
			d, HEALTH_STOPS,
			"cannot be mounted (%s): nmd has no place for its pins; a container needs "
			"CAP_SYS_ADMIN or the host's /sys/fs/bpf with --set run_dir",
			strerror(err));
}

void doctor_jit(struct doctor *d)
{
	char line[16];

	if (doctor_read_line("/proc/sys/net/core/bpf_jit_enable", line, sizeof(line)))
		doctor_say(d, HEALTH_WARN,
			   "cannot be read; without it a packet costs many times more");
	else if (!strcmp(line, "0"))
		doctor_say(d, HEALTH_WARN,
			   "off: a packet costs many times more; sysctl net.core.bpf_jit_enable=1");
	else
		doctor_say(d, HEALTH_OK, "on%s",
			   strcmp(line, "2") ? "" : ", with debug output (2): 1 is meant for use");
}

void doctor_unprivileged(struct doctor *d)
{
	char line[16];

	if (doctor_read_line("/proc/sys/kernel/unprivileged_bpf_disabled", line, sizeof(line)))
		doctor_say(d, HEALTH_OK, "this kernel has no such setting");
	else if (!strcmp(line, "0"))
		doctor_say(d, HEALTH_WARN,
			   "any user may load BPF programs: sysctl "
			   "kernel.unprivileged_bpf_disabled=1 closes that, nmd does not need it");
	else
		doctor_say(d, HEALTH_OK, "BPF is for privileged users only (%s)", line);
}

/* r0 = verdict; exit. */
static int load_trivial(enum bpf_prog_type type, int verdict)
{
	struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(type, "nm_doctor", "Dual BSD/GPL", program, 2, NULL);
}

void doctor_load(struct doctor *d)
{
	int fd = load_trivial(BPF_PROG_TYPE_XDP, XDP_PASS);

	if (fd >= 0) {
		close(fd);
		doctor_say(d, HEALTH_OK, "an XDP program loads");
	} else if (fd == -EPERM && geteuid()) {
		doctor_say(d, HEALTH_WARN, "loading %s", needs_root);
	} else {
		doctor_say(d, HEALTH_STOPS, "an XDP program does not load (%s)%s", strerror(-fd),
			   fd == -EPERM ? ": CAP_BPF and CAP_NET_ADMIN are needed, and no lockdown"
					: ": a kernel with CONFIG_BPF_SYSCALL is needed");
	}
}

void doctor_ringbuf(struct doctor *d)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "nm_doctor", 0, 0, 4096, NULL);

	if (fd >= 0) {
		close(fd);
		doctor_say(d, HEALTH_OK, "a ring buffer can be made");
	} else if (fd == -EPERM && geteuid()) {
		doctor_say(d, HEALTH_WARN, "making one %s", needs_root);
	} else {
		doctor_say(d, HEALTH_STOPS, "a ring buffer cannot be made (%s): Linux 5.8 has them",
			   strerror(-fd));
	}
}

/* The kernel looks at the attach type before it looks for the interface, so that an interface that
 * cannot be there tells: no device = TCX is known; invalid = it is not. */
void doctor_tcx(struct doctor *d)
{
	int fd = load_trivial(BPF_PROG_TYPE_SCHED_CLS, 0);
	int err;

	if (fd < 0 && geteuid()) {
		doctor_say(d, HEALTH_WARN, "asking %s", needs_root);
		return;
	}
	if (fd < 0) {
		doctor_say(d, HEALTH_MISSING,
			   "no tc program loads (%s): only inbound traffic can be acted on",
			   strerror(-fd));
		return;
	}
	err = bpf_link_create(fd, NO_SUCH_IFINDEX, TCX_EGRESS, NULL);
	close(fd);
	if (err == -ENODEV)
		doctor_say(d, HEALTH_OK, "TCX: outbound traffic is acted on through a bpf_link");
	else
		doctor_say(d, HEALTH_OK,
			   "no TCX here (%s): outbound traffic goes through a clsact filter",
			   strerror(-err));
}

void doctor_dispatcher(struct doctor *d)
{
	int supported = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_EXT, NULL);

	if (supported == 1)
		doctor_say(
			d, HEALTH_OK,
			"freplace works: nmd shares an interface with other XDP programs through "
			"libxdp");
	else if (geteuid())
		doctor_say(d, HEALTH_WARN, "freplace %s", needs_root);
	else
		doctor_say(
			d, HEALTH_MISSING,
			"no freplace programs here: nmd attaches alone by a bpf_link, and refuses "
			"an interface that has another XDP program");
}
