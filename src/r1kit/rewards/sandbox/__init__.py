"""Where untrusted programs run: the strongest tier that works on this machine, found by attacking each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from r1kit.errors import UserError

if TYPE_CHECKING:
    from r1kit.rewards.sandbox.base import Sandbox

NATIVE = ("namespaces", "landlock")
TIERS = ("wasm", *NATIVE)  # strongest first


def open_sandbox(tier: str = "auto", among: Sequence[str] = TIERS) -> Sandbox:
    """The named tier, or the first that contains every canary attack. UserError, with the reasons, when none does.

    `none` is no sandbox: whoever names it lets every program do what this user can do.
    """
    if tier == "none":
        from r1kit.rewards.sandbox.none import PlainSandbox

        return PlainSandbox()
    if tier not in ("auto", *TIERS):
        raise UserError(f"sandbox {tier!r}: use auto, {', '.join(TIERS)}, or none (no protection at all)")
    faults = []
    for name in among if tier == "auto" else (tier,):
        sandbox, why = _try(name)
        if sandbox is not None:
            return sandbox
        faults.append(f"  {name}: {why}")
    raise UserError(
        "no sandbox works here, so no program is run:\n" + "\n".join(faults) + "\nThe wasm tier needs `pip install "
        "wasmtime componentize-py` and nothing of the system; namespaces need a kernel and a container that grant user "
        'namespaces; landlock needs Linux 6.2. A recipe that trusts its programs says sandbox = "none"'
    )


def survey() -> list[tuple[str, bool, str]]:
    """Each tier, whether it works here, and why (not)."""
    found = []
    for name in TIERS:
        sandbox, why = _try(name)
        found.append((name, sandbox is not None, why))
        if sandbox is not None:
            sandbox.close()
    return found


def _try(name: str) -> tuple[Sandbox | None, str]:
    """An open sandbox of that tier that contained the canaries and what it is made of; or None and what failed."""
    from r1kit.rewards.sandbox import canaries, native
    from r1kit.rewards.sandbox.channel import Broken
    from r1kit.rewards.sandbox.wasm.tier import WasmSandbox

    kinds = {"wasm": WasmSandbox, "namespaces": native.NamespaceSandbox, "landlock": native.LandlockSandbox}
    try:
        with canaries.planted() as host:
            sandbox = kinds[name]()
            if escaped := canaries.escapes(sandbox, host):
                sandbox.close()
                return None, f"did not contain: {'; '.join(escaped)}"
    except (UserError, Broken, OSError, ImportError) as error:
        return None, f"{error}"
    layers = getattr(sandbox, "layers", None)
    extra = "" if layers is None else f"; its host process is under {' and '.join(layers) or 'no further confinement'}"
    return sandbox, f"contained {len(canaries.ATTACKS)} attacks{extra}"
