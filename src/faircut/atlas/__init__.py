"""Layered atlases: a clip as two pictures that can be edited like any other, and are mapped back to all frames."""

from faircut.atlas.atlas import LAYERS, Atlas
from faircut.atlas.edit import AtlasEdit, edit_atlas
from faircut.atlas.fit import fit_atlas
from faircut.atlas.settings import AtlasSettings

__all__ = ["LAYERS", "Atlas", "AtlasEdit", "AtlasSettings", "edit_atlas", "fit_atlas"]
