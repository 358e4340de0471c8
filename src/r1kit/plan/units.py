"""Counts and sizes as text."""

from __future__ import annotations


def size(number: int) -> str:
    """Return a count as text with a decimal unit: 1.54B, 860K, ..."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= scale:
            if number >= 1000 * scale:
                return f"{(number + scale // 2) // scale:,}{unit}"  # in integers, which do not overflow
            return f"{number / scale:.3g}{unit}"
    return str(number)


def show_bytes(number: int) -> str:
    """Return a number of bytes as text with a decimal unit: 2.1 GB, 30.4 MB."""
    if number >= 10**15:
        return f"{number // 10**12:,} TB"  # in integers, which do not overflow
    if number >= 1e12:
        return f"{number / 1e12:,.1f} TB"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
