"""What the original's code computes, defects and all, to compare with: no other room of the engine knows this one."""
