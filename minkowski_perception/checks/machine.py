# Copyright 2026 The minkowski_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of this machine: interpreter, packages, PyTorch, processor, transports of ROS."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import site
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from minkowski_perception.checks.finding import Finding, State, fail, ok, warn

_RECEIVE_BUFFER = 4 << 20
"""Bytes of net.core.rmem_max below which clouds of some megabytes are lost over UDP."""

_SHARED_MEMORY = 256 << 20
"""Free bytes of /dev/shm below which Fast DDS and PyTorch run short of it; Docker has 64 MB."""

_LIBRARY_TIMEOUT = 30.0  # seconds

_PROC = Path("/proc/sys")
_SHM = Path("/dev/shm")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_JETSON = Path("/etc/nv_tegra_release")
_ROS = Path("/opt/ros")

_PRINT_RMW = (
    "import rclpy; rclpy.init(); print(rclpy.get_rmw_implementation_identifier(), flush=True)"
)


class _Package(NamedTuple):
    """A package that this one imports.

    Attributes:
        modules: any one of them is enough.
        pip: its name for pip.
        without: what does not work without it.
        state: of a finding that it is missing.
    """

    modules: tuple[str, ...]
    pip: str
    without: str
    state: State


_PACKAGES = (
    _Package(("numpy",), "numpy", "nothing works", "fail"),
    _Package(("scipy",), "scipy", "nothing works", "fail"),
    _Package(("torch",), "torch", "nothing works", "fail"),
    _Package(("safetensors",), "safetensors", "no model can be loaded", "fail"),
    _Package(("yaml",), "pyyaml", "no model can be loaded", "fail"),
    _Package(("tqdm",), "tqdm", "the command line does not work", "fail"),
    _Package(
        ("sensor_msgs_py", "pointcloud2"), "pointcloud2", "no PointCloud2 can be decoded", "fail"
    ),
    _Package(("rosbags",), "rosbags", "no recording can be read", "warn"),
    _Package(("numba",), "numba", "convolutions on a CPU take several times as long", "warn"),
    _Package(("kiss_icp",), "kiss-icp", "motion needs TF, odometry or poses in the bag", "warn"),
    _Package(("matplotlib",), "matplotlib", "no pictures", "ok"),
    _Package(("open3d",), "minkowski_perception[simulation]", "no simulation", "ok"),
)
REQUIRED = frozenset(package.pip for package in _PACKAGES if package.state == "fail")
"""Names of the packages without which no cloud can be labelled; so are their findings named."""

_COMPILED = ("scipy", "numba", "matplotlib", "torch")
"""Packages that are compiled against NumPy."""


def machine() -> list[Finding]:
    """Check interpreter, packages, PyTorch, processor and the transports of ROS."""
    return [
        interpreter(),
        *packages(),
        *mixture(sys.path),
        *ros(os.environ),
        *torch_devices(),
        processor(),
        *transports(os.environ),
        receive_buffer(),
        shared_memory(),
    ]


def interpreter() -> Finding:
    """Return version and place of Python, and which packages it sees."""
    found = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < (3, 10):  # noqa: UP036 - the package may be on the path of an older one
        return fail("python", found, "use Python 3.10 or newer")
    if sys.prefix == sys.base_prefix:
        found += ", no virtual environment"
    else:
        found += ", virtual environment"
        if any("dist-packages" in entry for entry in sys.path):
            found += " with packages of the system"
    return ok("python", found)


def packages(wanted: Iterable[_Package] = _PACKAGES) -> list[Finding]:
    """Return which packages are there; one finding for each that is missing or broken."""
    present, findings, absent = [], [], []
    for package in wanted:
        module = next((m for m in package.modules if importlib.util.find_spec(m)), None)
        if module is None:
            if package.state == "ok":
                absent.append(f"{package.pip} ({package.without})")
            else:
                missing, remedy = f"not installed: {package.without}", f"pip install {package.pip}"
                findings.append(Finding(package.pip, package.state, missing, remedy))
            continue
        try:
            if package.state != "ok":  # packages of the workshop are slow to import
                importlib.import_module(module)
        except Exception as error:  # a broken package can raise anything
            remedy = f"pip install --force-reinstall {package.pip}"
            findings.append(fail(package.pip, f"cannot be imported: {error!r}", remedy))
            continue
        present.append(f"{module} {_version(package.pip, module)}".rstrip())
    found = ", ".join(present)
    if absent:
        found += f"; not installed: {', '.join(absent)}"
    return [ok("packages", found), *findings]


def _version(distribution: str, module: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(module), "__version__", ""))


def mixture(path: Sequence[str]) -> list[Finding]:
    """Return packages that do not fit each other because they are from different places.

    Args:
        path: folders in which Python looks for packages, in order.
    """
    findings = []
    numpys = _installed("numpy", path)
    for name in _COMPILED if len(numpys) > 1 else ():
        own = next(iter(_installed(name, path).items()), None)
        if own is None or own[0] not in numpys:
            continue
        (first, used), beside = next(iter(numpys.items())), numpys[own[0]]
        if used.split(".")[0] != beside.split(".")[0]:
            findings.append(
                warn(
                    "mixed packages",
                    f"{name} {own[1]} in {own[0]} was built for NumPy {beside} there, but NumPy "
                    f"{used} in {first} is imported",
                    f"pip install --ignore-installed {name}",
                )
            )
    user = site.getusersitepackages()
    ours = [name for name in ("numpy", "torch", *_COMPILED) if user in _installed(name, path)]
    if sys.prefix != sys.base_prefix and ours:
        findings.append(
            warn(
                "mixed packages",
                f"{', '.join(dict.fromkeys(ours))} in {user} can hide those of the environment",
                "export PYTHONNOUSERSITE=1",
            )
        )
    return findings


def _installed(name: str, path: Sequence[str]) -> dict[str, str]:
    """Return the versions of a package by the folder that they are in, in order."""
    found: dict[str, str] = {}
    for folder in path:
        for distribution in metadata.distributions(name=name, path=[folder]):
            found.setdefault(folder, distribution.version)
    return found


def ros(environment: Mapping[str, str], root: Path = _ROS) -> list[Finding]:
    """Return whether ROS is there, and is for this Python.

    Args:
        environment: variables of the process.
        root: folder of the installed ROS distributions.
    """
    if importlib.util.find_spec("rclpy"):
        name = environment.get("ROS_DISTRO") or f"rclpy {_version('ros-rclpy', 'rclpy')}"
        try:
            importlib.import_module("rclpy")
        except Exception as error:  # a broken installation can raise anything
            return [fail("ros", f"{name}: {error!r}", "source the setup.bash of ROS again")]
        return [ok("ros", name)]
    prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    own = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in filter(None, prefixes):
        for library in sorted(Path(prefix).glob("lib/python3.*/site-packages/rclpy")):
            other = library.parents[1].name
            if other != own:
                return [
                    fail(
                        "ros",
                        f"{prefix} is for {other}, and this is {own}",
                        f"{other} -m venv --system-site-packages venv",
                    )
                ]
    installed = sorted(root.glob("*/setup.bash"))
    if installed:
        return [warn("ros", "installed, but not active", f"source {installed[-1]}")]
    return [ok("ros", "not installed; the command line does not need it, the node does")]


def torch_devices() -> list[Finding]:
    """Return version and devices of PyTorch."""
    try:
        import torch
    except Exception:  # `packages` reports it
        return []
    capability = torch.backends.cpu.get_cpu_capability()
    findings = [ok("torch", f"{torch.__version__}, {capability} on the CPU")]
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < (2, 5):
        findings = [fail("torch", f"{torch.__version__}", 'pip install "torch>=2.5"')]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            findings.append(_cuda_device(index))
    elif _NVIDIA_DRIVER.exists() or _JETSON.exists() or shutil.which("nvidia-smi"):
        built = torch.version.cuda
        findings.append(
            warn(
                "cuda",
                f"an NVIDIA driver is here, but this PyTorch is built for CUDA {built} and finds "
                "no device"
                if built
                else "an NVIDIA driver is here, but this PyTorch is built without CUDA",
                "install the wheel that NVIDIA publishes for your JetPack"
                if _JETSON.exists()
                else "nvidia-smi names the newest CUDA of the driver; install torch for it: "
                "https://pytorch.org/get-started/locally",
            )
        )
    else:
        findings.append(ok("cuda", "no NVIDIA device: networks run on the CPU"))
    return findings


def _cuda_device(index: int) -> Finding:
    import torch

    name = f"cuda:{index}"
    properties = torch.cuda.get_device_properties(index)
    found = f"{properties.name}, compute capability {properties.major}.{properties.minor}"
    try:
        torch.zeros(1, device=name).add_(1).cpu()
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        problem = str(error).splitlines()[0]
        return fail(name, f"{found}: {problem}", "install torch for this device, or device:=cpu")
    return ok(name, f"{found}, {free >> 20} of {total >> 20} MiB free")


def processor(quota_file: Path = _CPU_QUOTA) -> Finding:
    """Return the number of cores, and whether a container or other work limits them.

    Args:
        quota_file: limit of the control group.
    """
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    found = f"{cores} cores, load {load:.1f}"
    try:
        quota, period = quota_file.read_text().split()
        limit = int(quota) / int(period)
    except (OSError, ValueError):  # no limit, or another version of control groups
        limit = float(cores)
    if limit < cores:
        threads = max(1, int(limit))
        return warn(
            "processor",
            f"{found}; the container may use only {limit:g} of them, and more threads wait for "
            "each other",
            f"set the parameter threads to {threads} (threads:={threads}, --threads {threads})",
        )
    if load > 1.2 * cores:
        return warn(
            "processor",
            f"{found}: other programs run, and the times below are too long",
            "uptime; top",
        )
    return ok("processor", found)


def transports(environment: Mapping[str, str]) -> list[Finding]:
    """Return the middleware of ROS and the variables that configure it; nothing without ROS.

    Args:
        environment: variables of the process.
    """
    if not importlib.util.find_spec("rclpy"):
        return []
    findings = [_middleware(environment)]
    names = (
        "ROS_DOMAIN_ID",
        "ROS_LOCALHOST_ONLY",
        "ROS_AUTOMATIC_DISCOVERY_RANGE",
        "ROS_STATIC_PEERS",
        "ROS_DISCOVERY_SERVER",
        "FASTDDS_BUILTIN_TRANSPORTS",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "CYCLONEDDS_URI",
        "ZENOH_ROUTER_CONFIG_URI",
        "ZENOH_SESSION_CONFIG_URI",
    )
    given = {name: environment[name] for name in names if environment.get(name)}
    findings.append(
        ok("discovery", ", ".join(f"{k}={v}" for k, v in given.items()) or "as by default")
    )
    for name, value in given.items():
        path = Path(value.removeprefix("file://"))
        if name.endswith(("_FILE", "_URI")) and not value.startswith("<") and not path.exists():
            findings.append(fail(name, f"names {path}, which does not exist", f"unset {name}"))
    if environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() == "OFF":
        findings.append(
            warn(
                "discovery",
                "discovery is off: nodes find only those of ROS_STATIC_PEERS",
                "export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
            )
        )
    return findings


def _middleware(environment: Mapping[str, str]) -> Finding:
    """Return the middleware that rclpy loads; a broken one can end the process, so in another."""
    wanted = environment.get("RMW_IMPLEMENTATION", "")
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PRINT_RMW],
            capture_output=True,
            text=True,
            env=dict(environment),
            timeout=_LIBRARY_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return fail(
            "middleware",
            f"{wanted or 'the default'}: rclpy has not started after {_LIBRARY_TIMEOUT:g} s",
            "unset the variables of 'discovery' below, or start the daemon or router that they "
            "name",
        )
    name = done.stdout.strip()
    if done.returncode == 0 and name:
        return ok("middleware", name)
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["rclpy cannot start"]
    problem = next((line for line in lines if "librmw" in line), lines[-1]).strip()
    remedy = "source the setup.bash of ROS again"
    if wanted:
        package = f"ros-{environment.get('ROS_DISTRO', 'DISTRO')}-{wanted.replace('_', '-')}"
        remedy = f"sudo apt-get install {package}, or: unset RMW_IMPLEMENTATION"
    return fail("middleware", f"{wanted or 'the default'}: {problem}", remedy)


def receive_buffer(proc: Path = _PROC) -> Finding:
    """Return the largest receive buffer of sockets, which UDP needs for large clouds.

    Args:
        proc: folder of the kernel's settings.
    """
    key = "net.core.rmem_max"
    remedy = f"sudo sysctl -w {key}=33554432"
    size = largest_receive_buffer(proc)
    if size is None:
        return warn(
            "socket buffers",
            f"{key} is not visible in this container",
            f"on the host: sysctl {key}",
        )
    found = f"{key} {size:,} bytes"
    if size < _RECEIVE_BUFFER:
        found += ": large clouds over UDP lose packets"
        return warn("socket buffers", found, f"{remedy}  # permanently: a file in /etc/sysctl.d")
    return ok("socket buffers", found)


def largest_receive_buffer(proc: Path = _PROC) -> int | None:
    """Return net.core.rmem_max in bytes; None if it is not visible."""
    try:
        return int((proc / "net" / "core" / "rmem_max").read_text())
    except (OSError, ValueError):
        return None


def shared_memory(folder: Path = _SHM, least: int = _SHARED_MEMORY) -> Finding:
    """Return size and free space of the shared memory, which Fast DDS and PyTorch use.

    Args:
        folder: where it is mounted.
        least: bytes that should be free.
    """
    docker = "in Docker: docker run --ipc=host, or --shm-size=1g"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return warn(
            "shared memory", f"{folder} cannot be written: DDS sends clouds over UDP", docker
        )
    usage = shutil.disk_usage(folder)
    found = f"{folder}: {usage.free >> 20:,} of {usage.total >> 20:,} MiB free"
    if usage.free >= least:
        return ok("shared memory", found)
    if usage.total < least:
        return warn("shared memory", found, docker)
    return warn("shared memory", found, f"ls -lS {folder}  # remove what no process uses")
