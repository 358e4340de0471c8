"""The components of the wasm tier: how they are built, and the process that runs them."""
