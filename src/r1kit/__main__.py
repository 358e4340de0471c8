"""`python -m r1kit` runs the command line."""

from __future__ import annotations

from r1kit.cli import main

if __name__ == "__main__":
    main()
