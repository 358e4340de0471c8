"""`python -m r1kit` is the command `r1kit`."""

from __future__ import annotations

from r1kit.cli import main

if __name__ == "__main__":
    main()
