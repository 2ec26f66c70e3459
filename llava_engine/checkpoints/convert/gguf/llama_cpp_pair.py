"""A pair of GGUF files in llama.cpp, through llama-cpp-python: its ids of a prompt, its likeliest tokens, its features.

In: paths and plain values. Out: ids and arrays. Knows no checkpoint and judges nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from ctypes import POINTER, byref, c_uint8
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from llava_engine.checkpoints.convert.gguf.quantizing import llama_cpp, silent
from llava_engine.errors import ModelError

Floats = np.ndarray[Any, np.dtype[np.float32]]


class LlamaCppPair:
    """Both files loaded, on the CPU. Use it in a `with` block.

    Raises:
        ModelError: llama.cpp does not take one of them.
    """

    def __init__(self, language: Path, mmproj: Path, *, context: int) -> None:
        """Load them, for prompts of so many tokens with their answers."""
        self._library, self._mtmd = llama_cpp(), importlib.import_module("llama_cpp.mtmd_cpp")
        self._mtmd.mtmd_log_set(silent(), None)
        try:
            self._model = self._library.Llama(str(language), n_ctx=context, n_gpu_layers=0, verbose=False)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"llama.cpp does not take {language}: {error}.") from None
        parameters = self._mtmd.mtmd_context_params_default()
        parameters.use_gpu = parameters.print_timings = parameters.warmup = False
        self._eyes = self._mtmd.mtmd_init_from_file(str(mmproj).encode(), self._model.model, parameters)
        if self._eyes is None:
            self._model.close()
            raise ModelError(f"llama.cpp does not take {mmproj}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mtmd.mtmd_free(self._eyes)
        self._model.close()

    def ids(self, prompt: str) -> list[int]:
        """A prompt as its chat template wrote it -> token ids, the begin token too."""
        ids: list[int] = self._model.tokenize(prompt.encode(), add_bos=True, special=True)
        return ids

    def greedy(self, ids: Sequence[int], count: int) -> list[int]:
        """The likeliest token after a prompt, and after that one, and so on; nothing ends it."""
        self._model.reset()
        said, following = [], list(ids)
        for _ in range(count):
            self._model.eval(following)
            logits = self._library.llama_get_logits_ith(self._model.ctx, -1)
            said.append(int(np.argmax(np.ctypeslib.as_array(logits, (self._model.n_vocab(),)))))
            following = said[-1:]
        return said

    def features(self, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> Floats:
        """What stands in a prompt for a picture.

        Args:
            picture: (height, width, 3), red first.

        Returns:
            (tokens, hidden size).
        """
        height, width, _ = picture.shape
        data = np.ascontiguousarray(picture)
        mtmd = self._mtmd
        bitmap = mtmd.mtmd_bitmap_init(width, height, data.ctypes.data_as(POINTER(c_uint8)))
        chunks = mtmd.mtmd_input_chunks_init()
        try:
            marker = mtmd.mtmd_default_marker()
            text = mtmd.mtmd_input_text(marker, len(marker), False, True)
            bitmaps = (mtmd.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if mtmd.mtmd_tokenize(self._eyes, chunks, byref(text), bitmaps, 1):
                raise ModelError("llama.cpp does not take a picture with this pair.")
            parts = []
            for place in range(mtmd.mtmd_input_chunks_size(chunks)):
                chunk = mtmd.mtmd_input_chunks_get(chunks, place)
                if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
                    continue
                if mtmd.mtmd_encode_chunk(self._eyes, chunk):
                    raise ModelError("llama.cpp does not encode a picture with this pair.")
                shape = mtmd.mtmd_input_chunk_get_n_tokens(chunk), self._model.n_embd()
                numbers = mtmd.mtmd_get_output_embd(self._eyes)
                parts.append(np.ctypeslib.as_array(numbers, shape).copy())
            return np.concatenate(parts)
        finally:
            mtmd.mtmd_input_chunks_free(chunks)
            mtmd.mtmd_bitmap_free(bitmap)
