"""Loads the standard library of a wasm component, with a virtual clock and seeded randomness."""

from __future__ import annotations

import contextlib
import encodings
import importlib
import pkgutil

from r1kit.rewards.sandbox.guest import offline

STANDARD_LIBRARY = """abc argparse array ast asyncio base64 binascii bisect calendar cmath codecs collections.abc
colorsys concurrent.futures contextlib contextvars copy csv dataclasses datetime decimal difflib dis enum errno
fnmatch fractions functools gc getopt glob graphlib hashlib heapq hmac html inspect io ipaddress itertools keyword
linecache locale logging math numbers operator pathlib pickle platform pprint queue random re reprlib secrets shlex
signal socket statistics string struct subprocess tempfile textwrap threading timeit token tokenize traceback types
typing unicodedata unittest urllib.parse uuid warnings weakref zlib _strptime _pylong"""

offline.install_virtual_time()
for name in STANDARD_LIBRARY.split():
    importlib.import_module(name)
for module in pkgutil.iter_modules(encodings.__path__, "encodings."):
    with contextlib.suppress(ImportError):  # some encodings exist on other systems only
        importlib.import_module(module.name)
offline.seed_randomness()
