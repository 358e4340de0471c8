"""Mathematics: a final answer that is compared as a value."""
