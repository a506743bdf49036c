"""The benchmark of edits: how well methods edit, over a list of clips and prompts."""
