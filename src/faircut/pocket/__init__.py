"""The pocket model: a drawn world with complete ground truth, and a small Stable Diffusion trained on it."""
