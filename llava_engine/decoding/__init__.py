"""Prompts in, tokens out: rows that share one model, their keys and values, sampling, and the text of their answers."""
