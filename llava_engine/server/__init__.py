"""An OpenAI-compatible API over any engine: `serving.serve` runs it. Knows engines by their contract, no model."""
