"""One edit of one clip: its request, its inversion, the editor, and what a run plans, checks and writes."""
