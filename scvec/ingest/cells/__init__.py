"""Files of cells: checked batches of one matrix, and the names beside it."""
