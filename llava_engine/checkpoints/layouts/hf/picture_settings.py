"""`Preprocessing` -> the preprocessor_config.json that says the same to transformers, and to us. Knows no files."""

from __future__ import annotations

from typing import Any

from llava_engine.pictures.processing import Preprocessing

_PROCESSORS = {"anyres": "LlavaNextImageProcessor", "pad": "LlavaImageProcessor"}


def picture_settings(preprocessing: Preprocessing) -> dict[str, Any]:
    """The file's content; its keys state all there is, since a reader's defaults differ (that of 1.5 does not pad)."""
    height, width = preprocessing.size
    stretched = preprocessing.mode == "stretch"
    settings: dict[str, Any] = {
        "image_processor_type": _PROCESSORS.get(preprocessing.mode, "CLIPImageProcessor"),
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"height": height, "width": width} if stretched else {"shortest_edge": preprocessing.resize_to},
        "resample": preprocessing.resample,
        "do_center_crop": not stretched,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": preprocessing.rescale,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "do_pad": preprocessing.mode in ("pad", "anyres"),  # with tiles it fills up a batch, and is expected
    }
    if preprocessing.pinpoints:
        settings["image_grid_pinpoints"] = [list(pair) for pair in preprocessing.pinpoints]
    return settings
