"""The limit finder against directories that look like machines."""
import os
import subprocess

from tap import eq, main, scratch

M = 1 << 20
V1_NONE = 9223372036854771712
V1_MOUNT = "35 31 0:32 {root} {mount} rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
V2_MOUNT = "41 31 0:38 {root} {mount} rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
OTHERS = ("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
          "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n")


def look(cgroup, mounts, files, available=64 * 1024 * M):
    with scratch() as root:
        def write(path, text):
            path = root + path
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)

        if cgroup is not None:
            write("/proc/self/cgroup", cgroup)
        write("/proc/self/mountinfo", mounts)
        write("/proc/meminfo", f"MemTotal: {available // 1024 * 2} kB\nMemFree: 1 kB\n"
              f"MemAvailable:   {available // 1024} kB\n")
        for path, value in files.items():
            write(path, f"{value}\n")
        out = subprocess.run([os.environ["CGROUP_SHOW"], root], stdout=subprocess.PIPE, check=True, text=True).stdout
    return dict(word.split("=", 1) for word in out.splitlines())


def check(got, **want):
    for key, value in want.items():
        eq((key, got.get(key)), (key, str(value)))


def v1(files, path="/job", root="/", mount="/sys/fs/cgroup/memory", **more):
    return look(f"5:devices:/x\n4:memory:{path}\n0::{path}\n", OTHERS + V1_MOUNT.format(root=root, mount=mount), files,
                **more)


def v2(files, path="/a/b/c", root="/", mount="/sys/fs/cgroup", **more):
    return look(f"0::{path}\n", OTHERS + V2_MOUNT.format(root=root, mount=mount), files, **more)


def test_no_cgroup_at_all():
    check(look("", OTHERS, {}), version=0, limit="none", swap="none", file="")


def test_proc_missing():
    check(look(None, OTHERS, {}), err=-2)


def test_v1_own_limit():
    d = "/sys/fs/cgroup/memory/job/"
    check(v1({d + "memory.limit_in_bytes": 512 * M, d + "memory.usage_in_bytes": 3 * M}),
          version=1, limit=512 * M, usage=3 * M, file=d + "memory.limit_in_bytes")


def test_v1_unlimited_number_is_no_limit():
    d = "/sys/fs/cgroup/memory/job/"
    check(v1({d + "memory.limit_in_bytes": V1_NONE, d + "memory.usage_in_bytes": 3 * M}),
          version=1, limit="none", usage=3 * M, file="")


def test_v1_tightest_ancestor_wins():
    d = "/sys/fs/cgroup/memory"
    check(v1({d + "/a/b/c/memory.limit_in_bytes": 900 * M, d + "/a/b/memory.limit_in_bytes": 300 * M,
              d + "/a/b/memory.usage_in_bytes": 7, d + "/a/memory.limit_in_bytes": 500 * M,
              d + "/memory.limit_in_bytes": V1_NONE}, path="/a/b/c"),
          limit=300 * M, usage=7, file=d + "/a/b/memory.limit_in_bytes")


def test_v1_limit_of_an_invisible_ancestor():
    d = "/sys/fs/cgroup/memory/"
    check(v1({d + "memory.limit_in_bytes": V1_NONE,
              d + "memory.stat": f"cache 1\nhierarchical_memory_limit {200 * M}\nhierarchical_memsw_limit {V1_NONE}"},
             path="/docker/ab", root="/docker/ab"),
          limit=200 * M, file=d + "memory.stat")


def test_refaults_are_those_of_the_group_that_sets_the_limit():
    d = "/sys/fs/cgroup/memory"
    files = {d + "/a/memory.limit_in_bytes": 900 * M, d + "/memory.limit_in_bytes": V1_NONE,
             d + "/a/memory.stat": "cache 1\nworkingset_refault_file 3\ntotal_workingset_refault_file 77",
             d + "/a/b/memory.stat": "total_workingset_refault_file 5"}
    check(v1(files, path="/a/b"), refaults=77)
    files[d + "/a/memory.limit_in_bytes"] = V1_NONE
    eq("refaults" in v1(files, path="/a/b"), False)
    d = "/sys/fs/cgroup/a/"
    check(v2({d + "memory.max": 512 * M, d + "memory.stat": "anon 4\nworkingset_refault_anon 9\nworkingset_refault_file 12"}, path="/a"),
          refaults=12)
    # Linux before 5.9 does not tell the two kinds apart.
    eq("refaults" in v2({d + "memory.max": 512 * M, d + "memory.stat": "workingset_refault 12"}, path="/a"), False)


def test_what_is_kept_and_who_was_killed_is_told_by_the_group_that_sets_the_limit():
    d = "/sys/fs/cgroup/memory"
    files = {d + "/a/memory.limit_in_bytes": 900 * M, d + "/memory.limit_in_bytes": V1_NONE,
             d + "/a/memory.stat": "cache 9\nrss 1\nshmem 2\ntotal_cache 900\ntotal_rss 70\ntotal_shmem 7",
             d + "/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
             d + "/a/b/memory.stat": "total_rss 5\ntotal_shmem 1"}
    check(v1(files, path="/a/b"), kept=77, kills=3)
    # Linux before 4.14 does not say what is shared memory, and before 4.13 nobody counts.
    files[d + "/a/memory.stat"] = "total_cache 900\ntotal_rss 70"
    files[d + "/a/memory.oom_control"] = "oom_kill_disable 0\nunder_oom 0"
    got = v1(files, path="/a/b")
    check(got, kills=0)
    eq("kept" in got, False)
    files[d + "/a/memory.limit_in_bytes"] = V1_NONE
    eq("kept" in v1(files, path="/a/b"), False)
    d = "/sys/fs/cgroup/a/"
    check(v2({d + "memory.max": 512 * M, d + "memory.stat": "anon 40\nfile 500\nshmem 4\nfile_mapped 1",
              d + "memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1"}, path="/a"), kept=44, kills=1)


def test_v1_swap_is_what_memsw_leaves():
    d = "/sys/fs/cgroup/memory/job/"
    files = {d + "memory.limit_in_bytes": 512 * M, d + "memory.memsw.limit_in_bytes": 600 * M}
    check(v1(files), swap=88 * M)
    files[d + "memory.memsw.limit_in_bytes"] = 512 * M
    check(v1(files), swap=0)
    files[d + "memory.memsw.limit_in_bytes"] = V1_NONE
    check(v1(files), swap="none")


def test_v1_bind_mount_of_a_container():
    # Docker without a cgroup namespace: the host's path on both sides.
    d = "/sys/fs/cgroup/memory/"
    check(v1({d + "memory.limit_in_bytes": 256 * M}, path="/docker/ab", root="/docker/ab"), limit=256 * M)
    check(v1({d + "sub/memory.limit_in_bytes": 128 * M, d + "memory.limit_in_bytes": 256 * M},
             path="/docker/ab/sub", root="/docker/ab"), limit=128 * M, file=d + "sub/memory.limit_in_bytes")


def test_v1_path_outside_of_the_mount():
    # The mount point is the container's own group, whatever the host calls it.
    d = "/sys/fs/cgroup/memory/"
    for path in ("/", "/../other", "/docker/abc", "/kube/pod"):
        check(v1({d + "memory.limit_in_bytes": 256 * M}, path=path, root="/docker/ab"), limit=256 * M)


def test_v1_memory_mounted_with_other_controllers():
    mount = "35 31 0:32 / /cg rw - cgroup cgroup rw,cpu,memory,pids\n"
    check(look("3:cpu,memory,pids:/j\n", mount, {"/cg/j/memory.limit_in_bytes": 64 * M}), version=1, limit=64 * M)


def test_controller_names_are_whole_words():
    mount = "35 31 0:32 / /cg rw - cgroup cgroup rw,memoryx\n"
    check(look("3:memoryx:/j\n", mount, {"/cg/j/memory.limit_in_bytes": 64 * M}), version=0, limit="none")


def test_mix_of_both_versions_has_memory_in_v1():
    mounts = OTHERS + V1_MOUNT.format(root="/", mount="/sys/fs/cgroup/memory") + \
        V2_MOUNT.format(root="/", mount="/sys/fs/cgroup/unified")
    check(look("4:memory:/job\n0::/other\n", mounts, {"/sys/fs/cgroup/memory/job/memory.limit_in_bytes": 80 * M,
                                                      "/sys/fs/cgroup/unified/other/cgroup.procs": 1}),
          version=1, limit=80 * M)


def test_v2_max():
    d = "/sys/fs/cgroup/a/b/c/"
    check(v2({d + "memory.max": 512 * M, d + "memory.high": "max", d + "memory.current": 5 * M,
              d + "memory.swap.max": 0}),
          version=2, limit=512 * M, usage=5 * M, swap=0, file=d + "memory.max")


def test_v2_high_counts():
    d = "/sys/fs/cgroup/a/b/c/"
    check(v2({d + "memory.max": 512 * M, d + "memory.high": 400 * M}), limit=400 * M, file=d + "memory.high")


def test_v2_all_max():
    d = "/sys/fs/cgroup/a/b/c/"
    check(v2({d + "memory.max": "max", d + "memory.high": "max", d + "memory.swap.max": "max",
              d + "memory.current": 9 * M}), version=2, limit="none", usage=9 * M, swap="none")


def test_v2_nested():
    d = "/sys/fs/cgroup"
    check(v2({d + "/a/b/c/memory.max": "max", d + "/a/b/memory.max": 700 * M, d + "/a/memory.high": 600 * M,
              d + "/a/memory.current": 11, d + "/a/memory.swap.max": 50 * M, d + "/a/b/memory.swap.max": 70 * M}),
          limit=600 * M, usage=11, swap=50 * M, file=d + "/a/memory.high")


def test_v2_cgroup_namespace():
    check(v2({"/sys/fs/cgroup/memory.max": 100 * M}, path="/"), limit=100 * M, file="/sys/fs/cgroup/memory.max")
    check(v2({"/sys/fs/cgroup/memory.max": 100 * M}, path="/../../x"), limit=100 * M)


def test_v2_limit_zero():
    check(v2({"/sys/fs/cgroup/memory.max": 0}, path="/"), limit=0, auto=0)


def test_group_that_is_gone_leaves_its_ancestors():
    check(v2({"/sys/fs/cgroup/a/memory.max": 90 * M}), limit=90 * M)


def test_garbage_in_limit_files_is_no_limit():
    d = "/sys/fs/cgroup/a/b/c/"
    for garbage in ("", "garbage", "-1", "12 34", "0x10", "99999999999999999999999999", "\0\0"):
        check(v2({d + "memory.max": garbage, d + "memory.high": garbage, d + "memory.swap.max": garbage,
                  "/sys/fs/cgroup/memory.max": 77 * M}), limit=77 * M, swap="none")


def test_cpu_quota_of_v1():
    cgroup, own = "3:cpu,cpuacct:/x/job\n4:memory:/y\n", "/sys/fs/cgroup/cpu/x/job/cpu.cfs_quota_us"
    above = "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us"
    for files, quota in (({}, 0), ({own: -1}, 0), ({own: 50000}, 1), ({own: -1, above: 150000}, 1), ({own: -1, above: -1}, 0),
                         ({own: "many"}, 0), ({own: ""}, 0), ({"/sys/fs/cgroup/cpu/y/cpu.cfs_quota_us": 50000}, 0)):
        check(look(cgroup, OTHERS, files), version=0, quota=quota)


def test_cpu_quota_of_v2():
    own, above = "/sys/fs/cgroup/a/b/c/cpu.max", "/sys/fs/cgroup/a/cpu.max"
    mount = V2_MOUNT.format(root="/", mount="/sys/fs/cgroup")
    for files, quota in (({}, 0), ({own: "max 100000"}, 0), ({own: "50000 100000"}, 1), ({own: "max 100000", above: "150000 100000"}, 1),
                         ({own: "max 100000", above: "max 100000"}, 0)):
        check(look("0::/a/b/c\n", mount, files), version=2, quota=quota)
    # The controller of a mix is in version 1, where this process is in no group with a quota.
    check(look("3:cpu,cpuacct:/job\n0::/a/b/c\n", OTHERS + mount, {own: "50000 100000"}), version=2, quota=0)


def test_garbage_in_proc_files():
    for cgroup in ("garbage\n", "::\n", "4:memory\n", "4:memory:relative\n", ":" * 5000 + "\n", "\n\n"):
        check(look(cgroup, OTHERS + V1_MOUNT.format(root="/", mount="/m"), {"/m/memory.limit_in_bytes": M}),
              version=0, limit="none")
    for mount in ("garbage\n", " - cgroup cgroup rw,memory\n", "1 2 3 - cgroup cgroup rw,memory\n",
                  "1 2 3 / /m rw -\n", "1 2 3 / /m rw - cgroup\n", "1 2 3 / /m rw - cgroup cgroup\n", "x" * 9000):
        check(look("4:memory:/j\n", mount, {"/m/j/memory.limit_in_bytes": M}), version=0, limit="none")


def test_escaped_mount_point():
    check(look("4:memory:/j\n", V1_MOUNT.format(root="/", mount="/with\\040blank"),
               {"/with blank/j/memory.limit_in_bytes": 60 * M}), limit=60 * M)


def test_mount_that_shows_the_group_is_preferred():
    mounts = V1_MOUNT.format(root="/elsewhere", mount="/m1") + V1_MOUNT.format(root="/", mount="/m2")
    files = {"/m1/memory.limit_in_bytes": 10 * M, "/m2/j/memory.limit_in_bytes": 60 * M}
    check(look("4:memory:/j\n", mounts, files), limit=60 * M)


def test_prefix_of_a_name_is_not_an_ancestor():
    mounts = V1_MOUNT.format(root="/doc", mount="/m1")
    check(look("4:memory:/docker\n", mounts, {"/m1/ker/memory.limit_in_bytes": 10 * M,
                                              "/m1/memory.limit_in_bytes": 60 * M}), limit=60 * M)


def test_auto_keeps_a_headroom():
    def auto(limit):
        return v2({"/sys/fs/cgroup/memory.max": limit}, path="/")

    check(auto(1024 * M), auto=1024 * M - 32 * M, **{"from": "cgroup"})
    check(auto(128 * M), auto=120 * M)
    check(auto(5 * M), auto=0)


def test_auto_without_limit_takes_three_quarters():
    check(v2({}, available=1000 * M), auto=750 * M, **{"from": "memory"})


def test_auto_with_a_limit_above_what_is_there():
    check(v2({"/sys/fs/cgroup/memory.max": 4000 * M}, path="/", available=1000 * M), auto=750 * M,
          **{"from": "memory"})


main(globals())
