"""The figures of the pocket model and their targets."""
