"""What decides a machine's speed, and whether it was left alone: read from made-up machines."""

import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from alexnet_impl.errors import RunError
from alexnet_impl.machine import gpu, interference, portable
from alexnet_impl.machine.changed_facts import machine_differences, software_differences
from alexnet_impl.machine.facts import TELLING_VARIABLES, hardware_facts, machine_fingerprint
from alexnet_impl.machine.gpu import gpu_facts
from alexnet_impl.machine.interference import busyness, quiet_warnings

pytestmark = pytest.mark.fast

XEON = """processor	: {number}
vendor_id	: GenuineIntel
cpu family	: 6
model		: 143
model name	: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
stepping	: 8
cpu MHz		: 2700.000
physical id	: 0
core id		: {core}
flags		: fpu sse avx avx2 fma avx512f avx512_bf16 amx_bf16 amx_tile{more}

"""
GRAVITON = """processor	: {number}
BogoMIPS	: 243.75
Features	: fp asimd asimdhp asimddp crc32
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x3
CPU part	: {part}
CPU revision	: 1

"""
GPU_ROW = (
    "NVIDIA A100-SXM4-40GB, 550.90.12, 40960, 1095, 1410, 1215, 1215, 64, 310.52, 400.00, "
    "400.00, 37, Enabled, 0x0000000000000024"
)
A100 = {
    "name": "NVIDIA A100-SXM4-40GB",
    "driver": "550.90.12",
    "memory_bytes": 40 * 2**30,
    "sm_clock_mhz": 1095,
    "max_sm_clock_mhz": 1410,
    "memory_clock_mhz": 1215,
    "max_memory_clock_mhz": 1215,
    "temperature_c": 64,
    "power_w": 310.52,
    "power_limit_w": 400,
    "default_power_limit_w": 400,
    "utilization_share": pytest.approx(0.37),
    "persistence": True,
    "throttle_reasons": ["software power cap", "software thermal slowdown"],
}
NO_GPU = "/nowhere/nvidia-smi"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cores(names, texts):
    """The same files for each logical CPU: {'x': ['0', '1']} as cpu0/x and cpu1/x."""
    folder = "sys/devices/system/cpu"
    return {f"{folder}/cpu{i}/{names}": text for i, text in enumerate(texts)}


@pytest.fixture
def xeon(tmp_path):
    """Four hardware threads of two cores, on bare metal."""
    cpus = [XEON.format(number=i, core=i // 2, more="") for i in range(4)]
    fixed = {
        "proc/cpuinfo": "".join(cpus),
        "proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\n",
        "proc/loadavg": "2.50 1.25 0.50 3/98 9397\n",
        "proc/self/status": "Name:\tpython\nCpus_allowed:\t7\nCpus_allowed_list:\t0-2\n",
        "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    }
    policies = [f"sys/devices/system/cpu/cpufreq/policy{i}" for i in range(4)]
    fixed |= {f"{policy}/scaling_governor": "powersave\n" for policy in policies}
    fixed |= {f"{policy}/cpuinfo_max_freq": "3800000\n" for policy in policies}
    root = write(
        tmp_path / "xeon",
        fixed
        | cores("topology/core_cpus_list", ["0-1", "0-1", "2-3", "2-3"])
        | cores("thermal_throttle/core_throttle_count", ["0", "2", "0", "1"]),
    )
    for i in range(4):
        folder = root / f"sys/devices/system/cpu/cpu{i}"
        (folder / "cpufreq").symlink_to(root / policies[i], target_is_directory=True)
    (root / "sys/class/power_supply").mkdir(parents=True)
    return root


def facts_of(root):
    found = machine_fingerprint(root, gpu_command=NO_GPU)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_fingerprint_tells_what_linux_tells_of_a_server(xeon, monkeypatch):
    for name in (*TELLING_VARIABLES, "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(portable.platform, "machine", lambda: "x86_64")
    assert facts_of(xeon) == {
        "architecture": "x86_64",
        "cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        "cpu_features": ["amx_bf16", "amx_tile", "avx", "avx2", "avx512_bf16", "avx512f", "fma"],
        "logical_cpus": 4,
        "physical_cpus": 2,
        "memory_bytes": 16384000 * 1024,
        "cpu_signature": "GenuineIntel 6 143 8",
        "affinity_cpus": 3,
        "quota_cpus": None,
        "usable_cpus": 3,
        "governors": ["powersave"],
        "max_frequency_mhz": 3800,
        "turbo": False,
        "thermal_throttle_count": 3,
        "load_average": [2.5, 1.25, 0.5],
        "on_battery": False,
        "container": None,
        "hypervisor": False,
        "operating_system": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.1.0-18-amd64",
        "variables": {},
        "preloaded_libraries": [],
        "gpus": [],
    }


def test_hardware_facts_are_the_five_that_a_run_records(xeon):
    found = hardware_facts(xeon)
    assert list(found) == ["cpu", "cpu_features", "logical_cpus", "physical_cpus", "memory_bytes"]
    assert found.items() <= facts_of(xeon).items()


def test_fingerprint_of_this_machine_is_json():
    found = machine_fingerprint(gpu_command=NO_GPU)
    assert found["cpu"]
    assert 0 < found["usable_cpus"] <= found["logical_cpus"]
    assert found["memory_bytes"] > 2**28
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (["0xd0c"] * 2, "Neoverse-N1"),
        (["0xd0b", "0xd08"], "Cortex-A72 + Cortex-A76"),
        (["0xfff"], "ARM 0x41 0xfff"),
    ],
)
def test_arm_cpu_is_named_by_its_part_numbers(tmp_path, parts, name):
    info = "".join(GRAVITON.format(number=i, part=part) for i, part in enumerate(parts))
    found = facts_of(write(tmp_path, {"proc/cpuinfo": info}))
    assert found["cpu"] == name
    assert found["cpu_signature"] == f"0x41 {parts[0]} 0x3 1"
    assert found["cpu_features"] == ["asimd", "asimddp", "asimdhp"]
    assert found["hypervisor"] is None
    assert found["logical_cpus"] == len(parts)


def test_power_cpu_is_named_by_its_own_word(tmp_path):
    info = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 3800MHz\n"
    assert facts_of(write(tmp_path, {"proc/cpuinfo": info}))["cpu"] == "POWER9, altivec supported"


def test_arm_guest_is_known_by_its_device_tree_or_its_maker(tmp_path):
    info = {"proc/cpuinfo": GRAVITON.format(number=0, part="0xd0c")}
    maker = write(tmp_path / "maker", info | {"sys/class/dmi/id/sys_vendor": "QEMU\n"})
    tree = write(tmp_path / "tree", info | {"proc/device-tree/hypervisor/compatible": "xen"})
    assert facts_of(maker)["hypervisor"] is True
    assert facts_of(tree)["hypervisor"] is True


def test_physical_cores_are_counted_from_cpuinfo_where_there_is_no_topology(tmp_path):
    info = "".join(XEON.format(number=i, core=i // 2, more=" hypervisor") for i in range(8))
    found = facts_of(write(tmp_path, {"proc/cpuinfo": info}))
    assert found["physical_cpus"] == 4
    assert found["hypervisor"] is True


def test_what_linux_does_not_tell_is_none(tmp_path):
    found = facts_of(write(tmp_path, {"proc/cpuinfo": "processor\t: 0\n"}))
    told = {"architecture", "cpu", "variables", "preloaded_libraries", "gpus"}
    counted = {"logical_cpus": 1, "usable_cpus": 1}
    assert {k: v for k, v in found.items() if v is not None and k not in told} == counted


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cgroup": "0::/", "cpu.max": "150000 100000"}, 1.5),
        ({"cgroup": "0::/", "cpu.max": "max 100000"}, None),
        ({"cgroup": "0::/a/b", "a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ({"cgroup": "0::/a/b", "a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        (
            {
                "cgroup": "0::/../../seen",
                "cpu.max": "100000 50000",
                "../../seen/cpu.max": "10000 100000",
            },
            2,
        ),
        ({"cgroup": "0::/a", "unified/a/cpu.max": "100000 100000"}, 1),
        (
            {
                "cgroup": "9:memory:/x\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/",
                "cpu,cpuacct/cpu.cfs_quota_us": "250000",
                "cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        (
            {
                "cgroup": "1:cpu:/g",
                "cpu/g/cpu.cfs_quota_us": "-1",
                "cpu/g/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        (
            {
                "cgroup": "1:cpuset:/g",
                "cpuset/g/cpu.cfs_quota_us": "100000",
                "cpuset/g/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"cgroup": "0::/", "cpu.max": "0 0"}, None),
        ({"cgroup": "0::/", "cpu.max": "inf 100000"}, None),
        ({"cgroup": "nonsense", "cpu.max": "100000 100000"}, None),
    ],
)
def test_quota_is_the_tightest_of_the_control_groups(xeon, files, quota):
    homes = {name: f"sys/fs/cgroup/{name}" for name in files} | {"cgroup": "proc/self/cgroup"}
    found = facts_of(write(xeon, {homes[name]: text + "\n" for name, text in files.items()}))
    assert found["quota_cpus"] == quota
    assert found["usable_cpus"] == min(3, quota or 3)


@pytest.mark.parametrize(
    ("listed", "count"), [("0-3,8,10-11", 7), ("5", 1), ("", None), ("all", None)]
)
def test_affinity_counts_a_list_of_cpus(xeon, listed, count):
    found = facts_of(write(xeon, {"proc/self/status": f"Cpus_allowed_list:\t{listed}\n"}))
    assert found["affinity_cpus"] == count


@pytest.mark.parametrize(
    ("name", "text", "turbo"),
    [
        ("intel_pstate/no_turbo", "0", True),
        ("intel_pstate/no_turbo", "1", False),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
        ("cpu0/cpufreq/boost", "0", False),
        ("cpufreq/boost", "?", None),
    ],
)
def test_turbo_is_read_from_each_drivers_file(tmp_path, name, text, turbo):
    files = {"proc/cpuinfo": "processor : 0\n", f"sys/devices/system/cpu/{name}": f"{text}\n"}
    assert facts_of(write(tmp_path, files))["turbo"] is turbo


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ({"AC/type": "Mains", "AC/online": "1", "BAT0/type": "Battery"}, False),
        ({"BAT0/type": "Battery", "BAT0/status": "Discharging"}, True),
        ({"BAT0/type": "Battery", "BAT0/status": "Charging"}, False),
        ({"M/type": "Battery", "M/scope": "Device", "M/status": "Discharging"}, False),
    ],
)
def test_battery_is_the_machines_and_not_a_mouses(xeon, supplies, on_battery):
    write(xeon, {f"sys/class/power_supply/{name}": f"{text}\n" for name, text in supplies.items()})
    assert facts_of(xeon)["on_battery"] is on_battery


@pytest.mark.parametrize(
    ("files", "container"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "systemd-nspawn\n", ".dockerenv": ""}, "systemd-nspawn"),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-pod1.slice\n"}, "kubepods"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, None),
    ],
)
def test_container_is_named_by_the_mark_it_leaves(xeon, files, container):
    assert facts_of(write(xeon, files))["container"] == container


def test_variables_are_taken_by_name_and_libraries_without_their_folders(xeon, monkeypatch):
    for name in TELLING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TF_VAR_password", "hidden")
    monkeypatch.setenv("LD_PRELOAD", "/secret/libtcmalloc.so.4:/secret/libiomp5.so")
    found = facts_of(xeon)
    assert found["variables"] == {"OMP_NUM_THREADS": "3"}
    assert found["preloaded_libraries"] == ["libtcmalloc.so.4", "libiomp5.so"]
    assert "hidden" not in json.dumps(found)
    assert "secret" not in json.dumps(found)


def test_files_that_cannot_be_read_are_facts_not_told(xeon):
    """A folder in a file's place fails for every user, root included."""
    (xeon / "proc/loadavg").unlink()
    (xeon / "proc/loadavg").mkdir()
    (xeon / "proc/meminfo").write_bytes(b"\xff\xfe")
    found = facts_of(xeon)
    assert found["load_average"] is None
    assert found["memory_bytes"] is None


def refuse(*_args, **_kwargs):
    raise NotImplementedError


def test_windows_is_asked_by_psutil_and_what_it_lacks_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(portable.platform, "system", lambda: "Windows")
    monkeypatch.setattr(portable.platform, "processor", lambda: "Intel64 Family 6")
    monkeypatch.delattr(portable.os, "getloadavg", raising=False)
    fake = {
        "cpu_count": lambda logical=True: 8 if logical else 4,
        "cpu_freq": lambda: SimpleNamespace(max=3600.0),
        "virtual_memory": lambda: SimpleNamespace(total=2**34),
        "Process": lambda: SimpleNamespace(cpu_affinity=lambda: [0, 1]),
        "sensors_battery": lambda: SimpleNamespace(power_plugged=False),
    }
    for name, call in fake.items():
        monkeypatch.setattr(portable.psutil, name, call, raising=False)
    found = facts_of(tmp_path)
    assert found["cpu"] == "Intel64 Family 6"
    assert (found["logical_cpus"], found["physical_cpus"], found["usable_cpus"]) == (8, 4, 2)
    assert (found["max_frequency_mhz"], found["memory_bytes"]) == (3600, 2**34)
    assert found["on_battery"] is True
    assert found["load_average"] is found["cpu_features"] is found["governors"] is None


def test_mac_is_asked_by_sysctl(tmp_path, monkeypatch):
    told = (
        "machdep.cpu.brand_string: Apple M2\nkern.hv_vmm_present: 0\n"
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\nhw.optional.neon: 1\n"
    )
    monkeypatch.setattr(portable.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(
        portable, "command_output", lambda command, _: told if "sysctl" in command[0] else None
    )
    found = facts_of(tmp_path)
    assert found["cpu"] == "Apple M2"
    assert found["cpu_features"] == ["asimd", "bf16"]
    assert found["hypervisor"] is False


def test_a_system_that_tells_nothing_does_not_crash(tmp_path, monkeypatch):
    monkeypatch.setattr(portable.platform, "system", lambda: "Darwin")
    for name in ("processor", "machine"):
        monkeypatch.setattr(portable.platform, name, lambda: "")
    monkeypatch.setattr(portable.psutil, "cpu_count", lambda logical=True: None)  # noqa: ARG005
    for name in ("cpu_freq", "Process", "sensors_battery"):
        monkeypatch.setattr(portable.psutil, name, refuse, raising=False)
    monkeypatch.setattr(portable.os, "getloadavg", refuse, raising=False)
    found = facts_of(tmp_path)
    assert found["usable_cpus"] is found["max_frequency_mhz"] is found["load_average"] is None
    assert found["on_battery"] is found["architecture"] is None


# GPUs


def fake_smi(tmp_path, body):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="the fake nvidia-smi is a script")


@needs_sh
def test_gpu_facts_are_numbers_in_their_units_and_reasons_in_words(tmp_path):
    assert gpu_facts(fake_smi(tmp_path, f"echo '{GPU_ROW}'; echo '{GPU_ROW}'")) == [A100, A100]


@needs_sh
def test_gpu_query_names_a_field_for_each_fact(tmp_path):
    log = tmp_path / "asked"
    gpu_facts(fake_smi(tmp_path, f"echo \"$@\" > '{log}'; echo '{GPU_ROW}'"))
    query, layout = log.read_text().split()
    assert query == (
        "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,"
        "clocks.max.mem,temperature.gpu,power.draw,power.limit,power.default_limit,"
        "utilization.gpu,persistence_mode,clocks_event_reasons.active"
    )
    assert layout == "--format=csv,noheader,nounits"


@needs_sh
def test_fingerprint_holds_the_gpus(xeon, tmp_path):
    command = fake_smi(tmp_path, f"echo '{GPU_ROW}'")
    assert machine_fingerprint(xeon, gpu_command=command)["gpus"] == [A100]


@needs_sh
@pytest.mark.parametrize("missing", ["[N/A]", "N/A", "[Not Supported]", "Not Supported", ""])
def test_gpu_facts_that_a_card_does_not_tell_are_none(tmp_path, missing):
    row = ", ".join(["NVIDIA GB10"] + [missing] * 13)
    (found,) = gpu_facts(fake_smi(tmp_path, f"echo '{row}'"))
    assert found.pop("name") == "NVIDIA GB10"
    assert found.keys() == A100.keys() - {"name"}
    assert set(found.values()) == {None}


@needs_sh
@pytest.mark.parametrize(
    ("known", "reasons"),
    [("clocks_throttle_reasons", ["software power cap"]), ("no reasons at all", None)],
)
def test_gpu_facts_of_an_older_driver_come_under_its_own_names(tmp_path, known, reasons):
    """It refuses the whole query for one name that it does not know."""
    cells = GPU_ROW.rpartition(", ")[0]
    body = f"""case "$1" in
      *{known.replace(" ", "_")}*) echo '{cells}, 0x0000000000000004';;
      *_reasons*) echo 'Field "x_reasons.active" is not a valid field to query.'; exit 2;;
      *) echo '{cells}';;
    esac"""
    (found,) = gpu_facts(fake_smi(tmp_path, body))
    assert found == A100 | {"throttle_reasons": reasons}


@needs_sh
@pytest.mark.parametrize(
    "body", ["echo 'No devices were found'; exit 6", "exit 9", "printf '\\377\\n'", "echo ,,,"]
)
def test_gpu_facts_are_empty_where_the_tool_fails(tmp_path, body):
    assert gpu_facts(fake_smi(tmp_path, body)) == []


def test_gpu_facts_are_empty_without_the_tool(tmp_path):
    assert gpu_facts(str(tmp_path / "none")) == []
    assert gpu_facts(str(tmp_path)) == []


@needs_sh
def test_gpu_facts_do_not_wait_for_a_tool_that_hangs(tmp_path):
    start_s = time.perf_counter()
    assert gpu_facts(fake_smi(tmp_path, "exec sleep 20"), timeout_s=0.1) == []
    assert time.perf_counter() - start_s < 10


def test_tool_that_is_missing_or_hangs_is_not_asked_again_by_older_names(monkeypatch):
    asked = []
    monkeypatch.setattr(gpu, "command_output", lambda command, _: asked.append(command))
    assert gpu_facts() == []
    assert len(asked) == 1


MIXED_REASONS = [
    "sync boost",
    "software thermal slowdown",
    "hardware power brake",
    "display clocks setting",
]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("0x0000000000000000", []),
        ("0x0000000000000001", ["idle"]),
        ("0x0000000000000048", ["hardware slowdown", "hardware thermal slowdown"]),
        ("0x00000000000001B0", MIXED_REASONS),
        ("0x0000000000000400", ["reason 0x400"]),
        ("Active", None),
    ],
)
def test_throttle_mask_is_told_in_words(mask, words):
    assert gpu._reasons(mask) == words  # noqa: SLF001


# Was it quiet?


@pytest.mark.parametrize(
    ("percent", "own_s", "share"),
    [(50.0, 0.0, 0.5), (50.0, 1.0, 0.25), (10.0, 2.0, 0.0), (100.0, 0.0, 1.0)],
    ids=["others alone", "half of it is ours", "rounding below none", "all"],
)
def test_busyness_is_the_share_of_others(monkeypatch, percent, own_s, share):
    """Four cores, watched for one second by a clock of our own."""
    monkeypatch.setattr(interference.psutil, "cpu_percent", lambda interval: percent * interval)
    monkeypatch.setattr(interference.psutil, "cpu_count", lambda: 4)
    wall, own = iter([7.0, 8.0]), iter([3.0, 3.0 + own_s])
    clock = SimpleNamespace(perf_counter=lambda: next(wall), process_time=lambda: next(own))
    monkeypatch.setattr(interference, "time", clock)
    assert busyness(1.0) == pytest.approx(share)


def test_busyness_sees_another_process_and_not_this_one():
    """A busy child takes a core, or half of one that it has to share."""
    loop = [sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(loop, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        share = busyness(0.25)
        child.kill()
    assert 0.3 / interference.psutil.cpu_count() < share <= 1


@pytest.mark.parametrize("interval_s", [0, -1.0, math.nan])
def test_busyness_refuses_no_interval(interval_s):
    with pytest.raises(RunError, match=f"^interval_s={interval_s:g} must be above 0; take 0.5.$"):
        busyness(interval_s)


IDLE_GPU = A100 | {"utilization_share": 0.0, "throttle_reasons": ["idle"]}
QUIET = {
    "logical_cpus": 4,
    "affinity_cpus": 4,
    "quota_cpus": None,
    "usable_cpus": 4,
    "governors": ["performance"],
    "thermal_throttle_count": 3,
    "load_average": [2.0, 9.0, 9.0],
    "on_battery": False,
    "busy_share": 0.1,
    "gpus": [IDLE_GPU],
}
WARM_GPU = IDLE_GPU | {"utilization_share": 1.0, "throttle_reasons": ["application clocks setting"]}


def test_quiet_machine_gives_no_warning():
    assert quiet_warnings(QUIET, QUIET | {"gpus": [WARM_GPU], "load_average": [4, 4, 4]}) == ()


def test_machine_that_tells_nothing_gives_no_warning():
    nothing = dict.fromkeys(QUIET)
    gpu = dict.fromkeys(A100)
    assert quiet_warnings({}, {}) == quiet_warnings(nothing, nothing) == ()
    assert quiet_warnings({"gpus": [gpu]}, {"gpus": [gpu]}) == ()


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        (
            {"load_average": [2.01, 0, 0]},
            {},
            (
                "The load average before the start was 2.01 on 4 cores, above 0.5 a core: wait "
                "until other work has ended."
            ),
        ),
        (
            {"busy_share": 0.25},
            {},
            "Other processes kept 25% of all cores busy just before the start.",
        ),
        (
            {"gpus": [IDLE_GPU | {"utilization_share": 0.8}]},
            {},
            "GPU NVIDIA A100-SXM4-40GB was 80% busy just before the start.",
        ),
        (
            {"governors": ["performance", "powersave"]},
            {},
            (
                "The frequency governor is powersave, not performance: the clock may follow the "
                "load; set it with cpupower frequency-set -g performance."
            ),
        ),
        (
            {},
            {"thermal_throttle_count": 4},
            "Heat slowed the CPU during the measurement (thermal throttling).",
        ),
        ({"on_battery": True}, {}, "The machine ran on battery power: plug it in."),
        ({}, {"on_battery": True}, "The machine ran on battery power: plug it in."),
        (
            {"quota_cpus": 1.5},
            {},
            (
                "The control group grants 1.5 of 4 cores: more threads than that are stopped for "
                "part of each period."
            ),
        ),
        (
            {"quota_cpus": 3.0, "affinity_cpus": None},
            {},
            (
                "The control group grants 3 of 4 cores: more threads than that are stopped for "
                "part of each period."
            ),
        ),
        (
            {},
            {"gpus": [WARM_GPU | {"throttle_reasons": ["software power cap"]}]},
            "GPU NVIDIA A100-SXM4-40GB was throttled: software power cap (power).",
        ),
        (
            {"gpus": [IDLE_GPU | {"throttle_reasons": ["hardware thermal slowdown"]}]},
            {"gpus": [WARM_GPU | {"throttle_reasons": ["hardware power brake", "sync boost"]}]},
            (
                "GPU NVIDIA A100-SXM4-40GB was throttled: hardware power brake, hardware thermal "
                "slowdown, sync boost (heat and power)."
            ),
        ),
        (
            {"gpus": []},
            {"gpus": [WARM_GPU | {"name": None, "throttle_reasons": ["hardware slowdown"]}]},
            "GPU without a name was throttled: hardware slowdown.",
        ),
        (
            {},
            {"gpus": [WARM_GPU | {"power_limit_w": 250.0}]},
            "GPU NVIDIA A100-SXM4-40GB has a power limit of 250 W, below its default of 400 W.",
        ),
    ],
)
def test_disturbance_is_warned_of_in_one_sentence(before, after, warning):
    assert quiet_warnings(QUIET | before, QUIET | after) == (warning,)


@pytest.mark.parametrize("quota", [4.0, 8.0])
def test_quota_of_all_cores_or_more_is_no_trouble(quota):
    assert quiet_warnings(QUIET | {"quota_cpus": quota}, QUIET) == ()


def test_quota_is_held_against_the_cores_that_the_process_may_use():
    assert quiet_warnings(QUIET | {"quota_cpus": 2.0, "affinity_cpus": 2}, QUIET) == ()


# Is it the same?


@pytest.fixture
def known(xeon):
    """A fingerprint with a GPU and a variable."""
    return facts_of(xeon) | {"gpus": [A100], "variables": {"OMP_NUM_THREADS": "1"}}


def test_one_machine_at_two_times_does_not_differ(known):
    later = known | {
        "load_average": [0.0, 0.0, 0.0],
        "thermal_throttle_count": 9,
        "gpus": [WARM_GPU],
        "memory_bytes": int(known["memory_bytes"] * 0.91),
    }
    assert machine_differences(known, later) == machine_differences(later, known) == ()
    assert software_differences(known, later) == ()


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"cpu": "AMD EPYC"}, "cpu: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz -> AMD EPYC"),
        ({"cpu_signature": None}, "cpu signature: GenuineIntel 6 143 8 -> unknown"),
        (
            {"cpu_features": ["avx2"]},
            "cpu features: amx_bf16, amx_tile, avx, avx2, avx512_bf16, avx512f, fma -> avx2",
        ),
        ({"architecture": "riscv64"}, "architecture: x86_64 -> riscv64"),
        ({"physical_cpus": 4}, "physical cores: 2 -> 4"),
        ({"usable_cpus": 1.5}, "usable cores: 3 -> 1.5"),
        ({"memory_bytes": 2**33}, "memory: 15.6 GiB -> 8.0 GiB"),
        ({"memory_bytes": None}, "memory: 15.6 GiB -> unknown"),
        ({"gpus": []}, "gpu: NVIDIA A100-SXM4-40GB -> none"),
        (
            {"gpus": [A100, A100 | {"name": "Tesla T4"}]},
            "gpu: NVIDIA A100-SXM4-40GB -> NVIDIA A100-SXM4-40GB, Tesla T4",
        ),
    ],
)
def test_machine_difference_names_both_sides(known, changed, difference):
    known["architecture"] = "x86_64"
    assert machine_differences(known, known | changed) == (difference,)


def test_order_of_gpus_is_no_difference(known):
    pair = [A100, A100 | {"name": "Tesla T4", "driver": None}]
    old, new = known | {"gpus": pair}, known | {"gpus": pair[::-1]}
    assert machine_differences(old, new) == software_differences(old, new) == ()


def test_record_without_a_fingerprint_was_not_shown_to_be_the_same(known):
    labels = [line.partition(":")[0] for line in machine_differences({}, known)]
    assert labels == [
        "cpu",
        "cpu signature",
        "cpu features",
        "architecture",
        "physical cores",
        "usable cores",
        "gpu",
        "memory",
    ]
    assert "OMP_NUM_THREADS: unknown -> 1" in software_differences({}, known)
    assert machine_differences({}, {}) == software_differences({}, {}) == ()


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"operating_system": "Alpine"}, "operating system: Debian GNU/Linux 12 (bookworm) -> A"),
        ({"kernel": "6.6.0"}, "kernel: 6.1.0-18-amd64 -> 6.6.0"),
        ({"hypervisor": True}, "hypervisor: no -> yes"),
        ({"container": "docker"}, "container: none -> docker"),
        ({"governors": ["performance"]}, "governor: powersave -> performance"),
        ({"turbo": True}, "turbo: no -> yes"),
        ({"max_frequency_mhz": 2700.5}, "max frequency (MHz): 3800 -> 2700.5"),
        ({"preloaded_libraries": ["libjemalloc.so"]}, "preloaded libraries: none -> libjemalloc"),
        ({"gpus": [A100 | {"driver": "570.1"}]}, "gpu driver: 550.90.12 -> 570.1"),
        ({"gpus": [A100 | {"power_limit_w": 250.0}]}, "gpu power limit (W): 400 -> 250"),
        ({"gpus": [A100 | {"persistence": False}]}, "gpu persistence: yes -> no"),
        ({"variables": {"OMP_NUM_THREADS": "2"}}, "OMP_NUM_THREADS: 1 -> 2"),
        ({"variables": {}}, "OMP_NUM_THREADS: 1 -> unset"),
        (
            {"variables": {"KMP_AFFINITY": "compact", "OMP_NUM_THREADS": "1"}},
            "KMP_AFFINITY: unset -> compact",
        ),
    ],
)
def test_software_difference_names_both_sides_and_leaves_the_machine_the_same(
    known, changed, difference
):
    known["preloaded_libraries"] = []
    (found,) = software_differences(known, known | changed)
    assert found.startswith(difference)
    assert machine_differences(known, known | changed) == ()
