"""The network side: checkpoints, loading, fingerprints, text, latents, the noise path and the attention layers."""
