"""Fits the coefficients of `erf` in src/kernels/vector_math.rs. Needs NumPy.

erf(x) = x P(x^2) / Q(x^2) on [-4, 4], P of degree 6, Q of degree 4 with Q(0) = 1. The fraction is fitted by
linear least squares on P - f Q, divided by the former Q (Sanathanan and Koerner), on Chebyshev nodes; points are
weighted up where the error is large, which brings the least squares close to the least largest error.
"""

from math import erf

import numpy as np

DEGREE_P, DEGREE_Q, NODES, ROUNDS = 6, 4, 4000, 400

z = (np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES) + 1) / 2 * 16
x = np.sqrt(z)
target = np.array([erf(value) for value in x])


def polynomial(coefficients, at):
    return sum(c * at**power for power, c in enumerate(coefficients))


weights, q = np.ones(NODES), np.ones(NODES)
best = (np.inf, None, None)
for _ in range(ROUNDS):
    scale = weights / q
    columns = [z**power * x * scale for power in range(DEGREE_P + 1)]
    columns += [-(z**power) * target * scale for power in range(1, DEGREE_Q + 1)]
    matrix = np.stack(columns, axis=1)
    size = np.abs(matrix).max(axis=0)
    solution = np.linalg.lstsq(matrix / size, target * scale, rcond=None)[0] / size
    p, q_coefficients = solution[: DEGREE_P + 1], np.concatenate([[1.0], solution[DEGREE_P + 1 :]])
    q = polynomial(q_coefficients, z)
    error = np.abs(x * polynomial(p, z) / q - target)
    if error.max() < best[0]:
        best = (error.max(), p, q_coefficients)
    weights *= (1e-3 * error.max() + error) ** 0.3
    weights /= weights.mean()

print(f"largest error {best[0]:.2e}")
print("P", best[1].tolist())
print("Q", best[2].tolist())
