# ruff: noqa: E401, F401, F403, F405, I001, UP029
"""The names that LeetCode's judge gives every program: the standard library's useful ones, linked lists and trees.

A program with a `class Solution` starts with `from r1kit.rewards.sandbox.guest.leetcode import *`, so every public name
here is a name in that program.
"""

import collections, contextlib, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, sys
from bisect import *
from collections import *
from functools import *
from heapq import *
from itertools import *
from operator import *
from math import *
from string import *
from typing import *
from builtins import abs, pow  # math.pow has no modulus
from importlib import import_module as _import_module

with contextlib.suppress(ImportError):
    _sorted = _import_module("sortedcontainers")  # optional, and without type stubs
    SortedDict, SortedList, SortedSet = _sorted.SortedDict, _sorted.SortedList, _sorted.SortedSet


class ListNode:
    """A node of a singly linked list."""

    def __init__(self, val: Any = 0, next: "ListNode | None" = None) -> None:
        self.val, self.next = val, next


class TreeNode:
    """A node of a binary tree."""

    def __init__(self, val: Any = 0, left: "TreeNode | None" = None, right: "TreeNode | None" = None) -> None:
        self.val, self.left, self.right = val, left, right


def list_node(values: Sequence[Any]) -> ListNode | None:
    """Return the linked list of `values`, or None if there are none."""
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head


def tree_node(values: Sequence[Any]) -> TreeNode | None:
    """Return the tree whose levels, read from left to right, are `values`; None stands for a missing child."""
    if not values or values[0] is None:
        return None
    root, rest = TreeNode(values[0]), iter(values[1:])
    parents = collections.deque([root])
    for left in rest:
        parent, right = parents.popleft(), next(rest, None)
        parent.left = None if left is None else TreeNode(left)
        parent.right = None if right is None else TreeNode(right)
        parents.extend(child for child in (parent.left, parent.right) if child)
    return root


def list_values(head: ListNode | None) -> list[Any]:
    """Invert `list_node`. Raises ValueError for a list that is longer than LONGEST, cyclic ones among them."""
    values: list[Any] = []
    while head is not None:
        if len(values) == LONGEST:
            raise ValueError(f"a linked list of more than {LONGEST} nodes")
        values.append(head.val)
        head = head.next
    return values


def tree_values(root: TreeNode | None) -> list[Any]:
    """Invert `tree_node`. Raises ValueError for a tree with more than LONGEST nodes, cyclic ones among them."""
    values: list[Any] = []
    level = collections.deque([root])
    while level:
        if len(values) > 2 * LONGEST:
            raise ValueError(f"a tree of more than {LONGEST} nodes")
        node = level.popleft()
        values.append(None if node is None else node.val)
        if node is not None:
            level.extend((node.left, node.right))
    while values and values[-1] is None:
        values.pop()
    return values


def is_same_list(first: ListNode | None, second: ListNode | None) -> bool:
    """Return whether two linked lists hold equal values."""
    return list_values(first) == list_values(second)


def is_same_tree(first: TreeNode | None, second: TreeNode | None) -> bool:
    """Return whether two trees have equal shapes and values."""
    return tree_values(first) == tree_values(second)


LONGEST = 100_000
