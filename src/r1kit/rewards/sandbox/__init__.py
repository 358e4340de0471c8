"""The sandbox for untrusted programs: opens the strongest tier that contains every canary attack on this machine.

A tier is a file: `tiers/NAME.py` has a function `open_tier`, and NAME stands in `r1kit.types.SandboxTier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, get_args

from r1kit.errors import UserError
from r1kit.types import SandboxTier

if TYPE_CHECKING:
    from r1kit.rewards.sandbox.base import Sandbox

TIERS = tuple(str(name) for name in get_args(SandboxTier) if name != "none")  # strongest first
NATIVE = tuple(name for name in TIERS if name != "wasm")  # tiers that run this machine's own Python
NOT_BUILT = "it is built at its first use, or now with `r1kit doctor --prepare`"


def open_sandbox(tier: str = "auto", among: Sequence[str] = TIERS) -> Sandbox:
    """Open the named tier, or with "auto" the first of `among` that contains every canary attack.

    The tier "none" is opened without a test: its programs can do whatever this user can do.

    Raises:
        UserError: no tier works here, or there is no such tier. The message gives the reason for each tier.
    """
    require_name(tier)
    if tier == "none":
        return _open(tier)
    reasons = []
    for name in among if tier == "auto" else (tier,):
        sandbox, reason = _open_and_test(name)
        if sandbox is not None:
            return sandbox
        reasons.append(f"  {name}: {reason}")
    nothing = "no sandbox works here" if tier == "auto" else f"the sandbox tier {tier} does not work here"
    raise UserError(
        f"{nothing}, so no program is run:\n" + "\n".join(reasons) + "\nThe wasm tier needs `pip install "
        "wasmtime componentize-py` and nothing of the system; namespaces need a kernel and a container that grant user "
        'namespaces; landlock needs Linux 6.2. A recipe that trusts its programs says sandbox = "none"'
    )


def require_name(tier: str) -> None:
    """Raise UserError if there is no such tier."""
    if tier not in ("auto", "none", *TIERS):
        raise UserError(f"sandbox {tier!r}: use auto, {', '.join(TIERS)}, or none (no protection at all)")


def require_sandbox(tier: str = "auto", among: Sequence[str] = TIERS) -> None:
    """Raise UserError where `open_sandbox` would. Builds nothing: a component that can be built counts as working."""
    candidates = among if tier == "auto" else (tier,)
    if not ("wasm" in candidates and _is_unbuilt()):
        open_sandbox(tier, among).close()


def survey(build: bool = False) -> list[tuple[str, bool | None, str]]:
    """Test every tier: (name, whether it works on this machine, why or why not), strongest first.

    None in place of whether it works: the component of the wasm tier is not built yet, and `build` is False.
    """
    rows: list[tuple[str, bool | None, str]] = []
    for name in TIERS:
        if name == "wasm" and not build and _is_unbuilt():
            rows.append((name, None, NOT_BUILT))
            continue
        sandbox, reason = _open_and_test(name)
        rows.append((name, sandbox is not None, reason))
        if sandbox is not None:
            sandbox.close()
    return rows


def _is_unbuilt() -> bool:
    from r1kit.rewards.sandbox.wasm.build import is_built

    try:
        return not is_built()
    except (UserError, OSError):  # it cannot be built: opening the tier gives the reason
        return False


def _open(name: str) -> Sandbox:
    sandbox: Sandbox = import_module(f"r1kit.rewards.sandbox.tiers.{name}").open_tier()
    return sandbox


def _open_and_test(name: str) -> tuple[Sandbox | None, str]:
    """Return (sandbox, description) if the tier contains the canary attacks, or else (None, reason)."""
    from r1kit.rewards.sandbox import canaries
    from r1kit.rewards.sandbox.base import InfraError

    try:
        with canaries.planted() as host:
            sandbox = _open(name)
            if escaped := canaries.escapes(sandbox, host):
                sandbox.close()
                return None, f"did not contain: {'; '.join(escaped)}"
    except (UserError, InfraError, OSError, ImportError) as error:
        return None, f"{error}"
    return sandbox, f"contained {len(canaries.ATTACKS)} attacks{sandbox.note}"
