"""Optimal assignment of rows to columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf


def best_assignment(value: Sequence[Sequence[float]]) -> float:
    """Return the largest sum of entries with at most one in each row and column.

    Shortest augmenting paths (Jonker and Volgenant 1987), in time rows^2 x columns with rows <= columns.

    Args:
        value: A matrix of entries >= 0; it may be empty.
    """
    if not value or not value[0]:
        return 0.0
    if len(value) > len(value[0]):
        value = list(zip(*value, strict=True))
    width = len(value[0])
    row_of = [-1] * (width + 1)  # row that a column is assigned to; column `width` starts each search
    row_price, column_price = [0.0] * len(value), [0.0] * (width + 1)
    for row in range(len(value)):
        row_of[width] = row
        distance, came_from, visited = [inf] * width, [width] * width, [False] * (width + 1)
        column = width
        while row_of[column] != -1:
            visited[column] = True
            here = row_of[column]
            for j in range(width):
                cost = -value[here][j] - row_price[here] - column_price[j]
                if not visited[j] and cost < distance[j]:
                    distance[j], came_from[j] = cost, column
            nearest = min((j for j in range(width) if not visited[j]), key=distance.__getitem__)
            step = distance[nearest]
            for j in range(width + 1):
                if visited[j]:
                    row_price[row_of[j]] += step
                    column_price[j] -= step
                elif j < width:
                    distance[j] -= step
            column = nearest
        while column != width:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    return sum(value[row][column] for column, row in enumerate(row_of[:width]) if row != -1)
