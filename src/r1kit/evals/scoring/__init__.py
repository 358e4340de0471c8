"""Score recorded outputs without a model, by the rules of each benchmark's own scorer (`r1kit score`)."""
