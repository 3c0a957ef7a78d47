"""Results of suites as one page: rows are models, columns are tasks, controls are lines that a model has to cross."""

from scvec.bench.board.page import write_board
from scvec.bench.board.reading import read_boards
from scvec.bench.board.values import Board, BoardRow, BoardTable, Cell, Column

__all__ = ["Board", "BoardRow", "BoardTable", "Cell", "Column", "read_boards", "write_board"]
