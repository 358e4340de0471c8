"""Knowledge: mostly multiple choice."""
