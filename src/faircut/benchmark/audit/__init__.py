"""The audit: how fair edits of people are, methods x policies over clips of people."""
