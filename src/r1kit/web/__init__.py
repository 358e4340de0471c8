"""What every page and API that r1kit serves shares: who may connect, what is refused, how a server starts and stops."""
