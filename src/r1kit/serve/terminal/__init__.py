"""`r1kit chat`: a conversation in a terminal, with a model that is loaded here or served elsewhere."""
