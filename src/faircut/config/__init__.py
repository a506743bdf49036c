"""Settings as values, and the strict reading of files, numbers and texts that come from outside."""
