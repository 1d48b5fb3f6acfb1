"""What can be set: the models, and loading them from defaults, a YAML file, the environment and ``--set``."""

from streamproc.settings.load import LoadedSettings, load_settings
from streamproc.settings.model import (
    LEAST_SIGMA,
    MOST_CELLS,
    CoverSettings,
    DetectSettings,
    EffectSettings,
    EncodeSettings,
    IngestSettings,
    LimitSettings,
    LookaheadSettings,
    PlaylistSettings,
    SegmentSettings,
    Settings,
    StateSettings,
    json_schema,
)

__all__ = [
    "LEAST_SIGMA",
    "MOST_CELLS",
    "CoverSettings",
    "DetectSettings",
    "EffectSettings",
    "EncodeSettings",
    "IngestSettings",
    "LimitSettings",
    "LoadedSettings",
    "LookaheadSettings",
    "PlaylistSettings",
    "SegmentSettings",
    "Settings",
    "StateSettings",
    "json_schema",
    "load_settings",
]
