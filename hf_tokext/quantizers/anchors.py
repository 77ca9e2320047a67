"""Nodes of a graph as short sets of shared tokens: near anchors and relations."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_tokext.errors import QuantizerError

NONE = -1


@dataclass(frozen=True)
class NodeTokens:
    """What nodes are made of.

    Attributes:
        anchors: [N, k] int64, numbers of the nearest anchors, the nearest first; -1 where there are fewer.
        distances: [N, k] int64, edges between node and anchor; -1 where there is none.
        relations: [N, m] int64, relation types at the node, each once, the rarest first; -1 where there are fewer.
    """

    anchors: np.ndarray
    distances: np.ndarray
    relations: np.ndarray


class AnchorTable:
    """Chooses anchors of a graph once; nodes are then told by the nearest of them, in either direction of the edges.

    Nothing here is learned: an encoder adds the vectors of these tokens up.

    Args:
        edges: [E, 3] integers: head, relation type, tail.
        nodes: number of nodes; ids are below it.
        anchors: how many are chosen: half by degree, the others drawn.
        nearest: anchors of a node, k.
        relations: relation types of a node, m.
        seed: of what is drawn.

    Raises:
        QuantizerError: no edges, ids out of range, or more anchors than nodes.

    Source: Galkin et al., NodePiece (arXiv 2106.12144), section 3.
    """

    def __init__(
        self, edges: np.ndarray | Sequence[Sequence[int]], nodes: int, anchors: int, nearest: int = 4, relations: int = 4,
        seed: int = 0,
    ) -> None:  # fmt: skip
        table = np.asarray(edges)
        if table.ndim != 2 or table.shape[1] != 3 or not len(table) or table.dtype.kind not in "iu":
            raise QuantizerError(
                f"edges must be integers of the shape [edges, 3], not {table.dtype} {list(table.shape)}"
            )
        ends = table[:, [0, 2]]
        if ends.min() < 0 or ends.max() >= nodes or table[:, 1].min() < 0:
            raise QuantizerError(
                f"nodes must be 0 to {nodes - 1} and relations not negative; {ends.min()} to {ends.max()} given"
            )
        if not 0 < anchors <= nodes:
            raise QuantizerError(f"of {nodes} nodes {anchors} cannot be anchors")
        self.nodes, self.nearest, self.relations = nodes, nearest, relations
        both = np.concatenate([ends, ends[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        self._starts = np.searchsorted(both[:, 0], np.arange(nodes + 1))
        self._neighbours = both[:, 1]
        degree = np.diff(self._starts)
        by_degree = np.argsort(-degree, kind="stable")[: anchors // 2]
        others = np.setdiff1d(np.arange(nodes), by_degree)
        drawn = np.random.default_rng(seed).permutation(others)[: anchors - len(by_degree)]
        self.anchors: np.ndarray = np.concatenate([by_degree, drawn])
        self._edges = table

    def tokens(self) -> NodeTokens:
        """Tell every node by its tokens.

        Returns:
            Anchors, distances and relations of all nodes.
        """
        anchors = np.full((self.nodes, self.nearest), NONE)
        distances = np.full((self.nodes, self.nearest), NONE)
        filled = np.zeros(self.nodes, dtype=np.int64)
        # breadth first from all anchors at once: a node takes the first `nearest` of them that arrive
        waiting = deque((int(node), number, 0) for number, node in enumerate(self.anchors))
        while waiting:
            node, number, distance = waiting.popleft()
            at = filled[node]
            if at == self.nearest or number in anchors[node, :at]:
                continue
            anchors[node, at], distances[node, at], filled[node] = number, distance, at + 1
            for other in self._neighbours[self._starts[node] : self._starts[node + 1]].tolist():
                if filled[other] < self.nearest:
                    waiting.append((other, number, distance + 1))
        return NodeTokens(anchors, distances, self._relations())

    def _relations(self) -> np.ndarray:
        """Relation types at each node, the rarest first."""
        ends = np.concatenate([self._edges[:, [0, 1]], self._edges[:, [2, 1]]])
        often = np.bincount(self._edges[:, 1])
        pairs = np.unique(ends, axis=0)
        pairs = pairs[np.lexsort((pairs[:, 1], often[pairs[:, 1]], pairs[:, 0]))]
        found = np.full((self.nodes, self.relations), NONE)
        starts = np.searchsorted(pairs[:, 0], np.arange(self.nodes + 1))
        for node in range(self.nodes):
            types = pairs[starts[node] : starts[node + 1], 1][: self.relations]
            found[node, : len(types)] = types
        return found
