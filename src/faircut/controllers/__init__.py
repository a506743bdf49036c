"""The controllers that methods attach to attention."""
