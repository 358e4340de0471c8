"""Language models as judges: the endpoint client, the accuracy verifier and prompts for curation."""
