"""Editing methods, each a frozen dataclass of options that turns a task into controllers, and their registry."""

from faircut.methods.base import EditTask, Method, get_method, method_names
from faircut.methods.fame import Fame, Person
from faircut.methods.fatezero import FateZero

__all__ = ["EditTask", "Fame", "FateZero", "Method", "Person", "get_method", "method_names"]
