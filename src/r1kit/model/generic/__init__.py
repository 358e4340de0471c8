"""Causal language models of any architecture, computed by transformers."""
