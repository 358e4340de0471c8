# ruff: noqa: E401, F401, F403, I001, UP029
"""The names LeetCode's judge gives every program: most of the standard library's useful ones, linked lists and trees.

A program with a `class Solution` starts with `from r1kit.rewards.sandbox.guest.leetcode import *`.
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

with contextlib.suppress(ImportError):
    from sortedcontainers import SortedDict, SortedList, SortedSet


class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right


def list_node(values):
    """The linked list of `values`; None when there are none."""
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head


def tree_node(values):
    """The tree whose levels, read from left to right, are `values`; None stands for a child that is missing."""
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


def list_values(head):
    """What `list_node` makes `head` of again; ValueError when it goes in a circle."""
    values = []
    while head is not None:
        if len(values) == LONGEST:
            raise ValueError(f"a linked list of more than {LONGEST} nodes")
        values.append(head.val)
        head = head.next
    return values


def tree_values(root):
    """What `tree_node` makes `root` of again; ValueError when it has too many nodes, or goes in a circle."""
    values, level = [], collections.deque([root])
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


def is_same_list(first, second):
    return list_values(first) == list_values(second)


def is_same_tree(first, second):
    return tree_values(first) == tree_values(second)


LONGEST = 100_000
