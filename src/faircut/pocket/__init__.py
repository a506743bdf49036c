"""The pocket model: a drawn world whose every fact is known, and a small Stable Diffusion trained on it."""
