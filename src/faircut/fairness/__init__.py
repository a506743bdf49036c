"""Fairness: attributes of people and their values, debiased prompts, and policies for the value of each edit."""

from faircut.fairness.attributes import ATTRIBUTES, GENDER, HAIR, Attribute, Value, get_attribute
from faircut.fairness.targets import Policy, allocate, choose_value

__all__ = [
    "ATTRIBUTES",
    "GENDER",
    "HAIR",
    "Attribute",
    "Policy",
    "Value",
    "allocate",
    "choose_value",
    "get_attribute",
]
