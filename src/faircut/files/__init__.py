"""Write results completely or not at all, and never over files that faircut did not make."""

from faircut.files.atomic import (
    HeldFolder,
    all_or_nothing,
    atomic_path,
    clear_partials,
    name_in_errors,
    remove,
    replace_all,
    save_picture,
    temporary_name,
    workspace,
    write_json,
    write_text,
)
from faircut.files.marks import GENERATOR, MARK, foreign_files, json_text, list_files, made_by_faircut, signature
from faircut.files.outputs import Output, check_name, check_outputs, folder_outputs

__all__ = [
    "GENERATOR",
    "MARK",
    "HeldFolder",
    "Output",
    "all_or_nothing",
    "atomic_path",
    "check_name",
    "check_outputs",
    "clear_partials",
    "folder_outputs",
    "foreign_files",
    "json_text",
    "list_files",
    "made_by_faircut",
    "name_in_errors",
    "remove",
    "replace_all",
    "save_picture",
    "signature",
    "temporary_name",
    "workspace",
    "write_json",
    "write_text",
]
