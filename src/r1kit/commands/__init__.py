"""The commands, one module each: `GROUP/NAME.py` has the function `command`; its docstring is the help of `r1kit NAME`.

Modules are found by their names. `r1kit --help` imports all, so they import inside `command` what takes time: pydantic,
torch and the packages of r1kit that need them.
"""
