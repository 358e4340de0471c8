"""The kernels of a decode step. Each computes its rows one by one, so a row does not depend on the others.

Arrays are float32, or bfloat16 as its bits; sums are float32. The functions that a caller uses take the number of
threads last and split the rows among them.

Shapes: N rows, D model width, F inner width of the MLP, H query heads, K key-value heads, G = H / K, E head width, C
capacity for a row's own tokens; P prefixes that rows share, S slots (the most rows of one prefix), L their length.
"""

from __future__ import annotations

import numpy as np

from r1kit.model.fused.compiler import from_float32, kernel, parallel, prefetch, to_float32
from r1kit.model.fused.rows import LOG2_E, ONE, ZERO, Array, copy, largest, norm_scale, normalize, power_of_two, share

LINE, AHEAD = 64, 8192  # bytes of a cache line; how far ahead keys and values are fetched


@kernel
def _add_norm_rows(
    x_ND: Array, update_ND: Array, gain_D: Array, eps: Array, normed_ND: Array, thread: int, threads: int
) -> None:
    row_D = np.empty(x_ND.shape[1], np.float32)
    for n in share(len(x_ND), thread, threads):
        x_D = x_ND[n]
        if len(update_ND):
            update_D = update_ND[n]
            for d in range(len(x_D)):
                x_D[d] = from_float32(to_float32(x_D[d]) + to_float32(update_D[d]), x_D)
        normalize(x_D, gain_D, eps, row_D, normed_ND[n])


@kernel
def add_norm(x_ND: Array, update_ND: Array, gain_D: Array, eps: Array, normed_ND: Array, threads: int) -> None:
    """Add an update, if it has rows, to the residual stream x in place, and write its RMSNorm."""
    parallel(_add_norm_rows, (x_ND, update_ND, gain_D, eps, normed_ND), threads)


@kernel
def _rotate_rows(
    qkv_NX: Array, cos_NF: Array, sin_NF: Array, q_gain_E: Array, k_gain_E: Array, eps: Array, place_N: Array,
    q_NHE: Array, own_k_NKCE: Array, own_v_NKCE: Array, thread: int, threads: int,
) -> None:  # fmt: skip
    heads, width, kv_heads = q_NHE.shape[1], q_NHE.shape[2], own_k_NKCE.shape[1]
    half, q_scale = width // 2, LOG2_E / np.sqrt(np.float32(width))
    row_E = np.empty(width, np.float32)
    for n in share(len(q_NHE), thread, threads):
        cos_F, sin_F, place = cos_NF[n], sin_NF[n], place_N[n]
        for h in range(heads + 2 * kv_heads):
            head_E = qkv_NX[n, h * width : (h + 1) * width]
            if h >= heads + kv_heads:
                copy(head_E, own_v_NKCE[n, h - heads - kv_heads, place])
                continue
            is_query = h < heads
            gain_E = q_gain_E if is_query else k_gain_E
            for e in range(width):
                row_E[e] = to_float32(head_E[e])
            if len(gain_E):
                norm = norm_scale(row_E, eps)
                for e in range(width):
                    row_E[e] = row_E[e] * norm * to_float32(gain_E[e])
            to_E = q_NHE[n, h] if is_query else own_k_NKCE[n, h - heads, place]
            scale = q_scale if is_query else ONE
            for e in range(half):
                cos, sin, a, b = to_float32(cos_F[e]), to_float32(sin_F[e]), row_E[e], row_E[e + half]
                to_E[e] = from_float32((a * cos - b * sin) * scale, to_E)
                to_E[e + half] = from_float32((b * cos + a * sin) * scale, to_E)


@kernel
def rotate(
    qkv_NX: Array, cos_NF: Array, sin_NF: Array, q_gain_E: Array, k_gain_E: Array, eps: Array, place_N: Array,
    q_NHE: Array, own_k_NKCE: Array, own_v_NKCE: Array, threads: int,
) -> None:  # fmt: skip
    """Rotate queries and keys, after a norm of each head where there are gains.

    Writes queries, divided by sqrt(E) log(2), to `q_NHE`; keys and values to the rows' places in the cache. F is E / 2.
    """
    parallel(
        _rotate_rows,
        (qkv_NX, cos_NF, sin_NF, q_gain_E, k_gain_E, eps, place_N, q_NHE, own_k_NKCE, own_v_NKCE),
        threads,
    )


@kernel
def _prefetch_rows(x_CE: Array, c: int, capacity: int) -> None:
    """Prefetch the four rows that lie AHEAD bytes after row c, which hardware prefetchers miss.

    Behind the end of x come the same rows of the next head, which begin `capacity` rows after those of x.
    """
    row_bytes = x_CE.shape[1] * x_CE.itemsize
    ahead = c * row_bytes + AHEAD
    ahead += ahead // (len(x_CE) * row_bytes) * (capacity - len(x_CE)) * row_bytes
    for line in range(0, 4 * row_bytes, LINE):
        prefetch(x_CE[0], ahead + line)


@kernel
def _score(q_2E: Array, keys_CE: Array, capacity: int, scores_2C: Array) -> None:
    """Write the products of two queries with all keys. Four keys at a time keep the sums in registers."""
    q, r = q_2E[0], q_2E[1]
    count, width = keys_CE.shape
    for c in range(0, count - count % 4, 4):
        _prefetch_rows(keys_CE, c, capacity)
        k0, k1, k2, k3 = keys_CE[c], keys_CE[c + 1], keys_CE[c + 2], keys_CE[c + 3]
        q0 = q1 = q2 = q3 = r0 = r1 = r2 = r3 = ZERO
        for e in range(width):
            x0, x1, x2, x3 = to_float32(k0[e]), to_float32(k1[e]), to_float32(k2[e]), to_float32(k3[e])
            q0, q1, q2, q3 = q0 + q[e] * x0, q1 + q[e] * x1, q2 + q[e] * x2, q3 + q[e] * x3
            r0, r1, r2, r3 = r0 + r[e] * x0, r1 + r[e] * x1, r2 + r[e] * x2, r3 + r[e] * x3
        scores_2C[0, c], scores_2C[0, c + 1], scores_2C[0, c + 2], scores_2C[0, c + 3] = q0, q1, q2, q3
        scores_2C[1, c], scores_2C[1, c + 1], scores_2C[1, c + 2], scores_2C[1, c + 3] = r0, r1, r2, r3
    for c in range(count - count % 4, count):
        k0 = keys_CE[c]
        q0 = r0 = ZERO
        for e in range(width):
            q0, r0 = q0 + q[e] * to_float32(k0[e]), r0 + r[e] * to_float32(k0[e])
        scores_2C[0, c], scores_2C[1, c] = q0, r0


@kernel
def _mix(weights_2C: Array, values_CE: Array, capacity: int, mixed_2E: Array) -> None:
    """Add the values, weighted for two queries."""
    a, b = mixed_2E[0], mixed_2E[1]
    count, width = values_CE.shape
    for c in range(0, count - count % 4, 4):
        _prefetch_rows(values_CE, c, capacity)
        v0, v1, v2, v3 = values_CE[c], values_CE[c + 1], values_CE[c + 2], values_CE[c + 3]
        a0, a1, a2, a3 = weights_2C[0, c], weights_2C[0, c + 1], weights_2C[0, c + 2], weights_2C[0, c + 3]
        b0, b1, b2, b3 = weights_2C[1, c], weights_2C[1, c + 1], weights_2C[1, c + 2], weights_2C[1, c + 3]
        for e in range(width):
            x0, x1, x2, x3 = to_float32(v0[e]), to_float32(v1[e]), to_float32(v2[e]), to_float32(v3[e])
            a[e] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
            b[e] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
    for c in range(count - count % 4, count):
        v0, a0, b0 = values_CE[c], weights_2C[0, c], weights_2C[1, c]
        for e in range(width):
            a[e] += a0 * to_float32(v0[e])
            b[e] += b0 * to_float32(v0[e])


@kernel
def _weigh(x: Array) -> Array:
    """Replace scores, in units of log(2), by weights in proportion to their softmax. Return what scales these."""
    most, total = largest(x), ZERO
    for i in range(len(x)):
        x[i] = power_of_two(x[i] - most)
        total += x[i]
    return ONE / total


@kernel
def _slot(grid_PKXY: Array, slot: int, k: int, g: int, group: int) -> Array:
    """Return what belongs to one query of a row: [Y] of [P, K, S * G, Y]."""
    slots = grid_PKXY.shape[2] // group
    return grid_PKXY[slot // slots, k, slot % slots * group + g]


@kernel
def _spread_rows(q_NHE: Array, slot_N: Array, grid_PKXE: Array, thread: int, threads: int) -> None:
    kv_heads = grid_PKXE.shape[1]
    group = q_NHE.shape[1] // kv_heads
    for n in share(len(q_NHE), thread, threads):
        for k in range(kv_heads):
            for g in range(group):
                copy(q_NHE[n, k * group + g], _slot(grid_PKXE, slot_N[n], k, g, group))


@kernel
def spread(q_NHE: Array, slot_N: Array, grid_PKXE: Array, threads: int) -> None:
    """Copy the queries of rows to their places in the grid of a shared prefix."""
    parallel(_spread_rows, (q_NHE, slot_N, grid_PKXE), threads)


@kernel
def _collect_rows(grid_PKXE: Array, slot_N: Array, mixed_NHE: Array, thread: int, threads: int) -> None:
    kv_heads, width = grid_PKXE.shape[1], grid_PKXE.shape[3]
    group = mixed_NHE.shape[1] // kv_heads
    for n in share(len(mixed_NHE), thread, threads):
        for k in range(kv_heads):
            for g in range(group):
                from_E, to_E = _slot(grid_PKXE, slot_N[n], k, g, group), mixed_NHE[n, k * group + g]
                for e in range(width):
                    to_E[e] = from_float32(to_float32(to_E[e]) + to_float32(from_E[e]), to_E)


@kernel
def collect(grid_PKXE: Array, slot_N: Array, mixed_NHE: Array, threads: int) -> None:
    """Add the mixed values of a shared prefix, from their places in its grid, to those of the rows."""
    parallel(_collect_rows, (grid_PKXE, slot_N, mixed_NHE), threads)


@kernel
def _read(scores_L: Array, scores: Array) -> None:
    for i in range(len(scores)):
        scores[i] = to_float32(scores_L[i])


@kernel
def _write(x: Array, scale: Array, to: Array) -> None:
    """Write x, scaled, and zeros behind it, as for the padding of a prefix."""
    for i in range(len(x)):
        to[i] = from_float32(x[i] * scale, to)
    for i in range(len(x), len(to)):
        to[i] = from_float32(ZERO, to)


@kernel
def _attend_rows(
    q_NHE: Array, own_k_NKCE: Array, own_v_NKCE: Array, prompt_N: Array, sampled_from: int, sampled_N: Array,
    first_PKXL: Array, first_slot_N: Array, first_seen_N: Array, second_PKXL: Array, second_slot_N: Array,
    second_seen_N: Array, mixed_NHE: Array, thread: int, threads: int,
) -> None:  # fmt: skip
    (_, heads, width), (_, kv_heads, capacity, _) = q_NHE.shape, own_k_NKCE.shape
    group = heads // kv_heads
    weights = np.empty((2, first_PKXL.shape[3] + second_PKXL.shape[3] + capacity), np.float32)
    q_2E, mixed_2E = np.empty((2, width), np.float32), np.empty((2, width), np.float32)
    scale_2 = np.empty(2, np.float32)
    for n in share(len(q_NHE), thread, threads):
        # A row's keys: those of the first prefix, of the second, of its own copy of a prompt, and of sampled tokens.
        a = first_seen_N[n]
        b = a + second_seen_N[n]
        c = b + prompt_N[n]
        d = c + sampled_N[n]
        own, sampled = slice(0, prompt_N[n]), slice(sampled_from, sampled_from + sampled_N[n])
        for k in range(kv_heads):
            keys_CE, values_CE = own_k_NKCE[n, k], own_v_NKCE[n, k]
            for g in range(0, group, 2):
                queries = (g, min(g + 1, group - 1))  # in an odd group, the last one is computed twice
                for i, query in enumerate(queries):
                    _read(q_NHE[n, k * group + query], q_2E[i])
                    _read(_slot(first_PKXL, first_slot_N[n], k, query, group), weights[i, :a])
                    _read(_slot(second_PKXL, second_slot_N[n], k, query, group), weights[i, a:b])
                _score(q_2E, keys_CE[own], capacity, weights[:, b:c])
                _score(q_2E, keys_CE[sampled], capacity, weights[:, c:d])
                mixed_2E[:] = ZERO
                for i, query in enumerate(queries):
                    scale_2[i] = _weigh(weights[i, :d])
                    _write(weights[i, :a], scale_2[i], _slot(first_PKXL, first_slot_N[n], k, query, group))
                    _write(weights[i, a:b], scale_2[i], _slot(second_PKXL, second_slot_N[n], k, query, group))
                _mix(weights[:, b:c], values_CE[own], capacity, mixed_2E)
                _mix(weights[:, c:d], values_CE[sampled], capacity, mixed_2E)
                for i, query in enumerate(queries):
                    _write(mixed_2E[i], scale_2[i], mixed_NHE[n, k * group + query])


@kernel
def attend(
    q_NHE: Array, own_k_NKCE: Array, own_v_NKCE: Array, prompt_N: Array, sampled_from: int, sampled_N: Array,
    first_PKXL: Array, first_slot_N: Array, first_seen_N: Array, second_PKXL: Array, second_slot_N: Array,
    second_seen_N: Array, mixed_NHE: Array, threads: int,
) -> None:  # fmt: skip
    """Compute one softmax over the shared prefixes and the tokens of every row, and mix the row's own values.

    Args:
        q_NHE: Queries, scaled as by `rotate`.
        own_k_NKCE: Keys of the rows: `prompt_N` of a prompt, and from `sampled_from` on `sampled_N` sampled ones.
        own_v_NKCE: Their values.
        prompt_N: See own_k_NKCE.
        sampled_from: See own_k_NKCE.
        sampled_N: See own_k_NKCE.
        first_PKXL: Scores of the first shared prefix, replaced by its weights. X = S * G.
        first_slot_N: The place of every row in it, p * S + s.
        first_seen_N: The prefix's tokens of every row, the others being padding.
        second_PKXL: As the first three for the second prefix; L = 0 if there is none.
        second_slot_N: See second_PKXL.
        second_seen_N: See second_PKXL.
        mixed_NHE: Receives the mixed values of the rows' own tokens.
        threads: Threads to use.
    """
    parallel(
        _attend_rows,
        (
            q_NHE, own_k_NKCE, own_v_NKCE, prompt_N, sampled_from, sampled_N, first_PKXL, first_slot_N, first_seen_N,
            second_PKXL, second_slot_N, second_seen_N, mixed_NHE,
        ),
        threads,
    )  # fmt: skip
