"""What decides a machine's speed, and whether it was left alone: read from made-up machines."""

import json
import math
import subprocess
import sys
from collections import namedtuple
from queue import Queue
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from alexnet_impl.errors import RunError
from alexnet_impl.machine import cpu, facts, interference, linux, watch
from alexnet_impl.machine.changed_facts import machine_differences, software_differences
from alexnet_impl.machine.fact import Fact
from alexnet_impl.machine.facts import TELLING_VARIABLES, hardware_facts, machine_fingerprint
from alexnet_impl.machine.gpu import gpu_facts
from alexnet_impl.machine.interference import (
    OtherWork,
    interference_warnings,
    measure_interference,
)
from alexnet_impl.machine.watch import MachineWatch

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
A100 = {
    "name": "NVIDIA A100-SXM4-40GB",
    "driver": "550.90.12",
    "memory_bytes": 40 * 2**30,
    "sm_clock_mhz": 1095,
    "max_sm_clock_mhz": 1410,
    "memory_clock_mhz": 1215,
    "max_memory_clock_mhz": 1215,
    "temperature_c": 64,
    "power_w": pytest.approx(310.52),
    "power_limit_w": 400,
    "default_power_limit_w": 400,
    "utilization_share": 0.37,
    "persistence": True,
    "throttle_reasons": ["software power cap", "software thermal slowdown"],
}


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
def root(tmp_path):
    """Four hardware threads of two cores, on bare metal."""
    cpus = [XEON.format(number=i, core=i // 2, more="") for i in range(4)]
    policies = [f"sys/devices/system/cpu/cpufreq/policy{i}" for i in range(4)]
    files = {"proc/cpuinfo": "".join(cpus), "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n"}
    files |= {f"{policy}/scaling_governor": "powersave\n" for policy in policies}
    files |= cores("thermal_throttle/core_throttle_count", ["0", "2", "0", "1"])
    root = write(tmp_path / "xeon", files)
    for i in range(4):
        folder = root / f"sys/devices/system/cpu/cpu{i}"
        (folder / "cpufreq").symlink_to(root / policies[i], target_is_directory=True)
    (root / "sys/class/power_supply").mkdir(parents=True)
    return root


def test_files_of_a_server_tell_what_no_library_does(root):
    assert linux.governors(root) == ["powersave"]
    assert linux.turbo(root) is False
    assert linux.thermal_throttle_count(root) == 3
    assert linux.on_battery(root) is False
    assert linux.hypervisor(root) is False
    assert linux.quota_cpus(root) is linux.container(root) is None


@pytest.mark.parametrize(
    "read",
    [
        linux.quota_cpus,
        linux.governors,
        linux.turbo,
        linux.thermal_throttle_count,
        linux.on_battery,
        linux.container,
        linux.hypervisor,
    ],
)
def test_what_linux_does_not_tell_is_none(tmp_path, read):
    """A folder in a file's place fails for every user, root included."""
    assert read(tmp_path) is None
    for name in ("proc/cpuinfo", "proc/self/cgroup", "sys/devices/system/cpu/cpufreq/boost"):
        (tmp_path / name).mkdir(parents=True)
    assert read(tmp_path) is None


def test_hardware_facts_are_the_five_that_a_run_records():
    found = hardware_facts()
    assert list(found) == ["cpu", "cpu_features", "logical_cpus", "physical_cpus", "memory_bytes"]
    assert found.items() <= machine_fingerprint().items()


def test_fingerprint_of_this_machine_is_json():
    found = machine_fingerprint()
    assert found["cpu"]
    assert 0 < found["usable_cpus"] <= found["logical_cpus"]
    assert found["memory_bytes"] > 2**28
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def processor(monkeypatch, **sources):
    """py-cpuinfo's readers give these; they read nothing else."""
    for source in cpu._SOURCES:  # noqa: SLF001
        monkeypatch.setattr(
            f"cpuinfo.cpuinfo._get_cpu_info_from_{source}", lambda s=source: sources.get(s, {})
        )
    cpu.cpu_info.cache_clear()
    cpu.mac_settings.cache_clear()


@pytest.fixture(autouse=True)
def _forget_the_processor():
    yield
    cpu.cpu_info.cache_clear()
    cpu.mac_settings.cache_clear()


def test_processor_is_named_by_the_first_source_that_knows_it(monkeypatch):
    flags = ["asimd", "asimdhp", "fp"]
    named = {"brand_raw": "Neoverse-N1", "flags": ["other"]}
    processor(monkeypatch, proc_cpuinfo={"flags": flags}, lscpu=named)
    assert (cpu.cpu_name(), cpu.cpu_features()) == ("Neoverse-N1", ["asimd", "asimdhp"])


def test_processor_without_a_name_is_its_architecture(monkeypatch):
    processor(monkeypatch)
    monkeypatch.setattr(cpu.platform, "processor", lambda: "")
    monkeypatch.setattr(cpu.platform, "machine", lambda: "riscv64")
    assert (cpu.cpu_name(), cpu.cpu_features()) == ("riscv64", None)


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        (XEON.format(number=0, core=0, more=""), "GenuineIntel 6 143 8"),
        (GRAVITON.format(number=0, part="0xd0c"), "0x41 0xd0c 0x3 1"),
        ("processor : 0\n", None),
    ],
)
def test_signature_is_vendor_family_model_and_stepping(tmp_path, text, signature):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert cpu.cpu_signature(path) == signature


def test_arm_guest_is_known_by_its_device_tree_or_its_maker(tmp_path):
    info = {"proc/cpuinfo": GRAVITON.format(number=0, part="0xd0c")}
    maker = write(tmp_path / "maker", info | {"sys/class/dmi/id/sys_vendor": "QEMU\n"})
    tree = write(tmp_path / "tree", info | {"proc/device-tree/hypervisor/compatible": "xen"})
    assert linux.hypervisor(maker) is True
    assert linux.hypervisor(tree) is True


def test_guest_is_known_by_the_flag_of_its_processor(root):
    write(root, {"proc/cpuinfo": XEON.format(number=0, core=0, more=" hypervisor")})
    assert linux.hypervisor(root) is True


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
def test_quota_is_the_tightest_of_the_control_groups(root, files, quota, monkeypatch):
    homes = {name: f"sys/fs/cgroup/{name}" for name in files} | {"cgroup": "proc/self/cgroup"}
    write(root, {homes[name]: text + "\n" for name, text in files.items()})
    assert linux.quota_cpus(root) == quota
    monkeypatch.setattr(linux, "quota_cpus", lambda: quota)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda _: [0, 1, 2], raising=False)
    assert facts._usable_cpus() == min(3, quota or 3)  # noqa: SLF001


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
    files = {f"sys/devices/system/cpu/{name}": f"{text}\n"}
    assert linux.turbo(write(tmp_path, files)) is turbo


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ({"AC/type": "Mains", "AC/online": "1", "BAT0/type": "Battery"}, False),
        ({"BAT0/type": "Battery", "BAT0/status": "Discharging"}, True),
        ({"BAT0/type": "Battery", "BAT0/status": "Charging"}, False),
        ({"M/type": "Battery", "M/scope": "Device", "M/status": "Discharging"}, False),
    ],
)
def test_battery_is_the_machines_and_not_a_mouses(root, supplies, on_battery):
    write(root, {f"sys/class/power_supply/{name}": f"{text}\n" for name, text in supplies.items()})
    assert linux.on_battery(root) is on_battery


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
def test_container_is_named_by_the_mark_it_leaves(root, files, container):
    assert linux.container(write(root, files)) == container


def test_variables_are_taken_by_name_and_libraries_without_their_folders(monkeypatch):
    for name in TELLING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("TF_VAR_password", "hidden")
    monkeypatch.setenv("LD_PRELOAD", "/secret/libtcmalloc.so.4:/secret/libiomp5.so")
    found = machine_fingerprint()
    assert found["variables"] == {"OMP_NUM_THREADS": "3"}
    assert found["preloaded_libraries"] == ["libtcmalloc.so.4", "libiomp5.so"]
    assert "hidden" not in json.dumps(found)
    assert "secret" not in json.dumps(found)


def test_windows_is_asked_by_psutil(monkeypatch):
    monkeypatch.setattr(facts.platform, "system", lambda: "Windows")
    monkeypatch.delattr(facts.os, "getloadavg", raising=False)
    battery = SimpleNamespace(power_plugged=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: [SimpleNamespace(max=3600.0)] * percpu)
    found = machine_fingerprint()
    assert (found["max_frequency_mhz"], found["on_battery"]) == (3600, True)
    assert found["load_average"] is None
    assert found["operating_system"]
    battery.power_plugged = None
    assert machine_fingerprint()["on_battery"] is False


def test_mac_is_asked_by_sysctl(monkeypatch):
    told = (
        "kern.hv_vmm_present: 0\n"
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.arm.FEAT_SME: 0\nhw.optional.neon: 1\n"
    )
    processor(monkeypatch, sysctl={"brand_raw": "Apple M2", "flags": []})
    monkeypatch.setattr(cpu.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(cpu.subprocess, "run", lambda *_, **_how: SimpleNamespace(stdout=told))
    monkeypatch.setattr(facts, "gpu_facts", list)
    found = machine_fingerprint()
    assert found["cpu"] == "Apple M2"
    assert found["cpu_features"] == ["asimd", "bf16"]
    assert found["hypervisor"] is False


@pytest.mark.parametrize(
    "error", [AttributeError, NotImplementedError, FileNotFoundError, psutil.AccessDenied, KeyError]
)
def test_a_fact_that_the_system_refuses_is_none(error):
    def refuse():
        raise error

    assert Fact("kernel", str, "software", refuse).read() is None


# GPUs


@pytest.fixture
def nvml(monkeypatch):
    """Two A100 as NVIDIA's library describes them; further answers replace its own."""

    def answer(**calls):
        for name, value in calls.items():
            monkeypatch.setattr(pynvml, f"nvml{name}", value)

    milliwatts = {"PowerManagementLimit": 400_000, "PowerManagementDefaultLimit": 400_000}
    now, most = {0: None, 1: 1095, 2: 1215}, {1: 1410, 2: 1215}
    answer(
        Init=lambda: None,
        Shutdown=lambda: None,
        SystemGetDriverVersion=lambda: "550.90.12",
        DeviceGetCount=lambda: 2,
        DeviceGetHandleByIndex=lambda number: f"gpu {number}",
        DeviceGetName=lambda _: "NVIDIA A100-SXM4-40GB",
        DeviceGetMemoryInfo=lambda _: SimpleNamespace(total=40 * 2**30),
        DeviceGetClockInfo=lambda _, clock: now[clock],
        DeviceGetMaxClockInfo=lambda _, clock: most[clock],
        DeviceGetTemperature=lambda _, sensor: {pynvml.NVML_TEMPERATURE_GPU: 64}[sensor],
        DeviceGetPowerUsage=lambda _: 310_520,
        DeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=37, memory=5),
        DeviceGetPersistenceMode=lambda _: 1,
        DeviceGetCurrentClocksEventReasons=lambda _: 0x24,
        **{f"DeviceGet{name}": lambda _, value=value: value for name, value in milliwatts.items()},
    )
    return answer


def fail(*_):
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_gpu_facts_are_numbers_in_their_units_and_reasons_in_words(nvml):  # noqa: ARG001
    assert gpu_facts() == [A100, A100]
    assert machine_fingerprint()["gpus"] == [A100, A100]


def test_gpu_facts_that_a_card_does_not_tell_are_none(nvml):
    asked = [name for name in vars(pynvml) if name.startswith("nvmlDeviceGet")]
    spared = {"nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"}
    nvml(**{name.removeprefix("nvml"): fail for name in asked if name not in spared})
    first, _ = gpu_facts()
    told = {"name": "NVIDIA A100-SXM4-40GB", "driver": "550.90.12"}
    assert first == dict.fromkeys(A100) | told


def test_throttle_reasons_of_an_older_driver_come_under_its_own_name(nvml):
    nvml(DeviceGetCurrentClocksEventReasons=fail)
    nvml(DeviceGetCurrentClocksThrottleReasons=lambda _: 0x4)
    assert gpu_facts()[0]["throttle_reasons"] == ["software power cap"]


@pytest.mark.parametrize("call", ["Init", "DeviceGetCount", "DeviceGetHandleByIndex"])
def test_gpu_facts_are_empty_where_the_driver_fails(nvml, call):
    nvml(**{call: fail})
    assert gpu_facts() == []


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, []),
        (0x1, ["idle"]),
        (0x48, ["hardware slowdown", "hardware thermal slowdown"]),
        (
            0x1B0,
            [
                "sync boost",
                "software thermal slowdown",
                "hardware power brake",
                "display clocks setting",
            ],
        ),
        (0x400, ["reason 0x400"]),
    ],
)
def test_throttle_mask_is_told_in_words(nvml, mask, words):
    nvml(DeviceGetCurrentClocksEventReasons=lambda _: mask)
    assert gpu_facts()[0]["throttle_reasons"] == words


# Interference


@pytest.mark.parametrize(
    ("percent", "own_s", "share"),
    [(50.0, 0.0, 0.5), (50.0, 1.0, 0.25), (10.0, 2.0, 0.0), (100.0, 0.0, 1.0)],
    ids=["others alone", "half of it is ours", "rounding below none", "all"],
)
def test_interference_is_the_share_of_others(monkeypatch, percent, own_s, share):
    """Four cores, watched for one second by a clock of our own."""
    monkeypatch.setattr(interference.psutil, "cpu_percent", lambda interval: percent * interval)
    monkeypatch.setattr(interference.psutil, "cpu_count", lambda: 4)
    wall, own = iter([7.0, 8.0]), iter([3.0, 3.0 + own_s])
    clock = SimpleNamespace(perf_counter=lambda: next(wall), process_time=lambda: next(own))
    monkeypatch.setattr(interference, "time", clock)
    assert measure_interference(1.0) == pytest.approx(share)


@pytest.mark.slow
def test_interference_sees_another_process_and_not_this_one():
    """A busy child takes a core, or half of one that it has to share."""
    loop = [sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(loop, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        share = measure_interference(0.25)
        child.kill()
    assert 0.3 / interference.psutil.cpu_count() < share <= 1


def test_other_work_is_the_share_of_others_since_the_last_lap(monkeypatch):
    """Our share has our ended children's seconds; the rest of four cores was used by others."""
    spent = namedtuple("spent", "user system idle iowait guest guest_nice")  # noqa: PYI024 - psutil's
    cores = iter(
        [spent(9, 9, 9, 9, 3, 0), spent(12, 9.5, 9.5, 9.5, 4, 0), spent(12, 9.5, 9.5, 13, 4, 0)]
    )
    own = iter([(1, 1, 1, 1, 0), (1.5, 1, 2, 1, 0), (1.5, 1, 2, 1, 0)])
    monkeypatch.setattr(interference.psutil, "cpu_times", lambda: next(cores))
    process = SimpleNamespace(cpu_times=lambda: next(own))
    monkeypatch.setattr(interference.psutil, "Process", lambda: process)
    work = OtherWork()
    assert work.lap() == pytest.approx((4.5, 2.0))
    assert work.share() == 0


def test_warnings_name_other_work_during_the_measurement():
    assert interference_warnings(QUIET, QUIET | {"busy_share": 0.4}) == (
        "Other processes used 40% of all cores during the measurement.",
    )


def test_a_watch_tells_of_another_alexnet_while_it_measures(monkeypatch):
    """Its worker's command line is seen; those of our own children are not."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    monkeypatch.setattr(watch, "machine_fingerprint", dict)
    words = {1: ["init"], 2: ["python", "-P", "-m", "alexnet_impl", "worker", "case"], 3: []}
    words[4] = words[2]
    there = [1, 3, 4]
    me = SimpleNamespace(children=lambda recursive: [SimpleNamespace(pid=4)])  # noqa: ARG005
    process = lambda pid=None: me if pid is None else SimpleNamespace(cmdline=lambda: words[pid])  # noqa: E731
    fake = SimpleNamespace(pids=lambda: there, Process=process, Error=psutil.Error)
    monkeypatch.setattr(watch, "psutil", fake)
    told = Queue()
    with MachineWatch(told.put) as found:
        assert found.warnings == []
        there.append(2)
        assert "Another alexnet runs on this machine (process 2)" in told.get(timeout=5)
    assert len(found.warnings) == 1
    assert list(found.signs_of_other_work(on_gpu=False)) == found.warnings


@pytest.mark.parametrize("interval_s", [0, -1.0, math.nan])
def test_interference_refuses_no_interval(interval_s):
    with pytest.raises(RunError, match=f"^interval_s={interval_s:g}: must be above 0; use 0.5.$"):
        measure_interference(interval_s)


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
    assert (
        interference_warnings(QUIET, QUIET | {"gpus": [WARM_GPU], "load_average": [4, 4, 4]}) == ()
    )


def test_machine_that_tells_nothing_gives_no_warning():
    nothing = dict.fromkeys(QUIET)
    gpu = dict.fromkeys(A100)
    assert interference_warnings({}, {}) == interference_warnings(nothing, nothing) == ()
    assert interference_warnings({"gpus": [gpu]}, {"gpus": [gpu]}) == ()


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
def test_interference_is_warned_of_in_one_sentence(before, after, warning):
    assert interference_warnings(QUIET | before, QUIET | after) == (warning,)


@pytest.mark.parametrize(
    ("before", "on_gpu", "signs"),
    [
        ({"load_average": [2.5], "logical_cpus": 4}, False, ["The load average before the start"]),
        ({"gpus": [IDLE_GPU | {"utilization_share": 0.6}]}, True, ["was 60% busy just before"]),
        ({"gpus": [IDLE_GPU | {"utilization_share": 0.6}]}, False, []),
        ({"load_average": [1.5], "logical_cpus": 4, "gpus": [IDLE_GPU]}, True, []),
    ],
)
def test_a_watch_knows_which_warnings_are_of_other_work(monkeypatch, before, on_gpu, signs):
    """A governor, which is warned of as well, is none."""
    monkeypatch.setattr(watch, "measure_interference", lambda _: 0.0)
    monkeypatch.setattr(
        watch, "machine_fingerprint", lambda: QUIET | {"governors": ["powersave"]} | before
    )
    found = MachineWatch(lambda _: None).signs_of_other_work(on_gpu=on_gpu)
    assert len(found) == len(signs)
    assert all(sign in one for sign, one in zip(signs, found, strict=True))


@pytest.mark.parametrize("quota", [4.0, 8.0])
def test_quota_of_all_cores_or_more_gives_no_warning(quota):
    assert interference_warnings(QUIET | {"quota_cpus": quota}, QUIET) == ()


def test_quota_is_held_against_the_cores_that_the_process_may_use():
    assert interference_warnings(QUIET | {"quota_cpus": 2.0, "affinity_cpus": 2}, QUIET) == ()


# Is it the same?


@pytest.fixture
def known():
    """The fingerprint of a server with a GPU and a variable."""
    return {
        "architecture": "x86_64",
        "cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        "cpu_features": ["avx2", "fma"],
        "logical_cpus": 4,
        "physical_cpus": 2,
        "memory_bytes": 16384000 * 1024,
        "cpu_signature": "GenuineIntel 6 143 8",
        "affinity_cpus": 3,
        "quota_cpus": None,
        "usable_cpus": 3,
        "governors": ["powersave"],
        "max_frequency_mhz": 3800.0,
        "turbo": False,
        "thermal_throttle_count": 3,
        "load_average": [2.5, 1.25, 0.5],
        "on_battery": False,
        "container": None,
        "hypervisor": False,
        "operating_system": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.1.0-18-amd64",
        "variables": {"OMP_NUM_THREADS": "1"},
        "preloaded_libraries": [],
        "gpus": [A100],
    }


def test_fingerprint_has_the_facts_that_files_of_earlier_releases_hold(known):
    assert machine_fingerprint().keys() == known.keys()


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
            "cpu features: avx2, fma -> avx2",
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
    assert machine_differences(known, known | changed) == (difference,)


def test_order_of_gpus_is_no_difference(known):
    pair = [A100, A100 | {"name": "Tesla T4", "driver": None}]
    old, new = known | {"gpus": pair}, known | {"gpus": pair[::-1]}
    assert machine_differences(old, new) == software_differences(old, new) == ()


def test_record_without_a_fingerprint_was_not_shown_to_be_the_same(known):
    labels = [line.partition(":")[0] for line in machine_differences({}, known)]
    assert labels == [
        "cpu",
        "cpu features",
        "physical cores",
        "memory",
        "cpu signature",
        "architecture",
        "usable cores",
        "gpu",
    ]
    assert "container: unknown -> none" in software_differences({}, known)
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
    (found,) = software_differences(known, known | changed)
    assert found.startswith(difference)
    assert machine_differences(known, known | changed) == ()
