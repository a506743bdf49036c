"""Attention with stages at which controllers act, and the interface of controllers."""
