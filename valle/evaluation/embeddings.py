"""Speaker embeddings as unit vectors, and their cosine similarity."""

from __future__ import annotations

import numpy as np


def normalize(vector: np.ndarray) -> np.ndarray:
    """Scale a vector to length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def cosine_similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine similarity of two vectors of length 1."""
    return float(a @ b)
