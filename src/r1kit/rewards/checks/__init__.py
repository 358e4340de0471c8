"""Verifiers that compare by rule, one file each, and the format reward."""
