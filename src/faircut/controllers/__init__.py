"""Controllers: what methods attach to attention."""
