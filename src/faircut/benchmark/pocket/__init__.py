"""The figures of the pocket model, each beside its target."""
