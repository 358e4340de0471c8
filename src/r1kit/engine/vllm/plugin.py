"""A weight transfer backend of vLLM servers: safetensors files in a directory that trainer and server share.

vLLM finds `register` through the entry point `vllm.general_plugins` of this package. A server uses the backend with
`--weight-transfer-config '{"backend": "r1kit"}'`. vLLM's own backends need CUDA; this one works on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

BACKEND = "r1kit"
TRANSFER = "vllm.distributed.weight_transfer"


def register() -> None:
    """Register the backend. vLLM calls this in each of its processes."""
    factory = import_module(f"{TRANSFER}.factory").WeightTransferEngineFactory
    if BACKEND not in factory._registry:  # vLLM may load its plugins twice
        factory.register_engine(BACKEND, _file_transfer())


@dataclass
class UpdateInfo:
    """An update: files, and the names of all weights in them."""

    directory: str
    names: Sequence[str]


def _file_transfer() -> Any:
    """Return the class that receives weights. Its base is a class of vLLM."""
    base: Any = import_module(f"{TRANSFER}.base")
    from r1kit.engine.vllm import loading
    from r1kit.engine.vllm.errors import PushError, check_loaded, check_names, named

    @dataclass
    class Init(base.WeightTransferInitInfo):  # type: ignore[misc]
        pass

    @dataclass
    class Update(UpdateInfo, base.WeightTransferUpdateInfo):  # type: ignore[misc]
        pass

    class FileTransfer(base.WeightTransferEngine):  # type: ignore[misc]
        init_info_cls, update_info_cls = Init, Update

        def init_transfer_engine(self, init_info: Init) -> None:
            """Files need no connection."""

        def start_weight_update(self) -> None:
            loading.begin(self.model)

        def update_weights(self, update_info: dict[str, Any]) -> None:
            """Load all weights. An update that is not complete is an error."""
            try:
                self.receive_weights(self.parse_update_info(update_info))
            except PushError as error:
                raise named(error) from error

        def receive_weights(self, update_info: Update) -> None:
            files = sorted(Path(update_info.directory).glob("*.safetensors"))
            sent: list[str] = []
            missing = loading.load(self.model, _tensors(files, sent))
            check_names(sent, update_info.names, update_info.directory)
            check_loaded(missing, update_info.directory)

        def finish_weight_update(self) -> None:
            loading.finish(self.model, self.model_config)

        def shutdown(self) -> None:
            """Nothing is held."""

    return FileTransfer


def _tensors(files: Sequence[Path], sent: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of safetensors files, and note their names."""
    for file in files:
        with import_module("safetensors").safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                sent.append(name)
                yield name, tensors.get_tensor(name)
