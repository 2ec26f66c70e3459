"""The parts of second_set.py, which makes a second conformance set out of the first."""
