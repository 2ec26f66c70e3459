"""LLaVA: load a model, chat about pictures. Importing this imports no torch.

>>> import llava_engine
>>> engine = llava_engine.load()
>>> chat = engine.chat()
>>> for piece in chat.send("What is in this picture?", pictures=["cat.jpg"]): print(piece, end="")
"""
