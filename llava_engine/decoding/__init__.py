"""Prompts in, tokens out: the key/value cache, sampling, and the loop from prefill to the last token."""
