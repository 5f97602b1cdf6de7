"""Branches of a graph.

They are not in `trainer.candidates.onnx.graph` because a change of that module makes a training
repeat every fit.
"""

from collections.abc import Callable

import numpy as np
from onnx import helper

from trainer.candidates.onnx.graph import Graph


def unless_empty(graph: Graph, rows: str, make: Callable[[], str], otherwise: str) -> str:
    """Add what `make` adds as a branch that runs only if there are rows; return the result.

    ONNX Runtime crashes when a recurrent network gets an empty batch. Operations on constants alone
    stay outside the branch, where the runtime computes them once, at load.

    Args:
        graph: Graph to add to.
        rows: Positions of the rows, shape `(rows,)`.
        make: Adds operations and returns the name of their value.
        otherwise: Value without rows.
    """
    outside, graph.nodes = graph.nodes, []
    result = make()
    inside, graph.nodes = graph.nodes, outside
    constant = {one.name for one in graph.constants}
    branch = []
    for node in inside:
        if set(node.input) <= constant | {""}:
            constant.update(node.output)
            graph.nodes.append(node)
        else:
            branch.append(node)
    same = f"{otherwise}_without_rows"
    branches = {
        "then_branch": (branch, result),
        "else_branch": ([helper.make_node("Identity", [otherwise], [same])], same),
    }
    graphs = {
        kind: helper.make_graph(nodes, kind, [], [helper.make_empty_tensor_value_info(output)])
        for kind, (nodes, output) in branches.items()
    }
    zero = graph.constant(np.array(0, np.int64))
    has_rows = graph.add("Greater", graph.add("Size", rows), zero)
    return graph.add("If", has_rows, **graphs)
