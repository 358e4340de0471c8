"""Check final answers in mathematics; see `check`. Empty of imports: the sandbox imports `sympy_guest` from here."""
