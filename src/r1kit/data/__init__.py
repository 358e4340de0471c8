"""Problems, prompts, records and tokenizers, and the worlds that generate them."""
