"""Builds the guest components into the user's cache: once for each version of their parts, by one process at a time."""

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
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path

import r1kit
from r1kit.errors import UserError

ROOT = Path(r1kit.__file__).parents[1]
GUESTS = {  # file of the compiled component: main module, the libraries that it bundles whole, less their tests
    "plain.cwasm": ("r1kit.rewards.sandbox.guest.component", ()),
    "sympy.cwasm": ("r1kit.rewards.sandbox.guest.component_sympy", ("sympy", "mpmath")),
}
BUILD_SECONDS = 3600.0  # for componentize-py, which takes a quarter of a minute when nothing else runs
WIT = Path(__file__).parents[1] / "guest" / "world.wit"
ENGINE = Path(__file__).parent / "engine.py"
TOOLS = ("componentize-py", "wasmtime")
KEPT = 4  # builds in the cache, of this version and others; 180 MB each
SAFE_WASMTIME = (43, 0, 1)  # earlier ones let a guest out: CVE-2026-34971, CVE-2026-35195


def compiled() -> tuple[Path, str]:
    """The directory of the compiled components and the JSON of their SHA-256s, built now if the cache has none.

    UserError when that cannot be done.
    """
    versions = {name: _version(name) for name in (*TOOLS, *(lib for _, libs in GUESTS.values() for lib in libs))}
    if tuple(map(int, versions["wasmtime"].split("."))) < SAFE_WASMTIME:
        raise UserError(f"wasmtime {versions['wasmtime']} has known escapes; pip install 'wasmtime>=43.0.1'")
    sources = {file: _sources(module) for file, (module, _) in GUESTS.items()}
    parts = [
        platform.system(),
        platform.machine(),
        _processor(),
        versions,
        sources,
        WIT.read_text(),
        ENGINE.read_text(),
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    cache = _cache()
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / key).is_dir():
            _build(cache / key, sources)
    return cache / key, (cache / key / "sha256.json").read_text()


def _build(target: Path, sources: dict[str, dict[str, str]]) -> None:
    """Make the components beside `target`, then rename them there: they are complete or absent."""
    from wasmtime import component  # heavy, and not wanted in a process that finds the components built

    from r1kit.rewards.sandbox.wasm.engine import new_engine

    for abandoned in target.parent.glob(".build-*"):  # by a builder that was killed; this one has the lock
        shutil.rmtree(abandoned)
    print("building the sandbox, once: about a minute ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as name:
        made, digests = Path(name) / "made", {}
        made.mkdir(mode=0o700)
        for file, (module, libraries) in GUESTS.items():
            stage, wasm = Path(name) / f"stage-{file}", Path(name) / f"{file}.wasm"
            _stage(stage, sources[file], libraries)
            _componentize(stage, module, wasm)
            code = component.Component.from_file(new_engine(), wasm).serialize()
            digests[file] = hashlib.sha256(code).hexdigest()
            _write(made / file, code)
        _write(made / "sha256.json", json.dumps(digests).encode())
        made.rename(target)
    for old in sorted(target.parent.glob("[0-9a-f]*/"), key=os.path.getmtime)[:-KEPT]:
        shutil.rmtree(old)


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _stage(stage: Path, sources: dict[str, str], libraries: Sequence[str]) -> None:
    """A directory that holds all that a guest imports and nothing else. Its packages need no __init__."""
    for module, text in sources.items():
        path = stage / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for library in libraries:
        origin = Path(util.find_spec(library).origin).parent
        shutil.copytree(origin, stage / library, ignore=shutil.ignore_patterns("tests", "__pycache__", "*.so"))


def _componentize(stage: Path, module: str, output: Path) -> None:
    arguments = ["-d", WIT, "-w", "guest", "componentize", "--stub-wasi", "-p", stage, module, "-o", output]
    run = "import componentize_py; raise SystemExit(componentize_py.script())"
    # An empty environment: it would look for further packages along PATH and VIRTUAL_ENV.
    found = subprocess.run(
        [sys.executable, "-c", run, *map(str, arguments)],
        env={},
        cwd=stage,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if found.returncode or not output.is_file():
        raise UserError(
            f"componentize-py could not build the sandbox: {(found.stderr or found.stdout).strip()[-2000:]}"
        )


def _sources(guest: str) -> dict[str, str]:
    """The modules of this package that a guest imports, itself among them: name -> text."""
    found: dict[str, str] = {}
    wanted = [guest]
    while wanted:
        module = wanted.pop()
        path = ROOT / f"{module.replace('.', '/')}.py"
        if module in found or not module.startswith("r1kit.") or not path.is_file():
            continue
        found[module] = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(found[module])):
            if isinstance(node, ast.ImportFrom):
                wanted += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                wanted += [alias.name for alias in node.names]
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UserError(f"the wasm sandbox needs {package}: pip install {package}") from error


def _processor() -> str:
    """What the machine code is compiled for: a cache may be shared by unlike machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else [platform.processor()]
    return next((line for line in lines if line.startswith(("flags", "Features"))), lines[0])


def _cache() -> Path:
    """The directory of built components: ours alone, because what lies there is run as machine code."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "r1kit" / "wasm"
    cache.mkdir(parents=True, exist_ok=True)
    cache.chmod(0o700)
    if cache.stat().st_uid != os.getuid():
        raise UserError(f"{cache} belongs to another user; set XDG_CACHE_HOME to a directory of your own")
    return cache
