"""Attention, written once: a processor with stages, and the controllers' place to attach to it."""
