"""Tokenized records on disk, so that a resumed stage does not tokenize them again.

Shapes: N documents, R records, T tokens of all documents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from r1kit.data.pack import Document


@dataclass(frozen=True, slots=True)
class TokenizedRecords:
    """The documents of records, and one key and one label per record. All records have as many documents."""

    documents: Sequence[Document]
    keys: Sequence[str]
    labels: Sequence[bool]


def save_tokens(path: Path, fingerprint: str, records: TokenizedRecords) -> None:
    """Write records atomically. `fingerprint` identifies what they were made from."""
    text = json.dumps({"fingerprint": fingerprint, "keys": list(records.keys)}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        np.savez(
            file,
            text=np.frombuffer(text, dtype=np.uint8),
            tokens_T=np.concatenate([document.tokens for document in records.documents]),
            lengths_N=np.array([len(document) for document in records.documents]),
            prompt_lengths_N=np.array([document.prompt_length for document in records.documents]),
            read_T=np.concatenate([_read(document) for document in records.documents]),
            labels_R=np.array(records.labels, dtype=np.bool_),
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(document: Document) -> npt.NDArray[np.bool_]:
    return np.zeros(len(document), dtype=np.bool_) if document.read is None else document.read


def load_tokens(path: Path, fingerprint: str) -> TokenizedRecords | None:
    """Return the records that `save_tokens` wrote; None if there are none, or they were made from something else."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["text"].tobytes())
        if header["fingerprint"] != fingerprint or "read_T" not in file:
            return None
        bounds = np.cumsum(file["lengths_N"])[:-1]
        tokens, read = np.split(file["tokens_T"], bounds), np.split(file["read_T"], bounds)
        read_N = [each if each.any() else None for each in read]
        documents = [Document(*each) for each in zip(tokens, file["prompt_lengths_N"].tolist(), read_N, strict=True)]
        return TokenizedRecords(documents, header["keys"], file["labels_R"].tolist())
