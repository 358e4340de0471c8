"""`python -m r1kit` runs the command line. Signals are handled from here on, before its imports."""

from __future__ import annotations

from r1kit.interrupt import exit_interrupted, signal_handlers


def main() -> None:
    """Import and run the command line. ^C and SIGTERM end it with exit code 130 and without a traceback."""
    try:
        with signal_handlers():
            from r1kit import cli

            cli.main()
    except KeyboardInterrupt:
        exit_interrupted()


if __name__ == "__main__":
    main()
