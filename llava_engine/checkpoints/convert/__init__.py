"""A checkpoint in another form: a folder in another layout (folder.py), or llama.cpp's files (gguf/)."""

from llava_engine.checkpoints.convert.folder import Converted, Target, convert

__all__ = ["Converted", "Target", "convert"]
