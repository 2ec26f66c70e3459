"""Our own lean model modules: one set for chat, training and evaluation. torch only, no transformers."""
