"""Builds the guest component into the user's cache, once for each version of its parts."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

import r1kit
from r1kit.console import duration, heartbeat, say
from r1kit.errors import UserError

ROOT = Path(r1kit.__file__).parents[1]
GUEST = "r1kit.rewards.sandbox.guest.component"  # the main module
LIBRARIES = ("sympy", "mpmath")  # bundled without their tests
COMPONENT, DIGEST = "guest.cwasm", "sha256"  # files of a build
BUILD_SECONDS = 3600.0  # for componentize-py, which takes about 15 s on an idle machine
USUAL_SECONDS = 30.0  # for all, on two idle cores,
BUNDLING_SHARE = 0.6  # of which componentize-py takes this
WIT = Path(__file__).parents[1] / "guest" / "world.wit"
ENGINE = Path(__file__).parent / "engine.py"
TOOLS = ("componentize-py", "wasmtime")
KEPT = 4  # builds in the cache, of all versions; 90 MB each
SAFE_WASMTIME = (43, 0, 1)  # a guest can escape from earlier versions: CVE-2026-34971, CVE-2026-35195


def compiled() -> tuple[Path, str]:
    """Return (file of the compiled component, its SHA-256), and build it if the cache lacks it.

    A lock file lets only one process build at a time.

    Raises:
        UserError: a tool is missing, wasmtime is unsafe, the build fails, or the cache belongs to another user.
    """
    sources = _sources(GUEST)
    build = _cache() / _key(sources)
    with open(build.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not build.is_dir():
            _build(build, sources)
    return build / COMPONENT, (build / DIGEST).read_text()


def is_built() -> bool:
    """Return whether the cache has the component. Raises UserError as `compiled` does."""
    return (_cache() / _key(_sources(GUEST))).is_dir()


def _key(sources: Mapping[str, str]) -> str:
    """Return the name of the build: a hash of everything that affects it."""
    versions = {name: _version(name) for name in (*TOOLS, *LIBRARIES)}
    if tuple(map(int, versions["wasmtime"].split("."))) < SAFE_WASMTIME:
        raise UserError(f"wasmtime {versions['wasmtime']} has known escapes; pip install 'wasmtime>=43.0.1'")
    machine = [platform.system(), platform.machine(), _processor()]
    parts = [machine, versions, sources, WIT.read_text(), ENGINE.read_text()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _build(target: Path, sources: Mapping[str, str]) -> None:
    """Build the component in a temporary directory and rename it to `target`, so that it is complete or absent."""
    from wasmtime import component  # heavy, and not needed where the component is already built

    from r1kit.rewards.sandbox.wasm.engine import new_engine

    for abandoned in target.parent.glob(".build-*"):  # a builder that was killed left it; this process holds the lock
        shutil.rmtree(abandoned)
    step = "bundling Python and sympy, step 1 of 2"
    start = time.monotonic()
    end = start + USUAL_SECONDS  # expected
    say(f"building the sandbox, once on this machine: about {USUAL_SECONDS:.0f} seconds if it is idle ...")

    def state() -> str:
        left = end - time.monotonic()
        return f"building the sandbox ({step}), {f'about {duration(left)} left' if left > 0 else 'longer than usual'}"

    with heartbeat(state), tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as name:
        stage, wasm, output = Path(name, "stage"), Path(name, "guest.wasm"), Path(name, "output")
        output.mkdir(mode=0o700)
        _stage(stage, sources)
        _componentize(stage, wasm)
        step = "compiling them, step 2 of 2"
        end = start + (time.monotonic() - start) / BUNDLING_SHARE
        code = bytes(component.Component.from_file(new_engine(), wasm).serialize())
        _write(output / COMPONENT, code)
        _write(output / DIGEST, hashlib.sha256(code).hexdigest().encode())
        output.rename(target)
    say(f"the sandbox is built: {duration(time.monotonic() - start)}")
    for old in sorted(target.parent.glob("[0-9a-f]*/"), key=os.path.getmtime)[:-KEPT]:
        shutil.rmtree(old)


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _stage(stage: Path, sources: Mapping[str, str]) -> None:
    """Write everything that a guest imports, and nothing else, to `stage`. Its packages need no __init__."""
    for module, text in sources.items():
        path = stage / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for library in LIBRARIES:
        spec = util.find_spec(library)
        if spec is None or spec.origin is None:
            raise UserError(f"the wasm sandbox needs {library}: pip install {library}")
        ignored = shutil.ignore_patterns("tests", "__pycache__", "*.so")
        shutil.copytree(Path(spec.origin).parent, stage / library, ignore=ignored)


def _componentize(stage: Path, output: Path) -> None:
    arguments = ["-d", WIT, "-w", "guest", "componentize", "--stub-wasi", "-p", stage, GUEST, "-o", output]
    run = "import componentize_py; raise SystemExit(componentize_py.script())"
    # The environment is empty because componentize-py looks for further packages along PATH and VIRTUAL_ENV.
    done = subprocess.run(
        [sys.executable, "-c", run, *map(str, arguments)],
        env={},
        cwd=stage,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if done.returncode or not output.is_file():
        message = (done.stderr or done.stdout).strip()[-2000:]
        raise UserError(f"componentize-py could not build the sandbox: {message}")


def _sources(guest: str) -> dict[str, str]:
    """Return name -> text of the guest and of every module of this package that it imports, directly or not."""
    sources: dict[str, str] = {}
    pending = [guest]
    while pending:
        module = pending.pop()
        path = ROOT / f"{module.replace('.', '/')}.py"
        if module in sources or not module.startswith("r1kit.") or not path.is_file():
            continue
        sources[module] = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(sources[module])):
            if isinstance(node, ast.ImportFrom):
                pending += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                pending += [alias.name for alias in node.names]
    return sources


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"the wasm sandbox needs {package}: pip install {package}") from error


def _processor() -> str:
    """Return the features of the processor: machines with different ones may share a cache."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else [platform.processor()]
    return next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])


def _cache() -> Path:
    """Return the directory of the builds. It must belong to this user alone: its files run as machine code."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "r1kit" / "wasm"
    advice = "set XDG_CACHE_HOME to a directory of your own"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o700)
    except OSError as error:
        raise UserError(f"{cache}: {error.strerror}; {advice}") from error
    if cache.stat().st_uid != os.getuid():
        raise UserError(f"{cache} belongs to another user; {advice}")
    return cache
