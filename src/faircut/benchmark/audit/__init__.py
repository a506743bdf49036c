"""The audit: how fair edits of people are, for all pairs of methods and policies over clips of people."""
