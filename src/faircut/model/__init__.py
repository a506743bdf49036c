"""All that knows a network: loading and identifying checkpoints, text, latents, the noise path, attention layers."""
