"""The paper's claims as files: which runs a claim needs, what is measured in them, and when it counts as confirmed."""
