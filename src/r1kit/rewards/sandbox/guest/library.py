"""The standard library as programs find it in a component: loaded, with a clock and a randomness of our own."""

from __future__ import annotations

import importlib

from r1kit.rewards.sandbox.guest import offline

STANDARD_LIBRARY = """abc argparse array ast asyncio base64 binascii bisect calendar cmath codecs collections.abc
colorsys concurrent.futures contextlib contextvars copy csv dataclasses datetime decimal difflib dis enum errno
fnmatch fractions functools gc getopt glob graphlib hashlib heapq hmac html inspect io ipaddress itertools keyword
linecache locale logging math numbers operator pathlib pickle platform pprint queue random re reprlib secrets shlex
signal socket statistics string struct subprocess tempfile textwrap threading timeit token tokenize traceback types
typing unicodedata unittest urllib.parse uuid warnings weakref zlib _strptime encodings.ascii encodings.base64_codec
encodings.cp1252 encodings.hex_codec encodings.idna encodings.latin_1 encodings.raw_unicode_escape encodings.rot_13
encodings.unicode_escape encodings.utf_16 encodings.utf_32"""

offline.virtual_time()
for name in STANDARD_LIBRARY.split():
    importlib.import_module(name)
offline.seeded_randomness()
