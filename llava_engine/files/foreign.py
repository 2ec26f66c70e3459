"""Weights in a form that we do not read, named for what they are: by a folder's file names, by a file's first bytes.

So that nobody is told that a copy is not whole who has a whole one of another kind. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from llava_engine.errors import ModelError

_AS_SAFETENSORS = "Take the model in Hugging Face form: config.json and safetensors files."
_TO_LLAMA_CPP = "llama.cpp runs it: llama-server, then --engine URL. Here take config.json and safetensors files."
_UNFINISHED = "Let the download end, or begin it again."

_MOST_NAMED = 3  # files in an error

# Forms of weights that are not read: what a file of it is called, what to say, and what to do.
_FOREIGN = (
    ("*.gguf", "GGUF is not read: {folder} holds {files}.", _TO_LLAMA_CPP),
    ("ggml-*.bin", "GGML is not read: {folder} holds {files}.", _AS_SAFETENSORS),
    (
        "consolidated*.pth",
        "{folder} is in Meta's own layout ({files}).",
        "Convert it to Hugging Face form first, with convert_llama_weights_to_hf.py of transformers.",
    ),
    ("consolidated*.safetensors", "{folder} is in Mistral's own layout ({files}).", _AS_SAFETENSORS),
    ("adapter_model.*", "{folder} is an adapter over another model ({files}), not a whole one.", "Give a whole model."),
    ("mm_projector.*", "{folder} is a projector alone ({files}), not a whole model.", "Give a whole model."),
    (
        "zero_to_fp32.py",
        "{folder} is a training state of DeepSpeed.",
        "Run its zero_to_fp32.py, which writes pytorch_model.bin.",
    ),
    ("*.h5", "{folder} holds weights of TensorFlow ({files}), which are not read.", _AS_SAFETENSORS),
    ("*.msgpack", "{folder} holds weights of Flax ({files}), which are not read.", _AS_SAFETENSORS),
    ("*.onnx", "{folder} holds a model for ONNX ({files}), which is not read.", _AS_SAFETENSORS),
    ("*.npz", "{folder} holds weights of NumPy or MLX ({files}), which are not read.", _AS_SAFETENSORS),
    ("*.incomplete", "{folder} is a download that has not ended ({files}).", _UNFINISHED),
    ("*.part", "{folder} is a download that has not ended ({files}).", _UNFINISHED),
    ("*.aria2", "{folder} is a download that has not ended ({files}).", _UNFINISHED),
)
_OURS = ("model*.safetensors", "pytorch_model*.bin")

# First bytes of forms whose files are given by themselves, or under names of ours.
_FIRST_BYTES = (
    (b"GGUF", "GGUF is not read: {file}.", _TO_LLAMA_CPP),
    (b"lmgg", "GGML is not read: {file}.", _AS_SAFETENSORS),
    (b"tjgg", "GGML is not read: {file}.", _AS_SAFETENSORS),
    (b"\x89HDF", "{file} holds weights of TensorFlow, which are not read.", _AS_SAFETENSORS),
)


def refuse_foreign_file(file: Path) -> None:
    """Refuse a file whose first bytes are those of a form that is not read; raises `ModelError`, OSError."""
    with file.open("rb") as opened:
        start = opened.read(8)
    for sign, cause, remedy in _FIRST_BYTES:
        if start.startswith(sign):
            raise ModelError(cause.format(file=file), remedy)


def foreign_weights(folder: Path) -> ModelError | None:
    """The error that names a folder's weights of a form that is not read; None when it holds none, or some of ours too.

    Raises:
        OSError: the folder can not be looked at.
    """
    if any(file.is_file() for pattern in _OURS for file in folder.glob(pattern)):
        return None  # what is wrong with it is something else
    for pattern, cause, remedy in _FOREIGN:
        if found := sorted(file.name for file in folder.glob(pattern)):
            return ModelError(cause.format(folder=folder, files=named(found)), remedy)
    return None


def named(files: list[str]) -> str:
    """Some files for a sentence: the first few, and how many more."""
    more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
    return ", ".join(files[:_MOST_NAMED]) + more
