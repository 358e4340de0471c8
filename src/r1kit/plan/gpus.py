"""GPUs and clusters by name: memory, speed and price, with their sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from r1kit.errors import UserError
from r1kit.synonyms import nearest

NODE = 8  # GPUs of a node where only a total is given, as in NVIDIA's HGX and DGX systems
NETWORK = 50e9  # bytes per second and GPU between nodes: one 400 Gbit/s adapter a GPU (DGX H100 data sheet)
PATTERN = re.compile(r"(?:(\d+)x)?(\d+)x([A-Za-z]\w*)", re.ASCII)
MOST_GPUS = 1_000_000


@dataclass(frozen=True, slots=True)
class GPU:
    """What one GPU can do at most."""

    name: str
    memory: float
    """Bytes."""
    bandwidth: float
    """Bytes per second that its memory delivers."""
    flops: float
    """bfloat16 operations per second of its matrix units, dense, with sums in fp32."""
    link: float
    """Bytes per second in each direction to the other GPUs of its node."""
    price: float
    """US dollars an hour, as is usual on demand. Clouds differ by a factor of three: use your own."""


# NVIDIA's data sheets; they print bfloat16 rates with sparsity, which is twice the dense rate, and links as the sum of
# both directions. H800: an H100 with a 400 GB/s link (DeepSeek-V3 report, section 3.1); its price is the paper's
# (Table 7). The other prices are the middle of what clouds that rent GPUs alone list in 2026 (mercatus-ai.com,
# pricegpu.pages.dev: H100 2.50 to 3.99, A100 1.10 to 2.49, H200 3.50 to 4.50).
_ROWS = (
    GPU("A100", 80e9, 2.039e12, 312e12, 300e9, 1.5),
    GPU("L40S", 48e9, 0.864e12, 362e12, 32e9, 1.0),
    GPU("H100", 80e9, 3.35e12, 989e12, 450e9, 3.0),
    GPU("H800", 80e9, 3.35e12, 989e12, 200e9, 2.0),
    GPU("H200", 141e9, 4.8e12, 989e12, 450e9, 4.0),
    GPU("B200", 180e9, 8e12, 2250e12, 900e9, 5.0),
)
GPUS: Mapping[str, GPU] = {gpu.name: gpu for gpu in _ROWS}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Equal nodes of equal GPUs."""

    nodes: int
    per_node: int
    gpu: GPU

    @property
    def count(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.per_node

    @property
    def link(self) -> float:
        """Bytes per second and GPU, in each direction, of the slowest part of a ring through all GPUs."""
        return self.gpu.link if self.nodes == 1 else min(self.gpu.link, NETWORK)

    def halves(self) -> tuple[Cluster, Cluster]:
        """Return two clusters of half the GPUs each, one of them larger if the number is odd; both are one GPU."""
        if self.count == 1:
            return self, self
        return Cluster.of(self.count // 2, self.gpu), Cluster.of(self.count - self.count // 2, self.gpu)

    def __str__(self) -> str:
        return f"{f'{self.nodes}x' if self.nodes > 1 else ''}{self.per_node}x{self.gpu.name}"

    @classmethod
    def of(cls, count: int, gpu: GPU) -> Cluster:
        """Return so many GPUs: one node, or nodes of eight."""
        return cls(1, count, gpu) if count <= NODE else cls(-(-count // NODE), NODE, gpu)

    @classmethod
    def parse(cls, text: str) -> Cluster:
        """Read `8xH100`, `64x8xH800` (nodes of eight) or `512xH800` (a total).

        Raises:
            UserError: The text has another form, names no known GPU, or a total does not fill nodes of eight.
        """
        match = PATTERN.fullmatch(text)
        if match is None:
            raise UserError(f"--gpus {text}: must be GPUSxNAME or NODESxGPUSxNAME, such as 8xH100 or 64x8xH800")
        nodes, count, name = match[1], int(match[2]), match[3].upper()
        if name not in GPUS:
            close = nearest(name, GPUS)
            meant = f" (did you mean {close}?)" if close else ""
            raise UserError(f"--gpus {text}: the GPU must be one of {', '.join(GPUS)}{meant}")
        total = count * int(nodes or 1)
        if not 0 < total <= MOST_GPUS:
            raise UserError(f"--gpus {text}: must be 1 to {MOST_GPUS:,} GPUs")
        if nodes is not None:
            return cls(int(nodes), count, GPUS[name])
        if count > NODE and count % NODE:
            raise UserError(
                f"--gpus {text}: more than {NODE} GPUs must fill nodes of {NODE}; for other nodes give "
                f"NODESxGPUSxNAME, such as 2x{count // 2}x{name}"
            )
        return cls.of(count, GPUS[name])
